"""A file of the destination, open for reading at offsets: to compare what stands there with an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3pull.local.directory import Directory
from s3pull.local.openfile import OpenFile
from s3pull.local.oserrors import data_error

ReadAt = Callable[[int, memoryview], int]


@contextmanager
def reading(directory: Directory, name: str) -> Iterator[ReadAt]:
    """`read_at(offset, buffer)` for the regular file `name`: how many bytes, 0 at its end, and for a file that is gone.

    One thread. Raises NameRefused where something else stands there, DiskError.
    """
    fd = directory.open(name)
    if fd is None:
        yield lambda _offset, _buffer: 0
        return

    file = OpenFile(fd)

    def read_at(offset: int, buffer: memoryview) -> int:
        try:
            return file.read_at(offset, buffer)
        except OSError as error:
            raise data_error(error, f"cannot read {directory.path(name)!r}") from error

    try:
        yield read_at
    finally:
        file.close()
