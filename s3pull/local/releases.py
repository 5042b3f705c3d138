"""Releases of a destination that is published as a whole: where they are, how one is built, named, and taken away.

    DEST/current                        a link to .s3pull/releases/N/tree
    DEST/.s3pull/releases/N/tree        one release; N is 000012-20261125T140932Z: its number, and when it was published
    DEST/.s3pull/releases/N/receipts.db its receipts
    DEST/.s3pull/releases/N/published   there if `current` ever led to it; its time: since when it no longer does
    DEST/.s3pull/staging/               the same of the release that is being built

A release is complete, durable and under its name before `current` leads to it, and its tree is never written to again:
files that did not change are second names of the release before (hard links), or copies where the file system has no
links. Who leads `current` back to an older release by hand loses none: only one that was never published is built on.

What is not done here: which files belong in a release.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from s3pull.errors import CheckFailed, DiskError, UsageError
from s3pull.local import owner
from s3pull.local.directory import Directory
from s3pull.local.durability import sync_directory, sync_file, syncfs
from s3pull.local.mirror import FOLDER, RECEIPTS, State
from s3pull.local.openfile import OpenFile, copy_range
from s3pull.local.oserrors import data_error, name_error
from s3pull.local.tree import Tree
from s3pull.records import NamedTuple

CURRENT = "current"
_RELEASES, _STAGING, _TREE, _PUBLISHED = "releases", "staging", "tree", "published"
_NAME = re.compile(r"(\d{6,12})-(\d{8}T\d{6}Z)")
_STAMP = "%Y%m%dT%H%M%SZ"


class Release(NamedTuple):
    """`published` is seconds since the epoch, by the clock of the machine that did it."""

    name: str
    number: int
    published: float


class Releases:
    """The releases below an open `.s3pull`. `durable` False: nothing is synced (tests, and who asks for it)."""

    def __init__(self, dest: Tree, state: State, *, durable: bool = True) -> None:
        self._dest = dest
        self._state = state
        self._durable = durable
        self._path = state.path

    # --- what is there ------------------------------------------------------------------------------------

    def current(self) -> Release | None:
        """The release that `current` leads to; None where there is no `current`.

        Raises UsageError where something else has that name.
        """
        try:
            target = (self._dest.root / CURRENT).readlink().as_posix()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._foreign() from error
        found = _release(target.removeprefix(f"{FOLDER}/{_RELEASES}/").removesuffix(f"/{_TREE}"))
        if found is None or target != _target(found.name):
            raise self._foreign()
        return found

    def all(self) -> list[Release]:
        """Every release that has its name, the oldest first, the current one among them."""
        try:
            names = [path.name for path in (self._path / _RELEASES).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise name_error(error, "cannot list the releases") from error
        return sorted((found for name in names if (found := _release(name))), key=lambda release: release.number)

    def tree_path(self, release: Release | None) -> Path:
        """Where the files of a release are; None is the one that is being built."""
        return self._of(release) / _TREE

    def receipts_path(self, release: Release | None) -> Path:
        return self._of(release) / RECEIPTS

    def _of(self, release: Release | None) -> Path:
        return self._path / _STAGING if release is None else self._path / _RELEASES / release.name

    def _foreign(self) -> UsageError:
        return UsageError(
            f"{str(self._dest.root / CURRENT)!r} is not ours: it should be a link to a release",
            hint="move it away, or choose another DEST for --publish",
        )

    # --- building -----------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Make room for the next release; True where an earlier run left one half built. Raises DiskError."""
        current = self.current()
        if (
            current is not None and self._of(current).is_dir() and not self._was_published(current)
        ):  # its process died just after the swap
            self._note_published(current, time.time())
        self._take_back()
        tree = self._path / _STAGING / _TREE
        resumed = tree.is_dir()
        try:
            tree.mkdir(parents=True, exist_ok=True)
            (self._path / _RELEASES).mkdir(exist_ok=True)
        except OSError as error:
            raise name_error(error, f"cannot make {str(tree)!r}") from error
        return resumed

    def _take_back(self) -> None:
        """A release that got its name, and then its process died before `current` led to it, is built on."""
        current = self.current()
        number = current.number if current is not None else -1
        for release in self.all():
            if release.number > number and not self._was_published(release):
                if (self._path / _STAGING).exists():
                    self._remove(release)
                else:
                    self._of(release).rename(self._path / _STAGING)

    def drop_staging(self) -> None:
        """What was half built is not needed."""
        staging = self._path / _STAGING
        if staging.exists():
            _rmtree(staging)

    def publish(self, check: Callable[[], None], *, clock: Callable[[], float] = time.time) -> Release:
        """Make what was built durable, name it, and let `current` lead to it, in one step for whoever looks.

        `check` is called before each step and raises where this run may not go on. Raises DiskError.
        """
        self._sync_staging()
        before = self.current()
        number = max((release.number for release in self.all()), default=0) + 1
        now = clock()
        release = Release(f"{number:06d}-{time.strftime(_STAMP, time.gmtime(now))}", number, now)
        check()
        try:
            (self._path / _STAGING).rename(self._of(release))
            self._sync(self._path / _RELEASES)
            self._sync(self._path)
            link = self._dest.root / owner.part_name()
            link.symlink_to(_target(release.name))
        except OSError as error:
            raise DiskError(
                f"cannot publish into {str(self._dest.root)!r}: {(error.strerror or str(error)).lower()}",
                hint="--publish needs a file system with symbolic links, and the right to make them",
            ) from error
        try:
            check()
            link.replace(self._dest.root / CURRENT)
        except BaseException as error:
            link.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise name_error(error, f"cannot replace {CURRENT!r}") from error
            raise
        self._sync(self._dest.root)
        for swapped in (before, release):
            if swapped is not None and self._of(swapped).is_dir():
                self._note_published(swapped, now)
        return release

    def _was_published(self, release: Release) -> bool:
        return (self._of(release) / _PUBLISHED).exists()

    def _note_published(self, release: Release, now: float) -> None:
        """`current` leads to `release`, or did until `now`."""
        note = self._of(release) / _PUBLISHED
        try:
            note.touch()
            os.utime(note, (now, now))
            self._sync(note.parent)
        except OSError as error:
            raise name_error(error, f"cannot write {str(note)!r}") from error

    def _left(self, release: Release, successor: Release) -> float:
        """When `current` went on from `release`, as far as is known: its successor came, or it was led back to it."""
        try:
            return max(successor.published, (self._of(release) / _PUBLISHED).stat().st_mtime)
        except OSError:
            return successor.published

    def prune(
        self, keep: int, grace: float, check: Callable[[], None], *, clock: Callable[[], float] = time.time
    ) -> int:
        """Take away old releases; how many. `keep` counts the current one and is 2 at least; `grace` is seconds.

        One goes when `keep` newer ones are there, the first of them since `grace`: who resolved `current` before that
        may still be reading.
        """
        releases = self.all()
        current = self.current()
        if current is None:
            return 0
        old = [release for release in releases if release.number <= current.number]
        now = clock()
        removed = 0
        for release, successor in pairwise(old):
            newer = sum(other.number > release.number for other in old)
            if newer >= max(2, keep) and now - self._left(release, successor) >= grace:
                check()
                self._remove(release)
                removed += 1
        return removed

    def _remove(self, release: Release) -> None:
        _rmtree(self._of(release))

    def _sync_staging(self) -> None:
        if not self._durable:
            return
        staging = self._path / _STAGING
        call = syncfs()
        try:
            if call is not None:
                fd = os.open(staging, os.O_RDONLY)
                try:
                    call(fd)
                finally:
                    os.close(fd)
                return
            for folder, _, _ in os.walk(staging, topdown=False):
                self._sync(Path(folder))
        except OSError as error:
            raise data_error(error, f"cannot sync {str(staging)!r}") from error

    def _sync(self, folder: Path) -> None:
        if not self._durable or os.name == "nt":
            return
        fd = os.open(folder, os.O_RDONLY)
        try:
            sync_directory(fd, str(folder))
        finally:
            os.close(fd)


