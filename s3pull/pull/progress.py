"""How far a run is: plain counters that transfer threads write and one reporter thread reads.

No locks on the way of a byte: each worker owns a `Meter`, and the sums are taken when somebody looks.
"""

from __future__ import annotations

import threading
import time


class Meter:
    """One worker's own counters: bytes off the network, bytes done with, files done with."""

    __slots__ = ("done_bytes", "done_files", "received")

    def __init__(self) -> None:
        self.received = 0
        self.done_bytes = 0
        self.done_files = 0


class ActiveObject:
    """A large object under way; `done` counts bytes that are on disk."""

    __slots__ = ("done", "name", "size")

    def __init__(self, name: str, size: int, done: int = 0) -> None:
        self.name = name
        self.size = size
        self.done = done


class Progress:
    """`total_*` are None until they are known (a listing still runs); `total_bytes` grows while it does."""

    __slots__ = ("_lock", "active", "meters", "started", "total_bytes", "total_files")

    def __init__(self, total_bytes: int | None = None, total_files: int | None = None) -> None:
        self.total_bytes = total_bytes
        self.total_files = total_files
        self.active: dict[int, ActiveObject] = {}
        self.meters: list[Meter] = []
        self.started = time.monotonic()
        self._lock = threading.Lock()

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
