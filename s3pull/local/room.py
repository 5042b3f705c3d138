"""Room on the disk for a new file, taken before the first byte comes.

Where none was taken ext4 reckons with each block of 4 KiB as it is written, a third of what the write of a large file
costs. Taken ahead, the file also lies in one piece, and nobody else fills the disk meanwhile.

Python has `posix_fallocate`, which glibc makes up where a file system cannot do it: by a write to each block. So it is
asked for as `FS_IOC_RESVSP` (linux/falloc.h), which either does it or says that it cannot.
"""

from __future__ import annotations

import os
import struct
import sys

if sys.platform == "linux":
    from fcntl import ioctl

#: struct space_resv: what kind of range, from where, two bytes of filling, start, length, and fields that nobody reads
_RANGE = struct.Struct("@hhqqiI4i")
#: _IOW('X', 40, struct space_resv). Where an architecture counts otherwise it is unknown, and so not done
_RESERVE = 1 << 30 | _RANGE.size << 16 | ord("X") << 8 | 40


def take_room(fd: int, size: int) -> None:
    """Have disk blocks for `size` bytes, the size of the open, empty file `fd`, if that can be had.

    It reads as zeros, and as a hole (SEEK_HOLE), as before. Where not all of it can be had nothing is taken: a disk
    that is filled for a download that cannot end would be of no use to anybody.

    Raises OSError where the file cannot be made sparse again.
    """
    if sys.platform != "linux" or not size:
        return
    disk = os.fstatvfs(fd)
    if disk.f_bavail * disk.f_frsize <= size:
        return
    try:
        ioctl(fd, _RESERVE, _RANGE.pack(0, os.SEEK_SET, 0, size, 0, 0, 0, 0, 0, 0))
    except OSError:  # it cannot, or a quota is in the way; some of it may be taken
        os.ftruncate(fd, 0)
        os.ftruncate(fd, size)
