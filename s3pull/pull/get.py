"""`get`: from a source to files. Finds the objects, keeps the crew fed, and sums up. Prints nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from s3pull.errors import Cancelled, NothingThere, S3pullError, UsageError
from s3pull.events import Action, ObjectEvent, Summary
from s3pull.local.settle import Settler
from s3pull.local.tree import Tree
from s3pull.objects import RemoteObject
from s3pull.pull import items
from s3pull.pull.crew import Crew, Task, Worker
from s3pull.pull.globs import Filters
from s3pull.pull.items import Marker, Naming
from s3pull.pull.progress import Progress
from s3pull.pull.puller import Choices, Item, Puller
from s3pull.pull.source import Dest, Kind, SourceSpec
from s3pull.remote.store import Store

#: Objects that one thread takes in a row, where there are enough for so many threads. Small ones then overlap.
_BATCH = 16
_BATCHES = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What to get: a parsed source below `prefix` (the share's), where to, and under which choices."""

    spec: SourceSpec
    dest: Dest
    prefix: str = ""
    choices: Choices = field(default_factory=Choices)
    filters: Filters = field(default_factory=Filters)
    encode_names: bool = False
    version_id: str | None = None
    #: lines of `--from-file`, where it was given
    lines: Iterable[str] | None = None
    jobs: int = 256


class Get:
    """One run of `get`. `run` blocks; `stop` may be called from any thread or a signal handler."""

    def __init__(self, order: Order, store: Store, emit: Callable[[ObjectEvent], None]) -> None:
        self.progress = Progress()
        self._order = order
        self._store = store
        self._emit = emit
        self._stopped = threading.Event()
        self._began = time.time()
        self._crew = Crew(
            jobs=order.jobs,
            progress=self.progress,
            throttles=lambda: store.patience.throttles,
            latency=lambda: store.latency,
            on_stop=store.interrupt,
        )
        self._puller: Puller | None = None

    def run(self) -> None:
        """Do all of it. Raises the error that ended the run early, if one did; objects' own failures are events."""
        order = self._order
        tree = Tree(Path(order.dest.folder), create=not order.choices.dry_run, durable=order.choices.durable)
        settler = Settler(durable=order.choices.durable)
        puller = self._puller = Puller(
            store=self._store,
            tree=tree,
            settler=settler,
            crew=self._crew,
            progress=self.progress,
            choices=order.choices,
            emit=self._emit,
        )
        try:
            naming = Naming(encode=order.encode_names, folds=tree.folds)
            for tasks in self._tasks(naming, puller):
                if not self._crew.submit(tasks):
                    break
            self._crew.finish()
            settler.close()
        except BaseException as error:
            self._crew.stop(error)
            self._crew.join(1.0)
            first = self._crew.error
            if isinstance(error, Cancelled) and first is not None:
                raise first from None  # a worker's error interrupted the listing: that error is the cause
            raise
        finally:
            for unfinished in list(puller.open_objects):
                unfinished.close()
            settler.close(abandon=True)
            tree.close()

    def stop(self, error: BaseException | None = None) -> None:
        """End the run soon: sockets are shut, part files stay."""
        self._crew.stop(error)

    def summary(self, error: S3pullError | None = None) -> Summary:
        """The last event; `error` is what `run` raised."""
        tally = self._puller.tally if self._puller is not None else None
        counts = tally.counts if tally is not None else dict.fromkeys(Action, 0)
        return Summary(
            downloaded=counts[Action.DOWNLOADED],
            resumed=counts[Action.RESUMED],
            skipped=counts[Action.SKIPPED],
            deleted=counts[Action.DELETED],
            refused=counts[Action.REFUSED],
            failed=counts[Action.FAILED],
            received=self.progress.received,
            seconds=round(time.time() - self._began, 3),
            source=self._order.spec.text,
            started=datetime.fromtimestamp(self._began, UTC).isoformat(timespec="milliseconds"),
            exit=self._exit(error),
        )

    def _exit(self, error: S3pullError | None) -> int:
        """0, the run's own error, the one cause that all failures share if nothing went well, or 3."""
        if error is not None:
            return error.exit_code
        if self._puller is None:
            return 0
        tally = self._puller.tally
        if not tally.exits:
            return 0
        if 6 in tally.exits and self._order.choices.require_checksum:
            return 6
        return tally.exits.copy().pop() if len(tally.exits) == 1 and not tally.good else 3

    # --- what there is to do ------------------------------------------------------------------------------

    def _found(self, naming: Naming) -> Iterator[list[tuple[RemoteObject, items.Found]]]:
        """All objects that the source names, page by page. Raises NothingThere where there are none."""
        order, spec, folder = self._order, self._order.spec, ""
        if spec.kind is Kind.OBJECT:
            key = order.prefix + spec.key
            found = items.exact(self._store, key, version_id=order.version_id)
            if found is not None:
                yield [(found, self._one(found, naming))]
                return
            spec, folder = spec.below(), order.dest.tree
        elif order.version_id is not None:
            raise UsageError("--version-id goes with one exact key", hint="name the object, not a tree or glob")
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
        if order.lines is not None:
            self.progress.total_files = 0
            asks = items.from_list(order.lines, self._store, order.prefix + order.spec.fixed, naming, order.filters)
            for key, ask in asks:
                self.progress.total_files += 1
                yield [_asking(key, ask, puller)]
            return
        files = size = 0
        for page in self._found(naming):
            tasks: list[Task] = []
            batch: list[Item] = []
            most = max(1, min(_BATCH, len(page) // _BATCHES))
            for found, what in page:
                files += 1
                size += found.size
                if not isinstance(what, Item):
                    tasks.append(_task(found, what, puller))
                    continue
                if len(batch) == most:
                    tasks.append(puller.task(batch))
                    batch = []
                batch.append(what)
            if batch:
                tasks.append(puller.task(batch))
            # a share of the total is better than none while the listing goes on: the bar grows with it
            self.progress.total_files, self.progress.total_bytes = files, size
            yield tasks


def _task(found: RemoteObject, what: items.Found, puller: Puller) -> Task:
    if isinstance(what, Item):
        return puller.task([what])
    if isinstance(what, Marker):
        return lambda _worker: puller.make_directory(found, what.path)
    return lambda _worker: puller.failed(found, None, what.error)


def _asking(key: str, ask: Callable[[], items.Found], puller: Puller) -> Task:
    """A task that first asks for the object at `key`."""

    def task(worker: Worker) -> None:
        unknown = RemoteObject(key, 0, "")
        try:
            what = ask()
        except S3pullError as error:
            puller.failed(unknown, None, error)
        else:
            _task(what.object, what, puller)(worker)

    return task


def _look(spec: SourceSpec) -> str:
    return f"`s3pull ls {spec.share}:` shows what is there" if spec.share else "`s3pull ls -r` shows what is there"
