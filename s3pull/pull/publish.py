"""`sync --publish`: builds a whole new release beside the current one, and swaps when nothing is missing.

What did not change is linked from the current release, what did is fetched into the new one by the same puller as
always. A build that was interrupted is gone on with. `local.releases` knows where releases are and how one is named.

Where the receipts of the current release are lost, all its files are linked, and the puller compares them with their
objects, as it does in a tree that another tool made. What no object claims is carried on, with a receipt that says no
more than whose it is: the next run knows then that it may be deleted, and the guards count it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from types import TracebackType
from typing import Self

from s3pull.errors import CheckFailed
from s3pull.events import Reason
from s3pull.local.directory import Directory, FileStat
from s3pull.local.mirror import UNPROVEN, State
from s3pull.local.names import OWN_PREFIX, decode_path
from s3pull.local.receipts import Receipts, missing
from s3pull.local.releases import Content, Releases, link_or_copy
from s3pull.local.sweep import Sweep
from s3pull.local.tree import Tree
from s3pull.objects import Receipt
from s3pull.pull.changes import Changes
from s3pull.pull.standing import content_of, receipt_checksum
from s3pull.records import NamedTuple


class Publishing(NamedTuple):
    """`keep` releases at least (the current one among them, 2 at least); none goes within `grace` seconds."""

    keep: int = 2
    grace: float = 900.0

    @classmethod
    def of(cls, keep: int | None, grace: float | None) -> Publishing:
        """What was asked for, and the usual where nothing was."""
        usual = cls()
        return cls(usual.keep if keep is None else keep, usual.grace if grace is None else grace)


class Publication:
    """The current release, open to read, and the next one, made when it is needed. `state` None: a dry run."""

    def __init__(
        self,
        publishing: Publishing,
        dest: Tree,
        state: State | None,
        check: Callable[[], None],
        *,
        durable: bool = True,
    ) -> None:
        self._publishing = publishing
        self._check = check
        self._durable = durable
        self._stack = ExitStack()
        self._releases = Releases(dest, state, durable=durable) if state is not None else None
        self._staging: tuple[Tree, Receipts] | None = None
        self._expected = 0
        self._carry_gone = False
        self._resumed = False
        self._encoded = False
        self.base_tree: Tree | None = None
        self.base_receipts: Receipts | None = None

    def __enter__(self) -> Self:
        releases = self._releases
        current = releases.current() if releases is not None else None
        if releases is not None and current is not None:
            self.base_tree = self._stack.enter_context(Tree(releases.tree_path(current), create=False))
            path = releases.receipts_path(current)
            if not missing(path):
                self.base_receipts = self._stack.enter_context(Receipts.open(path, read_only=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def has_base(self) -> bool:
        """Whether there is a release already."""
        return self.base_tree is not None

    @property
    def adopts(self) -> bool:
        """Whether there is a release, and nothing says what its files are."""
        return self.base_tree is not None and self.base_receipts is None

    def why(self, key: str) -> tuple[Reason, bool]:
        """Why an object was fetched that the next release had not yet, and whether its file was changed here.

        The next release begins with nothing: what counts is how the file stands in the current one.
        """
        said = self.base_receipts.find(key) if self.base_receipts is not None else None
        if said is None or self.base_tree is None:
            return Reason.NEW, False
        standing = Sweep(self.base_tree).look(said.path)
        if standing is None:
            return Reason.REMOVED, True
        edited = standing != (said.size, said.mtime_ns)
        return (Reason.LOCAL_EDIT if edited else Reason.CHANGED), edited

    # --- the next one ---------------------------------------------------------------------------------------

    def stage(self) -> tuple[Tree, Receipts]:
        """The tree and the receipts of the release that is being built; what an earlier run left is gone on with."""
        if self._staging is None:
            assert self._releases is not None
            self._resumed = self._releases.begin()
            if self._resumed and self.adopts:  # which of its files are of the release before cannot be told any more
                self._releases.drop_staging()
                self._resumed = self._releases.begin()
            tree = self._stack.enter_context(Tree(self._releases.tree_path(None), create=True, durable=self._durable))
            receipts = self._stack.enter_context(
                Receipts.open(self._releases.receipts_path(None), durable=self._durable, guard=self._check)
            )
            self._staging = (tree, receipts)
        return self._staging

    def link_unchanged(
        self, changes: Changes, *, carry_gone: bool, stopped: Callable[[], None], encoded: bool = False
    ) -> None:
        """Give every unchanged file of the current release a name in the next one, and its receipt.

        `carry_gone`: files whose objects are gone stay (no `--delete`). `stopped` raises where the run should end.
        `encoded`: names are percent-encoded.
        """
        tree, receipts = self.stage()
        self._carry_gone = carry_gone
        self._encoded = encoded
        base, known = self.base_tree, self.base_receipts
        if base is None:
            return
        links = _Links(base, tree)
        if known is None:
            for path, found in _files(base):
                stopped()
                links.give(Receipt(path, path, found.size, found.mtime_ns, UNPROVEN))
            return
        rows = known.rows()
        while batch := list(islice(rows, 500)):
            stopped()
            self._check()
            for receipt in batch:
                if changes.wants(receipt.key) or (not carry_gone and changes.loses(receipt.key)):
                    continue
                links.give(receipt)
                receipts.record(receipt)
                self._expected += 1
        receipts.flush()

    def publish(self, changes: Changes, say: Callable[[str], None]) -> str:
        """Check that the next release is whole, let `current` lead to it, take old ones away; its name.

        Raises CheckFailed where a file is missing or not as its receipt says, DiskError, Locked.
        """
        releases = self._releases
        assert releases is not None
        tree, receipts = self.stage()
        receipts.flush()
        if self._resumed:
            self._clean(changes, tree, receipts)
        if self.adopts:
            self._own(tree, receipts)
        self._expected += sum(1 for _ in changes.wanted())
        _check_whole(tree, receipts, self._expected)
        self._staging = None
        self._stack.close()  # nothing is open in it when it is renamed
        release = releases.publish(self._check)
        say(f"published {release.name}")
        releases.prune(self._publishing.keep, self._publishing.grace, self._check)
        return release.name

    def drop(self) -> None:
        """Nothing changed: what an earlier run began to build is not needed."""
        if self._releases is not None:
            self._releases.drop_staging()

    def prune(self) -> None:
        """Take away releases that nobody can be reading any more."""
        if self._releases is not None:
            self._releases.prune(self._publishing.keep, self._publishing.grace, self._check)

    def _own(self, tree: Tree, receipts: Receipts) -> None:
        """Give a receipt to each file that came from the release before, and that no object claims."""
        for path, found in _files(tree):
            if _receipt_of(receipts, path) is not None:
                continue
            folder, _, name = path.rpartition("/")
            content = content_of(tree.directory(folder, create=False), name, found.size)
            key = _decoded(path) if self._encoded else path
            receipts.record(
                Receipt(key, path, found.size, found.mtime_ns, UNPROVEN, None, None, content.algorithm, content.value)
            )
            self._expected += 1
        receipts.flush()

    def _clean(self, changes: Changes, tree: Tree, receipts: Receipts) -> None:
        """A build that went on over several runs: take away what the source has dropped meanwhile, and leftovers."""
        stale = []
        for brief in receipts.briefs():
            if changes.wants(brief.key):
                continue
            base = self.base_receipts.find(brief.key) if self.base_receipts is not None else None
            same = base is not None and base[:5] == tuple(brief)
            if not same or (changes.loses(brief.key) and not self._carry_gone):
                stale.append(brief)
        for brief in stale:
            folder, _, name = brief.path.rpartition("/")
            if name:
                tree.directory(folder, create=False).unlink(name)
        receipts.drop(brief.key for brief in stale)
        for folder, folders, names in os.walk(tree.root, topdown=False):
            relative = os.path.relpath(folder, tree.root)
            relative = "" if relative == "." else relative.replace(os.sep, "/")
            directory = tree.directory(relative, create=False)
            for name in names:
                path = directory.path(name)
                if _receipt_of(receipts, path) is None:
                    directory.unlink(name)
            if relative and not folders and receipts.find(relative + "/") is None:
                tree.remove_empty(relative)


class _Links:
    """Gives files of one tree second names in another; neighbours share a folder."""

    def __init__(self, base: Tree, tree: Tree) -> None:
        self._base = base
        self._tree = tree
        self._folder: str | None = None
        self._pair: tuple[Directory, Directory] | None = None

    def give(self, receipt: Receipt) -> None:
        folder, _, name = receipt.path.rpartition("/")
        if not name:
            self._tree.directory(folder)
            return
        if folder != self._folder or self._pair is None:
            self._pair = (self._base.directory(folder, create=False), self._tree.directory(folder))
            self._folder = folder

        def right(directory: Directory, part: str) -> bool:
            checksum = receipt_checksum(receipt)
            return checksum is None or content_of(directory, part, receipt.size, checksum.algorithm) == checksum

        link_or_copy(*self._pair, name, Content(receipt.mtime_ns, receipt.size, right))


def _files(tree: Tree) -> Iterator[tuple[str, FileStat]]:
    """Every regular file of `tree` that is none of our own, and how it looks."""
    for folder, folders, names in os.walk(tree.root):
        folders[:] = sorted(name for name in folders if not name.startswith(OWN_PREFIX))
        relative = os.path.relpath(folder, tree.root).replace(os.sep, "/")
        for name in sorted(names):
            path = name if relative == "." else f"{relative}/{name}"
            found = tree.stat(path)
            if found is not None and found.regular and not name.startswith(OWN_PREFIX):
                yield path, found


def _receipt_of(receipts: Receipts, path: str) -> Receipt | None:
    """The receipt of the file at `path`: its key is the path, or what the path encodes."""
    for key in {path, _decoded(path)}:
        found = receipts.find(key)
        if found is not None and found.path == path:
            return found
    return None


def _decoded(path: str) -> str:
    try:
        return decode_path(path)
    except ValueError:
        return path


def _check_whole(tree: Tree, receipts: Receipts, expected: int) -> None:
    """Every receipt has its file, and there are as many as there should be."""
    look = Sweep(tree).look
    count = 0
    for brief in receipts.briefs():
        count += 1
        found = look(brief.path)
        if brief.path.endswith("/"):
            found = (brief.size, brief.mtime_ns) if found is not None else None
        if found != (brief.size, brief.mtime_ns):
            raise CheckFailed(
                f"not published: {brief.path} is not as it was fetched", hint="run again: it is fetched anew"
            )
    if count != expected:
        raise CheckFailed(
            f"not published: {count:,} files are there, {expected:,} should be", hint="run again; nothing is lost"
        )
