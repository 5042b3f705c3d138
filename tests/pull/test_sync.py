"""`sync` against the model bucket: whole runs, in this process, on a real file system."""

import os
import threading
import time

import pytest

from s3pull.errors import (
    AccessDenied,
    DeadlineReached,
    DiskError,
    GuardRefused,
    Locked,
    NothingThere,
    ServiceError,
    UsageError,
)
from s3pull.local import owner
from s3pull.local.directory import Directory
from s3pull.local.receipts import Receipts
from s3pull.local.tree import Tree
from s3pull.objects import Checksum
from s3pull.remote import checksums
from tests.pull.dying import die_at, in_a_fork
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror, tree
from tests.pull.test_get import crc64, noise, pull

MIB = 1024 * 1024


@pytest.fixture
def store():
    store = MemoryStore()
    store.put("a", b"one")
    store.put("x/b", b"two")
    store.put("x/y/c", b"three")
    return store


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "out"


def receipts_of(dest):
    with Receipts.open(dest / ".s3pull" / "receipts.db", read_only=True) as receipts:
        return {row.key: row for row in receipts.rows()}


def test_it_fetches_what_is_new_and_then_only_lists(store, dest):
    store.put("dir/", b"")
    done = mirror(store, dest)
    assert (done.error, done.summary.exit, done.summary.downloaded) == (None, 0, 3)
    assert tree(dest) == {"a": b"one", "x/b": b"two", "x/y/c": b"three"}
    assert (dest / "dir").is_dir()
    store.gets.clear()
    store.heads.clear()
    again = mirror(store, dest)
    assert (store.gets, store.heads, again.summary.skipped) == ([], [], 4)
    assert len(store.lists) == 2


def test_receipts_say_what_was_fetched(store, dest):
    store.put("big", noise(3 * MIB), checksum=crc64(noise(3 * MIB)), version_id="v7")
    mirror(store, dest)
    receipts = receipts_of(dest)
    assert sorted(receipts) == ["a", "big", "x/b", "x/y/c"]
    big = receipts["big"]
    found = (dest / "big").stat()
    assert (big.size, big.mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert (big.etag, big.version_id, big.verified) == (store.objects["big"][1].etag, "v7", True)
    assert Checksum(big.algorithm, big.checksum) == crc64(noise(3 * MIB))


@pytest.mark.parametrize("modified", [1_700_000_000.0, 1_600_000_000.0, 1_800_000_000.0])
def test_a_change_of_equal_size_is_never_missed(store, dest, modified):
    mirror(store, dest)
    store.put("a", b"eno", modified=modified)
    done = mirror(store, dest)
    assert done.reasons() == {"a": "changed"}
    assert (dest / "a").read_bytes() == b"eno"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda path: path.write_bytes(b"eno"), "local-edit"),
        (lambda path: path.write_bytes(b"on"), "local-edit"),
        (lambda path: path.write_bytes(b"one!"), "local-edit"),
        (lambda path: path.unlink(), "removed-here"),
        (lambda path: (path.unlink(), path.symlink_to("x/b")), "local-edit"),
    ],
)
def test_what_was_changed_here_is_noticed_replaced_and_counted(store, dest, edit, reason):
    mirror(store, dest)
    edit(dest / "a")
    done = mirror(store, dest)
    assert (done.reasons(), done.summary.local_changes) == ({"a": reason}, 1)
    assert (dest / "a").read_bytes() == b"one"
    assert not (dest / "a").is_symlink()


def test_a_file_that_was_only_touched_is_proven_and_not_fetched(store, dest):
    mirror(store, dest)
    os.utime(dest / "a", (1, 1))
    store.gets.clear()
    store.heads.clear()
    done = mirror(store, dest)
    assert (done.reasons(), done.summary.local_changes) == ({"a": "same-checksum"}, 0)
    assert (store.gets, store.heads) == ([], [])
    assert mirror(store, dest).events == []


def test_an_object_stored_anew_with_equal_bytes_is_not_fetched(store, dest):
    body = noise(3 * MIB)
    store.put("big", body, checksum=crc64(body), etag="0" * 32 + "-3")
    mirror(store, dest)
    store.put("big", body, checksum=crc64(body), etag="1" * 32 + "-2")
    store.gets.clear()
    done = mirror(store, dest)
    assert (done.reasons(), store.gets) == ({"big": "same-checksum"}, [])
    assert receipts_of(dest)["big"].etag == "1" * 32 + "-2"


