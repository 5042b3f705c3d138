"""Questions to the person at the terminal. Never where there is none: cron and CI must not hang.

Questions go to the terminal itself, so that stdout stays data and `2>file` does not swallow them.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from s3pull.errors import CredentialsError, UsageError


def can_ask() -> bool:
    """Whether somebody can read a question and answer it."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        return True
    if os.name == "nt":
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask(question: str) -> str:
    """The answer to `question`, stripped. Raises CredentialsError where the terminal went away."""
    with ExitStack() as stack:
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
            source, target = sys.stdin, sys.stderr
        else:
            try:
                source = stack.enter_context(open("/dev/tty", encoding="utf-8"))  # noqa: PTH123
                target = stack.enter_context(open("/dev/tty", "w", encoding="utf-8"))  # noqa: PTH123
            except OSError:
                raise CredentialsError(f"there is no terminal to ask {question!r}") from None
        target.write(question if question.endswith(" ") else f"{question} ")
        target.flush()
        try:
            answer = source.readline()
        except KeyboardInterrupt:
            target.write("\n")
            raise
    if not answer:
        raise CredentialsError(f"no answer to {question!r}")
    return answer.strip()


def confirm(question: str, *, instead: str) -> bool:
    """A yes or a no. Raises UsageError where nobody can be asked; `instead` is the option that says yes."""
    if not can_ask():
        raise UsageError(f"{question.rstrip('?')}: there is nobody to ask", hint=f"{instead} says yes")
    return ask(f"{question} [y/N]").lower() in ("y", "yes")
