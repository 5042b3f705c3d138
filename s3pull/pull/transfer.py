"""The machinery of one run: crew, tree, settler and puller, from opening to the summary. `get`, `sync` and `verify`
bring the tasks; what they are to fetch is none of this module's business.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from s3pull.errors import Cancelled, S3pullError
from s3pull.events import Action, ObjectEvent, Summary
from s3pull.local.settle import Settler
from s3pull.local.tree import Tree
from s3pull.pull.cores import cores
from s3pull.pull.crew import Crew, Task
from s3pull.pull.ledger import Ledger
from s3pull.pull.mate import Mate, idle_seconds, stream_cores
from s3pull.pull.progress import Progress
from s3pull.pull.puller import Choices, Puller, Tally
from s3pull.pull.spare import LEAST_JOBS, Spare
from s3pull.remote.store import Store

if TYPE_CHECKING:
    from s3pull.local.receipts import Brief, Receipts
    from s3pull.objects import RemoteObject
    from s3pull.pull.sums import Sums

MOST_CONNECTIONS = 256


class Transfer:
    """One run. `stop` may be called from any thread or a signal handler, also before there is a puller.

    `store` None: nothing will be fetched. `spare` is for a second process, where there will be one.
    """

    def __init__(
        self,
        store: Store | None,
        choices: Choices,
        jobs: int,
        emit: Callable[[ObjectEvent], None],
        spare: Spare | None = None,
    ) -> None:
        self.progress = Progress()
        self.store = store
        self.choices = choices
        #: counts what became of objects, also of those that were never a task
        self.tally = Tally()
        #: what objects are held to, where that was asked for; to be loaded when the source is known
        self.sums = _sums(choices)
        self._emit = emit
        self._jobs = jobs
        self._spare = spare
        self._began = time.time()
        enough = stream_cores(store.twin() if store is not None else None)
        self.crew = Crew(
            jobs=jobs,
            progress=self.progress,
            throttles=lambda: store.patience.throttles if store is not None else 0,
            latency=lambda: store.latency if store is not None else 0.0,
            waited=lambda: store.waited if store is not None else 0.0,
            least_streams=2 if enough == math.inf and cores() > 1 else 1,
            stream_cores=enough,
            idle_seconds=idle_seconds,
            on_stop=self._on_stop,
        )
        self._puller: Puller | None = None

    @contextmanager
    def open(self, tree: Tree, ledger: Ledger | None = None) -> Iterator[Puller]:
        """A puller into `tree` for as long as the block runs; `work` it. What is unfinished then is kept to go on from.

        The first error of a worker is raised even where another one (an interrupted listing) ended the block.
        """
        assert self.store is not None
        settler = Settler(durable=self.choices.durable)
        self._puller = puller = Puller(
            store=self.store,
            tree=tree,
            settler=settler,
            crew=self.crew,
            progress=self.progress,
            choices=self.choices,
            emit=self._emit,
            tally=self.tally,
            ledger=ledger,
            sums=self.sums,
        )
        puller.mate = mate = self._mate(puller)
        try:
            yield puller
            settler.close()
            if self.crew.error is not None:  # the last files were settled, and whoever was told of them objected
                raise self.crew.error
            puller.leftovers.clear()
        except BaseException as error:
            self.crew.stop(error)
            self.crew.join(1.0)
            self.raise_first(error)
            raise
        finally:
            if mate is not None:
                mate.close()
            for unfinished in list(puller.open_objects):
                unfinished.close()
            settler.close(abandon=True)

    def work(self, batches: Iterable[list[Task]]) -> None:
        """Do all tasks, to the end. Raises the error that ended the run early."""
        puller = self._puller
        for tasks in batches:
            if puller is not None:
                puller.consider_mate()
            if not self.crew.submit(tasks):
                break
        if puller is not None and puller.mate is not None:
            puller.mate.listed()
            self.crew.drain()
            puller.mate.end()
            puller.settler.flush()  # while the other process does the same
            puller.mate.wait()
        self.crew.finish()

    def _mate(self, puller: Puller) -> Mate | None:
        if self.choices.dry_run or self._jobs < LEAST_JOBS or cores() < 2 or self.store is None:
            return None
        twin = self.store.twin()
        return Mate(puller, twin, self._jobs // 2, self.crew.hurry, self._spare) if twin is not None else None

    def _on_stop(self) -> None:
        if self.store is not None:
            self.store.interrupt()
        if self._puller is not None and self._puller.mate is not None:
            self._puller.mate.kill()

    # --- a list of checksums (`sums`), for a run that compares before it fetches; without one nothing happens --------

    def watched(
        self, pages: Callable[[], Iterator[list[RemoteObject]]], root: str, wanted: Callable[[str], bool]
    ) -> Callable[[], Iterator[list[RemoteObject]]]:
        """`pages`, seen by the list, which is read now. Raises what `Sums.load` raises."""
        sums = self.sums
        if sums is None or self.store is None:
            return pages
        sums.load(self.store, root)
        return lambda: sums.watching(pages(), wanted)

    def briefs(self, receipts: Receipts) -> Iterator[Brief]:
        """The receipts by key; one that is not to be believed has no ETag."""
        found = receipts.briefs(proven=self.choices.require_checksum)
        return found if self.sums is None else self.sums.unheld(found, receipts.find)

    def tell_missing(self, wanted: Callable[[str], bool]) -> None:
        """Tell of what the list names and `watched` did not show. Raises the first with --fail-fast."""
        for error in self.sums.missing(wanted) if self.sums is not None else ():
            self.tally.counts[Action.FAILED] += 1
            self.tally.exits.add(error.exit_code)
            self._emit(
                ObjectEvent(
                    *(Action.FAILED, error.key or "", None),
                    reason=error.reason,
                    error=error,
                    planned=self.choices.dry_run,
                )
            )
            if self.choices.fail_fast:
                raise error

    def raise_first(self, error: BaseException) -> None:
        """Where `error` only says that the run was stopped, raise what stopped it."""
        first = self.crew.error
        if isinstance(error, Cancelled) and first is not None and first is not error:
            raise first from None

    def stop(self, error: BaseException | None = None) -> None:
        """End the run soon: sockets are shut, part files stay."""
        self.crew.stop(error)

    def stop_if_told(self) -> None:
        """Raise what stopped the crew (a deadline, a receipt that could not be written), between two steps."""
        if self.crew.stopping and self.crew.error is not None:
            raise self.crew.error

    @contextmanager
    def deadline(self, seconds: float | None, error: S3pullError) -> Iterator[None]:
        """`stop` with `error` when `seconds` have passed, unless the block was left before. None: never."""
        if seconds is None:
            yield
            return
        timer = threading.Timer(seconds, self.stop, (error,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def summary(self, source: str, error: S3pullError | None = None) -> Summary:
        """The last event; `error` is what ended the run early."""
        counts = self.tally.counts
        return Summary(
            downloaded=counts[Action.DOWNLOADED],
            resumed=counts[Action.RESUMED],
            skipped=counts[Action.SKIPPED],
            deleted=counts[Action.DELETED],
            refused=counts[Action.REFUSED],
            failed=counts[Action.FAILED],
            local_changes=self.tally.local_changes,
            unlisted=self.sums.unlisted if self.sums is not None else 0,
            received=self.progress.received,
            seconds=round(time.time() - self._began, 3),
            source=source,
            started=datetime.fromtimestamp(self._began, UTC).isoformat(timespec="milliseconds"),
            exit=self._exit(error),
        )

    def _exit(self, error: S3pullError | None) -> int:
        """0, the run's own error, the one cause that all failures share if nothing went well, or 3."""
        if error is not None:
            return error.exit_code
        tally = self.tally
        if not tally.exits:
            return 0
        if 6 in tally.exits and (self.choices.require_checksum or self.choices.checksums is not None):
            return 6
        return tally.exits.copy().pop() if len(tally.exits) == 1 and not tally.good else 3


def _sums(choices: Choices) -> Sums | None:
    if choices.checksums is None:
        return None
    from s3pull.pull.sums import Sums  # late: few runs have a list

    return Sums(choices.checksums, strict=choices.require_checksum)