@pytest.mark.parametrize("time", [1_700_000_000, 1])
def test_a_tree_that_another_tool_made_is_taken_up(store, dest, time):
    body = noise(2 * MIB)
    store.put("multi", body, checksum=crc64(body), etag="f" * 32 + "-2")
    for key, content in {"a": b"one", "x/b": b"two", "multi": body}.items():
        (dest / key).parent.mkdir(parents=True, exist_ok=True)
        (dest / key).write_bytes(content)
        os.utime(dest / key, (time, time))
    done = mirror(store, dest)
    assert done.actions() == {"a": "skipped", "multi": "skipped", "x/b": "skipped", "x/y/c": "downloaded"}
    assert store.heads == [("multi", None)]  # an MD5 is proven without asking
    assert sorted(receipts_of(dest)) == ["a", "multi", "x/b", "x/y/c"]
    assert mirror(store, dest).events == []


def test_where_nothing_can_be_proven_the_time_decides_and_the_content_is_noted(store, dest):
    store.put("opaque", b"data", etag="d" * 32, encryption="aws:kms")
    dest.mkdir()
    (dest / "opaque").write_bytes(b"data")
    os.utime(dest / "opaque", (1_700_000_000, 1_700_000_000))
    done = mirror(store, dest)
    assert done.reasons()["opaque"] == "same-time"
    receipt = receipts_of(dest)["opaque"]
    assert (receipt.verified, receipt.checksum) == (False, checksums.encode(crc(b"data")))


@pytest.mark.parametrize("first", ["adopted", "fetched"])
def test_where_proof_is_demanded_neither_a_time_nor_an_unproven_receipt_counts(store, dest, first):
    store.put("marker/", b"")
    store.put("opaque", b"data", etag="d" * 32, encryption="aws:kms")
    if first == "adopted":
        dest.mkdir()
        (dest / "opaque").write_bytes(b"XXXX")
        os.utime(dest / "opaque", (1_700_000_000, 1_700_000_000))
        strict = mirror(store, dest, require_checksum=True)
        assert (strict.summary.exit, strict.reasons()["opaque"]) == (6, "corrupt")
    assert mirror(store, dest).error is None
    assert not receipts_of(dest)["opaque"].verified
    store.gets.clear()
    for _ in range(2):
        strict = mirror(store, dest, require_checksum=True)
        assert (strict.summary.exit, strict.reasons()) == (6, {"opaque": "corrupt"})
        assert (strict.summary.skipped, strict.summary.local_changes) == (4, 0)
    got = pull(store, "acme:", dest, bucket="bucket", require_checksum=True)
    assert (got.summary.exit, got.reasons()["opaque"]) == (6, "corrupt")
    assert {key for key, *_ in store.gets} == {"opaque"}
    assert mirror(store, dest).summary.skipped == 5


def crc(body):
    return checksums.crc_digest("CRC64NVME", checksums.crc_function("CRC64NVME")(body, 0))


# --- deleting -----------------------------------------------------------------------------------------------


def test_a_path_whose_object_and_file_are_both_gone_is_free(store, dest):
    assert mirror(store, dest).error is None
    store.delete("a")
    (dest / "a").unlink()
    store.put("a/b", b"one")
    done = mirror(store, dest)
    assert (done.refused, tree(dest)) == (set(), {"a/b": b"one", "x/b": b"two", "x/y/c": b"three"})


def test_nothing_is_deleted_unless_told(store, dest):
    mirror(store, dest)
    store.delete("a")
    assert mirror(store, dest).actions() == {}
    assert (dest / "a").exists()


def test_delete_removes_files_with_a_receipt_and_the_folders_that_are_then_empty(store, dest):
    store.put("keep/", b"")
    store.put("keep/f", b"f")
    mirror(store, dest)
    (dest / "x" / "mine").write_bytes(b"mine")
    for key in ("x/y/c", "keep/f"):
        store.delete(key)
    done = mirror(store, dest, delete=True)
    assert done.actions() == {"x/y/c": "deleted", "keep/f": "deleted"}
    assert done.summary.deleted == 2
    assert tree(dest) == {"a": b"one", "x/b": b"two", "x/mine": b"mine"}
    assert (dest / "keep").is_dir()
    assert not (dest / "x" / "y").exists()
    assert sorted(receipts_of(dest)) == ["a", "keep/", "x/b"]


