"""Small files that a killed run had written whole, but not yet named: taken up instead of fetched again.

Such a file waits for its batch to become durable (`settle`). Its name says which object it is on its way to and what
its bytes hash to, so it needs no log beside it. Only what a provably dead process left is taken, and only when its
bytes, read here, hash to what the name says: a power cut may have left less.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from itertools import chain

from s3pull.local import owner
from s3pull.local.directory import Directory, FileStat
from s3pull.local.oserrors import data_error
from s3pull.local.owner import PartName
from s3pull.local.parts import open_own, sweep
from s3pull.local.tree import Tree
from s3pull.records import NamedTuple


class Taken(NamedTuple):
    """A file that is ours now: its part name, its CRC, whether it was proven to be the object, and how it looks."""

    name: str
    crc: int
    verified: bool
    look: FileStat


class Leftovers:
    """What earlier runs left in the folders that this run comes to. Called from any thread."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        #: whole files by folder and ident
        self._found: dict[str, dict[str, list[PartName]]] = {}
        #: folders and idents of parts that were begun and have a log
        self._begun: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        return bool(self._found or self._begun)

    def begun(self, directory: Directory, ident: str) -> bool:
        """Whether a run that was killed got some way with this object: a part file of it can be gone on from."""
        return (directory.relative, ident) in self._begun

    def look(self, directory: Directory, *, dead_age: float) -> None:
        """Note what can be taken up in `directory`; the rest of what dead runs left is swept. Raises DiskError."""
        left: list[PartName] = []
        sweep(directory, dead_age=dead_age, left=left)
        whole = [facts for facts in left if facts.seal]
        self._begun |= {(directory.relative, facts.ident) for facts in left if facts.log}
        if whole:
            found = self._found[directory.relative] = defaultdict(list)
            for facts in whole:
                found[facts.ident].append(facts)

    def take(
        self, directory: Directory, ident: str, size: int, crc: Callable[[bytearray], int], *, verified: bool
    ) -> Taken | None:
        """The file of the object `ident` (`owner.part_ident`), if a whole one was left. `verified`: only if it was
        proven. Raises DiskError.
        """
        taken = None
        for facts in self._found.get(directory.relative, {}).pop(ident, ()):
            said, proven = owner.unseal(facts.seal)
            wanted = taken is None and (proven or not verified)
            look = _whole(directory, facts.name, size, crc, said) if wanted else None
            name = owner.part_name(ident, facts.seal)
            if look is None:
                directory.unlink(facts.name)
            elif directory.rename(facts.name, name):  # of all who want it one succeeds
                taken = Taken(name, said, proven, look)
        return taken

    def clear(self) -> None:
        """Remove what was found and not taken: its objects are fetched, changed or gone. Raises DiskError."""
        while self._found:
            relative, found = self._found.popitem()
            directory = self._tree.directory(relative)
            for facts in chain.from_iterable(found.values()):
                directory.unlink(facts.name)


def _whole(directory: Directory, name: str, size: int, crc: Callable[[bytearray], int], said: int) -> FileStat | None:
    """How the file looks, if it has that size and hashes to what is said."""
    file = open_own(directory, name)
    if file is None:
        return None
    try:
        look = FileStat.of(os.fstat(file.fd))
        if look.size != size:
            return None
        data = file.read_first(size)
    except OSError as error:
        raise data_error(error, f"cannot read {directory.path(name)!r}") from error
    return look if len(data) == size and crc(data) == said else None
