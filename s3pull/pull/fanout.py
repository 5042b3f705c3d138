"""One listing by several hands. A page of 1,000 keys takes a round trip, and each page names the next: one stream of
them waits most of its time. So further streams begin ahead, at keys that are reckoned from what was seen (`ruler`).

Every stream asks for the same prefix as one alone would, and for nothing that a policy could make a condition on: only
`start-after` differs. Each covers the keys after its beginning up to where the next one begins, so that together they
are the listing, whatever the guesses were worth. A stream ends only where it has come to the very key with which the
next one began: so nothing is left out between two, also by a service that sorts in a way of its own.

| what happens                                   | then |
|------------------------------------------------|------|
| the first page is short, or not in order       | one stream |
| the first stream is out of order later         | it goes on alone |
| a stream ahead is refused, or begins elsewhere | what it was to list goes to the one before; no more are begun |
| a stream comes to another key than that with which the next began | it goes on alone |
| keys are out of order in the middle of a stream ahead | one new stream, and what was given out is left out of it |
| enough pages wait to be taken                  | the streams ahead wait, too: memory is bounded |
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from s3pull.errors import Cancelled, S3pullError, ServiceError
from s3pull.objects import RemoteObject
from s3pull.pull.ruler import Ruler
from s3pull.remote.store import Store

Page = list[RemoteObject]

_FULL = 1000
#: streams at once; what parsing leaves of a core is shared by so many
_HANDS = 8
#: pages that a stream is meant to list before the next one's begin
_STRETCH = 6
#: pages that may wait in all, and in the stream that is read
_WAITING = 48
_WAITING_FIRST = 8
#: no key is before it: such a stream ends with its page
_DROPPED = ""
#: page ends from which the reach of a page is reckoned
_MEASURED = 6
#: of so many keys of a page one is looked at
_SAMPLE = 100


def pages(
    store: Store, prefix: str, *, hands: int = _HANDS, stretch: int = _STRETCH, full: int = _FULL
) -> Iterator[Page]:
    """What `store.list(prefix)` gives, and raises, in the same order, sooner."""
    stream = store.list(prefix)
    first = next(stream, None)
    if first is None:
        return
    if len(first) < full or not _in_order(first, "") or hands < 2:
        yield first
        yield from stream
        return
    fan = _Fan(store, prefix, _Range("", stream), hands, stretch)
    try:
        yield from fan.run(first)
    finally:
        fan.close()


def _in_order(page: Page, after: str) -> bool:
    for found in page:
        if found.key <= after:
            return False
        after = found.key
    return True


class _OutOfOrder(ServiceError):
    """Keys that are not in their order, where they had to be."""


class _Range:
    """The keys after `after` up to and with `until` (None: to the end), listed by one stream.

    `cursor` is the last key that is listed; `ends` are the last keys of the last pages, after where it began.
    """

    __slots__ = (
        *("after", "before", "count", "cursor", "ends", "error", "first", "following", "over", "pages", "paused"),
        *("stream", "until"),
    )

    def __init__(self, after: str, stream: Iterator[Page]) -> None:
        self.after = after
        self.stream = stream
        self.until: str | None = None
        self.before: _Range | None = None
        self.following: _Range | None = None
        self.cursor = after
        self.first = ""
        self.count = 0
        self.ends: deque[str] = deque(maxlen=_MEASURED)
        self.pages: deque[Page] = deque()
        self.over = self.paused = False
        self.error: S3pullError | None = None


class _Fan:
    def __init__(self, store: Store, prefix: str, first: _Range, hands: int, stretch: int) -> None:
        self._store = store
        self._prefix = prefix
        self._hands = hands
        self._stretch = stretch
        self._ruler = Ruler(prefix)
        self._head = first
        self._change = threading.Condition()
        self._spread = True
        self._closed = False
        self._alive = 0

    def run(self, page: Page) -> Iterator[Page]:
        """All pages in order."""
        with self._change:
            self._take(self._head, page)
            self._start(self._head)
        at: _Range | None = self._head
        given, last = 0, ""
        while at is not None:
            with self._change:
                self._head = at
                self._change.notify_all()
                while not at.pages and not at.over:
                    self._change.wait()
                ready = list(at.pages)
                at.pages.clear()
                error, at = (at.error, at.following) if not ready else (None, at)
                self._change.notify_all()
            if isinstance(error, _OutOfOrder):
                yield from self._rest(given, last)
                return
            if error is not None:
                raise error
            for page in ready:
                given, last = given + len(page), page[-1].key
                yield page

    def _rest(self, given: int, last: str) -> Iterator[Page]:
        """By one stream, all after the first `given` keys, the last of which was `last`."""
        self.close()
        for page in self._store.list(self._prefix):
            known = min(given, len(page))
            if known and known == given and page[known - 1].key != last:
                raise _OutOfOrder(f"the service lists {self._prefix!r} in another order each time")
            given -= known
            if known < len(page):
                yield page[known:]

    def close(self) -> None:
        """Begin nothing more; streams under way end with their page."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    # --- hands --------------------------------------------------------------------------------------------

    def _start(self, begun: _Range | None = None) -> None:
        self._alive += 1
        threading.Thread(target=self._work, args=(begun,), name="listing", daemon=True).start()

    def _work(self, of: _Range | None) -> None:
        while (of := of or self._next()) is not None:
            self._list(of)
            of = None

    def _list(self, of: _Range) -> None:
        """Go on with `of` until it is over, or far enough ahead."""
        error: S3pullError | None = None
        try:
            while (page := next(of.stream, None)) is not None:
                with self._change:
                    if self._closed or not self._take(of, page):
                        break
                    if self._is_ahead(of):
                        of.paused = True
                        return
        except S3pullError as raised:
            error = raised
        except BaseException as raised:  # whoever takes the pages must hear of it
            error = Cancelled("the listing was stopped")
            error.__cause__ = raised
        with self._change:
            if error is not None:
                self._fail(of, error)
            of.over = True
            self._change.notify_all()

    def _is_ahead(self, of: _Range) -> bool:
        """Whether enough pages wait already, of those that will be read up to here."""
        if of is self._head:
            return len(of.pages) >= _WAITING_FIRST
        waiting = 0
        for at in self._chain():
            waiting += len(at.pages)
            if at is of:
                break
        return waiting >= _WAITING

    def _chain(self) -> Iterator[_Range]:
        at: _Range | None = self._head
        while at is not None:
            yield at
            at = at.following

    def _take(self, of: _Range, page: Page) -> bool:
        """Add a page of `of`; False where its keys end with it. The lock is held."""
        if not _in_order(page, of.cursor):
            if of.after:
                raise _OutOfOrder(f"the service does not list in the order of keys, after {of.cursor!r}")
            self._alone(of)
        # where the next stream begins this one may end, but only once the next has shown that it can
        while of.until is not None and page[-1].key > of.until and self._unproven(of.following):
            self._change.wait()
        until = of.until
        if until and page[-1].key > until and not self._goes_on(of, next(one.key for one in page if one.key > until)):
            self._alone(of)
            until = None
        whole = until is None or page[-1].key <= until
        if not whole:
            page = [found for found in page if until is not None and found.key <= until]
        if page:
            if not of.count:
                of.first = page[0].key
                of.ends.append(of.first)
            of.count += 1
            of.cursor = page[-1].key
            of.ends.append(of.cursor)
            of.pages.append(page)
            self._ruler.learn(found.key for found in page[::_SAMPLE])
            self._ruler.learn((of.cursor,))
            if self._spread and self._alive < self._hands and (of.count > 1 or self._alive < 2):
                for _ in range(self._hands - self._alive if of.count > 1 else 1):
                    self._start()
        of.over = not whole  # before anybody can look at it: it has nothing left to be split
        self._change.notify_all()
        return whole

    def _goes_on(self, of: _Range, key: str) -> bool:
        """Whether `key`, the first after `of`, is the one with which the streams after it go on. The lock is held."""
        at = of.following
        while at is not None:
            while self._unproven(at):
                self._change.wait()
            if at.count or at.until is None or key <= at.until:
                break
            at = at.following
        return at is None or at.first == key or self._closed

    def _unproven(self, of: _Range | None) -> bool:
        return of is not None and not of.count and not of.over and not self._closed

    def _alone(self, of: _Range) -> None:
        """Let the first stream list all, in whatever order; the others end with their page. The lock is held."""
        self._spread = False
        at = of.following
        while at is not None:
            at.until, at = _DROPPED, at.following
        of.until = of.following = None

    def _fail(self, of: _Range, error: S3pullError) -> None:
        """A stream has ended early. The lock is held."""
        if of.until == _DROPPED:
            return
        self._spread = False
        before = of.before
        # one before that is over has come to the end of the listing: it ends earlier only once this one has shown keys
        if before is None or of.count or isinstance(error, Cancelled):
            of.error = error
            return
        before.until, before.following = of.until, of.following
        if of.following is not None:
            of.following.before = before

    # --- where to begin -----------------------------------------------------------------------------------

    def _next(self) -> _Range | None:
        """A stream to go on with, or a new one; None once there is nothing left for this hand."""
        with self._change:
            while not self._closed:
                left = False
                for at in self._chain():
                    left = left or not at.over
                    if at.paused and not self._is_ahead(at):
                        at.paused = False
                        return at
                found = self._split() if self._spread else None
                if found is not None:
                    return found
                if not left:
                    break
                self._change.wait()
            self._alive -= 1
            return None

    def _split(self) -> _Range | None:
        """Give what one stream has still to list, from some pages ahead, to a new one. The lock is held.

        The first that has much left; else the one that goes to the end.
        """
        waiting = 0
        for at in self._chain():
            waiting += len(at.pages)
            if waiting >= _WAITING:
                return None
            if at.over:
                continue
            if at.until is None:
                return self._new(at, self._stretch)
            if at.count and (page := self._page(at)):
                left = (self._ruler.number(at.until) - self._ruler.number(at.cursor)) // page
                if left >= 2 * self._stretch:
                    return self._new(at, min(self._stretch, left // 2))
        return None

    def _page(self, of: _Range) -> int:
        """How far a page reaches thereabouts, with the gaps between pages; 0 where nothing is known."""
        number = self._ruler.number
        if len(of.ends) > 2:
            return max(1, (number(of.ends[-1]) - number(of.ends[1])) // (len(of.ends) - 2))
        at, count, start = of, of.count, of.ends[0] if of.ends else of.cursor
        while count < _MEASURED and at.before is not None and at.before.over:
            at = at.before
            count += at.count
            start = at.ends[0] if at.ends else start
        near = self._page(at.before) if count < _MEASURED and at.before is not None else 0
        return max(near, (number(of.cursor) - number(start)) // count, 1) if count else near

    def _new(self, of: _Range, ahead: int) -> _Range | None:
        page = self._page(of)
        if not page:
            return None
        ruler = self._ruler
        start = ruler.number(of.cursor) + ahead * page
        key = ruler.key(start)
        if key <= of.cursor or (of.until is not None and key >= of.until):
            return None
        made = _Range(key, self._store.list(self._prefix, start_after=key))
        made.until, made.following, made.before = of.until, of.following, of
        if made.following is not None:
            made.following.before = made
        of.until, of.following = key, made
        return made
