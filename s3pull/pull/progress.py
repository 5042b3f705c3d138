"""How far a run is: plain counters that transfer threads write and one reporter thread reads.

No locks on the way of a byte: each worker owns a `Meter`, and the sums are taken when somebody looks.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


class Meter:
    """One worker's own counters: bytes off the network, bytes done with, files done with."""

    __slots__ = ("done_bytes", "done_files", "received")

    def __init__(self) -> None:
        self.received = 0
        self.done_bytes = 0
        self.done_files = 0


@dataclass(slots=True)
class ActiveObject:
    """A large object under way; `done` counts bytes that are on disk."""

    name: str
    size: int
    done: int = 0


@dataclass(slots=True)
class Progress:
    """`total_*` are None until they are known (a listing still runs); `total_bytes` grows while it does."""

    total_bytes: int | None = None
    total_files: int | None = None
    active: dict[int, ActiveObject] = field(default_factory=dict)
    meters: list[Meter] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meter(self) -> Meter:
        """A new meter for the calling worker."""
        meter = Meter()
        with self._lock:
            self.meters.append(meter)
        return meter

    @property
    def done_bytes(self) -> int:
        return sum(meter.done_bytes for meter in self.meters)

    @property
    def done_files(self) -> int:
        return sum(meter.done_files for meter in self.meters)

    @property
    def received(self) -> int:
        return sum(meter.received for meter in self.meters)
