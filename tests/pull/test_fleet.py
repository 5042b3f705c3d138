"""Errands, and runs whose objects others fetch, against the model bucket: the workers are threads and forks of ours."""

import dataclasses
import hashlib
import itertools
import json
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull import errors
from s3pull.cli.options import AccessChoice
from s3pull.cli.sync import _check_sent
from s3pull.errors import (
    AccessDenied,
    DeadlineReached,
    DiskError,
    ObjectChanged,
    S3pullError,
    ServiceError,
    UsageError,
)
from s3pull.events import Action, ObjectEvent
from s3pull.local.mirror import State
from s3pull.local.receipts import Receipts, ReceiptsError
from s3pull.local.runlock import RunLock
from s3pull.local.tree import Tree
from s3pull.objects import Checksum, Receipt
from s3pull.pull.changes import Wanted
from s3pull.pull.deputy import check_dest, do
from s3pull.pull.errand import LEAST_WORK, MOST_OBJECTS, MOST_WORK, Answer, Errand, Way, cut, share_of, work
from s3pull.pull.fleet import Fleet, Shown, told_of
from s3pull.pull.progress import Progress
from s3pull.pull.puller import Choices
from s3pull.pull.workers import Workers, parse_workers
from tests.pull.dying import in_a_fork
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror, tree

MIB = 1 << 20
BODIES = {f"{n % 3}/{n:02}": f"body {n}".encode() for n in range(24)} | {
    f"large/{n}": os.urandom(1000) * 2500 for n in range(4)
}


@pytest.fixture
def store():
    store = MemoryStore()
    for key, body in BODIES.items():
        store.put(key, body)
    return store


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "out"


class Here:
    """A carrier whose workers are calls in this process; `first` may go wrong with an errand before it is done."""

    slots = 3

    def __init__(self, store, first=lambda errand: None, beat=0.02):
        self.store, self.first, self.beat = store, first, beat
        self.texts = []
        self.answers = 0

    def carry(self, errands, report, stopped):
        for errand in errands:
            if stopped():
                return
            text = errand.text()
            self.texts.append(text)
            self.first(errand)
            answer = self._done(text, report)
            answer.worker, answer.ident, answer.attempt = "tcp://w:1", errand.ident, "a"
            self.answers += 1
            yield Answer.read(answer.text())

    def _done(self, text, report):
        errand = Errand.read(text)
        try:
            return do(errand, self.store, lambda progress: report(errand.ident, "a", told_of(progress)), self.beat)
        except S3pullError as error:
            return Answer(error=error)


def way(dest, **more):
    facts = {
        "version": "1", "source": "acme:", "options": {}, "config": None, "bucket": "bucket", "endpoint": "",
        "dest": str(dest), "encode_names": False, "locked": False, "jobs": 4, "limit_rate": None,
        "choices": Choices(durable=False, mirror=True),
    }  # fmt: skip
    return Way(**{**facts, **more})


def far(store, dest, carrier=None, *, choices=None, **more):
    carrier = carrier or Here(store)
    chosen = {"choices": choices} if choices is not None else {}
    return mirror(store, dest, fleet=Fleet(carrier, way(dest, **chosen)), **more)


def journals_of(dest):
    return sorted(path.name for path in (dest / ".s3pull").glob("journal-*"))


def receipts_of(dest):
    with Receipts.open(dest / ".s3pull" / "receipts.db", read_only=True) as receipts:
        return {row.key: row for row in receipts.rows()}


# --- who -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tcp://10.0.0.1:8786", Workers(address="tcp://10.0.0.1:8786")),
        ("tls://host.example:8786 ", Workers(address="tls://host.example:8786")),
        ("tcp://[::1]:8786", Workers(address="tcp://[::1]:8786")),
        ("local:4", Workers(local=4)),
    ],
)
def test_who_is_to_do_it(text, found):
    assert parse_workers(text) == found
    assert str(found) == text.strip()


@pytest.mark.parametrize("text", ["", "host:8786", "tcp://host", "http://host:1", "tcp://:1", "tcp://h:1/x", "local"])
def test_what_is_no_address(text):
    with pytest.raises(UsageError, match="not the address of a scheduler") as raised:
        parse_workers(text)
    assert "tcp://host:8786" in raised.value.hint


@pytest.mark.parametrize("text", ["local:", "local:0", "local:257", "local:-1", "local:x", "local:1.5"])
def test_what_is_no_number_of_processes(text):
    with pytest.raises(UsageError, match="not a number of processes, 1 to 256"):
        parse_workers(text)


