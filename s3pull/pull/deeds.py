"""What a sync does about what differs: fetches and deletes it, or with `--dry-run` tells that it would.

Whether it may was judged before (`judgement`). Receipts follow their files: written after them, removed after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from s3pull.events import Action, ObjectEvent, Reason
from s3pull.local import expected
from s3pull.local.mirror import State
from s3pull.local.receipts import Expected, Receipts
from s3pull.local.tree import Tree
from s3pull.objects import Receipt, RemoteObject
from s3pull.pull.changes import Changes, Gone, Wanted
from s3pull.pull.crew import Task
from s3pull.pull.fleet import Running
from s3pull.pull.get import batched
from s3pull.pull.ledger import Ledger
from s3pull.pull.puller import KEEP_PARTS, Item, Puller
from s3pull.pull.removal import Removal
from s3pull.pull.survey import Costs
from s3pull.pull.transfer import Transfer
from s3pull.records import NamedTuple

if TYPE_CHECKING:
    from s3pull.pull.sync import SyncOrder, Voice

_PAGE = 1000


class Held(NamedTuple):
    """The state folder of a destination that this run holds, by a run lock with this nonce."""

    state: State
    nonce: str


class Deeds:
    """One run's. `root` is the key prefix that paths below DEST do not have; `held` is what others must know who fetch
    for it.
    """

    def __init__(self, order: SyncOrder, transfer: Transfer, voice: Voice, root: str, held: Held | None = None) -> None:
        self._held = held
        self._order = order
        self._transfer = transfer
        self._voice = voice
        self._root = root

    def apply(
        self,
        costs: Costs,
        changes: Changes,
        tree: Tree,
        receipts: Receipts | None,
        check: Callable[[], None],
        left: set[str],
    ) -> None:
        """Do all of it in a plain tree. `left`: folders in which a killed run was at work."""
        order = self._order
        if order.choices.dry_run or receipts is None:
            self.plan(changes, tree, receipts)
            return
        gone = changes.gone if order.delete else lambda: iter(())
        removal = Removal(tree, receipts, self._root, self._transfer.tally, self._voice.event, check)
        ways = costs.in_the_way
        if ways:
            removal.remove(row for row in gone() if _is_in_the_way(row, ways))
        expected.note(_expected(changes), tree, receipts)
        self.fetch(changes, tree, receipts)
        receipts.flush()
        removal.remove((row for row in gone() if not _is_in_the_way(row, ways)), lambda: self._transfer.crew.stopping)
        self._transfer.stop_if_told()
        expected.tidy(tree, receipts, left, dead_age=part_age(order, self._transfer))
        receipts.settle_expected()

    def fetch(self, changes: Changes, tree: Tree, receipts: Receipts) -> None:
        """Have all that is wanted in `tree`, with its receipts. Raises the error that ended the run early."""
        receipts.on_error = self._transfer.stop
        fleet, held = self._order.fleet, self._held
        here = (row for row in changes.wanted() if fleet is None or row.folder)
        with self._transfer.open(tree, self._ledger(receipts, receipts.record)) as puller:
            self._transfer.work(self._tasks(here, puller))
        self._transfer.stop_if_told()
        if fleet is not None and held is not None:
            run = Running(self._root, held.state, held.nonce, receipts, self._transfer, self._voice.event)
            fleet.fetch(lambda: (row for row in changes.wanted() if not row.folder), run)

    def _ledger(self, receipts: Receipts, write: Callable[[Receipt], None]) -> Ledger:
        return Ledger(self._root, receipts.find, write, proven=self._order.choices.require_checksum)

    def plan(self, changes: Changes, tree: Tree | None, receipts: Receipts | None) -> None:
        """What `--dry-run` tells of each object: the same decisions, and nothing is done."""
        order = self._order
        if tree is not None:
            ledger = self._ledger(receipts, lambda _: None) if receipts is not None else None
            with self._transfer.open(tree, ledger) as puller:
                self._transfer.work(self._tasks(changes.wanted(), puller))
        else:
            for row in changes.wanted():
                path, action, reason = row.place, Action.DOWNLOADED, Reason.NEW
                if row.folder:
                    action, reason, path = Action.SKIPPED, Reason.DIRECTORY, path[:-1]
                self._transfer.tally.counts[action] += 1
                self._voice.event(
                    ObjectEvent(
                        *(action, self._root + row.key, path, row.size), etag=row.etag, reason=reason, planned=True
                    )
                )
        if order.delete:
            self.tell_gone(changes, planned=True)

    def tell_gone(self, changes: Changes, *, planned: bool) -> None:
        """Say of each file whose object is gone that it is deleted, or would be."""
        for row in changes.gone():
            self._transfer.tally.counts[Action.DELETED] += 1
            self._voice.event(
                ObjectEvent(
                    *(Action.DELETED, self._root + row.key, row.path, row.size), reason=Reason.GONE, planned=planned
                )
            )

    def _tasks(self, rows: Iterator[Wanted], puller: Puller) -> Iterator[list[Task]]:
        while page := list(islice(rows, _PAGE)):
            tasks: list[Task] = []
            wanted: list[Item] = []
            for row in page:
                if row.folder:
                    tasks.append(_folder_task(puller, row.object(self._root), row.place[:-1]))
                else:
                    wanted.append(item_of(row, self._root, exact=self._order.locked is not None))
            yield tasks + batched(wanted, puller)


def item_of(row: Wanted, root: str, *, exact: bool) -> Item:
    """What is to be fetched for `row`, whose key is below `root`. `exact`: this version, as a manifest locks it."""
    folder, _, name = row.place.rpartition("/")
    return Item(row.object(root), folder, name, row.version_id if exact else None, exact=exact)


def part_age(order: SyncOrder, transfer: Transfer) -> float:
    """Seconds for which parts of dead runs are kept; none where all that the source has is here now."""
    return KEEP_PARTS if transfer.tally.counts[Action.FAILED] or order.filters else 0.0


def _expected(changes: Changes) -> Iterator[Expected]:
    """The files that will be made or replaced."""
    for row in changes.wanted():
        if not row.folder:
            yield Expected(row.key, row.place, row.size, row.modified, row.known)


def _is_in_the_way(row: Gone, ways: set[str]) -> bool:
    if not ways:
        return False
    path = row.path
    return path in ways or any(path.startswith(way) for way in _folders_of(path) if way in ways)


def _folders_of(path: str) -> list[str]:
    return [path[: at + 1] for at, character in enumerate(path) if character == "/"]


def _folder_task(puller: Puller, marker: RemoteObject, path: str) -> Task:
    return lambda _worker: puller.make_directory(marker, path)
