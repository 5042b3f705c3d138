"""One open directory of the destination, and what can be done with names in it. No name is followed through a link.

On POSIX everything goes by the directory's descriptor: swapping a component for a link afterwards changes nothing.
What is not done here: how one gets at a directory (`tree`).
"""

from __future__ import annotations

import errno
import os
import stat as stat_bits
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from s3pull.errors import NameRefused
from s3pull.local.oserrors import in_use_error, name_error
from s3pull.local.windows import in_use, patiently
from s3pull.records import NamedTuple

if TYPE_CHECKING:
    from s3pull.local.tree import Tree

REGULAR = "regular"
DIRECTORY = "directory"
SYMLINK = "symlink"
OTHER = "other"

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
#: a planted FIFO must not block whoever opens it
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
OPEN_DIRECTORY = os.O_RDONLY | NOFOLLOW | getattr(os, "O_DIRECTORY", 0)
#: seconds: file systems keep coarser times than nanoseconds (FAT: 2 s) and LastModified has whole seconds
TIME_SLACK = 2.0
#: Seconds for which nobody is thought to put files into a folder that we have made. To look for each before it is
#: fetched is a twentieth of a small object's work, and one that comes between the look and the rename is lost anyway.
_EMPTY_SECONDS = 1.0
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW | _BINARY
_CANNOT_LINK = frozenset(
    {errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EINVAL}
)
#: reparse points that lead elsewhere; others (cloud files, deduplication) are ordinary files
LINK_TAGS = frozenset({0xA000000C, 0xA0000003})


#: Times after this (in 2262) are taken for it: receipts hold 64 bits, and file systems have files until 2446 and later.
LAST_NS = (1 << 63) - 1


class FileStat(NamedTuple):
    """What stands at a path, links not followed. `mtime_ns` is nanoseconds since the epoch, LAST_NS at most."""

    size: int
    mtime_ns: int
    kind: str

    @property
    def regular(self) -> bool:
        return self.kind == REGULAR

    @classmethod
    def of(cls, found: os.stat_result) -> FileStat:
        return cls(found.st_size, min(found.st_mtime_ns, LAST_NS), _kind(found))


