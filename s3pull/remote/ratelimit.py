"""`--limit-rate`: one token bucket for the bytes of the whole process, asked before each read from a socket.

Grants are small (at most a sixteenth of a second's worth, so that many connections share a slow rate and none
starves) and are given in the order in which threads ask. What was granted but not read in the end is given back. Of
the time in which nobody asked a little is made up for: a disk or a core that is busy elsewhere does not lower the rate.

This module does not know what is read; without a limit it is not used at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from s3pull.errors import Cancelled

_SMALLEST_GRANT = 1024
#: seconds that are made up for at the most: of ten seconds' bytes it may be 2.5% more
_CREDIT = 0.25


class RateLimit:
    """`rate` bytes a second, over all threads."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        if rate <= 0:
            raise ValueError("the rate must be positive")
        self._rate = rate
        self._grant = max(_SMALLEST_GRANT, int(rate / 16))
        self._clock = clock
        self._interrupted = threading.Event()
        self._sleep = sleep if sleep is not None else self._interrupted.wait
        self._lock = threading.Lock()
        self._free_at = clock()  # when the bytes that were granted so far will have been paid for

    def take(self, wanted: int) -> int:
        """Wait for the right to read up to `wanted` (at least 1) bytes; returns how many.

        Raises Cancelled on an interrupt.
        """
        granted = min(wanted, self._grant)
        with self._lock:
            now = self._clock()
            wait = self._free_at - now
            self._free_at = max(self._free_at, now - _CREDIT) + granted / self._rate
        if wait > 0:
            self._sleep(wait)
        if self._interrupted.is_set():
            raise Cancelled("interrupted")
        return granted

    def give_back(self, unused: int) -> None:
        """Bytes that were granted and not read."""
        with self._lock:
            self._free_at -= unused / self._rate

    def interrupt(self) -> None:
        """Wake all waiters; they and all later ones raise Cancelled."""
        self._interrupted.set()
