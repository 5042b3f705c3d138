"""`--delete`: takes away files whose objects are gone, the folders that they leave empty, and then their receipts.

So whatever a kill leaves of it, the next run knows of it by the receipts.
Whether so much may be deleted was judged before (`guard`). Only what has a receipt of this source comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from s3pull.errors import NameRefused, NothingThere, S3pullError
from s3pull.events import Action, ObjectEvent, Reason
from s3pull.local.abandoned import remove_empty
from s3pull.local.directory import Directory
from s3pull.local.receipts import Receipts
from s3pull.local.tree import Tree
from s3pull.pull.changes import Gone
from s3pull.pull.puller import Tally

_BATCH = 500


class Removal:
    """Deletes in batches; `check` is called before each and raises where this run no longer holds the destination."""

    def __init__(
        self,
        tree: Tree,
        receipts: Receipts,
        root: str,
        tally: Tally,
        emit: Callable[[ObjectEvent], None],
        check: Callable[[], None],
    ) -> None:
        self._tree = tree
        self._receipts = receipts
        self._root = root
        self._tally = tally
        self._emit = emit
        self._check = check

    def remove(self, rows: Iterable[Gone], stopped: Callable[[], bool] = lambda: False) -> None:
        """Delete these files. A file that is gone already only loses its receipt; what is no file is left alone.

        Raises DiskError, Locked.
        """
        left = iter(rows)
        while not stopped() and (batch := list(islice(left, _BATCH))):
            self._check()
            touched: dict[str, Directory] = {}
            folders: set[str] = set()
            done = [row for row in batch if self._one(row, touched, folders)]
            for directory in touched.values():
                directory.sync()
            going = {row.key for row in done if not row.moved}
            remove_empty(self._tree, self._receipts, folders, going=going)
            self._receipts.drop(going)

    def _one(self, row: Gone, touched: dict[str, Directory], folders: set[str]) -> bool:
        """Whether the receipt can go, too."""
        folder, _, name = row.path.rpartition("/")
        if not name:  # a `dir/` marker: its folder goes if it is empty
            folders.add(folder)
            return True
        folders.add(folder)
        try:
            directory = self._tree.directory(folder, create=False)
            found = directory.stat(name)
            if found is None or not found.regular:
                return True
            directory.unlink(name)
        except (NothingThere, NameRefused):
            return True
        except S3pullError as error:
            if error.exit_code == 5:
                raise
            self._tally.counts[Action.FAILED] += 1
            self._tally.exits.add(error.exit_code)
            self._emit(ObjectEvent(Action.FAILED, self._root + row.key, row.path, row.size, error=error))
            return False
        touched[folder] = directory
        if (found.size, found.mtime_ns) != (row.size, row.mtime_ns):
            self._tally.local_changes += 1
        self._tally.counts[Action.DELETED] += 1
        self._emit(ObjectEvent(Action.DELETED, self._root + row.key, row.path, row.size, reason=Reason.GONE))
        return True
