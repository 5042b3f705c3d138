"""`get` against the model bucket: whole runs, in this process, on a real file system."""

import base64
import hashlib
import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3pull.errors import AccessDenied, Cancelled, CheckFailed, NothingThere, ServiceError, Transient
from s3pull.events import Action
from s3pull.local import directory, owner
from s3pull.local.checkpoint import Header, header_line
from s3pull.local.parts import PartFile
from s3pull.local.tree import Tree
from s3pull.objects import COMPOSITE, Checksum, RemoteObject
from s3pull.pull import large
from s3pull.pull.get import Get, Order, batched
from s3pull.pull.globs import Filters
from s3pull.pull.puller import Choices, Item
from s3pull.pull.small import SMALL
from s3pull.pull.source import parse_dest, parse_source
from s3pull.pull.transfer import Transfer
from s3pull.remote import checksums
from tests.pull.dying import leave_whole
from tests.pull.memory_store import MemoryAsked, MemoryStore

MIB = 1024 * 1024


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def crc64(body):
    digest = checksums.crc_digest("CRC64NVME", checksums.crc_function("CRC64NVME")(body, 0))
    return Checksum("CRC64NVME", base64.b64encode(digest).decode())


class Outcome:
    def __init__(self, run, events, error):
        self.run, self.events, self.error = run, events, error
        self.summary = run.summary(error)

    def actions(self):
        return {event.key: str(event.action) for event in self.events}

    def reasons(self):
        return {event.key: event.reason and str(event.reason) for event in self.events}


def pull(
    store, source, dest, *, prefix="", filters=(), lines=None, jobs=8, encode=False, version_id=None, bucket="",
    **choices
):  # fmt: skip
    events = []
    spec = parse_source(source)
    target = parse_dest(
        None if dest is None else str(dest), spec, is_directory=dest is not None and os.path.isdir(dest)
    )
    order = Order(
        spec,
        target,
        prefix,
        Choices(durable=False, **choices),
        Filters(filters),
        encode,
        version_id,
        lines,
        jobs,
        bucket,
    )
    run = Get(order, store, events.append)
    try:
        run.run()
        error = None
    except Exception as raised:
        error = raised
    return Outcome(run, events, error)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture
def store():
    return MemoryStore()


def test_a_tree_lands_below_dest_with_its_times(store, tmp_path):
    for name in ("a", "x/b", "x/y/c", "empty"):
        store.put(f"data/{name}", name.encode() if name != "empty" else b"", modified=1_600_000_000.0)
    store.put("database", b"beside, not below")
    done = pull(store, "acme:data/", tmp_path / "out")
    assert done.error is None
    assert tree(tmp_path / "out") == {"a": b"a", "x/b": b"x/b", "x/y/c": b"x/y/c", "empty": b""}
    assert (tmp_path / "out/x/b").stat().st_mtime == 1_600_000_000
    assert done.summary.downloaded == 4
    assert done.summary.exit == 0
    assert all(event.verified for event in done.events)


def test_what_is_the_same_is_skipped_and_costs_no_byte(store, tmp_path):
    store.put("a", b"one")
    store.put("big", noise(MIB), checksum=crc64(noise(MIB)))
    pull(store, "acme:", tmp_path)
    store.gets.clear()
    again = pull(store, "acme:", tmp_path)
    assert again.actions() == {"a": "skipped", "big": "skipped"}
    assert again.summary.received == 0
    assert store.gets == []


def test_an_exact_key_never_lists(store, tmp_path):
    store.put("k", b"v")
    store.deny_list = True
    done = pull(store, "acme:k", tmp_path / "f")
    assert done.error is None
    assert tree(tmp_path) == {"f": b"v"}
    assert store.lists == []


def test_a_path_that_is_no_object_is_the_tree_below_it_and_nothing_beside(store, tmp_path):
    store.put("a/b/c", b"1")
    store.put("a/bc", b"2")
    pull(store, "acme:a/b", str(tmp_path / "out") + "/")
    assert tree(tmp_path / "out") == {"c": b"1"}


