"""`--checksums` against the model bucket: what is held to a list, what a list does to files that are here, resuming."""

import base64
import hashlib
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import CheckFailed, NothingThere
from s3pull.local.receipts import Receipts
from s3pull.objects import Checksum
from s3pull.pull import large
from s3pull.pull.get import Get, Order
from s3pull.pull.inorder import InOrder
from s3pull.pull.proof import UNTOLD
from s3pull.pull.publish import Publishing
from s3pull.pull.source import parse_dest, parse_source
from s3pull.pull.sums import Sums
from tests.pull.dying import leave_whole
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror, tree
from tests.pull.test_get import crc64, noise, pull

MIB = 1024 * 1024
LISTED = "SHA256SUMS"


def sums(**bodies):
    """A list in which each name (`__` for `/`, `_` for `.`) has the digest of that body."""
    return "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in bodies.items()).encode()


@pytest.fixture
def store():
    """Two files and the list of them."""
    made = MemoryStore()
    made.put("r/a", b"one")
    made.put("r/big", noise(MIB), checksum=crc64(noise(MIB)))
    made.put(f"r/{LISTED}", sums(a=b"one", big=noise(MIB)))
    return made


def get(store, dest, source="acme:r/", **more):
    return pull(store, source, dest, **{"checksums": LISTED, **more})


def by_sha(done):
    """Of each object: whether its event says that its SHA-256 was verified."""
    return {event.key: event.checksum is not None and event.checksum.algorithm == "SHA256" and event.verified
            for event in done.events}  # fmt: skip


# --- get --------------------------------------------------------------------------------------------------


def test_all_is_as_the_list_says(store, tmp_path):
    done = get(store, tmp_path)
    assert (done.error, done.summary.exit, done.summary.unlisted) == (None, 0, 0)
    assert by_sha(done) == {"r/a": True, "r/big": True, f"r/{LISTED}": False}
    (said,) = [event.checksum for event in done.events if event.key == "r/a"]
    assert base64.b64decode(said.value) == hashlib.sha256(b"one").digest()


@pytest.mark.parametrize(("name", "body"), [("a", b"two"), ("big", noise(MIB, 2))])
def test_another_object_gets_no_name_and_is_fetched_once(store, tmp_path, name, body):
    """S3's own checksum is right: what is stored is not what the list names."""
    store.put(f"r/{name}", body, checksum=crc64(body))
    done = get(store, tmp_path)
    assert done.summary.exit == 6
    assert done.actions()[f"r/{name}"] == "failed"
    assert done.reasons()[f"r/{name}"] == "not-as-listed"
    assert name not in tree(tmp_path)
    assert not [left for left in os.listdir(tmp_path) if left.startswith(".s3pull")]
    assert len([key for key, _, _ in store.gets if key == f"r/{name}"]) == 1
    (error,) = [event.error for event in done.events if event.error]
    assert error.message == f"{name} is not what {LISTED} says"


@pytest.mark.parametrize(("name", "at"), [("a", 1), ("big", 70_000)])
def test_bytes_that_only_the_list_can_prove_are_fetched_again(store, tmp_path, name, at):
    body = store.objects[f"r/{name}"][0]
    store.put(f"r/{name}", body, etag="opaque", encryption="aws:kms")
    times = iter([True])
    store.faults.append(lambda key, start, end: ("flip", at) if key == f"r/{name}" and next(times, False) else None)
    done = get(store, tmp_path)
    assert done.summary.exit == 0
    assert by_sha(done)[f"r/{name}"]
    assert tree(tmp_path)[name] == body


@pytest.mark.parametrize("name", ["a", "big"])
def test_wrong_twice_is_the_lists_word(store, tmp_path, name):
    store.put(f"r/{name}", b"x" * len(store.objects[f"r/{name}"][0]), etag="opaque", encryption="aws:kms")
    done = get(store, tmp_path)
    assert done.reasons()[f"r/{name}"] == "not-as-listed"
    assert len([key for key, _, _ in store.gets if key == f"r/{name}"]) == 2
    assert name not in tree(tmp_path)


