"""What a stored checksum or ETag means, and how to compute it. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html:

    | algorithm                          | FULL_OBJECT | COMPOSITE | bytes of the digest, big-endian |
    |------------------------------------|-------------|-----------|---------------------------------|
    | CRC64NVME                          | yes         | never     | 8                               |
    | CRC32, CRC32C                      | yes         | yes       | 4                               |
    | SHA1, SHA256, SHA512, MD5          | single PUT  | yes       | 20, 32, 64, 16                  |
    | XXHASH64, XXHASH3, XXHASH128       | single PUT  | yes       | 8, 8, 16                        |
    | any other, or awscrt too old       |             |           | cannot be verified              |

FULL_OBJECT is base64 of the digest of all bytes. COMPOSITE is base64 of the digest of the parts' raw digests, one
after another, then `-<parts>`. Only CRCs combine: that of A and that of B give that of A+B, so segments may be
computed apart.

An algorithm that cannot be computed is never a mismatch: callers say "not verified", not "corrupt". The C code
is that of awscrt, called in its library (`remote.crt`), or where that cannot be, of anycrc; both are loaded late.
"""

from __future__ import annotations

import hashlib
import math
from base64 import b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Protocol

from s3pull.objects import COMPOSITE, FULL_OBJECT, Checksum, RemoteObject
from s3pull.remote import crt

Data = bytes | bytearray | memoryview

#: bytes of a digest
_CRC_BYTES = {"CRC64NVME": 8, "CRC32": 4, "CRC32C": 4}
#: anycrc's names; awscrt's are S3's in small letters
_CRC_MODELS = {"CRC64NVME": "CRC64-NVME", "CRC32": "CRC32", "CRC32C": "CRC32C"}
#: bytes for which awscrt is not worth its import
_FEW = 128 * 1024 * 1024
_DIGESTS = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512", "MD5": "md5"}
_XXHASHES = {"XXHASH64": "new_xxhash64", "XXHASH3": "new_xxhash3_64", "XXHASH128": "new_xxhash3_128"}
_MAX_PARTS = 10_000


class Hasher(Protocol):
    """Fed with all bytes in order; `digest` is the raw digest, to be asked for once."""

    def update(self, data: Data, /) -> None: ...

    def digest(self) -> bytes: ...


# --- CRCs as numbers: they can start anywhere and be combined --------------------------------------------


@cache
def crc_function(algorithm: str) -> Callable[[Data, int], int]:
    """`f(data, crc so far)`, 0 to begin with. KeyError for what is no CRC."""
    return crt.crc_function(algorithm) or _FewThenMany(algorithm).update


class _FewThenMany:
    """Computes the first `few` bytes by anycrc and, once there is more, all others by awscrt.

    awscrt is two to four times as fast, and lets other threads work meanwhile, but to import it takes as long as anycrc
    needs for half a gibibyte.
    """

    def __init__(self, algorithm: str, few: int = _FEW) -> None:
        self._algorithm = algorithm
        self._function: Callable[[Data, int], int] = _model(algorithm).calc
        self._left: float = few

    def update(self, data: Data, crc: int = 0) -> int:
        self._left -= len(data)  # any thread may do so: what they count together may be a little wrong
        if self._left < 0:
            from awscrt import checksums

            self._function, self._left = getattr(checksums, self._algorithm.lower()), math.inf
        return self._function(data, crc)


@cache
def _model(algorithm: str) -> Any:
    from anycrc import Model

    return Model(_CRC_MODELS[algorithm])


@cache
def _combine_function(algorithm: str) -> Callable[[int, int, int], int]:
    return crt.combine_function(algorithm) or _model(algorithm).combine


def combine(algorithm: str, first: int, second: int, second_length: int) -> int:
    """The CRC of A+B from that of A, that of B and the length of B in bytes. KeyError for what is no CRC."""
    return _combine_function(algorithm)(first, second, second_length)


def combine_all(algorithm: str, pieces: Iterable[tuple[int, int]]) -> int:
    """The CRC of consecutive pieces, each given as (its own CRC, its length in bytes)."""
    whole = 0
    for crc, length in pieces:
        whole = combine(algorithm, whole, crc, length)
    return whole


def crc_digest(algorithm: str, crc: int) -> bytes:
    """A CRC as the raw digest that S3 encodes."""
    return crc.to_bytes(_CRC_BYTES[algorithm], "big")


def is_whole(stated: Checksum, data: Data) -> bool:
    """Whether `stated` is the FULL_OBJECT CRC of `data`, spelt as S3 does; False may also mean that it is another kind.

    Of small objects this is all that is to be done, ten thousand times.
    """
    algorithm, value, kind = stated
    size = _CRC_BYTES.get(algorithm)
    if size is None or kind != FULL_OBJECT:
        return False
    return encode(crc_function(algorithm)(data, 0).to_bytes(size, "big")) == value


