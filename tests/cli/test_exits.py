"""Every way out: exit code, stdout and stderr."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from s3pull import errors
from s3pull.cli.exits import Ended, Terminated, guard

ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.S3pullError) and kind.__module__ == "s3pull.errors"
]


def raising(error):
    def work():
        raise error

    return work


def test_none_is_0_and_a_number_is_itself(capsys):
    assert guard([], lambda: None) == 0
    assert guard([], lambda: 3) == 3
    assert guard([], raising(Ended(2))) == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_our_errors_have_their_own_exit(kind, capsys):
    assert guard(["ls"], raising(kind("what failed on what", hint="do this"))) == kind.exit_code
    assert capsys.readouterr() == ("", "s3pull: what failed on what\nhint: do this\n")


def test_the_published_exits_are_these():
    assert {kind.exit_code for kind in ERRORS} | {141, 143} == {1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 130, 141, 143}


def test_ctrl_c_says_how_to_go_on_where_it_goes_on(capsys):
    assert guard(["get", "a:"], raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "s3pull: stopped\nhint: the same command goes on from here\n"
    assert guard(["-v", "ls", "a:"], raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "s3pull: stopped\n"


def test_sigterm_is_143(capsys):
    assert guard(["get", "a:"], raising(Terminated())) == 143
    assert capsys.readouterr().err.startswith("s3pull: stopped\n")


def test_with_json_the_error_and_the_summary_of_a_run_are_lines(capsys):
    assert guard(["get", "a:", "--json"], raising(errors.AccessDenied("no", code="AccessDenied"))) == 10
    said = capsys.readouterr()
    error, summary = map(json.loads, said.out.splitlines())
    assert said.err == ""
    assert (error["event"], error["reason"], error["exit"], error["code"]) == ("error", "denied", 10, "AccessDenied")
    assert (summary["event"], summary["exit"], summary["downloaded"]) == ("summary", 10, 0)


def test_with_json_a_command_that_is_no_run_has_no_summary(capsys):
    assert guard(["status", "--json"], raising(errors.UsageError("no"))) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "error"


def test_after_two_dashes_json_is_a_name(capsys):
    assert guard(["get", "--", "--json"], raising(errors.UsageError("no"))) == 2
    assert capsys.readouterr().err == "s3pull: no\n"


# --- faults of ours -----------------------------------------------------------------------------------------


def fail_with_a_secret_in_a_local():
    token = "FwoGZXIvYXdzEBYaDL0secret"  # noqa: F841
    raise ZeroDivisionError("division by zero")


def test_a_fault_is_one_line_and_a_hint(capsys):
    assert guard(["get"], fail_with_a_secret_in_a_local) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "s3pull: internal error: ZeroDivisionError: division by zero"
    assert len(said.splitlines()) == 2
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("args", "debug"), [(["-vv"], None), (["-v", "--verbose"], None), (["-v"], "1"), (["-qvv"], None)]
)
def test_the_stack_is_shown_when_asked_for_and_has_no_values(args, debug, capsys, monkeypatch):
    if debug:
        monkeypatch.setenv("S3PULL_DEBUG", debug)
    assert guard(["get", *args], fail_with_a_secret_in_a_local) == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "FwoGZXIvYXdzEBYaDL0secret" not in said.replace('token = "FwoGZXIvYXdzEBYaDL0secret"', "")


def test_system_exit_passes(capsys):
    with pytest.raises(SystemExit):
        guard([], raising(SystemExit(4)))


# --- pipes, disks, signals: as processes --------------------------------------------------------------------

LOUD = """
import sys
from s3pull.cli.exits import guard
def work():
    for i in range(100_000):
        print("x" * 100)
sys.exit(guard(["ls"], work))
"""

WAITING = """
import sys, time
from s3pull.cli.exits import guard
def work():
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("cleaned", flush=True)
sys.exit(guard(["get", "a:"], work))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes and signals")
class TestProcesses:
    def test_a_reader_that_leaves_is_no_news(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([sys.executable, "-c", LOUD], stdout=writer, stderr=subprocess.PIPE, timeout=60)
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")

    def test_a_reader_that_leaves_before_the_last_flush(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "s3pull", "--version"], stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")

    @pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {}])
    def test_any_name_can_be_said_in_any_locale(self, locale):
        code = (
            "import sys; from s3pull.cli.exits import guard\n"
            "sys.exit(guard([], lambda: print('a\\u00e9\\u65e5\\udcff') or print('\\u65e5', file=sys.stderr)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, env={**os.environ, **locale}, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "aé日\\udcff\n".encode(), "日\n".encode())

    def test_streams_that_are_closed_from_the_start(self):
        line = f"{sys.executable} -m s3pull --version >&- 2>&-; echo $?"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("0\n", "")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
    def test_a_full_disk_behind_stdout_is_exit_5(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "s3pull", "--version"], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert done.returncode == 5
        assert done.stderr == b"s3pull: cannot write to stdout: no space left on device\n"

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
    def test_a_disk_that_fills_under_the_data_is_exit_5(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([sys.executable, "-c", LOUD], stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 5
        assert done.stderr == b"s3pull: cannot write to stdout: no space left on device\n"

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_signals_clean_up_and_exit(self, number, code):
        with subprocess.Popen(
            [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "ready\n"
            began = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        assert time.monotonic() - began < 10
        assert (process.returncode, out) == (code, "cleaned\n")
        assert err == "s3pull: stopped\nhint: the same command goes on from here\n"
