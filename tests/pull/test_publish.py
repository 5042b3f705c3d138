"""`sync --publish` against the model bucket: whole releases, and readers that never see anything else."""

import os
import random
import time

import pytest

from s3pull.errors import GuardRefused, ServiceError, UsageError
from s3pull.local.directory import Directory
from s3pull.local.receipts import Receipts
from s3pull.local.releases import Releases
from s3pull.pull.publish import Publishing
from tests.pull.dying import die_at, in_a_fork
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror, tree

NOW = Publishing(2, 0.0)


@pytest.fixture
def store():
    store = MemoryStore()
    for key in ("a", "x/b", "x/y/c"):
        store.put(key, key.encode() * 10)
    return store


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "out"


def publish(store, dest, publishing=NOW, **how):
    return mirror(store, dest, publishing=publishing, **how)


def current(dest):
    return tree((dest / "current").resolve())


def releases(dest):
    return sorted(path.name[:6] for path in (dest / ".s3pull" / "releases").iterdir())


def test_the_first_release_and_then_nothing(store, dest):
    store.put("empty/", b"")
    done = publish(store, dest)
    assert (done.error, done.summary.downloaded) == (None, 3)
    assert sorted(path.name for path in dest.iterdir()) == [".s3pull", "current"]
    assert current(dest) == {"a": b"a" * 10, "x/b": b"x/b" * 10, "x/y/c": b"x/y/c" * 10}
    assert (dest / "current" / "empty").is_dir()
    store.gets.clear()
    assert publish(store, dest).summary.skipped == 4
    assert (store.gets, releases(dest)) == ([], ["000001"])


def test_what_did_not_change_is_a_second_name_and_the_old_release_stays_as_it_was(store, dest):
    publish(store, dest)
    before = (dest / "current").resolve()
    was = {path: (path.stat().st_ino, path.read_bytes()) for path in before.rglob("*") if path.is_file()}
    store.put("a", b"b" * 10)
    store.gets.clear()
    done = publish(store, dest)
    assert (done.actions(), [key for key, *_ in store.gets]) == ({"a": "downloaded"}, ["a"])
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in was} == was
    after = (dest / "current").resolve()
    assert after != before
    assert (after / "x/b").stat().st_ino == (before / "x/b").stat().st_ino
    assert (after / "a").read_bytes() == b"b" * 10


def test_without_hard_links_files_are_copied(store, dest, monkeypatch):
    def refuse(*_args, **_facts):
        raise PermissionError(1, "Operation not permitted")

    publish(store, dest)
    monkeypatch.setattr(os, "link", refuse)
    store.put("a", b"new")
    store.gets.clear()
    assert publish(store, dest).error is None
    assert len(store.gets) == 1
    found = (dest / "current" / "x" / "b").stat()
    assert (found.st_nlink, found.st_mtime) == (1, 1_700_000_000)
    assert publish(store, dest).summary.skipped == 3


@pytest.mark.parametrize("delete", [False, True])
def test_what_is_gone_stays_unless_told_to_delete(store, dest, delete):
    publish(store, dest)
    store.delete("x/y/c")
    store.put("new", b"new")
    done = publish(store, dest, delete=delete)
    assert done.summary.deleted == delete
    assert sorted(current(dest)) == sorted({"a", "x/b", "new"} | (set() if delete else {"x/y/c"}))
    assert (dest / "current" / "x" / "y").exists() != delete
    assert publish(store, dest, delete=delete).summary.downloaded == 0


def test_the_guards_hold_here_too(store, dest):
    publish(store, dest)
    for key in ("a", "x/b"):
        store.delete(key)
    done = publish(store, dest, delete=True)
    assert isinstance(done.error, GuardRefused)
    assert (releases(dest), len(current(dest))) == (["000001"], 3)


def test_a_release_with_something_missing_is_not_published_and_the_next_run_completes_it(store, dest):
    publish(store, dest)
    for key in ("a", "x/b", "new"):
        store.put(key, b"second " + key.encode())
    store.faults.append(lambda key, start, end: ("error", ServiceError("no")) if key == "x/b" else None)
    done = publish(store, dest)
    assert done.summary.exit == 3
    assert "not published" in done.said[-1]
    assert current(dest)["a"] == b"a" * 10
    store.faults.clear()
    store.gets.clear()
    assert publish(store, dest).error is None
    assert [key for key, *_ in store.gets] == ["x/b"]
    assert current(dest) == {
        "a": b"second a",
        "new": b"second new",
        "x/b": b"second x/b",
        "x/y/c": b"x/y/c" * 10,
    }


