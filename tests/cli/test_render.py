"""What people and scripts get to see."""

from __future__ import annotations

import io
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.cli.options import OutputChoice, ReportChoice
from s3pull.cli.render import (
    Output,
    counted,
    error_lines,
    human_size,
    human_span,
    json_line,
    printable,
    summary_line,
    wants_color,
)
from s3pull.errors import AccessDenied, NameRefused
from s3pull.events import Action, ObjectEvent, Summary
from s3pull.objects import Checksum


class Terminal(io.StringIO):
    def isatty(self):
        return True


def output(**choice):
    out, err = io.StringIO(), io.StringIO()
    return Output(OutputChoice(**choice), stdout=out, stderr=err, environ={}), out, err


def event(action=Action.DOWNLOADED, **facts):
    return ObjectEvent(action, facts.pop("key", "a/b.csv"), "out/b.csv", **facts)


# --- text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain/Ünïcode 日本.txt", "plain/Ünïcode 日本.txt"),
        ("a\nb", "a\\nb"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x7f\x9b", "a\\x7f\\x9b"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("a\udcffb", "a\\udcffb"),
    ],
)
def test_control_characters_are_escaped(raw, shown):
    assert printable(raw) == shown


@given(st.text())
def test_what_is_printed_never_moves_the_cursor(text):
    assert printable(text).isprintable()
    printable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (823, "823 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**2 - 1, "1.0 MiB"), (5 * 2**30, "5.0 GiB"),
     (2**60, "1024.0 PiB")],
)  # fmt: skip
def test_sizes(count, text):
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.12, "4.1 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_spans(seconds, text):
    assert human_span(seconds) == text


def test_counts():
    assert [counted(1, "file"), counted(2, "file"), counted(10_000, "key")] == ["1 file", "2 files", "10,000 keys"]


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (Summary(downloaded=3, received=2**30, seconds=4.0), "3 files, 1.0 GiB in 4.0 s (256.0 MiB/s)"),
        (Summary(downloaded=1, resumed=1, received=10, seconds=0.1), "2 files, 10 B in 0.1 s, 1 resumed"),
        (Summary(skipped=12_000, seconds=1.0), "0 files, 0 B in 1.0 s, 12,000 already here"),
        (Summary(deleted=1, local_changes=2, refused=3, failed=4, seconds=0.2, exit=3),
         "0 files, 0 B in 0.2 s, 1 deleted, 2 changed here, 3 refused, 4 failed"),
    ],
)  # fmt: skip
def test_the_summary(summary, line):
    assert summary_line(summary) == line


@pytest.mark.parametrize(
    ("stream", "environ", "allowed", "colors"),
    [
        (Terminal(), {}, True, True),
        (Terminal(), {"NO_COLOR": ""}, True, True),
        (Terminal(), {"NO_COLOR": "1"}, True, False),
        (Terminal(), {"TERM": "dumb"}, True, False),
        (Terminal(), {}, False, False),
        (io.StringIO(), {}, True, False),
    ],
)
def test_colors(stream, environ, allowed, colors):
    assert wants_color(stream, environ, allowed=allowed) is colors


def test_an_error_tells_what_a_ticket_needs_with_v():
    error = AccessDenied("no\x07", hint="do\nthis\x1b", code="AccessDenied", status=403, request_id="R", host_id="H")
    assert error_lines(error) == ["s3pull: no\\x07", "hint: do", "      this\\x1b"]
    assert error_lines(error, verbose=1)[1] == "  code AccessDenied, status 403, request ID R, host ID H"
    assert error_lines(error, color=True)[0] == "\033[31ms3pull:\033[0m no\\x07"


# --- events as text -----------------------------------------------------------------------------------------


def test_a_downloaded_object_is_news_with_v_only():
    out, stdout, stderr = output()
    out.event(event(reason="new"))
    assert stdout.getvalue() == stderr.getvalue() == ""
    out, stdout, stderr = output(verbose=1)
    out.event(event(reason="new"))
    assert (stdout.getvalue(), stderr.getvalue()) == ("", "s3pull: downloaded out/b.csv (new)\n")