# --- errands ---------------------------------------------------------------------------------------------

names = st.text(min_size=1)
rows = st.builds(
    Wanted,
    key=names,
    size=st.integers(0, 1 << 45),
    etag=names,
    modified=st.none() | st.floats(0, 2e9),
    storage_class=st.none() | names,
    restored=st.none() | st.booleans(),
    version_id=st.none() | names,
    checksum=st.none() | st.just("CRC64NVME abc= FULL_OBJECT"),
    path=st.none() | names,
    known=st.booleans(),
    standing=st.none() | st.integers(-1, 10),
)
receipts = st.builds(
    Receipt, key=names, path=names, size=st.integers(0, 1 << 45), mtime_ns=st.integers(0, 1 << 62), etag=names,
    version_id=st.none() | names, modified=st.none() | st.floats(0, 2e9), algorithm=st.none() | names,
    checksum=st.none() | names, verified=st.booleans(),
)  # fmt: skip


@given(st.lists(rows, max_size=5), st.lists(receipts, max_size=3), st.booleans())
def test_an_errand_arrives_as_it_was_sent(wanted, known, flag):
    choices = Choices(overwrite=flag, mirror=not flag)
    sent = Errand(
        way("/d", choices=choices, options={"no_assume": True}), "f" * 16, "0" * 32, tuple(wanted), tuple(known)
    )
    assert Errand.read(sent.text()) == sent


@given(st.lists(receipts, max_size=3), names, st.integers(0, 1 << 40))
def test_an_answer_arrives_as_it_was_sent(known, name, received):
    events = [
        ObjectEvent(Action.DOWNLOADED, name, name, 3, 3, "e", None, Checksum("CRC32", "x"), True, "new"),
        ObjectEvent(Action.SKIPPED, name, None, planned=True),
    ]
    sent = Answer("tcp://w:1", "f" * 16, "try", known, events, 2, received)
    assert Answer.read(sent.text()) == sent


#: what is raised by functions of the Python interface alone says more than a message
KINDS = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, S3pullError) and one is not errors.Incomplete
]


@pytest.mark.parametrize("kind", [*KINDS, ReceiptsError])
def test_errors_keep_what_they_say_and_their_exit_code(kind):
    facts = {"hint": "h", "code": "C", "status": 403, "request_id": "r", "host_id": "i", "key": "k"}
    error = kind("message", **facts)
    error.diagnosis = "what it means"
    back = Answer.read(Answer(error=error).text()).error
    assert (type(back) is kind) == (kind is not ReceiptsError)
    assert back.exit_code == kind.exit_code
    assert (back.message, back.diagnosis) == ("message", "what it means")
    assert {name: getattr(back, name) for name in facts} == facts


def test_an_errand_has_no_place_for_a_secret():
    """All that there is in it by name; options are those of the command line, and the secret ones are refused there."""
    errand = Errand(way("/d", options={"role_arn": "arn:…"}), "f" * 16, "0" * 32, ())
    said = json.loads(errand.text())
    assert set(said) == {"way", "ident", "nonce", "rows", "known", "listed"}  # the last: keys and their SHA-256
    assert set(said["way"]) == {one.name for one in dataclasses.fields(Way)} == {
        "version", "source", "options", "config", "bucket", "endpoint", "dest", "encode_names", "locked", "jobs",
        "limit_rate", "choices", "root", "slots",
    }  # fmt: skip
    with pytest.raises(UsageError, match="--external-id is not sent through a scheduler"):
        _check_sent(AccessChoice(values={"external_id": "9f4c"}))


def of_size(number, size):
    return Wanted(f"{number:04}", size, "e", None, None, None)


@given(st.lists(st.integers(0, 40 * MIB), max_size=60), st.integers(1, 50 * MIB))
def test_pieces_are_complete_in_order_and_of_about_one_size(sizes, share):
    wanted = [of_size(number, size) for number, size in enumerate(sizes)]
    pieces = list(cut(wanted, share))
    assert [row for piece in pieces for row in piece] == wanted
    for piece in pieces:
        assert len(piece) == 1 or sum(map(work, piece)) <= share
    for piece, after in itertools.pairwise(pieces):
        assert sum(map(work, piece)) + work(after[0]) > share


def test_no_piece_has_too_many_objects():
    assert [len(piece) for piece in cut((of_size(n, 0) for n in range(2500)), 1 << 60)] == [MOST_OBJECTS] * 2 + [500]


