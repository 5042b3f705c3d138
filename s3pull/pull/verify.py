"""`verify`: is every file still what its receipt says? Reads and hashes; with `repair` fetches what is broken.

| the file                       | its content  | then |
|--------------------------------|--------------|------|
| is not there                   |              | missing |
| is no regular file             |              | edited |
| has the receipt's size and time| as receipted | right |
| has the receipt's size and time| otherwise    | corrupt: the disk's fault, not a person's |
| otherwise                      | as receipted | right: only its time was changed |
| otherwise                      | otherwise    | edited |
| (its receipt has no checksum)  |              | right as far as size and time tell |

With `remote` each receipt is also held against the source: changed, gone or new there means that a sync is due. What
the last sync was told to leave out, or cannot fetch (archived, a name that cannot be), is not wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from s3pull.errors import CheckFailed, DiskError, NameRefused, NothingThere, ObjectChanged, S3pullError, UsageError
from s3pull.events import Action, ObjectEvent, Reason, Summary
from s3pull.local import journals
from s3pull.local.mirror import PUBLISH, Mirror, State
from s3pull.local.receipts import Brief, Receipts
from s3pull.local.releases import Releases
from s3pull.local.runlock import RunLock
from s3pull.local.sweep import Sweep
from s3pull.local.tree import Tree
from s3pull.objects import Checksum, Receipt, RemoteObject
from s3pull.pull.changes import Changes
from s3pull.pull.compare import Ahead, Disordered, compare
from s3pull.pull.cores import cores
from s3pull.pull.crew import Task, Worker
from s3pull.pull.globs import Filters
from s3pull.pull.ledger import Ledger
from s3pull.pull.progress import Meter
from s3pull.pull.puller import Choices, Item, Puller
from s3pull.pull.scope import extent
from s3pull.pull.source import SourceSpec
from s3pull.pull.standing import content_of, receipt_checksum
from s3pull.pull.survey import survey
from s3pull.pull.transfer import MOST_CONNECTIONS, Transfer
from s3pull.remote.store import Store

_AHEAD = 256


@dataclass(frozen=True, slots=True)
class VerifyOrder:
    """What to look at. `wait`: seconds to wait for another run."""

    dest: Path
    remote: bool = False
    repair: bool = False
    wait: float = 0.0
    jobs: int = MOST_CONNECTIONS
    choices: Choices = field(default_factory=lambda: Choices(mirror=True, strict=True))


@dataclass(frozen=True, slots=True)
class Opened:
    """The source of a mirror; `prefix` is the share's."""

    store: Store
    spec: SourceSpec
    prefix: str


class Broken(CheckFailed):
    """One file is not what its receipt says. `reason` says how."""

    def __init__(self, path: str, how: str, reason: str, hint: str, key: str) -> None:
        super().__init__(f"{path}: {how}", hint=hint, key=key)
        self.reason = reason  # type: ignore[misc]


