"""Takes an object from its pin to a verified file, and reports what became of it.

A task looks at what stands at the local path, decides (`pull.plan`), fetches (`pull.small`, `pull.large`), and turns
every error into an event of that object or, where the cause is not the object's own, into the end of the run. It knows
nothing of how objects were found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from s3pull.errors import (
    AccessDenied,
    Archived,
    Cancelled,
    CheckFailed,
    CredentialsError,
    DiskError,
    LocalEdit,
    Locked,
    NameRefused,
    NothingThere,
    ObjectChanged,
    S3pullError,
    ServiceError,
    let_go,
)
from s3pull.events import Action, ObjectEvent, Reason
from s3pull.local.directory import Directory, FileStat
from s3pull.local.leftovers import Leftovers
from s3pull.local.tree import Tree
from s3pull.objects import Checksum, RemoteObject
from s3pull.pull import large, plan, proof, small
from s3pull.pull.crew import Crew, Task, Worker
from s3pull.pull.progress import Progress
from s3pull.pull.standing import Standing, content_of, look, part_size, stated_by
from s3pull.pull.window import Window
from s3pull.records import NamedTuple
from s3pull.remote import checksums

if TYPE_CHECKING:
    from s3pull.local.settle import Settler
    from s3pull.pull.ledger import Ledger
    from s3pull.pull.mate import Mate
    from s3pull.pull.sums import Sums
    from s3pull.remote.store import Store

_REPINS = 3
#: seconds that a part of a killed run waits for somebody to go on with it
KEEP_PARTS = 7 * 86400.0
#: so many denials or service failures in a row, with no success before, are not about single objects
_HOPELESS = 16


class Choices(NamedTuple):
    """What the user decided about files and proofs.

    `mirror`: replace what was edited here, too, and count it; `strict`: believe no file for its time alone;
    `checksums`: the SHA256SUMS that objects are held to.
    """

    overwrite: bool = False
    no_clobber: bool = False
    require_checksum: bool = False
    durable: bool = True
    fail_fast: bool = False
    dry_run: bool = False
    mirror: bool = False
    strict: bool = False
    checksums: str | None = None


class Item(NamedTuple):
    """One object to take: the pin, and the safe relative path (`folder` '' is the root) that it will have.

    `version_id` is set only where the user asked for that version: it is then part of every request. `exact`: this
    object and no later one, as a manifest locks it.
    """

    object: RemoteObject
    folder: str
    name: str
    version_id: str | None = None
    exact: bool = False

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


class Tally:
    """What the summary counts. Written under the puller's lock."""

    __slots__ = ("counts", "exits", "local_changes")

    def __init__(self) -> None:
        self.counts: dict[Action, int] = dict.fromkeys(Action, 0)
        self.local_changes = 0
        self.exits: set[int] = set()

    @property
    def good(self) -> int:
        return self.counts[Action.DOWNLOADED] + self.counts[Action.RESUMED] + self.counts[Action.SKIPPED]


