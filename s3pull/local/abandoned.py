"""Folders in which no file of anybody's is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from s3pull.local import owner
from s3pull.local.directory import DIRECTORY
from s3pull.local.owner import State
from s3pull.local.tree import Tree

if TYPE_CHECKING:  # SQLite, which most runs do not need
    from s3pull.local.receipts import Receipts


def remove_abandoned(tree: Tree, folder: str) -> bool:
    """Remove a folder in which nothing lies but dead runs' parts and folders of that kind; False where more does.

    Raises NothingThere, NameRefused (no folder), DiskError.
    """
    directory = tree.directory(folder, create=False)
    ours = []
    for name in directory.names():
        facts = owner.parse(name)
        if facts is not None:
            if owner.state(facts.token) is not State.DEAD:
                return False
            ours.append(name)
            continue
        found = directory.stat(name)
        if found is not None and (found.kind != DIRECTORY or not remove_abandoned(tree, directory.path(name))):
            return False
    for name in ours:
        directory.unlink(name)
    tree.remove_empty(folder)
    return True


def remove_empty(tree: Tree, receipts: Receipts, folders: Iterable[str], *, going: Collection[str] = ()) -> None:
    """Deepest first, and upwards as long as that empties them; folders that objects (`dir/`) stand for stay.

    `going`: the keys of objects that are gone, whose receipts are still there.
    """
    every = {above for folder in folders for above in _upwards(folder)}
    for folder in sorted(every, key=lambda path: path.count("/"), reverse=True):
        if folder + "/" in going or receipts.find(folder + "/") is None:
            tree.remove_empty(folder)


def _upwards(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
