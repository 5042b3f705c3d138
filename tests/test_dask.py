"""`sync --dask` with a real scheduler and real workers, each a process of its own with credentials of its own."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import at, faults
from tests.mirrors import Mirrored, actions, summary, told
from tests.servers import free_port
from tests.transcript import run_s3pull
from tests.waiting import wait_until as _wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OWNER, CONSUMER = "111111111111", "222222222222"
EXTERNAL_ID = "Canary-External-Id-5d2f"
BODIES = {f"{n % 5}/{n:03}.csv": f"row {n}\n".encode() * (n % 50 + 1) for n in range(200)}
BIG = {f"big/{n}": bytes([n]) * 3_000_000 for n in range(4)}

wait_until = partial(_wait_until, seconds=120)


class Cluster:
    """A scheduler, and workers as they are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        listen = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show")
        self.scheduler, log = self._start("scheduler", *listen)
        wait_until(lambda: b"Scheduler at:" in log.read_bytes(), "the scheduler does not come")

    def start_workers(
        self, envs: dict[str, dict[str, str]], address: str = "", before: tuple[str, ...] = ()
    ) -> list[subprocess.Popen[bytes]]:
        """One for each name, with its environment; they are there when this returns."""
        listen = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        started = [
            self._start(
                *("worker", address or self.address, *listen, "--local-directory", str(self.folder / name)),
                env=env,
                before=before,
            )
            for name, env in envs.items()
        ]
        for _, log in started:
            wait_until(lambda log=log: b"Registered to" in log.read_bytes(), "a worker does not come")
        self.workers += [process for process, _ in started]
        return [process for process, _ in started]

    def stop_workers(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()
        self.workers.clear()

    def stop(self) -> None:
        self.stop_workers()
        self.scheduler.kill()
        self.scheduler.wait()

    def _start(self, kind: str, *args: str, env: dict[str, str] | None = None, before: tuple[str, ...] = ()):
        path = self.folder / f"{next(_numbers)}.log"
        command = [*before, sys.executable, "-m", f"distributed.cli.dask_{kind}", *args]
        with path.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})}
            )
        return process, path


_numbers = itertools.count()


class Tap:
    """Passes connections on to a port and keeps every byte of both ways."""

    def __init__(self, port: int) -> None:
        self.heard = bytearray()
        self._port = port
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.address = f"tcp://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._sockets[0].accept()
                there = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [here, there]
                for one, other in ((here, there), (there, here)):
                    self._threads.append(threading.Thread(target=self._pass, args=(one, other)))
                    self._threads[-1].start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                self.heard += data
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("dask"))
    yield made
    made.stop()


@pytest.fixture
def cluster(scheduler):
    yield scheduler
    scheduler.stop_workers()


@pytest.fixture
def mirrored(fake_aws, tmp_path):
    made = Mirrored(fake_aws, tmp_path)
    for name, body in (BODIES | BIG).items():
        made.put(name, body)
    return made


def worker_env(mirrored, name):
    """Credentials and a cache of the worker's own."""
    keys = mirrored.aws.user(OWNER, name)
    return keys, {**mirrored.aws.env(keys), "S3PULL_CACHE_DIR": str(mirrored.cwd / f"cache-{name}")}


def two_workers(cluster, mirrored):
    """By the access keys of their owners."""
    made = {name: worker_env(mirrored, name) for name in ("w1", "w2")}
    processes = cluster.start_workers({name: env for name, (_, env) in made.items()})
    return dict(zip((keys.access_key for keys, _ in made.values()), processes, strict=True))


def test_workers_fetch_and_the_next_run_only_lists(cluster, mirrored):
    two_workers(cluster, mirrored)
    done = mirrored.sync("--json", "--dask", cluster.address)
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    assert mirrored.files() == BODIES | BIG
    assert {action for action, _ in told(done.stdout).values()} == {"downloaded"}
    assert summary(done.stdout)["received"] == sum(map(len, (BODIES | BIG).values()))
    fetched = mirrored.aws.asked("GetObject")
    by_worker = {one.access_key for one in fetched}
    assert len(by_worker) == 2
    assert mirrored.env["AWS_ACCESS_KEY_ID"] not in by_worker
    assert set(mirrored.receipts()) == set(BODIES | BIG)
    assert mirrored.nothing_stray()
    mirrored.aws.requests.clear()
    after = mirrored.sync("--json", "--dask", cluster.address)
    assert (after.code, summary(after.stdout)["skipped"]) == (0, len(BODIES | BIG))
    assert set(actions(mirrored.aws.requests)) == {"ListObjectsV2"}


