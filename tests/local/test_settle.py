"""Complete files: durable before they are named, each told once, and nothing half done after a crash."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3pull.errors import Cancelled, DiskError, NameRefused, ObjectError, S3pullError
from s3pull.local import durability, settle
from s3pull.local import tree as tree_module
from s3pull.local.directory import Directory
from s3pull.local.parts import sweep
from s3pull.local.settle import Settler, write_whole
from s3pull.local.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path, create=True) as made:
        yield made


class Told:
    """Remembers what each file was told, and what was there then."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[S3pullError | None]] = {}

    def of(self, name: str) -> Callable[[S3pullError | None], None]:
        return lambda error: self.by_name.setdefault(name, []).append(error)

    def all_well(self, count: int) -> bool:
        return len(self.by_name) == count and all(told == [None] for told in self.by_name.values())


def add_files(settler: Settler, directory: Directory, told: Told, count: int, data: bytes = b"data") -> None:
    for number in range(count):
        name = f"f{number}"
        settler.add(
            directory,
            write_whole(directory, data, 1_600_000_000.0).name,
            name,
            None,
            told.of(f"{directory.relative}/{name}"),
        )


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("syncfs", [True, False])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_all_files_get_their_names(tree: Tree, tmp_path: Path, durable: bool, syncfs: bool, count: int) -> None:
    told = Told()
    with Settler(durable, syncfs) as settler:
        for relative in ("a", "b/c"):
            add_files(settler, tree.directory(relative), told, count)
    assert told.all_well(2 * count)
    for relative in ("a", "b/c"):
        assert sorted(os.listdir(tmp_path / relative)) == sorted(f"f{number}" for number in range(count))
        for number in range(count):
            there = tmp_path / relative / f"f{number}"
            assert there.read_bytes() == b"data"
            assert there.stat().st_mtime == 1_600_000_000.0


def test_the_time_can_be_set_later(tree: Tree, tmp_path: Path) -> None:
    for durable in (True, False):
        told = Told()
        with Settler(durable) as settler:
            settler.add(
                tree.directory(""), write_whole(tree.directory(""), b"x").name, "f", 1_500_000_000.5, told.of("f")
            )
        assert (tmp_path / "f").stat().st_mtime == 1_500_000_000.5
        assert told.all_well(1)


@pytest.mark.parametrize("directories", [1, 20])
@pytest.mark.parametrize("count", [2, 40])
def test_the_order_of_things(tree: Tree, monkeypatch: pytest.MonkeyPatch, directories: int, count: int) -> None:
    """Data, then names, then directories, then the word."""
    steps: list[str] = []
    real_rename = Directory.rename

    def step(name: str) -> None:
        if not steps or steps[-1] != name:
            steps.append(name)

    monkeypatch.setattr(durability, "syncfs", lambda: lambda fd: step("syncfs"))
    monkeypatch.setattr(durability, "sync_file", lambda fd, what, barrier=True: step("fsync"))
    monkeypatch.setattr(tree_module, "sync_directory", lambda fd, what: step("directory"))
    monkeypatch.setattr(Directory, "rename", lambda *given: (step("rename"), real_rename(*given))[1])
    with Settler(True, seconds=60) as settler:
        for number in range(count):
            directory = tree.directory(f"d{number % directories}")
            settler.add(directory, write_whole(directory, b"x").name, f"f{number}", None, lambda error: step("told"))
    data = "syncfs" if count >= 16 else "fsync"
    names = "syncfs" if min(directories, count) >= 16 else "directory"
    assert steps == [data, "rename", names, "told"]


