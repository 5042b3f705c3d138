"""What a killed run had named, and nobody wrote a receipt for; and what else it left.

Between a file's final name and its receipt a run can be killed. If its object is then gone from the source, nothing
would say that the file is ours, and no `--delete` would ever take it away. So a run notes first which files it will
make where nothing stands; the next one gives those that are there an unproven receipt: enough to own them, not to
trust them. It also knows then in which folders part files may lie that nobody will go on with.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from s3pull.errors import NameRefused, NothingThere
from s3pull.local.abandoned import remove_empty
from s3pull.local.directory import TIME_SLACK
from s3pull.local.mirror import UNPROVEN
from s3pull.local.parts import sweep
from s3pull.local.receipts import Expected, Receipts
from s3pull.local.sweep import Sweep, stands
from s3pull.local.tree import Tree
from s3pull.objects import Receipt


def note(files: Iterable[Expected], tree: Tree, receipts: Receipts) -> None:
    """Note those of `files` that have a receipt, or will be where no file stands. Raises DiskError, Locked.

    A folder or a link that is in their place is not taken for what was made there.
    """
    look = Sweep(tree).look
    receipts.expect(file for file in files if file.known or not stands(look(file.path)))


def take(tree: Tree, receipts: Receipts) -> set[str]:
    """Own what a killed run made; the folders in which it was at work. Raises DiskError, Locked.

    A file of another size or time than its object was to have is somebody else's.
    """
    look = Sweep(tree).look
    folders = set()
    for file in receipts.expected():
        folders.add(file.path.rpartition("/")[0])
        standing = look(file.path) if not file.known else None
        if standing is None or standing[0] != file.size or file.modified is None:
            continue
        if abs(standing[1] / 1e9 - file.modified) < TIME_SLACK:
            receipts.record(Receipt(file.key, file.path, *standing, UNPROVEN))
    receipts.flush()
    return folders


def tidy(tree: Tree, receipts: Receipts, folders: Iterable[str], *, dead_age: float) -> None:
    """Rid these folders of dead runs' parts (those that could be resumed: older than `dead_age` seconds), and the tree
    of those that are then empty and stand for no object. Raises DiskError.
    """
    swept = set()
    for folder in folders:
        with suppress(NothingThere, NameRefused):
            sweep(tree.directory(folder, create=False), dead_age=dead_age)
            swept.add(folder)
    remove_empty(tree, receipts, swept)
