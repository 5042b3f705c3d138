"""How many connections to use: one, and then a climb by measured goodput. Pure: clock and measurements come in.

Law: begin with one; double while doubling pays; when it does not, step back and hold; try a little more now and then;
halve when the service throttles. A probe is judged only when the new connections deliver: over a long way that takes a
while, and so does the judging.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

#: what one object counts for beside its bytes: about what a connection moves in the time that a request takes
REQUEST_WEIGHT = 64 * 1024

#: one thread is busy with a small object for about so many seconds: while it waits, others can work
_OWN_SECONDS = 0.0004
#: large objects keep a thread each while they stream: at first there is one for each so many seconds of latency
_STREAM_SECONDS = 0.002
_MOST_STREAMS = 16
#: requests of small objects that one thread has under way
_LEAST_AHEAD, _MOST_AHEAD = 4, 240
#: goodput must grow by so much to call more connections better
PAYS = 1.15
#: of the best of the last windows: less is a stall (of the disk, or of who sends), and no measure
_TYPICAL, _LATELY = 0.75, 3
_HOLD = 5.0  # seconds between careful probes
_COOL = 3.0  # seconds of calm after a throttle
_WINDOW = 0.2  # seconds over which goodput is measured, at least
_RAMP = 3.0  # seconds that new connections get to deliver something


def streams(latency: float) -> int:
    """Threads to stream something large with, where an answer takes `latency` seconds to begin: 1 on loopback, 16 far
    away.

    S3 in the same region takes 10 ms and more. On loopback a first answer may take 3 for no reason, and eight streams
    that nobody needs take half as long again as one.
    """
    return max(1, min(_MOST_STREAMS, round(latency / _STREAM_SECONDS)))


def most(latency: float) -> int:
    """Threads that are worth trying: 16 on loopback, 60 at 6 ms, 256 from 26 ms on.

    Goodput of objects of all sizes goes up and down by itself, and what is tried for that costs memory.
    """
    return 4 * max(4, round(latency / _OWN_SECONDS))


def ahead(latency: float, threads: int) -> int:
    """Requests of small objects that each of so many threads keeps under way: what the threads can work off while an
    answer is on its way, and three times as many again, because answers do not come evenly.
    """
    return max(_LEAST_AHEAD, min(_MOST_AHEAD, round(4 * latency / _OWN_SECONDS / threads)))


class _Phase(Enum):
    STEADY = auto()
    RAMP = auto()
    JUDGE = auto()


class Pace:
    """`target` is the number of connections wanted now; feed `step` at a steady beat (about 0.05 s)."""

    def __init__(self, limit: int, target: int = 1, reach: int = 1 << 30) -> None:
        self.limit = limit
        self.target = min(target, limit)
        #: probes go no further, whatever goodput says (`most`)
        self.reach = reach
        self._phase = _Phase.STEADY
        self._since = -1.0  # when the current window, or the ramp, began; -1: not yet
        self._work = 0.0  # work at that time
        self._span = _WINDOW
        self._rate = 0.0  # goodput before the probe
        self._before = 0  # target before the probe
        self._hold_until = 0.0
        self._throttles = 0
        self._probes = 0
        self._warm = False
        self._rates: deque[float] = deque(maxlen=_LATELY)  # of the last steady windows

    def raise_to(self, target: int) -> None:
        """So many at least, as far as may be, whatever was measured with fewer; goodput is measured anew then."""
        target = min(target, self.limit)
        self._before = max(self._before, target)  # a probe that is under way goes back no further
        if target > self.target:
            self.target = target
            self._rates.clear()
            self._phase, self._since, self._warm = _Phase.STEADY, -1.0, False

    def lower(self, before: int, target: int) -> bool:
        """`target` instead of `before`, which it was raised to, unless something was measured; whether it was done."""
        if self._warm or self.target != min(before, self.limit):
            return False
        self.target = min(target, self.limit)
        return True

    def step(self, now: float, work: float, waiting: int, throttles: int, active: int, *, bound: bool = False) -> int:
        """The new target, given total `work` so far, tasks `waiting` for a connection, how often we were throttled, and
        how many connections have delivered something. `bound`: one more would only take turns with the others, or
        what comes is more than before for another reason.

        | phase  | seen                                        | then |
        |--------|---------------------------------------------|------|
        | any    | a throttle                                  | halve, keep calm for a while |
        | any    | nothing waits                               | keep, measure anew |
        | steady | it is bound                                 | keep, measure anew |
        | steady | the first window is over                    | measure anew: it is not typical |
        | steady | much less came than in the windows before   | measure anew, unless that goes on |
        | steady | a window is over, and so is the hold        | probe: double (at first), later half as many again |
        | ramp   | all deliver, or they had 3 s                | measure: 0.2 s, or twice as long as the ramp |
        | judge  | goodput grew by 15%                         | keep it, probe again |
        | judge  | goodput did not                             | back to where it was, hold |
        """
        if throttles > self._throttles:
            self._throttles = throttles
            self.target = max(1, self.target // 2)
            self._hold_until = now + _COOL
            self._rates.clear()
            self._begin(_Phase.STEADY, now, work)
            return self.target
        if self._since < 0 or (waiting == 0 and self._phase is not _Phase.RAMP):
            self._begin(_Phase.STEADY, now, work)
            return self.target
        elapsed = now - self._since
        if self._phase is _Phase.RAMP:
            if active >= self.target or elapsed >= _RAMP:
                self._begin(_Phase.JUDGE, now, work, span=max(_WINDOW, 2 * elapsed))
            return self.target
        if elapsed < self._span:
            return self.target
        rate = (work - self._work) / elapsed
        if not self._warm:
            # imports, handshakes and slow starts are in the first window: measured against it, anything pays
            self._warm = True
            self._begin(_Phase.STEADY, now, work)
        elif self._phase is _Phase.JUDGE and rate < self._rate * PAYS:
            self.target = min(self._before, self.limit)
            self._hold_until = now + _HOLD
            self._begin(_Phase.STEADY, now, work)
        elif self._phase is _Phase.JUDGE or now >= self._hold_until:
            best = max(self._rates, default=0.0)
            self._rates.append(rate)
            if bound or rate < best * _TYPICAL:
                self._begin(_Phase.STEADY, now, work)
            else:
                self._probe(now, work, max(rate, best), climbing=self._phase is _Phase.JUDGE)
        return self.target

    def _probe(self, now: float, work: float, rate: float, *, climbing: bool) -> None:
        limit = min(self.limit, self.reach)
        if self.target >= limit or rate <= 0:
            self._begin(_Phase.STEADY, now, work)
            return
        first = climbing or self._probes == 0
        self._probes += 1
        self._rates.clear()
        self._rate, self._before = rate, self.target
        self.target = min(limit, self.target * 2 if first else self.target + max(1, self.target // 2))
        self._begin(_Phase.RAMP, now, work)

    def _begin(self, phase: _Phase, now: float, work: float, *, span: float = _WINDOW) -> None:
        self._phase, self._since, self._work, self._span = phase, now, work, span
