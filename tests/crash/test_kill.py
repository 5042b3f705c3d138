"""SIGKILL before every single call that changes the disk, and in the middle of every write; then the command again.

Each scenario is run until it ends unkilled, once for each call: so no boundary between part file, sync, rename, journal
and receipt is left out, those of SQLite among them. What holds after each kill: a final name is on whole bytes, no
receipt speaks of bytes that are not there. What holds after the run that follows: all is right, nothing stray is left,
and nothing was sent again that lay on the disk already (of a large object: that its log spoke of).
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3pull.local import owner
from s3pull.local.checkpoint import claims
from s3pull.local.receipts import Receipts
from s3pull.pull.large import SEGMENT
from s3pull.remote.checksums import encode, hasher
from tests.crash.conftest import World
from tests.crash.layer import KILL, KILLED, TEAR, Fate, Op, Ran
from tests.mirrors import LONG_AGO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1024 * 1024
BIG = 700_000


def body(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def alike(ops: list[Op]) -> set[int]:
    """The numbers, from 1, of those SQLite's writes before which another one went into the same file."""
    if os.environ.get("CRASH_ALL"):
        return set()
    calls = [(op.kind, op.path) for op in ops]
    return {
        number
        for number, call in enumerate(calls[1:], 2)
        if call == calls[number - 2] and call[0] == "write" and "receipts.db" in call[1]
    }


def deaths(world: World, *args: str) -> Iterator[Op]:
    """Run `args` again and again from the same beginning, and kill it before each of its calls, and in each write.

    Yields the call, when all lies there as the kill left it. Of SQLite's writes that follow on each other into the same
    file the first alone is taken, unless CRASH_ALL is set: what is between two syncs is for `test_power`.
    """
    world.put_back()
    plain = world(*args)
    assert plain.code == 0, plain.err
    before, skipped = plain.ops, alike(plain.ops)
    at, writes, hits = 1, [], 0
    while at <= len(before) + 20:
        if at not in skipped:
            world.put_back()
            world.sent()
            ran = world(*args, fate=Fate(KILL, at))
            if ran.hit is None:
                break
            assert ran.code == KILLED
            hits += 1
            if ran.hit.kind == "write" and "receipts.db" not in ran.hit.path:
                writes.append(at)
            yield ran.hit
        at += 1
    assert hits >= len(before) - len(skipped) - 20 and hits > 3
    for at in writes:
        world.put_back()
        world.sent()
        ran = world(*args, fate=Fate(TEAR, at))
        if ran.hit is not None:
            assert ran.code == KILLED
            yield ran.hit


def role_of(op: Op, root: Path) -> str:
    """What a call was for, whoever made it: `write part`, `rename final`, `fsync folder`, `write receipts.db`."""
    name = Path(op.path).name
    if name.startswith("receipts.db"):
        return f"{op.kind} {name}"
    for prefix, role in ((".s3pull-", "part"), ("journal-", "journal"), ("lock", "lock")):
        if name.startswith(prefix):
            return f"{op.kind} {'log' if name.endswith('.log') else role}"
    return f"{op.kind} {'folder' if Path(op.path).is_dir() else 'final'}"


def right(data: bytes, receipt) -> bool:
    digest = hasher(receipt.algorithm)
    assert digest is not None
    digest.update(data)
    return len(data) == receipt.size and encode(digest.digest()) == receipt.checksum


def receipts_of(folder: Path) -> list:
    """All receipts in `folder`, from a copy: to read them is to roll back what a kill left."""
    with tempfile.TemporaryDirectory() as made:
        return _receipts_of(folder, Path(made))


def _receipts_of(folder: Path, copy: Path) -> list:
    for name in ("receipts.db", "receipts.db-journal"):
        if (folder / name).exists():
            shutil.copy2(folder / name, copy / name)
    if not (copy / "receipts.db").exists() or not (copy / "receipts.db").stat().st_size:
        return []
    with Receipts.open(copy / "receipts.db") as receipts:
        return list(receipts.rows())


