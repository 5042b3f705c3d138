"""The destination as a tree of open directories. No component below the root is ever followed through a symbolic link.

On POSIX every directory is opened from its parent's descriptor with O_NOFOLLOW, and files are named relative to their
directory's descriptor. Windows has no such calls: there each component is looked at before it is used.

What is not done here: what is done in one directory (`directory`), which name belongs to which key (`names`), and how
a file becomes whole (`parts`, `settle`).
"""

from __future__ import annotations

import errno
import os
import stat as stat_bits
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

from s3pull.errors import DiskError, NameRefused, NothingThere
from s3pull.local import owner
from s3pull.local.directory import LINK_TAGS, NOFOLLOW, OPEN_DIRECTORY, SYMLINK, Directory, FileStat
from s3pull.local.durability import sync_directory
from s3pull.local.names import OWN_PREFIX
from s3pull.local.oserrors import data_error, name_error
from s3pull.local.windows import extended
from s3pull.records import NamedTuple

#: open directories that are kept for the next file
_KEPT = 128
_HAS_DIR_FD = os.open in os.supports_dir_fd


class Probe(NamedTuple):
    """What the file system does with a file of ours. `uid` differs from our own where a server maps it."""

    folds: bool
    uid: int


class Tree:
    """The tree below `root`, whose own components may be links: the user named it. Shared by many threads.

    With `create` the root is made with its parents; without, a missing root is an empty tree, and nothing is written
    but what is asked for. `durable` False: names are never synced. Raises NameRefused, DiskError.
    """

    def __init__(self, root: Path, *, create: bool, durable: bool = True) -> None:
        self.root = root
        self._create = create
        self._durable = durable
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Directory] = OrderedDict()
        self._fresh: set[str] = set()
        self._probed: Probe | None = None
        #: folders above the root's files in which a name was made that was not synced yet
        self._above: list[Path] = []
        if create:
            try:
                if durable:
                    self._above = [path.parent for path in (root, *root.parents) if not path.exists()]
                root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise name_error(error, f"cannot make {str(root)!r}") from error
        self._root = self._open_root()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all directories; those that somebody holds stay open until he lets go too."""
        with self._lock:
            self._kept.clear()
            self._root = None

    def directory(self, relative: str, create: bool = True) -> Directory:
        """The directory at `relative` ('' is the root), made with its parents (0777 less the umask) if `create`.

        Raises NameRefused where something else stands in the way, NothingThere where it is missing and not to be made.
        """
        found = self._look_up(relative)
        if found is not None:
            return found
        parts = relative.split("/")
        if not parts[0]:
            raise NameRefused(f"{relative!r} is no relative path")
        depth = len(parts)
        while found is None:
            depth -= 1
            found = self._look_up("/".join(parts[:depth]))
        for part in parts[depth:]:
            found = self._step(found, part, create)
        return found

    def stat(self, path: str) -> FileStat | None:
        """What stands at `path`, links not followed; None for nothing. NameRefused where a parent is no folder."""
        parent, _, name = path.rpartition("/")
        try:
            return self.directory(parent, create=False).stat(name)
        except NothingThere:
            return None

    def remove_empty(self, relative: str) -> bool:
        """Remove the folder at `relative` if nothing is in it; False where it stays. Never the root."""
        parent, _, name = relative.rpartition("/")
        try:
            above = self.directory(parent, create=False)
            os.rmdir(above.at(name), dir_fd=above.fd)
        except (NothingThere, NameRefused, OSError):  # in use, not there, not ours to remove: then it stays
            return False
        with self._lock:
            dropped = self._kept.pop(relative, None)
        del dropped
        return True

    def free_bytes(self) -> int:
        """Bytes that we may still write there."""
        try:
            if not _HAS_DIR_FD:
                import shutil

                return shutil.disk_usage(self.root).free
            there = os.statvfs(self.root)
        except OSError as error:
            raise data_error(error, f"cannot ask {str(self.root)!r} for its free space") from error
        return there.f_bavail * there.f_frsize

    @property
    def folds(self) -> bool:
        """Whether two names that differ in case or Unicode form are one file. Creates and removes a file, once.

        Where nothing may be written (not `create`), or nothing can be, the platform tells.
        """
        try:
            if self._create:
                return self.probed.folds
        except DiskError:  # who has something to write will be told
            pass
        return sys.platform in ("darwin", "win32")

    @property
    def probed(self) -> Probe:
        """What became of a file that was made to see; made once."""
        if self._probed is None:
            try:
                self._probed = self._probe(self.directory(""))
            except DiskError as error:  # of a file that nobody has heard of
                assert isinstance(error.__cause__, OSError)
                raise name_error(error.__cause__, f"cannot write into {str(self.root)!r}") from error.__cause__
        return self._probed

    def sync_names(self, directory: Directory) -> None:
        """fsync `directory` and, upwards, each parent in which a name was made that was not synced yet."""
        if self._above:
            self._sync_above()
        relative = directory.relative
        sync_directory(directory.fd, relative or ".")
        while relative in self._fresh:
            parent, _, _ = relative.rpartition("/")
            sync_directory(self.directory(parent, create=False).fd, parent or ".")
            self._fresh.discard(relative)
            relative = parent

    def _sync_above(self) -> None:
        """The names of the root and of what was made above it."""
        if _HAS_DIR_FD:
            for path in self._above:
                try:
                    fd = os.open(path, OPEN_DIRECTORY & ~NOFOLLOW)
                except OSError:  # it may be written to and not be read
                    continue
                try:
                    sync_directory(fd, str(path))
                finally:
                    os.close(fd)
        self._above = []

    def forget_fresh(self, directory: Directory) -> None:
        """The name of `directory` is durable."""
        self._fresh.discard(directory.relative)

    def refuse_link(self, path: str, shown: str) -> None:
        """Where descriptors cannot guard us (Windows): raise NameRefused for a link or junction at `path`."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return
        if stat_bits.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) in LINK_TAGS:
            raise NameRefused(f"cannot go through {shown!r}: it is a link")

    def _open_root(self) -> Directory | None:
        path = str(self.root)
        try:
            if not _HAS_DIR_FD:
                if not stat_bits.S_ISDIR(self.root.stat().st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                return Directory(self, "", None, _long_path(path))
            return Directory(self, "", os.open(path, OPEN_DIRECTORY & ~NOFOLLOW), path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise name_error(error, f"cannot open {path!r}") from error

    def _look_up(self, relative: str) -> Directory | None:
        if relative == "":
            if self._root is None:
                raise NothingThere(f"there is no folder {str(self.root)!r}")
            return self._root
        with self._lock:
            found = self._kept.get(relative)
            if found is not None:
                self._kept.move_to_end(relative)
            return found

    def _keep(self, directory: Directory) -> Directory:
        dropped = None  # let go of outside the lock: it may be the last one to hold it, and then it is closed
        with self._lock:
            kept = self._kept.setdefault(directory.relative, directory)
            self._kept.move_to_end(directory.relative)
            if len(self._kept) > _KEPT:
                dropped = self._kept.popitem(last=False)
        del dropped
        return kept

    def _step(self, parent: Directory, name: str, create: bool) -> Directory:
        relative = parent.path(name)
        at = parent.at(name)
        made = False
        for _ in range(3):  # it may be removed by somebody between making and opening
            try:
                return self._keep(self._open(parent, at, relative, made=made))
            except FileNotFoundError:
                if not create:
                    raise NothingThere(f"there is no folder {relative!r}") from None
            except OSError as error:
                raise self._blocked(error, parent, name, relative) from error
            try:
                os.mkdir(at, 0o777, dir_fd=parent.fd)
            except FileExistsError:
                continue
            except OSError as error:
                raise name_error(error, f"cannot make the folder {relative!r}") from error
            made = True
            if self._durable:
                self._fresh.add(relative)
        raise NameRefused(f"cannot make the folder {relative!r}: it is removed as often as it is made")

    def _open(self, parent: Directory, at: str, relative: str, *, made: bool) -> Directory:
        if parent.fd is not None:
            return Directory(self, relative, os.open(at, OPEN_DIRECTORY, dir_fd=parent.fd), "", made=made)
        self.refuse_link(at, relative)
        if not stat_bits.S_ISDIR(os.lstat(at).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return Directory(self, relative, None, at, made=made)

    @staticmethod
    def _blocked(error: OSError, parent: Directory, name: str, relative: str) -> Exception:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            found = parent.stat(name)
            what = "a symbolic link" if found is not None and found.kind == SYMLINK else "a file"
            return NameRefused(f"cannot use the folder {relative!r}: {what} stands there")
        return name_error(error, f"cannot open the folder {relative!r}")

    @staticmethod
    def _probe(directory: Directory) -> Probe:
        for left in directory.names(f"{OWN_PREFIX}-{owner.PROBE}-"):  # by one who was killed just here
            facts = owner.parse(left)
            if facts is not None and owner.state(facts.token) is owner.State.DEAD:
                directory.unlink(left)
        name = owner.part_name(owner.PROBE)
        suffix = "-\u00e9"
        try:
            fd = directory.create(name + suffix)
        except NameRefused:  # a file system that holds ASCII alone
            suffix = ""
            fd = directory.create(name)
        try:
            uid = os.fstat(fd).st_uid
            others = {name.upper() + suffix, name + suffix.replace("\u00e9", "e\u0301")} - {name + suffix}
            folds = any(directory.stat(other) is not None for other in others)
        finally:
            os.close(fd)
            directory.unlink(name + suffix)
        return Probe(folds, uid)


def _long_path(path: str) -> str:
    """Windows: lift the limit of 260 characters. Elsewhere (tests of the path form) as it is."""
    if os.name != "nt":
        return path
    return extended(str(Path(path).absolute()))
