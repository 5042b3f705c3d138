"""Part files: one inode and one writer, whoever was killed, whatever was torn, flipped, planted or full."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3pull.errors import Cancelled, DiskError, NameRefused, ObjectError
from s3pull.local import durability, openfile, owner, parts
from s3pull.local import tree as tree_module
from s3pull.local.checkpoint import Claim, Header, claims, longest_match
from s3pull.local.directory import Directory
from s3pull.local.owner import State
from s3pull.local.parts import PartFile, find, sweep
from s3pull.local.pieces import Pieces
from s3pull.local.tree import Probe, Tree
from tests.local.writer import content, crc, finish, header, write_segment
from tests.waiting import wait_until

SIZE, SEGMENT = 350_000, 100_000
HEADER = header(SIZE, SEGMENT)
DATA = content(1, SIZE)
IDENT = owner.part_ident(*HEADER[:3], "final")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Tree(tmp_path, create=True) as tree:
        yield tree.directory("a")


def begin(directory: Directory, *segments: int, final: str = "final", keep: bool = False) -> PartFile:
    """A part in which these segments are written and noted."""
    part = PartFile.create(directory, final, owner.part_ident(*HEADER[:3], final), HEADER)
    for segment in segments:
        write_segment(part, memoryview(DATA), segment, 0)
    if keep:
        part.close()
    return part


def complete(part: PartFile) -> None:
    for segment in range(part.header.segments):
        write_segment(part, memoryview(DATA), segment, 0)
    finish(part)


def make_owned_by(directory: Directory, part: PartFile, token: str) -> str:
    """Rename a closed part as if the process with `token` had begun it; its new name."""
    name = f".s3pull-{IDENT}-{token}-00000000"
    assert directory.rename(part.name, name)
    assert directory.rename(part.name + ".log", name + ".log")
    parts._seen.pop(directory, None)
    return name


def dead_token() -> str:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{owner.this_host().place}{process.pid:08x}{1:016x}"


FOREIGN = "0badc0de" + "0" * 6 + "17" + "0" * 15 + "5"


# --- one part -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_from_the_first_byte_to_the_name(directory: Directory, tmp_path: Path, durable: bool) -> None:
    part = PartFile.open(directory, "final", HEADER)
    assert part.claimed == {}
    assert part.resume(0, crc) == (0, 0)
    assert (tmp_path / "a" / part.name).stat().st_size == SIZE
    part.write_at(300_000, memoryview(DATA)[300_000:])
    part.write_at(0, memoryview(DATA)[:300_000])
    buffer = memoryview(bytearray(10))
    assert part.read_at(299_995, buffer) == 10
    assert buffer == DATA[299_995:300_005]
    assert part.read_at(SIZE - 4, buffer) == 4
    assert part.read_at(SIZE, buffer) == 0
    part.datasync()
    assert not (tmp_path / "a/final").exists()
    found = finish(part, 1_600_000_000.25, durable=durable)
    assert os.listdir(tmp_path / "a") == ["final"]
    assert (tmp_path / "a/final").read_bytes() == DATA
    there = (tmp_path / "a/final").stat()
    assert (found.size, found.mtime_ns) == (there.st_size, there.st_mtime_ns) == (SIZE, 1_600_000_000_250_000_000)


def test_a_log_comes_with_the_first_checkpoint(directory: Directory) -> None:
    part = PartFile.open(directory, "final", HEADER)
    assert (directory.names(), part.logged) == ([part.name], False)
    part.write_at(0, memoryview(DATA)[:10])
    threads = [threading.Thread(target=part.checkpoint, args=(n, 10, crc(memoryview(DATA)[:10], 0))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(directory.names()) == [part.name, part.name + ".log"]
    part.close()
    [found] = find(directory, IDENT)
    assert sorted(found.segments) == [0, 1, 2, 3]


@pytest.mark.parametrize("logged", [True, False])
def test_what_is_complete_is_known_by_its_log_or_else_by_its_name(directory: Directory, logged: bool) -> None:
    part = PartFile.open(directory, "final", HEADER)
    part.write_at(0, memoryview(DATA))
    if logged:
        part.checkpoint(0, 10, 1)
    part.complete(None, owner.seal(7, True))
    facts = owner.parse(part.name)
    assert facts is not None
    assert (facts.ident, facts.seal) == (IDENT, "" if logged else owner.seal(7, True))
    assert sorted(directory.names()) == ([part.name, part.name + ".log"] if logged else [part.name])
    assert facts.part in parts._open_here or part.name in parts._open_here


def test_an_empty_object(directory: Directory, tmp_path: Path) -> None:
    finish(PartFile.open(directory, "empty", Header("k", "e", 0, SEGMENT, "CRC32")))
    assert (tmp_path / "a/empty").read_bytes() == b""


def test_a_name_of_255_bytes(directory: Directory, tmp_path: Path) -> None:
    complete(PartFile.open(directory, "n" * 255, HEADER))
    assert (tmp_path / "a" / ("n" * 255)).read_bytes() == DATA


def test_what_the_disk_has_no_room_for_is_sparse(directory: Directory, tmp_path: Path) -> None:
    part = PartFile.open(directory, "final", HEADER._replace(size=1 << 43))
    assert (tmp_path / "a" / part.name).stat().st_blocks < 100
    part.discard()


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is taken elsewhere")
def test_a_new_part_has_its_room_on_the_disk_and_no_data(directory: Directory, tmp_path: Path) -> None:
    part = PartFile.open(directory, "final", HEADER)
    path = tmp_path / "a" / part.name
    assert path.stat().st_blocks * 512 >= SIZE
    with path.open("rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0
    part.discard()


def test_what_is_open_is_not_to_be_taken_and_what_is_closed_is(directory: Directory, tmp_path: Path) -> None:
    part = begin(directory, 0)
    assert parts.takeable_bytes(directory) == 0
    part.close()
    assert (
        parts.takeable_bytes(directory) == sum(path.stat().st_blocks * 512 for path in (tmp_path / "a").iterdir()) > 0
    )
    make_owned_by(directory, part, FOREIGN)
    assert parts.takeable_bytes(directory) == 0


def test_discard_leaves_nothing(directory: Directory) -> None:
    part = begin(directory, 0, 1)
    part.discard()
    assert directory.names() == []


def test_finish_does_not_replace_a_folder(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "a/final").mkdir()
    part = begin(directory, 0)
    with pytest.raises(NameRefused, match="folder"):
        finish(part)
    assert part.name in directory.names()
    part.discard()
    assert directory.names() == ["final"]


def test_a_part_that_somebody_removed(directory: Directory) -> None:
    part = begin(directory, 0)
    directory.unlink(part.name)
    with pytest.raises(ObjectError, match="removed"):
        finish(part)


def test_data_is_durable_before_the_name_is(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_sync, real_rename, real_utime = durability.sync_file, Directory.rename, os.utime
    monkeypatch.setattr(
        durability, "sync_file", lambda *given, **more: (steps.append("data"), real_sync(*given, **more))
    )
    monkeypatch.setattr(Directory, "rename", lambda *given: (steps.append("rename"), real_rename(*given))[1])
    monkeypatch.setattr(tree_module, "sync_directory", lambda fd, what: steps.append(f"directory {what}"))
    monkeypatch.setattr(os, "utime", lambda *given, **more: (steps.append("time"), real_utime(*given, **more)))
    os.supports_fd.add(os.utime)
    try:
        finish(begin(directory, 0), 1.0, durable=True)
    finally:
        os.supports_fd.discard(os.utime)
    assert steps == ["time", "data", "rename", "directory a", "directory ."]


# --- going on -------------------------------------------------------------------------------------------


def test_what_was_closed_is_taken_up_again(directory: Directory, tmp_path: Path) -> None:
    begin(directory, 0, 3, keep=True)
    part = PartFile.open(directory, "final", HEADER)
    assert part.claimed == {0: 100_000, 3: 50_000}
    assert len(directory.names()) == 2
    hashed: list[int] = []
    assert part.resume(0, crc, on_hashed=hashed.append) == (100_000, zlib.crc32(DATA[:100_000]))
    assert sum(hashed) == 100_000
    assert part.claimed == {3: 50_000}
    assert part.resume(3, crc).done == 50_000
    assert part.resume(3, crc) == (0, 0)
    complete(part)
    assert os.listdir(tmp_path / "a") == ["final"]
    assert (tmp_path / "a/final").read_bytes() == DATA


def test_a_dead_owner_is_inherited_by_renaming(directory: Directory, tmp_path: Path) -> None:
    name = make_owned_by(directory, begin(directory, 0, 1, keep=True), dead_token())
    inode = (tmp_path / "a" / name).stat().st_ino
    [candidate] = find(directory, IDENT)
    assert (candidate.state, candidate.free, candidate.claimed) == (State.DEAD, True, 200_000)
    with PartFile.open(directory, "final", HEADER) as part:
        assert (tmp_path / "a" / part.name).stat().st_ino == inode
        assert sorted(directory.names()) == [part.name, part.name + ".log"]
        assert owner.own_token() in part.name
        assert part.resume(1, crc).done == 100_000
    # killed now: what the log claims is still all there
    assert find(directory, IDENT)[0].claimed == 200_000


@pytest.mark.parametrize("by", ["range", "bytes"])
def test_of_an_unknown_owner_a_copy_is_made(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "bytes":

        def unable(*given: object) -> int:
            raise OSError(errno.EXDEV, "")

        monkeypatch.setattr(os, "copy_file_range", unable)
    name = make_owned_by(directory, begin(directory, 0, 3, keep=True), FOREIGN)
    before = (tmp_path / "a" / name).read_bytes()
    [candidate] = find(directory, IDENT)
    assert (candidate.state, candidate.free) == (State.UNKNOWN, False)
    part = PartFile.open(directory, "final", HEADER)
    assert part.name != name
    assert part.claimed == {0: 100_000, 3: 50_000}
    assert part.resume(0, crc).done == 100_000
    # what was proven of the copy is noted: a kill now loses nothing of it
    assert claims((tmp_path / "a" / (part.name + ".log")).read_bytes()).segments == {
        0: [Claim(100_000, zlib.crc32(DATA[:100_000]))]
    }
    complete(part)
    assert (tmp_path / "a/final").read_bytes() == DATA
    assert (tmp_path / "a" / name).read_bytes() == before
    assert (tmp_path / "a" / name).stat().st_ino != (tmp_path / "a/final").stat().st_ino


def test_a_flipped_copy_is_not_kept(directory: Directory, tmp_path: Path) -> None:
    name = make_owned_by(directory, begin(directory, 0, 1, keep=True), FOREIGN)
    with (tmp_path / "a" / name).open("r+b") as file:
        file.seek(50_000)
        file.write(bytes([DATA[50_000] ^ 1]))
    with PartFile.open(directory, "final", HEADER) as part:
        assert part.resume(0, crc).done <= 50_000
        assert part.resume(1, crc).done == 100_000


def test_the_part_with_most_to_it_is_taken(directory: Directory) -> None:
    begin(directory, 0, keep=True)
    begin(directory, 0, 1, 2, keep=True)
    begin(directory, keep=True)
    with PartFile.open(directory, "final", HEADER) as part:
        assert sum(part.claimed.values()) == 300_000
    assert len(directory.names()) == 5


def test_another_object_or_version_is_not_taken(directory: Directory) -> None:
    begin(directory, 0, keep=True)
    for other, final in (
        (HEADER._replace(etag="other"), "final"),
        (HEADER._replace(size=SIZE + 1), "final"),
        (HEADER._replace(key="other"), "final"),
        (HEADER, "elsewhere"),
    ):
        with PartFile.open(directory, final, other) as part:
            assert part.claimed == {}
            part.discard()


def test_the_cut_of_an_adopted_part_is_kept_unless_turned_down(directory: Directory) -> None:
    begin(directory, 0, keep=True)
    wanted = HEADER._replace(segment=70_000, algorithm="CRC64NVME")
    with PartFile.open(directory, "final", wanted, usable=lambda header: header.algorithm == "CRC64NVME") as part:
        assert part.header == wanted
        assert part.claimed == {}
        part.discard()
    with PartFile.open(directory, "final", wanted) as part:
        assert part.header == HEADER


def test_claims_of_a_log_without_its_data_prove_nothing(directory: Directory, tmp_path: Path) -> None:
    part = begin(directory, 0, 1, keep=True)
    os.truncate(tmp_path / "a" / part.name, 130_000)
    with PartFile.open(directory, "final", HEADER) as part:
        assert part.resume(0, crc).done == 100_000
        assert part.resume(1, crc).done <= 30_000
        assert part.read_at(SIZE - 1, memoryview(bytearray(2))) == 1  # it has its size again


@pytest.mark.parametrize("step", ["rename", "unlink", "log"])
def test_killed_while_inheriting_loses_nothing(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    make_owned_by(directory, begin(directory, 0, 1, keep=True), dead_token())

    def killed(*given: object, **more: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "log":
            patch.setattr(parts, "_new_log", killed)
        else:
            patch.setattr(Directory, step, killed)
        with pytest.raises(KeyboardInterrupt):
            PartFile.open(directory, "final", HEADER)
    parts._seen.clear()
    with PartFile.open(directory, "final", HEADER) as part:
        assert [part.resume(segment, crc).done for segment in (0, 1)] == [100_000, 100_000]


def test_of_two_heirs_one_begins_anew(directory: Directory) -> None:
    make_owned_by(directory, begin(directory, 0, keep=True), dead_token())
    [candidate] = find(directory, IDENT)
    first = PartFile.adopt(directory, "final", candidate)
    assert first is not None
    assert PartFile.adopt(directory, "final", candidate) is None
    assert sorted(directory.names()) == [first.name, first.name + ".log"]
    first.close()


# --- planted things -------------------------------------------------------------------------------------


def plant_link(path: Path) -> None:
    path.rename(path.parent.parent / "outside")
    path.symlink_to(path.parent.parent / "outside")


def plant_hard_link(path: Path) -> None:
    os.link(path, path.parent.parent / "outside")


def plant_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [plant_link, plant_hard_link, plant_fifo])
@pytest.mark.parametrize("suffix", ["", ".log"])
@pytest.mark.parametrize("token", [FOREIGN, None])
def test_planted_parts_are_left_alone(
    directory: Directory, tmp_path: Path, plant: object, suffix: str, token: str | None
) -> None:
    name = make_owned_by(directory, begin(directory, 0, keep=True), token or dead_token())
    plant(tmp_path / "a" / (name + suffix))
    with PartFile.open(directory, "final", HEADER) as part:
        assert part.claimed == {}
        part.discard()
    assert sorted(directory.names()) == [name, name + ".log"]


def test_other_users_parts_are_left_alone(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(directory, 0, keep=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    directory._tree._probed = Probe(folds=False, uid=mine + 1)
    assert find(directory, IDENT) == []
    # a server that maps us to another user does so with every file of ours
    directory._tree._probed = None
    assert len(find(directory, IDENT)) == 1


# --- the disk -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk(directory: Directory, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    part = begin(directory, 0)

    def full(*given: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        for name, call in (
            ("pwrite", lambda: part.write_at(0, memoryview(b"x"))),
            ("write", lambda: part.checkpoint(0, 1, 1)),
            ("fdatasync", part.datasync),
            ("ftruncate", lambda: PartFile.create(directory, "b", "0" * 16, HEADER)),
            ("fsync", lambda: finish(part, durable=True)),
        ):
            patch.setattr(os, name, full)
            with pytest.raises(DiskError, match="'a/") as caught:
                call()
            assert caught.value.exit_code == 5
            patch.undo()
    part.close()
    with PartFile.open(directory, "final", HEADER) as again:
        assert again.resume(0, crc).done == 100_000
    assert len(directory.names()) == 2


def test_a_file_too_big_for_the_file_system(directory: Directory) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(ObjectError, match="350,000") as caught:
            PartFile.open(directory, "final", HEADER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(caught.value, NameRefused)
    assert directory.names() == []


def test_short_writes_are_completed(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:997], at))
    complete(PartFile.open(directory, "final", HEADER))
    assert (tmp_path / "a/final").read_bytes() == DATA


def test_no_more_is_written_at_once_than_costs_least(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes, pieces = os.pwrite, [], Pieces()
    pieces.size = 64 * 1024
    monkeypatch.setattr(openfile, "_pieces", pieces)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: sizes.append(len(data)) or real(fd, data, at))
    fd = directory.create("whole")
    try:
        openfile.OpenFile(os.dup(fd)).write_at(5, memoryview(DATA))
    finally:
        os.close(fd)
    assert (tmp_path / "a/whole").read_bytes() == bytes(5) + DATA
    assert sizes == [64 * 1024] * (len(DATA) // (64 * 1024)) + [len(DATA) % (64 * 1024)]


def test_without_positional_calls(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither pread nor pwrite: threads share one position."""
    monkeypatch.setattr(openfile, "_HAS_PREAD", False)
    begin(directory, 1, keep=True)
    part = PartFile.open(directory, "final", HEADER)
    threads = [threading.Thread(target=write_segment, args=(part, memoryview(DATA), n, 0)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    buffer = memoryview(bytearray(SIZE))
    assert part.read_at(0, buffer) == SIZE
    assert buffer == DATA
    finish(part)
    assert (tmp_path / "a/final").read_bytes() == DATA


# --- closing under use ----------------------------------------------------------------------------------


def test_a_closed_part_says_so(directory: Directory) -> None:
    part = begin(directory, 0, keep=True)
    for call in (
        lambda: part.write_at(0, memoryview(b"x")),
        lambda: part.read_at(0, memoryview(bytearray(1))),
        lambda: part.checkpoint(0, 1, 1),
        part.datasync,
    ):
        with pytest.raises(Cancelled):
            call()


def test_a_sync_under_way_ends_in_its_own_file(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """`complete` need not wait for it, and must not free the descriptor's number under it."""
    part = begin(directory, 0)
    syncing, go, inodes = threading.Event(), threading.Event(), list[int]()

    def slow(fd: int) -> None:
        syncing.set()
        go.wait(5)
        inodes.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fdatasync", slow)
    thread = threading.Thread(target=part.datasync)
    thread.start()
    syncing.wait(5)
    part.complete(None)
    others = [directory.create(f"other{n}") for n in range(3)]
    go.set()
    thread.join()
    fd = directory.open(part.name, False)
    assert fd is not None
    assert inodes == [os.fstat(fd).st_ino]
    for other in (fd, *others):
        os.close(other)
    with pytest.raises(Cancelled):
        part.datasync()


def test_what_waits_for_its_name_is_not_taken_up(directory: Directory) -> None:
    part = begin(directory, 0, 1, 2, 3)
    part.complete(None)
    assert find(directory, IDENT) == []
    part.close()
    assert [candidate.claimed for candidate in find(directory, IDENT)] == [SIZE]


def test_a_write_under_way_ends_in_its_own_file(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing must not free the descriptor's number for another file while a thread still writes with it."""
    part = begin(directory, 0)
    writing, go = threading.Event(), threading.Event()
    real = os.pwrite

    def slow(fd: int, data: memoryview, at: int) -> int:
        writing.set()
        go.wait(5)
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", slow)
    thread = threading.Thread(target=part.write_at, args=(0, memoryview(b"late")))
    thread.start()
    writing.wait(5)
    part.close()
    assert find(directory, IDENT) == []  # nobody takes it over yet
    others = [directory.create(f"other{n}") for n in range(3)]
    go.set()
    thread.join()
    assert [os.fstat(fd).st_size for fd in others] == [0, 0, 0]
    for fd in others:
        os.close(fd)
    assert (tmp_path / "a" / part.name).read_bytes()[:4] == b"late"
    assert len(find(directory, IDENT)) == 1


def test_no_descriptor_is_left_open(directory: Directory) -> None:
    before = len(os.listdir("/proc/self/fd"))
    make_owned_by(directory, begin(directory, 0, keep=True), FOREIGN)
    with PartFile.open(directory, "final", HEADER) as part:
        assert len(os.listdir("/proc/self/fd")) == before + 2
    part = PartFile.open(directory, "final", HEADER)
    finish(part, durable=True)
    assert len(os.listdir("/proc/self/fd")) == before


# --- other processes ------------------------------------------------------------------------------------


def start(root: Path, size: int, segment: int, pause: float, *more: int) -> subprocess.Popen[str]:
    writer = [sys.executable, str(Path(__file__).with_name("writer.py")), str(root), "1"]
    return subprocess.Popen(
        [*writer, str(size), str(segment), str(pause), *map(str, more)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def found(root: Path, size: int) -> list[parts.Candidate]:
    with Tree(root, create=True) as tree:
        return find(tree.directory("a"), owner.part_ident(*header(size, 1)[:3], "final"))


def proven(root: Path, data: bytes, size: int) -> tuple[Path, int]:
    """The one part there, and how much a resume would keep of it: nothing but what is in `data`."""
    [candidate] = found(root, size)
    assert candidate.state is State.DEAD
    part = root / "a" / candidate.name.part
    raw = part.read_bytes()
    kept = 0
    for segment, claimed in candidate.segments.items():
        at = segment * candidate.header.segment
        there = io.BytesIO(raw[at : at + candidate.header.length(segment)])
        done, value = longest_match(claimed, lambda _, buffer, file=there: file.readinto(buffer), crc)
        assert raw[at : at + done] == data[at : at + done]
        assert value == zlib.crc32(data[at : at + done])
        kept += done
    return part, kept


@pytest.mark.parametrize("flip", [False, True])
def test_killed_again_and_again(tmp_path: Path, flip: bool) -> None:
    size, segment = 2_000_000, 130_000
    data = content(1, size)
    chance = random.Random(f"{flip}")
    progress = [0]
    for _ in range(5):
        process = start(tmp_path, size, segment, 0.004)
        _, resumed = line(process).split()
        assert int(resumed) >= progress[-1]
        # before its first checkpoint there is nothing to go on from
        wait_until(lambda: (tmp_path / "a/final").exists() or found(tmp_path, size))
        time.sleep(chance.random() * 0.08)
        process.kill()
        process.communicate()
        if (tmp_path / "a/final").exists():
            break
        part, kept = proven(tmp_path, data, size)
        if flip:
            with part.open("r+b") as file:
                at = chance.randrange(size)
                file.seek(at)
                file.write(bytes([data[at] ^ 4]))
            part, kept = proven(tmp_path, data, size)
        progress.append(kept)
    assert progress[-1] > 0
    process = start(tmp_path, size, segment, 0)
    line(process)
    assert line(process) == "done"
    process.communicate()
    assert os.listdir(tmp_path / "a") == ["final"]
    assert (tmp_path / "a/final").read_bytes() == data


def test_two_processes_with_one_object(tmp_path: Path) -> None:
    """Each has its own inode; the second copies what the first has, and disturbs it in nothing."""
    first = start(tmp_path, SIZE, SEGMENT, 0, 2)
    its_name, _ = line(first).split()
    assert line(first) == "waiting"
    with Tree(tmp_path, create=True) as tree:
        directory = tree.directory("a")
        [candidate] = find(directory, IDENT)
        assert candidate.state is State.ALIVE
        part = PartFile.open(directory, "final", HEADER)
        assert part.name != its_name
        assert part.claimed == {0: 100_000, 1: 100_000}
        assert part.resume(0, crc).done == 100_000
        # a flipped bit of ours stays ours
        part.write_at(0, memoryview(b"\xff" * 1000))
        first.communicate("go\n")
        assert first.returncode == 0
        assert (tmp_path / "a/final").read_bytes() == DATA
        part.write_at(0, memoryview(DATA))
        finish(part)
    assert (tmp_path / "a/final").read_bytes() == DATA
    assert os.listdir(tmp_path / "a") == ["final"]


# --- sweeping -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "files", "age", "dead_age", "swept"),
    [
        ("self", "pair", 1e9, 0, False),
        ("alive", "pair", 1e9, 0, False),
        ("alive", "part", 1e9, 0, False),
        ("dead", "pair", 0, 0, True),
        ("dead", "part", 0, 0, True),
        ("dead", "log", 0, 0, True),
        ("dead", "pair", 50, 100, False),
        ("dead", "pair", 150, 100, True),
        ("dead", "part", 50, 100, True),
        ("unknown", "pair", 6 * 86400, 0, False),
        ("unknown", "part", 6 * 86400, 0, False),
        ("unknown", "pair", 8 * 86400, 0, True),
        ("unknown", "part", 8 * 86400, 0, True),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_sweep(
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    files: str,
    age: float,
    dead_age: float,
    swept: bool,
    live: bool,
) -> None:
    host = owner.this_host()
    parent = f"{host.place}{os.getppid():08x}{host.started(os.getppid()):016x}"
    token = {"self": owner.own_token(), "alive": parent, "dead": dead_token(), "unknown": FOREIGN}[who]
    name = make_owned_by(directory, begin(directory, 0, keep=True), token)
    if files == "part":
        directory.unlink(name + ".log")
    elif files == "log":
        directory.unlink(name)
    os.close(directory.create(".s3pull-something-else"))
    os.close(directory.create("s3pull-" + name))
    before = sorted(directory.names())
    real = parts._clock
    monkeypatch.setattr(parts, "_clock", lambda of: real(of) + age)
    count = sweep(directory, {IDENT} if live else (), dead_age=dead_age)
    if swept and not live:
        assert sorted(directory.names()) == [".s3pull-something-else", "s3pull-" + name]
        assert count == (2 if files == "pair" else 1)
    else:
        assert sorted(directory.names()) == before
        assert count == 0


def test_an_old_time_of_the_object_makes_no_part_old(directory: Directory, tmp_path: Path) -> None:
    """A part has the object's time, years ago, just before it gets its name: its owner may be alive elsewhere."""
    name = make_owned_by(directory, begin(directory, 0, keep=True), FOREIGN)
    for suffix in ("", ".log"):
        os.utime(tmp_path / "a" / (name + suffix), (1_000_000_000, 1_000_000_000))
    assert sweep(directory) == 0
