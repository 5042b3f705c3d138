"""Receipts for a process that does not hold the destination: a copy of its own, and a journal for what it adds.

One of several that share a destination (`sync --shard`) needs what is known of all files, and may not write the
receipts that are there: one process at a time does that, who holds the run lock. So it reads them, and what others
have put into their journals since, into a temporary database, and says in its own journal what it does. Who finds
nobody else at work when he is done enters all of it into the receipts (`enter`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from s3pull.errors import DiskError, Locked
from s3pull.local import journals
from s3pull.local.journals import Journal
from s3pull.local.mirror import RECEIPTS, Mirror, State
from s3pull.local.receipts import Expected, Receipts, ReceiptsError, missing
from s3pull.local.runlock import RunLock
from s3pull.local.tree import Tree
from s3pull.objects import Receipt

_PAGE = 5000


class Shadow(Receipts):
    """A temporary copy of receipts. From `report` on, what is recorded or expected goes to `journal`, too, with its
    keys in full: `root` and what is below it.
    """

    journal: Journal | None = None
    root = ""
    _reporting = False

    def report(self) -> None:
        """What was known before is here: what comes now is news."""
        self._reporting = self.journal is not None

    def record(self, receipt: Receipt) -> None:
        """A file is finished and durable. Raises DiskError."""
        if self._reporting and self.journal is not None:
            self.journal.write(receipt._replace(key=self.root + receipt.key))
        super().record(receipt)

    def expect(self, files: Iterable[Expected]) -> None:
        """Note which files are about to be made: nobody here needs to know, but who comes after. Raises DiskError."""
        if self._reporting and self.journal is not None:
            self.journal.expect(file._replace(key=self.root + file.key) for file in files)

    def load(self, rows: Iterable[Receipt]) -> None:
        """Copy these."""
        left = iter(rows)
        while page := list(islice(left, _PAGE)):
            for row in page:
                super().record(row)
            self.flush()


@contextmanager
def shadowed(
    state: State | None, mirror: Mirror, tree: Tree, *, report: bool, note: Callable[[str], None]
) -> Iterator[Shadow]:
    """What is known of the files of `tree`, journals apart (`journals.merge`, with `keep`).

    With `report`, what is added is for others, too, and an ending in good order enters it into the receipts.

    Receipts that another process is writing at the moment are as none: then files are compared by their content, and
    `note` is told. Raises ReceiptsError (damaged), UsageError (of a newer version), DiskError.
    """
    journal = Journal(state, mirror.bucket, mirror.endpoint) if state is not None and report else None
    with tempfile.TemporaryDirectory(prefix="s3pull-") as folder:
        with Shadow.open(Path(folder) / RECEIPTS, durable=False) as shadow:
            assert isinstance(shadow, Shadow)
            shadow.journal, shadow.root = journal, mirror.root
            if journal is not None:
                journal.open()
            try:
                if state is not None:
                    _load(shadow, state, note)
                yield shadow
            finally:
                if journal is not None:
                    journal.close()
        if state is not None and report:
            enter(state, mirror, tree, note)


def _load(shadow: Shadow, state: State, note: Callable[[str], None]) -> None:
    if missing(state.receipts_path()):
        return
    try:
        with Receipts.open(state.receipts_path(), read_only=True) as known:
            shadow.load(known.rows())
    except ReceiptsError:
        raise
    except (Locked, DiskError) as error:  # or a killed run left a transaction that only a writer can roll back
        note(f"{error.message}: files are compared by their content")


def enter(state: State, mirror: Mirror, tree: Tree, note: Callable[[str], None]) -> None:
    """Turn all journals into receipts, unless some other process is still at work here: then that one will, or the next
    run. Raises ReceiptsError, UsageError, DiskError.
    """
    if journals.at_work(state) is not False:
        return
    try:
        with (
            RunLock.acquire(state.directory) as lock,
            Receipts.open(state.receipts_path(), guard=lock.check) as receipts,
        ):
            journals.merge(state, mirror, tree, receipts)
    except Locked as error:
        note(f"receipts are left to who holds the destination: {error.message}")