class Content(NamedTuple):
    """What a copy has to be: its size in bytes, its time in nanoseconds, and whether its bytes are right."""

    mtime_ns: int
    size: int
    right: Callable[[Directory, str], bool]


def link_or_copy(source: Directory, target: Directory, name: str, content: Content) -> bool:
    """Give the file `name` of `source` a second name in `target`, or copy it where that cannot be; True for a link.

    What stands there already, and is not the same file, is replaced. Raises DiskError, CheckFailed (the copy is not
    what it should be).
    """
    target.filled()
    if source.link(name, target):
        return True
    _copy(source, target, name, content)
    return False


def _copy(source: Directory, target: Directory, name: str, content: Content) -> None:
    fd = source.open(name)
    if fd is None:
        raise DiskError(f"cannot copy {source.path(name)!r}: it is gone", hint="run again: it is fetched anew")
    part = owner.part_name()
    read = OpenFile(fd)
    try:
        write = OpenFile(target.create(part))
        try:
            copy_range(read, write, 0, content.size)
            os.utime(write.fd, ns=(content.mtime_ns, content.mtime_ns))
            sync_file(write.fd, target.path(name))
        except OSError as error:
            raise data_error(error, f"cannot copy {target.path(name)!r}") from error
        finally:
            write.close()
        if not content.right(target, part):
            raise CheckFailed(
                f"{source.path(name)!r} is damaged here: its checksum is not the receipt's",
                hint="s3pull verify --repair mends it",
            )
    except BaseException:
        target.unlink(part)
        raise
    finally:
        read.close()
    target.rename(part, name)


def _target(name: str) -> str:
    """Where `current` leads for a release."""
    return f"{FOLDER}/{_RELEASES}/{name}/{_TREE}"


def _release(name: str) -> Release | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        published = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return Release(name, int(match[1]), published)


def _rmtree(folder: Path) -> None:
    """Under another name first: what is half removed is never taken for a release."""
    trash = folder.parent / owner.part_name()
    try:
        folder.rename(trash)
        shutil.rmtree(trash)
    except OSError as error:
        raise data_error(error, f"cannot remove {str(folder)!r}") from error
