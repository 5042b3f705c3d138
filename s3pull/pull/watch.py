"""Checks an object while its bytes pass, in order and once: for those who keep nothing that could be read again."""

from __future__ import annotations

from s3pull.objects import COMPOSITE, Checksum, RemoteObject
from s3pull.remote import checksums
from s3pull.remote.store import Store


class Watch:
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
