"""The checkpoint log beside a part file: what its writer claims to have written. Pure: bytes in, claims out.

A header line, then records of 24 bytes, appended without fsync: `(segment u32, bytes done u64, running checksum u64,
CRC-32 of the record)`, little-endian. A record says that the first `done` bytes of its segment have that checksum. The
CRC-32 starts from the header's, so that a record counts only in its own log. Reading stops at the first record that is
torn, garbage, or claims what cannot be.

A claim is never trusted: it says where to look. `longest_match` believes only what the disk proves.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable

from s3pull.records import NamedTuple

_VERSION = 1
_RECORD = struct.Struct("<IQQ")
_CRC = struct.Struct("<I")
RECORD_SIZE = _RECORD.size + _CRC.size
_LONGEST_HEADER = 64 * 1024
_CHUNK = 1024 * 1024

#: a running checksum: `(data, value so far) -> value`, from 0; as zlib.crc32
Running = Callable[[memoryview, int], int]
#: `(offset, buffer) -> bytes read`, 0 at the end
Read = Callable[[int, memoryview], int]


class Header(NamedTuple):
    """Which bytes these are. `size` and `segment` (each segment's length but the last one's) are bytes."""

    key: str
    etag: str
    size: int
    segment: int
    algorithm: str

    @property
    def segments(self) -> int:
        """How many segments there are: none in an empty object."""
        return -(-self.size // self.segment)

    def length(self, segment: int) -> int:
        """The bytes of segment number `segment`, from 0."""
        return max(0, min(self.segment, self.size - segment * self.segment))


class Claim(NamedTuple):
    """The first `done` bytes of a segment have the running checksum `crc`."""

    done: int
    crc: int


class Claims(NamedTuple):
    """What a log says. `end` is where its last good record ends: what follows is to be cut off before appending."""

    header: Header | None
    segments: dict[int, list[Claim]]
    end: int


def header_line(header: Header) -> bytes:
    """The first line of a log, with a CRC-32 of its own."""
    text = json.dumps([_VERSION, *header], separators=(",", ":")).encode("ascii")
    return b"%s %08x\n" % (text, zlib.crc32(text))


def record(seed: int, segment: int, done: int, crc: int) -> bytes:
    """One record. `seed` is `seed_of` the log's header."""
    body = _RECORD.pack(segment, done, crc)
    return body + _CRC.pack(zlib.crc32(body, seed))


def seed_of(header: Header) -> int:
    """Where the CRC-32 of the records of a log with this header starts."""
    return zlib.crc32(header_line(header))


def claims(log: bytes) -> Claims:
    """What `log` claims, segment by segment, in the order in which it was written."""
    header, start = _header(log)
    if header is None:
        return Claims(None, {}, 0)
    seed = seed_of(header)
    found: dict[int, list[Claim]] = {}
    end = start
    for at in range(start, len(log) - RECORD_SIZE + 1, RECORD_SIZE):
        body = log[at : at + _RECORD.size]
        if _CRC.unpack_from(log, at + _RECORD.size)[0] != zlib.crc32(body, seed):
            break
        segment, done, crc = _RECORD.unpack(body)
        if done > header.length(segment):
            break
        found.setdefault(segment, []).append(Claim(done, crc))
        end = at + RECORD_SIZE
    return Claims(header, found, end)


def longest_match(
    claimed: Iterable[Claim],
    read: Read,
    crc: Running,
    *,
    buffer: memoryview | None = None,
    on_hashed: Callable[[int], None] | None = None,
) -> Claim:
    """The longest claim that the bytes prove, `Claim(0, 0)` for none. `read` counts offsets from the segment's start.

    Reads once, up to the longest claim; `on_hashed` is told of each piece's bytes.
    """
    buffer = buffer if buffer is not None else memoryview(bytearray(_CHUNK))
    proven = Claim(0, 0)
    at = 0
    running = 0
    for claim in sorted(set(claimed)):
        while at < claim.done:
            count = read(at, buffer[: min(len(buffer), claim.done - at)])
            if count == 0:
                return proven
            running = crc(buffer[:count], running)
            at += count
            if on_hashed is not None:
                on_hashed(count)
        if running == claim.crc and at:
            proven = claim
    return proven


def _header(log: bytes) -> tuple[Header | None, int]:
    end = log.find(b"\n", 0, _LONGEST_HEADER)
    text, _, crc = log[: max(end, 0)].rpartition(b" ")
    if not text or crc != b"%08x" % zlib.crc32(text):
        return None, 0
    try:
        version, *facts = json.loads(text)
        header = Header(*facts)
        good = version == _VERSION and header.size >= 0 and header.segment > 0
    except (ValueError, TypeError):
        return None, 0
    return (header, end + 1) if good else (None, 0)
