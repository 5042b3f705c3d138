"""One object, read at any place: for those who seek in it instead of downloading it. One thread at a time.

It is pinned by its ETag, so that two versions never mix. Reading on where one stopped asks for more and more ahead; a
place elsewhere asks for what is wanted and a little more. Nothing is kept here but one answer that is being read.
"""

from __future__ import annotations

from s3pull.errors import CheckFailed, ObjectChanged, Transient
from s3pull.objects import RemoteObject
from s3pull.pull.watch import Watch
from s3pull.remote.store import Body, Store

_KIB = 1024
#: bytes beyond what is wanted that are asked for at a new place, and at most after reading on for a while
LEAST_AHEAD = 256 * _KIB
MOST_AHEAD = 32 * _KIB * _KIB
#: a gap of so many bytes is read and thrown away: that costs less than another request
_SKIP = 256 * _KIB
_BUFFER = 128 * _KIB


def ahead_of(reads_on: bool, last: int) -> int:
    """Bytes to ask for beyond what is wanted; `last` is what the request before asked for so.

    | the place is                        | ahead                |
    |-------------------------------------|----------------------|
    | where the answer before ended       | twice as much        |
    | another one                         | the least            |
    """
    return min(MOST_AHEAD, 2 * last) if reads_on and last else LEAST_AHEAD


class Reader:
    """Reads the object that `pin` says. The store is the caller's to close."""

    def __init__(self, store: Store, pin: RemoteObject, version_id: str | None = None) -> None:
        self._store = store
        self._pin = pin
        self._version_id = version_id
        self._attempts = store.patience.attempts()
        self._body: Body | None = None
        #: where in the object the answer is, where it ends, and how much of it was asked for ahead
        self._at = self._end = self._ahead = 0
        self._watch: Watch | None = None
        self._watched = 0
        self._judged = False
        self._wrong: CheckFailed | None = None
        #: True: all was read and is what the service states. None: not all was read yet, or it cannot be told
        self.verified: bool | None = None
        if pin.size == 0:
            self._look(0, memoryview(b""))

    def read_at(self, at: int, buffer: memoryview) -> int:
        """Some bytes (at least 1) from `at` on; 0 only at the end.

        Raises ObjectChanged where the object was replaced, CheckFailed with the last bytes of an object that is not
        what the service states, and what `Store.get` raises.
        """
        if self._wrong is not None:
            raise self._wrong
        wanted = min(len(buffer), self._pin.size - at)
        while wanted > 0:
            try:
                body = self._body_at(at, wanted)
                count = body.readinto(buffer[: min(wanted, self._end - at)])
                if not count:  # no store does this; it would be no end
                    raise Transient(f"the answer for {self._pin.key} ended early", key=self._pin.key)
            except Transient as error:
                self._drop()
                self._attempts.failed(error)
            except ObjectChanged as error:
                self._drop()
                raise ObjectChanged(
                    f"{self._pin.key} was replaced while it was being read",
                    hint="what was read so far is of the old object: open it again",
                    now=error.now,
                    key=self._pin.key,
                ) from error
            else:
                self._attempts.progressed()
                self._passed(at, buffer[:count])
                return count
        return 0

    def close(self) -> None:
        """Give up the answer that is being read."""
        self._drop()

    def _body_at(self, at: int, wanted: int) -> Body:
        """The answer that is being read, if it leads to `at`, or a new one."""
        if self._body is not None and self._at <= at < self._end and at - self._at <= _SKIP:
            self._throw_away(at - self._at)
        if self._body is not None and at == self._at < self._end:
            return self._body
        if self._body is not None:
            if self._end - self._at <= _SKIP:
                self._throw_away(self._end - self._at)  # read to its end, the connection can be used again
            self._drop()
        self._ahead = ahead_of(at == self._end, self._ahead)
        start, end = at, min(self._pin.size, at + wanted + self._ahead)
        whole = start == 0 and end == self._pin.size
        self._body = self._store.get(
            self._pin.key,
            start=start,
            end=None if whole else end,
            pin=self._pin,
            version_id=self._version_id,
            checksum=whole,
        )
        self._at, self._end = start, end
        return self._body

    def _throw_away(self, count: int) -> None:
        assert self._body is not None
        buffer = memoryview(bytearray(min(count, _BUFFER)))
        while count:
            got = self._body.readinto(buffer[: min(count, len(buffer))])
            if not got:
                raise Transient(f"the answer for {self._pin.key} ended early", key=self._pin.key)
            self._passed(self._at, buffer[:got])
            count -= got

    def _passed(self, at: int, piece: memoryview) -> None:
        self._at = at + len(piece)
        self._look(at, piece)

    def _look(self, at: int, piece: memoryview) -> None:
        """Check what passes, as long as it goes on where the check stands; a gap may be made up for later."""
        end = at + len(piece)
        if self._judged or not at <= self._watched <= end:
            return
        if self._watch is None:
            self._watch = Watch(self._store, self._pin, self._version_id)
        self._watch.update(piece[self._watched - at :])
        self._watched = end
        if end == self._pin.size:
            self._judge(self._watch)

    def _judge(self, watch: Watch) -> None:
        self._judged = True
        self.verified = watch.verdict()
        if self.verified is False:
            stated = watch.checksum.algorithm if watch.checksum is not None else "ETag"
            self._wrong = CheckFailed(
                f"what was read of {self._pin.key} is not what the service states ({stated})",
                hint="do not use what was read: open it again",
                key=self._pin.key,
            )
            raise self._wrong

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
