"""The one place where errors become lines and exit codes.

| what ends the run                  | exit           | said                                   |
|------------------------------------|----------------|----------------------------------------|
| S3pullError                        | its own        | message, hint                          |
| Ctrl-C                             | 130            | one line, how to go on                 |
| SIGTERM                            | 143            | the same                               |
| stdout was closed (`… | head`)     | 141            | nothing                                |
| stdout cannot be written           | 5              | message                                |
| anything else: a fault of ours     | 1              | one line; the stack only when asked for |

With `--json` the same is said as a line `{"event":"error",…}`, and for a run a summary after it. What a command
has reported itself does not come here: it returns its exit code.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from s3pull.cli.render import error_lines, json_line, wants_color
from s3pull.errors import DiskError, S3pullError
from s3pull.events import Summary, run_error_json
from s3pull.records import NamedTuple

SIGPIPE_EXIT = 141
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
_RUNS = frozenset({"get", "sync"})


class Terminated(KeyboardInterrupt):
    """SIGTERM. Whoever cleans up after Ctrl-C cleans up after this."""


class Interrupted(S3pullError):
    """Ctrl-C, as it is reported."""

    exit_code = 130
    reason = "interrupted"


class Stopped(Interrupted):
    """SIGTERM, as it is reported."""

    exit_code = 143


class Ended(Exception):
    """The run is over, and what there is to say was said: by whom reported an error, or showed a help."""

    def __init__(self, exit_code: int = 0) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Voice(NamedTuple):
    """How errors are told, read from the raw command line: it must work where that cannot be parsed."""

    json: bool
    verbose: int
    color: bool
    command: str | None

    @classmethod
    def of(cls, args: Sequence[str]) -> Voice:
        options = list(args[: args.index("--")] if "--" in args else args)
        short = [arg[1:] for arg in options if arg[:1] == "-" and arg[1:].isalpha()]
        return cls(
            json="--json" in options,
            verbose=sum(text.count("v") for text in short) + options.count("--verbose"),
            color=wants_color(sys.stderr, os.environ, allowed="--no-color" not in options),
            command=next((arg for arg in options if not arg.startswith("-")), None),
        )

    def tell(self, error: S3pullError) -> None:
        if self.json:
            sys.stdout.write(json_line(run_error_json(error)))
            if self.command in _RUNS:
                sys.stdout.write(json_line(Summary(exit=error.exit_code).json()))
            sys.stdout.flush()
        else:
            sys.stderr.write(
                "".join(f"{line}\n" for line in error_lines(error, verbose=self.verbose, color=self.color))
            )
            sys.stderr.flush()


def guard(args: Sequence[str], work: Callable[[], int | None]) -> int:
    """Run `work` and return the process's exit code; everything that it raises is told."""
    _ensure_streams()
    voice = Voice.of(args)
    try:
        with _heeding_sigterm():
            try:
                code = _finished(work)
                sys.stdout.flush()
            except BrokenPipeError:
                raise
            except BaseException as raised:
                code = _told(voice, raised)
        return code
    except BrokenPipeError:
        _silence_stdout()
        return SIGPIPE_EXIT


def _finished(work: Callable[[], int | None]) -> int:
    try:
        return work() or 0
    except Ended as done:
        return done.exit_code


def _told(voice: Voice, raised: BaseException) -> int:
    error = translate(raised, resumes=voice.command in _RUNS)
    if error is None:
        raise raised
    if isinstance(error, Fault) and (voice.verbose > 1 or os.environ.get("S3PULL_DEBUG") == "1"):
        import traceback  # late: it loads what reads sources

        sys.stderr.write("".join(traceback.format_exception(raised)))
    if isinstance(raised, OSError):
        _silence_stdout()
    voice.tell(error)
    return error.exit_code


class Fault(S3pullError):
    """A fault in s3pull itself."""

    reason = "internal"


def translate(raised: BaseException, *, resumes: bool = False) -> S3pullError | None:
    """Any exception as one of ours; None for those that are none of our business (SystemExit)."""
    if isinstance(raised, S3pullError):
        return raised
    if isinstance(raised, KeyboardInterrupt):
        kind = Stopped if isinstance(raised, Terminated) else Interrupted
        return kind("stopped", hint="the same command goes on from here" if resumes else None)
    if isinstance(raised, OSError) and raised.errno in _FULL:
        # every room translates its own: what is left is the stream that the user gave us
        return DiskError(f"cannot write to stdout: {os.strerror(raised.errno or 0).lower()}")
    if isinstance(raised, Exception):
        return Fault(
            f"internal error: {type(raised).__name__}: {raised}",
            hint="this is a fault of s3pull: run it again with -vv and report what it prints",
        )
    return None


@contextmanager
def _heeding_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception of the main thread while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ensure_streams() -> None:
    """Where stdout or stderr was closed (`>&-`) put a sink in its place, before a file of ours gets its number.

    Both speak UTF-8 whatever the locale says, and what cannot be said even so is escaped: no key breaks a listing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        pass