def test_requests_are_work_too():
    """Ten thousand small objects are no less than a large one."""
    assert sum(work(of_size(n, 1)) for n in range(10_000)) > work(of_size(0, 512 * MIB))


@pytest.mark.parametrize(
    ("total", "slots", "share"),
    [(0, 1, LEAST_WORK), (MIB, 8, LEAST_WORK), (1 << 34, 4, 1 << 30), (1 << 50, 2, MOST_WORK)],
)
def test_shares(total, slots, share):
    assert share_of(total, slots) == share


# --- runs -------------------------------------------------------------------------------------------------


def test_others_fetch_and_this_run_writes_the_receipts(store, dest):
    store.put("folder/", b"")
    carrier = Here(store)
    done = far(store, dest, carrier)
    assert (done.error, done.summary.exit, done.summary.downloaded) == (None, 0, len(BODIES))
    assert tree(dest) == BODIES
    assert (dest / "folder").is_dir()
    assert done.summary.received == sum(map(len, BODIES.values()))
    assert set(receipts_of(dest)) == {*BODIES, "folder/"}
    assert journals_of(dest) == []
    assert carrier.answers >= 2
    store.gets.clear()
    store.heads.clear()
    again = far(store, dest, carrier)
    assert (store.gets, store.heads, again.summary.skipped) == ([], [], len(BODIES) + 1)


def test_every_receipt_is_as_a_run_by_itself_writes_it(store, dest, tmp_path):
    far(store, dest)
    mirror(store, tmp_path / "own")
    assert receipts_of(dest) == receipts_of(tmp_path / "own")


def test_what_was_edited_here_is_noticed_and_counted_by_those_who_replace_it(store, dest):
    mirror(store, dest)
    (dest / "0/00").write_bytes(b"edited here")
    store.put("1/01", b"body X")
    store.delete("2/02")
    done = far(store, dest, delete=True)
    assert done.reasons() == {"0/00": "local-edit", "1/01": "changed", "2/02": "gone"}
    assert (done.summary.local_changes, done.summary.deleted) == (1, 1)
    assert tree(dest) == {**{key: body for key, body in BODIES.items() if key != "2/02"}, "1/01": b"body X"}


def test_a_worker_that_is_killed_loses_nothing(store, dest):
    """Small objects that it had finished are known from its journal, the large one is gone on with."""
    deaths = []

    def first(errand):
        if deaths or not {"0/00", "large/0"} <= {row.key for row in errand.rows}:
            return

        def fault(key, start, end):
            if key != "large/0":
                return None
            if start:
                os._exit(9)
            return ("break", 2 * MIB)

        def killed():
            store.faults.append(fault)
            do(errand, store)

        deaths.append(in_a_fork(killed))

    carrier = Here(store, first)
    carrier.slots = 1
    done = far(store, dest, carrier)
    assert deaths == [9]
    assert (done.error, tree(dest)) == (None, BODIES)
    resumed = {key for key, action in done.actions().items() if action == "resumed"}
    assert resumed == {key for key in BODIES if not key.startswith("large/")} | {"large/0"}
    fetched = [key for key, _, _ in store.gets]
    assert set(fetched) == {f"large/{number}" for number in range(4)}
    assert [start for key, start, _ in store.gets if key == "large/0"] == [2 * MIB]
    assert set(receipts_of(dest)) == set(BODIES)
    assert journals_of(dest) == []
    assert not list(dest.rglob(".s3pull-*"))
    store.gets.clear()
    assert mirror(store, dest).summary.skipped == len(BODIES)
    assert store.gets == []


def test_a_holder_that_is_killed_loses_nothing(store, dest):
    """What workers did, and nobody took from them, is in their journals."""

    def killed():
        def first(errand):
            nonlocal count
            count += 1
            if count > 2:
                os._exit(9)

        count = 0
        carrier = Here(store, first)
        carrier.slots = 1
        far(store, dest, carrier)

    assert in_a_fork(killed) == 9
    there = tree(dest)
    assert there
    assert journals_of(dest)
    done = mirror(store, dest)
    assert done.summary.skipped == len(there)
    assert not set(there) & {key for key, _, _ in store.gets}
    assert (tree(dest), journals_of(dest)) == (BODIES, [])


