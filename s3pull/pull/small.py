"""A small object: one GET into memory, checked there, written under a part name, settled with others in batches.

Where the link is so slow that it is not here after a second, it is gone on with as a large one: in a part file.
"""

from __future__ import annotations

import hashlib
import time
from binascii import a2b_base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from s3pull.errors import ObjectChanged, S3pullError, Transient
from s3pull.events import Action
from s3pull.local import owner
from s3pull.local.settle import Written, write_whole
from s3pull.objects import FULL_OBJECT, Checksum, RemoteObject
from s3pull.pull import large, proof
from s3pull.pull.outcome import Outcome, settle
from s3pull.pull.standing import OWN_ALGORITHM
from s3pull.records import NamedTuple
from s3pull.remote import checksums

if TYPE_CHECKING:
    from s3pull.local.directory import Directory
    from s3pull.pull.crew import Crew, Worker
    from s3pull.pull.puller import Item, Puller
    from s3pull.remote.retry import Attempts
    from s3pull.remote.store import Asked, Body


#: bytes that are read whole into memory and written with one call; larger objects are streamed to a part file
SMALL = 256 * 1024
#: seconds that the body of a small object may take; then it goes to a part file that the next run can go on from
_PATIENCE = 1.0


class _Slow(Exception):
    """A body that is under way and takes its time, with what came of it so far."""

    def __init__(self, body: Body, head: memoryview) -> None:
        super().__init__("slow")
        self.body = body
        self.head = head


class Ahead(NamedTuple):
    """A small object whose GET is under way (`crew.Pending`)."""

    puller: Puller
    item: Item
    directory: Directory
    reason: str
    asked: Asked

    def end(self, worker: Worker) -> None:
        """Take the answer; errors of the object become its event."""
        try:
            fetch(self, worker)
        except S3pullError as error:
            self.puller.failed(self.item.object, self.item.path, error)

    def drop(self) -> None:
        """Nobody will take it."""
        self.asked.drop()


def ask(puller: Puller, item: Item, directory: Directory, reason: str) -> Ahead:
    """Send the request of `item`. Raises nothing."""
    return Ahead(
        puller, item, directory, reason, puller.store.ask(item.object.key, pin=item.object, version_id=item.version_id)
    )


def fetch(ahead: Ahead, worker: Worker) -> None:
    """Take the answer and hand the file to the settler.

    Raises what `Store.get` raises, CheckFailed, DiskError, NameRefused.
    """
    puller, item, directory, reason, asked = ahead
    received = repins = 0
    doubted: Checksum | None = None
    first = True
    while True:
        try:
            stated, view = _read(puller, item, asked.body if first else None, worker)
        except _Slow as slow:
            puller.window.went(False)
            puller.crew.stream()
            large.LargeObject(puller, item, directory, reason).carry_on(worker, slow.body, slow.head)
            return
        except ObjectChanged as error:
            first = False
            item = puller.repinned(item, error, repins)
            repins += 1
            doubted = None
            continue
        first = False
        received += len(view)
        if item.exact:
            stated = puller.held(item, stated)
        found = proof.UNTOLD
        if stated.checksum is not None or not puller.opaque_etags:
            at_once = proof.prove_at_once(stated, view)
            found = at_once or proof.prove(stated, proof.in_memory(view), part_size=puller.part_size(item))
        if puller.sums is not None:
            found = puller.sums.prove(item.object.key, found, hashlib.sha256(view).digest, doubted)
        if puller.judge(item, found, doubted):
            break
        doubted = found.by
    puller.window.went(True)
    content, name = found.by, None
    if puller.choices.durable or puller.ledger is not None:
        own = _own_crc(found.by, view)
        if content is None or content.type != FULL_OBJECT:
            content = _own_checksum(own)
        if puller.choices.durable:  # it will wait for its batch: a run that is killed leaves it to the next
            name = owner.part_name(_ident(stated, item), owner.seal(own, bool(found.equal)))
    written = write_whole(directory, view, stated.last_modified, name, look=puller.ledger is not None)
    outcome = Outcome(item, stated, Action.DOWNLOADED, reason, received, found.by, content, bool(found.equal))
    settle(puller, directory, written, outcome, worker)
    worker.meter.done_bytes += len(view)


def take_up(puller: Puller, item: Item, directory: Directory, reason: str, worker: Worker) -> bool:
    """Settle what a killed run had of `item`, whole, or go on with its part file; False where it left neither.

    It is read whole into memory: it has one segment at most.

    Raises DiskError.
    """
    pin = item.object
    ident = _ident(pin, item)
    if puller.leftovers.begun(directory, ident):
        if pin.size > SMALL:
            return False  # it goes on with it anyway
        large.LargeObject(puller, item, directory, reason).begin(worker)
        return True
    if item.exact and pin.checksum is not None:  # the manifest's word is compared with what a GET says
        return False
    function = checksums.crc_function(OWN_ALGORITHM)
    sums = puller.sums
    taken = puller.leftovers.take(
        directory,
        ident,
        pin.size,
        lambda data: function(data, 0) if sums is None or sums.says(pin.key, data) else -1,
        verified=puller.choices.require_checksum,
    )
    if taken is None:
        return False
    listed = sums.content(pin.key) if sums is not None else None
    content = listed or _own_checksum(taken.crc)
    outcome = Outcome(item, pin, Action.RESUMED, reason, 0, content, content, taken.verified or listed is not None)
    settle(puller, directory, Written(taken.name, taken.look), outcome, worker)
    worker.meter.done_bytes += taken.look.size
    return True


def _ident(pin: RemoteObject, item: Item) -> str:
    return owner.part_ident(pin.key, pin.etag, pin.size, item.name)


def _own_crc(by: Checksum | None, view: memoryview) -> int:
    """Our own CRC of the whole: most services state it, then it was computed for the proof."""
    if by is not None and by.algorithm == OWN_ALGORITHM and by.type == FULL_OBJECT:
        return int.from_bytes(a2b_base64(by.value), "big")
    return checksums.crc_function(OWN_ALGORITHM)(view, 0)


def _own_checksum(crc: int) -> Checksum:
    return checksums.full_object(OWN_ALGORITHM, checksums.crc_digest(OWN_ALGORITHM, crc))


def _read(
    puller: Puller, item: Item, answer: Callable[[], Body] | None, worker: Worker
) -> tuple[RemoteObject, memoryview]:
    """The whole object, from the answer that is under way if there is one. Raises _Slow where that takes its time.

    A body that breaks off is read again from its start: it is small.
    """
    attempts: Attempts | None = None
    pin = item.object
    while True:
        get, answer = answer, None
        try:
            body = get() if get else puller.store.get(pin.key, pin=pin, version_id=item.version_id, checksum=True)
            size = body.length
            view = worker.buffer(size)[:size]
            try:
                until = time.monotonic() + _PATIENCE
                filled = body.readinto(view) if size else 0
                if filled < size:
                    _read_on(body, view, filled, until, puller.crew)
            except _Slow:
                raise
            except BaseException:
                body.close()
                raise
            body.close()
            worker.meter.received += size
            return body.object, view
        except Transient as error:
            attempts = attempts or puller.store.patience.attempts()
            attempts.failed(error)


def _read_on(body: Body, view: memoryview, filled: int, until: float, crew: Crew) -> None:
    """Fill `view`, of which there are so many bytes. Raises _Slow where that is not done by then."""
    began = time.monotonic()
    try:
        while filled < len(view):
            if time.monotonic() > until:
                raise _Slow(body, view[:filled])
            filled += body.readinto(view[filled:])
    finally:
        crew.waited += time.monotonic() - began