def no_receipt_lies(state: Path, tree: Path, gone: set[str] = frozenset()) -> None:
    """Whatever a receipt says of a file that looks as it says is so; only what was being deleted may be missing."""
    for receipt in receipts_of(state):
        path = tree / receipt.path
        if receipt.folder:
            continue
        if not path.is_file():
            assert receipt.key in gone, f"{receipt.key} has a receipt and no file"
            continue
        look = path.stat()
        if (look.st_size, look.st_mtime_ns) == (receipt.size, receipt.mtime_ns) and receipt.checksum:
            assert right(path.read_bytes(), receipt), f"the receipt of {receipt.key} lies"


def may_be_sent(folder: Path, bodies: dict[str, bytes]) -> int:
    """Bytes that were not on the disk yet: of objects with no whole file, named or not; of large ones, of no claim."""
    parts = {path.name: path for path in folder.rglob(".s3pull-*") if path.is_file()}
    whole = Counter(path.read_bytes() for name, path in parts.items() if (found := owner.parse(name)) and found.seal)
    total = 0
    for key, data in bodies.items():
        path = folder / key
        if path.is_file() and path.read_bytes() == data:
            continue
        if whole[data]:
            whole[data] -= 1
            continue
        claimed = 0
        for name, log in parts.items():
            if name.endswith(".log") and name.removesuffix(".log") in parts:
                header, segments, _ = claims(log.read_bytes())
                if header is not None and header.key.endswith(key):
                    written = sum(max(claim.done for claim in of) for of in segments.values())
                    claimed = max(claimed, written)
        total += len(data) - claimed
    return total


def finals_are_whole(folder: Path, *versions: dict[str, bytes]) -> None:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not path.name.startswith(".s3pull-") and ".s3pull" not in relative.parts:
            known = [bodies[relative.as_posix()] for bodies in versions if relative.as_posix() in bodies]
            assert path.read_bytes() in known, f"{relative} is neither of its versions"


def ends_right(world: World, *args: str) -> Ran:
    ran = world(*args)
    assert ran.code == 0, ran.err
    return ran


def put_all(world: World, bodies: dict[str, bytes]) -> None:
    """With a time that tells versions apart, as S3's does."""
    for key, data in bodies.items():
        world.put(key, data, last_modified=LONG_AGO + zlib.crc32(data) % 1000)


# --- get ------------------------------------------------------------------------------------------------------------

SMALL = {"a": body(1, 100), "d/b": body(2, 3000), "d/c": b""}


@pytest.mark.parametrize(
    ("bodies", "segment"),
    [(SMALL, SEGMENT), ({"big": body(3, BIG)}, SEGMENT), ({"big": body(4, 2 * BIG)}, MIB)],
    ids=["small", "one-segment", "two-segments"],
)
def test_get(world: World, bodies: dict[str, bytes], segment: int) -> None:
    world.env["CRASH_SEGMENT"] = str(segment)
    put_all(world, bodies)
    world.folder.mkdir()
    ends_right(world, "ls", world.source)
    world.keep()
    command = ("get", world.source, "m/", "--json", "--jobs", "1")
    for _ in deaths(world, *command):
        finals_are_whole(world.folder, bodies)
        most = may_be_sent(world.folder, bodies)
        world.sent()
        ends_right(world, *command)
        assert world.files() == bodies
        assert world.sent() <= most
        assert world.nothing_stray_of_get()


