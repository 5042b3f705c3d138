"""How far a run is: what is shown where, and that nothing is left of it."""

from __future__ import annotations

import codecs
import io
import os
import time
from functools import partial

import pytest

from s3pull.cli.options import OutputChoice
from s3pull.cli.progress import Bars, Lines, Rate, clock_face, open_face, shortened, told
from s3pull.cli.render import Output
from s3pull.pull.progress import ActiveObject, Progress
from tests.waiting import wait_until

until = partial(wait_until, seconds=5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(done=0, files=0, **facts):
    made = Progress(**facts)
    meter = made.meter()
    meter.done_bytes = meter.received = done
    meter.done_files = files
    return made


@pytest.mark.parametrize(
    ("stream", "wanted", "quiet", "environ", "face"),
    [
        (Terminal(), None, False, {}, Bars),
        (Terminal(), True, False, {"NO_COLOR": "1"}, Bars),
        (Terminal(), False, False, {}, None),
        (Terminal(), None, True, {}, None),
        (Terminal(), True, True, {}, None),
        (Terminal(), None, False, {"TERM": "dumb"}, None),
        (Terminal(), True, False, {"TERM": "dumb"}, Lines),
        (io.StringIO(), None, False, {}, None),
        (io.StringIO(), True, False, {}, Lines),
        (io.StringIO(), False, False, {}, None),
        (io.StringIO(), True, True, {}, None),
    ],
)
def test_what_is_shown_where(stream, wanted, quiet, environ, face):
    shown = open_face(Progress(), stream, wanted=wanted, quiet=quiet, environ=environ)
    try:
        assert type(shown) is (face or type(None))
    finally:
        if shown is not None:
            shown.close()


def test_a_rate_forgets_what_is_long_ago():
    rate = Rate(window=3.0)
    assert rate.at(0.0, 0) == 0.0
    assert rate.at(1.0, 100) == 100.0
    assert rate.at(2.0, 100) == 50.0
    for second in range(3, 10):
        last = rate.at(float(second), 100)
    assert last == 0.0


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (760, "12:40"), (11_100, "3:05:00"), (-1, "0:00")])
def test_clock(seconds, text):
    assert clock_face(seconds) == text


@pytest.mark.parametrize(
    ("made", "rate", "short", "text"),
    [
        (progress(), 0.0, False, "0 B  0 files  0 B/s"),
        (progress(2**30, 3), 2**20, False, "1.0 GiB  3 files  1.0 MiB/s"),
        (progress(2**20, 1, total_bytes=2**21, total_files=10), 2**20, False,
         "1.0 MiB/2.0 MiB  1/10 files  1.0 MiB/s  0:01"),
        (progress(2**20, 1, total_bytes=2**21, total_files=10), 0.0, False, "1.0 MiB/2.0 MiB  1/10 files  0 B/s"),
        (progress(2**20, 1, total_bytes=2**21, total_files=10), 2**10, True, "1.0 MiB  1.0 KiB/s  17:04"),
    ],
)  # fmt: skip
def test_what_is_told(made, rate, short, text):
    assert told(made, rate, short=short) == text


def test_long_names_lose_their_beginning():
    assert shortened("a/very/long/name.csv", 9) == "…name.csv"
    assert shortened("name.csv", 9) == "name.csv"


def test_lines_come_now_and_then():
    stream = io.StringIO()
    lines = Lines(progress(5, 1, total_bytes=10, total_files=2), stream, every=0.02)
    until(lambda: stream.getvalue().count("\n") > 1)
    lines.close()
    length = len(stream.getvalue())
    assert stream.getvalue().splitlines()[0] == "s3pull: 5 B/10 B  1/2 files  0 B/s"
    time.sleep(0.1)
    assert len(stream.getvalue()) == length


def test_a_terminal_that_goes_away_stops_the_bars_alone():
    class Gone(Terminal):
        def write(self, text):
            raise OSError(5, "Input/output error")

    bars = Bars(progress(1), Gone(), every=0.01)
    time.sleep(0.1)
    bars.close()


# --- on a terminal of its own -------------------------------------------------------------------------------


class Screen:
    """A terminal emulator that is just enough: it keeps lines, and knows the sequences that are used."""

    def __init__(self, width):
        self.width, self.lines, self.row, self.column = width, {}, 0, 0

    def feed(self, text):
        i = 0
        while i < len(text):
            char = text[i]
            if char == "\x1b":
                end = i + 1
                while not text[end].isalpha():
                    end += 1
                if text[end] == "A":
                    self.row -= 1
                elif text[end] == "K":
                    self.lines[self.row] = self.lines.get(self.row, "")[: self.column]
                elif text[end] != "m":
                    raise AssertionError(f"unknown sequence {text[i : end + 1]!r}")
                i = end
            elif char == "\r":
                self.column = 0
            elif char == "\n":
                self.row += 1
            else:
                line = self.lines.get(self.row, "").ljust(self.column)
                self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
                self.column += 1
                assert self.column <= self.width, f"a line is wider than {self.width}: {self.lines[self.row]!r}"
            i += 1

    def text(self):
        return [self.lines[row].rstrip() for row in sorted(self.lines) if self.lines[row].strip()]


@pytest.fixture
def terminal():
    pty, fcntl, struct, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "struct", "termios"))
    opened = []

    def open_terminal(width):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        os.set_blocking(master, False)
        stream = os.fdopen(slave, "w", encoding="utf-8")
        opened.append((master, stream))
        screen = Screen(width)
        decoder = codecs.getincrementaldecoder("utf-8")()

        def look():
            try:
                while data := os.read(master, 65536):
                    screen.feed(decoder.decode(data))
            except BlockingIOError:
                pass
            return screen.text()

        return stream, look

    yield open_terminal
    for master, stream in opened:
        stream.close()
        os.close(master)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_bars_fit_and_leave_nothing(terminal, width):
    stream, look = terminal(width)
    made = progress(2**29, 3, total_bytes=2**30, total_files=10)
    for number in range(12):
        made.active[number] = ActiveObject(f"some/folder/with/a/very/long/name/part-{number:04}.parquet", 2**20, 2**19)
    bars = Bars(made, stream, every=0.02)
    until(lambda: len(look()) == 9)
    assert " 50% |" in look()[0]
    if width >= 80:
        assert "512.0 MiB/1.0 GiB  3/10 files" in look()[0]
        assert "part-0000.parquet" in look()[1]
    for number in range(12):
        del made.active[number]
    made.active[99] = ActiveObject("last\x1b[2J", 4, 4)
    until(lambda: len(look()) == 2 and "100% |" in look()[1])
    bars.close()
    assert look() == []


def test_words_stand_above_the_bars(terminal):
    stream, look = terminal(80)
    made = progress(5, 1, total_bytes=10, total_files=2)
    made.active[1] = ActiveObject("large", 10, 5)
    out = Output(OutputChoice(), stdout=io.StringIO(), stderr=stream, environ={"TERM": "xterm"})
    with out.showing(made):
        until(lambda: len(look()) == 2)
        out.say("first")
        out.say("second")
        until(lambda: len(look()) == 4)
        assert [line[:14] for line in look()[:2]] == ["s3pull: first", "s3pull: second"]
        assert look()[2].startswith(" 50% |")
    assert look() == ["s3pull: first", "s3pull: second"]


def test_without_a_total_there_is_no_bar(terminal):
    stream, look = terminal(80)
    bars = Bars(progress(7, 1), stream, every=0.02)
    until(lambda: look() == ["7 B  1 file  0 B/s"])
    bars.close()
    assert look() == []