def test_what_arrives_damaged_is_damaged_whatever_the_list_says(store, tmp_path):
    store.faults.append(lambda key, start, end: ("flip", 0) if key == "r/a" else None)
    store.put("r/a", b"one", checksum=crc64(b"one"))
    done = get(store, tmp_path)
    assert done.reasons()["r/a"] == "corrupt"
    assert done.summary.exit == 6


def test_what_is_not_listed_is_fetched_and_counted_but_for_the_list_and_its_signatures(store, tmp_path):
    for name in ("extra", f"{LISTED}.minisig", f"{LISTED}.sigstore.json", "sub/"):
        store.put(f"r/{name}", b"" if name.endswith("/") else b"x")
    done = get(store, tmp_path)
    assert (done.summary.exit, done.summary.unlisted) == (0, 1)
    assert set(tree(tmp_path)) == {"a", "big", "extra", LISTED, f"{LISTED}.minisig", f"{LISTED}.sigstore.json"}
    assert not by_sha(done)["r/extra"]


def test_with_require_checksum_it_has_to_be_listed(store, tmp_path):
    store.put("r/extra", b"x", checksum=crc64(b"x"))
    store.put(f"r/{LISTED}.minisig", b"x", checksum=crc64(b"x"))
    store.gets.clear()
    done = get(store, tmp_path, require_checksum=True)
    assert done.summary.exit == 6
    assert done.reasons()["r/extra"] == "not-listed"
    assert set(tree(tmp_path)) == {"a", "big", LISTED, f"{LISTED}.minisig"}
    assert "r/extra" not in {key for key, _, _ in store.gets}
    planned = get(store, tmp_path / "other", require_checksum=True, dry_run=True)
    assert planned.reasons()["r/extra"] == "not-listed"


def test_a_listed_name_that_is_not_there_is_told(store, tmp_path):
    store.delete("r/a")
    done = get(store, tmp_path)
    assert done.summary.exit == 6
    assert done.reasons()["r/a"] == "listed-missing"
    assert set(tree(tmp_path)) == {"big", LISTED}


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ("acme:r/big", {}),
        ("acme:r/b*", {}),
        ("acme:r/", {"filters": [(False, "a")]}),
        ("acme:r/", {"lines": ["big"]}),
    ],
)
def test_what_was_not_asked_for_is_not_missing(store, tmp_path, source, more):
    store.delete("r/a")
    done = get(store, f"{tmp_path}/", source, **more)
    assert (done.error, done.summary.exit, done.summary.unlisted) == (None, 0, 0)
    assert tree(tmp_path)["big"] == noise(MIB)
    assert by_sha(done)["r/big"]


def test_a_path_that_is_a_tree_has_its_list_in_it(store, tmp_path):
    done = get(store, f"{tmp_path}/", "acme:r")
    assert done.summary.exit == 0
    assert by_sha(done)["r/a"]


def test_a_list_in_a_folder_vouches_for_what_is_beside_it(store, tmp_path):
    store.put("r/sub/x", b"x")
    store.put(f"r/sub/{LISTED}", sums(x=b"y"))
    done = get(store, tmp_path, checksums=f"sub/{LISTED}")
    assert done.reasons()["r/sub/x"] == "not-as-listed"
    assert "a" in tree(tmp_path)


