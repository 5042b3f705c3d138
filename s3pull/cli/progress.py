"""How far a run is, for people: bars on a terminal, a line now and then elsewhere.

A thread looks at the counters of `pull.progress.Progress` ten times a second; transfers never wait for it. It shows
one bar for everything and one for each of the first few large objects under way. It says nothing of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TextIO

from s3pull.cli.render import counted, human_size, printable
from s3pull.pull.progress import ActiveObject, Progress

TICK = 0.1
PLAIN_EVERY = 30.0
MOST_BARS = 8
_WINDOW = 3.0
_NARROW = 60
_TOTAL = "{percentage:3.0f}% |{bar}| {desc}"
_OPEN_END = "{desc}"
_LARGE = "{percentage:3.0f}% |{bar}| {desc}"


class Face(Protocol):
    """Something that shows progress until it is closed. `aside` clears the way for lines of text."""

    def aside(self) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


def open_face(
    progress: Progress, stream: TextIO, *, wanted: bool | None, quiet: bool, environ: Mapping[str, str] = os.environ
) -> Face | None:
    """The face that fits.

    | `-q`, `--no-progress` | terminal | `--progress` | shown            |
    |-----------------------|----------|--------------|------------------|
    | either                |          |              | nothing          |
    | neither               | yes      |              | bars             |
    | neither               | no, dumb | yes          | a line each 30 s |
    | neither               | no, dumb | no           | nothing          |
    """
    if quiet or wanted is False:
        return None
    if stream.isatty() and environ.get("TERM") != "dumb":
        return Bars(progress, stream)
    return Lines(progress, stream) if wanted else None


class Rate:
    """Bytes a second over the last few seconds. Counts what came over the network, not what was there before."""

    def __init__(self, window: float = _WINDOW) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, count: int) -> float:
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[0][0] > self._window:
            self._seen.popleft()
        then, before = self._seen[0]
        return (count - before) / (now - then) if now > then else 0.0


def clock_face(seconds: float) -> str:
    """`0:07`, `12:40`, `3:05:00`"""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def told(progress: Progress, rate: float, *, short: bool = False) -> str:
    """`1.2 GiB/3.4 GiB  3/10 files  52.1 MiB/s  0:12`; `short` leaves out the files and the total."""
    done, total = progress.done_bytes, progress.total_bytes
    files, all_files = progress.done_files, progress.total_files
    words = [human_size(done) if total is None or short else f"{human_size(done)}/{human_size(total)}"]
    if not short:
        words.append(counted(files, "file") if all_files is None else f"{files:,}/{counted(all_files, 'file')}")
    words.append(f"{human_size(rate)}/s")
    if total is not None and rate > 0 and total > done:
        words.append(clock_face((total - done) / rate))
    return "  ".join(words)


class _Ticking:
    """A thread that calls `draw` every so often, and a lock that it holds while it does."""

    def __init__(self, every: float, draw: Callable[[float], None]) -> None:
        self.lock = threading.RLock()
        self._every, self._draw = every, draw
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            with self.lock:
                if not self._over.is_set():
                    try:
                        self._draw(time.monotonic())
                    except (OSError, ValueError):  # the terminal is gone: the download is not
                        return

    def end(self) -> None:
        self._over.set()
        self._thread.join(2 * self._every if self._every < 1 else 1.0)


class Lines:
    """A plain line every 30 s, for logs."""

    def __init__(self, progress: Progress, stream: TextIO, *, every: float = PLAIN_EVERY) -> None:
        self._progress, self._stream, self._rate = progress, stream, Rate(every)
        self._rate.at(time.monotonic(), progress.received)
        self._ticking = _Ticking(every, self._draw)

    def _draw(self, now: float) -> None:
        self._stream.write(f"s3pull: {told(self._progress, self._rate.at(now, self._progress.received))}\n")
        self._stream.flush()

    @contextmanager
    def aside(self) -> Iterator[None]:
        with self._ticking.lock:
            yield

    def close(self) -> None:
        self._ticking.end()


class Bars:
    """tqdm's bars: the first for everything, below it the large objects under way."""

    def __init__(self, progress: Progress, stream: TextIO, *, every: float = TICK) -> None:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread of tqdm's own
        tqdm.set_lock(threading.RLock())  # not the semaphore that it would share with processes
        self._tqdm: Any = tqdm
        self._progress, self._stream = progress, stream
        self._rate = Rate()
        self._rate.at(time.monotonic(), progress.received)
        self._total: Any = None
        self._large: dict[int, Any] = {}
        self._drawn = False
        self._ticking = _Ticking(every, self._draw)

    def _bar(self, position: int, form: str, words: str, total: int | None = None, done: int = 0) -> Any:
        """A new bar, drawn at once: tqdm leaves no choice, so it is given what there is to draw."""
        return self._tqdm(
            total=total, initial=done, desc=words, position=position, bar_format=form, file=self._stream,
            dynamic_ncols=True, leave=False, mininterval=0, miniters=0, smoothing=0,
        )  # fmt: skip

    def _draw(self, now: float) -> None:
        progress = self._progress
        rate = self._rate.at(now, progress.received)
        if self._total is None:
            self._total = self._bar(0, _OPEN_END, "")
        bar = self._total
        width = bar.ncols or 80
        bar.total = progress.total_bytes
        bar.bar_format = _TOTAL if bar.total else _OPEN_END
        bar.n = min(progress.done_bytes, bar.total) if bar.total else progress.done_bytes
        bar.set_description_str(told(progress, rate, short=width < _NARROW), refresh=False)
        bar.refresh()
        self._draw_large(dict(progress.active), width)
        self._drawn = True

    def _draw_large(self, active: dict[int, ActiveObject], width: int) -> None:
        for number in [number for number in self._large if number not in active]:
            self._large.pop(number).close()
        for number, one in active.items():
            done, words = min(one.done, one.size), shortened(printable(one.name), max(12, width // 2))
            bar = self._large.get(number)
            if bar is not None:
                bar.total, bar.n = one.size, done
                bar.set_description_str(words, refresh=False)
                bar.refresh()
            elif len(self._large) < MOST_BARS:
                taken = {-bar.pos for bar in self._large.values()}
                free = min(set(range(1, MOST_BARS + 1)) - taken)
                self._large[number] = self._bar(free, _LARGE, words, one.size, done)

    @contextmanager
    def aside(self) -> Iterator[None]:
        with self._ticking.lock:
            if self._drawn:
                for bar in (*self._large.values(), self._total):
                    bar.clear()
                self._drawn = False
            yield

    def close(self) -> None:
        self._ticking.end()
        with self._ticking.lock:
            for bar in (*self._large.values(), self._total):
                if bar is not None:
                    bar.close()
            self._large.clear()
            self._total = None
            self._drawn = False


def shortened(text: str, width: int) -> str:
    """The end of a name that is too long: that is where names differ."""
    return text if len(text) <= width else "…" + text[1 - width :]
