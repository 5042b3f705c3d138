"""Object bodies, what S3 says about them (ETag, checksum), and huge ones that are never held in memory.

A body is anything with `size` and `read(offset, length)`; plain bytes are wrapped. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

MIB = 1 << 20
PAGE = 4096


@dataclass(frozen=True)
class Held:
    """A body that is held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> memoryview:
        return memoryview(self.data)[offset : offset + length]


@functools.lru_cache(maxsize=8)
def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(MIB)


@dataclass(frozen=True)
class Sparse:
    """`size` deterministic bytes of which any range is computed when it is read.

    Every MiB is the same noise with its own number stamped into each 4 KiB page, so that bytes which end up at
    a wrong offset (page-aligned or not) always differ from what belongs there.
    """

    size: int
    seed: int = 0

    def block(self, number: int) -> bytearray:
        block = bytearray(_noise(self.seed))
        for at, byte in enumerate(number.to_bytes(8, "big")):
            block[at::PAGE] = bytes([byte]) * (MIB // PAGE)
        return block

    def read(self, offset: int, length: int) -> memoryview:
        """Up to `length` bytes from `offset`, never across a MiB boundary; empty only at the end."""
        number, skip = divmod(offset, MIB)
        stop = min(skip + length, MIB, skip + self.size - offset)
        return memoryview(self.block(number))[skip : max(skip, stop)]


Body = Held | Sparse


def chunks(body: Body, start: int, stop: int, most: int = MIB) -> Iterator[memoryview]:
    """The bytes [start, stop) in pieces of at most `most`."""
    while start < stop:
        piece = body.read(start, min(most, stop - start))
        yield piece
        start += len(piece)


def _layout(size: int, parts: tuple[int, ...] | None) -> Iterator[tuple[int, int]]:
    start = 0
    for length in parts or (size,):
        yield start, start + length
        start += length
    if start != size:
        raise ValueError(f"the parts add up to {start}, the body has {size} bytes")


@functools.lru_cache(maxsize=256)
def md5_etag(body: Body, parts: tuple[int, ...] | None) -> str:
    """MD5 of a single PUT, `md5(md5s of the parts)-N` of a multipart upload (ACCESS.md 'Integrity')."""
    digests = []
    for start, stop in _layout(body.size, parts):
        md5 = hashlib.md5(usedforsecurity=False)
        for piece in chunks(body, start, stop):
            md5.update(piece)
        digests.append(md5)
    if parts is None:
        return digests[0].hexdigest()
    whole = hashlib.md5(b"".join(d.digest() for d in digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"


class _Crc:
    """A hashlib-like face of awscrt's CRCs."""

    def __init__(self, name: str, width: int) -> None:
        import awscrt.checksums

        self._update = getattr(awscrt.checksums, name)
        self._width = width
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = self._update(bytes(data), self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


_HASHERS = {
    "CRC32": lambda: _Crc("crc32", 4),
    "CRC32C": lambda: _Crc("crc32c", 4),
    "CRC64NVME": lambda: _Crc("crc64nvme", 8),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}


def default_type(algorithm: str, parts: tuple[int, ...] | None) -> str:
    """A single PUT is always FULL_OBJECT; of a multipart upload CRC64NVME is, the others are COMPOSITE unless asked."""
    return "FULL_OBJECT" if parts is None or algorithm == "CRC64NVME" else "COMPOSITE"


@functools.lru_cache(maxsize=256)
def checksum(body: Body, algorithm: str, kind: str, parts: tuple[int, ...] | None) -> str:
    """The value of `x-amz-checksum-…`: base64, and `-N` after a COMPOSITE one."""
    if (kind == "COMPOSITE" and algorithm == "CRC64NVME") or (
        kind == "FULL_OBJECT" and parts and algorithm.startswith("SHA")
    ):
        raise ValueError(f"S3 knows no {kind} {algorithm} of a multipart upload")
    digests = []
    for start, stop in _layout(body.size, parts if kind == "COMPOSITE" else None):
        hasher = _HASHERS[algorithm]()
        for piece in chunks(body, start, stop):
            hasher.update(piece)
        digests.append(hasher.digest())
    if kind == "FULL_OBJECT":
        return base64.b64encode(digests[0]).decode()
    whole = _HASHERS[algorithm]()
    whole.update(b"".join(digests))
    return f"{base64.b64encode(whole.digest()).decode()}-{len(digests)}"


def part_checksum(body: Body, algorithm: str, start: int, stop: int) -> str:
    """The checksum of one part alone."""
    hasher = _HASHERS[algorithm]()
    for piece in chunks(body, start, stop):
        hasher.update(piece)
    return base64.b64encode(hasher.digest()).decode()
