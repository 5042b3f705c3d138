"""The SHA-256 of a part file whose segments grow side by side. It can only be computed from the first byte to the last.

What comes to the place that was hashed so far is hashed as it passes; what was written further on, or by an earlier
run, is read back when its turn has come, a little at a time while the network works. Whoever writes lends a hand; no
thread ever waits for another.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

_CHUNK = 1024 * 1024
#: bytes that are read back for each byte that is written, at most: a segment's own way is not to be slowed down much
_SHARE = 2


class InOrder:
    """`segment` is the bytes of each segment of the file but the last, `size` those of the file.

    `read_at(offset, buffer)` reads what is written. Each segment has one writer at a time.
    """

    def __init__(self, segment: int, size: int, read_at: Callable[[int, memoryview], int]) -> None:
        self._segment = segment
        self._size = size
        self._read_at = read_at
        self._written = list(range(0, max(size, 1), segment))
        self._hash = hashlib.sha256()
        self._at = 0
        self._busy = threading.Lock()
        self._buffer: memoryview | None = None

    def resumed(self, index: int, end: int) -> None:
        """Of segment `index` all before the offset `end` is on the disk already."""
        self._written[index] = end

    def wrote(self, start: int, piece: memoryview) -> None:
        """`piece` was written at the offset `start`, and what its segment has before it is written, too."""
        self._written[start // self._segment] = start + len(piece)
        if self._busy.acquire(blocking=False):
            try:
                if start == self._at:
                    self._hash.update(piece)
                    self._at += len(piece)
                else:
                    self._catch_up(_SHARE * len(piece))
            finally:
                self._busy.release()

    def digest(self) -> bytes:
        """Of the whole file, all segments of which are written. Raises DiskError."""
        with self._busy:
            self._catch_up(self._size)
            return self._hash.digest()

    def _catch_up(self, most: int) -> None:
        """Read back and hash up to `most` bytes, as far as everything is written. The lock is held."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_CHUNK))
        while most > 0 and self._at < self._size:
            ready = self._written[self._at // self._segment] - self._at
            count = self._read_at(self._at, self._buffer[: min(_CHUNK, ready, most)]) if ready > 0 else 0
            if not count:
                return
            self._hash.update(self._buffer[:count])
            self._at += count
            most -= count
