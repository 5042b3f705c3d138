"""All that a sync knows before byte one: what the source has, what differs here, what it costs, and whether it may be.

Nothing is fetched, written or deleted here; what differs is in `changes` afterwards, with its paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from s3pull.errors import NameRefused, NothingThere, S3pullError
from s3pull.events import Action, ObjectEvent, Preflight, Reason
from s3pull.local.names import local_path
from s3pull.local.receipts import Brief, Receipts
from s3pull.local.sweep import Sweep
from s3pull.local.tree import Tree
from s3pull.objects import RemoteObject
from s3pull.pull import guard
from s3pull.pull.changes import Changes
from s3pull.pull.compare import Ahead, Disordered, Found, Scope, compare
from s3pull.pull.scope import extent
from s3pull.pull.survey import Costs, part_bytes, survey
from s3pull.pull.transfer import Transfer
from s3pull.remote.store import Store

if TYPE_CHECKING:
    from s3pull.pull.sync import SyncOrder, Voice

#: reads all that a source names, page by page; again if need be
Pages = Callable[[], Iterator[list[RemoteObject]]]


class Judgement:
    """One run's. `find`, then `compare`, then `judge`; `root` is known once it was found."""

    def __init__(self, order: SyncOrder, store: Store, transfer: Transfer, voice: Voice) -> None:
        self._order = order
        self._store = store
        self._transfer = transfer
        self._voice = voice
        #: the key prefix that paths below DEST do not have
        self.root = order.prefix + order.spec.fixed
        self._belongs: Scope | None = None

    def find(self) -> Pages:
        """How to read all that the source names, page by page, again if need be. A manifest says so by itself."""
        order = self._order
        if order.locked is not None:
            self.root = order.locked.root
            return self._transfer.watched(order.locked.pages, self.root, self._wanted)
        found = extent(self._store, order.spec, order.prefix)
        self.root, self._belongs = found.root, found.belongs
        return self._transfer.watched(lambda: found.pages(self._store), self.root, self._wanted)

    def compare(
        self,
        pages: Pages,
        tree: Tree | None,
        receipts: Receipts | None,
        changes: Changes,
        *,
        renamed: bool,
    ) -> Found:
        """Note in `changes` how the source differs from receipts and disk. `renamed`: names are encoded otherwise now.

        Raises what listing raises, DiskError, and what stopped the run meanwhile.
        """

        def against(listing: Iterable[list[RemoteObject]]) -> Found:
            return compare(
                listing,
                self.root,
                self._transfer.briefs(receipts) if receipts is not None else iter(()),
                Sweep(tree).look if tree is not None else lambda _: None,
                changes,
                belongs=self._belongs,
                scope=self._order.filters.wants if self._order.filters else None,
                path_of=self._path_of if renamed else None,
                on_same=self._tell_same if self._voice.every else None,
                mine=self._order.shard.has if self._order.shard is not None else None,
                stopped=lambda: self._transfer.crew.stopping,
            )

        try:
            with closing(Ahead(pages())) as ahead:
                found = against(ahead)
        except Disordered:  # directory buckets and some vendors: such a listing is sorted on our own disk
            changes.clear()
            with closing(Ahead(pages())) as ahead:
                found = against(changes.in_order(ahead))
        self._transfer.stop_if_told()
        self._transfer.tell_missing(self._wanted)
        self._transfer.tally.counts[Action.SKIPPED] += found.same
        meter = self._transfer.progress.meter()
        meter.done_bytes, meter.done_files = found.same_bytes, found.same
        return found

    def _wanted(self, key: str) -> bool:
        """Whether `key`, below the root, is in the source, let in by the filters, and in our shard."""
        filters, shard = self._order.filters, self._order.shard
        return (
            (self._belongs is None or self._belongs(key))
            and (not filters or filters.wants(key))
            and (shard is None or shard.has(key))
        )

    def _path_of(self, key: str) -> str | None:
        try:
            if key.endswith("/"):
                return local_path(key[:-1], encode=self._order.encode_names) + "/"
            return local_path(key, encode=self._order.encode_names)
        except NameRefused:
            return None

    def _tell_same(self, brief: Brief, found: RemoteObject) -> None:
        reason = Reason.SAME_RECEIPT
        self._voice.event(
            ObjectEvent(Action.SKIPPED, found.key, brief.path, found.size, etag=found.etag, reason=reason)
        )

    def judge(
        self, found: Found, changes: Changes, tree: Tree | None, receipts: Receipts | None, *, disk: Tree
    ) -> Costs:
        """Every guard, before anything is fetched or deleted. Refused names and archived objects are told here."""
        order = self._order
        if order.delete:
            guard.check_deletions(found.gone, found.known, found.listed, order.max_delete)
        if not found.listed:
            raise NothingThere(
                f"nothing at {order.spec.text}", hint="see with s3pull ls whether it is right; nothing was changed here"
            )
        if order.filters and not found.same and not found.wanted:
            self._voice.say(f"the filters leave out all {found.listed:,} objects of {order.spec.text}")
        tally = self._transfer.tally

        def refuse(pin: RemoteObject, path: str | None, error: S3pullError) -> None:
            tally.counts[Action.REFUSED] += 1
            tally.exits.add(error.exit_code)
            planned = order.choices.dry_run
            self._voice.event(
                ObjectEvent(
                    *(Action.REFUSED, pin.key, path, pin.size),
                    etag=pin.etag,
                    reason=error.reason,
                    error=error,
                    planned=planned,
                )
            )
            if order.choices.fail_fast:
                raise error

        costs = survey(
            changes,
            self.root,
            receipts.briefs if receipts is not None else lambda: iter(()),
            Sweep(tree).look if tree is not None else lambda _: None,
            folds=disk.folds,
            encode=order.encode_names,
            delete=order.delete,
            refuse=refuse,
            replaces=order.publishing is None,
            mine=order.shard.has if order.shard is not None else None,
        )
        free = _free(disk)
        gone = [row.size for row in changes.gone()] if order.delete else []
        self._transfer.progress.total_files = costs.files + found.same
        self._transfer.progress.total_bytes = costs.bytes + found.same_bytes
        self._voice.preflight(
            Preflight(
                files=costs.files,
                bytes=costs.bytes,
                requests=costs.requests,
                archived=costs.archived,
                refused=costs.refused,
                delete=len(gone),
                delete_bytes=sum(gone),
                same=found.same,
                free=free,
                payer=order.payer,
            )
        )
        if free is not None and costs.room > free:
            folders = {(row.path or "").rpartition("/")[0] for row in changes.wanted()}
            guard.check_room(costs.room, free + part_bytes(tree or disk, folders))
        self._transfer.stop_if_told()
        return costs


def _free(tree: Tree) -> int | None:
    """Bytes that may still be written; None where nobody can say (a dry run into a folder that is not there)."""
    try:
        return tree.free_bytes()
    except S3pullError:
        return None
