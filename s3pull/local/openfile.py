"""One open file: reading and writing at offsets from many threads, and copying a range to another.

OSErrors leave it as they are: whoever calls knows which object to name.
"""

from __future__ import annotations

import errno
import os
import threading
import time

from s3pull.local.pieces import Pieces

_COPY_STEP = 64 * 1024 * 1024
_COPY_BUFFER = 1024 * 1024
#: what is written at once: the memory that it hangs on is all files' and threads'
_pieces = Pieces()
_HAS_PREAD = hasattr(os, "pread") and hasattr(os, "pwrite") and hasattr(os, "preadv")
#: copy_file_range is missing, or cannot do this pair of files: then the bytes go through us
_CANNOT_COPY = frozenset({errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ETXTBSY})


class OpenFile:
    """A descriptor that is closed when the last who uses it lets go.

    Were it closed under a write, its number could be another file's by then. `held` is let go of when it is
    really closed.
    """

    __slots__ = ("_held", "_lock", "fd")

    def __init__(self, fd: int, held: object = None) -> None:
        self.fd = fd
        self._held = held
        #: ext4 and XFS let one writer at a time into a file, and the others spin on a core: here they sleep instead
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if self.fd >= 0:
            self.close()

    def close(self) -> None:
        with self._lock:
            fd, self.fd = self.fd, -1
        try:
            os.close(fd)
        finally:
            self._held = None

    def duplicate(self) -> OpenFile | None:
        """The same file once more, for one who takes long: closing this one is not kept waiting. None once closed."""
        with self._lock:
            return OpenFile(os.dup(self.fd), self._held) if self.fd >= 0 else None

    def write_at(self, offset: int, data: memoryview) -> None:
        with self._lock:
            if _HAS_PREAD:
                size, left, began = _pieces.size, data, time.thread_time_ns()
                while len(left):
                    count = os.pwrite(self.fd, left[:size], offset)
                    left = left[count:]
                    offset += count
                _pieces.took(len(data), time.thread_time_ns() - began)
                return
            os.lseek(self.fd, offset, os.SEEK_SET)
            while len(data):
                data = data[os.write(self.fd, data) :]

    def read_first(self, size: int) -> bytearray:
        """The first `size` bytes, or as many as there are."""
        data = bytearray(size)
        count = 0
        while count < size:
            more = self.read_at(count, memoryview(data)[count:])
            if not more:
                return data[:count]
            count += more
        return data

    def read_at(self, offset: int, buffer: memoryview) -> int:
        if _HAS_PREAD:
            return os.preadv(self.fd, [buffer], offset)
        with self._lock:
            os.lseek(self.fd, offset, os.SEEK_SET)
            data = os.read(self.fd, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def copy_range(source: OpenFile, to: OpenFile, start: int, count: int) -> None:
    """Copy `count` bytes at `start` to the same place, or as many as there are. Shared extents where there are any."""
    at, end = start, start + count
    if hasattr(os, "copy_file_range"):
        try:
            while at < end:
                done = os.copy_file_range(source.fd, to.fd, min(_COPY_STEP, end - at), at, at)
                if not done:
                    break
                at += done
        except OSError as error:
            if error.errno not in _CANNOT_COPY:
                raise
    buffer = memoryview(bytearray(min(_COPY_BUFFER, max(end - at, 1))))
    while at < end:
        done = source.read_at(at, buffer[: min(len(buffer), end - at)])
        if not done:
            return
        to.write_at(at, buffer[:done])
        at += done