def test_what_a_stopped_build_has_and_the_source_has_not_any_more_is_not_published(store, dest):
    publish(store, dest)
    store.put("soon/gone", b"!")
    store.put("x/b", b"second")
    store.faults.append(lambda key, start, end: ("error", ServiceError("no")) if key == "x/b" else None)
    publish(store, dest)
    assert list((dest / ".s3pull" / "staging" / "tree").rglob("gone"))
    store.faults.clear()
    store.delete("soon/gone")
    assert publish(store, dest).error is None
    assert sorted(current(dest)) == ["a", "x/b", "x/y/c"]
    assert not (dest / "current" / "soon").exists()


def test_a_build_is_never_believed_for_its_times_alone(store, dest):
    """Linked before the kill, replaced by an object of equal size and time that cannot be proven: it is fetched."""
    store.put("k", b"old!", etag="1" * 32, encryption="aws:kms")
    publish(store, dest)
    store.put("a", b"changed")
    assert in_a_fork(lambda: (die_at((Receipts, "_commit"), 1), publish(store, dest))) == 9
    staged = dest / ".s3pull" / "staging" / "tree" / "k"
    assert staged.exists()
    store.put("k", b"new!", etag="2" * 32, encryption="aws:kms")
    assert publish(store, dest).error is None
    assert current(dest)["k"] == b"new!"


def test_a_file_of_a_release_that_was_damaged_is_not_carried_on(store, dest):
    publish(store, dest)
    (dest / "current" / "a").write_bytes(b"scribbled")
    store.put("new", b"new")
    assert publish(store, dest).error is None
    assert current(dest)["a"] == b"a" * 10


@pytest.mark.parametrize("encode", [False, True])
def test_where_its_receipts_are_lost_a_release_is_taken_up_by_content(store, dest, encode):
    store.put("e%41", b"escaped")
    publish(store, dest, encode_names=encode)
    was = current(dest)
    (receipts,) = (dest / ".s3pull/releases").glob("*/receipts.db")
    receipts.write_bytes(b"junk" * 1000)
    damaged = publish(store, dest, encode_names=encode)
    assert damaged.summary.exit == 5
    assert "move that file away and run the sync again" in damaged.error.hint
    receipts.rename(dest.parent / "away")
    store.put("x/b", b"changed")
    gone = {"a"} | ({"e%41"} if encode else set())
    for key in gone:
        store.delete(key)
    planned = publish(store, dest, dry_run=True, encode_names=encode)
    assert (planned.error, planned.actions()["x/b"], planned.actions()["x/y/c"]) == (None, "downloaded", "skipped")
    store.gets.clear()
    done = publish(store, dest, delete=True, encode_names=encode)
    assert done.error is None
    assert [key for key, *_ in store.gets] == ["x/b"]
    # nothing says yet whose the others are
    assert current(dest) == {**was, "x/b": b"changed"}
    assert not receipts.exists()
    again = publish(store, dest, delete=True, limit="100%", encode_names=encode)
    assert {key for key, action in again.actions().items() if action == "deleted"} == gone
    assert set(current(dest)) == {"x/b", "x/y/c"} | ({"e%41"} - gone)
    store.gets.clear()
    assert publish(store, dest, encode_names=encode).summary.skipped == len(current(dest))
    assert store.gets == []


def test_a_release_that_is_taken_up_and_stopped_begins_anew(store, dest):
    publish(store, dest)
    (receipts,) = (dest / ".s3pull/releases").glob("*/receipts.db")
    receipts.unlink()
    store.delete("a")
    store.put("x/b", b"changed")
    store.faults.append(lambda *_: ("error", ServiceError("down")))
    assert publish(store, dest).error is None
    assert releases(dest) == ["000001"]
    store.faults.clear()
    assert publish(store, dest).error is None
    assert current(dest) == {"a": b"a" * 10, "x/b": b"changed", "x/y/c": b"x/y/c" * 10}


