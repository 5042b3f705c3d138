"""Looks at many paths of a tree one after the other, in the order of their folders, as cheaply as it can.

One stat(2) relative to the open folder for each path, and nothing kept: a million paths need no more memory than one.
(On Linux a scandir would make the same call for each entry, and would have to keep what it found until it is asked
for.) No link is followed.
"""

from __future__ import annotations

import os
import stat as stat_bits

from s3pull.errors import NameRefused, NothingThere
from s3pull.local.directory import LAST_NS, Directory
from s3pull.local.oserrors import name_error
from s3pull.local.tree import Tree


def stands(found: tuple[int, int] | None) -> bool:
    """Whether what `Sweep.look` found is what its path says: a file, or a folder, not something else in its place."""
    return found is not None and found[0] >= 0


class Sweep:
    """`look` at one path after the other; neighbours that share a folder are the cheap case. One thread."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._folder: str | None = None
        self._directory: Directory | None = None
        self._missing: str | None = None

    def look(self, path: str) -> tuple[int, int] | None:
        """Size in bytes and mtime in nanoseconds of the regular file at `path`.

        None where there is nothing; `(-1, 0)` for anything that is no regular file. A path that ends in `/` is a
        folder: `(0, 0)` if it is one. Raises DiskError.
        """
        folder, _, name = path.rpartition("/")
        if folder != self._folder:
            self._enter(folder)
        directory = self._directory
        if directory is None:
            return None
        if not name:
            return (0, 0)
        try:
            if directory.fd is not None:
                found = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
            else:
                look = directory.stat(name)
                return None if look is None else (look.size, look.mtime_ns) if look.regular else (-1, 0)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise name_error(error, f"cannot look at {path!r}") from error
        if not stat_bits.S_ISREG(found.st_mode):
            return (-1, 0)
        return (found.st_size, min(found.st_mtime_ns, LAST_NS))

    def _enter(self, folder: str) -> None:
        self._folder, self._directory = folder, None
        missing = self._missing
        if missing is not None and (folder == missing or folder.startswith(missing + "/")):
            return
        try:
            self._directory = self._tree.directory(folder, create=False)
        except NothingThere:
            self._missing = self._first_missing(folder)
        except NameRefused:  # a file or a link stands in the way: the object has no file, and its fetch will say why
            self._missing = folder

    def _first_missing(self, folder: str) -> str | None:
        """The highest folder of the way that is not there: all below it need not be looked for."""
        at = folder.find("/")
        while at >= 0:
            try:
                self._tree.directory(folder[:at], create=False)
            except (NothingThere, NameRefused):
                return folder[:at]
            at = folder.find("/", at + 1)
        return folder or None
