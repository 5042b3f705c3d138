"""Questions at the terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from s3pull.cli import terminal
from s3pull.cli.options import OutputChoice
from s3pull.cli.render import Output
from s3pull.errors import CredentialsError, UsageError


class Keyboard(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def at_terminal(monkeypatch):
    def sit_down(typed):
        screen = Keyboard()
        monkeypatch.setattr(sys, "stdin", Keyboard(typed))
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return sit_down


def test_the_answer_is_stripped_and_the_question_has_a_space(at_terminal):
    screen = at_terminal(" 123456 \n")
    assert terminal.can_ask()
    assert terminal.ask("MFA code:") == "123456"
    assert screen.getvalue() == "MFA code: "


def test_ctrl_d_is_no_answer(at_terminal):
    at_terminal("")
    with pytest.raises(CredentialsError, match="no answer"):
        terminal.ask("MFA code:")


def test_ctrl_c_ends_the_line_of_the_question(at_terminal, monkeypatch):
    screen = at_terminal("")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdin, "readline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        terminal.ask("MFA code:")
    assert screen.getvalue() == "MFA code: \n"


@pytest.mark.parametrize(
    ("typed", "yes"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("yep\n", False)]
)
def test_only_a_yes_is_a_yes(at_terminal, typed, yes):
    screen = at_terminal(typed)
    assert terminal.confirm("remember acme?", instead="--yes") is yes
    assert screen.getvalue() == "remember acme? [y/N] "


def test_output_asks_aside_from_its_bars(at_terminal):
    at_terminal("123456\n")
    asked = Output(OutputChoice(), stdout=io.StringIO(), stderr=io.StringIO(), environ={}).asker()
    assert asked is not None
    assert asked("MFA code:") == "123456"


def test_where_nobody_is_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(terminal, "can_ask", lambda: False)
    assert Output(OutputChoice(), environ={}).asker() is None
    with pytest.raises(UsageError, match="remember acme: there is nobody to ask"):
        terminal.confirm("remember acme?", instead="--yes")


@pytest.mark.skipif(os.name == "nt", reason="POSIX sessions")
def test_without_a_terminal_by_any_name():
    code = (
        "from s3pull.cli import terminal; from s3pull.errors import CredentialsError\n"
        "print(terminal.can_ask())\n"
        "try:\n    terminal.ask('code')\nexcept CredentialsError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )
    assert done.stdout == "False\nthere is no terminal to ask 'code'\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
def test_a_pipe_on_stdin_leaves_the_terminal_itself():
    """`cat list | s3pull get --from-file - acme:` may still ask for an MFA code."""
    import pty

    code = (
        "import fcntl, os, sys, termios\n"
        "terminal = int(sys.argv[1])\n"
        "fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)\n"
        "from s3pull.cli import terminal\n"
        "print(terminal.can_ask(), terminal.ask('code:'))"
    )
    keyboard, screen = pty.openpty()
    os.write(keyboard, b"123456\n")
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(screen)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            pass_fds=[screen],
            timeout=60,
        )
        shown = os.read(keyboard, 1000).decode()
    finally:
        os.close(keyboard)
        os.close(screen)
    assert (done.stdout, done.stderr) == ("True 123456\n", "")
    assert "code: " in shown
