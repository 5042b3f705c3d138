"""A power cut after every single call of a run that was recorded: what may then be on the disk (`powercut`), and what
s3pull makes of it.

What holds of every such disk: no receipt speaks of bytes that are gone, and no final name is on half a file. What holds
after the run that follows: all is right and has its receipt. And what a run that ended well had done is safe: a cut
right after it costs nothing.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3pull.local.lockrecord import this_machine
from tests.crash.conftest import World
from tests.crash.layer import Fate, Op
from tests.crash.powercut import DATA, NAMES, Disk, Left
from tests.crash.test_kill import (
    body,
    ends_right,
    files_in,
    finals_are_whole,
    no_receipt_lies,
    put_all,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: so many of the disks are gone on from; all are looked at
RUNS = 10**9 if os.environ.get("CRASH_ALL") else 60


def own(name: str) -> bool:
    """Whether that is the name of a part file, or its log: what a cut leaves of them is harmless."""
    return name.rpartition("/")[2].startswith(".s3pull-")


def empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def cuts(before: Disk, ops: list[Op]) -> Iterator[tuple[int, Left]]:
    """Every disk that a cut may leave, once each, with the number of calls before it."""
    seen = set()
    for number in range(len(ops) + 1):
        if number:
            before.do(ops[number - 1])
        for names in NAMES:
            for data in DATA:
                left = before.left(names, data, random.Random(f"{number} {names} {data}"))
                if left not in seen or number == len(ops):
                    seen.add(left)
                    yield number, left


def cut_everywhere(
    world: World, *args: str, look: Callable[[], None], right: Callable[[], None], safe: Callable[[], None]
) -> None:
    """Record a run of `args`, cut it everywhere, `look` at what is left, run it again and see that all is `right`.

    `safe` has to hold when the run had ended, at once.
    """
    world.roots = (world.cwd,)
    world.keep()
    ends_right(world, *args)
    world.put_back()
    disk = Disk(world.cwd)
    ops = ends_right(world, *args).ops
    states = list(cuts(disk, ops))
    assert len(states) > len(ops) / 2
    chosen = set(random.Random(len(states)).sample(range(len(states)), min(RUNS, len(states))))
    for index, (number, left) in enumerate(states):
        empty(world.cwd)
        left.write(world.cwd)
        look()
        if number == len(ops):
            safe()
        if index in chosen:
            ran = world(*args)
            assert ran.code == 0, (ran.out, [entry for entry in left.entries if "lock" in entry[0]])
            right()


def cut_a_first_sync(world: World, bodies: dict[str, bytes]) -> None:
    """`cut_everywhere` a sync of `bodies` into nothing."""
    put_all(world, bodies)
    ends_right(world, "ls", world.source)

    def look() -> None:
        if world.folder.exists():
            finals_are_whole(world.folder, bodies)
            no_receipt_lies(world.folder / ".s3pull", world.folder)

    def safe() -> None:
        assert {name: data for name, data in world.files().items() if not own(name)} == bodies
        assert set(world.receipts()) == set(bodies)

    def right() -> None:
        safe()
        assert world.nothing_stray()

    cut_everywhere(world, "sync", world.source, "m", "--json", "--jobs", "1", look=look, right=right, safe=safe)


def test_the_first_sync(world: World) -> None:
    bodies = {"a": body(1, 100), "d/b": body(2, 300), "big": body(3, 300_000)}
    cut_a_first_sync(world, bodies)


def test_many_small_ones_that_one_syncfs_makes_safe(world: World) -> None:
    bodies = {f"{n % 3}/{n:02}": body(n, 20 + n) for n in range(20)}
    cut_a_first_sync(world, bodies)


def test_a_sync_that_replaces_and_deletes(world: World) -> None:
    old = {"a": body(1, 100), "b": body(2, 200), "gone/x": body(4, 50), "turns": body(5, 60)}
    put_all(world, old)
    ends_right(world, "sync", world.source, "m")
    new = {"a": body(1, 100), "b": body(7, 200), "turns/into": body(9, 70), "d/new": body(10, 10)}
    for key in old:
        world.delete(key)
    put_all(world, new)

    def look() -> None:
        finals_are_whole(world.folder, old, new)
        no_receipt_lies(world.folder / ".s3pull", world.folder, gone={"gone/x", "turns"})

    def safe() -> None:
        assert {name: data for name, data in world.files().items() if not own(name)} == new
        assert set(world.receipts()) == set(new)

    def right() -> None:
        safe()
        assert world.nothing_stray()

    cut_everywhere(
        world, "sync", world.source, "m", "--delete", "--json", "--jobs", "1", look=look, right=right, safe=safe
    )


def test_a_sync_that_publishes(world: World) -> None:
    old = {"a": body(1, 100), "b": body(2, 200), "gone": body(4, 50)}
    put_all(world, old)
    command = ("sync", world.source, "m", "--delete", "--publish", "--json", "--jobs", "1")
    ends_right(world, *command)
    new = {"a": body(1, 100), "b": body(7, 200), "d/new": body(10, 10)}
    world.delete("gone")
    put_all(world, new)
    current = world.folder / "current"

    def look() -> None:
        assert files_in(current) in (old, new)
        no_receipt_lies(current.resolve().parent, current)

    def safe() -> None:
        assert files_in(current) == new
        no_receipt_lies(current.resolve().parent, current)

    def right() -> None:
        safe()
        assert not [path for path in world.folder.iterdir() if path.name not in (".s3pull", "current")]

    cut_everywhere(world, *command, look=look, right=right, safe=safe)


@pytest.mark.parametrize("size", [300, 300_000], ids=["small", "large"])
def test_get(world: World, size: int) -> None:
    bodies = {"d/a": body(1, size)}
    put_all(world, bodies)
    ends_right(world, "ls", world.source)

    def look() -> None:
        if world.folder.exists():
            finals_are_whole(world.folder, bodies)

    def safe() -> None:
        assert {name: data for name, data in world.files().items() if not own(name)} == bodies

    def right() -> None:
        assert world.files() == bodies

    cut_everywhere(world, "get", world.source, "m/", "--json", "--jobs", "1", look=look, right=right, safe=safe)


def test_after_another_boot_all_is_right_too(world: World, tmp_path: Path) -> None:
    """Nobody can then say whose a part file is: it may stay for a week, and harms nothing."""
    if not all(this_machine()):
        pytest.skip("this machine cannot be told from others here (no machine-id, or a container)")
    bodies = {"a": body(1, 100), "big": body(3, 600_000)}
    put_all(world, bodies)
    ends_right(world, "ls", world.source)
    world.roots = (world.cwd,)
    world.keep()
    boot = tmp_path / "boot"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    disk = Disk(world.cwd)
    command = ("sync", world.source, "m", "--json", "--jobs", "1")
    states = list(cuts(disk, ends_right(world, *command).ops))
    for _, left in random.Random(1).sample(states, 30):
        empty(world.cwd)
        left.write(world.cwd)
        ran = world(*command, fate=Fate(boot=str(boot)))
        assert ran.code == 0, ran.err
        assert {name: data for name, data in world.files().items() if not own(name)} == bodies
        no_receipt_lies(world.folder / ".s3pull", world.folder)
