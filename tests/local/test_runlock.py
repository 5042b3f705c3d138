"""The run lock: who gets it, who is told, and that there are never two, whoever dies or is stopped wherever.

Processes are real where the kernel's word counts. Where the order of steps counts, each step of each contender on the
directory is one of the test's choosing (`Stage`).
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from s3pull.errors import Cancelled, DiskError, Locked
from s3pull.local import lockfiles, lockrecord, owner, runlock
from s3pull.local.directory import Directory
from s3pull.local.lockrecord import Machine, Record, beat_field, beat_offset, encode, parse
from s3pull.local.runlock import RunLock, Times
from s3pull.local.tree import Tree
from tests.local.test_parts import FOREIGN, dead_token

HOLDER = Path(__file__).with_name("holder.py")
SOMEWHERE = Machine("elsewhere", "", "")


class Clock:
    """Time that passes only in sleep. `during` is called in each sleep, with how many there were before."""

    def __init__(self, during: Callable[[int], None] = lambda _: None) -> None:
        self.now = 1000.0
        self.sleeps = 0
        self._during = during

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._during(self.sleeps)
        self.sleeps += 1

    @property
    def times(self) -> Times:
        return Times(monotonic=self.monotonic, sleep=self.sleep)

    @property
    def impatient(self) -> Times:
        """Which take a lock that did not move for a few looks."""
        return Times(stale=0.1, monotonic=self.monotonic, sleep=self.sleep)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Tree(tmp_path, create=True) as tree:
        yield tree.directory(".s3pull")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".s3pull/lock"


def record(token: str, nonce: str = "ab" * 16, machine: Machine = SOMEWHERE) -> Record:
    return Record(nonce, token, 23, machine, 1_700_000_000)


def put(place: Path, content: Record | bytes) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(encode(content) if isinstance(content, Record) else content)


def beats(place: Path, its: Record, number: int) -> None:
    """What the holder's heartbeat does."""
    with place.open("r+b") as file:
        file.seek(beat_offset(its))
        file.write(beat_field(number))


def acquire(directory: Directory, clock: Clock | None = None, **options: Any) -> tuple[RunLock, list[str]]:
    said: list[str] = []
    lock = RunLock.acquire(directory, say=said.append, times=(clock or Clock()).times, **options)
    return lock, said


# --- alone ----------------------------------------------------------------------------------------------


def test_taken_checked_and_given_back(directory: Directory, place: Path) -> None:
    lock, said = acquire(directory)
    its = parse(place.read_bytes())
    assert its is not None
    assert (its.pid, its.token, its.machine) == (os.getpid(), owner.own_token(), lockrecord.this_machine())
    lock.check()
    lock.release()
    assert directory.names() == []
    lock.release()
    assert said == []


def test_as_a_context(directory: Directory) -> None:
    with acquire(directory)[0] as lock:
        lock.check()
        assert directory.names() == ["lock"]
    assert directory.names() == []


def test_no_descriptor_and_no_thread_is_left(directory: Directory) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        lock, _ = acquire(directory)
        with pytest.raises(Locked):
            acquire(directory)
        lock.check()
        lock.release()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors)


def test_another_thread_of_this_process_is_another_run(directory: Directory) -> None:
    with acquire(directory)[0] as lock:
        with pytest.raises(Locked, match=f"^another run holds this destination: process {os.getpid()} on .*, since 2"):
            acquire(directory)
        lock.check()


# --- who is there already -------------------------------------------------------------------------------


def test_who_is_gone_is_followed_at_once(directory: Directory, place: Path) -> None:
    clock = Clock()
    put(place, record(dead_token()))
    lock, said = acquire(directory, clock)
    assert said == ["took over the lock of process 23 on elsewhere, which is gone"]
    assert clock.sleeps == 0
    lock.check()
    assert directory.names() == ["lock"]
    lock.release()
    assert directory.names() == []