def test_a_worker_that_is_killed_in_mid_object_loses_nothing(cluster, mirrored):
    workers = two_workers(cluster, mirrored)
    mirrored.aws.fault(at("GetObject", key="in/big/0"), faults.stall_after(2_000_000))
    running = mirrored.start("sync", mirrored.source, "m", "--json", "--dask", cluster.address)
    wait_until(lambda: mirrored.aws.asked("GetObject", key="in/big/0"), "big/0 is not asked for")
    wait_until(lambda: mirrored.noted("big/0", BIG["big/0"]) >= 4, "nothing of big/0 arrives")
    (first,) = mirrored.aws.asked("GetObject", key="in/big/0")
    workers[first.access_key].send_signal(signal.SIGKILL)
    done = running.finish()
    assert done.code == 0, done.stderr
    assert mirrored.files() == BODIES | BIG
    assert told(done.stdout)["big/0"][0] == "resumed"
    again = mirrored.aws.asked("GetObject", key="in/big/0")[1:]
    assert {one.access_key for one in again} == set(workers) - {first.access_key}
    assert sum(one.bytes_sent for one in again) < len(BIG["big/0"])
    each = [one.key for one in mirrored.aws.asked("GetObject") if one.key != "in/big/0"]
    assert len(set(each)) == len(BODIES | BIG) - 1
    assert set(mirrored.receipts()) == set(BODIES | BIG)
    mirrored.aws.requests.clear()
    after = mirrored.sync("--json")
    assert (after.code, summary(after.stdout)["skipped"]) == (0, len(BODIES | BIG))
    assert set(actions(mirrored.aws.requests)) == {"ListObjectsV2"}
    assert mirrored.nothing_stray()


def test_each_worker_assumes_the_role_itself_and_no_secret_crosses_the_scheduler(cluster, fake_aws, tmp_path, isolated):
    """All that the scheduler is told and tells is recorded."""
    role = fake_aws.role(OWNER, "reader", trust={CONSUMER: EXTERNAL_ID})
    fake_aws.bucket("acme-exports", owner=OWNER)
    for name, body in (BODIES | BIG).items():
        fake_aws.put("acme-exports", f"2026/{name}", body)
    keys = {name: fake_aws.user(CONSUMER, name) for name in ("ana", "w1", "w2")}
    envs = {
        name: {**fake_aws.env(one), "S3PULL_CACHE_DIR": str(tmp_path / f"cache-{name}")} for name, one in keys.items()
    }
    args = ["share", "add", "acme", "s3://acme-exports/2026/", "--role-arn", role, "--external-id", EXTERNAL_ID]
    assert run_s3pull(args, envs["ana"], tmp_path).code == 0
    tap = Tap(cluster.port)
    try:
        cluster.start_workers({name: envs[name] for name in ("w1", "w2")}, tap.address)
        done = run_s3pull(["sync", "acme:", "m", "--json", "--dask", tap.address], envs["ana"], tmp_path)
    finally:
        cluster.stop_workers()
        tap.close()
    assert done.code == 0, done.stderr
    assert len(told(done.stdout)) == len(BODIES | BIG)
    assumed = [one.access_key for one in fake_aws.asked("AssumeRole")]
    assert sorted(assumed) == sorted(one.access_key for one in keys.values())
    heard = bytes(tap.heard)
    for known in (b"acme:", b"2026/", b"big/3", b"do_errand", done.stdout.partition('"etag":"')[2][:32].encode()):
        assert known in heard, "the tap heard nothing"
    sessions = [one.keys for one in fake_aws.sessions()]
    assert len(sessions) == 3
    secrets = [EXTERNAL_ID, *(one.secret_key for one in (*keys.values(), *sessions)), *(one.token for one in sessions)]
    assert [secret for secret in secrets if secret.encode() in heard] == []
    assert not [one.access_key for one in (*keys.values(), *sessions) if one.access_key.encode() in heard]


def test_a_worker_without_credentials_says_so(cluster, mirrored):
    cluster.start_workers({"poor": mirrored.aws.env()})
    done = mirrored.sync("--dask", cluster.address)
    assert done.code == 11
    assert done.stderr.startswith("s3pull: worker tcp://127.0.0.1:")
    assert "hint: " in done.stderr
    assert mirrored.files() == {}


