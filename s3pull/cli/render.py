"""What a person or a script gets to see: events, errors and summaries as text or as JSON lines.

Data goes to stdout and everything else to stderr. All methods may be called from any thread. The bars are
`progress`'s; which exit code a thing has is `exits`'s.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO

from s3pull.errors import S3pullError
from s3pull.events import Action, ObjectEvent, Preflight, Summary, run_error_json
from s3pull.objects import JSON

if TYPE_CHECKING:
    from s3pull.cli.options import OutputChoice, ReportChoice
    from s3pull.cli.progress import Face
    from s3pull.pull.progress import Progress

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DONE = (Action.DOWNLOADED, Action.RESUMED)
_VERBS = {
    Action.DOWNLOADED: "download",
    Action.RESUMED: "resume",
    Action.SKIPPED: "skip",
    Action.DELETED: "delete",
    Action.REFUSED: "refuse",
    Action.FAILED: "fail",
}


def printable(text: str) -> str:
    """`text` with control characters, invisible ones and lone surrogates escaped: nothing moves the cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def human_size(count: float) -> str:
    """`0 B`, `823 B`, `4.0 KiB`, `1.2 GiB`"""
    unit = 0
    while count >= 1023.95 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def human_span(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`"""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 file`, `2 files`, `10,000 files`"""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def summary_line(summary: Summary, planned: int | None = None) -> str:
    """`3 files, 1.2 GiB in 4.1 s (299.7 MiB/s), 2 resumed, 5 already here`

    Of a dry run, which would have fetched `planned` bytes: `to download: 3 files, 1.2 GiB, 5 already here`
    """
    files = counted(summary.downloaded + summary.resumed, "file")
    line = f"{files}, {human_size(summary.received)} in {human_span(summary.seconds)}"
    if planned is not None:
        line = f"to download: {files}, {human_size(planned)}"
    elif summary.received and summary.seconds > 0.5:
        line += f" ({human_size(summary.received / summary.seconds)}/s)"
    named = (
        (summary.resumed, "resumed"),
        (summary.skipped, "already here"),
        (summary.deleted, "deleted" if planned is None else "to delete"),
        (summary.local_changes, "changed here"),
        (summary.refused, "refused"),
        (summary.failed, "failed"),
        (summary.unlisted, "not in the list of checksums"),
    )
    return line + "".join(f", {count:,} {word}" for count, word in named if count)


def preflight_lines(flight: Preflight) -> list[str]:
    """`at most 3 files, 1.2 GiB, 5 requests; 2 archived, 1 name refused; 12 files to delete (1.0 MiB)`, and who pays"""
    words = [counted(flight.files, "file"), human_size(flight.bytes), counted(flight.requests, "request")]
    line = f"to fetch, at most: {', '.join(words)}"
    if flight.archived or flight.refused:
        line += f"; {flight.archived:,} archived, {counted(flight.refused, 'name')} refused"
    if flight.delete:
        line += f"; to delete: {counted(flight.delete, 'file')}, {human_size(flight.delete_bytes)}"
    tail = f"paid by {flight.payer}" if flight.payer else ""
    if flight.free is not None:
        tail = f"{human_size(flight.free)} free here" + (f", {tail}" if tail else "")
    return [line, *([tail] if tail else [])]


def wants_color(stream: TextIO, environ: Mapping[str, str], *, allowed: bool = True) -> bool:
    """Colours only where a terminal shows them. https://no-color.org"""
    return allowed and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


def error_lines(error: S3pullError, *, verbose: int = 0, color: bool = False) -> list[str]:
    """`s3pull: message`, what a support ticket needs (with `-v`), what it means where that is known, `hint: …`."""
    name = "\033[31ms3pull:\033[0m" if color else "s3pull:"
    lines = [f"{name} {printable(error.message)}"]
    facts = {
        "code": error.code,
        "status": error.status,
        "request ID": error.request_id,
        "host ID": error.host_id,
    }
    told = ", ".join(f"{label} {value}" for label, value in facts.items() if value is not None)
    if verbose and told:
        lines.append(f"  {printable(told)}")
    if error.diagnosis:
        lines.append(f"{name} {printable(error.diagnosis)}")
    if error.hint:
        first, *rest = error.hint.splitlines()
        lines += [f"hint: {printable(first)}", *(f"      {printable(line)}" for line in rest)]
    return lines


def json_line(record: JSON) -> str:
    """One line, ASCII: valid in every locale and safe on every terminal."""
    return json.dumps(record, separators=(",", ":")) + "\n"


class Output:
    """One command's voice."""

    def __init__(
        self,
        choice: OutputChoice | ReportChoice,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.json = choice.json
        self.verbose = choice.verbose
        self.quiet = getattr(choice, "quiet", False)
        self._progress: bool | None = getattr(choice, "progress", None)
        self._environ = environ
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._color = wants_color(self._stderr, environ, allowed=not getattr(choice, "no_color", False))
        self._lock = threading.RLock()
        self._hints: set[str] = set()
        self._told: S3pullError | None = None
        #: the last summary
        self.told: Summary | None = None
        self._advise: Callable[[S3pullError, bool], None] = lambda _, __: None
        self._planned: int | None = None
        self._flight: Preflight | None = None
        self._face: Face | None = None

    def advised_by(self, advise: Callable[[S3pullError, bool], None]) -> None:
        """Let `advise` look at every error before it is told: it may add a diagnosis and a better hint.

        With the error it is told whether its object was seen in a listing.
        """
        self._advise = advise

    # --- stdout: data ------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """One line of data, as it is."""
        self.lines((text,))

    def lines(self, texts: Iterable[str]) -> None:
        """Many lines of data, as they are, and at once."""
        text = "".join([f"{text}\n" for text in texts])
        with self._lock, self._aside(self._stdout):
            self._stdout.write(text)

    def records(self, records: Iterable[JSON]) -> None:
        """Many lines of JSON, at once."""
        text = "".join(map(json_line, records))
        with self._lock, self._aside(self._stdout):
            self._stdout.write(text)
            self._stdout.flush()

    def record(self, record: JSON) -> None:
        """One line of JSON, at once."""
        self.records((record,))

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Columns, left-aligned, two spaces apart."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    # --- stderr: everything else -------------------------------------------------------------------------

    def say(self, text: str, *, hint: str | None = None) -> None:
        """What people should know, and what to do about it; not with `-q`."""
        if not self.quiet:
            self._tell(f"s3pull: {printable(text)}", *([f"hint: {printable(hint)}"] if hint else []))

    def note(self, text: str) -> None:
        """What only `-v` shows."""
        if self.verbose and not self.quiet:
            self._tell(f"s3pull: {printable(text)}")

    def complain(self, error: S3pullError, *, seen: bool = False) -> None:
        """An error as text, whatever `-q` says; the same hint is given once. `seen`: its object was listed."""
        self._advise(error, seen)
        with self._lock:
            lines = error_lines(error, verbose=self.verbose, color=self._color)
            if error.hint in self._hints:
                lines = [line for line in lines if not line.startswith(("hint: ", "      "))]
            elif error.hint:
                self._hints.add(error.hint)
            self._tell(*lines)

    # --- events ------------------------------------------------------------------------------------------

    def event(self, event: ObjectEvent) -> None:
        """One object is done with."""
        # what has an ETag before it was fetched was in a listing, of this run or of one that was kept
        seen = event.etag is not None
        if self.json:
            if event.error is not None:
                self._advise(event.error, seen)
            if event.action is not Action.SKIPPED or self.verbose:
                self.record(event.json())
        elif event.error is not None:
            self.complain(event.error, seen=seen)
            self._told = event.error
        elif event.planned:
            wanted = event.size or 0 if event.action in _DONE else 0
            with self._lock:
                self._planned = (self._planned or 0) + wanted
            why = f"  ({event.reason})" if event.reason else ""
            self.line(f"{_VERBS[event.action]}  {printable(event.path or event.key)}{why}")
        elif self.verbose:
            tail = f" ({event.reason})" if event.reason else ""
            self.note(f"{event.action} {event.path or event.key}{tail}")

    def preflight(self, flight: Preflight) -> None:
        """What a run is about to do. As text: after the plan of a dry run; at once on a terminal, or with `-v`."""
        if self.json:
            self.record(flight.json())
            return
        self._flight = flight
        if not self.quiet and (self.verbose or self._stderr.isatty()):
            self._tell(*(f"s3pull: {line}" for line in preflight_lines(flight)))
            self._flight = None

    def error(self, error: S3pullError) -> None:
        """The run failed as a whole; of an object that ended it people have heard already."""
        if self.json:
            self._advise(error, False)
            self.record(run_error_json(error))
        elif error is not self._told:
            self.complain(error)

    def summary(self, summary: Summary, *, text: str | None = None) -> None:
        """The last event of a run, in words `text` if given. With `-q` it is told only where the exit is not 0.

        Of a command that could not be meant so (2) nothing was begun, and there is nothing to sum up.
        """
        self.told = summary
        if self.json:
            self.record(summary.json())
        elif summary.exit != 2 and (summary.exit or not self.quiet):
            if self._planned is not None and self._flight is not None:
                self._tell(*preflight_lines(self._flight))
            self._tell(text or summary_line(summary, self._planned))

    # --- the terminal ------------------------------------------------------------------------------------

    @contextmanager
    def showing(self, progress: Progress) -> Iterator[None]:
        """Show how far a run is while the block runs: bars, lines every 30 s, or nothing."""
        from s3pull.cli.progress import open_face

        face = open_face(progress, self._stderr, wanted=self._progress, quiet=self.quiet, environ=self._environ)
        if face is None:
            yield
            return
        self._face = face
        try:
            yield
        finally:
            self._face = None
            face.close()

    def asker(self) -> Callable[[str], str] | None:
        """A function that asks at the terminal (an MFA code), or None where there is no terminal to ask at."""
        from s3pull.cli.terminal import ask, can_ask

        if not can_ask():
            return None

        def ask_aside(question: str) -> str:
            with self._lock, self._aside(self._stderr):
                return ask(question)

        return ask_aside

    def _tell(self, *lines: str) -> None:
        with self._lock, self._aside(self._stderr):
            self._stderr.write("".join(line + "\n" for line in lines))
            self._stderr.flush()

    def _aside(self, stream: TextIO) -> AbstractContextManager[None]:
        """Room for text on `stream`: bars in its way are cleared, and drawn again at the next tick."""
        return self._face.aside() if self._face is not None and stream.isatty() else nullcontext()
