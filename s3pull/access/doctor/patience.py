"""Ends an examination in time, whatever hangs: DNS, a credential process, a server that takes and never answers.

The work runs on a thread of its own, which nobody waits for at the end of the process. A question to a person is asked
on the caller's thread, and the time that the answer takes does not count. It knows nothing of AWS.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from s3pull.errors import CredentialsError

Prompt = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    answer: queue.SimpleQueue[str | BaseException]


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def within(seconds: float, work: Callable[[Prompt | None], None], prompt: Prompt | None) -> bool:
    """Run `work` for at most `seconds`; True where it came to its end. What it raises is raised here.

    `work` gets a prompt that may be called from its thread, or None where there is nobody to ask.
    """
    events: queue.SimpleQueue[_Question | _End] = queue.SimpleQueue()
    given_up = threading.Event()

    def ask(question: str) -> str:
        answer: queue.SimpleQueue[str | BaseException] = queue.SimpleQueue()
        if given_up.is_set():
            raise CredentialsError("too late to ask")
        events.put(_Question(question, answer))
        given = answer.get()
        if isinstance(given, BaseException):
            raise given
        return given

    def run() -> None:
        try:
            work(ask if prompt is not None else None)
        except BaseException as error:
            events.put(_End(error))
        else:
            events.put(_End(None))

    threading.Thread(target=run, name="s3pull-doctor", daemon=True).start()
    left = seconds
    while True:
        began = time.monotonic()
        try:
            event = events.get(timeout=max(0.0, left))
        except queue.Empty:
            given_up.set()
            return False
        left -= time.monotonic() - began
        if isinstance(event, _End):
            if event.error is not None:
                raise event.error
            return True
        assert prompt is not None
        try:
            event.answer.put(prompt(event.text))
        except CredentialsError as error:
            event.answer.put(error)