def test_reasons_are_those_of_the_release_before(store, dest):
    publish(store, dest)
    store.put("a", b"changed")
    store.put("new", b"new")
    for name, text in (("x/b", "edited"), ("x/y/c", None)):
        (dest / "current" / name).unlink()
        if text:
            (dest / "current" / name).write_text(text)
    expected = {"a": "changed", "new": "new", "x/b": "local-edit", "x/y/c": "removed-here"}
    for dry in (True, False):
        done = publish(store, dest, dry_run=dry)
        assert (done.reasons(), done.summary.local_changes) == (expected, 2)


def test_plain_and_published_do_not_mix(store, dest, tmp_path):
    publish(store, dest)
    assert isinstance(mirror(store, dest).error, UsageError)
    mirror(store, tmp_path / "plain")
    assert isinstance(publish(store, tmp_path / "plain").error, UsageError)


def test_a_dry_run_makes_nothing(store, dest):
    assert publish(store, dest, dry_run=True).actions() == dict.fromkeys(("a", "x/b", "x/y/c"), "downloaded")
    assert not dest.exists()


STEPS = (
    *((MemoryStore, "get"), (MemoryStore, "ask"), (Directory, "link"), (Directory, "rename"), (Receipts, "_commit")),
    *((Releases, "_sync_staging"), (Releases, "_sync"), (Releases, "_remove"), (Releases, "prune")),
)


def generation(store, number, count):
    """The bucket's state of one generation: every second file changes with it, and their number does."""
    store.objects.clear()
    for at in range(count + number % 3):
        stamp = number if at % 2 == 0 else 0
        store.put(f"d{at % 3}/f{at}", b"%d of %d" % (stamp, at), modified=1_700_000_000.0 + stamp)
    store.put("generation", b"%d" % number, modified=1_700_000_000.0 + number)


def whole(folder, count):
    """Whether a walk through one release finds one generation, and all of it."""
    number = int((folder / "generation").read_text())
    found = tree(folder)
    del found["generation"]
    wanted = {f"d{at % 3}/f{at}": b"%d of %d" % (number if at % 2 == 0 else 0, at) for at in range(count + number % 3)}
    return found == wanted


def read_for_ever(dest, count, report):
    """A reader: resolves `current` once, walks what it leads to, and again. Ends with the first thing that is wrong."""
    walks = 0
    while True:
        os.pwrite(report, b"%8d" % walks, 0)
        folder = (dest / "current").resolve()
        if not whole(folder, count):
            os._exit(1)
        walks += 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_reader_sees_whole_releases_only_during_fifty_publishes_with_kills_in_between(tmp_path):
    count, dest = 30, tmp_path / "out"
    publishing = Publishing(2, 30.0)
    chance = random.Random(7)
    store = MemoryStore()
    generation(store, 1, count)
    assert publish(store, dest, publishing).error is None
    report = os.open(tmp_path / "walks", os.O_RDWR | os.O_CREAT)
    reader = os.fork()
    if reader == 0:
        try:
            read_for_ever(dest, count, report)
        finally:
            os._exit(2)
    kills = 0
    try:
        for number in range(2, 52):
            generation(store, number, count)
            for _ in range(chance.randrange(3)):
                step, at = chance.choice(STEPS), chance.randrange(1, 12)
                code = in_a_fork(
                    lambda step=step, at=at: (die_at(step, at), publish(store, dest, publishing, delete=True))
                )
                assert code in (0, 9)
                kills += code == 9
            done = publish(store, dest, publishing, delete=True, limit="100%")
            assert done.error is None
            assert whole((dest / "current").resolve(), count)
            assert os.waitpid(reader, os.WNOHANG) == (0, 0)
        deadline = time.monotonic() + 60
        while int(os.pread(report, 8, 0)) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert os.waitpid(reader, os.WNOHANG) == (0, 0)
    finally:
        os.kill(reader, 9)
        os.waitpid(reader, 0)
    assert int(os.pread(report, 8, 0)) >= 5
    os.close(report)
    assert kills >= 10
    assert not list((dest / ".s3pull").glob("staging"))
