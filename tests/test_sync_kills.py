"""`sync` as a process, killed at random: it ends right, and hardly a byte comes twice. And what a no-op run costs."""

import hashlib
import os
import random
import subprocess
import sys
import time

import pytest

from tests.transcript import run_s3pull, start_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_thousand_objects_killed_thirty_times(fake_aws, tmp_path):
    """The server counts what it sent: a killed process cannot say what it received. On a slow machine it is killed as
    often as five minutes allow."""
    chance = random.Random(3)
    ana = fake_aws.user(CONSUMER, "ana")
    role = fake_aws.role(OWNER, "reader", trust={CONSUMER: "external-id"})
    fake_aws.bucket("acme", owner=OWNER)
    bodies = {}
    for number in range(2000):
        size = 400_000 if number % 50 == 0 else chance.randrange(1, 8000)
        bodies[f"d{number % 7}/f{number}"] = chance.randbytes(size)
    for key, body in bodies.items():
        fake_aws.put("acme", key, body)
    total = sum(map(len, bodies.values()))
    env = {**fake_aws.env(ana), "S3PULL_ROLE_ARN": role, "S3PULL_EXTERNAL_ID": "external-id"}
    dest = tmp_path / "out"
    args = ["sync", "s3://acme/", str(dest), "-q"]

    def fetched():
        return sum(record.bytes_sent for record in list(fake_aws.requests) if record.action == "GetObject")

    fake_aws.bandwidth = 2_000_000.0  # of each connection: there is something to kill
    kills = 0
    enough = time.monotonic() + 300
    while kills < 30 and time.monotonic() < enough:
        before = fetched()
        running = start_s3pull(args, env, tmp_path)
        step = chance.uniform(0.0, 1.0) * total / 28
        deadline = time.monotonic() + 120
        while fetched() - before < step and running.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if running.process.poll() is not None:
            assert running.finish().code == 0
            break
        assert running.kill().code == -9
        kills += 1
    done = run_s3pull(args, env, tmp_path, timeout=300)
    assert (done.code, done.stderr) == (0, "")
    assert kills >= 3
    for key, body in bodies.items():
        assert hashlib.md5((dest / key).read_bytes()).digest() == hashlib.md5(body).digest()
    left = {path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file()}
    assert {path for path in left if not path.startswith(".s3pull/")} == set(bodies)
    assert fetched() < 1.2 * total


NO_OP = """
import os, resource, sys
from pathlib import Path
from s3pull.local.mirror import State
from s3pull.local.receipts import Receipts
from s3pull.local.tree import Tree
from s3pull.objects import Receipt, RemoteObject
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror

dest, count = Path(sys.argv[1]), int(sys.argv[2])
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
key = "d{0:03}/file-{1:07}".format

class Many(MemoryStore):
    def list(self, prefix="", *, start_after=""):
        for at in range(0, count, 1000):
            yield [RemoteObject(key(n // 1000, n), 0, ETAG, 1.7e9) for n in range(at, at + 1000)]

store = Many()
store.put(key(0, 0), b"")
first = os.fork()
if first == 0:
    for n in range(count):
        if n % 1000 == 0:
            (dest / f"d{n // 1000:03}").mkdir(parents=True)
            base = dest / key(n // 1000, n)
            base.touch()
            os.utime(base, (1.7e9, 1.7e9))
        else:
            os.link(base, dest / key(n // 1000, n))
    with Tree(dest, create=True, durable=False) as tree:
        state = State.open(tree, create=True)
        with Receipts.open(state.receipts_path(), durable=False) as receipts:
            for n in range(count):
                name = key(n // 1000, n)
                receipts.record(Receipt(name, name, 0, 1_700_000_000 * 10**9, ETAG))
    os._exit(0)
assert os.waitpid(first, 0)[1] == 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
done = mirror(store, dest)
assert done.error is None, done.error
assert (done.summary.skipped, done.summary.downloaded) == (count, 0)
assert (store.gets, store.heads) == ([], [])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_no_op_run_asks_and_reads_nothing_and_its_memory_is_flat(tmp_path):
    """Five times the objects need no more memory. ru_maxrss is KiB on Linux, bytes on macOS."""
    unit = 1 if sys.platform == "darwin" else 1024
    grown = []
    for count in (20_000, 100_000):
        done = subprocess.run(
            [sys.executable, "-c", NO_OP, str(tmp_path / str(count)), str(count)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout) * unit)
    assert grown[1] - grown[0] < 4 * 1024 * 1024, grown