@pytest.mark.parametrize(
    ("dest", "folder"), [(None, "b"), ("out", "out"), ("in/out", "in/out"), (".", "."), ("new/", "new")]
)
def test_a_path_that_is_a_tree_goes_where_the_tree_would_go(store, tmp_path, monkeypatch, dest, folder):
    store.put("a/b/c", b"1")
    store.put("a/b/d/e", b"2")
    store.put("a/b/m/", b"")
    monkeypatch.chdir(tmp_path)
    done = pull(store, "acme:a/b", dest)
    assert done.error is None
    assert tree(tmp_path / folder) == {"c": b"1", "d/e": b"2"}
    assert (tmp_path / folder / "m").is_dir()
    assert sorted(os.listdir(tmp_path)) == ([folder.partition("/")[0]] if folder != "." else ["c", "d", "m"])


def test_a_share_prefix_is_not_part_of_the_path(store, tmp_path):
    store.put("2026/x/a.csv", b"1")
    store.put("2026/x/b.txt", b"2")
    pull(store, "acme:x/*.csv", tmp_path, prefix="2026/")
    assert tree(tmp_path) == {"a.csv": b"1"}


def test_a_key_that_reads_like_a_glob_can_be_pasted(store, tmp_path):
    store.put("a[1].csv", b"1")
    pull(store, "acme:a[1].csv", tmp_path)
    assert tree(tmp_path) == {"a[1].csv": b"1"}


def test_nothing_there(store, tmp_path):
    done = pull(store, "acme:none/", tmp_path / "out")
    assert isinstance(done.error, NothingThere)
    assert done.summary.exit == 4


def test_filters_keep_out_what_they_exclude(store, tmp_path):
    for name in ("a.csv", "a.txt", "tmp/b.csv"):
        store.put(name, b"x")
    pull(store, "acme:", tmp_path, filters=[(True, "*.csv"), (False, "tmp/**")])
    assert tree(tmp_path) == {"a.csv": b"x"}


def test_a_list_of_keys(store, tmp_path):
    for name in ("t/a", "t/b", "t/c"):
        store.put(name, name.encode())
    store.deny_list = True
    done = pull(store, "acme:t/", tmp_path, lines=["a\n", '{"event":"object","key":"b"}\n', "\n", "gone"])
    assert tree(tmp_path) == {"a": b"t/a", "b": b"t/b"}
    assert done.actions() == {"t/a": "downloaded", "t/b": "downloaded", "t/gone": "failed"}
    assert done.summary.exit == 3
    assert store.lists == []


@pytest.mark.parametrize("key", ["../evil", "a/../../evil", "/abs", "a//b", "x/.s3pull/receipts.db", "nul\0", "a\nb"])
def test_unsafe_keys_are_refused_one_by_one(store, tmp_path, key):
    store.put(f"d/{key}", b"evil")
    store.put("d/good", b"good")
    done = pull(store, "acme:d/", tmp_path / "out")
    assert tree(tmp_path) == {"out/good": b"good"}
    assert done.actions() == {f"d/{key}": "refused", "d/good": "downloaded"}
    assert done.reasons()[f"d/{key}"] == "unsafe-name"
    assert done.summary.exit == 3


def test_local_edits_are_refused_unless_overwritten(store, tmp_path):
    store.put("a", b"theirs", modified=1_600_000_000.0)
    (tmp_path / "a").write_bytes(b"mine, and newer")
    refused = pull(store, "acme:", tmp_path)
    assert refused.reasons() == {"a": "local-edit"}
    assert refused.summary.exit == 3
    assert tree(tmp_path) == {"a": b"mine, and newer"}
    kept = pull(store, "acme:", tmp_path, no_clobber=True)
    assert kept.reasons() == {"a": "no-clobber"}
    assert kept.summary.exit == 0
    taken = pull(store, "acme:", tmp_path, overwrite=True)
    assert taken.actions() == {"a": "downloaded"}
    assert tree(tmp_path) == {"a": b"theirs"}


