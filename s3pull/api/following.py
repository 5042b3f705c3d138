"""How far a run is, told to a program: a callback, or tqdm's bar. The run has a thread of its own, so that callbacks
are called where the function was called: notebooks, event loops and user interfaces want it so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from s3pull.errors import Cancelled
from s3pull.pull.progress import Progress
from s3pull.records import NamedTuple

#: seconds between two calls
EVERY = 0.1


class Status(NamedTuple):
    """How far a run is. Sizes are bytes. Totals are None until something is known, and grow while a listing goes on.

    `received` counts what came over the network in this run; `done_bytes` also what was here already.
    """

    done_bytes: int
    total_bytes: int | None
    done_files: int
    total_files: int | None
    received: int
    seconds: float


Report = Callable[[Status], object]


class Run(Protocol):
    """`Get`, `Sync`."""

    progress: Progress
    stop: Callable[[BaseException | None], None]

    def run(self) -> None: ...


def follow(run: Run, progress: bool | Report | None, what: str) -> None:
    """Run it to its end and report meanwhile: to nobody, to a function, or (True) as tqdm's bar, called `what`.

    Raises what the run raises. An exception of the function, and Ctrl-C, stop the run first.
    """
    if progress is None or progress is False:
        _follow(run, lambda: None)
    elif progress is True:
        bar = _Bar(what)
        try:
            _follow(run, lambda: bar.show(status(run.progress)))
        finally:
            bar.close()
    else:
        _follow(run, lambda: progress(status(run.progress)))


def status(progress: Progress) -> Status:
    """The counters as they are now."""
    return Status(
        progress.done_bytes,
        progress.total_bytes,
        progress.done_files,
        progress.total_files,
        progress.received,
        time.monotonic() - progress.started,
    )


def _follow(run: Run, report: Callable[[], object]) -> None:
    ended = threading.Event()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run.run()
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name="s3pull-run", daemon=True)
    thread.start()
    try:
        while not ended.wait(EVERY):
            report()
        report()
    except BaseException:
        run.stop(Cancelled("stopped by the caller"))
        thread.join()
        raise
    thread.join()
    if raised:
        raise raised[0]


class _Bar:
    """tqdm.auto: a widget in notebooks, text on stderr elsewhere."""

    def __init__(self, what: str) -> None:
        from tqdm.auto import tqdm

        self._bar: Any = tqdm(desc=what, unit="B", unit_scale=True, unit_divisor=1024)

    def show(self, now: Status) -> None:
        self._bar.total = now.total_bytes
        self._bar.set_postfix_str(f"{now.done_files:,} files", refresh=False)
        self._bar.update(now.done_bytes - self._bar.n)

    def close(self) -> None:
        self._bar.close()
