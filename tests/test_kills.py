"""SIGKILL at random points, against three servers: our own fake, moto and rclone.

What holds at every stop: only part files are left, and nothing has its final name that is not the whole, right object.
What holds of every resume: it asks for at most the rest and 32 MiB. At the end: the same bytes, and nothing else.

A killed process cannot say what it received, so a relay in front of each server notes which ranges a run asked for, and
the part file (where its holes are) which bytes the run before had left.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3pull.local.checkpoint import claims
from tests.fakes import Held, Sparse, at, chunks
from tests.fakes.faults import drip
from tests.servers import ACCESS_KEY, SECRET_KEY, RcloneServer, free_port, tool
from tests.transcript import run_s3pull, start_s3pull, tree_of

pytestmark = pytest.mark.slow

MIB = 1 << 20
OWNER, CONSUMER = "111111111111", "222222222222"
SERVERS = ("fake", "moto", "rclone")
#: what a resume may fetch beside the rest
WASTE = 32 * MIB
SOURCE = "s3://acme-exports/big"


def wait_until(condition, process, seconds=180):
    """Until it holds. The process must still be at it then."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)
    assert process.poll() is None, "it ended before that"


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Relay:
    """A TCP relay that notes of each GET of the object where its range begins (0: the whole), in `asked`."""

    _GET = re.compile(rb"^GET [^\r\n]*/big[ ?].*?\r\n\r\n", re.DOTALL | re.MULTILINE)

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.asked: list[int] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stopping = False
        self._spawn(self._accept)

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._stopping:
                client.close()
                return
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open |= {client, server}
            self._spawn(self._carry, client, server)

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
        back.start()
        self._pump(client, server, True)
        back.join()
        for sock in (client, server):
            self._open.discard(sock)
            sock.close()

    def _pump(self, source: socket.socket, target: socket.socket, requests: bool) -> None:
        """Until either side ends; a request's head comes with one read, since the client sends it so."""
        buffer = memoryview(bytearray(256 * 1024))
        with contextlib.suppress(OSError):
            while count := source.recv_into(buffer):
                if requests:
                    self._note(bytes(buffer[:count]))
                target.sendall(buffer[:count])
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _note(self, text: bytes) -> None:
        for head in self._GET.findall(text):
            span = re.search(rb"\r\nrange: *bytes=(\d+)-", head, re.IGNORECASE)
            self.asked.append(int(span[1]) if span else 0)

    def close(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()


@dataclass
class Remote:
    """A server behind a relay. `put` makes the body the object `big`."""

    relay: Relay
    env: dict[str, str]
    put: Callable[[object], None]


def _fake(request, relay_to):
    aws = request.getfixturevalue("fake_aws")
    aws.bucket("acme-exports", owner=OWNER)
    role = aws.role(OWNER, "reader", trust={CONSUMER: "external-id"})
    relay = relay_to(aws.url)
    access = {"S3PULL_ROLE_ARN": role, "S3PULL_EXTERNAL_ID": "external-id", "AWS_ENDPOINT_URL_S3": relay.url}

    def put(body):
        # MD5 of a gigabyte would cost more than the whole proof, and the checksum is what is verified
        aws.put("acme-exports", "big", body, etag=hashlib.md5(repr(body).encode()).hexdigest() + "-64")

    return Remote(relay, {**aws.env(aws.user(CONSUMER, "ana")), **access}, put)


def _other(server, relay_to):
    server.client.create_bucket(Bucket="acme-exports")
    relay = relay_to(server.url)

    def put(body):
        with _as_file(body) as file:
            server.client.put_object(Bucket="acme-exports", Key="big", Body=file)

    return Remote(relay, {**server.env(), "AWS_ENDPOINT_URL_S3": relay.url}, put)


@contextlib.contextmanager
def _as_file(body):
    with tempfile.TemporaryFile() as file:
        for piece in chunks(body, 0, body.size):
            file.write(piece)
        file.seek(0)
        yield file


@pytest.fixture
def relay_to():
    with contextlib.ExitStack() as stack:
        yield lambda url: stack.enter_context(contextlib.closing(Relay(url)))


@pytest.fixture(scope="module")
def patient_rclone(tmp_path_factory):
    """rclone that hashes a file once, not at every request: a gigabyte takes it 3 s."""
    root = tmp_path_factory.mktemp("patient-rclone")
    port = free_port()
    command = [
        *(tool("rclone"), "serve", "s3", str(root), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull, "--dir-cache-time", "1h"),
    ]
    log = root.parent / f"{root.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_until(lambda: listens(port), process)
            server = RcloneServer(f"http://127.0.0.1:{port}", root=root)
            yield server
            server.close()
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(root)


@pytest.fixture
def remote(request, relay_to):
    """The server that the test's parameter names."""
    if request.param == "fake":
        return _fake(request, relay_to)
    if request.param == "rclone":
        server = request.getfixturevalue("patient_rclone")
        for folder in server.root.iterdir():
            server.client.delete_object(Bucket=folder.name, Key="big")
            server.client.delete_bucket(Bucket=folder.name)
        return _other(server, relay_to)
    return _other(request.getfixturevalue("moto_server"), relay_to)


# --- what a stopped run leaves --------------------------------------------------------------------------------


def on_disk(folder):
    """Of the part file: its segment size and, segment by segment, how many bytes from its start are written."""
    logs = [path for path in folder.iterdir() if path.name.startswith(".s3pull-") and path.suffix == ".log"]
    best = SimpleNamespace(segment=0, written={})
    for log in logs:
        part = log.with_suffix("")
        header = claims(log.read_bytes()).header
        if header is None or not part.exists():
            continue
        with part.open("rb") as file:
            written = {}
            for index in range(header.segments):
                start = index * header.segment
                hole = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                written[index] = min(hole - start, header.length(index))
        if sum(written.values()) >= sum(best.written.values()):
            best = SimpleNamespace(segment=header.segment, written=written)
    return best


def written_to(folder):
    """Bytes that were written to the files in `folder`; room that was only taken is a hole."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        for entry in found:
            with contextlib.suppress(FileNotFoundError), Path(entry).open("rb") as file:
                hole = 0
                with contextlib.suppress(OSError):  # ENXIO: there is no more data
                    while True:
                        data = os.lseek(file.fileno(), hole, os.SEEK_DATA)
                        hole = os.lseek(file.fileno(), data, os.SEEK_HOLE)
                        total += hole - data
    return total


def fetched_again(before, asked):
    """Bytes that were on disk before a run and that it asked for all the same."""
    again = {}
    for start in asked:
        index = start // before.segment
        again.setdefault(index, max(0, before.written[index] - (start - index * before.segment)))
    return sum(again.values())


def sha_of(body):
    digest = hashlib.sha256()
    for piece in chunks(body, 0, body.size):
        digest.update(piece)
    return digest.hexdigest()


def sha_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kill_and_resume(remote, body, tmp_path, *, kills, progress, rate, jobs=(), allowed=WASTE):
    """Kill a `get` of `body` again and again, let the last run end, and hold every step to the promise."""
    out = tmp_path / "out"
    out.mkdir()
    rng = random.Random(kills)
    command = ["get", SOURCE, "out/", *jobs]
    before = on_disk(out)
    worst = 0
    for number in range(kills):
        remote.relay.asked.clear()
        running = start_s3pull([*command, "--limit-rate", rate], remote.env, tmp_path)
        if number % 2:
            # anywhere, while it starts, takes over the part file and hashes it
            time.sleep(rng.uniform(0.0, 0.8))
        else:
            goal = written_to(out) + rng.randrange(*progress)
            wait_until(partial(lambda goal: written_to(out) >= goal, goal), running.process)
        left = running.kill().tree
        assert all(name.startswith("out/.s3pull-") for name in left), left
        if before.segment:
            worst = max(worst, fetched_again(before, remote.relay.asked))
        now = on_disk(out)
        assert sum(now.written.values()) >= sum(before.written.values()), "a resume threw bytes away"
        before = now
    remote.relay.asked.clear()
    done = run_s3pull([*command, "--json"], remote.env, tmp_path, timeout=240)
    assert done.code == 0, done.stdout + done.stderr
    line = json.loads(done.stdout.splitlines()[0])
    rest = body.size - sum(before.written.values())
    assert line["action"] == "resumed"
    assert line["checksum"]["verified"]
    assert line["received"] <= rest + allowed
    worst = max(worst, fetched_again(before, remote.relay.asked), line["received"] - rest)
    assert worst <= allowed
    assert done.tree == {"out/big": body.size}
    assert sha_file(out / "big") == sha_of(body)
    print(f"fetched again at most: {worst / MIB:.1f} MiB; by the last run: {line['received'] / MIB:.1f} MiB")


@pytest.mark.parametrize("remote", SERVERS, indirect=True)
def test_a_download_is_killed_and_goes_on(remote, tmp_path):
    body = Sparse(64 * MIB, seed=1)
    remote.put(body)
    kill_and_resume(
        remote, body, tmp_path, kills=4, progress=(2 * MIB, 10 * MIB), rate="16M", jobs=["--jobs", "4"], allowed=4 * MIB
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("remote", SERVERS, indirect=True)
def test_a_gibibyte_is_killed_twenty_times(remote, tmp_path, request):
    body = Sparse(1 << 30)
    remote.put(body)
    # moto holds the whole object for each request that it answers
    jobs = ["--jobs", "4"] if "moto" in request.node.callspec.id else []
    kill_and_resume(remote, body, tmp_path, kills=20, progress=(8 * MIB, 48 * MIB), rate="100M", jobs=jobs)


@pytest.mark.parametrize("same_size", [True, False])
@pytest.mark.parametrize("remote", SERVERS, indirect=True)
def test_an_object_replaced_between_kill_and_resume_is_wholly_the_new_one(remote, tmp_path, same_size):
    remote.put(Sparse(40 * MIB, seed=1))
    running = start_s3pull(["get", SOURCE, "--limit-rate", "20M", "--jobs", "4"], remote.env, tmp_path)
    wait_until(lambda: written_to(tmp_path) >= 12 * MIB, running.process)
    left = running.kill().tree
    assert left
    assert all(name.startswith(".s3pull-") for name in left)
    new = Sparse((40 if same_size else 24) * MIB, seed=2)
    remote.put(new)
    done = run_s3pull(["get", SOURCE, "--json", "--jobs", "4"], remote.env, tmp_path)
    assert done.code == 0, done.stdout
    line = json.loads(done.stdout.splitlines()[0])
    assert line["action"] == "downloaded"
    assert line["received"] == new.size
    assert sha_file(tmp_path / "big") == sha_of(new)
    assert [name for name in done.tree if not name.startswith(".s3pull-")] == ["big"]


def test_a_final_name_is_on_the_whole_object_or_on_nothing_at_any_moment(fake_aws, tmp_path):
    """Kills all along the life of a run, its end (check, rename, clean up) among it."""
    body = Sparse(20 * MIB, seed=3)
    fake_aws.bucket("acme-exports", owner=OWNER)
    fake_aws.put("acme-exports", "big", body)
    env = fake_aws.env(fake_aws.user(OWNER, "ana"))
    began = time.monotonic()
    assert run_s3pull(["get", SOURCE, "whole"], env, tmp_path).code == 0
    life = time.monotonic() - began
    right = sha_of(body)
    for step in range(12):
        running = start_s3pull(["get", SOURCE, "killed"], env, tmp_path)
        time.sleep(life * (0.3 + 0.06 * step))
        running.kill()
        if (tmp_path / "killed").exists():
            assert sha_file(tmp_path / "killed") == right
            (tmp_path / "killed").unlink()
    done = run_s3pull(["get", SOURCE, "killed"], env, tmp_path)
    assert done.tree == {"killed": body.size, "whole": body.size}
    assert sha_file(tmp_path / "killed") == right


def test_a_part_file_without_a_checkpoint_is_not_left_over(fake_aws, tmp_path):
    fake_aws.bucket("acme-exports", owner=OWNER)
    fake_aws.put("acme-exports", "big", Sparse(20 * MIB))
    env = fake_aws.env(fake_aws.user(OWNER, "ana"))
    fake_aws.latency = 0.5
    for _ in range(2):
        asked = fake_aws.count("GetObject")
        running = start_s3pull(["get", SOURCE], env, tmp_path)
        wait_until(partial(lambda asked: fake_aws.count("GetObject") > asked, asked), running.process)
        assert len(running.kill().tree) == 1
    fake_aws.latency = 0
    assert run_s3pull(["get", SOURCE], env, tmp_path).tree == {"big": 20 * MIB}


# --- a tree of small files ------------------------------------------------------------------------------------


def small_body(number):
    return random.Random(number).randbytes(number % 7 * 613)


def test_a_tree_of_small_files_is_right_at_every_stop(fake_aws, tmp_path):
    fake_aws.bucket("acme-exports", owner=OWNER)
    bodies = {f"{number % 12:02}/{number:04}": small_body(number) for number in range(3000)}
    for key, body in bodies.items():
        fake_aws.put("acme-exports", f"tree/{key}", Held(body))
    fake_aws.latency = 0.005
    env = fake_aws.env(fake_aws.user(OWNER, "ana"))
    out = tmp_path / "out"
    rng = random.Random(3000)

    def finals():
        return {name: size for name, size in tree_of(out).items() if not Path(name).name.startswith(".s3pull-")}

    command = ["get", "s3://acme-exports/tree/", "out"]
    for _ in range(5):
        running = start_s3pull([*command, "--jobs", "16"], env, tmp_path)
        goal = fake_aws.count("GetObject") + rng.randrange(50, 500)
        wait_until(partial(lambda goal: fake_aws.count("GetObject") >= goal, goal), running.process)
        running.kill()
        for name in finals():
            assert (out / name).read_bytes() == bodies[name], name
    fake_aws.latency = 0
    done = run_s3pull([*command, "--json"], env, tmp_path)
    assert done.code == 0, done.stdout
    assert tree_of(out) == {key: len(body) for key, body in bodies.items()}
    assert all((out / key).read_bytes() == body for key, body in bodies.items())


@pytest.mark.slow  # on a machine that cannot keep up, more waits in the sockets
def test_on_a_slow_link_a_kill_loses_at_most_two_seconds(fake_aws, tmp_path):
    """Small objects too: what takes longer than a second is kept in part files."""
    rate, jobs, size = 20_000, 8, 200_000
    fake_aws.bucket("acme-exports", owner=OWNER)
    bodies = {f"{number:02}": random.Random(number).randbytes(size) for number in range(16)}
    for key, body in bodies.items():
        fake_aws.put("acme-exports", f"tree/{key}", Held(body))
    env = fake_aws.env(fake_aws.user(OWNER, "ana"))

    def sent():
        return sum(one.bytes_sent for one in fake_aws.asked("GetObject"))

    fake_aws.fault(at("GetObject"), drip(rate, piece=1000), times=None)  # of each connection
    command = ["get", "s3://acme-exports/tree/", "out", "--jobs", str(jobs)]
    running = start_s3pull(command, env, tmp_path)
    wait_until(lambda: sent() > 0, running.process)
    time.sleep(6)
    running.kill()
    fake_aws.faults.clear()
    done = run_s3pull([*command, "--json"], env, tmp_path)
    assert done.code == 0, done.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == bodies
    lost = sent() - sum(map(len, bodies.values()))
    resumed = json.loads(done.stdout.splitlines()[-1])["resumed"]
    assert resumed
    assert lost <= 2 * rate * resumed
