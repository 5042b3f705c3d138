"""How many connections to use: a climb by measured goodput. Pure; the clock and the measurements come in.

Law: double while doubling pays; when it does not, step back and hold; try a little more now and then; halve when the
service throttles. Never more than there is work for.
"""

from __future__ import annotations

from dataclasses import dataclass

#: what one object counts for beside its bytes: about what a connection moves in the time that a request takes
REQUEST_WEIGHT = 64 * 1024

_PAYS = 1.10  # goodput must grow by a tenth to call more connections better
_HOLD = 5.0  # seconds between careful probes
_COOL = 3.0  # seconds of calm after a throttle


@dataclass(slots=True)
class Pace:
    """`target` is the number of connections wanted now; feed `step` with totals at a steady beat (about 0.1 s)."""

    limit: int
    target: int = 16
    _work: float = 0.0
    _time: float | None = None
    _rate: float = 0.0  # goodput when the target was last changed
    _before: int = 0  # target to fall back to; 0: not probing
    _hold_until: float = 0.0
    _throttles: int = 0

    def __post_init__(self) -> None:
        self.target = min(self.target, self.limit)

    def step(self, now: float, work: float, waiting: int, throttles: int) -> int:
        """The new target, given total `work` so far, tasks `waiting` for a connection, and how often we were throttled.

        | seen since the last beat            | then |
        |-------------------------------------|------|
        | a throttle                          | halve, keep calm for a while |
        | nothing waits                       | keep |
        | probing, goodput grew by a tenth    | keep it, double again |
        | probing, goodput did not grow       | back to where it was, hold |
        | holding                             | keep |
        | hold is over                        | probe half as many again |
        """
        if self._time is None:
            self._time, self._work, self._throttles = now, work, throttles
            return self.target
        elapsed = now - self._time
        if elapsed <= 0:
            return self.target
        rate = (work - self._work) / elapsed
        self._time, self._work = now, work
        if throttles > self._throttles:
            self._throttles = throttles
            self.target = max(1, self.target // 2)
            self._before, self._rate, self._hold_until = 0, 0.0, now + _COOL
            return self.target
        if waiting == 0 or rate == 0:
            return self.target
        if self._before:
            if rate >= self._rate * _PAYS:
                return self._probe(rate, self.target * 2)
            self.target, self._before = self._before, 0
            self._hold_until = now + _HOLD
            return self.target
        if now >= self._hold_until:
            first = self._hold_until == 0.0
            return self._probe(rate, self.target * 2 if first else self.target + max(1, self.target // 2))
        return self.target

    def _probe(self, rate: float, wanted: int) -> int:
        if self.target >= self.limit:
            self._before = 0
            return self.target
        self._rate, self._before = rate, self.target
        self.target = min(self.limit, wanted)
        return self.target
