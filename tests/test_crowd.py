"""Fifty processes on one cache, one configuration and one destination, and readers while all of them write."""

from __future__ import annotations

import random
import threading
import time
import tomllib
from pathlib import Path

import pytest

from tests.fakes import ALLOW_ALL
from tests.transcript import run_s3pull, start_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"
CROWD = 50
MIB = 1 << 20


@pytest.fixture
def acme(fake_aws, isolated):
    """A share `acme` of twelve objects, one of them large enough for a part file."""
    ana = fake_aws.user(CONSUMER, "ana")
    role = fake_aws.role(OWNER, "reader", trust={CONSUMER: "external"}, policy=ALLOW_ALL)
    fake_aws.bucket("acme", owner=OWNER)
    fake_aws.env_of_ana = fake_aws.env(ana)
    options = ["--role-arn", role, "--external-id", "external", "--region", "us-east-1"]
    done = run_s3pull(["share", "add", "acme", "s3://acme/", *options], fake_aws.env_of_ana, isolated)
    assert done.code == 0, done.stderr
    return fake_aws


def put(aws, turn):
    """The objects as they are at a turn; what a file may hold at any time is one of these."""
    bodies = {f"{n:02}": random.Random(f"{turn}/{n}").randbytes(300 * 1024 if n == 0 else 5000) for n in range(12)}
    for key, body in bodies.items():
        aws.put("acme", key, body)
    return bodies


class Readers:
    """Threads that read every file of a folder, again and again, until they are told to stop."""

    def __init__(self, folder: Path, right) -> None:
        self._folder, self._right = folder, right
        self._stop = threading.Event()
        self.wrong: list[str] = []
        self.read = 0
        self._threads = [threading.Thread(target=self._work) for _ in range(2)]

    def _work(self) -> None:
        while not self._stop.is_set():
            for path in self._folder.glob("[0-9]*"):
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue
                self.read += 1
                if content not in self._right[path.name]:
                    self.wrong.append(f"{path.name}: {len(content)} bytes")
            time.sleep(0.01)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_processes_on_one_cache_one_configuration_and_one_destination(acme, isolated, tmp_path):
    bodies = put(acme, 1)
    (tmp_path / "out").mkdir()
    right = {key: {body} for key, body in bodies.items()}
    config = next(isolated.rglob("config.toml"))
    with Readers(tmp_path / "out", right) as readers:
        running = []
        for n in range(CROWD):
            match n % 5:
                case 0:
                    command = ["share", "add", f"share-{n:02}", f"s3://bucket-{n}/"]
                case 1:
                    command = ["ls", "-r", "acme:"]
                case _:
                    command = ["get", "acme:", "out", *(["--overwrite"] if n % 5 == 2 else [])]
            running.append(start_s3pull(command, acme.env_of_ana, tmp_path))
            tomllib.loads(config.read_text())  # whole at any moment
        done = [one.finish(600) for one in running]
    assert [(n, one.code, one.stderr) for n, one in enumerate(done) if one.code] == []
    assert not readers.wrong
    assert acme.count("AssumeRole") == 1
    shares = tomllib.loads(config.read_text())["shares"]
    assert set(shares) == {"acme", *(f"share-{n:02}" for n in range(0, CROWD, 5))}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == bodies
    listings = {one.stdout for n, one in enumerate(done) if n % 5 == 1}
    assert listings == {"".join(f"{key}\n" for key in sorted(bodies))}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_readers_see_whole_files_while_a_mirror_changes(acme, tmp_path):
    """Objects are replaced between and during syncs while thirty runs compete: old or new is read, never half."""
    right: dict[str, set[bytes]] = {f"{n:02}": set() for n in range(12)}

    def turn(number):
        for key, body in put(acme, number).items():
            right[key].add(body)

    turn(0)
    assert run_s3pull(["sync", "acme:", "m"], acme.env_of_ana, tmp_path).code == 0
    codes = []
    with Readers(tmp_path / "m", right) as readers:
        for number in range(1, 4):
            # named right before it is put, so that no reader can be ahead of us
            for n in range(12):
                right[f"{n:02}"].add(random.Random(f"{number}/{n}").randbytes(300 * 1024 if n == 0 else 5000))
            running = [start_s3pull(["sync", "acme:", "m"], acme.env_of_ana, tmp_path) for _ in range(5)]
            last = put(acme, number)
            running += [
                start_s3pull(["sync", "acme:", "m", "--wait", "5m"], acme.env_of_ana, tmp_path) for _ in range(5)
            ]
            codes += [one.finish(600).code for one in running]
    assert set(codes) <= {0, 3, 12}  # 3: replaced again and again while it was read
    assert codes.count(0) >= 15
    assert not readers.wrong
    assert readers.read
    assert run_s3pull(["sync", "acme:", "m"], acme.env_of_ana, tmp_path).code == 0
    assert {key: (tmp_path / "m" / key).read_bytes() for key in last} == last
    assert not [path for path in (tmp_path / "m").rglob(".s3pull-*") if path.is_file()]
