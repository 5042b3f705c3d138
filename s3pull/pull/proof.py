"""Is this content the object? Compares bytes at hand with what S3 states about them, and says when that proves nothing.

`remote.checksums` knows how each value is computed; here it is decided which value to trust and what a mismatch means.
Nothing is fetched here but, on a mismatch of a multipart object, the sizes of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from s3pull.objects import COMPOSITE, Checksum, RemoteObject
from s3pull.records import NamedTuple
from s3pull.remote import checksums

#: the bytes [start, end) of the content, in pieces of any size
Content = Callable[[int, int], Iterable[memoryview]]
#: HEAD with a part number: that part's size and the number of parts
PartSize = Callable[[int], RemoteObject]

_MIB = 1024 * 1024
#: part sizes that uploaders are known to use by default, tried where the service does not tell the layout
_USUAL_PARTS = tuple(n * _MIB for n in (8, 5, 16, 64, 15, 25, 32, 50, 100, 128, 256, 512))
_CHUNK = 4 * _MIB


class Proof(NamedTuple):
    """`equal` None: it cannot be told. `by` is what was computed and compared.

    `doubt` marks a difference that alone proves nothing: the ETag looks like an MD5 but may have been made otherwise.
    """

    equal: bool | None
    by: Checksum | None = None
    doubt: bool = False


UNTOLD = Proof(None)


def prove(
    stated: RemoteObject, content: Content, *, running: Checksum | None = None, part_size: PartSize | None = None
) -> Proof:
    """Compare `content` (of `stated.size` bytes) with what `stated` says of it.

    `running` is a checksum that was computed while the bytes were written: where it is the stated algorithm, nothing is
    read again.

    | stated                               | equal when                     | a difference means            |
    |--------------------------------------|--------------------------------|-------------------------------|
    | checksum, FULL_OBJECT                | it matches                     | different                     |
    | checksum, COMPOSITE                  | it matches for the part layout | different, if the layout is known |
    | MD5-shaped ETag, encryption AES256   | it matches                     | different                     |
    | the same, encryption not said        | it matches                     | doubt                         |
    | the same, aws:kms or SSE-C           | (cannot tell)                  |                               |
    | `…-N` ETag                           | it matches for the part layout | as above, if the layout is known |
    | nothing of these                     | (cannot tell)                  |                               |
    """
    checksum = stated.checksum
    if checksum is not None and checksums.hasher(checksum.algorithm) is not None:
        if checksum.type == COMPOSITE:
            return _composite(stated, checksum, content, part_size)
        if running is None or running.algorithm != checksum.algorithm:
            digest = _digest(checksum.algorithm, content(0, stated.size))
            running = checksums.full_object(checksum.algorithm, digest)
        if checksums.same(checksum, running):
            return Proof(True, running)
        if checksums.etag_parts(stated) is not None:
            # some servers state a COMPOSITE value and do not say that it is one
            found = _composite(stated, checksum, content, part_size)
            if found.equal or not checksums.is_crc(checksum.algorithm):
                return found
        return Proof(False, running)
    return _etag(stated, content, part_size)


def prove_at_once(stated: RemoteObject, view: memoryview) -> Proof | None:
    """That content in memory is the object, where one CRC says so; None where that takes `prove`."""
    if stated.checksum is not None and checksums.is_whole(stated.checksum, view):
        return Proof(True, stated.checksum)
    return None


def _digest(algorithm: str, pieces: Iterable[memoryview]) -> bytes:
    hasher = checksums.hasher(algorithm)
    if hasher is None:
        raise ValueError(f"{algorithm} cannot be computed")
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _composite(stated: RemoteObject, checksum: Checksum, content: Content, part_size: PartSize | None) -> Proof:
    parts = checksums.parts_of(checksum) or checksums.etag_parts(stated) or stated.parts
    if not parts:
        return UNTOLD
    wanted = checksum.value.partition("-")[0]
    computed: list[Checksum] = []

    def matches(sizes: list[int]) -> bool:
        found = checksums.composite(checksum.algorithm, _parts(checksum.algorithm, content, sizes))
        if found is not None:
            computed.append(found)
        return found is not None and checksums.same(Checksum(checksum.algorithm, f"{wanted}-{parts}", COMPOSITE), found)

    equal = _by_parts(stated.size, parts, matches, part_size)
    return UNTOLD if equal is None else Proof(equal, computed[-1])


def _etag(stated: RemoteObject, content: Content, part_size: PartSize | None) -> Proof:
    parts = checksums.etag_parts(stated)
    if parts is not None:
        is_md5 = checksums.multipart_etag_md5(stated)
        if is_md5 is False:
            return UNTOLD
        computed: list[str] = []

        def matches(sizes: list[int]) -> bool:
            computed.append(checksums.multipart_etag(_parts("MD5", content, sizes)))
            return computed[-1] == stated.etag

        equal = _by_parts(stated.size, parts, matches, part_size)
        if equal is None:
            return UNTOLD
        return Proof(equal, Checksum("MD5", computed[-1], COMPOSITE), doubt=not equal and is_md5 is None)
    is_md5 = checksums.etag_md5(stated)
    if is_md5 is False:
        return UNTOLD
    digest = _digest("MD5", content(0, stated.size))
    equal = digest.hex() == stated.etag
    return Proof(equal, checksums.full_object("MD5", digest), doubt=not equal and is_md5 is None)


def _parts(algorithm: str, content: Content, sizes: list[int]) -> list[bytes]:
    digests = []
    at = 0
    for size in sizes:
        digests.append(_digest(algorithm, content(at, at + size)))
        at += size
    return digests


def _by_parts(size: int, count: int, matches: Callable[[list[int]], bool], part_size: PartSize | None) -> bool | None:
    """True: some layout matches. False: the true layout is known and does not. None: the layout cannot be had."""
    first = part_size(1) if part_size is not None else None
    told = first is not None and first.parts == count
    for guess in [first.size] if told and first is not None else _USUAL_PARTS:
        sizes = _even(size, guess, count)
        if sizes is not None and matches(sizes):
            return True
    if not told or part_size is None:
        return None
    sizes = [part_size(number).size for number in range(1, count + 1)]
    if sum(sizes) != size:
        return None
    return matches(sizes)


def _even(size: int, part: int, count: int) -> list[int] | None:
    """The layout of `count` parts of `part` bytes of which the last may be smaller, or None where that cannot be."""
    if part <= 0 or -(-size // part) != count:
        return None
    return [part] * (count - 1) + [size - part * (count - 1)]


def in_memory(view: memoryview) -> Content:
    """The content of a small object that was read whole."""

    def pieces(start: int, end: int) -> Iterator[memoryview]:
        yield view[start:end]

    return pieces


def on_disk(read_at: Callable[[int, memoryview], int]) -> Content:
    """The content of a file; `read_at(offset, buffer)` returns how many bytes it read. A short file ends early."""
    buffer = memoryview(b"")  # most objects are proven without reading them again

    def pieces(start: int, end: int) -> Iterator[memoryview]:
        nonlocal buffer
        most = min(_CHUNK, end - start)
        if len(buffer) < most:
            buffer = memoryview(bytearray(most))
        while start < end:
            count = read_at(start, buffer[: end - start])
            if not count:
                return
            yield buffer[:count]
            start += count

    return pieces