def test_an_older_file_is_replaced(store, tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    os.utime(tmp_path / "a", (1_500_000_000, 1_500_000_000))
    store.put("a", b"new", modified=1_600_000_000.0)
    assert pull(store, "acme:", tmp_path).reasons() == {"a": "changed"}
    assert tree(tmp_path) == {"a": b"new"}


@pytest.mark.parametrize("waited", [False, True])
def test_what_is_put_into_a_folder_that_was_just_made(store, tmp_path, monkeypatch, waited):
    """Only what comes within the first second is not looked for: between look and rename there is always a moment."""
    monkeypatch.setattr(directory, "_EMPTY_SECONDS", -1.0 if waited else 3600.0)
    for key in ("d/a", "d/b"):
        store.put(key, b"theirs")

    def plant(key, _start, _end):
        if key == "d/a":
            (tmp_path / "d/b").write_bytes(b"ours")

    store.faults.append(plant)

    def ask(key, *, pin=None, version_id=None):
        body = store.get(key, pin=pin, version_id=version_id, checksum=True)
        return MemoryAsked(lambda: body)

    store.ask = ask
    done = pull(store, "acme:", tmp_path, jobs=1)
    assert done.actions()["d/b"] == ("refused" if waited else "downloaded")
    assert (tmp_path / "d/b").read_bytes() == (b"ours" if waited else b"theirs")


def test_what_a_second_process_has_named_is_looked_for_even_in_a_new_folder(store, tmp_path):
    pin = store.put("d/a", b"body")
    events = []
    transfer = Transfer(store, Choices(durable=False), 1, events.append)
    with Tree(tmp_path, create=True) as tree, transfer.open(tree) as puller:
        assert tree.directory("d").new
        (tmp_path / "d/a").write_bytes(b"body")
        transfer.work([[puller.orphaned(Item(pin, "d", "a"))]])
    assert [(event.action, store.gets) for event in events] == [(Action.SKIPPED, [])]


def test_no_more_is_asked_for_than_there_are_connections_open(store, tmp_path):
    """Over a long way opening one takes as long as some answers: those that are open are used meanwhile."""
    store.latency = 0.07
    for number in range(600):
        store.put(f"{number:03}", b"x")
    under_way, most, wanted = set(), [], []

    def widen(count):
        wanted.append(count)
        return 5

    def ask(key, *, pin=None, version_id=None):
        under_way.add(key)
        most.append(len(under_way))

        def body():
            under_way.discard(key)
            return store.get(key, pin=pin, version_id=version_id, checksum=True)

        return MemoryAsked(body)

    store.widen, store.ask = widen, ask
    assert pull(store, "acme:", tmp_path, jobs=64).summary.downloaded == 600
    assert max(most) == 5
    assert max(wanted) == 64


def test_archived_objects_are_refused_without_asking(store, tmp_path):
    store.put("cold", b"x", storage_class="DEEP_ARCHIVE")
    store.put("warm", b"y", storage_class="GLACIER", restored=True)
    done = pull(store, "acme:", tmp_path)
    assert done.actions() == {"cold": "refused", "warm": "downloaded"}
    assert done.reasons()["cold"] == "archived"


def test_markers_become_directories(store, tmp_path):
    store.put("d/", b"")
    store.put("d/e/", b"")
    done = pull(store, "acme:", tmp_path)
    assert (tmp_path / "d/e").is_dir()
    assert done.summary.exit == 0


def test_dry_run_touches_nothing(store, tmp_path):
    store.put("a", b"1")
    store.put("dir/b", b"2")
    done = pull(store, "acme:", tmp_path / "out", dry_run=True)
    assert done.actions() == {"a": "downloaded", "dir/b": "downloaded"}
    assert all(event.planned for event in done.events)
    assert not (tmp_path / "out").exists()
    assert store.gets == []


def test_what_killed_runs_left_of_small_files_is_swept_and_large_parts_are_not(store, tmp_path):
    """A dead owner: no process has the highest process ID there can be."""
    store.put("d/k", b"x")
    folder = tmp_path / "d"
    folder.mkdir()
    place = owner.own_token()[:8]
    dead = f"{place}{0x7FFFFFFE:08x}{1:016x}"
    small = folder / f".s3pull-{owner.SMALL}-{dead}-00000001"
    large = folder / f".s3pull-{'a' * 16}-{dead}-00000001"
    torn = folder / f".s3pull-{'b' * 16}-{dead}-00000002"
    for part in (small, large, torn, Path(f"{torn}.log")):
        part.write_bytes(b"part")
    Path(f"{large}.log").write_bytes(header_line(Header("d/large", "e", 4, 4, "CRC32")))
    pull(store, "acme:", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["k", large.name, f"{large.name}.log"])


@pytest.mark.parametrize("torn", [False, True])
def test_what_a_killed_run_left_whole_of_one_segment_is_not_fetched_again(store, tmp_path, torn):
    body = os.urandom(MIB)
    pin = store.put("big", body)
    leave_whole(tmp_path, pin, "big", body)
    if torn:
        [part] = tmp_path.iterdir()
        with part.open("r+b") as file:
            file.write(bytes(10))
    done = pull(store, "acme:big", tmp_path)
    assert done.actions() == {"big": "downloaded" if torn else "resumed"}
    assert done.summary.received == (MIB if torn else 0)
    assert [path.name for path in tmp_path.iterdir()] == ["big"]
    assert (tmp_path / "big").read_bytes() == body


# --- one object, from byte 0 to done ------------------------------------------------------------------------


def once(fault):
    given_out = []

    def ask(key, start, end):
        if given_out:
            return None
        given_out.append(True)
        return fault

    return ask


@pytest.mark.parametrize("size", [1, 1000, 256 * 1024, 256 * 1024 + 1, 16 * MIB, 16 * MIB + 1, 40 * MIB])
def test_sizes(store, tmp_path, size):
    body = noise(size)
    store.put("k", body, checksum=crc64(body))
    done = pull(store, "acme:k", tmp_path / "f")
    assert done.error is None
    assert tree(tmp_path) == {"f": body}
    assert done.events[0].verified
    assert done.events[0].received == size
    assert done.summary.received == size


@pytest.mark.parametrize("size", [1000, MIB, 20 * MIB])
def test_a_body_that_breaks_off_goes_on_where_it_stopped(store, tmp_path, size):
    body = noise(size)
    store.put("k", body, checksum=crc64(body))
    rng = random.Random(1)
    count = iter(range(6))
    store.faults.append(lambda k, s, e: ("break", rng.randrange(size)) if next(count, None) is not None else None)
    done = pull(store, "acme:k", tmp_path / "f", jobs=2)
    assert done.error is None
    assert tree(tmp_path) == {"f": body}
    assert size <= done.summary.received <= size + (600_000 if size > 256 * 1024 else 6 * size)


def test_what_came_is_noted_once_however_often_the_next_try_fails(store, tmp_path, monkeypatch):
    body = noise(8 * MIB)
    store.put("k", body, checksum=crc64(body))
    breaks = iter([("break", MIB // 2), ("break", 0), ("break", 0), ("break", 0)])
    store.faults.append(lambda key, start, end: next(breaks, None))
    noted = []
    checkpoint = PartFile.checkpoint
    monkeypatch.setattr(
        PartFile, "checkpoint", lambda part, *claim: (noted.append(claim[1]), checkpoint(part, *claim))[1]
    )
    assert pull(store, "acme:k", tmp_path / "f").error is None
    assert tree(tmp_path) == {"f": body}
    assert noted == sorted(set(noted))


@pytest.mark.parametrize("size", [1000, MIB, 20 * MIB])
def test_a_flipped_bit_is_fetched_again(store, tmp_path, size):
    body = noise(size)
    store.put("k", body, checksum=crc64(body))
    store.faults.append(once(("flip", size // 2)))
    done = pull(store, "acme:k", tmp_path / "f")
    assert done.error is None
    assert tree(tmp_path) == {"f": body}
    assert done.events[0].verified


@pytest.mark.parametrize("size", [1000, MIB, 20 * MIB])
def test_bytes_that_are_wrong_twice_are_not_kept(store, tmp_path, size):
    body = noise(size)
    store.put("k", body, checksum=crc64(body))
    store.faults.append(lambda k, s, e: ("flip", size // 2))
    done = pull(store, "acme:k", tmp_path / "f")
    assert tree(tmp_path) == {}
    assert isinstance(done.events[0].error, CheckFailed)
    assert done.summary.failed == 1
    assert done.summary.exit == 6


def test_an_etag_that_is_no_md5_is_found_out_once(store, tmp_path):
    for name in ("a", "b", "c"):
        store.put(name, noise(100, name), etag=hashlib.md5(name.encode()).hexdigest(), encryption=None)
    done = pull(store, "acme:", tmp_path, jobs=1)
    assert done.summary.downloaded == 3
    assert not any(event.verified for event in done.events)
    assert len(store.gets) == 4


def test_doubt_and_other_bytes_the_second_time_is_damage(store, tmp_path):
    store.put("a", noise(100), etag="0" * 32, encryption=None)
    where = iter([3, 4])
    store.faults.append(lambda k, s, e: ("flip", next(where)))
    done = pull(store, "acme:", tmp_path)
    assert tree(tmp_path) == {}
    assert done.summary.failed == 1


@pytest.mark.parametrize("size", [1000, MIB, 20 * MIB])
def test_require_checksum_refuses_what_cannot_be_proven(store, tmp_path, size):
    store.put("k", noise(size), encryption="aws:kms")
    done = pull(store, "acme:k", tmp_path / "f", require_checksum=True)
    assert tree(tmp_path) == {}
    assert done.summary.exit == 6
    allowed = pull(store, "acme:k", tmp_path / "f")
    assert allowed.summary.exit == 0
    assert not allowed.events[0].verified


@pytest.mark.parametrize("size", [1000, MIB, 20 * MIB])
def test_an_object_replaced_underway_is_wholly_the_new_one(store, tmp_path, size):
    old, new = noise(size, 1), noise(size // 2 + 7, 2)
    store.put("k", old, checksum=crc64(old))
    store.faults.append(once(("break", size // 3)))
    store.faults.append(once(("replace", new)))
    done = pull(store, "acme:k", tmp_path / "f")
    assert done.error is None
    assert tree(tmp_path) == {"f": new}
    assert done.events[0].etag == hashlib.md5(new).hexdigest()


def test_an_object_that_is_replaced_again_and_again_is_given_up(store, tmp_path):
    store.put("k", noise(100))
    seed = iter(range(1, 100))
    store.faults.append(lambda k, s, e: ("replace", noise(100, next(seed))))
    done = pull(store, "acme:k", tmp_path / "f")
    assert tree(tmp_path) == {}
    assert done.reasons() == {"k": "changed"}


def test_parts_of_unequal_size_and_a_composite_checksum(store, tmp_path):
    sizes = [5 * MIB, 7 * MIB, 3]
    body = noise(sum(sizes))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(hashlib.sha256(body[at : at + size]).digest())
        at += size
    value = base64.b64encode(hashlib.sha256(b"".join(pieces)).digest()).decode()
    store.put("k", body, etag="1" * 32 + "-3", parts=sizes, checksum=Checksum("SHA256", f"{value}-3", COMPOSITE))
    done = pull(store, "acme:k", tmp_path / "f")
    assert done.events[0].verified
    store.put("bad", body, etag="1" * 32 + "-3", parts=sizes, checksum=Checksum("SHA256", f"{'A' * 43}=-3", COMPOSITE))
    assert pull(store, "acme:bad", tmp_path / "g").summary.exit == 6
    store.put("told", body, etag="1" * 32 + "-3", checksum=Checksum("SHA256", f"{'A' * 43}=-3", COMPOSITE))
    told = pull(store, "acme:told", tmp_path / "h")
    assert told.summary.exit == 0
    assert not told.events[0].verified


def test_a_multipart_etag_proves_the_content(store, tmp_path):
    body = noise(12 * MIB)
    digests = b"".join(hashlib.md5(body[at : at + 5 * MIB]).digest() for at in range(0, len(body), 5 * MIB))
    store.put("k", body, etag=f"{hashlib.md5(digests).hexdigest()}-3", parts=[5 * MIB, 5 * MIB, 2 * MIB])
    assert pull(store, "acme:k", tmp_path / "f").events[0].verified


def test_one_object_that_cannot_be_had_does_not_stop_the_others(store, tmp_path):
    for n in range(50):
        store.put(f"{n:02}", b"x")
    store.faults.append(
        lambda k, s, e: ("error", AccessDenied("no", code="AccessDenied", status=403)) if k == "07" else None
    )
    done = pull(store, "acme:", tmp_path)
    assert done.summary.downloaded == 49
    assert done.summary.exit == 3


def test_a_run_of_denials_ends_the_run(store, tmp_path):
    for n in range(500):
        store.put(f"{n:03}", b"x")
    store.faults.append(lambda k, s, e: ("error", AccessDenied("no", code="AccessDenied", status=403)))
    done = pull(store, "acme:", tmp_path)
    assert isinstance(done.error, AccessDenied)
    assert done.summary.exit == 10
    assert len(store.gets) < 100


def test_a_service_that_fails_to_the_end_is_an_error_of_the_object(store, tmp_path):
    body = noise(MIB)
    store.put("k", body)
    store.faults.append(lambda k, s, e: ("error", ServiceError("500 to the end", code="InternalError", status=500)))
    done = pull(store, "acme:k", tmp_path / "f")
    assert done.summary.exit == 15


def test_stop_leaves_only_part_files_and_the_next_run_goes_on(store, tmp_path):
    body = noise(40 * MIB)
    store.put("k", body, checksum=crc64(body))
    run = {}

    def stop_late(key, start, end):
        if start >= 16 * MIB:
            run["get"].stop()

    events = []
    spec = parse_source("acme:k")
    order = Order(spec, parse_dest(str(tmp_path / "f"), spec, is_directory=False), jobs=1)
    run["get"] = Get(order, store, events.append)
    store.faults.append(stop_late)
    with pytest.raises(Exception, match=r"interrupted|stopped|closed"):
        run["get"].run()
    assert "f" not in tree(tmp_path)
    store.faults.clear()
    store._interrupted.clear()
    store.patience = MemoryStore().patience
    done = pull(store, "acme:k", tmp_path / "f")
    assert tree(tmp_path) == {"f": body}
    assert done.events[0].action is Action.RESUMED
    assert done.summary.received <= 24 * MIB


def test_what_is_stopped_in_its_first_second_is_gone_on_with(store, tmp_path, monkeypatch):
    """An object of one segment has no log yet: it gets one when anything goes wrong."""
    body = noise(8 * MIB)
    store.put("k", body, checksum=crc64(body))
    spec = parse_source("acme:k")
    get = Get(Order(spec, parse_dest(str(tmp_path / "f"), spec, is_directory=False), jobs=1), store, lambda event: None)
    buffers = []
    fill = large._fill

    def stop_at_the_third(source, buffer, *checksum):
        buffers.append(len(buffer))
        if len(buffers) == 3:
            get.stop()
        return fill(source, buffer, *checksum)

    monkeypatch.setattr(large, "_fill", stop_at_the_third)
    with pytest.raises(Cancelled):
        get.run()
    monkeypatch.undo()
    store._interrupted.clear()
    store.patience = MemoryStore().patience
    done = pull(store, "acme:k", tmp_path / "f")
    assert (done.events[0].action, done.summary.received) == (Action.RESUMED, len(body) - sum(buffers[:2]))
    assert tree(tmp_path) == {"f": body}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 3 * MIB))
def test_any_mixture_of_faults_ends_right_or_with_an_error(tmp_path_factory, seed, size):
    rng = random.Random(seed)
    store = MemoryStore()
    body = rng.randbytes(size)
    store.put("k", body, checksum=crc64(body))
    folder = tmp_path_factory.mktemp("any")

    def fault(key, start, end):
        roll = rng.random()
        if roll < 0.5:
            return None
        if roll < 0.7:
            return ("break", rng.randrange(size))
        if roll < 0.8:
            return ("flip", rng.randrange(len(store.objects["k"][0])))
        if roll < 0.85:
            return ("replace", rng.randbytes(rng.randrange(1, size + 1)))
        return ("error", Transient("reset"))

    store.faults.append(fault)
    done = pull(store, "acme:k", folder / "f")
    left = tree(folder)
    if "f" in left:
        assert left == {"f": store.objects["k"][0]}
        assert done.summary.exit == 0
    else:
        assert done.summary.exit in (3, 6, 15)


@given(st.lists(st.sampled_from([0, 1, SMALL, SMALL + 1, 1 << 30]), max_size=3000))
def test_small_objects_come_in_rows_and_each_large_one_alone(sizes):
    wanted = [Item(RemoteObject(str(n), size, "e"), "", str(n)) for n, size in enumerate(sizes)]
    rows = batched(wanted, SimpleNamespace(task=list))
    assert [item for row in rows for item in row] == wanted
    assert all(len(row) == 1 for row in rows if any(item.object.size > SMALL for item in row))
    assert all(1 <= len(row) <= max(1, min(16, len(wanted) // 64)) for row in rows)
