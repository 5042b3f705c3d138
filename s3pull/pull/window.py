"""How many requests of small objects a thread has under way, before it reads the answer of the first.

The window of a run: one request, whose answer says how long the way is; then it opens with each answer that is whole
and in time, closes when one is slow, and is never wider than the way is long (`Crew.room`) nor than there are
connections open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3pull.pull.pace import PAYS

if TYPE_CHECKING:
    from s3pull.pull.crew import Crew
    from s3pull.remote.store import Store

#: requests that do no harm, whatever becomes of them, if they are for so many bytes altogether: of what a slow link
#: brings of them a kill may cost all, and of what is denied each is told
_FEW, _LITTLE = 16, 64 * 1024
#: with each answer that was well: so the window is three times as wide after each round trip
_MORE = 2


class Window:
    """One for all threads of a run. What they count together may be a little wrong, and does no harm then."""

    def __init__(self, crew: Crew, store: Store) -> None:
        self._crew = crew
        self._store = store
        self._width = 1
        #: the most requests that a thread had when the crew was last told that there are more
        self._widest = 1
        #: connections that each thread finds open, as far as that is known
        self._open = 1

    def width(self, size: int) -> int:
        """Requests that a thread may have under way, at least 1, where the next object has `size` bytes."""
        crew, width = self._crew, self._width
        if 1 < width < _FEW:
            width = max(width, min(_FEW, _LITTLE // max(1, size)))
        width = min(width, crew.room)
        if width > self._open:
            threads = max(1, crew.threads)
            most = min(threads * min(4 * width, crew.room), crew.limit)
            self._open = max(1, self._store.widen(most) // threads)
            width = min(width, self._open)
        if width > self._widest * PAYS:  # enough to make goodput grow by what would be put down to more threads
            self._widest = width
            crew.widened = True
        return width

    def went(self, well: bool) -> None:
        """How the answer of a small object came: whole and soon, or slowly."""
        if not well:
            self._width = self._open = self._widest = 1
            return
        self._width += _MORE
        if self._width <= _FEW:
            self._crew.make_room()
