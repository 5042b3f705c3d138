"""What the head of a good answer says about an object, and whether that fits what was asked for. Pure.

    | asked for | status | Content-Range                  | verdict                                      |
    |-----------|--------|--------------------------------|----------------------------------------------|
    | whole     | 200    | any                            | the object is Content-Length bytes long      |
    | whole     | 206    |                                | refused                                      |
    | [a, b)    | 206    | a - min(b, size)-1 / size      | that range                                   |
    | [a, b)    | 206    | another one, or none           | refused                                      |
    | [a, b)    | 200    | a - min(b, size)-1 / size      | that range (rclone's server says it so)      |
    | [a, b)    | 200    | none                           | taken only where [a, b) is the whole object  |
    | [a, b)    | 200    | none, and no ETag              | no object: Transient                         |

"Refused" is ObjectChanged where there is a pin, else Transient. An answer that contradicts the pin in ETag, size or
version is ObjectChanged: If-Match alone is not enough, because some servers ignore it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from s3pull.errors import ObjectChanged, Transient, Unsupported
from s3pull.objects import COMPOSITE, FULL_OBJECT, Checksum, RemoteObject
from s3pull.remote.heads import Head

_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_DATE = re.compile(rb"[A-Za-z]{3}, (\d\d) ([A-Za-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS = {name: n for n, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
#: the years 1900 to 2261: a receipt holds nanoseconds since 1970 in 64 bits, and what is no date is no news
_EARLIEST, _LATEST = -2_208_988_800.0, 9_214_646_400.0
_PARTS_DIGITS = 5  # 10,000 parts at most
_STRONG = re.compile(r"(?!W/)[ !#-~]+")
_CHECKSUM = b"x-amz-checksum-"
_OWN_CHECKSUM = b"x-amz-checksum-crc64nvme"
_NOT_A_VALUE = frozenset({b"type", b"mode", b"algorithm"})
_TEXTS = (b"x-amz-version-id", b"x-amz-storage-class", b"x-amz-server-side-encryption")
_SSE_C = b"x-amz-server-side-encryption-customer-algorithm"


def strip_etag(value: str) -> str:
    """An ETag without its quotes; a weak one stays as it is, so that it equals no strong one."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def quote_etag(etag: str) -> str | None:
    """The form that If-Match takes, or None for one that cannot be matched strongly (weak, or unfit for a header)."""
    return f'"{etag}"' if _STRONG.fullmatch(etag) else None


def describe(key: str, head: Head, size: int) -> RemoteObject:
    """The record of a GET's or HEAD's answer; `size` is the caller's to say.

    Raises Unsupported for SSE-C, Transient without ETag.
    """
    headers = head.headers
    get = headers.get
    etag = get(b"etag")
    if etag is None:
        raise Transient(f"the answer for {key} has no ETag: it is no object", status=head.status, key=key)
    if _SSE_C in headers:
        raise Unsupported(_SSE_C_MESSAGE.format(key), hint=SSE_C_HINT, status=head.status, key=key)
    restore = get(b"x-amz-restore")
    modified = get(b"last-modified")
    parts = get(b"x-amz-mp-parts-count")
    version, storage_class, encryption = map(get, _TEXTS)
    return RemoteObject(
        key,
        size,
        strip_etag(etag.decode("latin-1")),
        None if modified is None else parse_date(modified),
        None if version is None else version.decode("latin-1"),
        None if storage_class is None else storage_class.decode("latin-1"),
        _checksum(headers, etag),
        None if encryption is None else encryption.decode("latin-1"),
        int(parts) if parts is not None and parts.isdigit() and len(parts) <= _PARTS_DIGITS else None,
        None if restore is None else b'ongoing-request="false"' in restore,
    )


_SSE_C_MESSAGE = "{} is encrypted with a customer-provided key (SSE-C), which s3pull does not support"
SSE_C_HINT = "ask the owner for a copy under SSE-S3 or SSE-KMS"


def sse_c_message(key: str) -> str:
    return _SSE_C_MESSAGE.format(key)