def is_crc(algorithm: str) -> bool:
    return algorithm in _CRC_BYTES


# --- hashers -----------------------------------------------------------------------------------------------


class _Crc:
    __slots__ = ("_algorithm", "_crc", "_function")

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._crc = 0
        self._function = crc_function(algorithm)

    def update(self, data: Data, /) -> None:
        self._crc = self._function(data, self._crc)

    def digest(self) -> bytes:
        return crc_digest(self._algorithm, self._crc)


class _XxHash:
    __slots__ = ("_hash",)

    def __init__(self, algorithm: str) -> None:
        from awscrt.checksums import XXHash

        self._hash = getattr(XXHash, _XXHASHES[algorithm])()

    def update(self, data: Data, /) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return bytes(self._hash.finalize())


def hasher(algorithm: str) -> Hasher | None:
    """A new hasher, or None for an algorithm that cannot be computed here."""
    if is_crc(algorithm):
        return _Crc(algorithm)
    if algorithm in _DIGESTS:
        return hashlib.new(_DIGESTS[algorithm], usedforsecurity=False)
    if algorithm in _XXHASHES:
        try:
            return _XxHash(algorithm)
        except (ImportError, AttributeError):  # awscrt before 0.30
            return None
    return None


# --- stored values -----------------------------------------------------------------------------------------


def encode(digest: bytes) -> str:
    """The form in which S3 states a FULL_OBJECT value."""
    return b2a_base64(digest, newline=False).decode("ascii")


def full_object(algorithm: str, digest: bytes) -> Checksum:
    return Checksum(algorithm, encode(digest), FULL_OBJECT)


def composite(algorithm: str, part_digests: Iterable[bytes]) -> Checksum | None:
    """The COMPOSITE value of an object with these parts; None where the algorithm cannot be computed here."""
    outer = hasher(algorithm)
    if outer is None:
        return None
    parts = 0
    for digest in part_digests:
        outer.update(digest)
        parts += 1
    return Checksum(algorithm, f"{encode(outer.digest())}-{parts}", COMPOSITE)


def same(stored: Checksum, computed: Checksum) -> bool:
    """True where two values state the same; their base64 may be padded differently."""
    if stored == computed:
        return True
    if stored.algorithm != computed.algorithm or stored.type != computed.type:
        return False
    first, _, first_parts = stored.value.partition("-")
    second, _, second_parts = computed.value.partition("-")
    return first_parts == second_parts and _decoded(first) == _decoded(second)


def _decoded(value: str) -> bytes:
    try:
        return b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (Base64Error, ValueError):
        return value.encode("utf-8", "surrogateescape")


def parts_of(checksum: Checksum) -> int | None:
    """The number of parts that a COMPOSITE value names, or None."""
    return _count(checksum.value.partition("-")[2]) if checksum.type == COMPOSITE else None


# --- ETags -------------------------------------------------------------------------------------------------


def etag_md5(obj: RemoteObject) -> bool | None:
    """May the ETag be the MD5 of the bytes?

    | ETag                      | encryption               | answer                                            |
    |---------------------------|--------------------------|---------------------------------------------------|
    | not 32 hex digits         | any                      | False                                             |
    | 32 hex digits             | AES256                   | True                                              |
    | 32 hex digits             | aws:kms, aws:kms:dsse, … | False: it looks like one and is opaque            |
    | 32 hex digits             | not said (a listing)     | None: equal proves, different proves nothing      |
    """
    if len(obj.etag) != 32 or not _is_hex(obj.etag):
        return False
    return _md5_under(obj.encryption)


def etag_parts(obj: RemoteObject) -> int | None:
    """The number of parts N of a multipart MD5 ETag `<32 hex>-N`, None where the ETag is none."""
    digest, dash, count = obj.etag.partition("-")
    if not dash or len(digest) != 32 or not _is_hex(digest):
        return None
    return _count(count)


def multipart_etag_md5(obj: RemoteObject) -> bool | None:
    """Like `etag_md5`, for `<32 hex>-N`: the MD5 of the parts' raw MD5s."""
    return False if etag_parts(obj) is None else _md5_under(obj.encryption)


def multipart_etag(part_md5s: Iterable[bytes]) -> str:
    """The ETag of a multipart upload whose parts have these raw MD5s."""
    outer = hashlib.md5(usedforsecurity=False)
    parts = 0
    for digest in part_md5s:
        outer.update(digest)
        parts += 1
    return f"{outer.hexdigest()}-{parts}"


def _md5_under(encryption: str | None) -> bool | None:
    return None if encryption is None else encryption == "AES256"


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _count(text: str) -> int | None:
    if not text.isascii() or not text.isdecimal() or len(text) > 5:
        return None
    count = int(text)
    return count if 1 <= count <= _MAX_PARTS else None
