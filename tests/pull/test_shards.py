"""`sync --shard`: which objects are whose, and several runs into one folder, against the model bucket."""

import doctest
import hashlib
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import DiskError, NothingThere, UsageError
from s3pull.local import journals
from s3pull.local.mirror import State
from s3pull.local.receipts import Receipts
from s3pull.local.runlock import RunLock
from s3pull.local.tree import Tree
from s3pull.pull import shards
from s3pull.pull.shards import Shard, parse_shard, shard_of
from tests.pull.dying import die_at, in_a_fork
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror, tree

BODIES = {f"{n % 3}/{n:02}": f"body {n}".encode() for n in range(24)}


@pytest.fixture
def store():
    store = MemoryStore()
    for key, body in BODIES.items():
        store.put(key, body)
    return store


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "out"


def shard(store, dest, index, count=3, **more):
    return mirror(store, dest, shard=Shard(index, count), **more)


def journals_of(dest):
    return sorted(path.name for path in (dest / ".s3pull").glob("journal-*"))


def receipts_of(dest):
    with Receipts.open(dest / ".s3pull" / "receipts.db", read_only=True) as receipts:
        return {row.key: row for row in receipts.rows()}


# --- whose ----------------------------------------------------------------------------------------------


def test_the_example_of_the_source():
    assert doctest.testmod(shards) == (0, 1)


@given(st.text(), st.integers(1, 50))
def test_every_key_is_in_one_shard_and_in_one_alone(key, count):
    assert sum(Shard(index, count).has(key) for index in range(count)) == 1


@pytest.mark.parametrize(
    ("key", "count", "index"),
    [("", 7, 0), ("a", 7, 2), ("2026/07/04/part-0001.parquet", 100, 12), ("ünï/✓", 64, 62), ("\udcff", 3, 1)],
)
def test_the_answer_is_the_same_everywhere_and_for_ever(key, count, index):
    """A version that answered otherwise would leave out objects while an array is half through."""
    assert shard_of(key, count) == index


def test_shards_are_of_about_one_size():
    sizes = [0] * 8
    for number in range(8000):
        sizes[shard_of(f"2026/{number // 100:02}/part-{number:05}.parquet", 8)] += 1
    assert min(sizes) > 850
    assert max(sizes) < 1150


@pytest.mark.parametrize(("text", "found"), [("0/1", (0, 1)), ("3/4", (3, 4)), (" 07/12 ", (7, 12))])
def test_what_is_a_shard(text, found):
    one = parse_shard(text)
    assert (one.number, one.total) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4/4", "there is no shard 4 of 4, only 0 to 3"),
        ("0/0", "there must be 1 to 100,000 shards"),
        ("0/100001", "there must be 1 to 100,000 shards"),
        ("/4", "a number is missing in I/N: is the variable set?"),
        ("2/", "a number is missing in I/N: is the variable set?"),
        ("", "not a shard like 0/4, number I of N"),
        ("-1/4", "not a shard like 0/4, number I of N"),
        ("1 of 4", "not a shard like 0/4, number I of N"),
        ("1/4/2", "not a shard like 0/4, number I of N"),
        ("٣/4", "not a shard like 0/4, number I of N"),
    ],
)
def test_what_is_none(text, why):
    with pytest.raises(UsageError) as raised:
        parse_shard(text)
    assert raised.value.message == f"--shard {text!r}: {why}"
    assert "count from 0" in raised.value.hint


# --- runs -----------------------------------------------------------------------------------------------


def test_together_they_fetch_each_object_once_and_a_sync_afterwards_only_lists(store, dest):
    done = [shard(store, dest, index) for index in range(3)]
    assert [one.error for one in done] == [None] * 3
    assert [set(one.actions().values()) for one in done] == [{"downloaded"}] * 3
    assert tree(dest) == BODIES
    assert sorted(key for key, _, _ in store.gets) == sorted(BODIES)
    assert sum(one.summary.downloaded for one in done) == len(BODIES)
    store.gets.clear()
    store.heads.clear()
    after = mirror(store, dest)
    assert (after.error, store.gets, store.heads, after.summary.skipped) == (None, [], [], len(BODIES))
    assert journals_of(dest) == []
    assert set(receipts_of(dest)) == set(BODIES)


def test_a_second_round_fetches_and_writes_nothing(store, dest):
    for index in range(3):
        shard(store, dest, index)
    before = {path: path.stat().st_mtime_ns for path in (dest / ".s3pull").iterdir()}
    store.gets.clear()
    store.heads.clear()
    again = [shard(store, dest, index) for index in range(3)]
    assert (store.gets, store.heads) == ([], [])
    assert sum(one.summary.skipped for one in again) == len(BODIES)
    assert {path: path.stat().st_mtime_ns for path in (dest / ".s3pull").iterdir()} == before


