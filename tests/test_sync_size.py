"""What a `sync` of many objects costs where there is nothing to do."""

import os
import subprocess
import sys

import pytest

NO_OP = """
import os, resource, sys
from pathlib import Path
from s3pull.local.mirror import PLAIN, Mirror, State
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

def peak():
    # bytes; ru_maxrss begins with that of whoever started us, Linux has our own
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text().split()
        return int(status[status.index("VmHWM:") + 1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

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
        state.note(Mirror("bucket", "", "", "acme:", PLAIN, False))
    os._exit(0)
assert os.waitpid(first, 0)[1] == 0
before = peak()
done = mirror(store, dest)
assert done.error is None, done.error
assert (done.summary.skipped, done.summary.downloaded) == (count, 0)
assert (store.gets, store.heads) == ([], [])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_no_op_run_asks_and_reads_nothing_and_its_memory_is_flat(tmp_path):
    """Five times the objects need no more memory."""
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
        grown.append(int(done.stdout))
    assert grown[1] - grown[0] < 4 * 1024 * 1024, grown