def test_no_name_is_there_before_its_data_is_durable(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(durability, "syncfs", lambda: lambda fd: seen.append(os.listdir(tmp_path / "a")))
    told = Told()
    with Settler(True, seconds=60) as settler:
        add_files(settler, tree.directory("a"), told, 50)
    assert len(seen[0]) == 50
    assert all(name.startswith(".s3pull-") for name in seen[0])
    assert told.all_well(50)


def test_batches_are_bounded_by_time(tree: Tree, tmp_path: Path) -> None:
    told = Told()
    with Settler(True, seconds=0.05) as settler:
        for number in range(3):
            add_one = f"f{number}"
            settler.add(tree.directory(""), write_whole(tree.directory(""), b"x").name, add_one, None, told.of(add_one))
            deadline = time.monotonic() + 10
            while not (tmp_path / add_one).exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            assert (tmp_path / add_one).exists()


@pytest.mark.parametrize("bound", ["files", "bytes"])
def test_batches_are_bounded_by_number_and_bytes(tree: Tree, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(settle, "_BATCH_FILES", 10)
    arrived = threading.Event()
    with Settler(True, seconds=3600) as settler:
        for number in range(10 if bound == "files" else 2):
            part = write_whole(tree.directory(""), b"x").name
            size = 0 if bound == "files" else settle._BATCH_BYTES // 2
            settler.add(tree.directory(""), part, f"f{number}", None, lambda error: arrived.set(), size=size)
        assert arrived.wait(10)


def test_flush_returns_when_all_is_done(tree: Tree) -> None:
    told = Told()
    with Settler(True, seconds=3600) as settler:
        settler.flush()
        add_files(settler, tree.directory("a"), told, 30)
        settler.flush()
        assert told.all_well(30)
        add_files(settler, tree.directory("b"), told, 3)
        settler.flush()
        assert told.all_well(33)


def test_whoever_adds_too_fast_waits(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "_WAITING", 30)
    monkeypatch.setattr(settle, "_BATCH_FILES", 20)
    go = threading.Event()
    monkeypatch.setattr(durability, "syncfs", lambda: lambda fd: go.wait(10) and None)
    told = Told()
    with Settler(True, seconds=0.01) as settler:
        thread = threading.Thread(target=add_files, args=(settler, tree.directory("a"), told, 200))
        thread.start()
        time.sleep(0.2)
        assert thread.is_alive()
        assert len(settler._waiting) <= 30
        go.set()
        thread.join(10)
    assert told.all_well(200)


# --- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("count", [3, 40])
def test_a_file_that_cannot_be_named_hurts_no_other(tree: Tree, tmp_path: Path, durable: bool, count: int) -> None:
    (tmp_path / "a/f1").mkdir(parents=True)
    told = Told()
    with Settler(durable) as settler:
        directory = tree.directory("a")
        add_files(settler, directory, told, count)
        settler.add(directory, ".s3pull-gone", "gone", None, told.of("gone"))
    [refused] = told.by_name.pop("a/f1")
    assert isinstance(refused, NameRefused)
    [gone] = told.by_name.pop("gone")
    assert isinstance(gone, ObjectError)
    assert told.all_well(count - 1)
    assert sorted(os.listdir(tmp_path / "a")) == sorted(f"f{number}" for number in range(count))


@pytest.mark.parametrize("count", [3, 40])
def test_a_disk_error_stops_everything(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durability, "syncfs", lambda: full)
    monkeypatch.setattr(os, "fsync", full)
    told = Told()
    directory = tree.directory("a")
    settler = Settler(True, seconds=3600)
    add_files(settler, directory, told, count)
    with pytest.raises(DiskError, match="no space left"):
        settler.flush()
    with pytest.raises(DiskError):
        settler.add(directory, write_whole(directory, b"").name, "late", None, told.of("late"))
    with pytest.raises(DiskError):
        settler.close()
    assert len(told.by_name) == count
    assert all(isinstance(error, DiskError) for [error] in told.by_name.values())
    assert all(name.startswith(".s3pull-") for name in os.listdir(tmp_path / "a"))


def test_not_durable_a_disk_error_is_raised_and_told(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    told = Told()
    settler = Settler(False)
    part = write_whole(tree.directory(""), b"").name
    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(DiskError):
        settler.add(tree.directory(""), part, "f", None, told.of("f"))
    assert isinstance(told.by_name["f"][0], DiskError)


def test_who_waits_hears_of_a_failing_callback(tree: Tree) -> None:
    def fail(error: S3pullError | None) -> None:
        raise ZeroDivisionError

    settler = Settler(True, seconds=3600)
    settler.add(tree.directory(""), write_whole(tree.directory(""), b"").name, "f", None, fail)
    with pytest.raises(ZeroDivisionError):
        settler.flush()
    with pytest.raises(ZeroDivisionError):
        settler.close()


def test_a_closed_settler_takes_nothing(tree: Tree) -> None:
    settler = Settler(True)
    settler.close()
    with pytest.raises(ValueError, match="closed"):
        settler.add(tree.directory(""), ".s3pull-x", "x", None, lambda error: None)


def test_abandoning_removes_what_waits(tree: Tree, tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(KeyboardInterrupt), Settler(True, seconds=3600) as settler:
        add_files(settler, tree.directory("a"), told, 10)
        raise KeyboardInterrupt
    assert told.by_name == {}
    assert os.listdir(tmp_path / "a") == []
    assert settler._thread is not None
    settler._thread.join(5)
    assert not settler._thread.is_alive()


@pytest.mark.parametrize("name", ["write", "utime"])
def test_a_write_that_fails_leaves_nothing(tree: Tree, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    directory = tree.directory("")

    def full(*given: object, **more: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if name == "utime":
        os.supports_fd.add(full)
    monkeypatch.setattr(os, name, full)
    with pytest.raises(DiskError, match="no space"):
        write_whole(directory, b"data", 1.0)
    assert directory.names() == []


def test_short_writes_are_completed(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    data = os.urandom(1000)
    name = write_whole(tree.directory(""), memoryview(data)).name
    assert (tmp_path / name).read_bytes() == data


@pytest.mark.parametrize("durable", [True, False])
def test_what_another_run_can_go_on_with_is_kept(tree: Tree, tmp_path: Path, durable: bool) -> None:
    directory = tree.directory("a")
    (tmp_path / "a/taken").mkdir()
    told = Told()
    kept, dropped = (write_whole(directory, b"data").name for _ in range(2))
    with Settler(durable) as settler:
        settler.add(directory, kept, "taken", None, told.of("kept"), keep=True)
        settler.add(directory, dropped, "taken", None, told.of("dropped"))
    assert all(isinstance(error, NameRefused) for [error] in told.by_name.values())
    assert sorted(os.listdir(tmp_path / "a")) == sorted([kept, "taken"])


def test_abandoning_keeps_what_another_run_can_go_on_with(tree: Tree, tmp_path: Path) -> None:
    part = write_whole(tree.directory(""), b"data").name
    settler = Settler(True, seconds=3600)
    settler.add(tree.directory(""), part, "f", None, lambda error: None, keep=True)
    settler.close(abandon=True)
    assert os.listdir(tmp_path) == [part]


# --- files that still grow ------------------------------------------------------------------------------


def test_a_growing_file_is_synced_beside_the_rest_and_once_though_asked_for_often(tree: Tree) -> None:
    calls: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def slow() -> None:
        calls.append(threading.current_thread().name)
        begun.set()
        go.wait(10)

    with Settler(True, seconds=3600) as settler:
        settler.sync_soon(slow)
        assert begun.wait(10)
        for _ in range(5):
            settler.sync_soon(slow)
        go.set()
        while len(calls) < 2:
            time.sleep(0.001)
    assert calls == ["settle", "settle"]


def test_what_is_complete_goes_before_what_grows(tree: Tree) -> None:
    order: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go.wait(10)

    settler = Settler(True, seconds=0)
    settler.sync_soon(first)
    assert begun.wait(10)
    settler.sync_soon(lambda: order.append("growing"))
    name = write_whole(tree.directory(""), b"").name
    settler.add(tree.directory(""), name, "f", None, lambda error: order.append("named"))
    go.set()
    while len(order) < 2:
        time.sleep(0.001)
    settler.close()
    assert order == ["named", "growing"]


def test_a_disk_that_fails_under_a_growing_file_stops_everything(tree: Tree, tmp_path: Path) -> None:
    """The kernel tells of a failed write once: the sync at the end would find nothing wrong."""

    def broken() -> None:
        raise DiskError("cannot sync 'f': Input/output error")

    told = Told()
    settler = Settler(True, seconds=3600)
    settler.sync_soon(broken)
    while settler._error is None:
        time.sleep(0.001)
    for call in (
        lambda: settler.sync_soon(broken),
        lambda: settler.add(tree.directory(""), write_whole(tree.directory(""), b"").name, "f", None, told.of("f")),
        settler.close,
    ):
        with pytest.raises(DiskError, match="Input/output"):
            call()
    assert "f" not in os.listdir(tmp_path)


def test_a_growing_file_that_was_closed_meanwhile_is_nobodys_failure(tree: Tree, tmp_path: Path) -> None:
    def closed() -> None:
        raise Cancelled("closed")

    with Settler(True) as settler:
        settler.sync_soon(closed)
        add_files(settler, tree.directory("a"), Told(), 1)
    assert os.listdir(tmp_path / "a") == ["f0"]


def test_not_durable_nothing_is_synced() -> None:
    settler = Settler(False)
    settler.sync_soon(lambda: pytest.fail("synced"))
    assert settler._thread is None
    settler.close()


# --- crashes --------------------------------------------------------------------------------------------

CRASHING = """
import sys, os
from pathlib import Path
from s3pull.local.settle import Settler, write_whole
from s3pull.local.tree import Tree
with Tree(Path(sys.argv[1]), create=True) as tree:
    directory = tree.directory("a")
    settler = Settler(True, seconds=0.02)
    for number in range(100000):
        part = write_whole(directory, b"%d" % number * 100, 1e9).name
        settler.add(directory, part, f"f{number}", None, lambda error: None)
        if number == 50:
            print("going", flush=True)
"""


def test_a_crash_leaves_whole_files_and_parts_that_are_swept(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CRASHING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.15)
    process.kill()
    process.communicate()
    for there in (tmp_path / "a").iterdir():
        if not there.name.startswith(".s3pull-"):
            assert there.read_bytes() == b"%d" % int(there.name[1:]) * 100
    with Tree(tmp_path, create=True) as tree:
        sweep(tree.directory("a"))
        assert not tree.directory("a").names(".s3pull-")


def test_syncfs_is_the_real_thing(tmp_path: Path) -> None:
    sync = durability.syncfs()
    assert sync is not None
    fd = os.open(tmp_path, os.O_RDONLY)
    sync(fd)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync(fd)
