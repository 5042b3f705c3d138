"""Folders that a killed run made, and in which it left no file of anybody's."""

from __future__ import annotations

from s3pull.local import owner
from s3pull.local.directory import DIRECTORY
from s3pull.local.owner import State
from s3pull.local.tree import Tree


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
