"""Who wrote a part: the table of states, and the real /proc for processes that live, died, or are zombies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3pull.local import owner
from s3pull.local.owner import State


class Facts:
    """A machine on which the processes in `running` are there, with their start times."""

    def __init__(self, place: str | None, pid: int, running: dict[int, int]) -> None:
        self.place = place
        self.pid = pid
        self.running = running

    def started(self, pid: int) -> int | None:
        return self.running.get(pid)


HERE = Facts("aaaaaaaa", 7, {7: 700, 8: 800, 9: 0})


def token(place: str, pid: int, start: int) -> str:
    return owner.token(Facts(place, pid, {pid: start}))


@pytest.mark.parametrize(
    ("of", "state"),
    [
        (token("aaaaaaaa", 7, 700), State.SELF),
        (token("aaaaaaaa", 8, 800), State.ALIVE),
        (token("aaaaaaaa", 9, 900), State.ALIVE),  # it is there, and when it started cannot be told
        (token("aaaaaaaa", 8, 0), State.ALIVE),
        (token("aaaaaaaa", 8, 799), State.DEAD),  # its ID was given anew
        (token("aaaaaaaa", 7, 699), State.DEAD),  # to us
        (token("aaaaaaaa", 6, 600), State.DEAD),
        (token("bbbbbbbb", 6, 600), State.UNKNOWN),
        (token("bbbbbbbb", 7, 700), State.UNKNOWN),
        (token("aaaaaaaa", 0, 0), State.UNKNOWN),
    ],
)
def test_states(of: str, state: State) -> None:
    assert owner.state(of, HERE, owner.token(HERE)) is state


def test_without_a_place_nothing_is_proven() -> None:
    nowhere = Facts(None, 7, {7: 700})
    mine, same_again = owner.token(nowhere), owner.token(nowhere)
    assert mine != same_again
    assert owner.state(same_again, nowhere, mine) is State.UNKNOWN
    assert owner.state(token("aaaaaaaa", 6, 600), nowhere, mine) is State.UNKNOWN
    assert owner.state(mine, nowhere, mine) is State.SELF


def test_names_are_of_one_length_and_are_read_back() -> None:
    ident = owner.part_ident("key \ud800", "etag", 5, "final")
    first, second = owner.part_name(ident), owner.part_name(ident)
    assert first != second
    assert len(first) == len(second) == 66
    facts = owner.parse(first)
    assert facts is not None
    assert (facts.part, facts.ident, facts.token, facts.log) == (first, ident, owner.own_token(), False)
    log = owner.parse(first + ".log")
    assert log is not None
    assert (log.part, log.log) == (first, True)


def test_every_fact_counts_in_an_ident() -> None:
    others = [("l", "e", 1, "f"), ("k", "d", 1, "f"), ("k", "e", 2, "f"), ("k", "e", 1, "g"), ("ke", "", 1, "f")]
    idents = [owner.part_ident(*facts) for facts in [("k", "e", 1, "f"), *others]]
    assert len(set(idents)) == len(idents)


#: a constant: test IDs must be the same in every process
PART = f".s3pull-{'0' * 16}-{'1' * 32}-{'2' * 8}"


@pytest.mark.parametrize(
    "name",
    ["", ".s3pull", ".s3pull-", "a", ".s3pull-" + "0" * 58, PART.upper(), PART + ".tmp", PART + "\n", "x" + PART],
)
def test_other_names_are_not_ours(name: str) -> None:
    assert owner.parse(name) is None


def child() -> tuple[subprocess.Popen[str], str]:
    """A process that waits for a line, and its token as it tells it."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from s3pull.local import owner; print(owner.own_token(), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_real_process_alive_zombie_and_gone() -> None:
    process, its = child()
    try:
        assert its != owner.own_token()
        assert owner.state(its) is State.ALIVE
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped: a zombie
        assert Path(f"/proc/{process.pid}").exists()
        assert owner.state(its) is State.DEAD
    finally:
        process.communicate()
    assert owner.state(its) is State.DEAD
    assert owner.state(owner.own_token()) is State.SELF


def test_a_forked_child_is_somebody_else() -> None:
    mine = owner.own_token()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, f"{owner.own_token()} {owner.state(mine).value}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    its, state = os.read(read, 200).decode().split()
    os.close(read)
    os.close(write)
    assert its != mine
    assert state == "alive"
    assert owner.state(its) is State.DEAD


def test_a_foreign_proc_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("1" if os.getpid() != 1 else "2")
    assert owner.Linux(tmp_path).place is None
    assert owner.Linux().place == owner.Linux().place is not None


@pytest.mark.parametrize(("state", "threads", "gone"), [("Z", 1, True), ("Z", 3, False), ("S", 1, False)])
def test_a_zombie_with_threads_may_still_write(tmp_path: Path, state: str, threads: int, gone: bool) -> None:
    pid = os.getpid()
    fields = [state, *"0" * 16, str(threads), "0", "4242", *"0" * 20]
    (tmp_path / str(pid)).mkdir()
    (tmp_path / str(pid) / "stat").write_text(f"{pid} (a ) b) {' '.join(fields)}\n")
    assert owner.Linux(tmp_path).started(pid) == (None if gone else 4242)


def test_a_hidden_process_is_alive(tmp_path: Path) -> None:
    assert owner.Linux(tmp_path).started(os.getpid()) == 0


def test_systems_without_start_times() -> None:
    host = owner.Posix()
    assert host.started(os.getpid()) == 0
    assert host.started(2**22 + 12345) is None
