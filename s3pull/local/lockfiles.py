"""The files of a run lock: how one comes to be, whole, and what is read from it. Decides nothing (see `runlock`).

A file is written under another name and gets its own by a hard link, which fails where the name is taken: so it is
there with its content or not at all, also where its maker was killed in between. Where there are no hard links it is
created and then written; a kill between the two leaves an empty file, and nobody can tell whose.

An empty file, or one of zeros, where there are hard links is what a power cut left of a lock: no process writes one.
"""

from __future__ import annotations

import errno
import hashlib
import os

from s3pull.errors import DiskError, NameRefused
from s3pull.local.directory import Directory
from s3pull.local.lockrecord import FREE, LONGEST, Record, encode, free_record, parse
from s3pull.local.oserrors import data_error
from s3pull.records import NamedTuple

LOCK = "lock"


class Link(NamedTuple):
    """A file of the chain as it was seen. `ident` is its nonce, or where it holds no record a hash of what it is.

    `void`: there is nothing in it.
    """

    name: str
    ident: str
    record: Record | None
    void: bool = False

    @property
    def free(self) -> bool:
        """Whether it is there to be taken: nobody held it."""
        return self.record is not None and self.record.token == FREE

    @property
    def mark(self) -> tuple[str, int]:
        """Another one whenever its writer did anything."""
        return self.ident, self.record.beat if self.record is not None else 0


class LockFiles:
    """The lock and its successors in one open `.s3pull`. Raises DiskError."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._links: bool | None = None

    def can_link(self) -> bool:
        """Whether the file system has hard links. Tries it, where nothing was made yet."""
        if self._links is None:
            record = free_record()
            name = link_name(record.nonce, 0)
            if self._place(record, name):
                self._directory.unlink(name)
        return bool(self._links)

    def create(self, name: str, record: Record) -> bool:
        """Write `record` into the new file `name`; False where there is one."""
        placed = self._place(record, name) if self._links is not False else None
        return self._write(name, record) if placed is None else placed

    def _place(self, record: Record, name: str) -> bool | None:
        """As `create`, whole or not at all; None where the file system has no hard links."""
        new = new_name(record.nonce)
        self._write(new, record)
        try:
            placed = self._directory.place(new, name)
        except NameRefused as error:
            raise DiskError(f"cannot lock this destination: {error.message}") from error
        finally:
            self._directory.unlink(new)
        self._links = placed is not None
        return placed

    def _write(self, name: str, record: Record) -> bool:
        """False where there is such a file."""
        try:
            fd = self._directory.create(name)
        except NameRefused as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise DiskError(f"cannot lock this destination: {error.message}") from error
        try:
            os.write(fd, encode(record))
        except BaseException as error:  # also Ctrl-C: an empty file would have to be watched until it counts as gone
            self._directory.unlink(name)
            if isinstance(error, OSError):
                raise data_error(error, f"cannot write {self._directory.path(LOCK)!r}") from error
            raise
        finally:
            close_quietly(fd)
        return True

    def read(self, name: str, tries: int = 3) -> Link | None:
        """What the file `name` is, or None where there is none. One that cannot be read has an ident all the same."""
        try:
            fd = self._directory.open(name)
        except NameRefused as error:
            raise DiskError(
                f"cannot lock this destination: {error.message}",
                hint=f"see what stands at {self._directory.path(name)!r}, and remove it",
            ) from error
        except DiskError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.EACCES, errno.EPERM):
                raise
            found = self._directory.stat(name)  # another user's: at least it is seen when it is written
            return None if found is None else Link(name, _ident(found.size, found.mtime_ns, b""), None)
        if fd is None:
            return None
        try:
            content = os.read(fd, LONGEST + 1)
            there = os.fstat(fd)
        except OSError as error:
            if error.errno == errno.ESTALE and tries > 1:  # NFS: replaced by another machine since we opened it
                return self.read(name, tries - 1)
            raise data_error(error, f"cannot read {self._directory.path(name)!r}") from error
        finally:
            close_quietly(fd)
        record = parse(content)
        ident = record.nonce if record else _ident(there.st_size, there.st_mtime_ns, content)
        return Link(name, ident, record, not content.strip(b"\0"))


def link_name(ident: str, number: int) -> str:
    """The name of successor `number` of the lock with this ident."""
    return f"{LOCK}.{ident}.{number}"


def new_name(nonce: str) -> str:
    """What a file is called while its record is written. Whoever wins the lock may remove it at any time."""
    return f"{LOCK}.{nonce}.new"


def close_quietly(fd: int) -> None:
    """What was not written (NFS tells it here) is not read back either, and that is what counts."""
    try:
        os.close(fd)
    except OSError:
        pass


def _ident(size: int, mtime_ns: int, content: bytes) -> str:
    return hashlib.sha256(b"%d %d " % (size, mtime_ns) + content).hexdigest()[:32]