def test_a_list_that_lies_here(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.put(f"r/{LISTED}", b"somebody else's")
    (tmp_path / LISTED).write_bytes(sums(a=b"one", big=b"not this"))
    done = get(store, "out", checksums=f"./{LISTED}")
    assert done.reasons()["r/big"] == "not-as-listed"
    assert (by_sha(done)["r/a"], done.summary.unlisted) == (True, 0)
    absolute = get(store, "out", checksums=str(tmp_path / LISTED))
    assert absolute.reasons()["r/big"] == "not-as-listed"
    gone = get(store, "out", checksums="./nothing")
    assert isinstance(gone.error, NothingThere)


def test_no_list_no_file(store, tmp_path):
    store.delete(f"r/{LISTED}")
    done = get(store, tmp_path)
    assert isinstance(done.error, NothingThere)
    assert done.error.message == f"there is no {LISTED} beside the objects (r/{LISTED})"
    assert tree(tmp_path) == {}
    store = MemoryStore()
    store.put("r/a", b"one")
    store.put(f"r/{LISTED}", b"<html>")
    done = get(store, tmp_path)
    assert isinstance(done.error, CheckFailed)
    assert tree(tmp_path) == {}


# --- what is here -----------------------------------------------------------------------------------------


def test_what_is_here_and_right_is_skipped(store, tmp_path):
    get(store, tmp_path)
    store.gets.clear()
    again = get(store, tmp_path)
    assert by_sha(again) == {"r/a": True, "r/big": True, f"r/{LISTED}": False}
    assert {key for key, _, _ in store.gets} == {f"r/{LISTED}"}


def test_a_file_that_is_the_object_and_not_the_lists_is_told_and_stays(store, tmp_path):
    pull(store, "acme:r/", tmp_path)
    store.put(f"r/{LISTED}", sums(a=b"other", big=noise(MIB)))
    done = get(store, tmp_path, overwrite=True)
    assert (done.summary.exit, done.reasons()["r/a"]) == (6, "not-as-listed")
    assert tree(tmp_path)["a"] == b"one"
    kept = get(store, tmp_path, no_clobber=True)
    assert kept.reasons() == {"r/a": "not-as-listed", "r/big": "no-clobber", f"r/{LISTED}": "no-clobber"}


def test_a_longer_file_that_begins_right_is_not_right(store, tmp_path):
    (tmp_path / "a").write_bytes(b"one and more")
    done = get(store, tmp_path, no_clobber=True)
    assert done.reasons()["r/a"] == "not-as-listed"


def test_a_file_believed_for_its_time_is_fetched_where_the_list_says_otherwise(store, tmp_path):
    store.put("r/a", b"one", etag="opaque", encryption="aws:kms")
    (tmp_path / "a").write_bytes(b"ten")
    os.utime(tmp_path / "a", (1_700_000_000, 1_700_000_000))
    assert pull(store, "acme:r/", tmp_path).reasons()["r/a"] == "same-time"
    done = get(store, tmp_path)
    assert done.reasons()["r/a"] == "changed"
    assert tree(tmp_path)["a"] == b"one"


# --- resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [True, False])
def test_what_was_resumed_is_hashed_from_its_first_byte(store, tmp_path, right, monkeypatch):
    monkeypatch.setattr(large, "SEGMENT", MIB)
    body = noise(5 * MIB + 3)
    store.put("r/big", body, checksum=crc64(body))
    store.put(f"r/{LISTED}", sums(a=b"one", big=body if right else body[:-1] + b"x"))
    run = {}
    spec = parse_source("acme:r/big")
    order = Order(spec, parse_dest(str(tmp_path / "f"), spec, is_directory=False), jobs=1)
    run["get"] = Get(order, store, lambda event: None)
    store.faults.append(lambda key, start, end: run["get"].stop() if start >= 3 * MIB else None)
    with pytest.raises(Exception, match=r"interrupted|stopped|closed"):
        run["get"].run()
    store.faults.clear()
    store._interrupted.clear()
    store.patience = MemoryStore().patience
    done = get(store, tmp_path / "f", "acme:r/big")
    if right:
        assert (done.actions(), done.summary.exit) == ({"r/big": "resumed"}, 0)
        assert done.summary.received <= 3 * MIB
        assert by_sha(done)["r/big"]
        assert tree(tmp_path) == {"f": body}
    else:
        assert (done.reasons(), done.summary.exit) == ({"r/big": "not-as-listed"}, 6)
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("listed", "action", "exit"), [(b"one", "resumed", 0), (b"two", "failed", 6)])
def test_what_a_killed_run_left_whole_is_held_to_the_list(store, tmp_path, listed, action, exit):
    pin = store.objects["r/a"][1]
    leave_whole(tmp_path, pin, "a", b"one")
    store.put(f"r/{LISTED}", sums(a=listed, big=noise(MIB)))
    done = get(store, tmp_path)
    assert (done.actions()["r/a"], done.summary.exit) == (action, exit)
    assert ("a" in tree(tmp_path), by_sha(done)["r/a"]) == (not exit, not exit)
    assert not [left for left in os.listdir(tmp_path) if left.startswith(".s3pull")]