def test_a_file_is_made_way_for_by_deleting_first(store, dest):
    mirror(store, dest)
    store.delete("a")
    store.put("a/now/a/folder", b"deep")
    store.delete("x/y/c")
    store.put("x/y", b"now a file")
    done = mirror(store, dest, delete=True, limit="2")
    assert (done.error, done.refused) == (None, set())
    assert tree(dest) == {"a/now/a/folder": b"deep", "x/b": b"two", "x/y": b"now a file"}


def fetched_and_gone(store, dest, key):
    """An object of which nothing is left but its receipt, and the folders that it was in."""
    store.put(key, b"first")
    mirror(store, dest)
    (dest / key).unlink()
    store.delete(key)


@pytest.mark.parametrize(
    ("key", "emptied", "instead"),
    [
        ("a", [], "a/b"),
        ("p/q/r", [], "p/q/r/s/t"),
        ("p/q/r", ["p/q"], "p/q"),
    ],
)
def test_what_was_removed_here_comes_back_where_something_has_taken_its_place(store, dest, key, emptied, instead):
    """It has a receipt still, from when it was fetched first; `instead` is a folder there, or a file where its folder
    was."""
    fetched_and_gone(store, dest, key)
    for folder in emptied:
        (dest / folder).rmdir()
    store.put(instead, b"instead")
    assert mirror(store, dest).refused == set()
    store.delete(instead)
    store.put(key, b"again")
    done = mirror(store, dest, delete=True, limit="100%")
    assert (done.error, done.refused) == (None, set())
    assert (dest / key).read_bytes() == b"again"


def test_what_is_gone_on_both_sides_is_in_nobodys_way(store, dest):
    """Its receipt is there still, and a folder is in its place, which is empty by now."""
    fetched_and_gone(store, dest, "p/q")
    fetched_and_gone(store, dest, "p/q/r")
    store.put("p", b"a file now")
    assert mirror(store, dest).refused == set()
    assert (dest / "p").read_bytes() == b"a file now"


def test_what_a_killed_run_named_in_the_place_of_a_folder_makes_way(store, dest):
    fetched_and_gone(store, dest, "p/q")
    store.put("p", b"named, and no receipt")
    store.put("p-q", b"too late")

    def work():
        die_at((MemoryStore, "get"), 2)
        mirror(store, dest)

    assert in_a_fork(work) == 9
    assert (dest / "p").read_bytes() == b"named, and no receipt"
    store.delete("p")
    store.put("p/q", b"again")
    done = mirror(store, dest, delete=True, limit="100%")
    assert (done.error, done.refused) == (None, set())
    assert (dest / "p" / "q").read_bytes() == b"again"


@pytest.mark.parametrize("limit", [None, "1", "30%"])
def test_too_much_is_not_deleted_and_nothing_else_is_done(store, dest, limit):
    mirror(store, dest)
    for key in ("a", "x/b"):
        store.delete(key)
    store.put("new", b"new")
    done = mirror(store, dest, delete=True, limit=limit)
    assert isinstance(done.error, GuardRefused)
    assert (done.summary.exit, done.events) == (14, [])
    assert tree(dest) == {"a": b"one", "x/b": b"two", "x/y/c": b"three"}
    assert mirror(store, dest, delete=True, limit="2").summary.deleted == 2


def test_an_empty_listing_never_deletes(store, dest):
    mirror(store, dest)
    store.objects.clear()
    assert mirror(store, dest, delete=True, limit="100%").summary.exit == 14
    assert isinstance(mirror(store, dest).error, NothingThere)
    assert len(tree(dest)) == 3


@pytest.mark.parametrize("error", [AccessDenied("no"), ServiceError("not today")])
def test_a_listing_that_fails_half_way_deletes_and_fetches_nothing(store, dest, monkeypatch, error):
    store.page = 1
    mirror(store, dest)
    real = store.list

    def breaks_off(prefix="", **how):
        yield next(real(prefix, **how))
        raise error

    store.put("zz", b"new")
    monkeypatch.setattr(store, "list", breaks_off)
    done = mirror(store, dest, delete=True, limit="100%")
    assert (done.error, done.events) == (error, [])
    assert len(tree(dest)) == 3


