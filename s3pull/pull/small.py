"""A small object: one GET into memory, checked there, written under a part name, settled with others in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from s3pull.errors import ObjectChanged, S3pullError, Transient
from s3pull.events import Action
from s3pull.local.settle import write_whole
from s3pull.objects import FULL_OBJECT, Checksum, RemoteObject
from s3pull.pull import proof
from s3pull.pull.standing import OWN_ALGORITHM
from s3pull.remote import checksums

if TYPE_CHECKING:
    from s3pull.local.directory import Directory
    from s3pull.pull.crew import Worker
    from s3pull.pull.puller import Item, Puller
    from s3pull.remote.store import Asked, Body


class Ahead(NamedTuple):
    """A small object whose GET is under way."""

    item: Item
    directory: Directory
    reason: str
    asked: Asked


def ask(puller: Puller, item: Item, directory: Directory, reason: str) -> Ahead:
    """Send the request of `item`. Raises nothing."""
    return Ahead(
        item, directory, reason, puller.store.ask(item.object.key, pin=item.object, version_id=item.version_id)
    )


def fetch(puller: Puller, ahead: Ahead, worker: Worker) -> None:
    """Take the answer and hand the file to the settler.

    Raises what `Store.get` raises, CheckFailed, DiskError, NameRefused.
    """
    item, directory, reason, asked = ahead
    received = repins = 0
    doubted: Checksum | None = None
    first = True
    while True:
        try:
            stated, view = _read(puller, item, asked.body if first else None, worker)
        except ObjectChanged as error:
            first = False
            item = puller.repinned(item, error, repins)
            repins += 1
            doubted = None
            continue
        first = False
        received += len(view)
        stated = puller.held(item, stated)
        found = proof.UNTOLD
        if stated.checksum is not None or not puller.opaque_etags:
            found = proof.prove(stated, proof.in_memory(view), part_size=puller.part_size(item))
        if puller.judge(item, found, doubted):
            break
        doubted = found.by
    content = _content(puller, view, found.by)
    written = write_whole(directory, view, stated.last_modified)

    def settled(error: S3pullError | None) -> None:
        try:
            if error is not None:
                puller.failed(stated, item.path, error, received)
            else:
                puller.wrote(item, stated, written.look, content, verified=bool(found.equal))
                puller.finished(
                    item,
                    Action.DOWNLOADED,
                    reason=reason,
                    received=received,
                    stated=stated,
                    by=found.by,
                    verified=bool(found.equal),
                )
        except BaseException as fatal:
            # this runs in the settler's thread, which has others' files to settle
            puller.crew.stop(fatal)

    puller.settler.add(directory, written.name, item.name, None, settled, size=len(view))
    worker.meter.done_bytes += len(view)
    worker.meter.done_files += 1


def _content(puller: Puller, view: memoryview, by: Checksum | None) -> Checksum | None:
    """The checksum of the whole, where a receipt wants one: the one that was proven, if it is of the whole."""
    if puller.ledger is None or (by is not None and by.type == FULL_OBJECT):
        return by
    crc = checksums.crc_function(OWN_ALGORITHM)(view, 0)
    return checksums.full_object(OWN_ALGORITHM, checksums.crc_digest(OWN_ALGORITHM, crc))


def _read(
    puller: Puller, item: Item, answer: Callable[[], Body] | None, worker: Worker
) -> tuple[RemoteObject, memoryview]:
    """The whole object, from the answer that is under way if there is one.

    A body that breaks off is read again from its start: it is small.
    """
    attempts = puller.store.patience.attempts()
    pin = item.object
    while True:
        get, answer = answer, None
        try:
            with (
                get() if get else puller.store.get(pin.key, pin=pin, version_id=item.version_id, checksum=True) as body
            ):
                size = body.length
                buffer = worker.buffer(size)
                filled = 0
                while filled < size:
                    filled += body.readinto(buffer[filled:size])
                worker.meter.received += filled
                return body.object, buffer[:size]
        except Transient as error:
            attempts.failed(error)