def test_segments_side_by_side_are_hashed_in_order(store, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "SEGMENT", MIB)
    body = noise(20 * MIB + 7)
    store.put("r/big", body, checksum=crc64(body))
    store.put(f"r/{LISTED}", sums(a=b"one", big=body))
    store.latency = 0.05  # so that many work at once
    done = get(store, tmp_path, jobs=8)
    assert done.summary.exit == 0
    assert by_sha(done)["r/big"]


@given(st.integers(1, 40), st.integers(0, 200), st.randoms(use_true_random=False))
def test_in_order_is_the_hash_of_the_file_in_whatever_order_it_was_written(segment, size, choices):
    body = random.Random(size).randbytes(size)
    disk = bytearray(size)

    def read_at(offset, buffer):
        piece = disk[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    hasher = InOrder(segment, size, read_at)
    at = list(range(0, size, segment))
    for index in range(len(at)):
        if choices.random() < 0.3:  # an earlier run had some of it
            end = choices.randint(at[index], min((index + 1) * segment, size))
            disk[at[index] : end] = body[at[index] : end]
            at[index] = end
            hasher.resumed(index, end)
    while unfinished := [index for index, where in enumerate(at) if where < min((index + 1) * segment, size)]:
        index = choices.choice(unfinished)
        end = choices.randint(at[index] + 1, min((index + 1) * segment, size))
        disk[at[index] : end] = body[at[index] : end]
        hasher.wrote(at[index], memoryview(body)[at[index] : end])
        at[index] = end
    assert hasher.digest() == hashlib.sha256(body).digest()


# --- sync -------------------------------------------------------------------------------------------------


def held(store, dest, **more):
    """A sync with the list."""
    return mirror(store, dest, "acme:r/", checksums=LISTED, **more)


def read_files(monkeypatch):
    """Counts files that are read to be hashed."""
    from s3pull.pull import sums as module

    counted = []
    real = module.content_of

    def counting(directory, name, size, algorithm):
        counted.append(name)
        return real(directory, name, size, algorithm)

    monkeypatch.setattr(module, "content_of", counting)
    return counted


def test_a_mirror_that_was_held_once_is_not_read_again(store, tmp_path, monkeypatch):
    mirror(store, tmp_path / "m", "acme:r/")
    counted = read_files(monkeypatch)
    store.gets.clear()
    first = held(store, tmp_path / "m", every=True)
    assert (first.error, first.summary.exit) == (None, 0)
    assert sorted(counted) == ["a", "big"]
    assert {key for key, _, _ in store.gets} == {f"r/{LISTED}"}
    counted.clear()
    second = held(store, tmp_path / "m", every=True)
    assert (second.summary.skipped, counted) == (3, [])
    with Receipts.open(tmp_path / "m/.s3pull/receipts.db", read_only=True) as receipts:
        found = receipts.find("a")
    assert (found.algorithm, found.verified) == ("SHA256", True)
    assert base64.b64decode(found.checksum) == hashlib.sha256(b"one").digest()


def test_a_mirror_is_held_to_a_new_list(store, tmp_path):
    assert held(store, tmp_path / "m").summary.exit == 0
    store.put(f"r/{LISTED}", sums(a=b"two", big=noise(MIB)))
    done = held(store, tmp_path / "m")
    assert (done.summary.exit, done.reasons()["r/a"]) == (6, "not-as-listed")
    store.put("r/a", b"two")
    done = held(store, tmp_path / "m")
    assert (done.summary.exit, tree(tmp_path / "m")["a"]) == (0, b"two")


def test_a_file_that_rotted_under_its_receipt_is_fetched_again(store, tmp_path):
    mirror(store, tmp_path / "m", "acme:r/")
    path = tmp_path / "m/a"
    look = path.stat()
    path.write_bytes(b"eno")
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))
    done = held(store, tmp_path / "m")
    assert (done.summary.exit, done.reasons()["r/a"]) == (0, "changed")
    assert tree(tmp_path / "m")["a"] == b"one"


