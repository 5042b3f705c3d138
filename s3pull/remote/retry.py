"""Patience: what is tried again, when, and when it is enough. One `Patience` is shared by all threads of a run.

Law:

1. The wait before try n+1 is random in [0, min(10 s, 0.1 s x 2^n)] (full jitter:
   https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and at least the server's Retry-After
   (60 s at most).
2. An operation is given up after 8 failures in a row without progress, or after 3 and 60 s since the first of them
   (each may have taken its 30 s of silence); `progressed` starts the count anew. Being asked to slow down is no
   matter of time.
3. All retries draw on one budget. What a retry cost comes back when its operation gets on, so a flaky network is
   survived for ever, a blip that hits 256 connections at once too; what was spent in vain comes back slowly, with
   each good answer. On a dead network all operations together so make no more retries than 256 of them would.
4. 429 and 503 close a gate for everybody (`wait_at_gate`) and are counted in `throttles`, on which the scheduler
   backs off. They cost less of the budget: the service is alive, and the gate already slows everyone.
5. Sleepers wake at once on `interrupt` and raise Cancelled.

This module does not decide what is transient: errors do (`s3pull.errors.Transient`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from s3pull.errors import Cancelled, Transient, let_go

MAX_FAILURES = 8
FIRST_WAIT = 0.1
LONGEST_WAIT = 10.0
LONGEST_RETRY_AFTER = 60.0
LONGEST_STRUGGLE = 60.0
BUDGET = 2048.0
FAILURE_COST = 1.0
THROTTLE_COST = 0.25


def _fraction() -> float:
    """From 0 to 1, at random. Nothing is drawn in a run in which nothing goes wrong, so it is loaded late."""
    import random

    return random.random()  # noqa: S311


class Patience:
    """The budget, the gate and the clock that all operations share."""

    def __init__(
        self,
        *,
        max_failures: int = MAX_FAILURES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        fraction: Callable[[], float] = _fraction,
    ) -> None:
        self.throttles = 0
        self._max_failures = max_failures
        self._clock = clock
        self._interrupted = threading.Event()
        self._sleep = sleep if sleep is not None else self._interrupted.wait
        self._fraction = fraction
        self._lock = threading.Lock()
        self._budget = BUDGET
        self._not_before = 0.0

    def attempts(self) -> Attempts:
        """The tries of one new operation."""
        return Attempts(self)

    def succeeded(self) -> None:
        """Some request was answered well: the budget fills."""
        if self._budget < BUDGET:
            self._refund(FAILURE_COST)

    def _refund(self, amount: float) -> None:
        with self._lock:
            self._budget = min(BUDGET, self._budget + amount)

    def interrupt(self) -> None:
        """Wake all sleepers; they and all later ones raise Cancelled."""
        self._interrupted.set()

    @property
    def interrupted(self) -> bool:
        return self._interrupted.is_set()

    def wait_at_gate(self) -> None:
        """Sleep while the service wants everybody to slow down. Costs one comparison when it does not."""
        if self._not_before:
            wait = self._not_before - self._clock()
            if wait > 0:
                self.sleep(wait * (1.0 + 0.2 * self._fraction()))  # not all at the same instant

    def sleep(self, seconds: float) -> None:
        """Sleep; raises Cancelled at once on an interrupt."""
        self._sleep(seconds)
        if self._interrupted.is_set():
            raise Cancelled("interrupted")

    def _spend(self, failures: int, since: float, error: Transient) -> tuple[float, float] | None:
        """(seconds to wait, what that costs) after the `failures`th failure in a row, the first at `since`.

        None where it is enough.
        """
        if failures >= self._max_failures:
            return None
        if failures >= 3 and not error.throttled and self._clock() - since >= LONGEST_STRUGGLE:
            return None
        cost = THROTTLE_COST if error.throttled else FAILURE_COST
        wait = self._fraction() * min(LONGEST_WAIT, FIRST_WAIT * 2.0**failures)
        if error.retry_after is not None:
            wait = max(wait, min(LONGEST_RETRY_AFTER, error.retry_after))
        with self._lock:
            if error.throttled:
                self.throttles += 1
                self._not_before = max(self._not_before, self._clock() + wait)
            if self._budget < cost:
                return None
            self._budget -= cost
        return wait, cost


class Attempts:
    """The tries of one operation, used by one thread."""

    __slots__ = ("_failures", "_patience", "_since", "_spent")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0
        self._since = 0.0
        self._spent = 0.0

    def failed(self, error: Transient) -> None:
        """Sleep until the next try is due, or raise `error` where there will be none.

        Raises Cancelled on an interrupt.
        """
        if self._patience.interrupted:
            raise Cancelled("interrupted")
        if not self._failures:
            self._since = self._patience._clock()
        self._failures += 1
        decision = self._patience._spend(self._failures, self._since, error)
        if decision is None:
            raise error.final() from error
        let_go(error)
        wait, cost = decision
        self._spent += cost
        self._patience.sleep(wait)

    def progressed(self) -> None:
        """Bytes arrived: the failures before them no longer count."""
        if self._failures:
            self._failures = 0
            self._patience._refund(self._spent)
            self._spent = 0.0
