"""Does an errand: what a worker on another machine does for the run that holds the destination.

It looks first whether this is the destination that was meant, by the run lock that lies in it. While it works it goes
on looking: when the lock is gone, so is whoever wanted this. What it finishes it writes into a journal that bears the
errand's name. Where an earlier try was killed, its journal says what is done, and its part files are gone on with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from s3pull.errors import Cancelled, DiskError, S3pullError
from s3pull.events import Action, ObjectEvent, Reason
from s3pull.local import journals
from s3pull.local.journals import Journal
from s3pull.local.mirror import Mirror, State
from s3pull.local.receipts import Expected
from s3pull.local.tree import Tree
from s3pull.objects import Receipt
from s3pull.pull.deeds import item_of
from s3pull.pull.errand import Answer, Errand
from s3pull.pull.get import batched
from s3pull.pull.ledger import Ledger
from s3pull.pull.progress import Progress
from s3pull.pull.transfer import Transfer
from s3pull.remote.store import Store

#: seconds between two looks at the run lock, and between two reports
BEAT = 1.0

#: told how far it is, every now and then
Report = Callable[[Progress], None]


class Known:
    """Receipts in memory: those that came with the errand, and what its journals add."""

    def __init__(self, receipts: Iterable[Receipt]) -> None:
        self._by_key = {receipt.key: receipt for receipt in receipts}
        #: what was not known when the errand was given
        self.news: list[Receipt] = []

    def find(self, key: str) -> Receipt | None:
        return self._by_key.get(key)

    def record(self, receipt: Receipt) -> None:
        self._by_key[receipt.key] = receipt
        self.news.append(receipt)

    def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._by_key.pop(key, None)

    def flush(self) -> None: ...

    def expect(self, files: Iterable[Expected]) -> None: ...


def check_dest(errand: Errand, patience: float = 5.0, beat: float = BEAT) -> None:
    """Raise DiskError where this machine does not see the destination, or another one in its place.

    Network file systems show other machines' files a little late: it is looked again for `patience` seconds.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            with _dest(errand):
                return
        except DiskError:
            if time.monotonic() >= give_up:
                raise
        time.sleep(beat)


def do(errand: Errand, store: Store, report: Report = lambda _: None, beat: float = BEAT) -> Answer:
    """Fetch what the errand names. What goes wrong with objects is in the answer's events; what ends all of it is its
    error. Raises DiskError as `check_dest` does.
    """
    answer = Answer()
    way = errand.way
    mirror = Mirror(way.bucket, way.endpoint, way.root, way.source, encode_names=way.encode_names)
    with _dest(errand) as (tree, state):
        known = Known(errand.known)
        journals.merge(state, mirror, tree, known, keep=True, ident=errand.ident)
        done = {receipt.key: receipt for receipt in known.news}
        answer.receipts += done.values()
        answer.events += [_taken_up(way.root, receipt) for receipt in done.values()]
        rows = [row for row in errand.rows if row.key not in done]
        transfer = Transfer(store, way.choices, way.jobs, answer.events.append)
        if transfer.sums is not None and errand.listed is not None:
            transfer.sums.hear(errand.listed)
        journal = Journal(state, way.bucket, way.endpoint, errand.ident)

        def wrote(receipt: Receipt) -> None:
            journal.write(receipt._replace(key=way.root + receipt.key))
            known.record(receipt)
            answer.receipts.append(receipt)

        ledger = Ledger(way.root, known.find, wrote, proven=way.choices.require_checksum)
        with _watched(errand, state, transfer, report, beat):
            try:
                with transfer.open(tree, ledger) as puller:
                    items = [item_of(row, way.root, exact=way.locked) for row in rows]
                    transfer.work([batched(items, puller)])
            except S3pullError as error:
                answer.error = error
            finally:
                journal.close()
        answer.local_changes = transfer.tally.local_changes
        answer.received = transfer.progress.received
    return answer


@contextmanager
def _dest(errand: Errand) -> Iterator[tuple[Tree, State]]:
    """The destination of an errand, open. Raises DiskError where it is not there."""
    dest = Path(errand.way.dest)
    hint = "every worker must see DEST at the same path, on a file system that they share"
    if not dest.is_dir():
        raise DiskError(f"no such folder: {str(dest)!r}", hint=hint)
    with Tree(dest, create=False, durable=errand.way.choices.durable) as tree:
        state = State.open(tree, create=False)
        nonce = state.held_by() if state is not None else None
        if state is None or nonce is None:
            raise DiskError(f"{str(dest)!r} is another folder than that of the run: nobody holds it", hint=hint)
        if nonce != errand.nonce:
            raise DiskError(f"{str(dest)!r} is held by another run than the one that wants this", hint=hint)
        yield tree, state


@contextmanager
def _watched(errand: Errand, state: State, transfer: Transfer, report: Report, beat: float) -> Iterator[None]:
    """While the block runs: say how far it is, and stop when nobody wants it any more."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(beat):
            try:
                wanted = state.held_by() == errand.nonce
            except S3pullError:  # of a disk that fails whoever writes will hear
                wanted = True
            if not wanted:
                transfer.stop(Cancelled("the run that wanted this has ended"))
                return
            report(transfer.progress)

    thread = threading.Thread(target=watch, name="errand", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        report(transfer.progress)


def _taken_up(root: str, receipt: Receipt) -> ObjectEvent:
    """What a killed try had finished."""
    return ObjectEvent(
        *(Action.RESUMED, root + receipt.key, receipt.path, receipt.size),
        etag=receipt.etag,
        version_id=receipt.version_id,
        verified=receipt.verified,
        reason=Reason.SAME_RECEIPT,
    )
