"""Has the work of a sync done by others: cuts it into errands, and makes of their answers receipts and events.

The holder of the destination judges, writes receipts and deletes, as it does where it fetches by itself. Who carries
errands about (`cluster`: Dask) and who does them (`deputy`) is none of this module's business.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

from s3pull.errors import S3pullError
from s3pull.events import ObjectEvent
from s3pull.local import journals
from s3pull.local.mirror import State
from s3pull.local.receipts import Receipts
from s3pull.pull.changes import Wanted
from s3pull.pull.errand import Answer, Errand, Way, cut, share_of, work
from s3pull.pull.progress import ActiveObject, Meter, Progress
from s3pull.pull.transfer import Transfer

#: answers whose journals are taken away together, once their receipts are in the database
_TIDY = 32


class Carrier(Protocol):
    """Brings errands to workers and their answers back.

    `carry` takes errands as workers come free, yields answers as they come, each errand's once, and asks `stopped` at
    least each second; then it ends. An errand whose worker died is brought to another. `report` is told (ident of the
    errand, which try, `said`) now and then, from any thread. Raises ServiceError where no answer will come any more.
    """

    @property
    def slots(self) -> int:
        """Errands that can be done at once, as far as that is known."""
        ...

    def carry(
        self, errands: Iterator[Errand], report: Callable[[str, str, Any], None], stopped: Callable[[], bool]
    ) -> Generator[Answer]: ...


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who fetches for a run: `carrier`, and the `way` for the errands; what only the run knows is filled in by it."""

    carrier: Carrier
    way: Way

    def fetch(self, rows: Callable[[], Iterable[Wanted]], run: Running) -> None:
        """Have all of `rows` in the destination. Raises the error of an errand that could not be done, and what
        `Carrier.carry` raises.
        """
        way = replace(self.way, root=run.root, slots=self.carrier.slots)
        share = share_of(sum(map(work, rows())), way.slots)
        shown = Shown(run.transfer.progress)
        # what is an errand by itself goes first: nobody waits for it at the end
        pieces = chain(
            ([row] for row in rows() if work(row) >= share),
            cut((row for row in rows() if work(row) < share), share),
        )
        errands = (_errand(way, run, piece) for piece in pieces)
        answered: list[str] = []
        with closing(self.carrier.carry(errands, shown.report, lambda: run.transfer.crew.stopping)) as answers:
            for answer in answers:
                run.take(answer)
                shown.done(answer)
                answered.append(answer.ident)
                if answer.error is not None:
                    raise _of(answer.worker, answer.error)
                if len(answered) >= _TIDY:
                    _tidy(run, answered)
        run.transfer.stop_if_told()
        _tidy(run, answered)


@dataclass(frozen=True, slots=True)
class Running:
    """The run for which it is done, which holds the destination `state` by a run lock with this `nonce`."""

    root: str
    state: State
    nonce: str
    receipts: Receipts
    transfer: Transfer
    emit: Callable[[ObjectEvent], None]

    def take(self, answer: Answer) -> None:
        """Write its receipts, count its objects, and say what became of them."""
        for receipt in answer.receipts:
            self.receipts.record(receipt)
        tally = self.transfer.tally
        tally.local_changes += answer.local_changes
        for event in answer.events:
            tally.counts[event.action] += 1
            if event.error is not None:
                tally.exits.add(event.error.exit_code)
            self.emit(event)


class Shown:
    """The counters of a run, out of what workers report of theirs. A try that was killed had received what it had
    received, and what it had done another one tells again.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._meters: dict[str, dict[str, Meter]] = {}

    def report(self, ident: str, attempt: str, said: Any) -> None:
        """`said` is what `told_of` gives."""
        tries = self._meters.setdefault(ident, {})
        if attempt not in tries:
            for meter in tries.values():
                meter.done_bytes = meter.done_files = 0
            tries[attempt] = self._progress.meter()
        meter = tries[attempt]
        meter.received, meter.done_bytes, meter.done_files = said["received"], said["done_bytes"], said["done_files"]
        for number in [number for number in self._progress.active if number // _LARGE == _number(ident)]:
            self._progress.active.pop(number, None)
        for place, (name, size, done) in enumerate(said["active"]):
            self._progress.active[_number(ident) * _LARGE + place] = ActiveObject(name, size, done)

    def done(self, answer: Answer) -> None:
        """All of it is done: what was not reported any more counts now."""
        self.report(
            answer.ident,
            answer.attempt,
            {
                "received": answer.received,
                "done_bytes": sum(event.size or 0 for event in answer.events if event.error is None),
                "done_files": sum(1 for event in answer.events if event.error is None),
                "active": [],
            },
        )


_LARGE = 16


def told_of(progress: Progress) -> dict[str, Any]:
    """What a worker reports of its progress."""
    active = [(one.name, one.size, one.done) for one in list(progress.active.values())[: _LARGE - 1]]
    return {
        "received": progress.received,
        "done_bytes": progress.done_bytes,
        "done_files": progress.done_files,
        "active": active,
    }


def _number(ident: str) -> int:
    return int(ident, 16)


def _errand(way: Way, run: Running, rows: list[Wanted]) -> Errand:
    found = (run.receipts.find(row.key) for row in rows if row.known)
    known = tuple(receipt for receipt in found if receipt is not None)
    sums = run.transfer.sums
    listed = sums.told(run.root + row.key for row in rows) if sums is not None else None
    return Errand(way, secrets.token_hex(8), run.nonce, tuple(rows), known, listed)


def _tidy(run: Running, idents: list[str]) -> None:
    """What is in the receipts need not stay in journals."""
    run.receipts.flush()
    for ident in idents:
        journals.remove(run.state, ident)
    idents.clear()


def _of(worker: str, error: S3pullError) -> S3pullError:
    """The error, saying whose it is."""
    error.message = f"worker {worker}: {error.message}"
    error.args = (error.message,)
    return error