def test_a_dry_run_is_data():
    out, stdout, stderr = output()
    out.event(event(planned=True, size=2048, reason="new"))
    out.event(event(Action.SKIPPED, planned=True, key="x\n", size=512))
    assert (stdout.getvalue(), stderr.getvalue()) == ("download  out/b.csv  (new)\nskip  out/b.csv\n", "")
    out.summary(Summary(downloaded=1, skipped=1))
    assert stderr.getvalue() == "to download: 1 file, 2.0 KiB, 1 already here\n"


def test_failures_are_told_under_q_too_and_a_hint_once():
    out, stdout, stderr = output(quiet=True)
    for key in ("a", "b"):
        out.event(event(Action.REFUSED, error=NameRefused(f"{key} ends in a dot", hint="use --encode-names")))
    out.summary(Summary(refused=2, exit=3))
    assert stdout.getvalue() == ""
    assert stderr.getvalue() == (
        "s3pull: a ends in a dot\nhint: use --encode-names\ns3pull: b ends in a dot\n0 files, 0 B in 0.0 s, 2 refused\n"
    )


def test_q_says_nothing_when_all_is_well():
    out, stdout, stderr = output(quiet=True, verbose=1)
    out.event(event())
    out.say("a session was made")
    out.note("cached")
    out.summary(Summary(downloaded=1))
    assert stdout.getvalue() == stderr.getvalue() == ""


def test_notes_are_for_v_and_news_for_all():
    out, _, stderr = output()
    out.note("hidden")
    out.say("shown\r")
    assert stderr.getvalue() == "s3pull: shown\\r\n"


def test_a_table_has_no_trailing_spaces():
    out, stdout, _ = output()
    out.table([("a:", "s3://b/", "x"), ("longer:", "s3://c/d/", "")])
    assert stdout.getvalue() == "a:       s3://b/    x\nlonger:  s3://c/d/\n"


# --- events as JSON -----------------------------------------------------------------------------------------


def test_the_json_lines_of_a_run():
    out, stdout, stderr = output(json=True)
    out.event(event(size=3, received=3, etag="e", checksum=Checksum("CRC32", "AAAAAA=="), verified=True, reason="new"))
    out.event(event(Action.SKIPPED, reason="same-receipt"))
    denied = AccessDenied("no", code="AccessDenied", status=403, request_id="R")
    out.event(event(Action.FAILED, key="k\n\x1b\ud800", error=denied, reason=denied.reason))
    out.error(denied)
    out.summary(Summary(downloaded=1, failed=1, exit=10))
    raw = stdout.getvalue()
    assert raw.isascii()
    assert "\x1b" not in raw
    lines = [json.loads(line) for line in raw.splitlines()]
    assert stderr.getvalue() == ""
    assert [line["event"] for line in lines] == ["object", "object", "error", "summary"]
    assert all(line["schema"] == 1 for line in lines)
    assert lines[0]["checksum"] == {"algorithm": "CRC32", "value": "AAAAAA==", "verified": True}
    assert (lines[1]["action"], lines[1]["key"], lines[1]["reason"]) == ("failed", "k\n\x1b\ud800", "denied")
    assert lines[1]["error"]["request_id"] == "R"
    assert (lines[2]["exit"], lines[3]["exit"]) == (10, 10)


def test_skipped_objects_are_lines_with_v():
    out, stdout, _ = output(json=True, verbose=1)
    out.event(event(Action.SKIPPED))
    assert json.loads(stdout.getvalue())["action"] == "skipped"


def test_json_goes_to_stdout_under_q():
    out, stdout, _ = output(json=True, quiet=True)
    out.summary(Summary())
    assert json.loads(stdout.getvalue())["event"] == "summary"


def test_lines_of_many_threads_stay_whole():
    out, stdout, _ = output(json=True)
    threads = [
        threading.Thread(target=lambda n=n: [out.event(event(key=f"{n}/{i}" * 50)) for i in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in stdout.getvalue().splitlines()]
    assert len({line["key"] for line in lines}) == 400


@given(st.dictionaries(st.text(max_size=5), st.text()))
def test_a_json_line_is_one_line(record):
    line = json_line(record)
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line) == record


def test_a_report_has_no_progress_and_no_quiet():
    out = Output(ReportChoice(json=False, verbose=2), stdout=io.StringIO(), stderr=io.StringIO(), environ={})
    assert (out.quiet, out.verbose) == (False, 2)
