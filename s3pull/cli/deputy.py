"""What a Dask worker runs: opens the source by itself, from its own configuration and environment, and does an errand.

This is a command line without a command: it wires, as `wiring` does for commands, and says nothing. Its credentials
are the worker's; there is nobody to ask for an MFA code.
"""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3pull import __version__
from s3pull.cli.options import AccessChoice, OutputChoice
from s3pull.cli.render import Output
from s3pull.errors import S3pullError, UsageError
from s3pull.pull.deputy import check_dest, do
from s3pull.pull.errand import Answer, Errand, Way, version_of
from s3pull.pull.fleet import told_of
from s3pull.pull.opening import OpenSource, open_source

if TYPE_CHECKING:
    from s3pull.pull.progress import Progress


class _Silent(Output):
    """Nobody looks on, and nobody is there to be asked."""

    def __init__(self) -> None:
        super().__init__(OutputChoice(quiet=True), stdout=io.StringIO(), stderr=io.StringIO())

    def asker(self) -> Callable[[str], str] | None:
        return None


def do_errand(text: str, topic: str) -> str:
    """Do the errand `text` and return the answer's; how far it is goes to `topic`."""
    from distributed import get_worker

    worker = get_worker()
    attempt = uuid.uuid4().hex
    answer = Answer()
    ident = ""
    try:
        if version_of(text) != __version__:
            raise UsageError(
                f"it has s3pull {__version__}, and {version_of(text)} is at work here", hint="install the same version"
            )
        errand = Errand.read(text)
        ident = errand.ident

        def report(progress: Progress) -> None:
            worker.log_event(topic, [ident, attempt, told_of(progress)])

        check_dest(errand)
        answer = do(errand, _opened(errand.way, errand.nonce, worker.state.nthreads).store, report)
    except S3pullError as error:
        answer.error = error
    answer.worker, answer.ident, answer.attempt = worker.address, ident, attempt
    return answer.text()


class _Kept:
    """The source of one run, open from its first errand on: its connections and its session serve all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: str | None = None
        self._stack = ExitStack()
        self._opened: OpenSource | None = None

    def get(self, run: str, opened: Callable[[ExitStack], OpenSource]) -> OpenSource:
        """What `opened` gave for this run; that of the run before is closed. Raises what `opened` raises."""
        with self._lock:
            if self._opened is None or run != self._run:
                self._stack.close()
                self._opened = None
                self._opened, self._run = opened(self._stack), run
            return self._opened


_kept = _Kept()


def _opened(way: Way, nonce: str, threads: int) -> OpenSource:
    def opened(stack: ExitStack) -> OpenSource:
        rate = max(1.0, way.limit_rate * threads / max(way.slots, threads)) if way.limit_rate is not None else None
        choice = AccessChoice(values=_values(way.options), config=Path(way.config) if way.config is not None else None)
        found = stack.enter_context(open_source(choice, way.source, _Silent(), limit_rate=rate))
        _check(way, found)
        return found

    return _kept.get(nonce, opened)


def _values(options: dict[str, Any]) -> dict[str, object]:
    """JSON has no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _check(way: Way, found: OpenSource) -> None:
    """Raise UsageError where the worker's own configuration leads elsewhere than that of the run."""
    inside = way.root.startswith(found.prefix)
    if (found.access.bucket, found.endpoint_host) != (way.bucket, way.endpoint) or not inside:
        raise UsageError(
            f"its configuration takes {way.source} for s3://{found.access.bucket}/{found.prefix}, "
            f"not for s3://{way.bucket}/{way.root}",
            hint="give workers the same config.toml (S3PULL_CONFIG), or name the source as s3://bucket/prefix",
        )