def test_each_announces_its_own_part(store, dest):
    flights = [shard(store, dest, index).flights[0] for index in range(3)]
    assert sum(flight.files for flight in flights) == len(BODIES)
    assert sum(flight.bytes for flight in flights) == sum(map(len, BODIES.values()))
    assert 0 < flights[0].files < len(BODIES)


def test_what_others_did_is_known_while_somebody_is_at_work(store, dest):
    """Of three that ran while a fourth was still at it, nothing is in the receipts yet."""
    with Tree(dest, create=True) as top:
        still = journals.Journal(State.open(top, create=True), "bucket", "")
        still.open()
        for index in range(3):
            shard(store, dest, index)
        assert len(journals_of(dest)) == 4
        assert not (dest / ".s3pull" / "receipts.db").exists()
        store.gets.clear()
        again = [shard(store, dest, index) for index in range(3)]
        assert (store.gets, store.heads, sum(one.summary.skipped for one in again)) == ([], [], len(BODIES))
        still.close()
    shard(store, dest, 0)
    assert journals_of(dest) == []
    assert set(receipts_of(dest)) == set(BODIES)


def test_a_shard_works_while_another_run_holds_the_folder(store, dest):
    with Tree(dest, create=True) as top:
        state = State.open(top, create=True)
        with RunLock.acquire(state.directory):
            done = shard(store, dest, 0)
        assert (done.error, done.summary.exit) == (None, 0)
        assert len(journals_of(dest)) == 1
    assert mirror(store, dest).summary.skipped == done.summary.downloaded
    assert journals_of(dest) == []


def test_changed_and_edited_files_are_noticed_by_their_own_shard(store, dest):
    for index in range(3):
        shard(store, dest, index)
    store.put("0/00", b"body X")
    (dest / "1/01").write_bytes(b"edited here")
    done = [shard(store, dest, index) for index in range(3)]
    reasons = {key: reason for one in done for key, reason in one.reasons().items()}
    assert reasons == {"0/00": "changed", "1/01": "local-edit"}
    assert tree(dest) == {**BODIES, "0/00": b"body X"}


