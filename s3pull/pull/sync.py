"""`sync`: makes a folder mirror a source. Compares, judges, then fetches and deletes what differs. Prints nothing.

    listing + receipts + disk  --compare-->  changes  --survey, guard-->  what it costs  --puller, removal-->  the tree

Law:

1. Nothing is fetched or deleted before the listing is complete and every guard has let the run pass.
2. A receipt is written when its file is durable under its name, and removed after its file. So a kill leaves at worst
   files without receipts: the next run takes them up by their checksums.
3. Only a file that has a receipt of this source is deleted.
4. The run lock is held throughout, and looked at again before each deletion and each commit.

A shard is the same for a part of the objects, and several run at once. So it holds no lock, deletes nothing and writes
into receipts of its own (`local.shadow`); it judges all names, as a whole run would, and fetches its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from s3pull.errors import DeadlineReached, NothingThere, S3pullError
from s3pull.events import Action, ObjectEvent, Preflight, Reason, Summary
from s3pull.local import expected, journals
from s3pull.local.mirror import PLAIN, PUBLISH, Beginning, Mirror, State, check_mirror, unknown_source
from s3pull.local.parts import sweep
from s3pull.local.receipts import Receipts
from s3pull.local.runlock import RunLock
from s3pull.local.shadow import Shadow, shadowed
from s3pull.local.tree import Tree
from s3pull.pull.changes import Changes
from s3pull.pull.deeds import Deeds, Held, part_age
from s3pull.pull.fleet import Fleet
from s3pull.pull.globs import Filters
from s3pull.pull.guard import Limit
from s3pull.pull.judgement import Judgement, Pages
from s3pull.pull.manifest import Manifest
from s3pull.pull.publish import Publication, Publishing
from s3pull.pull.puller import Choices
from s3pull.pull.shards import Shard
from s3pull.pull.source import SourceSpec
from s3pull.pull.spare import Spare
from s3pull.pull.transfer import MOST_CONNECTIONS, Transfer
from s3pull.records import NamedTuple
from s3pull.remote.store import Store


class SyncOrder(NamedTuple):
    """What to mirror: a parsed source below `prefix` (the share's), into the folder `dest`, under which choices.

    `endpoint` is the host of a service that is not AWS, else ''. `deadline` and `wait` are seconds. `locked`: these
    objects, whatever the source lists. `payer` says who pays, for the preflight. `shard`: only these of the objects,
    and others at the same time; then nothing is deleted or published. `fleet`: these fetch, what this run plans.
    """

    spec: SourceSpec
    dest: Path
    bucket: str
    endpoint: str = ""
    prefix: str = ""
    choices: Choices = Choices()
    filters: Filters = Filters()
    encode_names: bool = False
    delete: bool = False
    max_delete: Limit | None = None
    publishing: Publishing | None = None
    deadline: float | None = None
    wait: float = 0.0
    locked: Manifest | None = None
    jobs: int = MOST_CONNECTIONS
    payer: str = ""
    shard: Shard | None = None
    fleet: Fleet | None = None


class Voice(NamedTuple):
    """Who is told of objects, of the preflight, of what people should know (`say`), or may (`note`).

    `every`: of unchanged objects, too.
    """

    event: Callable[[ObjectEvent], None]
    preflight: Callable[[Preflight], None]
    say: Callable[[str], None]
    note: Callable[[str], None] = lambda _: None
    every: bool = False


class _Place(NamedTuple):
    """The destination, open: its tree, what is kept about it (None: a dry run into nothing) and the run lock (None: a
    dry run, or a shard); what it is to mirror, and what it did `before`. `dry`: nothing is written.
    """

    tree: Tree
    state: State | None
    lock: RunLock | None
    mirror: Mirror
    before: Mirror | None
    dry: bool

    def check(self) -> None:
        """Raise Locked where the run lock is not ours any more."""
        if self.lock is not None:
            self.lock.check()

    def note(self) -> None:
        """It is known that there is something to mirror: from now on this is the source's."""
        if self.state is not None and not self.dry and self.before != self.mirror:
            self.state.note(self.mirror)


class Sync:
    """One run. `run` blocks; `stop` may be called from any thread or a signal handler."""

    def __init__(self, order: SyncOrder, store: Store, voice: Voice, spare: Spare | None = None) -> None:
        self.transfer = Transfer(store, order.choices, order.jobs, self._event, spare)
        self.progress = self.transfer.progress
        self.stop = self.transfer.stop
        self._order = order
        self._voice = voice
        self._judgement = Judgement(order, store, self.transfer, voice)
        self._publication: Publication | None = None

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
                if state is not None and not order.choices.dry_run and order.shard is None:
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
                    sweep(tree.directory(""), dead_age=part_age(order, self.transfer))
            except S3pullError as error:
                self.transfer.raise_first(error)
                raise

    def summary(self, error: S3pullError | None = None) -> Summary:
        """The last event; `error` is what `run` raised."""
        return self.transfer.summary(self._order.spec.text, error)

    def _event(self, event: ObjectEvent) -> None:
        """Of an object, from the puller, and under its lock. What is new in a release may not be so in the mirror."""
        if self._publication is not None and event.reason == Reason.NEW and not event.planned:
            reason, edited = self._publication.why(event.key[len(self._judgement.root) :])
            self.transfer.tally.local_changes += edited
            event = event._replace(reason=reason)
        self._voice.event(event)

    # --- which source, which tree -------------------------------------------------------------------------

    def _mirror(self, tree: Tree, state: State | None, lock: RunLock | None) -> None:
        order = self._order
        pages = self._judgement.find()
        mirror = Mirror(
            *(order.bucket, order.endpoint, self._judgement.root, order.spec.text),
            *(PUBLISH if order.publishing is not None else PLAIN, order.encode_names),
            *(order.locked is not None, order.filters.rules),
        )
        before = state.mirror() if state is not None else None
        place = _Place(tree, state, lock, mirror, before, order.choices.dry_run)
        if place.before is not None:
            self._check_source(place.before, mirror)
        if order.publishing is None:
            self._in_place(place, pages)
        else:
            self._by_releases(place, pages, order.publishing)

    def _check_source(self, before: Mirror, now: Mirror) -> None:
        """Raises NothingThere where `before` was one object that is gone, UsageError where it is another source."""
        order = self._order
        alone = order.prefix + order.spec.fixed  # the root, were it an object
        if now.root != alone and before.source == now.source and before[:3] == (*now[:2], alone):
            raise NothingThere(
                f"nothing at {now.source}: the object that {str(order.dest)!r} mirrors is gone",
                hint="the file stays; remove it by hand if nobody needs it",
            )
        check_mirror(order.dest, now, before)

    def _in_place(self, place: _Place, pages: Pages) -> None:
        judgement, tree, mirror, before = self._judgement, place.tree, place.mirror, place.before
        with self._receipts(place) as receipts, Changes() as changes:
            if before is None and receipts is not None and receipts.count():
                raise unknown_source(self._order.dest)
            left: set[str] = set()
            mine = isinstance(receipts, Shadow)
            if place.state is not None and receipts is not None and before is not None and (place.lock or mine):
                journals.merge(place.state, mirror, tree, receipts, keep=mine)
                left = expected.take(tree, receipts)
            if isinstance(receipts, Shadow):
                receipts.report()
            renamed = before is not None and before.encode_names != mirror.encode_names
            found = judgement.compare(pages, tree, receipts, changes, renamed=renamed)
            costs = judgement.judge(found, changes, tree, receipts, disk=tree)
            place.note()
            self._deeds(place).apply(costs, changes, tree, receipts, place.check, left)

    def _by_releases(self, place: _Place, pages: Pages, publishing: Publishing) -> None:
        order, judgement = self._order, self._judgement
        with Publication(
            publishing, place.tree, place.state, place.check, durable=order.choices.durable
        ) as publication:
            self._publication = publication
            if place.before is None and publication.has_base:
                raise unknown_source(order.dest)
            base, known = publication.base_tree, publication.base_receipts
            with Changes() as changes:
                found = judgement.compare(pages, base, known, changes, renamed=False)
                judgement.judge(found, changes, base, known, disk=place.tree)
                place.note()
                if order.choices.dry_run:
                    self._deeds(place).plan(changes, base, known)
                elif found.wanted or (found.gone and order.delete) or not publication.has_base or publication.adopts:
                    self._publish(publication, changes, self._deeds(place))
                else:
                    publication.drop()
                    publication.prune()

    def _deeds(self, place: _Place) -> Deeds:
        held = Held(place.state, place.lock.nonce) if place.state is not None and place.lock is not None else None
        return Deeds(self._order, self.transfer, self._voice, self._judgement.root, held)

    @contextmanager
    def _receipts(self, place: _Place) -> Iterator[Receipts | None]:
        """What is known of the files here; None where nothing is, and nothing will be written."""
        dry, state = self._order.choices.dry_run, place.state
        if self._order.shard is not None:
            with shadowed(state, place.mirror, place.tree, report=not dry, note=self._voice.note) as shadow:
                shadow.on_error = self.transfer.stop
                yield shadow
            return
        if state is None or (dry and not state.receipts_path().exists()):
            yield None
            return
        with Receipts.open(
            state.receipts_path(), read_only=dry, durable=self._order.choices.durable, guard=place.check
        ) as receipts:
            receipts.on_error = self.transfer.stop
            yield receipts

    def _publish(self, publication: Publication, changes: Changes, deeds: Deeds) -> None:
        """Build the new release, and let `current` lead to it if nothing is missing."""
        order = self._order
        publication.link_unchanged(
            changes, carry_gone=not order.delete, stopped=self.transfer.stop_if_told, encoded=order.encode_names
        )
        tree, receipts = publication.stage()
        deeds.fetch(changes, tree, receipts)
        tally = self.transfer.tally
        if tally.exits:
            missing = tally.counts[Action.FAILED] + tally.counts[Action.REFUSED]
            words = "1 object is" if missing == 1 else f"{missing:,} objects are"
            self._voice.say(f"not published: {words} missing; what was fetched is kept for the next run")
            return
        publication.publish(changes, self._voice.note)
        if order.delete:
            deeds.tell_gone(changes, planned=False)
