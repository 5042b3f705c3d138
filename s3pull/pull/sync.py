"""`sync`: makes a folder mirror a source. Compares, judges, then fetches and deletes what differs. Prints nothing.

    listing + receipts + disk  --compare-->  changes  --survey, guard-->  what it costs  --puller, removal-->  the tree

Law:

1. Nothing is fetched or deleted before the listing is complete and every guard has let the run pass.
2. A receipt is written when its file is durable under its name, and removed after its file. So a kill leaves at worst
   files without receipts: the next run takes them up by their checksums.
3. Only a file that has a receipt of this source is deleted.
4. The run lock is held throughout, and looked at again before each deletion and each commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from s3pull.errors import DeadlineReached, NameRefused, NothingThere, S3pullError
from s3pull.events import Action, ObjectEvent, Preflight, Reason, Summary
from s3pull.local import expected, journals
from s3pull.local.mirror import PLAIN, PUBLISH, Beginning, Mirror, State, check_mirror, unknown_source
from s3pull.local.names import local_path
from s3pull.local.parts import sweep
from s3pull.local.receipts import Brief, Expected, Receipts
from s3pull.local.runlock import RunLock
from s3pull.local.sweep import Sweep
from s3pull.local.tree import Tree
from s3pull.objects import Receipt, RemoteObject
from s3pull.pull import guard
from s3pull.pull.changes import Changes, Gone, Wanted
from s3pull.pull.compare import Ahead, Disordered, Found, Scope, compare
from s3pull.pull.crew import Task
from s3pull.pull.get import batched
from s3pull.pull.globs import Filters
from s3pull.pull.guard import Limit
from s3pull.pull.ledger import Ledger
from s3pull.pull.manifest import Manifest
from s3pull.pull.publish import Publication, Publishing
from s3pull.pull.puller import KEEP_PARTS, Choices, Item, Puller
from s3pull.pull.removal import Removal
from s3pull.pull.scope import extent
from s3pull.pull.source import SourceSpec
from s3pull.pull.survey import Costs, part_bytes, survey
from s3pull.pull.transfer import MOST_CONNECTIONS, Transfer
from s3pull.remote.store import Store

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class SyncOrder:
    """What to mirror: a parsed source below `prefix` (the share's), into the folder `dest`, under which choices.

    `endpoint` is the host of a service that is not AWS, else ''. `deadline` and `wait` are seconds. `locked`: these
    objects, whatever the source lists. `payer` says who pays, for the preflight.
    """

    spec: SourceSpec
    dest: Path
    bucket: str
    endpoint: str = ""
    prefix: str = ""
    choices: Choices = field(default_factory=Choices)
    filters: Filters = field(default_factory=Filters)
    encode_names: bool = False
    delete: bool = False
    max_delete: Limit | None = None
    publishing: Publishing | None = None
    deadline: float | None = None
    wait: float = 0.0
    locked: Manifest | None = None
    jobs: int = MOST_CONNECTIONS
    payer: str = ""


class Voice(NamedTuple):
    """Who is told of objects, of the preflight, of what people should know (`say`), or may (`note`).

    `every`: of unchanged objects, too.
    """

    event: Callable[[ObjectEvent], None]
    preflight: Callable[[Preflight], None]
    say: Callable[[str], None]
    note: Callable[[str], None] = lambda _: None
    every: bool = False


class Sync:
    """One run. `run` blocks; `stop` may be called from any thread or a signal handler."""

    def __init__(self, order: SyncOrder, store: Store, voice: Voice) -> None:
        self.transfer = Transfer(store, order.choices, order.jobs, self._event)
        self.progress = self.transfer.progress
        self.stop = self.transfer.stop
        self._order = order
        self._store = store
        self._voice = voice
        self._root = order.prefix + order.spec.fixed
        self._belongs: Scope | None = None
        self._publication: Publication | None = None
        #: folders in which a killed run was at work
        self._left: set[str] = set()

    def run(self) -> None:
        """Do all of it. Raises the error that ended the run early; objects' own failures are events.

        Raises Locked, GuardRefused, DeadlineReached, UsageError (another source), and what reading and writing raise.
        """
        order = self._order
        late = DeadlineReached("the deadline was reached", hint="the next run goes on from here")
        with ExitStack() as stack:
            stack.enter_context(self.transfer.deadline(order.deadline, late))
            durable = order.choices.durable
            beginning = Beginning(order.dest)
            stack.push(beginning.leave)
            tree = stack.enter_context(Tree(order.dest, create=not order.choices.dry_run, durable=durable))
            state = State.open(tree, create=not order.choices.dry_run)
            try:
                lock = None
                if state is not None and not order.choices.dry_run:
                    lock = stack.enter_context(
                        RunLock.acquire(
                            state.directory,
                            wait=order.wait,
                            say=self._voice.say,
                            stopped=lambda: self.transfer.crew.stopping,
                        )
                    )
                    stack.push(beginning.forget)
                self._mirror(tree, state, lock)
                if state is not None and lock is not None:
                    sweep(state.directory)
                    # a run with nothing to fetch entered no folder
                    sweep(tree.directory(""), dead_age=self._part_age())
            except S3pullError as error:
                self.transfer.raise_first(error)
                raise

    def summary(self, error: S3pullError | None = None) -> Summary:
        """The last event; `error` is what `run` raised."""
        return self.transfer.summary(self._order.spec.text, error)

    def _event(self, event: ObjectEvent) -> None:
        """Of an object, from the puller, and under its lock. What is new in a release may not be so in the mirror."""
        if self._publication is not None and event.reason == Reason.NEW and not event.planned:
            reason, edited = self._publication.why(event.key[len(self._root) :])
            self.transfer.tally.local_changes += edited
            event = replace(event, reason=reason)
        self._voice.event(event)

    # --- which source, which tree -------------------------------------------------------------------------

    def _mirror(self, tree: Tree, state: State | None, lock: RunLock | None) -> None:
        order = self._order
        pages = self._find()
        pages = self.transfer.watched(pages, self._root, self._wanted)
        layout = PUBLISH if order.publishing is not None else PLAIN
        mirror = Mirror(
            *(order.bucket, order.endpoint, self._root, order.spec.text, layout, order.encode_names),
            *(order.locked is not None, order.filters.rules),
        )
        before = state.mirror() if state is not None else None
        if before is not None:
            alone = order.prefix + order.spec.fixed  # the root, were it an object
            if self._root != alone and before.source == mirror.source and before[:3] == (*mirror[:2], alone):
                raise NothingThere(
                    f"nothing at {mirror.source}: the object that {str(order.dest)!r} mirrors is gone",
                    hint="the file stays; remove it by hand if nobody needs it",
                )
            check_mirror(order.dest, mirror, before)
        check = lock.check if lock is not None else lambda: None
        noting = state if lock is not None and before != mirror else None  # when it is known that something is there
        if order.publishing is None:
            with self._receipts(state, check) as receipts, Changes() as changes:
                if before is None and receipts is not None and receipts.count():
                    raise unknown_source(order.dest)
                if state is not None and receipts is not None and lock is not None and before is not None:
                    self._left = expected.take(tree, receipts)
                    journals.merge(state, mirror, tree, receipts)
                renamed = before is not None and before.encode_names != mirror.encode_names
                found = self._compare(pages, tree, receipts, changes, renamed=renamed)
                costs = self._judge(found, changes, tree, receipts, disk=tree)
                if noting is not None:
                    noting.note(mirror)
                self._apply(costs, changes, tree, receipts, check)
            return
        with Publication(order.publishing, tree, state, check, durable=order.choices.durable) as publication:
            self._publication = publication
            if before is None and publication.has_base:
                raise unknown_source(order.dest)
            base, known = publication.base_tree, publication.base_receipts
            with Changes() as changes:
                found = self._compare(pages, base, known, changes, renamed=False)
                self._judge(found, changes, base, known, disk=tree)
                if noting is not None:
                    noting.note(mirror)
                if order.choices.dry_run:
                    self._plan(changes, base, known)
                elif found.wanted or (found.gone and order.delete) or not publication.has_base or publication.adopts:
                    self._publish(publication, changes)
                else:
                    publication.drop()
                    publication.prune()

    @contextmanager
    def _receipts(self, state: State | None, check: Callable[[], None]) -> Iterator[Receipts | None]:
        dry = self._order.choices.dry_run
        if state is None or (dry and not state.receipts_path().exists()):
            yield None
            return
        with Receipts.open(
            state.receipts_path(), read_only=dry, durable=self._order.choices.durable, guard=check
        ) as receipts:
            receipts.on_error = self.transfer.stop
            yield receipts

    # --- what the source has ------------------------------------------------------------------------------

    def _find(self) -> Callable[[], Iterator[list[RemoteObject]]]:
        """How to read all that the source names, page by page, again if need be. A manifest says so by itself."""
        order = self._order
        if order.locked is not None:
            self._root = order.locked.root
            return order.locked.pages
        found = extent(self._store, order.spec, order.prefix)
        self._root, self._belongs = found.root, found.belongs
        return lambda: found.pages(self._store)

    def _compare(
        self,
        pages: Callable[[], Iterator[list[RemoteObject]]],
        tree: Tree | None,
        receipts: Receipts | None,
        changes: Changes,
        *,
        renamed: bool,
    ) -> Found:
        def against(listing: Iterable[list[RemoteObject]]) -> Found:
            return compare(
                listing,
                self._root,
                self.transfer.briefs(receipts) if receipts is not None else iter(()),
                Sweep(tree).look if tree is not None else lambda _: None,
                changes,
                belongs=self._belongs,
                scope=self._order.filters.wants if self._order.filters else None,
                path_of=self._path_of if renamed else None,
                on_same=self._tell_same if self._voice.every else None,
                stopped=lambda: self.transfer.crew.stopping,
            )

        try:
            with closing(Ahead(pages())) as ahead:
                found = against(ahead)
        except Disordered:  # directory buckets and some vendors: such a listing is sorted on our own disk
            changes.clear()
            with closing(Ahead(pages())) as ahead:
                found = against(changes.in_order(ahead))
        self._stop_if_told()
        self.transfer.tell_missing(self._wanted)
        self.transfer.tally.counts[Action.SKIPPED] += found.same
        meter = self.progress.meter()
        meter.done_bytes, meter.done_files = found.same_bytes, found.same
        return found

    def _wanted(self, key: str) -> bool:
        """Whether `key`, below the root, is in the source and let in by the filters."""
        filters = self._order.filters
        return (self._belongs is None or self._belongs(key)) and (not filters or filters.wants(key))

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

    # --- may it, and what will it cost --------------------------------------------------------------------

    def _judge(
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
        tally = self.transfer.tally

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
            self._root,
            receipts.briefs if receipts is not None else lambda: iter(()),
            Sweep(tree).look if tree is not None else lambda _: None,
            folds=disk.folds,
            encode=order.encode_names,
            delete=order.delete,
            refuse=refuse,
            replaces=order.publishing is None,
        )
        free = _free(disk)
        gone = [row.size for row in changes.gone()] if order.delete else []
        self.progress.total_files = costs.files + found.same
        self.progress.total_bytes = costs.bytes + found.same_bytes
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
        self._stop_if_told()
        return costs

    # --- doing it -------------------------------------------------------------------------------------------

    def _apply(
        self, costs: Costs, changes: Changes, tree: Tree, receipts: Receipts | None, check: Callable[[], None]
    ) -> None:
        order = self._order
        if order.choices.dry_run or receipts is None:
            self._plan(changes, tree, receipts)
            return
        gone = changes.gone if order.delete else lambda: iter(())
        removal = Removal(tree, receipts, self._root, self.transfer.tally, self._voice.event, check)
        ways = costs.in_the_way
        if ways:
            removal.remove(row for row in gone() if _is_in_the_way(row, ways))
        expected.note(_expected(changes), tree, receipts)
        ledger = self._ledger(receipts, receipts.record)
        with self.transfer.open(tree, ledger) as puller:
            self.transfer.work(self._tasks(changes, puller))
        self._stop_if_told()
        receipts.flush()
        removal.remove((row for row in gone() if not _is_in_the_way(row, ways)), lambda: self.transfer.crew.stopping)
        self._stop_if_told()
        expected.tidy(tree, receipts, self._left, dead_age=self._part_age())
        receipts.settle_expected()

    def _ledger(self, receipts: Receipts, write: Callable[[Receipt], None]) -> Ledger:
        return Ledger(self._root, receipts.find, write, proven=self._order.choices.require_checksum)

    def _part_age(self) -> float:
        """Seconds for which parts of dead runs are kept; none where all that the source has is here now."""
        return KEEP_PARTS if self.transfer.tally.counts[Action.FAILED] or self._order.filters else 0.0

    def _publish(self, publication: Publication, changes: Changes) -> None:
        """Build the new release, and let `current` lead to it if nothing is missing."""
        order = self._order
        publication.link_unchanged(
            changes, carry_gone=not order.delete, stopped=self._stop_if_told, encoded=order.encode_names
        )
        tree, receipts = publication.stage()
        receipts.on_error = self.transfer.stop
        ledger = self._ledger(receipts, receipts.record)
        with self.transfer.open(tree, ledger) as puller:
            self.transfer.work(self._tasks(changes, puller))
        self._stop_if_told()
        tally = self.transfer.tally
        if tally.exits:
            missing = tally.counts[Action.FAILED] + tally.counts[Action.REFUSED]
            words = "1 object is" if missing == 1 else f"{missing:,} objects are"
            self._voice.say(f"not published: {words} missing; what was fetched is kept for the next run")
            return
        publication.publish(changes, self._voice.note)
        if self._order.delete:
            self._tell_gone(changes, planned=False)

    def _plan(self, changes: Changes, tree: Tree | None, receipts: Receipts | None) -> None:
        """What `--dry-run` tells of each object: the same decisions, and nothing is done."""
        order = self._order
        if tree is not None:
            ledger = self._ledger(receipts, lambda _: None) if receipts is not None else None
            with self.transfer.open(tree, ledger) as puller:
                self.transfer.work(self._tasks(changes, puller))
        else:
            for row in changes.wanted():
                path = row.path or row.key
                action, reason = Action.DOWNLOADED, Reason.NEW
                if path.endswith("/"):
                    action, reason, path = Action.SKIPPED, Reason.DIRECTORY, path[:-1]
                self.transfer.tally.counts[action] += 1
                self._voice.event(
                    ObjectEvent(
                        *(action, self._root + row.key, path, row.size), etag=row.etag, reason=reason, planned=True
                    )
                )
        if order.delete:
            self._tell_gone(changes, planned=True)

    def _tell_gone(self, changes: Changes, *, planned: bool) -> None:
        for row in changes.gone():
            self.transfer.tally.counts[Action.DELETED] += 1
            self._voice.event(
                ObjectEvent(
                    *(Action.DELETED, self._root + row.key, row.path, row.size), reason=Reason.GONE, planned=planned
                )
            )

    def _tasks(self, changes: Changes, puller: Puller) -> Iterator[list[Task]]:
        rows = changes.wanted()
        while page := list(islice(rows, _PAGE)):
            tasks: list[Task] = []
            wanted: list[Item] = []
            for row in page:
                path = row.path or row.key
                if path.endswith("/"):
                    tasks.append(_folder_task(puller, row.object(self._root), path[:-1]))
                else:
                    wanted.append(self._item(row, path))
            yield tasks + batched(wanted, puller)

    def _item(self, row: Wanted, path: str) -> Item:
        folder, _, name = path.rpartition("/")
        locked = self._order.locked is not None
        return Item(row.object(self._root), folder, name, row.version_id if locked else None, exact=locked)

    def _stop_if_told(self) -> None:
        """The crew was stopped (a deadline, a receipt that could not be written): say so here, between two steps."""
        if self.transfer.crew.stopping and self.transfer.crew.error is not None:
            raise self.transfer.crew.error


def _free(tree: Tree) -> int | None:
    """Bytes that may still be written; None where nobody can say (a dry run into a folder that is not there)."""
    try:
        return tree.free_bytes()
    except S3pullError:
        return None


def _expected(changes: Changes) -> Iterator[Expected]:
    """The files that will be made or replaced."""
    for row in changes.wanted():
        path = row.path or row.key
        if not path.endswith("/"):
            yield Expected(row.key, path, row.size, row.modified, row.known)


def _is_in_the_way(row: Gone, ways: set[str]) -> bool:
    if not ways:
        return False
    path = row.path
    return path in ways or any(path.startswith(way) for way in _folders_of(path) if way in ways)


def _folders_of(path: str) -> list[str]:
    return [path[: at + 1] for at, character in enumerate(path) if character == "/"]


def _folder_task(puller: Puller, marker: RemoteObject, path: str) -> Task:
    return lambda _worker: puller.make_directory(marker, path)
