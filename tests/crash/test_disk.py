"""A disk that is full, read-only, over quota or broken from some call on; folders that change under our feet; file
systems that fold names or have no locks; names and paths as long as can be.

What holds: exit 5 and a line that says why, nothing half under a final name, and the next run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import World
from tests.crash.layer import FAIL, SPACE, Fate, Op
from tests.crash.test_kill import (
    BIG,
    alike,
    body,
    ends_right,
    files_in,
    finals_are_whole,
    may_be_sent,
    newest,
    no_receipt_lies,
    put_all,
)
from tests.fakes import at
from tests.fakes.faults import then
from tests.mirrors import LONG_AGO

pytestmark = pytest.mark.slow

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
NOBODY = 65534
SQLITE = ("disk i/o error", "unable to open database file", "database or disk is full", "readonly database")
EVERYTHING = (*SPACE, "truncate", "rename", "unlink", "rmdir", "utime")
BODIES = {"a": body(1, 100), "d/b": body(2, 300), "big": body(3, BIG)}


def failing(
    world: World, *args: str, error: int, kinds: tuple[str, ...], sticky: bool = True, every: int = 1
) -> Iterator[Op]:
    """Run `args` once for each of its calls of these `kinds`, which fails, and with `sticky` all after it."""
    world.put_back()
    ops = ends_right(world, *args).ops
    calls = [number for number, op in enumerate(ops, 1) if op.kind in kinds and number not in alike(ops)]
    for number in calls[::every]:
        world.put_back()
        world.sent()
        ran = world(*args, fate=Fate(FAIL, number, kinds, error, sticky))
        if ran.hit is None:
            continue
        if ran.code != 0:
            assert ran.code == 5, (ran.hit.kind, ran.hit.path, ran.err)
            said = ran.err.lower()
            # SQLite keeps to itself what the kernel told it
            assert os.strerror(error).lower() in said or any(text in said for text in SQLITE), (ran.hit.path, said)
            assert "hint: " in ran.err, ran.err
        yield ran.hit


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("error", "kinds", "every"),
    [
        (errno.ENOSPC, SPACE, 1),
        (errno.EDQUOT, SPACE, 5),
        (errno.EROFS, EVERYTHING, 5),
        (errno.EIO, ("fsync", "fdatasync", "syncfs"), 1),
        (errno.EIO, ("write",), 5),
        (errno.EACCES, ("create", "mkdir", "rename", "unlink"), 3),
    ],
    ids=["full", "quota", "read-only", "sync fails", "write fails", "permission"],
)
def test_a_sync(world: World, error: int, kinds: tuple[str, ...], every: int) -> None:
    put_all(world, BODIES)
    ends_right(world, "ls", world.source)
    world.folder.mkdir()
    world.keep()
    command = ("sync", world.source, "m", "--jobs", "1", "--no-progress")
    for _ in failing(world, *command, error=error, kinds=kinds, every=every):
        finals_are_whole(world.folder, BODIES)
        no_receipt_lies(world.folder / ".s3pull", world.folder)
        most = may_be_sent(world.folder, BODIES)
        world.sent()
        ends_right(world, *command)
        assert world.files() == BODIES
        assert world.sent() <= most
        assert world.nothing_stray()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_publishing_on_a_full_disk(world: World) -> None:
    old = {"a": body(1, 100), "b": body(2, 200)}
    put_all(world, old)
    command = ("sync", world.source, "m", "--publish", "--jobs", "1", "--no-progress")
    ends_right(world, *command)
    new = {"a": body(1, 100), "b": body(7, 200), "d/new": body(10, 10)}
    put_all(world, new)
    world.keep()
    current = world.folder / "current"
    for _ in failing(world, *command, error=errno.ENOSPC, kinds=SPACE):
        assert files_in(current) in (old, new)
        most = 0 if files_in(current) == new else may_be_sent(newest(world.folder), {k: new[k] for k in ("b", "d/new")})
        world.sent()
        ends_right(world, *command)
        assert files_in(current) == new
        assert world.sent() <= most


@pytest.mark.slow
def test_get_into_a_mirror_on_a_full_disk(world: World) -> None:
    """The journal, too."""
    put_all(world, {"a": body(1, 100)})
    ends_right(world, "sync", world.source, "m")
    put_all(world, {"a": body(4, 150)})
    world.keep()
    command = ("get", world.source, "m/", "--jobs", "1", "--no-progress")
    for _ in failing(world, *command, error=errno.ENOSPC, kinds=SPACE):
        finals_are_whole(world.folder, {"a": body(1, 100)}, {"a": body(4, 150)})
        ends_right(world, "sync", world.source, "m")
        assert world.files() == {"a": body(4, 150)}
        assert world.nothing_stray()


def test_share_add_on_a_full_disk(world: World, isolated: Path) -> None:
    config = isolated / ".config" / "s3pull" / "config.toml"
    world.roots = (isolated,)
    ends_right(world, "share", "add", "first", "s3://one/in/")
    before = config.read_text()
    world.keep()
    for _ in failing(world, "share", "add", "second", "s3://two/in/", error=errno.ENOSPC, kinds=SPACE):
        assert config.read_text() == before
        assert sorted(os.listdir(config.parent)) == [".config.toml.lock", "config.toml"]


def test_a_cache_that_cannot_be_written_is_no_error(world: World, isolated: Path) -> None:
    world.put("a", b"text")
    world.roots = (isolated,)
    ran = world("get", "s3://data/in/a", "-", fate=Fate(FAIL, 1))
    assert (ran.code, ran.out) == (0, "text")


# --- the kernel's own -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(world: World) -> Iterator[World]:
    """The destination on a file system of 1 MiB."""
    world.folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", world.folder], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    yield world
    subprocess.run(["umount", "-l", world.folder], check=True)


def remount(world: World, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", world.folder], check=True)


@root_only
@pytest.mark.parametrize("command", ["get", "sync"])
def test_a_disk_of_a_mebibyte(small_disk: World, command: str) -> None:
    """`sync` knows before the first byte; `get` when it comes to it. With more room both go on."""
    world = small_disk
    bodies = {"1": body(1, 400_000), "2": body(2, 400_000), "3": body(3, 400_000), "4": body(4, 10)}
    put_all(world, bodies)
    dest = "m/" if command == "get" else "m"
    ran = world(command, world.source, dest, "--jobs", "1")
    assert ran.code == 5, ran.err
    assert "hint: " in ran.err
    assert len(ran.err.strip().splitlines()) <= 8, ran.err
    finals_are_whole(world.folder, bodies)
    most = may_be_sent(world.folder, bodies)
    world.sent()
    remount(world, "size=8m")
    ends_right(world, command, world.source, dest)
    assert world.files() == bodies
    assert world.sent() <= most


@root_only
def test_a_read_only_disk(small_disk: World) -> None:
    """It can be verified and read; what would have to be written is exit 5."""
    world = small_disk
    put_all(world, {"a": b"one"})
    ends_right(world, "sync", world.source, "m")
    put_all(world, {"a": b"other"})
    remount(world, "ro")
    for command in (("sync", world.source, "m"), ("get", world.source, "m/", "--overwrite")):
        ran = world(*command)
        assert ran.code == 5, ran.err
        assert "read-only" in ran.err
        assert "hint: " in ran.err
    assert world("verify", "m").code == 0
    assert world("sync", world.source, "m", "--dry-run").code == 0
    remount(world, "rw")
    ends_right(world, "sync", world.source, "m")
    assert world.files() == {"a": b"other"}


# --- under our feet -------------------------------------------------------------------------------------------------


@root_only
def test_permission_that_is_lost_in_mid_run(world: World, isolated: Path) -> None:
    """As another user than root, whom nothing stops."""
    for place in (Path(sys.prefix), Path(__file__).resolve().parent):
        for folder in (place, *place.parents):
            if not folder.stat().st_mode & 0o001:
                pytest.skip(f"{folder} is closed to nobody, and there is what he would have to load")
    bodies = {f"d/{number}": body(number, 300_000) for number in range(4)}
    put_all(world, bodies)
    for folder in (world.cwd.parent, world.cwd):
        folder.chmod(0o777)
    world.env |= {"HOME": str(world.cwd), "XDG_CACHE_HOME": str(world.cwd), "S3PULL_CACHE": "none"}
    folder = world.folder / "d"
    world.aws.fault(at("GetObject", key="in/d/2"), then(lambda: folder.chmod(0o555)))
    command = ("get", world.source, "m/", "--jobs", "1")
    ran = world(*command, fate=Fate(user=NOBODY))
    assert ran.code == 5, ran.err
    assert "permission denied" in ran.err
    assert "hint: " in ran.err
    finals_are_whole(world.folder, bodies)
    assert world(*command, fate=Fate(user=NOBODY)).code == 5
    folder.chmod(0o755)
    ran = world(*command, fate=Fate(user=NOBODY))
    assert ran.code == 0, ran.err
    assert world.files() == bodies


@pytest.mark.parametrize("command", ["get", "sync"])
@pytest.mark.parametrize("by", ["file", "link", "nothing"])
def test_a_folder_that_is_replaced_in_mid_run(world: World, command: str, by: str) -> None:
    """Nothing goes where the link leads, and when the folder is one again the next run makes all right."""
    bodies = {"d/1": body(1, 300_000), "d/2": body(2, 300), "d/e/3": body(3, 300)}
    put_all(world, bodies)
    outside, away = world.cwd / "outside", world.cwd / "away"
    outside.mkdir()
    (outside / "e").mkdir()
    folder = world.folder / "d"

    def swap() -> None:
        folder.rename(away)
        if by == "file":
            folder.write_bytes(b"in the way")
        elif by == "link":
            folder.symlink_to(outside)

    world.aws.fault(at("GetObject", key="in/d/1"), then(swap))
    args = (command, world.source, "m/" if command == "get" else "m", "--jobs", "1")
    ran = world(*args)
    assert ran.code in (0, 3, 5), ran.err
    assert sorted(path.name for path in outside.rglob("*")) == ["e"]
    if by != "nothing":
        assert world(*args).code == 3
        assert sorted(path.name for path in outside.rglob("*")) == ["e"]
        folder.unlink()
    ends_right(world, *args)
    assert world.files() == bodies


# --- file systems of other kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fold", "bodies", "alone"),
    [
        (1, {"Read": b"one", "read": b"two", "Dir/x": b"three", "dir/y": b"four", "Other": b"five"}, {"Other"}),
        (
            2,
            {"caf\u00e9": b"one", "cafe\u0301": b"two", "x\u00e9/y": b"three", "plain": b"four"},
            {"x\u00e9/y", "plain"},
        ),
    ],
    ids=["case", "form"],
)
@pytest.mark.parametrize("command", ["get", "sync"])
def test_a_file_system_that_folds_names(
    world: World, command: str, fold: int, bodies: dict[str, bytes], alone: set[str]
) -> None:
    """No two keys share a file, whoever is refused is named, and a second run finds all as it left it."""
    put_all(world, bodies)
    args = (command, world.source, "m/" if command == "get" else "m", "--json")
    ran = world(*args, fate=Fate(fold=fold))
    assert ran.code == 3, ran.err
    told = [json.loads(line) for line in ran.out.splitlines()]
    refused = {one["key"].removeprefix("in/") for one in told if one.get("action") == "refused"}
    had = set(bodies) - refused
    assert alone <= had
    assert refused
    assert sorted(world.files().values()) == sorted(bodies[key] for key in had)
    again = world(*args, fate=Fate(fold=fold))
    assert again.code == 3
    assert again.summary["received"] == 0
    assert sorted(world.files().values()) == sorted(bodies[key] for key in had)


def test_a_network_file_system_without_locks(world: World) -> None:
    """Neither flock nor fcntl: what rests on SQLite alone has the run lock in front of it."""
    put_all(world, BODIES)
    fate = Fate(nolock=True)
    for _ in range(2):
        ran = world("sync", world.source, "m", fate=fate)
        assert ran.code == 0, ran.err
        assert world.files() == BODIES
    assert world("verify", "m", fate=fate).code == 0
    world.put("a", b"new", last_modified=LONG_AGO + 5_000)
    assert world("get", world.source, "m/", fate=fate).code == 0
    assert world("share", "add", "acme", "s3://data/in/", fate=fate).code == 0
    assert world("sync", world.source, "m", "--delete", fate=fate).code == 0
    assert world.files() == BODIES | {"a": b"new"}


def test_names_as_long_as_can_be(world: World) -> None:
    fits, too_long = "n" * 255, "n" * 256
    umlauts = "\u00fc" * 127 + "x"
    put_all(world, {fits: b"1", too_long: b"2", umlauts: b"3", "\u00fc" * 128: b"4", f"{fits}x/y": b"5", "ok": b"6"})
    for args in (("get", world.source, "m/"), ("sync", world.source, "s")):
        ran = world(*args)
        assert ran.code == 3, ran.err
        assert "longer than 255 bytes" in ran.err
        folder = world.cwd / args[-1]
        assert {name: data for name, data in files_in(folder).items() if not name.startswith(".")} == {
            fits: b"1",
            umlauts: b"3",
            "ok": b"6",
        }


@pytest.mark.parametrize("length", [400, 600, 1_500, 4_000])
def test_paths_as_long_as_can_be(world: World, length: int) -> None:
    """Whole paths longer than 4,096 bytes. Receipts, and so a mirror, need a path that SQLite can open."""
    deep = "/".join(["k" * 100] * 9)
    put_all(world, {f"{deep}/a": b"one", "b": b"two"})
    folder = os.open(world.cwd, os.O_RDONLY)
    below = length - len(str(world.cwd)) - 2
    names = ["x" * 200] * (below // 201) + ["y" * (below % 201 or 1)]
    for name in names:
        os.mkdir(name, dir_fd=folder)
        above, folder = folder, os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(above)
    os.close(folder)
    dest = "/".join(names)
    assert abs(len(str(world.cwd / dest)) - length) < 5
    ran = world("get", world.source, f"{dest}/")
    assert ran.code == 0, ran.err
    ran = world("sync", world.source, dest)
    if length < 480:
        assert ran.code == 0, ran.err
        assert world("verify", dest).code == 0
    else:
        assert ran.code == 5
        assert "too long for SQLite" in ran.err
        assert "hint: choose a DEST" in ran.err
        assert not (world.cwd / dest / ".s3pull").exists()
    assert (world.cwd / dest / "b").read_bytes() == b"two"
    shutil.rmtree(world.cwd / names[0])