def test_an_object_that_cannot_be_had_does_not_stop_the_others(store, dest):
    store.faults.append(lambda key, start, end: ("error", AccessDenied("no")) if key == "0/00" else None)
    done = far(store, dest)
    assert (done.error, done.summary.exit, done.summary.failed) == (None, 3, 1)
    assert done.actions()["0/00"] == "failed"
    assert tree(dest) == {key: body for key, body in BODIES.items() if key != "0/00"}


def test_what_ends_all_says_whose_worker_it_was(store, dest):
    store.faults.append(lambda key, start, end: ("error", DiskError("disk full", hint="free some")))
    done = far(store, dest)
    assert isinstance(done.error, DiskError)
    assert done.error.message == "worker tcp://w:1: disk full"
    assert done.error.hint == "free some"
    assert done.summary.exit == 5


def test_what_was_done_before_the_end_has_its_receipts(store, dest):
    store.faults.append(lambda key, start, end: ("error", DiskError("full")) if key == "large/3" else None)
    carrier = Here(store)
    carrier.slots = 1
    far(store, dest, carrier)
    there = {path for path in tree(dest) if ".s3pull-" not in path}
    assert there
    assert there <= set(receipts_of(dest))


def test_at_the_deadline_it_stops(store, dest):
    class Late(Here):
        def carry(self, errands, report, stopped):
            yield from itertools.islice(super().carry(errands, report, stopped), 1)
            while not stopped():
                time.sleep(0.01)

    done = far(store, dest, Late(store), deadline=0.5)
    assert isinstance(done.error, DeadlineReached)
    assert done.summary.exit == 13
    store._interrupted.clear()
    assert mirror(store, dest).error is None
    assert tree(dest) == BODIES


def test_a_manifest_is_held_to(store, dest, tmp_path):
    """The version that it locks goes to the worker, who fetches that one or fails."""
    choices = Choices(durable=False, mirror=True)
    errand = Errand(
        way(dest, locked=True, choices=choices), "f" * 16, "", (Wanted("0/00", 6, "another", None, None, None),)
    )
    with Tree(dest, create=True, durable=False) as top, RunLock.acquire(State.open(top, create=True).directory) as lock:
        answer = do(dataclasses.replace(errand, nonce=lock.nonce), store)
    (event,) = answer.events
    assert isinstance(event.error, ObjectChanged)
    assert tree(dest) == {}


def test_without_a_worker_nothing_is_fetched_here(store, dest):
    class Nobody:
        slots = 1

        def carry(self, errands, report, stopped):
            raise ServiceError("nobody there")
            yield

    done = far(store, dest, Nobody())
    assert (done.error.message, done.summary.exit, store.gets) == ("nobody there", 15, [])
    assert tree(dest) == {}


# --- the worker's side ------------------------------------------------------------------------------------


@pytest.fixture
def errand(dest):
    with Tree(dest, create=True, durable=False) as top, RunLock.acquire(State.open(top, create=True).directory) as lock:
        rows = tuple(Wanted(key, len(body), "?", None, None, None) for key, body in BODIES.items())
        yield Errand(way(dest), "f" * 16, lock.nonce, rows)


def test_a_worker_that_sees_the_destination_goes_on(errand):
    check_dest(errand)


def test_what_a_network_file_system_shows_late_is_waited_for(errand, dest):
    """The worker sees the lock of an earlier run at first."""
    lock = dest / ".s3pull" / "lock"
    now = lock.read_bytes()
    lock.write_bytes(now.replace(errand.nonce.encode(), b"0" * 32))
    threading.Timer(0.3, lock.write_bytes, [now]).start()
    check_dest(errand, patience=60, beat=0.02)


def test_a_worker_that_does_not_see_the_destination_says_so(errand, tmp_path):
    elsewhere = dataclasses.replace(errand, way=dataclasses.replace(errand.way, dest=str(tmp_path / "elsewhere")))
    with pytest.raises(DiskError, match="no such folder") as raised:
        check_dest(elsewhere, patience=0)
    assert raised.value.hint == "every worker must see DEST at the same path, on a file system that they share"
    assert not (tmp_path / "elsewhere").exists()


def test_a_worker_that_sees_another_folder_in_its_place_says_so(errand, tmp_path):
    (tmp_path / "mine").mkdir()
    elsewhere = dataclasses.replace(errand, way=dataclasses.replace(errand.way, dest=str(tmp_path / "mine")))
    with pytest.raises(DiskError, match="is another folder than that of the run"):
        check_dest(elsewhere, patience=0)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_folder_that_another_run_holds_is_left_alone(errand):
    with pytest.raises(DiskError, match="held by another run"):
        check_dest(dataclasses.replace(errand, nonce="0" * 32), patience=0)