def test_missing_and_unlisted_are_told_by_sync_too(store, tmp_path):
    store.put("r/extra", b"x")
    store.delete("r/a")
    done = held(store, tmp_path / "m")
    assert done.reasons()["r/a"] == "listed-missing"
    assert (done.summary.exit, done.summary.failed, done.summary.unlisted) == (6, 1, 1)
    assert set(tree(tmp_path / "m")) == {"big", "extra", LISTED}
    strict = held(store, tmp_path / "m", require_checksum=True)
    assert strict.reasons()["r/extra"] == "not-listed"
    filtered = held(store, tmp_path / "m", filters=[(False, "a"), (False, "extra")])
    assert (filtered.summary.exit, filtered.summary.unlisted) == (0, 0)


def test_a_listing_in_another_order_is_read_twice_and_counted_once(store, tmp_path, monkeypatch):
    store.put("r/extra", b"x")
    real = store.list
    monkeypatch.setattr(store, "list", lambda prefix="", **how: iter([list(reversed(next(real(prefix, **how))))]))
    done = held(store, tmp_path / "m")
    assert (done.summary.exit, done.summary.unlisted, done.summary.downloaded) == (0, 1, 4)


def test_a_release_with_one_wrong_file_is_not_published(store, tmp_path):
    publishing = Publishing(2, 0.0)
    assert held(store, tmp_path / "m", publishing=publishing).summary.exit == 0
    now = os.readlink(tmp_path / "m/current")
    store.put("r/a", b"two")
    done = held(store, tmp_path / "m", publishing=publishing)
    assert (done.summary.exit, done.reasons()["r/a"]) == (6, "not-as-listed")
    assert os.readlink(tmp_path / "m/current") == now
    store.put("r/a", b"one")
    store.delete("r/big")
    done = held(store, tmp_path / "m", publishing=publishing, delete=True, limit="100%")
    assert done.summary.exit == 6
    assert os.readlink(tmp_path / "m/current") == now


def test_a_stated_checksum_of_another_kind_does_not_matter(store, tmp_path):
    sha = Checksum("SHA256", base64.b64encode(hashlib.sha256(b"one").digest()).decode())
    store.put("r/a", b"one", checksum=sha)
    assert held(store, tmp_path / "m").summary.exit == 0
    store.put("r/a", b"ono", checksum=sha._replace(value=base64.b64encode(hashlib.sha256(b"ono").digest()).decode()))
    assert held(store, tmp_path / "m").reasons()["r/a"] == "not-as-listed"


def test_a_list_that_was_not_read_lets_nothing_pass():
    """Where somebody forgets to hand it on, a run fails: nobody gets files that were held to nothing."""
    sums = Sums(LISTED)
    for ask in (lambda: sums.names("k"), lambda: sums.says("k", bytearray(b"x")), lambda: sums.content("k"),
                lambda: sums.prove("k", UNTOLD, lambda: b"")):  # fmt: skip
        with pytest.raises(ValueError, match="was not read"):
            ask()