def test_what_is_filtered_out_is_never_deleted(store, dest):
    mirror(store, dest)
    store.delete("a")
    store.delete("x/b")
    done = mirror(store, dest, delete=True, filters=((False, "a"),))
    assert done.actions() == {"x/b": "deleted"}
    assert (dest / "a").exists()


def test_a_glob_deletes_only_what_it_would_match(store, dest):
    mirror(store, dest, "acme:")
    store.delete("a")
    store.delete("x/b")
    done = mirror(store, dest, "acme:*/b", delete=True, limit="100%")
    assert done.summary.exit == 14  # it matches nothing any more
    store.put("x/b", b"again")
    store.delete("x/y/c")
    assert mirror(store, dest, "acme:*/b", delete=True).actions() == {"x/b": "downloaded"}
    assert (dest / "x/y/c").exists()


# --- before byte one -----------------------------------------------------------------------------------------


def test_the_preflight_comes_first_and_counts(store, dest):
    store.put("cold", b"ice", storage_class="GLACIER")
    store.put("../out", b"traversal")
    mirror(store, dest, filters=((True, "a"),))
    order = []
    store.faults.append(lambda *_: order.append("get"))
    done = mirror(store, dest, payer="me")
    (flight,) = done.flights
    assert (flight.files, flight.bytes, flight.requests, flight.same) == (2, 8, 2, 1)
    assert (flight.archived, flight.refused, flight.payer) == (1, 1, "me")
    assert flight.free > 0
    assert done.actions() == {"../out": "refused", "cold": "refused", "x/b": "downloaded", "x/y/c": "downloaded"}
    assert list(done.actions())[:2] == ["../out", "cold"]
    assert done.summary.exit == 3


def test_what_cannot_fit_is_said_at_once(store, dest, monkeypatch):
    store.put("big", noise(MIB))
    monkeypatch.setattr(Tree, "free_bytes", lambda self: MIB)
    done = mirror(store, dest)
    assert isinstance(done.error, DiskError)
    assert (done.summary.exit, store.gets, tree(dest)) == (5, [], {})


def test_parts_of_a_killed_run_are_not_counted_against_the_disk(store, dest, monkeypatch):
    body = noise(4 * MIB)
    store.put("big", body)
    broken = [("break", 3 * MIB)] + [("error", ServiceError("gone"))] * 50
    store.faults.append(lambda key, start, end: broken.pop(0) if key == "big" and broken else None)
    assert mirror(store, dest).summary.exit == 3
    store.faults.clear()
    monkeypatch.setattr(Tree, "free_bytes", lambda self: 2 * MIB)
    done = mirror(store, dest)
    assert (done.error, done.actions()) == (None, {"big": "resumed"})
    assert done.summary.received <= 2 * MIB
    assert (dest / "big").read_bytes() == body


@pytest.mark.parametrize("place", ["ours", "another"])
def test_what_others_have_under_way_is_no_room_of_ours(store, dest, monkeypatch, place):
    store.put("big", noise(4 * MIB))
    token = f"{owner.this_host().place if place == 'ours' else '0badc0de'}{os.getppid():08x}{0:016x}"
    dest.mkdir()
    (dest / f".s3pull-0123456789abcdef-{token}-00000000").write_bytes(noise(3 * MIB))
    monkeypatch.setattr(Tree, "free_bytes", lambda self: 2 * MIB)
    done = mirror(store, dest)
    assert isinstance(done.error, DiskError)
    assert store.gets == []


def test_a_dry_run_gives_reasons_and_changes_nothing(store, dest, tmp_path):
    mirror(store, dest)
    store.put("a", b"eno")
    store.put("new", b"new")
    store.delete("x/y/c")
    before = {path: path.stat().st_mtime_ns for path in dest.rglob("*")}
    done = mirror(store, dest, delete=True, dry_run=True)
    assert done.reasons() == {"a": "changed", "new": "new", "x/y/c": "gone"}
    assert all(event.planned for event in done.events)
    assert {path: path.stat().st_mtime_ns for path in dest.rglob("*")} == before
    nowhere = mirror(store, tmp_path / "nowhere", dry_run=True)
    assert nowhere.actions() == dict.fromkeys(("a", "new", "x/b"), "downloaded")
    assert not (tmp_path / "nowhere").exists()


