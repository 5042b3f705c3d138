"""`sync` against a dict: random puts, overwrites, deletes, local edits, kills and syncs. After each completed sync the
tree is the bucket.

A kill is a real one (see `dying`).
"""

import contextlib
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from s3pull.errors import GuardRefused, NothingThere
from s3pull.local.directory import Directory
from s3pull.local.receipts import Receipts
from tests.pull.dying import die_at, in_a_fork
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror, tree

pytestmark = pytest.mark.slow

KEYS = ("a", "a/b", "a/b/c", "a-b", "a/d", "b/", "b/x", "big", "d/e/f", "é/ü", "z")
BIG = 300_000  # streamed to a part file; the others are written whole
#: where a run is killed: (class, method) before which it ends
STEPS = (
    (MemoryStore, "get"),
    (MemoryStore, "ask"),
    (Directory, "rename"),
    (Directory, "unlink"),
    (Receipts, "_commit"),
)


def conflicts(keys):
    """Keys that cannot all be files and folders of one tree."""
    files = {key for key in keys if not key.endswith("/")}
    folders = {key[:at] for key in keys for at, character in enumerate(key) if character == "/"}
    return files & folders


class Mirroring(RuleBasedStateMachine):
    """`bodies` is the bucket, `strays` are files that no sync made. `doubtful`: named by a run that was killed before
    it wrote a receipt, and then changed here; nobody can tell any more that a sync made it, so it is let be.
    """

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mirroring-"))
        self.dest = self.folder / "out"
        self.store = MemoryStore(page=3)
        self.bodies = {}
        self.strays = {}
        self.killed = False
        self.doubtful = set()
        self.edits = 0
        self.time = 1_700_000_000.0
        self.random = random.Random(0)

    def teardown(self):
        shutil.rmtree(self.folder)

    # --- the bucket ---------------------------------------------------------------------------------------

    def body(self, key, size=None):
        if key.endswith("/"):
            return b""
        return self.random.randbytes(size if size is not None else BIG if key == "big" else self.random.randrange(50))

    def put(self, key, body, step):
        self.time += step
        self.bodies[key] = body
        self.store.put(key, body, modified=self.time)

    @initialize()
    def begin(self):
        self.put("z", b"always", 1.0)

    @rule(key=st.sampled_from(KEYS), step=st.sampled_from([0.0, 1.0, -5000.0]))
    def put_object(self, key, step):
        self.put(key, self.body(key), step)

    @precondition(lambda self: any(not key.endswith("/") for key in self.bodies))
    @rule(data=st.data(), step=st.sampled_from([0.0, 1.0, -5000.0]))
    def overwrite_with_equal_size(self, data, step):
        key = data.draw(st.sampled_from(sorted(key for key in self.bodies if not key.endswith("/"))))
        self.put(key, self.body(key, len(self.bodies[key])), step)

    @precondition(lambda self: self.bodies)
    @rule(data=st.data())
    def delete_object(self, data):
        key = data.draw(st.sampled_from(sorted(self.bodies)))
        del self.bodies[key]
        self.store.delete(key)

    # --- the disk -----------------------------------------------------------------------------------------

    def files(self):
        found = tree(self.dest) if self.dest.exists() else {}
        # parts of killed runs have other names each time, and hypothesis wants the same choice for the same draw
        return sorted(path for path in found if path not in self.strays and ".s3pull-" not in path)

    @precondition(lambda self: self.files())
    @rule(data=st.data(), how=st.sampled_from(["append", "truncate", "same size", "touch", "remove", "link"]))
    def edit_here(self, data, how):
        name = data.draw(st.sampled_from(self.files()))
        path = self.dest / name
        body = path.read_bytes()
        if self.killed:
            self.doubtful.add(name)
        match how:
            case "append":
                path.write_bytes(body + b"!")
                self.edits += 1
            case "truncate":
                path.write_bytes(body[:-1])
                self.edits += 1
            case "same size":
                path.write_bytes(self.random.randbytes(len(body)))
            case "touch":
                os.utime(path, (self.random.randrange(10**9), self.random.randrange(10**9)))
            case "remove":
                path.unlink()
            case "link":
                path.unlink()
                path.symlink_to("/nowhere")

    @rule(name=st.sampled_from(["mine", "a/mine", "d/mine"]))
    def add_a_file(self, name):
        path = self.dest / name
        with contextlib.suppress(OSError):  # an object is a file where this needs a folder
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not s3pull's")
            self.strays[name] = b"not s3pull's"

    # --- runs ---------------------------------------------------------------------------------------------

    @rule(delete=st.booleans())
    def sync(self, delete):
        before = tree(self.dest) if self.dest.exists() else {}
        links = {path.relative_to(self.dest).as_posix() for path in self.dest.rglob("*") if path.is_symlink()}
        done = mirror(self.store, self.dest, delete=delete, limit="100%" if delete else None)
        if not self.bodies:
            assert isinstance(done.error, GuardRefused | NothingThere)
            assert tree(self.dest) == before
            return
        assert done.error is None
        here = tree(self.dest)
        refused = done.refused
        in_the_way = {name.partition("/")[0] for name in self.strays} | set(before) | links
        assert all(key in KEYS and (conflicts(self.bodies) or in_the_way) for key in refused)
        if delete and not (
            conflicts(self.bodies) or links or self.doubtful or any("/" in name for name in self.strays)
        ):
            assert not refused
        wanted = {key: body for key, body in self.bodies.items() if not key.endswith("/") and key not in refused}
        assert {key: here.get(key) for key in wanted} == wanted
        assert {path: here.get(path) for path in self.strays} == self.strays
        self.killed = False
        self.doubtful -= wanted.keys()
        if delete:
            assert set(here) - self.doubtful == (set(wanted) | set(self.strays)) - self.doubtful
        assert all((self.dest / key).is_dir() for key in self.bodies if key.endswith("/") and key not in refused)
        assert not list(self.dest.rglob(".s3pull-*"))
        self.store.gets.clear()
        self.store.heads.clear()
        again = mirror(self.store, self.dest)
        assert again.error is None
        assert (self.store.gets, self.store.heads, again.summary.downloaded) == ([], [], 0)
        assert again.summary.local_changes == 0

    @precondition(lambda self: self.bodies)
    @rule(delete=st.booleans(), step=st.sampled_from(STEPS), count=st.integers(1, 6))
    def kill_a_sync(self, delete, step, count):
        def work():
            die_at(step, count)
            mirror(self.store, self.dest, delete=delete, limit="100%" if delete else None)

        self.killed = True
        assert in_a_fork(work) in (0, 9)

    @invariant()
    def nothing_half_done_has_a_name(self):
        """What is under an object's name is a whole version of it, or what somebody here made of it."""
        big = self.dest / "big"
        assert not big.is_file() or abs(big.stat().st_size - BIG) <= self.edits


quick = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestMirroring = Mirroring.TestCase
TestMirroring.settings = quick


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thousands_of_steps():
    """A hundred times 200 steps; on a slow machine as many of these as begin within five minutes."""
    from hypothesis.stateful import run_state_machine_as_test

    began = time.monotonic()
    for number in range(100):
        if time.monotonic() - began > 300:
            break
        machine = type(f"Mirroring{number}", (Mirroring,), {})
        run_state_machine_as_test(machine, settings=settings(quick, max_examples=4, stateful_step_count=50))