def test_nothing_is_deleted_and_a_sync_with_delete_does_it_afterwards(store, dest):
    for index in range(3):
        shard(store, dest, index)
    store.delete("0/00")
    for index in range(3):
        assert shard(store, dest, index).summary.deleted == 0
    assert (dest / "0/00").exists()
    store.gets.clear()
    done = mirror(store, dest, delete=True)
    assert (done.summary.deleted, store.gets) == (1, [])
    assert not (dest / "0/00").exists()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_names_that_collide_are_refused_alike_whoever_comes_first(store, dest, order):
    store.put("n", b"a file")
    for number in range(12):
        store.put(f"n/{number}", b"below a file")
    refused = set().union(*(shard(store, dest, index).refused for index in order))
    assert refused == {f"n/{number}" for number in range(12)}
    assert tree(dest) == {**BODIES, "n": b"a file"}
    assert shard(store, dest, 0).summary.exit in (0, 3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_where_names_fold_two_keys_never_share_a_file(store, dest, monkeypatch, order):
    monkeypatch.setattr(Tree, "folds", True)
    pairs = [(f"Name{number}", f"name{number}") for number in range(8)]
    for upper, lower in pairs:
        store.put(upper, b"upper")
        store.put(lower, b"lower")
    refused = set().union(*(shard(store, dest, index).refused for index in order))
    assert refused == {lower for _, lower in pairs}
    assert tree(dest) == {**BODIES, **{upper: b"upper" for upper, _ in pairs}}


def test_filters_and_encoding_go_along(store, dest):
    store.put("bad|\x01", b"bad")
    for index in range(3):
        assert shard(store, dest, index, encode_names=True, filters=((False, "0/*"),)).error is None
    assert tree(dest) == {"bad|%01": b"bad", **{key: body for key, body in BODIES.items() if key[0] != "0"}}
    store.gets.clear()
    assert mirror(store, dest, encode_names=True, filters=((False, "0/*"),)).error is None
    assert store.gets == []


def test_a_dry_run_changes_nothing(store, dest):
    plans = [shard(store, dest, index, dry_run=True) for index in range(3)]
    assert sorted(key for one in plans for key in one.actions()) == sorted(BODIES)
    assert not dest.exists()
    shard(store, dest, 1)
    assert shard(store, dest, 1, dry_run=True).actions() == {}
    assert journals_of(dest) == []


def test_a_source_with_nothing_is_said_and_leaves_nothing(dest):
    done = shard(MemoryStore(), dest, 1)
    assert isinstance(done.error, NothingThere)
    assert not dest.exists()


def test_a_shard_that_has_nothing_of_a_source_is_done(dest):
    store = MemoryStore()
    store.put("only", b"one")
    done = [shard(store, dest, index, 5) for index in range(5)]
    assert [one.summary.exit for one in done] == [0] * 5
    assert sum(one.summary.downloaded for one in done) == 1


def test_another_source_is_refused(store, dest):
    shard(store, dest, 0)
    done = shard(store, dest, 1, source="acme:1/")
    assert isinstance(done.error, UsageError)
    assert "mirrors" in done.error.message


def test_damaged_receipts_are_an_error(store, dest):
    mirror(store, dest)
    (dest / ".s3pull" / "receipts.db").write_bytes(b"no database at all" * 100)
    done = shard(store, dest, 0)
    assert isinstance(done.error, DiskError)
    assert "damaged" in done.error.message
    assert journals_of(dest) == []


def test_receipts_that_are_in_use_cost_a_reading_and_no_download(store, dest, monkeypatch):
    mirror(store, dest)
    store.gets.clear()
    monkeypatch.setattr("s3pull.local.receipts._BUSY", 0.1)
    with Receipts.open(dest / ".s3pull" / "receipts.db") as receipts:
        receipts._db.execute("BEGIN EXCLUSIVE")
        done = shard(store, dest, 0)
        receipts._db.execute("ROLLBACK")
    assert (done.error, store.gets) == (None, [])
    assert set(done.reasons().values()) == {"same-checksum"}


def test_what_a_killed_shard_had_named_is_known_to_be_ours(store, dest):
    """The file is there and its receipt in no journal: still it goes when its object does."""

    def killed():
        die_at((journals.Journal, "write"), 3)
        shard(store, dest, 0)

    assert in_a_fork(killed) == 9
    there = set(tree(dest))
    assert there
    store.gets.clear()
    done = [shard(store, dest, index) for index in range(3)]
    assert sum(one.summary.skipped for one in done) == len(there)
    assert not there & {key for key, _, _ in store.gets}
    assert tree(dest) == BODIES


def test_a_file_without_a_receipt_goes_with_its_object(store, dest):
    def killed():
        die_at((journals.Journal, "write"), 1)
        shard(store, dest, 0)

    assert in_a_fork(killed) == 9
    (orphan, *_) = tree(dest)
    store.delete(orphan)
    done = mirror(store, dest, delete=True, limit="100%")
    assert (done.error, (dest / orphan).exists()) == (None, False)
    assert journals_of(dest) == []


def test_a_part_of_a_killed_shard_stays_until_its_own_shard_comes_again(store, dest):
    """Others that end well meanwhile do not sweep it away."""
    store.put("big", bytes(3 * 1024 * 1024))
    mine = shard_of("big", 3)
    asked = []

    def fault(key, start, end):
        if key == "big":
            asked.append(start)
            if len(asked) > 1:
                os._exit(9)
            return ("break", 2 * 1024 * 1024)
        return None

    store.faults.append(fault)
    assert in_a_fork(lambda: shard(store, dest, mine)) == 9
    store.faults.clear()
    parts = {path.name for path in dest.glob(".s3pull-*")}
    assert parts
    for other in {0, 1, 2} - {mine}:
        shard(store, dest, other)
    assert parts <= {path.name for path in dest.glob(".s3pull-*")}
    done = shard(store, dest, mine)
    assert done.actions()["big"] == "resumed"


def test_many_at_once_in_one_process(store, dest):
    done = {}
    runs = [
        threading.Thread(target=lambda index=index: done.update({index: shard(store, dest, index, 6)}))
        for index in range(6)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [done[index].error for index in range(6)] == [None] * 6
    assert tree(dest) == BODIES
    store.gets.clear()
    assert mirror(store, dest).summary.skipped == len(BODIES)
    assert store.gets == []


def test_each_holds_its_own_part_to_a_list_and_tells_only_of_that(dest):
    store = MemoryStore()
    names = [f"{number:02}" for number in range(30)]
    for name in names:
        store.put(name, name.encode())
    listed = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    listed["07"] = "0" * 64
    store.put("SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in listed.items()).encode())
    store.delete("11")
    store.put("extra", b"x")
    runs = [shard(store, dest, index, checksums="SHA256SUMS") for index in range(3)]
    reasons = [(event.key, event.reason) for run in runs for event in run.events if event.error is not None]
    assert sorted(reasons) == [("07", "not-as-listed"), ("11", "listed-missing")]
    assert sum(run.summary.unlisted for run in runs) == 1
    assert set(tree(dest)) == set(names) - {"07", "11"} | {"SHA256SUMS", "extra"}
