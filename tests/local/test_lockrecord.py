"""What stands in a lock's file: read back exactly or not at all, and judged by the table."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.local import lockrecord, owner
from s3pull.local.lockrecord import Machine, Record, beat_field, beat_offset, encode, judge, parse
from s3pull.local.owner import State
from tests.local.test_owner import HERE, token

NONCE, OTHER_NONCE = "1" * 32, "2" * 32
OURS = Machine("here", "c0ffee", "boot-2")

printable = st.text(st.characters(exclude_categories=("C", "Z")), max_size=60)
hexadecimal = st.text("0123456789abcdef", min_size=32, max_size=32)
records = st.builds(
    Record,
    hexadecimal,
    hexadecimal,
    st.integers(0, 2**32),
    st.builds(Machine, printable, printable, printable),
    st.integers(0, 253_402_300_799),
    st.integers(0, 2**64 - 1),
)


def record(of: str, machine: Machine = OURS, nonce: str = NONCE) -> Record:
    return Record(nonce, of, 5, machine, 1_700_000_000)


@pytest.mark.parametrize(
    ("of", "nonce", "machine", "verdict"),
    [
        (token("aaaaaaaa", 7, 700), NONCE, OURS, State.ALIVE),  # another thread of ours
        (token("aaaaaaaa", 7, 700), OTHER_NONCE, OURS, State.DEAD),  # what we were before we became this program
        (token("aaaaaaaa", 8, 800), OTHER_NONCE, OURS, State.ALIVE),
        (token("aaaaaaaa", 6, 600), OTHER_NONCE, OURS, State.DEAD),
        (token("bbbbbbbb", 6, 600), OTHER_NONCE, OURS, State.UNKNOWN),  # a container on this machine
        (token("bbbbbbbb", 6, 600), OTHER_NONCE, OURS._replace(boot="boot-1"), State.DEAD),
        (token("aaaaaaaa", 8, 800), OTHER_NONCE, OURS._replace(boot="boot-1"), State.ALIVE),  # the token proves more
        (token("bbbbbbbb", 6, 600), OTHER_NONCE, Machine("here", "c0ffee", ""), State.UNKNOWN),
        (token("bbbbbbbb", 6, 600), OTHER_NONCE, Machine("here", "", "boot-1"), State.UNKNOWN),
        (token("bbbbbbbb", 6, 600), OTHER_NONCE, Machine("here", "decaf", "boot-1"), State.UNKNOWN),
        (token("bbbbbbbb", 6, 600), OTHER_NONCE, Machine("there", "c0ffee", "boot-1"), State.UNKNOWN),
    ],
)
def test_who_is_gone(of: str, nonce: str, machine: Machine, verdict: State) -> None:
    its = record(of, machine, nonce)
    assert judge(its, {NONCE}, machine=OURS, host=HERE, own=owner.token(HERE)) is verdict


def test_where_we_do_not_know_ourselves_no_boot_is_another() -> None:
    its = record(token("bbbbbbbb", 6, 600), Machine("here", "", "boot-1"))
    unknown = Machine("here", "", "boot-2")
    assert judge(its, (), machine=unknown, host=HERE, own=owner.token(HERE)) is State.UNKNOWN


def test_nobody_is_gone() -> None:
    free = lockrecord.free_record()
    assert judge(free, {free.nonce}) is State.DEAD
    assert parse(encode(free)) == free
    assert free.nonce != lockrecord.free_record().nonce


def test_of_what_cannot_be_read_nothing_is_known() -> None:
    assert judge(None, {NONCE}) is State.UNKNOWN


@settings(deadline=None)
@given(records)
def test_a_record_is_read_back(written: Record) -> None:
    assert parse(encode(written)) == written


@settings(deadline=None)
@given(records, st.integers(0, 2**64 - 1))
def test_a_beat_changes_the_beat_alone(written: Record, beat: int) -> None:
    content = bytearray(encode(written))
    at = beat_offset(written)
    content[at : at + 16] = beat_field(beat)
    assert parse(bytes(content)) == written._replace(beat=beat)


@settings(deadline=None)
@given(records, st.data())
def test_torn_ones_hold_no_record(written: Record, data: st.DataObject) -> None:
    content = encode(written)
    cut = data.draw(st.integers(0, len(content) - 1))
    assert parse(content[:cut]) is None
    assert parse(content[:cut] + bytes(len(content) - cut)) is None  # as a power cut may leave it
    assert parse(content + b"\n") is None


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_anything_else_is_no_record(content: bytes) -> None:
    assert parse(content) is None


@pytest.mark.parametrize(
    "change",
    [
        (b'"pid": 5', b'"pid": true'),
        (b'"pid": 5', b'"pid": 5.0'),
        (b'"pid": 5', b'"pid": -0'),
        (b'"schema": 1', b'"schema": 2'),
        (b'"here"', b'"\\u001b[2J"'),
        (b"1700000000", b"99999999999999"),
        (b"11111111", b"1111111g"),
        (b'"nonce"', b'"once"'),
    ],
)
def test_near_misses_are_no_records(change: tuple[bytes, bytes]) -> None:
    content = encode(record("3" * 32))
    assert change[0] in content
    assert parse(content.replace(*change)) is None


def test_depth_is_no_way_to_crash_us() -> None:
    assert parse(b"[" * 4000) is None
    assert parse(b"[" * 100_000) is None


# --- which machine --------------------------------------------------------------------------------------


def machine_at(root: Path, pids: str = "pid:[4026531836]", ident: str = "0123456789abcdef" * 2 + "\n") -> Machine:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to(pids)
    (root / "proc/sys/kernel/random").mkdir(parents=True)
    (root / "proc/sys/kernel/random/boot_id").write_text("b00t\n")
    (root / "etc").mkdir()
    (root / "etc/machine-id").write_text(ident)
    return lockrecord.this_machine(root)


def test_a_machine_is_told_by_its_id_and_boot(tmp_path: Path) -> None:
    here = machine_at(tmp_path)
    assert here.host == socket.gethostname()
    assert here.boot == "b00t"
    assert len(here.ident) == 16
    assert "0123456789abcdef" not in here.ident, "machine-id(5): not to be shown"


@pytest.mark.parametrize(
    "facts",
    [{"pids": "pid:[4026532201]"}, {"ident": ""}, {"ident": "uninitialized\n"}],
    ids=lambda facts: next(iter(facts)),
)
def test_where_it_cannot_be_told(tmp_path: Path, facts: dict[str, str]) -> None:
    assert machine_at(tmp_path, **facts) == Machine(socket.gethostname(), "", "")


def test_without_proc(tmp_path: Path) -> None:
    assert lockrecord.this_machine(tmp_path) == Machine(socket.gethostname(), "", "")


def test_a_name_that_no_terminal_should_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a\x1b[2Jb")
    assert lockrecord.this_machine(tmp_path).host == "a?[2Jb"