class Verify:
    """One run. Whatever is wrong is an event; `repaired` ones are `downloaded`. The exit code is 6 if any is left."""

    def __init__(
        self,
        order: VerifyOrder,
        emit: Callable[[ObjectEvent], None],
        say: Callable[[str], None],
        opened: Opened | None = None,
        *,
        every: bool = False,
    ) -> None:
        self.transfer = Transfer(opened.store if opened is not None else None, order.choices, order.jobs, emit)
        self.progress = self.transfer.progress
        self._order = order
        self._emit = emit
        self._say = say
        self._opened = opened
        self._every = every
        self._source = ""
        self._root = ""
        self._wrong = 0
        #: objects of the source that no sync could fetch
        self.unfetchable = 0
        self.count = 0
        self.bytes = 0

    def run(self) -> None:
        """Look at everything. Raises NothingThere (nothing is kept of this folder), Locked, DiskError, UsageError."""
        order = self._order
        with ExitStack() as stack:
            dest = stack.enter_context(_tree(order.dest))
            state = _state(dest, order.dest)
            lock = self._lock(stack, state)
            mirror = state.mirror()
            if mirror is not None:
                self._source, self._root = mirror.source, mirror.root
            check = lock.check if lock is not None else lambda: None
            tree, receipts = self._open(stack, dest, state, mirror, check, writable=lock is not None)
            receipts.check()
            if mirror is not None and mirror.layout != PUBLISH and lock is not None:
                journals.merge(state, mirror, tree, receipts)
            broken = [receipt for receipt in self._look(tree, receipts) if order.repair]
            if order.remote and self._opened is not None and mirror is not None:
                self._compare(self._opened, mirror, tree, receipts)
            if broken:
                assert mirror is not None
                self._repair(tree, receipts, mirror, broken)

    def summary(self, error: S3pullError | None = None) -> Summary:
        """The last event: `skipped` counts what is right, `failed` what is not, `downloaded` what was repaired."""
        summary = self.transfer.summary(self._source, error)
        code = summary.exit if error is not None or not self._wrong else 6
        return summary._replace(exit=code)

    # --- what there is --------------------------------------------------------------------------------------

    def _lock(self, stack: ExitStack, state: State) -> RunLock | None:
        """The run lock; none where nothing may be written there, and then nothing is."""
        try:
            return stack.enter_context(RunLock.acquire(state.directory, wait=self._order.wait, say=self._say))
        except DiskError:
            if self._order.repair:
                raise
            return None

    def _open(
        self,
        stack: ExitStack,
        dest: Tree,
        state: State,
        mirror: Mirror | None,
        check: Callable[[], None],
        *,
        writable: bool,
    ) -> tuple[Tree, Receipts]:
        tree, path = dest, state.receipts_path()
        if mirror is not None and mirror.layout == PUBLISH:
            releases = Releases(dest, state)
            current = releases.current()
            if current is None:
                raise NothingThere(f"nothing was published to {str(self._order.dest)!r} yet", hint="run the sync again")
            tree = stack.enter_context(Tree(releases.tree_path(current), create=False))
            path = releases.receipts_path(current)
        elif mirror is None and not path.exists():
            raise NothingThere(f"there are no receipts in {str(self._order.dest)!r}", hint="only sync writes them")
        return tree, stack.enter_context(Receipts.open(path, read_only=not writable, create=False, guard=check))

    # --- looking --------------------------------------------------------------------------------------------

    def _look(self, tree: Tree, receipts: Receipts) -> Iterator[Receipt]:
        """Hash every file, as many at a time as there are cores; those that are broken."""
        meter = self.progress.meter()
        with ThreadPoolExecutor(cores(), thread_name_prefix="verify") as pool:
            under_way: deque[tuple[Receipt, Future[Broken | None]]] = deque()
            try:
                for receipt in receipts.rows():
                    under_way.append((receipt, pool.submit(_judge, tree, receipt)))
                    if len(under_way) >= _AHEAD:
                        yield from self._told(*under_way.popleft(), meter)
                while under_way:
                    yield from self._told(*under_way.popleft(), meter)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _told(self, receipt: Receipt, verdict: Future[Broken | None], meter: Meter) -> Iterable[Receipt]:
        error = verdict.result()
        self.count += not receipt.folder
        self.bytes += receipt.size
        meter.done_files += 1
        meter.done_bytes += receipt.size
        if error is None:
            self.transfer.tally.counts[Action.SKIPPED] += not receipt.folder
            if self._every:
                self._event(receipt, Action.SKIPPED, Reason.SAME_CHECKSUM)
            return ()
        if not self._order.repair:
            self._fail(receipt, error)
        return (receipt,)

    def _fail(self, receipt: Receipt, error: Broken) -> None:
        self._wrong += 1
        self.transfer.tally.counts[Action.FAILED] += 1
        self._event(receipt, Action.FAILED, error.reason, error)

    def _event(self, receipt: Receipt, action: Action, reason: str, error: S3pullError | None = None) -> None:
        checksum = Checksum(receipt.algorithm, receipt.checksum) if receipt.algorithm and receipt.checksum else None
        self._emit(
            ObjectEvent(
                *(action, self._root + receipt.key, receipt.path, receipt.size, 0),
                etag=receipt.etag,
                version_id=receipt.version_id,
                checksum=checksum,
                verified=error is None and checksum is not None,
                reason=reason,
                error=error,
            )
        )

    # --- against the source ---------------------------------------------------------------------------------

    def _compare(self, opened: Opened, mirror: Mirror, tree: Tree, receipts: Receipts) -> None:
        now: list[Brief] = []

        def remembered() -> Iterator[Brief]:
            for brief in receipts.briefs():
                now[:] = [brief]
                yield brief

        def as_receipted(_: str) -> tuple[int, int]:
            return (now[0].size, now[0].mtime_ns)

        there = extent(opened.store, opened.spec, opened.prefix)
        filters = Filters(mirror.filters)
        with Changes() as changes:

            def against(pages: Iterable[list[RemoteObject]]) -> None:
                scope = filters.wants if filters else None
                compare(pages, mirror.root, remembered(), as_receipted, changes, belongs=there.belongs, scope=scope)

            try:
                against(Ahead(there.pages(opened.store)))
            except Disordered:
                changes.clear()
                against(changes.in_order(there.pages(opened.store)))
            survey(
                *(changes, mirror.root, receipts.briefs, Sweep(tree).look),
                folds=tree.folds,
                encode=mirror.encode_names,
                delete=False,
                refuse=self._cannot_be_had,
            )
            hint = "s3pull sync brings this folder up to date"
            for row in changes.wanted():
                how = "was replaced at the source" if row.known else "is new at the source"
                receipt = Receipt(row.key, row.place, row.size, 0, row.etag)
                reason = Reason.CHANGED if row.known else Reason.NEW
                self._fail(receipt, Broken(receipt.path, how, reason, hint, row.key))
            for gone in changes.gone():
                receipt = Receipt(*gone[:4], "")
                self._fail(receipt, Broken(gone.path, "is gone at the source", Reason.GONE, hint, gone.key))

    def _cannot_be_had(self, pin: RemoteObject, path: str | None, error: S3pullError) -> None:
        """A sync would refuse it, too. It is told, but nothing here is wrong."""
        self.unfetchable += 1
        self.transfer.tally.counts[Action.REFUSED] += 1
        self._emit(ObjectEvent(Action.REFUSED, pin.key, path, pin.size, etag=pin.etag, reason=error.reason))

    # --- mending --------------------------------------------------------------------------------------------

    def _repair(self, tree: Tree, receipts: Receipts, mirror: Mirror, broken: list[Receipt]) -> None:
        """Fetch what is broken.

        In a release only the very object that it was built of: it must not become a mix. And of a locked mirror only
        the very version that was locked.
        """
        assert self._opened is not None
        files = [receipt for receipt in broken if not receipt.folder]
        counts = self.transfer.tally.counts
        before = counts[Action.FAILED] + counts[Action.REFUSED]
        receipts.on_error = self.transfer.stop
        ledger = Ledger(mirror.root, lambda _: None, receipts.record)
        with self.transfer.open(tree, ledger) as puller:
            for receipt in broken:
                if receipt.folder:
                    marker = RemoteObject(mirror.root + receipt.key, 0, receipt.etag, receipt.modified)
                    puller.make_directory(marker, receipt.path[:-1])
            self.transfer.work([[_mending(puller, receipt, mirror)] for receipt in files])
        self._wrong += counts[Action.FAILED] + counts[Action.REFUSED] - before


