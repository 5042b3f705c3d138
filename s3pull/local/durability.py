"""Making data and names survive a power cut, as each system does it. Says nothing of when: `parts` and `settle` decide.

A file system that cannot sync directories (some network and FUSE ones) needs no such sync; any other failure to sync is
a DiskError: what was written may be lost.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable

from s3pull.local.oserrors import data_error

_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS})


def sync_file(fd: int, what: str, *, barrier: bool = True) -> None:
    """Make the data and the times of an open file durable. `what` is the file's path, for the message.

    On macOS fsync stops at the drive's cache and F_FULLFSYNC empties that: without `barrier` (other files follow) it
    is left to a later call.
    """
    try:
        if barrier and sys.platform == "darwin":
            _full_sync(fd)
        else:
            os.fsync(fd)
    except OSError as error:
        raise data_error(error, f"cannot sync {what!r}") from error


def sync_data(fd: int, what: str) -> None:
    """Start over from here after a power cut: the data and the size, but not the times, of an open file."""
    try:
        if sys.platform == "linux":
            os.fdatasync(fd)
        else:
            os.fsync(fd)
    except OSError as error:
        raise data_error(error, f"cannot sync {what!r}") from error


def sync_directory(fd: int | None, what: str) -> None:
    """Make the names in an open directory durable; nothing for None (Windows, where renames are)."""
    if fd is None:
        return
    try:
        if sys.platform == "darwin":
            _full_sync(fd)
        else:
            os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise data_error(error, f"cannot sync the folder {what!r}") from error


@functools.cache
def syncfs() -> Callable[[int], None] | None:
    """syncfs(2): all of an open file's file system in one call; raises OSError. None where it cannot be had.

    Before Linux 5.8 it did not report that writing had failed, so there it is not used.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        major, minor = (int(number) for number in os.uname().release.split(".")[:2])
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (ValueError, OSError, AttributeError):
        return None
    if (major, minor) < (5, 8):
        return None
    call.argtypes = [ctypes.c_int]

    def sync(fd: int) -> None:
        if call(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return sync


def _full_sync(fd: int) -> None:
    import fcntl

    try:
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]
    except OSError:  # file systems without it
        os.fsync(fd)