def extent(
    key: str, head: Head, start: int, end: int | None, *, ranged: bool, pin: RemoteObject | None
) -> tuple[int, int]:
    """(size of the object, bytes that this answer brings) by the table above.

    Raises ObjectChanged, Transient, Unsupported.
    """
    length = head.length
    content_range = head.headers.get(b"content-range") if ranged else None
    if head.status == 200 and content_range is None:
        size = length if length is not None else (pin.size if pin is not None else None)
        if size is None:
            raise Unsupported(f"the answer for {key} does not say how long it is", status=200, key=key)
        if ranged and pin is not None and size != pin.size:
            # not the object at all: S3 can find out that it failed after it said 200
            raise Transient(
                f"the answer for {key} is not the object: {size} bytes without a range", status=200, key=key
            )
        if ranged and (start > 0 or (end is not None and end < size)):
            raise Unsupported(f"the server ignored the range that was asked of {key}", status=200, key=key)
        return size, size
    match = _RANGE.fullmatch(content_range or b"")
    if match is None:
        raise _misfit(key, pin, f"an answer with status {head.status} that does not fit the request for {key}")
    first, last = int(match[1]), int(match[2])
    if match[3] != b"*":
        size = int(match[3])
    elif pin is not None:
        size = pin.size
    else:
        raise Unsupported(f"the answer for {key} does not say how long the object is", status=head.status, key=key)
    if pin is not None and size != pin.size:
        raise ObjectChanged(f"{key} has {size} bytes now, not {pin.size}", key=key)
    expected = size - 1 if end is None else min(end, size) - 1
    if first != start or last != expected or (length is not None and length != last - first + 1):
        text = match[0].decode("ascii")
        raise _misfit(key, pin, f"asked for bytes {start}-{expected} of {key}, the answer has {text}")
    return size, last - first + 1


def _misfit(key: str, pin: RemoteObject | None, message: str) -> ObjectChanged | Transient:
    return Transient(message, key=key) if pin is None else ObjectChanged(message, key=key)


def check_pin(seen: RemoteObject, pin: RemoteObject | None, version_id: str | None) -> None:
    """Raise ObjectChanged where an answer is not about the pinned object."""
    if pin is not None:
        if seen.etag != pin.etag:
            raise ObjectChanged(f"{seen.key} has the ETag {seen.etag} now, not {pin.etag}", now=seen.etag, key=seen.key)
        if seen.size != pin.size:
            raise ObjectChanged(f"{seen.key} has {seen.size} bytes now, not {pin.size}", now=seen.etag, key=seen.key)
    if version_id is not None and seen.version_id != version_id:
        raise ObjectChanged(
            f"asked for version {version_id} of {seen.key}, the answer has {seen.version_id}",
            now=seen.etag,
            key=seen.key,
        )


def _checksum(headers: dict[bytes, bytes], etag: bytes) -> Checksum | None:
    """`x-amz-checksum-<algorithm>` and `-type`. S3 stores one; of several CRC64NVME is taken, or else the first.

    Where no type is said, `-<parts>` makes a COMPOSITE (base64 has no dash); without it the value of a multipart
    object may be either (some servers drop the `-<parts>`), so it says nothing.
    """
    value = headers.get(_OWN_CHECKSUM)
    algorithm = "CRC64NVME"
    if value is None:
        for name, found in headers.items():
            if name.startswith(_CHECKSUM) and name[len(_CHECKSUM) :] not in _NOT_A_VALUE:
                value, algorithm = found, name[len(_CHECKSUM) :].decode("ascii").upper()
                break
        else:
            return None
    kind = headers.get(b"x-amz-checksum-type")
    if kind is None:
        if b"-" not in value and b"-" in etag:
            return None
        kind = b"COMPOSITE" if b"-" in value else b"FULL_OBJECT"
    return Checksum(algorithm, value.decode("latin-1"), COMPOSITE if kind == b"COMPOSITE" else FULL_OBJECT)


_MAX_DAYS = 10_000
_days: dict[bytes, float] = {}


def parse_date(value: bytes) -> float | None:
    """An HTTP date (RFC 9110, IMF-fixdate) as epoch seconds; None for anything else. Days are remembered."""
    day = _days.get(value[:17])
    if day is None or len(value) != 29:
        match = _DATE.fullmatch(value)
        month = _MONTHS.get(match[2]) if match is not None else None
        if match is None or month is None:
            return None
        if len(_days) >= _MAX_DAYS:
            _days.clear()
        try:
            day = _days[value[:17]] = datetime(int(match[3]), month, int(match[1]), tzinfo=UTC).timestamp()
        except ValueError:  # there is no such day
            return None
    try:
        return credible(day + int(value[17:19]) * 3600 + int(value[20:22]) * 60 + int(value[23:25]))
    except ValueError:
        return None


def credible(seconds: float) -> float | None:
    """A time that a file can have, a calendar name and a receipt hold; None for any other."""
    return seconds if _EARLIEST <= seconds < _LATEST else None