class Puller:
    """Shared by all workers of a run. `emit` is called from any thread, one event at a time."""

    def __init__(
        self,
        *,
        store: Store,
        tree: Tree,
        settler: Settler,
        crew: Crew,
        progress: Progress,
        choices: Choices,
        emit: Callable[[ObjectEvent], None],
        tally: Tally,
        ledger: Ledger | None = None,
        sums: Sums | None = None,
    ) -> None:
        self.store = store
        self.tree = tree
        self.settler = settler
        self.crew = crew
        self.progress = progress
        self.choices = choices
        self.ledger = ledger
        self.sums = sums
        self.tally = tally
        self.open_objects: set[large.LargeObject] = set()
        #: this service's ETags look like MD5s and are none: learnt from an object that came twice with equal bytes
        self.opaque_etags = False
        self._emit = emit
        self._lock = threading.Lock()
        self._in_a_row = 0
        self.window = Window(crew, store)
        self._swept: set[str] = set()
        self._sweeping = threading.Lock()
        self.leftovers = Leftovers(tree)
        #: a second process that takes some of it, where there can be one
        self.mate: Mate | None = None
        #: bytes that came for an object before it came back from there
        self._before: dict[str, int] = {}

    # --- one object ---------------------------------------------------------------------------------------

    def task(self, items: Sequence[Item]) -> Task:
        """A task for the crew. Errors of an object become its event; others leave the task and end the run."""
        return lambda worker: self._take_all(items, worker)

    def _take_all(self, items: Sequence[Item], worker: Worker) -> None:
        """Decide and fetch, one after the other, but send the requests of small objects ahead.

        So an answer is on its way while others are checked and written.
        """
        self.consider_mate()
        for item in items:
            self.attempt(item, worker, partial(self._begin, item, worker))
        if self.mate is not None:
            self.mate.flush()
            self.mate.look_on()

    def consider_mate(self) -> None:
        """Start the second process as soon as that pays."""
        if self.mate is not None:
            self.mate.consider()

    def attempt(self, item: Item, worker: Worker, begin: Callable[[], small.Ahead | None]) -> None:
        """Begin with `item`; what it asked for is pending then, and as many as may be stay so.

        Errors of `begin` are its event; those of objects that are ended meanwhile are not its own.
        """
        try:
            begun = begin()
        except S3pullError as error:
            self.failed(item.object, item.path, error)
        else:
            if begun is not None:
                worker.pending.append(begun)
                worker.make_way(self.window.width(item.object.size))

    def again(self, item: Item, reason: str, received: int) -> Task:
        """A task for an object that came back from the second process, for which so many bytes came there."""

        def task(worker: Worker) -> None:
            if received:
                self._before[item.path] = self._before.get(item.path, 0) + received
            self.attempt(item, worker, lambda: self.start(item, self.tree.directory(item.folder), reason, worker))

        return task

    def orphaned(self, item: Item) -> Task:
        """A task for an object of a second process that died: it may have its name, or be whole in a part file."""
        return lambda worker: self.attempt(item, worker, lambda: self._begin(item, worker, counted=True))

    def look_again(self) -> None:
        """A process that wrote here has died: what it left is to be found when a folder is come to again."""
        with self._sweeping:
            self._swept.clear()

    def make_directory(self, marker: RemoteObject, path: str) -> None:
        """A `dir/` object becomes a directory."""
        try:
            if not self.choices.dry_run:
                self.tree.directory(path)
                if self.ledger is not None:
                    self.ledger.note_folder(marker, path)
        except S3pullError as error:
            self.failed(marker, path, error)
        else:
            self.report(
                ObjectEvent(
                    *(Action.SKIPPED, marker.key, path, 0),
                    etag=marker.etag,
                    reason=Reason.DIRECTORY,
                    planned=self.choices.dry_run,
                )
            )

    def _begin(self, item: Item, worker: Worker, *, counted: bool = False) -> small.Ahead | None:
        """Decide, and do what is to be done; of a small object only the request is sent.

        `counted`: what is edited here was counted before.
        """
        if self.choices.dry_run:
            self._plan(item, worker)
            return None
        directory = self._folder(item.folder, worker)
        standing = self._look(item, directory, again=counted)
        decision = standing.decision
        if decision.edited and self.choices.mirror and not counted:
            self._count_edit()
        if not decision.fetch:
            worker.meter.done_bytes += item.object.size
            if self.ledger is not None and (
                decision.reason in (Reason.SAME_CHECKSUM, Reason.SAME_TIME)
                or (standing.listed and decision.reason == Reason.SAME_RECEIPT)
            ):
                self._adopt(item, directory, standing)
            by = standing.content if standing.listed else None
            self.finished(item, Action.SKIPPED, reason=decision.reason, worker=worker, by=by, verified=standing.listed)
        elif item.object.archived:
            raise archived(item.object)
        else:
            few = item.object.size <= small.SMALL
            alone = item.object.size <= large.SEGMENT
            if alone and self.leftovers and small.take_up(self, item, directory, decision.reason, worker):
                return None
            if self.mate is None or not self.mate.lend(item, decision.reason, large=not few):
                return self.start(item, directory, decision.reason, worker)
        return None

    def start(self, item: Item, directory: Directory, reason: str, worker: Worker) -> small.Ahead | None:
        """Fetch what was decided on; of a small object only the request is sent. Raises what the store and disk do."""
        if item.object.size <= small.SMALL:
            return small.ask(self, item, directory, reason)
        worker.catch_up()
        self.crew.stream()
        large.LargeObject(self, item, directory, reason).begin(worker)
        return None

    def _folder(self, relative: str, worker: Worker) -> Directory:
        """The directory, made if need be, and once a run rid of what nobody will use of earlier runs."""
        directory = worker.folder
        if directory is None or directory.relative != relative:
            directory = worker.folder = self.tree.directory(relative)
        if relative not in self._swept:
            with self._sweeping:  # nobody fetches there before it is known what is there
                if relative not in self._swept:
                    self.leftovers.look(directory, dead_age=KEEP_PARTS)
                    self._swept.add(relative)
        return directory

    def _look(self, item: Item, directory: Directory, *, again: bool = False) -> Standing:
        receipt = self.ledger.said(item.object.key, item.path) if self.ledger is not None else None
        standing = look(item, self.tree, directory, self.store, self.choices, receipt, again=again)
        return standing if self.sums is None else self.sums.hold(standing, item, directory, receipt)

    def _count_edit(self) -> None:
        with self._lock:
            self.tally.local_changes += 1

    def _adopt(self, item: Item, directory: Directory, standing: Standing) -> None:
        """A file that was here is the object: from now on it has a receipt."""
        assert self.ledger is not None
        assert standing.found is not None
        content = standing.content or content_of(directory, item.name, item.object.size)
        proven = standing.listed or standing.decision.reason == Reason.SAME_CHECKSUM
        said = self.ledger.said(item.object.key, item.path) if standing.decision.reason == Reason.SAME_RECEIPT else None
        pin = item.object._replace(version_id=said.version_id) if said is not None else item.object
        self.ledger.note(pin, item.path, standing.found, content, verified=proven)

    def _plan(self, item: Item, worker: Worker) -> None:
        """What `_begin` would do, for `--dry-run`: not even a folder is made."""
        try:
            directory = self.tree.directory(item.folder, create=False)
        except NothingThere:
            decision = plan.Decision(True, Reason.NEW)
            if self.sums is not None:
                self.sums.names(item.object.key)
        else:
            decision = self._look(item, directory).decision
            if decision.edited and self.choices.mirror:
                self._count_edit()
        if decision.fetch and item.object.archived:
            raise archived(item.object)
        action = Action.DOWNLOADED if decision.fetch else Action.SKIPPED
        self.finished(item, action, reason=decision.reason, worker=worker)

    def stated(self, item: Item) -> RemoteObject:
        """See `standing.stated_by`."""
        return stated_by(self.store, item)

    def part_size(self, item: Item) -> proof.PartSize:
        """See `standing.part_size`."""
        return part_size(self.store, item)

    def held(self, item: Item, stated: RemoteObject) -> RemoteObject:
        """`stated`, held to the checksum that a manifest locks. Raises ObjectChanged."""
        locked = item.object.checksum
        if not item.exact or locked is None:
            return stated
        if stated.checksum is None:
            return stated._replace(checksum=locked)
        if stated.checksum[::2] == locked[::2] and not checksums.same(locked, stated.checksum):
            raise ObjectChanged(f"{stated.key} has another checksum than the manifest says", key=stated.key)
        return stated

    def repinned(self, item: Item, error: ObjectChanged, repins: int) -> Item:
        """The item with the object as it is now. Raises where that cannot help."""
        pin = item.object
        if item.exact:
            raise ObjectChanged(
                f"{pin.key} is not what the manifest locks any more",
                hint="its owner replaced it: make a new manifest with s3pull lock",
                key=pin.key,
                now=error.now,
            ) from error
        if item.version_id is not None:
            raise error
        if repins >= _REPINS:
            raise ObjectChanged(
                f"{pin.key} was replaced {repins} times while it was read",
                hint="try again when its owner has stopped writing it",
                key=pin.key,
            ) from error
        now = self.store.head(pin.key, checksum=True)
        if now.etag == pin.etag and now.size == pin.size and (repins or error.now in (None, pin.etag)):
            raise ServiceError(
                f"the service refuses {pin.key} with the ETag that it states itself",
                hint="the endpoint is not consistent: try again, and tell who runs it",
                key=pin.key,
                code=error.code,
                status=error.status,
                request_id=error.request_id,
            ) from error
        return item._replace(object=now)

    def judge(self, item: Item, found: proof.Proof, doubted: Checksum | None) -> bool:
        """Whether the bytes may be published; False asks for them once more. Raises CheckFailed.

        `doubted` is what the first try of this object computed, where there was one: the same bytes twice mean that the
        ETag is no MD5 at all, different ones that the way is bad.
        """
        if found.equal or found.equal is None:
            if self.choices.require_checksum and not found.equal:
                raise CheckFailed(
                    f"{item.object.key} has no checksum that can be verified",
                    hint="leave --require-checksum out, or ask the owner to upload with a checksum",
                    key=item.object.key,
                )
            return True
        if found.doubt and doubted is not None and found.by == doubted and not self.choices.require_checksum:
            self.opaque_etags = True
            return True
        if doubted is None:
            return False
        algorithm = found.by.algorithm if found.by is not None else "checksum"
        raise CheckFailed(
            f"{item.object.key} arrived damaged twice: its {algorithm} does not match",
            hint="nothing was kept; if it stays so the stored object itself may be damaged: tell its owner",
            key=item.object.key,
        )

    # --- what became of it ----------------------------------------------------------------------------------

    def finished(
        self,
        item: Item,
        action: Action,
        *,
        reason: str,
        worker: Worker | None = None,
        received: int = 0,
        stated: RemoteObject | None = None,
        by: Checksum | None = None,
        verified: bool = False,
    ) -> None:
        """Report an object that is as it should be."""
        pin = stated or item.object
        checksum = by or pin.checksum
        if worker is not None:
            worker.meter.done_files += 1
        if self._before:
            received += self._before.pop(item.path, 0)
        self.report(
            ObjectEvent(
                action,
                pin.key,
                item.path,
                pin.size,
                received,
                pin.etag,
                pin.version_id,
                checksum,
                verified,
                reason,
                planned=self.choices.dry_run,
            )
        )

    def wrote(
        self, item: Item, stated: RemoteObject, found: FileStat, content: Checksum | None, *, verified: bool
    ) -> None:
        """A file has its final name, durably, and looks like `found`: write its receipt, where receipts are kept."""
        if self.ledger is not None and content is not None:
            self.ledger.note(stated, item.path, found, content, verified=verified)

    def failed(self, pin: RemoteObject, path: str | None, error: S3pullError, received: int = 0) -> None:
        """Report an object that failed or was refused. Raises `error` again where the whole run has to end."""
        if isinstance(error, Cancelled) and self.crew.stopping:
            raise error
        action = Action.REFUSED if isinstance(error, LocalEdit | NameRefused | Archived) else Action.FAILED
        if self._before and path is not None:
            received += self._before.pop(path, 0)
        self.report(
            ObjectEvent(
                action,
                pin.key,
                path,
                pin.size,
                received,
                pin.etag,
                pin.version_id,
                reason=error.reason,
                error=error,
                planned=self.choices.dry_run,
            )
        )
        with self._lock:
            common = isinstance(error, AccessDenied | ServiceError)
            self._in_a_row = self._in_a_row + 1 if common else 0
            hopeless = common and not self.tally.good and self._in_a_row >= _HOPELESS
        if hopeless or self.choices.fail_fast or isinstance(error, DiskError | CredentialsError | Cancelled | Locked):
            raise error
        let_go(error)

    def report(self, event: ObjectEvent) -> None:
        """Count it and tell it."""
        with self._lock:
            self.tally.counts[event.action] += 1
            if event.error is None:
                self._in_a_row = 0
            else:
                self.tally.exits.add(event.error.exit_code)
            self._emit(event)


def archived(pin: RemoteObject) -> Archived:
    """The error of an object that only its owner can make readable."""
    return Archived(
        f"{pin.key} lies in {pin.storage_class} and is not restored",
        hint="its owner has to restore it (s3:RestoreObject); then get it again",
        key=pin.key,
    )
