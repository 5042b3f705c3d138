"""`get`: from a source to files. Finds the objects, keeps the crew fed, and sums up. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from s3pull.errors import ListedMissing, NothingThere, S3pullError, UsageError
from s3pull.events import ObjectEvent, Summary
from s3pull.local.tree import Tree
from s3pull.objects import RemoteObject
from s3pull.pull import items
from s3pull.pull.crew import Task, Worker
from s3pull.pull.globs import Filters, matcher
from s3pull.pull.items import Marker, Naming
from s3pull.pull.ledger import of_mirror
from s3pull.pull.puller import Choices, Item, Puller
from s3pull.pull.small import SMALL
from s3pull.pull.source import Dest, Kind, SourceSpec
from s3pull.pull.spare import Spare
from s3pull.pull.transfer import MOST_CONNECTIONS, Transfer
from s3pull.records import NamedTuple
from s3pull.remote.store import Store

#: Objects that one thread takes in a row, where there are enough for so many threads. Small ones then overlap.
_BATCH = 16
_BATCHES = 64


class Order(NamedTuple):
    """What to get: a parsed source below `prefix` (the share's), where to, and under which choices."""

    spec: SourceSpec
    dest: Dest
    prefix: str = ""
    choices: Choices = Choices()
    filters: Filters = Filters()
    encode_names: bool = False
    version_id: str | None = None
    #: lines of `--from-file`, where it was given
    lines: Iterable[str] | None = None
    jobs: int = MOST_CONNECTIONS
    #: whose receipts count, where DEST keeps some: the bucket, and the host of a service that is not AWS
    bucket: str = ""
    endpoint: str = ""


class Get:
    """One run of `get`. `run` blocks; `stop` may be called from any thread or a signal handler."""

    def __init__(
        self, order: Order, store: Store, emit: Callable[[ObjectEvent], None], spare: Spare | None = None
    ) -> None:
        self.transfer = Transfer(store, order.choices, order.jobs, emit, spare)
        self.progress = self.transfer.progress
        self.stop = self.transfer.stop
        self._order = order
        self._store = store

    def run(self) -> None:
        """Do all of it. Raises the error that ended the run early, if one did; objects' own failures are events."""
        choices = self._order.choices
        with (
            Tree(Path(self._order.dest.folder), create=not choices.dry_run, durable=choices.durable) as tree,
            of_mirror(tree, self._order.bucket, self._order.endpoint, choices) as ledger,
            self.transfer.open(tree, ledger) as puller,
        ):
            naming = Naming(encode=self._order.encode_names, folds=tree.folds)
            self.transfer.work(self._tasks(naming, puller))

    def summary(self, error: S3pullError | None = None) -> Summary:
        """The last event; `error` is what `run` raised."""
        return self.transfer.summary(self._order.spec.text, error)

    # --- what there is to do ------------------------------------------------------------------------------

    def _found(self, naming: Naming) -> Iterator[list[tuple[RemoteObject, items.Found]]]:
        """All objects that the source names, page by page. Raises NothingThere where there are none."""
        order, spec, folder = self._order, self._order.spec, ""
        sums = self.transfer.sums
        if spec.kind is Kind.OBJECT:
            key = order.prefix + spec.key
            found = items.exact(self._store, key, version_id=order.version_id)
            if found is not None:
                if sums is not None:
                    sums.load(self._store, order.prefix + spec.fixed)
                    sums.meet(key)
                yield [(found, self._one(found, naming))]
                return
            spec, folder = spec.below(), order.dest.tree
        elif order.version_id is not None:
            raise UsageError("--version-id goes with one exact key", hint="name the object, not a tree or glob")
        if sums is not None:
            sums.load(self._store, order.prefix + spec.fixed)
        some = False
        for page in items.listed(self._store, spec, order.prefix, naming, order.filters, folder=folder):
            some = some or bool(page)
            yield page
        if not some and not order.filters:
            raise NothingThere(f"nothing at {order.spec.text}", hint=_look(order.spec))

    def _one(self, found: RemoteObject, naming: Naming) -> items.Found:
        dest, version_id = self._order.dest, self._order.version_id
        if dest.name is not None:
            return Item(found, "", dest.name, version_id)
        return naming.place(found, found.key.rpartition("/")[2], version_id=version_id)

    def _tasks(self, naming: Naming, puller: Puller) -> Iterator[list[Task]]:
        order = self._order
        sums = self.transfer.sums
        if order.lines is not None:
            self.progress.total_files = 0
            if sums is not None:
                sums.load(self._store, order.prefix + order.spec.fixed)
            asks = items.from_list(order.lines, self._store, order.prefix + order.spec.fixed, naming, order.filters)
            for key, ask in asks:
                self.progress.total_files += 1
                if sums is not None:
                    sums.meet(key)
                yield [_asking(key, ask, puller)]
            return
        files = size = 0
        for page in self._found(naming):
            tasks: list[Task] = []
            wanted: list[Item] = []
            for found, what in page:
                if sums is not None:
                    sums.meet(found.key)
                files += 1
                size += found.size
                if isinstance(what, Item):
                    wanted.append(what)
                else:
                    tasks.append(task_of(found, what, puller))
            tasks += batched(wanted, puller)
            # a share of the total is better than none while the listing goes on: the bar grows with it
            self.progress.total_files, self.progress.total_bytes = files, size
            yield tasks
        yield [_missing(error, puller) for error in self._unmet()]

    def _unmet(self) -> Iterator[ListedMissing]:
        """What the list of `--checksums` names and the source, where it is a tree or a glob, has not."""
        spec, sums, filters = self._order.spec, self.transfer.sums, self._order.filters
        if sums is None or spec.kind is Kind.OBJECT:
            return iter(())
        matches = matcher(spec.path) if spec.kind is Kind.GLOB else None
        return sums.missing(
            lambda key: (matches is None or matches(spec.fixed + key)) and (not filters or filters.wants(key))
        )


def batched(wanted: list[Item], puller: Puller) -> list[Task]:
    """Tasks for many items: several small ones in a row for one thread, where there are enough for all, and each large
    one alone: what it is made of goes before the next.
    """
    most = max(1, min(_BATCH, len(wanted) // _BATCHES))
    rows: list[list[Item]] = []
    alone = True
    for item in wanted:
        large = item.object.size > SMALL
        if alone or large or len(rows[-1]) == most:
            rows.append([])
        rows[-1].append(item)
        alone = large
    return [puller.task(row) for row in rows]


def task_of(found: RemoteObject, what: items.Found, puller: Puller) -> Task:
    """The task of one object, whatever it came to."""
    if isinstance(what, Item):
        return puller.task([what])
    if isinstance(what, Marker):
        return lambda _worker: puller.make_directory(found, what.path)
    return lambda _worker: puller.failed(found, None, what.error)


def _missing(error: ListedMissing, puller: Puller) -> Task:
    return lambda _worker: puller.failed(RemoteObject(error.key or "", 0, ""), None, error)


def _asking(key: str, ask: Callable[[], items.Found], puller: Puller) -> Task:
    """A task that first asks for the object at `key`."""

    def task(worker: Worker) -> None:
        unknown = RemoteObject(key, 0, "")
        try:
            what = ask()
        except S3pullError as error:
            puller.failed(unknown, None, error)
        else:
            task_of(what.object, what, puller)(worker)

    return task


def _look(spec: SourceSpec) -> str:
    return f"`s3pull ls {spec.share}:` shows what is there" if spec.share else "`s3pull ls -r` shows what is there"
