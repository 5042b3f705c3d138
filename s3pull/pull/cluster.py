"""Dask: connects to a scheduler, or starts workers here, and carries errands to them. The one module that knows it.

Errands and answers are text (`errand`), and the function that does them is named, not sent: workers have s3pull
themselves. An errand whose worker died is given to another one by the scheduler, up to its `allowed-failures`. Nothing
is ever done here instead: a scheduler that cannot be reached, or has no workers, is an error.

https://distributed.dask.org/en/stable/client.html, https://distributed.dask.org/en/stable/killed.html
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from s3pull.errors import S3pullError, ServiceError, UsageError
from s3pull.pull.errand import Answer, Errand
from s3pull.pull.workers import Workers

#: what does an errand: its text in, the answer's text out; a function of a module, by whose name workers find it
Doer = Callable[[str, str], str]

#: seconds for a scheduler to answer
ANSWER = 10.0
#: seconds without any worker, after which none is waited for: some schedulers start them when there is work
NOBODY = 60.0
_BEAT = 0.5
_LOOK = 5.0
#: errands at the scheduler beyond those that are being done
_WAITING = 2
_GUESS = 4


@contextmanager
def connected(
    workers: Workers, doer: Doer, *, verbose: bool = False, answer: float = ANSWER, nobody: float = NOBODY
) -> Iterator[Cluster]:
    """An open way to `workers`. Raises UsageError where Dask is not installed, ServiceError where nobody answers."""
    distributed: Any
    try:
        import distributed
    except ImportError:
        raise UsageError("--dask needs Dask, which is not installed", hint="pip install 's3pull[dask]'") from None
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)  # it tells of every lost worker, with its stack
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages whose versions differ: errands are plain text
        address: Any = workers.address
        if address is None:
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers.local,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address=None,
                    silence_logs=logging.WARNING if verbose else logging.CRITICAL + 1,
                )
            )
        try:
            client = distributed.Client(address, timeout=answer, set_as_default=False, name="s3pull")
        except (OSError, TimeoutError, ValueError) as error:
            raise ServiceError(
                f"cannot reach the Dask scheduler {workers}: {_first_line(error)}",
                hint="nothing was fetched; see whether it runs, and whether its port can be reached from here",
            ) from None
        stack.callback(client.close, timeout=answer)
        yield Cluster(client, workers, doer, nobody)


class Cluster:
    """A `fleet.Carrier`."""

    def __init__(self, client: Any, workers: Workers, doer: Doer, nobody: float) -> None:
        """Use `connected`."""
        self._client = client
        self._workers = workers
        self._doer = doer
        self._nobody = nobody
        self._presence = _Presence(self._threads)

    @property
    def slots(self) -> int:
        """Threads of all workers that are there; a guess where there are none yet."""
        return self._presence.threads() or _GUESS

    def carry(
        self, errands: Iterator[Errand], report: Callable[[str, str, Any], None], stopped: Callable[[], bool]
    ) -> Generator[Answer]:
        """See `fleet.Carrier`."""
        topic = f"s3pull-{uuid.uuid4().hex}"
        ready: queue.Queue[Any] = queue.Queue()
        under_way: set[Any] = set()
        more = True

        def told(event: tuple[float, Any]) -> None:
            report(*event[1])

        self._client.subscribe_topic(topic, told)
        try:
            while not stopped():
                while more and len(under_way) < self.slots * _WAITING:
                    errand = next(errands, None)
                    if errand is None:
                        more = False
                        break
                    future = self._client.submit(
                        self._doer, errand.text(), topic, key=f"s3pull-{errand.ident}", pure=False
                    )
                    under_way.add(future)
                    future.add_done_callback(ready.put)
                if not under_way:
                    return
                try:
                    future = ready.get(timeout=_BEAT)
                except queue.Empty:
                    self._check()
                    continue
                under_way.discard(future)
                yield self._answer(future)
        finally:
            for future in under_way:
                future.cancel()
            self._client.unsubscribe_topic(topic)

    def _answer(self, future: Any) -> Answer:
        """What came of an errand. Raises ServiceError where nothing did."""
        if future.status == "finished":
            return Answer.read(future.result())
        if future.status != "error":
            raise self._lost()
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            raise ServiceError(
                f"Dask gave up on a part of the work: {_first_line(error)}",
                hint="what was fetched is kept; the log of that worker may say why it died",
            )
        if isinstance(error, ImportError):
            raise UsageError(
                f"a Dask worker cannot load s3pull: {_first_line(error)}", hint="install this version of s3pull there"
            )
        raise S3pullError(f"a Dask worker failed: {type(error).__name__}: {_first_line(error)}")

    def _check(self) -> None:
        """Raise ServiceError where no answer will come."""
        if self._client.status != "running":
            raise self._lost()
        if self._presence.nobody_for() > self._nobody:
            raise ServiceError(
                f"the Dask scheduler {self._workers} has no workers",
                hint="start some, for example dask worker ADDRESS; what was fetched is kept",
            )

    def _lost(self) -> ServiceError:
        return ServiceError(
            f"lost the Dask scheduler {self._workers}", hint="what was fetched is kept: run it again to go on"
        )

    def _threads(self) -> int:
        """Of all workers together. Raises ServiceError."""
        try:
            return sum(self._client.nthreads().values())
        except (OSError, TimeoutError, AttributeError):  # the last: its connection was taken away meanwhile
            raise self._lost() from None


class _Presence:
    """How many threads there are, asked now and then, and for how long there was none."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._count = 0
        self._looked: float | None = None
        self._seen = time.monotonic()

    def threads(self) -> int:
        now = time.monotonic()
        if self._looked is None or now - self._looked >= _LOOK:
            self._count, self._looked = self._ask(), now
        if self._count:
            self._seen = self._looked
        return self._count

    def nobody_for(self) -> float:
        """Seconds."""
        return 0.0 if self.threads() else time.monotonic() - self._seen


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