def test_before_another_boot_of_this_machine(
    directory: Directory, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Machine("here", "c0ffee", "boot-2")
    monkeypatch.setattr(lockrecord, "this_machine", lambda: here)
    clock = Clock()
    put(place, record(FOREIGN, machine=here._replace(boot="boot-1")))
    lock, said = acquire(directory, clock)
    assert said == ["took over the lock of process 23 on here, which is gone"]
    assert clock.sleeps == 0
    lock.release()


def test_one_that_nobody_holds_is_taken_in_silence(directory: Directory, place: Path) -> None:
    """As one leaves it who dies between creating and taking it."""
    clock = Clock()
    put(place, lockrecord.free_record())
    lock, said = acquire(directory, clock)
    assert (said, clock.sleeps) == ([], 0)
    lock.check()
    lock.release()


def test_one_who_was_cut_off_while_he_took_it_is_followed(directory: Directory, place: Path) -> None:
    free = lockrecord.free_record()
    put(place, free)
    put(place.with_name(f"lock.{free.nonce}.0"), b"")
    lock, said = acquire(directory)
    assert said == []
    assert directory.names() == ["lock"]
    lock.check()
    lock.release()


def test_who_lives_is_respected_at_once_and_named(directory: Directory, place: Path) -> None:
    put(
        place,
        record(owner.token(SimpleNamespace(place=owner.this_host().place, pid=os.getppid(), started=lambda _: 0))),
    )
    before = place.read_bytes()
    clock = Clock()
    with pytest.raises(Locked) as error:
        acquire(directory, clock)
    assert error.value.message == (
        "another run holds this destination: process 23 on elsewhere, since 2023-11-14T22:13:20Z"
    )
    assert "--wait" in (error.value.hint or "")
    assert error.value.exit_code == 12
    assert clock.sleeps == 0
    assert place.read_bytes() == before
    assert directory.names() == ["lock"]


def test_a_foreign_one_that_moves_holds_it(directory: Directory, place: Path) -> None:
    its = record(FOREIGN)
    put(place, its)
    clock = Clock(lambda sleeps: beats(place, its, 1) if sleeps == 9 else None)
    with pytest.raises(Locked, match="process 23 on elsewhere"):
        acquire(directory, clock, wait=30)
    assert clock.now == 1030.0


def test_who_may_not_wait_is_told_at_once_and_the_next_but_one_follows(directory: Directory, place: Path) -> None:
    its = record(FOREIGN)
    put(place, its)
    clock = Clock()
    for _ in range(2):
        with pytest.raises(Locked, match="process 23 on elsewhere") as error:
            acquire(directory, clock)
        assert "if it does nothing for 60 s it counts as gone" in (error.value.hint or "")
    with pytest.raises(Locked):
        acquire(directory, clock, wait=3)
    assert clock.now == 1003.0
    assert sorted(directory.names()) == ["lock", "lock.seen"]
    seen = place.with_name("lock.seen")
    old = seen.stat().st_mtime_ns - 61 * 10**9
    os.utime(seen, ns=(old, old))
    moving = Clock(lambda sleeps: beats(place, its, 1) if sleeps == 15 else None)
    with pytest.raises(Locked):  # it has done something after all
        acquire(directory, moving)
    assert moving.now == 1016.0
    with pytest.raises(Locked):
        acquire(directory, Clock())
    os.utime(seen, ns=(old, old))
    clock = Clock()
    lock, said = acquire(directory, clock)
    assert said[-1] == "took over the lock of process 23 on elsewhere, silent for 60 s"
    assert clock.now == 1020.0
    lock.check()
    assert directory.names() == ["lock"]
    lock.release()
    assert directory.names() == []


def test_a_foreign_one_that_is_silent_is_followed(directory: Directory, place: Path) -> None:
    put(place, record(FOREIGN))
    clock = Clock()
    lock, said = acquire(directory, clock, wait=61)
    assert said == [
        "waiting to see whether process 23 on elsewhere is still there, up to 60 s",
        "took over the lock of process 23 on elsewhere, silent for 60 s",
    ]
    assert clock.now == 1060.0
    lock.check()
    lock.release()


def test_our_own_sleep_is_no_silence_of_others(directory: Directory, place: Path) -> None:
    its = record(FOREIGN)
    put(place, its)

    def suspended(sleeps: int) -> None:
        if sleeps == 0:
            clock.now += 8 * 3600
        elif sleeps == 5:
            beats(place, its, 1)

    clock = Clock(suspended)
    with pytest.raises(Locked):
        acquire(directory, clock, wait=8 * 3600 + 30)


def test_waiting_ends_when_the_holder_does(directory: Directory) -> None:
    held, _ = acquire(directory)
    clock = Clock(lambda sleeps: held.release() if sleeps == 4 else None)
    lock, said = acquire(directory, clock, wait=10)
    assert [re.sub("process .*", "process", text) for text in said] == ["waiting for process"]
    assert clock.now == 1005.0
    lock.release()


def test_waiting_ends_in_time(directory: Directory) -> None:
    with acquire(directory)[0] as held:
        clock = Clock()
        with pytest.raises(Locked):
            acquire(directory, clock, wait=4.5)
        assert clock.now == 1004.5
        held.check()


def test_waiting_for_a_foreign_one_that_moves_goes_on(directory: Directory, place: Path) -> None:
    its = record(FOREIGN)
    put(place, its)
    clock = Clock(lambda sleeps: beats(place, its, sleeps) if sleeps < 100 else place.unlink())
    lock, said = acquire(directory, clock, wait=600)
    assert clock.now == 1101.0
    assert said == ["waiting to see whether process 23 on elsewhere is still there, up to 60 s"]
    lock.release()


def test_waiting_is_interrupted(directory: Directory) -> None:
    with acquire(directory)[0] as held:
        clock = Clock()
        with pytest.raises(Cancelled):
            acquire(directory, clock, wait=600, stopped=lambda: clock.sleeps == 2)
        held.check()
    assert directory.names() == []


# --- files that hold no record --------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", bytes(300)])
def test_a_successor_of_which_a_power_cut_left_nothing(directory: Directory, place: Path, content: bytes) -> None:
    dead = record(dead_token())
    put(place, dead)
    put(place.with_name(f"lock.{dead.nonce}.0"), content)
    lock, _ = acquire(directory)
    assert directory.names() == ["lock"]
    lock.release()


@pytest.mark.parametrize("content", [b"", bytes(300)])
def test_what_a_power_cut_left_of_one_is_followed_at_once(directory: Directory, place: Path, content: bytes) -> None:
    """Where there are hard links nobody writes an empty one."""
    put(place, content)
    clock = Clock()
    lock, said = acquire(directory, clock)
    assert said == ["took over the lock of somebody who left no readable record, which is gone"]
    assert 1000.2 <= clock.now <= 1001
    lock.check()
    lock.release()
    assert directory.names() == []


def test_without_hard_links_an_empty_one_is_watched(
    directory: Directory, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maker may have been stopped before it wrote."""
    monkeypatch.setattr(Directory, "place", lambda self, part, name: None)
    put(place, b"")
    clock = Clock()
    with pytest.raises(Locked):
        acquire(directory, clock)
    lock, said = acquire(directory, clock, wait=70)
    assert said[-1] == "took over the lock of somebody who left no readable record, silent for 60 s"
    lock.release()
    assert directory.names() == []


def test_one_is_there_whole_or_not_at_all(directory: Directory, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its maker is killed before, while or after it writes: what it left is the next one's to remove."""
    sizes = []
    write = os.write

    def looking(fd: int, data: bytes) -> int:
        sizes.append(place.stat().st_size if place.exists() else None)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(lockfiles.os, "write", looking)
        patched.setattr(Directory, "unlink", lambda self, name: False)
        with pytest.raises(Killed):
            acquire(directory)
    assert sizes == [None]
    assert os.write is write
    assert len(directory.names()) == 1
    lock, _ = acquire(directory)
    assert directory.names() == ["lock"]
    lock.release()


@pytest.mark.parametrize("content", [b"{", encode(record(FOREIGN))[:-30], b"x" * 100_000])
def test_torn_ones_are_watched_and_followed(directory: Directory, place: Path, content: bytes) -> None:
    put(place, content)
    clock = Clock()
    lock, said = acquire(directory, clock, wait=70)
    assert said[-1] == "took over the lock of somebody who left no readable record, silent for 60 s"
    assert 1060 <= clock.now <= 1061
    lock.check()
    lock.release()
    assert directory.names() == []


def test_one_that_is_being_written_is_read_a_moment_later(directory: Directory, place: Path) -> None:
    put(place, b"")
    its = record(owner.token(SimpleNamespace(place=owner.this_host().place, pid=os.getppid(), started=lambda _: 0)))
    clock = Clock(lambda sleeps: put(place, its))
    with pytest.raises(Locked, match="process 23 on elsewhere"):
        acquire(directory, clock)
    assert clock.now == 1000.05


def test_a_torn_one_that_changes_is_held_by_somebody(directory: Directory, place: Path) -> None:
    put(place, b"")
    clock = Clock(lambda sleeps: os.utime(place, ns=(sleeps, sleeps)))
    with pytest.raises(Locked, match="cannot be read, and changes"):
        acquire(directory, clock)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_another_users_is_judged_by_its_time(directory: Directory, place: Path) -> None:
    put(place, record(FOREIGN))
    place.chmod(0)
    lock, said = acquire(directory, wait=70)
    assert said[-1] == "took over the lock of somebody who left no readable record, silent for 60 s"
    lock.release()


@pytest.mark.parametrize("plant", ["link", "folder", "fifo"])
def test_what_is_no_file_is_refused_and_left(directory: Directory, place: Path, tmp_path: Path, plant: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    if plant == "link":
        place.symlink_to(victim)
    elif plant == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(DiskError, match="cannot lock this destination") as error:
        acquire(directory)
    assert ".s3pull/lock" in (error.value.hint or "")
    assert victim.read_bytes() == b"precious"


def test_a_full_disk_leaves_no_empty_lock(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(runlock.os, "write", full)
        with pytest.raises(DiskError, match=r"cannot write '\.s3pull/lock'"):
            acquire(directory)
    assert directory.names() == []


# --- losing it ------------------------------------------------------------------------------------------


def test_a_beat_is_seen(directory: Directory, place: Path) -> None:
    with acquire(directory)[0] as lock:
        before = parse(place.read_bytes())
        lock.beat()
        after = parse(place.read_bytes())
        assert before is not None
        assert after == before._replace(beat=1)


def test_the_thread_beats(directory: Directory, place: Path) -> None:
    beaten = threading.Event()
    lock = RunLock.acquire(directory, times=Times(beat=0.001))
    lock.beat, really = lambda: (really(), beaten.set()), lock.beat  # type: ignore[method-assign, func-returns-value]
    assert beaten.wait(60)
    its = parse(place.read_bytes())
    assert its is not None
    assert its.beat > 0
    lock.release()


@pytest.mark.parametrize("beat_first", [True, False])
@pytest.mark.parametrize(
    ("now", "why"),
    [
        (None, "it was removed"),
        (b"", "its file was damaged"),
        (record(FOREIGN), "process 23 on elsewhere took it over"),
    ],
)
def test_a_lost_lock_is_noticed_and_left_alone(
    directory: Directory, place: Path, now: Record | bytes | None, why: str, beat_first: bool
) -> None:
    """As after a sleep in which another machine took it over."""
    lock, _ = acquire(directory)
    place.unlink()
    if now is not None:
        put(place, now)
    before = place.read_bytes() if place.exists() else None
    if beat_first:
        lock.beat()
    for _ in range(2):
        with pytest.raises(Locked, match=f"^lost the lock of this destination: {why}$"):
            lock.check()
    lock.beat()
    lock.release()
    assert (place.read_bytes() if place.exists() else None) == before


def test_once_lost_it_stays_lost(directory: Directory, place: Path) -> None:
    lock, _ = acquire(directory)
    content = place.read_bytes()
    place.unlink()
    lock.beat()
    place.write_bytes(content)
    with pytest.raises(Locked):
        lock.check()
    lock.release()


def test_an_ill_disk_is_no_loss(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, _ = acquire(directory)
    with monkeypatch.context() as patched:
        patched.setattr(runlock.os, "read", lambda fd, count: (_ for _ in ()).throw(OSError(5, "I/O error")))
        lock.beat()
        with pytest.raises(DiskError):
            lock.check()
    lock.check()
    lock.release()


def test_what_an_exec_left_behind_is_nobodys(directory: Directory) -> None:
    lock, _ = acquire(directory)
    runlock._held.discard(lock._record.nonce)  # as in the program that this process would become
    after, said = acquire(directory)
    assert said[0].endswith("which is gone")
    lock.release()
    after.check()
    after.release()


def test_a_forked_child_does_not_give_back_its_parents(directory: Directory) -> None:
    lock, _ = acquire(directory)
    pid = os.fork()
    if pid == 0:
        lock.release()
        os._exit(0)
    os.waitpid(pid, 0)
    lock.check()
    lock.release()


# --- processes ------------------------------------------------------------------------------------------


class Holder:
    """A process of holder.py."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HOLDER, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, text: object = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.timeout(600)
def test_of_twenty_at_once_one_gets_it(tmp_path: Path) -> None:
    holders = [Holder("-") for _ in range(20)]
    try:
        for holder in holders:
            assert holder.line() == "ready"
        for holder in holders:
            holder.tell(tmp_path)
        said = [holder.line() for holder in holders]
        winner = holders[said.index("got")]
        assert [text.split()[0] for text in said].count("locked") == 19
        assert all(f"process {winner.process.pid} on" in text for text in said if text != "got")
        winner.tell()
    finally:
        for holder in holders:
            holder.end()
    assert os.listdir(tmp_path / ".s3pull") == []


def test_a_killed_holder_is_followed_at_once(tmp_path: Path) -> None:
    first = Holder(tmp_path)
    assert first.line() == "got"
    second = Holder(tmp_path)
    assert second.line().startswith(f"locked another run holds this destination: process {first.process.pid} on ")
    second.end()
    first.kill()
    third = Holder(tmp_path)
    assert re.fullmatch(f"said took over the lock of process {first.process.pid} on .*, which is gone", third.line())
    assert third.line() == "got"
    third.tell()
    third.end()
    assert os.listdir(tmp_path / ".s3pull") == []


def test_a_stopped_process_is_alive(tmp_path: Path, directory: Directory) -> None:
    holder = Holder(tmp_path)
    assert holder.line() == "got"
    holder.process.send_signal(signal.SIGSTOP)
    try:
        clock = Clock()
        with pytest.raises(Locked):
            acquire(directory, clock, wait=1000)
        assert clock.now == 2000.0
    finally:
        holder.process.send_signal(signal.SIGCONT)
        holder.tell()
        holder.end()


def test_who_waits_gets_it(tmp_path: Path) -> None:
    first = Holder(tmp_path)
    assert first.line() == "got"
    second = Holder(tmp_path, 600)
    assert second.line().startswith(f"said waiting for process {first.process.pid} on ")
    first.tell()
    first.end()
    assert second.line() == "got"
    second.tell()
    second.end()


class Deadly:
    """A directory whose user dies before its `step`th use."""

    def __init__(self, directory: Directory, step: int) -> None:
        self._directory = directory
        self._left = step

    def __getattr__(self, name: str) -> Any:
        if name not in {"relative", "path"}:
            self._left -= 1
            if self._left < 0:
                os._exit(9)
        return getattr(self._directory, name)


@pytest.mark.parametrize(
    "stale", ["dead", *(pytest.param(it, marks=pytest.mark.slow) for it in ("silent", "torn", None))]
)
def test_one_who_dies_anywhere_is_followed(directory: Directory, place: Path, stale: str | None) -> None:
    """At each step of taking over and of giving back; and then those who follow die there too."""
    for first in range(60):
        if stale is not None:
            put(place, {"dead": record(dead_token()), "silent": record(FOREIGN), "torn": b"{"}[stale])
        ended = False
        for step in range(first, 60):  # one later each time, so that the one behind dies in the chain of those before
            pid = os.fork()
            if pid == 0:
                try:
                    lock = RunLock.acquire(Deadly(directory, step), times=Clock().impatient, wait=60)  # type: ignore[arg-type]
                    lock.check()
                    lock.release()
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert code in (0, 9)
            if code == 0:
                ended = True
                break
            if step % 3 == 2:
                break
        lock, _ = acquire(directory, wait=70)
        lock.check()
        assert directory.names() == ["lock"]
        lock.release()
        assert directory.names() == []
        if ended and step == first:
            assert first > 5
            return
    pytest.fail("it never came to its end")


CONTENDER = """
import os, random, sys, time
from pathlib import Path
from s3pull.errors import Locked
from s3pull.local.runlock import RunLock, Times
from s3pull.local.tree import Tree

root, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
times = Times(poll=0.002)
got = 0
with Tree(root, create=True) as tree:
    directory = tree.directory(".s3pull")
    for number in range(rounds):
        pid = os.fork()
        if pid:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert code in (0, 12), code
            got += code == 0
            continue
        chance = random.Random(seed * 1000 + number)
        try:
            lock = RunLock.acquire(directory, times=times, wait=0.05)
        except Locked:
            os._exit(12)
        inside = root / "inside"
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        time.sleep(chance.random() / 1000)
        lock.check()
        os.unlink(inside)
        if chance.random() < 0.3:
            lock.release()
        os._exit(0)  # else it dies with its lock in place
print(got)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_who_die_are_followed_by_one_each(tmp_path: Path) -> None:
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, tmp_path, str(seed), "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(6)
    ]
    results = [contender.communicate() for contender in contenders]
    assert [error for _, error in results] == [""] * 6
    assert sum(int(out) for out, _ in results) > 100
    assert set(os.listdir(tmp_path / ".s3pull")) <= {"lock"}


# --- every order of steps -------------------------------------------------------------------------------


class Killed(BaseException):
    pass


class Actor:
    """A thread that does one step each time it is told to. What it does is `play`."""

    def __init__(self, stage: Stage, play: Callable[[Actor], None]) -> None:
        self.stage = stage
        self.killed = False
        self.done = False
        self.holds: Record | None = None
        self.next_use = ""
        self._go = threading.Semaphore(0)
        self._play = play
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._play(self)
        except Killed:
            pass
        except BaseException as error:
            self.stage.errors.append(error)
        self.done = True
        self.stage.back.release()

    def pause(self) -> None:
        self.stage.back.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def run_until(self, use: str) -> None:
        """Up to just before the next use of the directory by this method."""
        self.step()
        while self.next_use != use:
            assert not self.done
            self.step()

    def finish(self) -> None:
        while not self.done:
            self.step()
        assert self.stage.errors == []

    def step(self) -> None:
        self._go.release()
        self.stage.back.acquire()

    def sleep(self, seconds: float) -> None:
        self.stage.now += seconds
        self.pause()

    def directory(self) -> Any:
        actor = self

        class Slow:
            def __getattr__(self, name: str) -> Any:
                method = getattr(actor.stage.directory, name)
                if name not in {"create", "open", "rename", "place", "unlink", "stat", "names"}:
                    return method

                def slow(*arguments: Any, **options: Any) -> Any:
                    if actor.killed:
                        raise Killed
                    actor.next_use = name
                    actor.pause()
                    result = method(*arguments, **options)
                    if name == "create":  # it may be stopped with the file still empty
                        try:
                            actor.pause()
                        except Killed:
                            os.close(result)
                            raise
                    return result

                return slow

        return Slow()


class Stage:
    """Contenders whose steps are interleaved by the test. Time passes when they sleep."""

    def __init__(self, directory: Directory, place: Path, stale: float) -> None:
        self.directory = directory
        self.back = threading.Semaphore(0)
        self.errors: list[BaseException] = []
        self.now = 0.0
        self._place = place
        self._stale = stale
        self._won = 0

    def contend(self, actor: Actor) -> None:
        times = Times(beat=1e6, stale=self._stale, poll=1.0, monotonic=lambda: self.now, sleep=actor.sleep)
        try:
            lock = RunLock.acquire(actor.directory(), times=times, wait=3.0)
        except Locked:
            return
        try:
            self._won += 1
            actor.holds = lock._record
            for _ in range(5):
                lock.check()
            actor.holds = None
            lock.release()
        finally:
            lock._released.set()
            runlock._held.discard(lock._record.nonce)  # who is killed here is dead

    def play(self, chance: random.Random) -> None:
        """Run one contender for a while, then another, each until its end or its death."""
        actors = [Actor(self, self.contend) for _ in range(3)]
        change, death = chance.choice([0.03, 0.1, 0.3, 1]), chance.choice([0, 0, 0.01, 0.05])
        actor = actors[0]
        steps = 0
        while left := [actor for actor in actors if not actor.done]:
            if actor.done or chance.random() < change:
                actor = chance.choice(left)
            if chance.random() < death:
                actor.killed = True
                actor.holds = None
            actor.step()
            holding = [actor.holds for actor in actors if actor.holds is not None and not actor.done]
            assert len(holding) <= 1, "two hold it"
            for its in holding:
                assert self._place.read_bytes() == encode(its), "it was taken from one who lives"
            steps += 1
            assert steps < 10_000, "they wait for each other"
        assert self.errors == []
        assert self._won or any(actor.killed for actor in actors), "nobody got it"


@pytest.mark.parametrize("wakes", ["after its successor", "before its successor"])
def test_one_that_is_stopped_before_it_takes_over(
    directory: Directory, place: Path, monkeypatch: pytest.MonkeyPatch, wakes: str
) -> None:
    """It is on another machine, has looked for the last time, and sleeps; it counts as gone and has a successor."""
    put(place, record(dead_token()))
    outcome: list[str] = []
    stage = Stage(directory, place, stale=60)

    def contend(actor: Actor) -> None:
        try:
            lock = RunLock.acquire(
                actor.directory(), times=Times(monotonic=lambda: stage.now, sleep=actor.sleep), wait=100
            )
        except Locked as error:
            outcome.append(error.message)
        else:
            outcome.append("got")
            lock.check()

    foreign = record(FOREIGN, nonce="ef" * 16)
    sleeper = Actor(stage, contend)
    with monkeypatch.context() as patched:
        patched.setattr(runlock, "own_record", lambda: foreign)
        sleeper.run_until("rename")
    follower = Actor(stage, contend)
    follower.run_until("rename")  # over the sleeper's place in the chain
    assert stage.now >= 60
    if wakes == "before its successor":
        follower.run_until("rename")  # over the lock
        sleeper.finish()
        follower.finish()
    else:
        follower.finish()
        sleeper.finish()
    assert sorted(outcome)[1] == "got"
    assert sorted(outcome)[0].startswith(f"another run holds this destination: process {os.getpid()} on ")
    assert directory.names() == ["lock"]


@pytest.mark.parametrize("before", ["nothing", "dead", "claimed", "torn", "void"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize(
    "seeds",
    [range(15), pytest.param(range(15, 200), marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["few", "many"],
)
def test_in_any_order_there_is_one(
    directory: Directory, place: Path, monkeypatch: pytest.MonkeyPatch, links: bool, before: str, seeds: range
) -> None:
    """Three contenders that are stopped, go on and die anywhere; all are seen to be alive or dead.

    A lock that is empty for 0.1 s counts as abandoned here, also when its maker is merely stopped.
    """
    if not links:
        monkeypatch.setattr(Directory, "place", lambda self, part, name: None)
    dead = record(dead_token())
    for seed in seeds:
        chance = random.Random(seed)
        if before != "nothing":
            put(place, {"torn": b"{", "void": b""}.get(before, dead))
        if before == "claimed":
            put(place.with_name(f"lock.{dead.nonce}.0"), dead._replace(nonce="cd" * 16))
        Stage(directory, place, stale=0.1).play(chance)
        lock, _ = acquire(directory, wait=70)
        assert directory.names() == ["lock"], seed
        lock.release()
        assert directory.names() == [], seed