def test_get_that_goes_on(world: World) -> None:
    world.env["CRASH_SEGMENT"] = str(MIB)  # what is more than one segment has a log from its first bytes on
    bodies = {"big": body(4, 2 * BIG)}
    put_all(world, bodies)
    world.folder.mkdir()
    ends_right(world, "ls", world.source)
    world.keep()
    command = ("get", world.source, "m/", "--json", "--jobs", "1")
    writes = [op for op in ends_right(world, *command).ops if op.kind == "write"]
    world.put_back()
    half = next(n for n, op in enumerate(ends_right(world, *command).ops, 1) if op == writes[len(writes) // 2] or n > 9)
    world.put_back()
    assert world(*command, fate=Fate(KILL, half)).code == KILLED
    assert may_be_sent(world.folder, bodies) < 2 * BIG
    world.keep()
    for _ in deaths(world, *command):
        finals_are_whole(world.folder, bodies)
        most = may_be_sent(world.folder, bodies)
        assert most < 2 * BIG, "what was there before is not any more"
        world.sent()
        ends_right(world, *command)
        assert world.files() == bodies
        assert world.sent() <= most
        assert world.nothing_stray_of_get()


def test_get_into_a_mirror(world: World) -> None:
    """The journal: what it says is so, and the next sync believes it and fetches nothing."""
    bodies = {"a": body(1, 100), "b": body(2, 200)}
    put_all(world, bodies)
    ends_right(world, "sync", world.source, "m")
    (world.folder / "a").unlink()
    bodies["b"] = body(5, 250)
    put_all(world, bodies)
    world.keep()
    for _ in deaths(world, "get", world.source, "m/", "--json", "--jobs", "1"):
        finals_are_whole(world.folder, bodies, {"b": body(2, 200)})
        most = may_be_sent(world.folder, bodies)
        world.sent()
        ends_right(world, "sync", world.source, "m", "--json", "--jobs", "1")
        assert world.files() == bodies
        assert world.sent() <= most
        assert world.nothing_stray()
        no_receipt_lies(world.folder / ".s3pull", world.folder)


# --- sync -----------------------------------------------------------------------------------------------------------


def test_a_first_sync(world: World) -> None:
    world.env["CRASH_SEGMENT"] = str(MIB)
    bodies = {"a": body(1, 100), "d/b": body(2, 300), "big": body(3, 2 * BIG)}
    put_all(world, bodies)
    world.put("e/")
    ends_right(world, "ls", world.source)
    world.keep()
    command = ("sync", world.source, "m", "--json", "--jobs", "1")
    seen = set()
    for op in deaths(world, *command):
        seen.add(role_of(op, world.folder))
        finals_are_whole(world.folder, bodies)
        no_receipt_lies(world.folder / ".s3pull", world.folder)
        most = may_be_sent(world.folder, bodies)
        world.sent()
        ends_right(world, *command)
        assert world.files() == bodies
        assert set(world.receipts()) == {*bodies, "e/"}
        assert world.sent() <= most
        assert world.nothing_stray()
    # if the engine comes to do it otherwise, this test has to be looked at again
    assert seen >= {
        *("create part", "write part", "utime part", "fsync part", "rename final", "fsync folder"),
        *("write log", "unlink log", "create lock", "write lock", "unlink lock"),
        *("write receipts.db", "write receipts.db-journal", "fdatasync receipts.db", "truncate receipts.db-journal"),
    }


def test_a_sync_that_replaces_and_deletes(world: World) -> None:
    old = {"a": body(1, 100), "b": body(2, 200), "big": body(3, BIG), "gone/x": body(4, 50), "turns": body(5, 60)}
    put_all(world, old)
    ends_right(world, "sync", world.source, "m")
    new = {"a": body(1, 100), "b": body(7, 200), "big": body(8, BIG), "turns/into": body(9, 70), "d/new": body(10, 10)}
    for key in old:
        world.delete(key)
    put_all(world, new)
    world.keep()
    command = ("sync", world.source, "m", "--delete", "--json", "--jobs", "1")
    for _ in deaths(world, *command):
        finals_are_whole(world.folder, old, new)
        no_receipt_lies(world.folder / ".s3pull", world.folder, gone={"gone/x", "turns"})
        most = may_be_sent(world.folder, new)
        world.sent()
        ends_right(world, *command)
        assert world.files() == new
        assert set(world.receipts()) == set(new)
        assert world.sent() <= most
        assert world.nothing_stray()
        assert sorted(os.listdir(world.folder)) == [".s3pull", "a", "b", "big", "d", "turns"]


def test_a_sync_that_publishes(world: World) -> None:
    old = {"a": body(1, 100), "b": body(2, 200), "gone": body(4, 50)}
    put_all(world, old)
    command = ("sync", world.source, "m", "--delete", "--publish", "--json", "--jobs", "1")
    ends_right(world, *command)
    new = {"a": body(1, 100), "b": body(7, 200), "d/new": body(10, 10)}
    world.delete("gone")
    put_all(world, new)
    world.keep()
    fetched = {key: data for key, data in new.items() if old.get(key) != data}
    for _ in deaths(world, *command):
        current = world.folder / "current"
        assert files_in(current) in (old, new)
        no_receipt_lies(current.resolve().parent, current)
        most = 0 if files_in(current) == new else may_be_sent(newest(world.folder), fetched)
        world.sent()
        ends_right(world, *command)
        assert files_in(current) == new
        no_receipt_lies(current.resolve().parent, current)
        assert world.sent() <= most
        assert sorted(os.listdir(world.folder)) == [".s3pull", "current"]
        left = {name for name in os.listdir(world.folder / ".s3pull") if not name.endswith("-journal")}
        assert left == {"releases", "source.json"}
        assert len(os.listdir(world.folder / ".s3pull" / "releases")) == 2


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def newest(dest: Path) -> Path:
    """The tree that is being built, or was and has its name already."""
    staging = dest / ".s3pull" / "staging" / "tree"
    releases = sorted((dest / ".s3pull" / "releases").iterdir())
    return staging if staging.exists() or len(releases) < 2 else releases[-1] / "tree"


def test_verify_that_repairs(world: World) -> None:
    bodies = {"a": body(1, 100), "b": body(2, 200), "c": body(3, 300)}
    put_all(world, bodies)
    ends_right(world, "sync", world.source, "m")
    flipped = bytearray(bodies["b"])
    flipped[7] ^= 1
    look = (world.folder / "b").stat()
    (world.folder / "b").write_bytes(flipped)
    os.utime(world.folder / "b", ns=(look.st_mtime_ns, look.st_mtime_ns))
    (world.folder / "c").unlink()
    world.keep()
    command = ("verify", "m", "--repair", "--json")
    for _ in deaths(world, *command):
        finals_are_whole(world.folder, bodies, {"b": bytes(flipped)})
        most = may_be_sent(world.folder, bodies)
        world.sent()
        ends_right(world, *command)
        assert world.files() == bodies
        assert world.sent() <= most
        assert world.nothing_stray(), list(world.folder.rglob("*"))
        no_receipt_lies(world.folder / ".s3pull", world.folder)


# --- what is remembered ---------------------------------------------------------------------------------------------


def aged(folder: Path) -> None:
    """What a killed writer left was left a while ago."""
    for path in folder.rglob("*.new"):
        os.utime(path, (path.stat().st_mtime - 120,) * 2)


def test_share_add(world: World, isolated: Path) -> None:
    config = isolated / ".config" / "s3pull" / "config.toml"
    world.roots = (isolated,)
    ends_right(world, "share", "add", "first", "s3://one/in/", "--external-id", "f" * 20, "--role-arn", ROLE)
    before = config.read_text()
    world.keep()
    command = ("share", "add", "second", "s3://two/in/", "--replace")
    for _ in deaths(world, *command):
        left = config.read_text()
        assert left == before or (left.startswith(before) and "second" in left)
        aged(isolated)
        ends_right(world, *command)
        assert [line for line in config.read_text().splitlines() if line.startswith("[")] == [
            "[shares.first]",
            "[shares.second]",
        ]
        assert [name for name in os.listdir(config.parent) if name not in ("config.toml", ".config.toml.lock")] == []


ROLE = "arn:aws:iam::111111111111:role/reader"


def test_the_cache_of_sessions(world: World, isolated: Path) -> None:
    """A torn entry is a miss, never an error; and no session that a kill left half written outlives `logout`."""
    cache = isolated / ".cache"
    world.aws.role("111111111111", "reader", trust={"222222222222": "external-id"})
    world.env |= world.aws.env(world.aws.user("222222222222", "ben"))
    world.put("a", b"text")
    world.roots = (isolated,)
    command = ("get", "s3://data/in/a", "-", "--role-arn", ROLE, "--external-id", "external-id")
    world.keep()
    for number, op in enumerate(deaths(world, *command)):
        for path in cache.rglob("*.new"):
            assert path.stat().st_mode & 0o077 == 0
        if op.path.endswith(".new") or number % 5 == 0:
            ends_right(world, "logout", "--all")
            assert not [path for path in cache.rglob("*") if path.is_file() and b"SecretAccessKey" in path.read_bytes()]
            assert not list(cache.rglob("*.new"))
        assert ends_right(world, *command).out == "text"
        assert ends_right(world, *command).out == "text"