# --- one run at a time, in its time -----------------------------------------------------------------------------


def test_a_second_run_is_refused_and_a_waiting_one_comes_after(store, dest):
    inside, go_on = threading.Event(), threading.Event()

    def hold(key, start, end):
        inside.set()
        go_on.wait(60)

    store.faults.append(hold)
    first = []
    thread = threading.Thread(target=lambda: first.append(mirror(store, dest)))
    thread.start()
    assert inside.wait(60)
    other = MemoryStore()
    other.objects = store.objects
    refused = mirror(other, dest)
    assert isinstance(refused.error, Locked)
    assert refused.summary.exit == 12
    threading.Timer(0.5, go_on.set).start()
    waited = mirror(other, dest, wait=60.0)
    thread.join()
    assert (first[0].summary.downloaded, waited.error, waited.summary.skipped) == (3, None, 3)


def test_at_the_deadline_it_stops_and_the_next_run_goes_on(store, dest):
    body = noise(4 * MIB)
    store.put("big", body)
    half = threading.Event()

    def slow(key, start, end):
        if key == "big" and not half.is_set():
            half.set()
            return ("break", 2 * MIB)
        if key == "big":
            time.sleep(0.05)
            return ("error", ServiceError("slow")) if not store._interrupted.is_set() else None
        return None

    store.faults.append(slow)
    store.patience = type(store.patience)(sleep=lambda seconds: None)
    done = mirror(store, dest, deadline=0.4, fail_fast=False)
    assert done.summary.exit in (13, 3)
    other = MemoryStore()
    other.objects = store.objects
    again = mirror(other, dest)
    assert again.error is None
    assert (dest / "big").read_bytes() == body


def test_a_deadline_in_the_listing_is_a_deadline(store, dest, monkeypatch):
    def endless(prefix="", **how):
        while True:
            time.sleep(0.02)
            store._check()
            yield []

    monkeypatch.setattr(store, "list", endless)
    done = mirror(store, dest, deadline=0.2)
    assert isinstance(done.error, DeadlineReached)
    assert done.summary.exit == 13


# --- which source ----------------------------------------------------------------------------------------------


def test_another_source_is_refused(store, dest):
    mirror(store, dest)
    done = mirror(store, dest, "acme:x/")
    assert isinstance(done.error, UsageError)
    assert "mirrors acme:" in done.error.message
    assert ".s3pull" in done.error.hint


def test_one_object_is_never_listed(store, dest):
    store.deny_list = True
    done = mirror(store, dest, "acme:x/b")
    assert (done.error, tree(dest)) == (None, {"b": b"two"})
    assert store.lists == []


def test_a_path_that_is_no_object_is_the_tree_below(store, dest):
    assert mirror(store, dest, "acme:x").error is None
    assert tree(dest) == {"b": b"two", "y/c": b"three"}
    assert mirror(store, dest, "acme:x/").error is None


def test_a_service_that_lists_in_another_order_is_sorted_here(store, dest, monkeypatch):
    real = store.list
    monkeypatch.setattr(store, "list", lambda prefix="", **how: iter([list(reversed(next(real(prefix, **how))))]))
    assert mirror(store, dest).summary.downloaded == 3
    store.delete("a")
    done = mirror(store, dest, delete=True)
    assert (done.actions(), done.summary.skipped) == ({"a": "deleted"}, 2)


# --- names ---------------------------------------------------------------------------------------------------------


def test_every_name_problem_is_told_before_byte_one(store, dest):
    for key in ("a/b", "bad//name", "x/y", "x/y/c/d"):
        store.put(key, b"!")
    done = mirror(store, dest)
    assert done.refused == {"a/b", "bad//name", "x/y/c", "x/y/c/d"}
    assert [event.action for event in done.events[:4]] == ["refused"] * 4
    assert done.flights[0].refused == 4
    again = mirror(store, dest)
    assert again.refused == done.refused
    assert again.summary.skipped == 3


def test_what_has_a_receipt_keeps_its_place(store, dest):
    mirror(store, dest)
    store.put("a/b", b"!")
    done = mirror(store, dest)
    assert done.refused == {"a/b"}
    assert (dest / "a").read_bytes() == b"one"


