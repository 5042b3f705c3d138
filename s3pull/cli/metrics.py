"""`sync --metrics FILE`: what a run came to, as Prometheus reads it from a file (node_exporter's textfile collector).

The file is replaced whole, after every run that did not end by a kill, and keeps the time of the last success through
runs that fail. Source and destination are labels, so that the files of several mirrors can lie in one folder.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from s3pull import __version__
from s3pull.errors import DiskError, UsageError
from s3pull.events import Summary

if TYPE_CHECKING:
    from s3pull.cli.render import Output

_SUCCESS = "s3pull_sync_last_success_timestamp_seconds"
_ACTIONS = ("downloaded", "resumed", "skipped", "deleted", "refused", "failed")
_LARGEST = 64 * 1024


@contextmanager
def metered(file: str | None, source: str, dest: Path, out: Output) -> Iterator[None]:
    """Write `file` when the block is left, however; what `out` was told last is what it came to. None: nothing.

    Raises UsageError at once where there is no folder for the file, DiskError at the end where it cannot be written.
    """
    if file is None:
        yield
        return
    path = Path(file)
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"--metrics {file!r}: there is no such folder, or it is one", hint="make its folder first")
    began = time.monotonic()

    def write(code: int) -> None:
        labels = {"source": source, "dest": str(dest.absolute())}
        _replace(path, page(out.told or Summary(), code, time.monotonic() - began, labels, before=_text(path)))

    try:
        yield
    except BaseException as raised:
        with suppress(DiskError):  # the first trouble is the one to tell
            write(_exit_of(raised))
        raise
    else:
        write(out.told.exit if out.told is not None else 0)


def _exit_of(raised: BaseException) -> int:
    from s3pull.cli.exits import SIGPIPE_EXIT, Ended, translate

    if isinstance(raised, Ended):
        return int(raised.exit_code)
    if isinstance(raised, BrokenPipeError):
        return SIGPIPE_EXIT
    error = translate(raised)
    return error.exit_code if error is not None else 1


def page(
    summary: Summary,
    code: int,
    seconds: float,
    labels: dict[str, str],
    *,
    before: str = "",
    clock: Callable[[], float] = time.time,
) -> str:
    """The file of a run that took `seconds` and ends now with the exit `code`; `before` is that of the run before."""
    said = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    now = clock()
    success = now if code == 0 else _last_success(before, said)
    lines: list[str] = []

    def gauge(name: str, text: str, *values: tuple[str, float]) -> None:
        lines.extend((f"# HELP {name} {text}", f"# TYPE {name} gauge"))
        lines.extend(f"{name}{{{said}{more}}} {_number(value)}" for more, value in values)

    gauge("s3pull_sync_last_run_timestamp_seconds", "When the last run ended.", ("", now))
    if success is not None:
        gauge(_SUCCESS, "When a run last ended with exit 0.", ("", success))
    gauge("s3pull_sync_exit_code", "The exit code of the last run.", ("", code))
    gauge("s3pull_sync_duration_seconds", "How long the last run took.", ("", round(seconds, 3)))
    gauge("s3pull_sync_received_bytes", "Bytes that the last run received.", ("", summary.received))
    counts = [(f',action="{action}"', float(getattr(summary, action))) for action in _ACTIONS]
    gauge("s3pull_sync_objects", "Objects of the last run, by what became of them.", *counts)
    gauge("s3pull_sync_failures", "Objects that failed or were refused.", ("", summary.failed + summary.refused))
    gauge("s3pull_sync_local_changes", "Files that were changed here and replaced.", ("", summary.local_changes))
    gauge("s3pull_sync_info", "Which s3pull it was.", (f',version="{_escaped(__version__)}"', 1))
    return "\n".join(lines) + "\n"


def _last_success(before: str, labels: str) -> float | None:
    found = re.search(rf"^{_SUCCESS}\{{{re.escape(labels)}\}} ([0-9.]+)$", before, re.MULTILINE)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def _escaped(value: str) -> str:
    text = value.encode("utf-8", "backslashreplace").decode()  # a file name that is no text
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 3))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""


def _replace(path: Path, text: str) -> None:
    """Whole or not at all, and readable as the umask says: whoever collects it is another user."""
    # node_exporter reads *.prom: a name that does not end so is not collected half written
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with new.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(new, path)  # noqa: PTH105
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise DiskError(
            f"cannot write the metrics to {path}: {(error.strerror or str(error)).lower()}",
            hint="the sync itself is done; --metrics wants a folder that can be written",
        ) from None