def _mending(puller: Puller, receipt: Receipt, mirror: Mirror) -> Task:
    key = mirror.root + receipt.key
    folder, _, name = receipt.path.rpartition("/")
    exact = mirror.locked or mirror.layout == PUBLISH
    version = receipt.version_id if mirror.locked else None

    def task(worker: Worker) -> None:
        pin = RemoteObject(key, receipt.size, receipt.etag, receipt.modified)
        try:
            now = puller.store.head(key, version_id=version, checksum=True)
            if exact and (now.etag, now.size) != (receipt.etag, receipt.size):
                since = "it was locked" if mirror.locked else "this release was built"
                how = "s3pull lock makes a new manifest" if mirror.locked else "s3pull sync --publish builds a new one"
                raise ObjectChanged(f"{key} was replaced since {since}", hint=how)
        except S3pullError as error:
            puller.failed(pin, receipt.path, error)
            return
        puller.task([Item(now, folder, name, version, exact=exact)])(worker)

    return task


def _judge(tree: Tree, receipt: Receipt) -> Broken | None:
    """The table of this module. What stands in the place of a folder is `edited`, too."""
    hint = "s3pull verify --repair fetches it again"
    try:
        found = tree.stat(receipt.path.rstrip("/"))
    except NameRefused:
        return Broken(receipt.path, "has no folder any more: something else stands there", "edited", hint, receipt.key)
    if found is None:
        return Broken(receipt.path, "is missing", "missing", hint, receipt.key)
    if receipt.folder:
        return None if found.kind == "directory" else Broken(receipt.path, "is no folder", "edited", hint, receipt.key)
    if not found.regular:
        return Broken(receipt.path, "is no regular file any more", "edited", hint, receipt.key)
    untouched = (found.size, found.mtime_ns) == (receipt.size, receipt.mtime_ns)
    checksum = receipt_checksum(receipt)
    if checksum is None:
        return None if untouched else Broken(receipt.path, "was changed here", "edited", hint, receipt.key)
    folder, _, name = receipt.path.rpartition("/")
    directory = tree.directory(folder, create=False)
    if found.size == receipt.size and content_of(directory, name, found.size, checksum.algorithm) == checksum:
        return None
    if untouched:
        return Broken(receipt.path, "is damaged: its bytes are not what was written", "corrupt", hint, receipt.key)
    return Broken(receipt.path, "was changed here", "edited", hint, receipt.key)


def _tree(dest: Path) -> Tree:
    if not dest.is_dir():
        raise NothingThere(f"there is no folder {str(dest)!r}", hint="give the DEST of a sync")
    return Tree(dest, create=False)


def _state(tree: Tree, dest: Path) -> State:
    state = State.open(tree, create=False)
    if state is None:
        raise NothingThere(f"{str(dest)!r} has no receipts", hint="verify checks what sync fetched: give its DEST")
    return state


def mirror_of(dest: Path) -> Mirror:
    """Which source `dest` mirrors. Raises NothingThere, UsageError where it was not noted."""
    with _tree(dest) as tree:
        mirror = _state(tree, dest).mirror()
    if mirror is None:
        raise UsageError(
            f"nothing says which source {str(dest)!r} mirrors", hint="sync it once; then --remote and --repair know"
        )
    return mirror
