"""What a disk may hold after a power cut: a model of a file system, fed with what `layer.c` recorded.

Rules, those of POSIX with fsync(2) as Linux means it, and no kinder:

- The bytes, length and time of a file are safe when it was synced after they were written. Of what was written since,
  each write may be there or not, as bytes, zeros or garbage.
- A name (made, renamed, removed) is safe when its directory was synced afterwards. Of what was done since, either the
  first so many steps are there, as with a journal, or any of them, as POSIX would have it. A rename is one step.
- syncfs(2) makes all safe.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.layer import Op

#: how written bytes that were not synced may turn out
DATA = ("lost", "kept", "zeros", "garbage", "some")
#: and names
NAMES = ("lost", "kept", "first", "any")


@dataclass(eq=False)
class Node:
    """A file, a folder or a link. `steps`: what was done to a file, with when (0: it was there before)."""

    kind: str
    target: str = ""
    steps: list[tuple[int, Op]] = field(default_factory=list)
    data: bytes = b""
    mtime: int = 0
    synced: int = 0
    mode: int = 0o644


@dataclass(frozen=True)
class Step:
    """One change of names at time `at`: `gone` and then `made` are (folder, name) of `node`."""

    at: int
    node: Node
    gone: tuple[Node, str] | None = None
    made: tuple[Node, str] | None = None

    @property
    def folders(self) -> set[Node]:
        return {place[0] for place in (self.gone, self.made) if place is not None}


class Disk:
    """All below `root`, as it was before, and what was done to it up to some moment."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.root = Node("folder")
        self._before: dict[Node, dict[str, Node]] = {}
        self._now: dict[Node, dict[str, Node]] = {}
        self._inodes: dict[int, Node] = {}
        self._steps: list[Step] = []
        self._synced: dict[Node, int] = {}
        self._time = 0
        self._load(root, self.root)
        self._now = {folder: dict(names) for folder, names in self._before.items()}

    def _load(self, path: Path, node: Node) -> None:
        names = self._before[node] = {}
        for entry in sorted(path.iterdir()):
            look = entry.lstat()
            if entry.is_symlink():
                names[entry.name] = Node("link", str(entry.readlink()))
            elif entry.is_dir():
                names[entry.name] = Node("folder")
                self._load(entry, names[entry.name])
            else:
                known = self._inodes.setdefault(look.st_ino, Node("file"))
                known.data, known.mtime = entry.read_bytes(), look.st_mtime_ns
                names[entry.name] = known

    # --- what is done -----------------------------------------------------------------------------------

    def do(self, op: Op) -> None:
        self._time += 1
        if op.kind in ("write", "truncate", "utime"):
            if op.kind == "truncate" and op.inode not in self._inodes:
                return
            self._inodes[op.inode].steps.append((self._time, op))
        elif op.kind in ("fsync", "fdatasync"):
            node = self._find(op.path)
            if node.kind == "folder":
                self._synced[node] = self._time
            else:
                self._inodes[op.inode].synced = self._time
        elif op.kind == "syncfs":
            for one in self._inodes.values():
                one.synced = self._time
            for folder in self._now:
                self._synced[folder] = self._time
        elif op.kind != "range":
            self._name(op)

    def _name(self, op: Op) -> None:
        if op.kind in ("create", "mkdir", "symlink"):
            kind = {"create": "file", "mkdir": "folder", "symlink": "link"}[op.kind]
            node = Node(kind, op.path if kind == "link" else "", mtime=-1)
            if kind == "file":
                self._inodes[op.inode] = node
            if kind == "folder":
                self._before[node] = {}
                self._now[node] = {}
            step = Step(self._time, node, made=self._place(op.two if kind == "link" else op.path))
        elif op.kind in ("unlink", "rmdir"):
            step = Step(self._time, self._find(op.path), gone=self._place(op.path))
        elif op.kind == "link":
            step = Step(self._time, self._find(op.path), made=self._place(op.two))
        else:
            assert op.kind == "rename", op.kind
            step = Step(self._time, self._find(op.path), gone=self._place(op.path), made=self._place(op.two))
        self._steps.append(step)
        _apply(step, self._now)

    def _place(self, path: str) -> tuple[Node, str]:
        folder, _, name = path.rpartition("/")
        return self._find(folder), name

    def _find(self, path: str) -> Node:
        node = self.root
        for name in filter(None, path.removeprefix(self._root).split("/")):
            node = self._now[node][name]
        return node

    # --- what may be left -------------------------------------------------------------------------------

    def left(self, names: str, data: str, chance: random.Random) -> Left:
        """What one cut at this moment leaves."""
        loose = [step for step in self._steps if not self._is_safe(step)]
        if names == "kept":
            kept = set(loose)
        elif names == "lost":
            kept = set()
        elif names == "any":
            kept = {step for step in loose if chance.random() < 0.5}
        else:
            # a journal: nothing is there without all that was before it
            last = max((step.at for step in self._steps if step not in loose), default=0)
            end = chance.randint(last, self._time)
            kept = {step for step in loose if step.at <= end}
        tree = {folder: dict(found) for folder, found in self._before.items()}
        for step in self._steps:
            if step in kept or step not in loose:
                _apply(step, tree)
        return Left(tuple(self._show(self.root, "", tree, data, chance)))

    def _is_safe(self, step: Step) -> bool:
        return all(self._synced.get(folder, 0) > step.at for folder in step.folders)

    def _show(
        self, folder: Node, prefix: str, tree: dict[Node, dict[str, Node]], how: str, chance: random.Random
    ) -> Iterator[tuple[str, str, bytes, int]]:
        for name, node in sorted(tree[folder].items()):
            path = prefix + name
            if node.kind == "folder":
                yield path, "folder", b"", 0
                yield from self._show(node, path + "/", tree, how, chance)
            elif node.kind == "link":
                yield path, "link", node.target.encode(), 0
            else:
                # nobody's garbage is taken for a record of the lock, but it is watched for a minute: see test_runlock
                mild = how == "garbage" and name.startswith("lock")
                yield path, "file", *_content(node, "zeros" if mild else how, chance)


