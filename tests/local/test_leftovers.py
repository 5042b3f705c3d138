"""What a killed run had written whole is taken up, and only that."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from s3pull.local import owner
from s3pull.local.leftovers import Leftovers
from s3pull.local.settle import write_whole
from s3pull.local.tree import Tree

DATA = b"what the killed run had of it"
IDENT = owner.part_ident("k", "e", len(DATA), "f")

LEAVE = """
import sys, zlib
from pathlib import Path
from s3pull.local import owner
from s3pull.local.settle import write_whole
from s3pull.local.tree import Tree
folder, ident, verified = sys.argv[1:4]
for data in sys.argv[4:]:
    data = data.encode()
    with Tree(Path(folder), create=True) as tree:
        name = owner.part_name(ident, owner.seal(zlib.crc32(data), verified == "v"))
        print(write_whole(tree.directory("a"), data, 1e9, name).name)
"""


@pytest.fixture
def tree(tmp_path: Path):
    with Tree(tmp_path, create=True) as made:
        made.directory("a")
        yield made


def left(tree: Tree, data: bytes = DATA, verified: str = "v") -> Path:
    """A part that a process which has ended wrote."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVE, str(tree.root), IDENT, verified, data.decode()],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    return tree.root / "a" / done.stdout.strip()


def taken(tree: Tree, ident: str = IDENT, size: int = len(DATA), *, verified: bool = False):
    leftovers = Leftovers(tree)
    leftovers.look(tree.directory("a"), dead_age=0.0)
    found = leftovers.take(tree.directory("a"), ident, size, zlib.crc32, verified=verified)
    leftovers.clear()
    return found


def names(tree: Tree) -> list[str]:
    return os.listdir(tree.root / "a")


@pytest.mark.parametrize("verified", ["v", "u"])
def test_a_whole_file_is_taken_over_by_its_name(tree: Tree, verified: str) -> None:
    before = left(tree, verified=verified).stat()
    found = taken(tree)
    assert found is not None
    assert (found.crc, found.verified) == (zlib.crc32(DATA), verified == "v")
    assert names(tree) == [found.name]
    assert owner.parse(found.name)[:1] + owner.parse(found.name)[2:4] == (found.name, IDENT, owner.own_token())
    after = (tree.root / "a" / found.name).stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, found.look.mtime_ns, found.look.size)


def torn(part: Path) -> None:
    os.truncate(part, 7)


def flipped(part: Path) -> None:
    part.write_bytes(DATA[:-1] + b"?")


def zeroed(part: Path) -> None:
    part.write_bytes(bytes(len(DATA)))


def linked(part: Path) -> None:
    os.link(part, part.parent.parent / "second")


def replaced_by_a_link(part: Path) -> None:
    (part.parent.parent / "elsewhere").write_bytes(DATA)
    part.unlink()
    part.symlink_to("../elsewhere")


@pytest.mark.parametrize("harm", [torn, flipped, zeroed, linked, replaced_by_a_link], ids=lambda harm: harm.__name__)
def test_what_is_not_what_its_name_says_is_removed(tree: Tree, harm) -> None:
    harm(left(tree))
    assert taken(tree) is None
    assert names(tree) == []


def test_another_objects_is_removed_at_the_end(tree: Tree) -> None:
    left(tree)
    assert taken(tree, owner.part_ident("k", "another", len(DATA), "f")) is None
    assert names(tree) == []


def test_an_unproven_one_is_not_enough_where_proof_is_asked_for(tree: Tree) -> None:
    left(tree, verified="u")
    assert taken(tree, verified=True) is None
    assert names(tree) == []


def test_of_several_one_that_is_whole_is_enough(tree: Tree) -> None:
    flipped(left(tree))
    left(tree)
    left(tree)
    found = taken(tree)
    assert found is not None
    assert names(tree) == [found.name]
    assert (tree.root / "a" / found.name).read_bytes() == DATA


def test_a_living_process_keeps_its_own(tree: Tree) -> None:
    name = write_whole(tree.directory("a"), DATA, None, owner.part_name(IDENT, owner.seal(zlib.crc32(DATA), True))).name
    assert taken(tree) is None
    assert names(tree) == [name]
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE + "\nsys.stdout.flush()\nsys.stdin.read()", str(tree.root), IDENT, "v", "x"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    try:
        theirs = process.stdout.readline().strip()
        assert taken(tree, size=1) is None
        assert sorted(names(tree)) == sorted([name, theirs])
    finally:
        process.communicate("")
    assert taken(tree, size=1) is not None


def test_who_comes_second_gets_nothing(tree: Tree) -> None:
    left(tree)
    first, second = Leftovers(tree), Leftovers(tree)
    for leftovers in (first, second):
        leftovers.look(tree.directory("a"), dead_age=0.0)
    assert first and second
    assert first.take(tree.directory("a"), IDENT, len(DATA), zlib.crc32, verified=False) is not None
    assert second.take(tree.directory("a"), IDENT, len(DATA), zlib.crc32, verified=False) is None
    second.clear()
    assert len(names(tree)) == 1