def test_when_nobody_wants_it_any_more_a_worker_stops(store, dest):
    """The lock goes in mid-object: no more is asked of the service, and a part file stays."""
    with Tree(dest, create=True, durable=False) as top:
        lock = RunLock.acquire(State.open(top, create=True).directory)
        stated = {key: stated for key, (_, stated, _) in store.objects.items()}
        rows = tuple(Wanted.of(key, stated[key]) for key in BODIES)

        def fault(key, start, end):
            if len(store.gets) == 5:
                lock.release()
                return ("error", _Hold(store))
            return None

        class _Hold(ServiceError):
            def __init__(self, held):
                held._interrupted.wait(60)  # until the worker's own stop interrupts the store
                super().__init__("interrupted")

        store.faults.append(fault)
        answer = do(Errand(way(dest, jobs=1), "f" * 16, lock.nonce, rows), store, beat=0.01)
    assert answer.error.message == "the run that wanted this has ended"
    assert len(store.gets) < len(BODIES)


# --- how far it is ----------------------------------------------------------------------------------------


def said(received, done, files=0, active=()):
    return {"received": received, "done_bytes": done, "done_files": files, "active": active}


def test_reports_of_several_errands_add_up():
    progress = Progress()
    shown = Shown(progress)
    shown.report("a" * 16, "1", said(10, 8, 1, [("x", 100, 40)]))
    shown.report("b" * 16, "1", said(5, 5, 2))
    assert (progress.received, progress.done_bytes, progress.done_files) == (15, 13, 3)
    assert [(shown.name, shown.size, shown.done) for shown in progress.active.values()] == [("x", 100, 40)]
    shown.report("a" * 16, "1", said(20, 20, 2))
    assert (progress.received, progress.done_bytes, progress.done_files) == (25, 25, 4)
    assert progress.active == {}


def test_what_a_killed_try_had_done_counts_once_and_what_it_received_counts():
    progress = Progress()
    shown = Shown(progress)
    shown.report("a" * 16, "1", said(10, 8, 1))
    shown.report("a" * 16, "2", said(1, 9, 2))
    assert (progress.received, progress.done_bytes, progress.done_files) == (11, 9, 2)
    events = [ObjectEvent(Action.DOWNLOADED, "k", "k", 12, 3), ObjectEvent(Action.RESUMED, "l", "l", 8)]
    shown.done(Answer("w", "a" * 16, "2", [], events, 0, 3))
    assert (progress.received, progress.done_bytes, progress.done_files) == (13, 20, 2)


# --- a list of checksums --------------------------------------------------------------------------------------


def test_whoever_fetches_holds_to_the_list(store, dest):
    wrong = {"0/00", "large/1"}
    listed = {key: hashlib.sha256(body + (b"!" if key in wrong else b"")).hexdigest() for key, body in BODIES.items()}
    store.put("SHA256SUMS", "".join(f"{digest}  {key}\n" for key, digest in listed.items()).encode())
    store.put("extra", b"not listed")
    choices = Choices(durable=False, mirror=True, checksums="SHA256SUMS")
    done = far(store, dest, choices=choices, checksums="SHA256SUMS")
    assert (done.summary.exit, done.summary.failed, done.summary.unlisted) == (6, len(wrong), 1)
    assert {key for key, reason in done.reasons().items() if reason == "not-as-listed"} == wrong
    assert set(tree(dest)) == (set(BODIES) - wrong) | {"SHA256SUMS", "extra"}
    known = receipts_of(dest)
    assert {row.algorithm for key, row in known.items() if key in BODIES} == {"SHA256"}


def test_a_list_that_has_to_name_all_does_so_there_too(store, dest):
    listed = {key: hashlib.sha256(body).hexdigest() for key, body in BODIES.items()}
    store.put("SHA256SUMS", "".join(f"{digest}  {key}\n" for key, digest in listed.items()).encode())
    store.put("extra", b"not listed")
    choices = Choices(durable=False, mirror=True, checksums="SHA256SUMS", require_checksum=True)
    done = far(store, dest, choices=choices, checksums="SHA256SUMS", require_checksum=True)
    assert {key for key, reason in done.reasons().items() if reason == "not-listed"} == {"extra"}
    assert set(tree(dest)) == set(BODIES) | {"SHA256SUMS"}