@dataclass(frozen=True)
class Left:
    """Path, kind, bytes and time of all that is there; a time of -1 is any."""

    entries: tuple[tuple[str, str, bytes, int], ...]

    def write(self, root: Path) -> None:
        """Make it so in the empty folder `root`."""
        for path, kind, data, mtime in self.entries:
            if kind == "folder":
                (root / path).mkdir()
            elif kind == "link":
                (root / path).symlink_to(data.decode())
            else:
                (root / path).write_bytes(data)
                if mtime >= 0:
                    os.utime(root / path, ns=(mtime, mtime))


def _apply(step: Step, tree: dict[Node, dict[str, Node]]) -> None:
    if step.gone is not None:
        folder, name = step.gone
        if tree[folder].get(name) is step.node:
            del tree[folder][name]
    if step.made is not None:
        folder, name = step.made
        tree[folder][name] = step.node


def _content(node: Node, how: str, chance: random.Random) -> tuple[bytes, int]:
    data, mtime = bytearray(node.data), node.mtime
    for at, op in node.steps:
        loose = at > node.synced
        if loose and (how == "lost" or (how == "some" and chance.random() < 0.5)):
            continue
        if op.kind == "utime":
            mtime = op.offset
            continue
        if op.kind == "truncate":
            data = data[: op.offset].ljust(op.offset, b"\0")
        else:
            bytes_ = op.data
            if loose and how in ("zeros", "garbage"):
                bytes_ = bytes(len(bytes_)) if how == "zeros" else chance.randbytes(len(bytes_))
            end = op.offset + len(bytes_)
            if len(data) < end:
                data.extend(bytes(end - len(data)))
            data[op.offset : end] = bytes_
        mtime = -1
    return bytes(data), mtime