def can_hide():
    """Whether a process may have another view of the disk here."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    tried = subprocess.run([unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


def test_a_worker_that_does_not_see_the_folder_says_so(cluster, mirrored):
    if not can_hide():
        pytest.skip("only root may mount: tests/pull/test_fleet.py has the same without processes")
    _, env = worker_env(mirrored, "blind")
    hidden = f'mount -t tmpfs none {mirrored.cwd} && exec "$@"'
    cluster.start_workers({"blind": env}, before=("unshare", "-m", "sh", "-c", hidden, "sh"))
    done = mirrored.sync("--dask", cluster.address)
    assert done.code == 5
    assert f": no such folder: '{mirrored.folder}'\n" in done.stderr
    assert "hint: every worker must see DEST at the same path, on a file system that they share\n" in done.stderr


def test_ctrl_c_ends_the_run_and_its_workers_stop(cluster, mirrored):
    two_workers(cluster, mirrored)
    mirrored.aws.bandwidth = 200_000
    running = mirrored.start("sync", mirrored.source, "m", "--dask", cluster.address)
    wait_until(lambda: mirrored.aws.count("GetObject") > 4, "nothing is asked for")
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done.stderr
    assert "hint: the same command goes on from here" in done.stderr
    mirrored.aws.bandwidth = None

    def quiet():
        before = mirrored.aws.count()
        time.sleep(1.5)
        return mirrored.aws.count() == before

    wait_until(quiet, "the workers go on")
    assert len(mirrored.files()) < len(BODIES | BIG)
    assert mirrored.sync("--dask", cluster.address).code == 0
    assert mirrored.files() == BODIES | BIG
    assert mirrored.nothing_stray()


def impatient(mirrored, address, *more):
    """A run that waits for a scheduler and for workers for two seconds instead of ten and sixty."""
    code = (
        "import sys; from s3pull.pull import cluster; from s3pull.cli.app import main;"
        "cluster.connected.__wrapped__.__kwdefaults__.update(nobody=2.0, answer=2.0);"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "sync", mirrored.source, "m", "--dask", address, *more]
    env = {**os.environ, **mirrored.env}
    return subprocess.run(command, cwd=mirrored.cwd, env=env, capture_output=True, text=True, timeout=180, check=False)


def test_a_scheduler_that_cannot_be_reached_is_an_error_and_nothing_is_done_here(mirrored):
    address = f"tcp://127.0.0.1:{free_port()}"
    done = impatient(mirrored, address, "--json")
    assert done.returncode == 15
    (first, last) = done.stdout.splitlines()
    assert f"cannot reach the Dask scheduler {address}" in first
    assert '"exit":15' in last
    assert mirrored.aws.requests == []
    assert not mirrored.folder.exists()


def test_a_scheduler_without_workers_is_an_error(cluster, mirrored):
    done = impatient(mirrored, cluster.address)
    assert done.returncode == 15, done.stderr
    assert f"s3pull: the Dask scheduler {cluster.address} has no workers\n" in done.stderr
    assert mirrored.aws.asked("GetObject") == []


def test_a_scheduler_that_goes_away_is_an_error_and_what_was_fetched_is_kept(mirrored, tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("going"))
    try:
        two_workers(cluster, mirrored)
        mirrored.aws.bandwidth = 200_000
        running = mirrored.start("sync", mirrored.source, "m", "--dask", cluster.address)
        wait_until(lambda: len(mirrored.files()) > 20 if mirrored.folder.exists() else False, "nothing arrives")
    finally:
        cluster.stop()
    done = running.finish()
    assert done.code == 15, done.stderr
    assert "s3pull: lost the Dask scheduler " in done.stderr
    mirrored.aws.bandwidth = None
    assert mirrored.sync("--no-durable").code == 0
    assert mirrored.files() == BODIES | BIG


def test_processes_of_its_own(mirrored):
    """`local:2` needs no cluster; nothing of it is left."""
    done = mirrored.sync("--json", "--dask", "local:2")
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    assert mirrored.files() == BODIES | BIG
    assert mirrored.nothing_stray()
    assert summary(done.stdout)["downloaded"] == len(BODIES | BIG)


def test_workers_hold_to_a_list_of_checksums(mirrored):
    """What a worker fetches is held to the list that the run has read."""
    listed = {key: hashlib.sha256(body).hexdigest() for key, body in (BODIES | BIG).items()}
    listed["big/1"] = "0" * 64
    mirrored.put("SHA256SUMS", "".join(f"{digest}  {key}\n" for key, digest in listed.items()).encode())
    done = mirrored.sync("--json", "--dask", "local:2", "--checksums", "SHA256SUMS")
    assert done.code == 6, done.stderr
    assert {key for key, (_, reason) in told(done.stdout).items() if reason == "not-as-listed"} == {"big/1"}
    assert set(mirrored.files()) == set(BODIES | BIG) - {"big/1"} | {"SHA256SUMS"}
