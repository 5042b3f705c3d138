"""Source against receipts against disk, in one pass: a merge of two streams that are in the order of their keys.

Nothing is hashed, nobody is asked beyond the listing, and nothing is kept but the differences (`changes`).

| listing | receipt            | the file                   | then |
|---------|--------------------|----------------------------|------|
| has it  | same ETag and size | as the receipt says        | same |
| has it  | same ETag and size | otherwise, or is not there | wanted |
| has it  | another            |                            | wanted |
| has it  | none               |                            | wanted, to be named |
| has not | some               |                            | gone, if it is in scope |

What does not belong to the source (the pattern of a glob) or is filtered out counts on neither side.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from s3pull.objects import RemoteObject
from s3pull.pull.changes import Changes, Gone, Wanted

if TYPE_CHECKING:
    from s3pull.local.receipts import Brief

#: `look(path)`: size and mtime_ns of the regular file there; None for nothing, (-1, 0) for anything else
Look = Callable[[str], tuple[int, int] | None]
#: whether the key, relative to the root, takes part
Scope = Callable[[str], bool]


class Disordered(Exception):
    """The listing is not in the order of its keys: compare it again, sorted."""


class Found:
    """What a comparison counted. `listed`: the source's objects, filtered out or not; `known`: receipts in scope."""

    __slots__ = ("gone", "known", "listed", "same", "same_bytes", "wanted")

    def __init__(self) -> None:
        self.listed = self.same = self.same_bytes = self.known = self.gone = self.wanted = 0


class Same(Protocol):
    """Told of each object that is as it should be."""

    def __call__(self, brief: Brief, found: RemoteObject) -> None: ...


def compare(
    pages: Iterable[list[RemoteObject]],
    root: str,
    briefs: Iterator[Brief],
    look: Look,
    changes: Changes,
    *,
    belongs: Scope | None = None,
    scope: Scope | None = None,
    path_of: Callable[[str], str | None] | None = None,
    on_same: Same | None = None,
    mine: Scope | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Found:
    """Note every difference in `changes` and count the rest.

    `root` is cut off from keys; others than those below it are left out. `belongs` says which of them the source means,
    `scope` which of those the filters let in. `path_of` gives a key's path anew, where names are encoded otherwise than
    when the receipts were written; None: it has no such path, and keeps the one that it has. `mine` says which are
    taken by this process, where others share the source: theirs are not looked at or counted, but their new names are
    noted all the same (`survey` needs them, and drops them). Raises Disordered, what the listing raises, DiskError.
    """
    counts = Found()
    cut = len(root)
    receipt = next(briefs, None)
    last = ""
    for page in pages:
        if stopped():
            break
        for found in page:
            key = found.key
            if key <= last:
                raise Disordered
            last = key
            if not key.startswith(root) or len(key) == cut:
                continue
            key = key[cut:]
            if belongs is not None and not belongs(key):
                continue
            counts.listed += 1
            if scope is not None and not scope(key):
                continue
            while receipt is not None and receipt.key < key:
                _lost(receipt, belongs, scope, changes, counts)
                receipt = next(briefs, None)
            ours = mine is None or mine(key)
            if receipt is None or receipt.key != key:
                counts.wanted += ours
                changes.want(Wanted.of(key, found))
                continue
            if not ours:
                receipt = next(briefs, None)
                continue
            counts.known += 1
            path = receipt.path if path_of is None else path_of(key) or receipt.path
            standing = look(path)
            if (
                standing is not None
                and path == receipt.path
                and receipt.etag == found.etag
                and receipt.size == found.size
                and standing == (receipt.size, receipt.mtime_ns)
            ):
                counts.same += 1
                counts.same_bytes += found.size
                if on_same is not None:
                    on_same(receipt, found)
            else:
                counts.wanted += 1
                moved = path != receipt.path
                size = standing[0] if standing is not None else None
                changes.want(Wanted.of(key, found, path, not moved, size))
                if moved:
                    changes.lose(Gone(*receipt[:4], moved=True))
            receipt = next(briefs, None)
    while receipt is not None:
        _lost(receipt, belongs, scope, changes, counts)
        receipt = next(briefs, None)
    return counts


def _lost(receipt: Brief, belongs: Scope | None, scope: Scope | None, changes: Changes, counts: Found) -> None:
    if (belongs is None or belongs(receipt.key)) and (scope is None or scope(receipt.key)):
        counts.known += 1
        counts.gone += 1
        changes.lose(Gone(*receipt[:4]))


class Ahead:
    """An iterator whose next items are fetched by a thread while this one is used: the network and we work at once."""

    def __init__(self, items: Iterable[list[RemoteObject]], depth: int = 3) -> None:
        self._items = (item for item in items)
        self._ready: queue.Queue[list[RemoteObject] | BaseException | None] = queue.Queue(depth)
        self._over = False
        threading.Thread(target=self._run, name="listing", daemon=True).start()

    def __iter__(self) -> Iterator[list[RemoteObject]]:
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Fetch no more."""
        self._over = True
        while not self._ready.empty():
            self._ready.get_nowait()

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            with closing(self._items) as items:
                for item in items:
                    self._ready.put(item)
                    if self._over:
                        return
        except BaseException as error:
            end = error
        self._ready.put(end)
