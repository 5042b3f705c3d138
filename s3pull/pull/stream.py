"""One object to a pipe: in order, over one connection, checked on the way by. What was written cannot be taken back, so
the verdict comes afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from s3pull.errors import CheckFailed, NothingThere, ObjectChanged, Transient
from s3pull.objects import COMPOSITE, Checksum, RemoteObject
from s3pull.pull.progress import Progress
from s3pull.remote import checksums
from s3pull.remote.store import Store

_BUFFER = 512 * 1024


class Streamed(NamedTuple):
    """What went out. `verified` is False where nothing could be proven; a proven difference is raised instead."""

    object: RemoteObject
    received: int
    checksum: Checksum | None
    verified: bool


def stream(
    store: Store,
    key: str,
    write: Callable[[memoryview], object],
    *,
    version_id: str | None = None,
    first: int | None = None,
    last: int | None = None,
    require_checksum: bool = False,
    progress: Progress | None = None,
) -> Streamed:
    """Write the object at `key`, or its bytes `first` to `last` (inclusive, as in HTTP; a range is not verified).

    Raises CheckFailed after all was written where the bytes are not what the service states, ObjectChanged where the
    object was replaced underway, and what `Store.get` raises.
    """
    meter = (progress or Progress()).meter()
    attempts = store.patience.attempts()
    buffer = memoryview(bytearray(_BUFFER))
    whole = first is None and last is None
    at = first or 0
    end = None if last is None else last + 1
    pin: RemoteObject | None = None
    watch: _Watch | None = None
    while end is None or at < end:
        begun = pin is not None
        try:
            with store.get(
                key,
                start=at,
                end=end if not whole or begun else None,
                pin=pin,
                version_id=version_id,
                checksum=whole and not begun,
            ) as body:
                if pin is None:
                    pin = body.object
                    end = min(pin.size, pin.size if end is None else end)
                    watch = _Watch(store, pin, version_id) if whole else None
                    if progress is not None:
                        progress.total_bytes, progress.total_files = end - at, 1
                while count := body.readinto(buffer):
                    piece = buffer[:count]
                    write(piece)
                    at += count
                    meter.received += count
                    meter.done_bytes += count
                    if watch is not None:
                        watch.update(piece)
                    attempts.progressed()
        except Transient as error:
            attempts.failed(error)
        except ObjectChanged as error:
            if pin is None:
                raise
            raise ObjectChanged(
                f"{key} was replaced while it was being written out",
                hint="what came so far is of the old object: start again",
                key=key,
            ) from error
    if pin is None:
        raise NothingThere(f"the range of {key} is empty", hint="--range A-B counts bytes from 0, B included", key=key)
    verdict = watch.verdict() if watch is not None else None
    checksum = watch.checksum if watch is not None else None
    if verdict is False:
        raise CheckFailed(
            f"what was written of {key} is not what the service states ({checksum.algorithm if checksum else 'ETag'})",
            hint="do not use what was written: start again",
            key=key,
        )
    if require_checksum and not verdict:
        raise CheckFailed(f"{key} has no checksum that can be verified", hint="leave --require-checksum out", key=key)
    meter.done_files += 1
    return Streamed(pin, meter.received, checksum, bool(verdict))


class _Watch:
    """Computes, byte by byte as they pass, what the service states of the whole object."""

    def __init__(self, store: Store, pin: RemoteObject, version_id: str | None) -> None:
        self._pin = pin
        stated = pin.checksum
        self._stated = stated if stated is not None and checksums.hasher(stated.algorithm) is not None else None
        if self._stated is not None:
            self._algorithm: str | None = self._stated.algorithm
            self._parts = checksums.parts_of(self._stated) or 0
        else:
            opaque = checksums.etag_md5(pin) is False and checksums.multipart_etag_md5(pin) is False
            self._algorithm = None if opaque else "MD5"
            self._parts = checksums.etag_parts(pin) or 0
        self._part_size = 0
        if self._algorithm is not None and self._parts:
            told = store.head(pin.key, version_id=version_id, part=1)
            if told.parts == self._parts:
                self._part_size = told.size
            else:
                self._algorithm = None
        self._hasher = checksums.hasher(self._algorithm) if self._algorithm else None
        self._digests: list[bytes] = []
        self._in_part = 0
        self.checksum = self._stated

    def update(self, piece: memoryview) -> None:
        if self._hasher is None or self._algorithm is None:
            return
        while self._parts and self._in_part + len(piece) > self._part_size and len(self._digests) < self._parts - 1:
            cut = self._part_size - self._in_part
            self._hasher.update(piece[:cut])
            self._digests.append(self._hasher.digest())
            self._hasher = checksums.hasher(self._algorithm)
            if self._hasher is None:
                return
            piece = piece[cut:]
            self._in_part = 0
        self._hasher.update(piece)
        self._in_part += len(piece)

    def verdict(self) -> bool | None:
        """True: equal. False: different. None: it cannot be told (parts of unequal size, an ETag of unknown making)."""
        if self._hasher is None or self._algorithm is None:
            return None
        last = self._hasher.digest()
        if self._parts:
            return self._of_parts([*self._digests, last])
        self.checksum = checksums.full_object(self._algorithm, last)
        if self._stated is not None:
            equal = checksums.same(self._stated, self.checksum)
            # some servers state a COMPOSITE value and do not say that it is one
            return None if not equal and checksums.etag_parts(self._pin) is not None else equal
        if last.hex() == self._pin.etag:
            return True
        return False if checksums.etag_md5(self._pin) else None

    def _of_parts(self, digests: list[bytes]) -> bool | None:
        if self._stated is not None and self._algorithm is not None:
            computed = checksums.composite(self._algorithm, digests)
            equal = computed is not None and checksums.same(self._stated, computed)
        else:
            equal = checksums.multipart_etag(digests) == self._pin.etag
            self.checksum = Checksum("MD5", self._pin.etag, COMPOSITE)
        return True if equal else None
