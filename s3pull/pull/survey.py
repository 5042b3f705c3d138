"""Before byte one: gives each new object its path, finds every name that cannot be, and adds up what a sync will cost.

Works on `changes` as a comparison left them, and leaves in them what can be done. Nothing is fetched or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3pull.errors import NameRefused, S3pullError
from s3pull.local import parts
from s3pull.local.names import Collisions, local_path
from s3pull.local.sweep import stands
from s3pull.local.tree import Tree
from s3pull.objects import RemoteObject
from s3pull.pull.changes import Changes, Wanted
from s3pull.pull.compare import Look
from s3pull.pull.guard import requests_for
from s3pull.pull.large import segment_size
from s3pull.pull.puller import archived
from s3pull.pull.small import SMALL

if TYPE_CHECKING:
    from s3pull.local.receipts import Brief

Refuse = Callable[[RemoteObject, str | None, S3pullError], None]


@dataclass(slots=True)
class Costs:
    """Sums over what is wanted. `room`: bytes of disk that it needs beyond what it replaces."""

    files: int = 0
    bytes: int = 0
    requests: int = 0
    archived: int = 0
    refused: int = 0
    room: int = 0
    #: paths of folders and files that new objects need, where deletions may have to make way first
    in_the_way: set[str] = field(default_factory=set)


def survey(
    changes: Changes,
    root: str,
    briefs: Callable[[], Iterator[Brief]],
    look: Look,
    *,
    folds: bool,
    encode: bool,
    delete: bool,
    refuse: Refuse,
    replaces: bool = True,
    mine: Callable[[str], bool] | None = None,
) -> Costs:
    """Name what is new, and refuse what has no name or is archived (`refuse` is told of each, and it is dropped).

    `briefs` gives the receipts: their paths are taken. `delete`: files of gone objects will make way. `replaces`: a
    fetched file frees the space of the one that it replaces. `mine`: what other processes take has names, too, with
    which ours may collide; then it is dropped.
    """
    costs = Costs()
    collisions = _taken(changes, briefs(), look, folds, delete) if changes.unnamed() else None
    goners = _goners(changes) if delete else set()
    named: list[tuple[str, str]] = []
    dropped: list[str] = []
    for wanted in changes.wanted():
        path = wanted.path
        if path is None or not wanted.known:  # also one that moves: its new path may be another's
            assert collisions is not None
            ours = mine is None or mine(wanted.key)
            try:
                path = _path(wanted, encode)
                collisions.check(path.rstrip("/"), directory=path.endswith("/"))
            except NameRefused as error:
                if not ours:  # its own process says so
                    continue
                error.key = root + wanted.key
                refuse(wanted.object(root), None, error)
                dropped.append(wanted.key)
                costs.refused += 1
                continue
            if not ours:
                continue
            if path != wanted.key:
                named.append((path, wanted.key))
            standing = look(path)
            wanted = wanted._replace(standing=standing[0] if standing is not None else None)
        if goners:  # also for what has a receipt: it may have been removed here, and its place taken
            costs.in_the_way |= _obstacles(path, goners)
        found = wanted.object(root)
        if found.archived and wanted.standing != wanted.size:
            refuse(found, path, archived(found))
            dropped.append(wanted.key)
            costs.archived += 1
            continue
        if path.endswith("/"):
            continue
        costs.files += 1
        costs.bytes += wanted.size
        costs.requests += requests_for(wanted.size, SMALL, segment_size(wanted.size))
        had = wanted.standing if wanted.standing is not None and wanted.standing > 0 and replaces else 0
        costs.room += wanted.size - had
    changes.drop(dropped)
    if mine is not None:
        changes.keep(mine)
    changes.name(named)
    return costs


def _path(wanted: Wanted, encode: bool) -> str:
    """A `dir/` marker keeps its slash: it becomes a folder."""
    if wanted.key.endswith("/") and wanted.size == 0:
        return local_path(wanted.key[:-1], encode=encode) + "/"
    return local_path(wanted.key, encode=encode)


def _taken(changes: Changes, briefs: Iterator[Brief], look: Look, folds: bool, delete: bool) -> Collisions:
    """The paths that are in use already, and stay so."""
    collisions = Collisions(folds)
    gone = (row.key for row in changes.gone() if not row.moved and (delete or not stands(look(row.path))))
    leaving = next(gone, None)
    for brief in briefs:
        while leaving is not None and leaving < brief.key:
            leaving = next(gone, None)
        if brief.key == leaving:
            continue
        try:
            collisions.check(brief.path.rstrip("/"), directory=brief.path.endswith("/"))
        except NameRefused:  # written when the file system, or the rules, were others: it is there, that counts
            continue
    return collisions


def _goners(changes: Changes) -> set[str]:
    """Paths of files that will be deleted, and of the folders that they are in (with a `/`)."""
    found: set[str] = set()
    for row in changes.gone():
        found.add(row.path)
        found.update(_folders(row.path))
    return found


def _folders(path: str) -> list[str]:
    return [path[: at + 1] for at, character in enumerate(path) if character == "/"]


def _obstacles(path: str, goners: set[str]) -> set[str]:
    """What must be deleted before something can be put at `path`: files in the place of its folders, a folder in its
    own place."""
    found = {folder[:-1] for folder in _folders(path) if folder[:-1] in goners}
    if not path.endswith("/") and path + "/" in goners:
        found.add(path + "/")
    return found


def part_bytes(tree: Tree, folders: set[str]) -> int:
    """Bytes on disk of what earlier runs left of objects in these folders: they are space that is spent already.

    What another run has open, or another machine may have, is not taken over: it is that one's.
    """
    total = 0
    for folder in folders:
        try:
            total += parts.takeable_bytes(tree.directory(folder, create=False))
        except S3pullError:
            continue
    return total