def test_encoded_names_come_and_stay(store, dest):
    store.put("odd//name", b"odd")
    assert mirror(store, dest).refused == {"odd//name"}
    done = mirror(store, dest, encode_names=True)
    assert done.actions() == {"odd//name": "downloaded"}
    assert (dest / "odd" / "%2Fname").read_bytes() == b"odd" or (dest / "odd%2F" / "name").exists()
    assert mirror(store, dest, encode_names=True).events == []


def test_on_a_file_system_that_folds_names_that_meet_are_refused(store, dest, monkeypatch):
    monkeypatch.setattr(Tree, "folds", True)
    store.put("A", b"capital")
    done = mirror(store, dest)
    assert done.refused == {"a"}  # capitals come first in a listing
    assert "same name" in done.events[0].error.message


# --- receipts of others ---------------------------------------------------------------------------------------------


def test_get_into_a_mirror_uses_receipts_and_leaves_a_journal(store, dest):
    mirror(store, dest)
    os.utime(dest / "a", (2_000_000_000, 2_000_000_000))
    (dest / "x/b").write_bytes(b"edited")
    store.put("x/y/c", b"much newer")
    os.utime(dest / "x/y/c", ns=(0, receipts_of(dest)["x/y/c"].mtime_ns))
    done = pull(store, "acme:", dest, bucket="bucket")
    assert done.actions() == {"a": "skipped", "x/b": "refused", "x/y/c": "downloaded"}
    assert done.reasons()["x/b"] == "local-edit"
    store.gets.clear()
    (dest / "x/b").write_bytes(b"two")
    assert mirror(store, dest).actions() == {"x/b": "skipped"}
    assert store.gets == []


def test_get_takes_no_receipts_of_another_bucket(store, dest):
    mirror(store, dest)
    (dest / "a").write_bytes(b"eno")
    os.utime(dest / "a", (1, 1))
    assert pull(store, "acme:", dest, bucket="other").actions()["a"] == "downloaded"


def test_damaged_receipts_stop_the_run_and_moving_them_away_is_the_way_out(store, dest):
    mirror(store, dest)
    path = dest / ".s3pull" / "receipts.db"
    path.write_bytes(b"garbage" * 1000)
    done = mirror(store, dest)
    assert (done.summary.exit, done.events) == (5, [])
    path.unlink()
    store.gets.clear()
    assert mirror(store, dest).summary.skipped == 3
    assert store.gets == []


def test_a_receipt_that_cannot_be_written_stops_the_run(store, dest, monkeypatch):
    def full(self):
        with self._change:
            if not self._pending:
                return
        raise DiskError("no space left on device")

    monkeypatch.setattr(Receipts, "_commit", full)
    assert mirror(store, dest).summary.exit == 5


def test_receipts_follow_durable_data(store, dest, monkeypatch):
    """Group commit: a receipt is never committed before its file was synced and has its name."""
    steps = []
    real_sync, real_commit = os.fsync, Receipts._transaction

    def commit(self, statement, rows):
        rows = list(rows)
        steps.append(("commit", [row[0] for row in rows if len(row) > 1]))
        return real_commit(self, statement, rows)

    def noted(fd):
        steps.append(("fsync", os.readlink(f"/proc/self/fd/{fd}")))
        return real_sync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Receipts, "_transaction", commit)
    mirror(store, dest, durable=True)
    committed = {key: at for at, (kind, keys) in enumerate(steps) if kind == "commit" for key in keys}
    folders = {"a": "", "x/b": "/x", "x/y/c": "/x/y"}
    for key, folder in folders.items():
        synced = [at for at, (kind, what) in enumerate(steps) if kind == "fsync" and what == f"{dest}{folder}"]
        assert min(synced) < committed[key]


def test_what_a_killed_run_left_goes_though_nothing_is_to_be_fetched(store, dest):
    """A run makes a file to see how names fold; killed before it removes that, it leaves it in the folder itself."""
    mirror(store, dest)

    def work():
        die_at((Directory, "unlink"), 3)  # after two of the run lock
        mirror(store, dest)

    assert in_a_fork(work) == 9
    assert list(dest.glob(".s3pull-*"))
    assert mirror(store, dest).error is None
    assert not list(dest.glob(".s3pull-*"))