class Directory:
    """One open directory. It stays open for as long as anybody holds it; many threads may use it.

    Names are single components. Errors: NameRefused, DiskError; where said, None or False for "not there".
    """

    __slots__ = ("__weakref__", "_empty_until", "_prefix", "_tree", "device", "fd", "relative")

    def __init__(self, tree: Tree, relative: str, fd: int | None, path: str, *, made: bool = False) -> None:
        self._tree = tree
        #: '/'-joined, '' for the root
        self.relative = relative
        #: None on Windows
        self.fd = fd
        self._prefix = "" if fd is not None else path + os.sep
        self._empty_until = time.monotonic() + _EMPTY_SECONDS if made else 0.0
        self.device = os.fstat(fd).st_dev if fd is not None else Path(path).stat().st_dev

    def __del__(self) -> None:
        fd, self.fd = getattr(self, "fd", None), None
        if fd is not None:
            os.close(fd)

    def path(self, name: str) -> str:
        """For messages: where `name` is, below the root."""
        return f"{self.relative}/{name}" if self.relative else name

    @property
    def new(self) -> bool:
        """This run made it, a moment ago, and has put nothing there but what it fetched."""
        return time.monotonic() < self._empty_until

    def filled(self) -> None:
        """Something was put there that was not fetched: it is not `new` any more."""
        self._empty_until = 0.0

    def create(self, name: str) -> int:
        """A descriptor of a new empty file, read and write, mode 0666 less the umask. Taken names are refused."""
        try:
            return os.open(self.at(name), _CREATE, 0o666, dir_fd=self.fd)
        except OSError as error:
            raise name_error(error, f"cannot create {self.path(name)!r}") from error

    def open(self, name: str, write: bool = False) -> int | None:
        """A descriptor of the regular file `name`, or None where there is none. Anything else there is refused."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | NOFOLLOW | _NONBLOCK | _BINARY
        try:
            if self.fd is None:
                self._tree.refuse_link(self.at(name), self.path(name))
            fd = os.open(self.at(name), flags, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ENXIO:  # a FIFO or a socket without its other end
                raise NameRefused(f"cannot open {self.path(name)!r}: it is no regular file") from error
            raise name_error(error, f"cannot open {self.path(name)!r}") from error
        if not stat_bits.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NameRefused(f"cannot open {self.path(name)!r}: it is no regular file")
        return fd

    def append(self, name: str) -> int:
        """A descriptor of the new file `name` whose writes all go to its end."""
        try:
            return os.open(self.at(name), _CREATE | os.O_APPEND, 0o666, dir_fd=self.fd)
        except OSError as error:
            raise name_error(error, f"cannot create {self.path(name)!r}") from error

    def rename(self, old: str, new: str) -> bool:
        """Put `old` at `new`, replacing a file or link there in one step. False where there is no `old`."""
        fd = self.fd
        try:
            if fd is None:
                patiently(lambda: Path(self.at(old)).replace(self.at(new)))
            else:
                os.replace(self.at(old), self.at(new), src_dir_fd=fd, dst_dir_fd=fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            found = self.stat(new)
            if found is not None and found.kind == DIRECTORY:
                raise NameRefused(f"cannot write {self.path(new)!r}: a folder stands there") from error
            if in_use(error, stands=found is not None):
                raise in_use_error(f"cannot replace {self.path(new)!r}") from error
            raise name_error(error, f"cannot rename to {self.path(new)!r}") from error
        return True

    def unlink(self, name: str) -> bool:
        """Remove the file `name`; False where there is none."""
        try:
            patiently(lambda: os.unlink(self.at(name), dir_fd=self.fd))
        except FileNotFoundError:
            return False
        except OSError as error:
            if in_use(error):
                raise in_use_error(f"cannot remove {self.path(name)!r}") from error
            raise name_error(error, f"cannot remove {self.path(name)!r}") from error
        return True

    def stat(self, name: str) -> FileStat | None:
        """What is at `name`, links not followed, or None."""
        try:
            return FileStat.of(os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise name_error(error, f"cannot look at {self.path(name)!r}") from error

    def allocated(self, name: str) -> int:
        """Bytes that `name` takes on the disk (holes are none); 0 where it is not."""
        try:
            found = os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return 0
        return found.st_blocks * 512 if hasattr(found, "st_blocks") else found.st_size

    def touched(self, name: str) -> float | None:
        """When `name` was last written or changed in any way (seconds since the epoch), or None where it is not."""
        try:
            found = os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise name_error(error, f"cannot look at {self.path(name)!r}") from error
        return max(found.st_mtime, found.st_ctime)

    def link(self, name: str, into: Directory) -> bool:
        """Give the file `name` the same name in `into`, too; another file that stands there is replaced.

        False where the file system has no hard links, or no more of them.
        """
        for _ in range(2):
            try:
                os.link(
                    *(self.at(name), into.at(name)),
                    src_dir_fd=self.fd,
                    dst_dir_fd=into.fd,
                    follow_symlinks=os.link not in os.supports_follow_symlinks,
                )
                return True
            except FileExistsError:
                if self._same_file(into, name):
                    return True
                into.unlink(name)
            except OSError as error:
                if error.errno in _CANNOT_LINK:
                    return False
                raise name_error(error, f"cannot link {into.path(name)!r}") from error
        return False

    def place(self, part: str, name: str) -> bool | None:
        """Give the file `part` the name `name`, too, where nothing has it.

        False where something has, or there is no `part`; None where the file system has no hard links.
        """
        try:
            os.link(
                *(self.at(part), self.at(name)),
                src_dir_fd=self.fd,
                dst_dir_fd=self.fd,
                follow_symlinks=os.link not in os.supports_follow_symlinks,
            )
        except FileExistsError:
            # over NFS a link can be made and its answer lost: then the second try fails
            return self._same_name(part, name)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in _CANNOT_LINK:
                return None
            raise name_error(error, f"cannot link {self.path(name)!r}") from error
        return True

    def _same_name(self, one: str, two: str) -> bool:
        try:
            found = [os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False) for name in (one, two)]
        except OSError:
            return False
        return os.path.samestat(*found)

    def _same_file(self, other: Directory, name: str) -> bool:
        try:
            one = os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)
            two = os.stat(other.at(name), dir_fd=other.fd, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(one, two)

    def set_mtime(self, name: str, mtime: float) -> None:
        """Set the modification time (seconds since the epoch) of `name` by name."""
        when = nanoseconds(mtime)
        try:
            if self.fd is None:
                os.utime(self.at(name), ns=(when, when))
            else:
                os.utime(name, ns=(when, when), dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            raise name_error(error, f"cannot set the time of {self.path(name)!r}") from error

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`, in one scan, in no order."""
        try:
            with _scan(self.fd, self._prefix) as entries:
                return [entry.name for entry in entries if entry.name.startswith(prefix)]
        except OSError as error:
            raise name_error(error, f"cannot list {self.relative or '.'!r}") from error

    def sync(self) -> None:
        """Make the names in it durable, and its own name where it was made in this run."""
        self._tree.sync_names(self)

    def synced(self) -> None:
        """Its own name was made durable by other means."""
        self._tree.forget_fresh(self)

    def can_own(self, found: os.stat_result) -> bool:
        """Whether a file of ours would look like `found`: our user, no second name. Others' files are never adopted."""
        if self.fd is None:
            return True
        return found.st_nlink == 1 and (found.st_uid == os.geteuid() or found.st_uid == self._tree.probed.uid)

    def at(self, name: str) -> str:
        """`name` as calls take it: beside `fd`, or as a path where there is none."""
        if "/" in name or name in ("", ".", ".."):
            raise NameRefused(f"{name!r} is no name of a file")
        return self._prefix + name


def nanoseconds(seconds: float) -> int:
    """A time as `os.utime` wants it, whole seconds and milliseconds kept exact."""
    return round(seconds * 1000) * 1_000_000


@contextmanager
def _scan(fd: int | None, path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Scan through a descriptor of its own: scans that share one would share its position."""
    if fd is None:
        with os.scandir(path) as entries:
            yield entries
        return
    own = os.open(".", OPEN_DIRECTORY, dir_fd=fd)
    try:
        with os.scandir(own) as entries:
            yield entries
    finally:
        os.close(own)


def _kind(found: os.stat_result) -> str:
    if stat_bits.S_ISREG(found.st_mode):
        return REGULAR
    if stat_bits.S_ISDIR(found.st_mode):
        return DIRECTORY
    if stat_bits.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) in LINK_TAGS:
        return SYMLINK
    return OTHER
