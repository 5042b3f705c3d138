"""Receipts as a run sees them: asked for by full key and path, written when a file is whole. Says nothing of when.

Two kinds of runs have one: `sync`, which holds the destination and its database, and `get` into a destination that
somebody keeps as a mirror, which may read the database and writes a journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s3pull.errors import DiskError, Locked
from s3pull.local.directory import FileStat
from s3pull.local.journals import Journal
from s3pull.local.mirror import PUBLISH, UNPROVEN, State
from s3pull.local.tree import Tree
from s3pull.objects import Checksum, Receipt, RemoteObject

if TYPE_CHECKING:
    from s3pull.local.receipts import Receipts
    from s3pull.pull.puller import Choices


class Ledger:
    """`root` is the key prefix that receipts' keys are relative to. `find` and `write` are called from any thread.

    `proven`: a receipt of a file whose content was never proven counts as none.
    """

    def __init__(
        self,
        root: str,
        find: Callable[[str], Receipt | None],
        write: Callable[[Receipt], None],
        *,
        proven: bool = False,
    ) -> None:
        self._root = root
        self._find = find
        self._write = write
        self._proven = proven

    def said(self, key: str, path: str) -> Receipt | None:
        """The receipt of the object `key` (in full) at `path`; None where there is none that says what is there."""
        if not key.startswith(self._root):
            return None
        found = self._find(key[len(self._root) :])
        if found is None or found.path != path or found.etag == UNPROVEN or (self._proven and not found.verified):
            return None
        return found

    def note(self, stated: RemoteObject, path: str, found: FileStat, content: Checksum, *, verified: bool) -> None:
        """The file at `path` is this object, durable, and looks like `found`; `content` was computed here."""
        self._write(
            Receipt(
                stated.key[len(self._root) :],
                path,
                found.size,
                found.mtime_ns,
                stated.etag,
                stated.version_id,
                stated.last_modified,
                content.algorithm,
                content.value,
                verified,
            )
        )

    def note_folder(self, marker: RemoteObject, path: str) -> None:
        """The folder of a `dir/` marker is there."""
        self._write(Receipt(marker.key[len(self._root) :], path + "/", 0, 0, marker.etag))


@contextmanager
def of_mirror(tree: Tree, bucket: str, endpoint: str, choices: Choices) -> Iterator[Ledger | None]:
    """For `get` into `tree`: the receipts that a mirror of the same bucket there has, and a journal to add to them.

    None where nobody keeps receipts, or only of releases, in which `get` does nothing. Receipts that a sync is just
    writing are as none: then files are compared by their content. Raises ReceiptsError (damaged) and UsageError (of a
    newer version): without them an edited file would look like an old one.
    """
    state = State.open(tree, create=False)
    mirror = state.mirror() if state is not None else None
    if state is None or (mirror is not None and mirror.layout == PUBLISH):
        yield None
        return
    known = mirror is not None and (mirror.bucket, mirror.endpoint) == (bucket, endpoint)
    receipts = _readable(state) if known else None
    root = mirror.root if mirror is not None else ""
    journal = Journal(state, bucket, endpoint) if not choices.dry_run else None

    def find(key: str) -> Receipt | None:
        if receipts is None or not key.startswith(root):
            return None
        try:
            return receipts.find(key[len(root) :])
        except Locked:
            return None

    try:
        write = journal.write if journal is not None else lambda _: None
        yield Ledger("", find, write, proven=choices.require_checksum)
    finally:
        if receipts is not None:
            receipts.close(abandon=True)
        if journal is not None:
            journal.close()


def _readable(state: State) -> Receipts | None:
    from s3pull.local.receipts import Receipts, ReceiptsError, missing  # SQLite, which most runs do not need

    if missing(state.receipts_path()):
        return None
    try:
        return Receipts.open(state.receipts_path(), read_only=True, alone=False)
    except ReceiptsError:
        raise
    except (Locked, DiskError):  # in use; or a killed sync left a transaction that only a writer can roll back
        return None
