"""Response heads: bytes in, `Head` out. Strict, sans-I/O, and the same for every split of the input.

    parse_head(buffer, start, stop) -> None                 more bytes are needed
                                    -> (Head, end)          the body starts at `end`
                                    -> raises Transient     these bytes can never become a head

What is refused, because two readers could take it for two things (RFC 9112, sections 2.2, 5 and 6): folded lines,
white space in or after a name, bare CR or LF and other control characters, two different Content-Lengths or one that
is not a plain number, Content-Length together with Transfer-Encoding, any transfer coding but `chunked`. A garbled
head may be a proxy's hiccup: it is worth another try on another connection, hence Transient.

This module does not decide what an answer means, and it does not read bodies.
"""

from __future__ import annotations

import re

from s3pull.errors import Transient
from s3pull.records import NamedTuple

MAX_HEAD = 64 * 1024
MAX_HEADERS = 200

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (.*))?", re.DOTALL)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = bytes([*range(9), *range(10, 32), 127])
_LENGTH_DIGITS = 18
#: Headers of which a second, different value would leave the meaning open; others are joined with a comma.
_SINGLE = frozenset(
    {
        b"content-length",
        b"content-range",
        b"etag",
        b"last-modified",
        b"location",
        b"transfer-encoding",
        b"x-amz-version-id",
        b"x-amz-bucket-region",
    }
)
#: Spelling on the wire -> lower case, for names that were found valid. Bounded: a server cannot make it grow for ever.
_names: dict[bytes, bytes] = {}
_MAX_NAMES = 1000
#: The same for whole lines, the first of each name: most of those of an answer are the same in all answers.
_lines: dict[bytes, tuple[bytes, bytes]] = {}
_MAX_LINES = 256
_statuses: dict[bytes, tuple[int, bytes, int]] = {}
_LONGEST_KEPT = 200


class Head(NamedTuple):
    """A status line and its headers; names are lower case, values without surrounding white space."""

    status: int
    reason: bytes
    headers: dict[bytes, bytes]
    minor: int
    #: Content-Length, or None where the answer has none
    length: int | None
    chunked: bool

    @property
    def keeps_alive(self) -> bool:
        """True where the connection may carry another request after this answer's body."""
        options = self.headers.get(b"connection")
        if options is None:
            return self.minor == 1
        if options == b"keep-alive":
            return True
        tokens = {token.strip() for token in options.lower().split(b",")}
        return b"close" not in tokens and (self.minor == 1 or b"keep-alive" in tokens)


def parse_head(buffer: bytearray | bytes, start: int, stop: int) -> tuple[Head, int] | None:
    """Read one head from `buffer[start:stop]`. Raises Transient where it is none; see the law above."""
    end = buffer.find(b"\r\n\r\n", start, stop)
    if end < 0:
        if stop - start > MAX_HEAD:
            raise _malformed("the head is longer than 64 KiB")
        _refuse_early(buffer, start, stop)
        return None
    if end - start > MAX_HEAD:
        raise _malformed("the head is longer than 64 KiB")
    head = bytes(buffer[start:end])
    lines = head.split(b"\r\n")
    if len(lines) > MAX_HEADERS + 1:
        raise _malformed("more than 200 headers")
    if len(head.translate(None, _CONTROL)) != len(head) - 2 * (len(lines) - 1):
        raise _malformed("control characters in the head")
    status = _statuses.get(lines[0]) or _new_status(lines[0])
    headers: dict[bytes, bytes] = {}
    known = _lines.get
    for line in lines[1:]:
        found = known(line)
        if found is None:
            raw, colon, value = line.partition(b":")
            found = (_names[raw], value.strip(b" \t")) if colon and raw in _names else _new_line(line)
        name, value = found
        if name in headers:
            value = _joined(name, headers[name], value)
        headers[name] = value
    return framed(status[0], status[1], headers, status[2]), end + 4


def _refuse_early(buffer: bytearray | bytes, start: int, stop: int) -> None:
    """Do not wait for the end of something that already is no head (a TLS alert, an HTML page, SSH)."""
    begin = bytes(buffer[start : min(stop, start + 7)])
    if not b"HTTP/1.".startswith(begin):
        raise _malformed(f"no HTTP status line but {begin!r}")


def _new_status(line: bytes) -> tuple[int, bytes, int]:
    match = _STATUS.fullmatch(line)
    if match is None:
        raise _malformed(f"no HTTP status line but {line[:40]!r}")
    found = int(match[2]), match[3] or b"", 1 if match[1] == b"1" else 0
    if len(_statuses) < _MAX_LINES and len(line) < _LONGEST_KEPT:
        _statuses[line] = found
    return found


def _new_line(line: bytes) -> tuple[bytes, bytes]:
    """The first of its name, and remembered as that; one that differs from it is likely to differ each time."""
    raw, colon, value = line.partition(b":")
    if not colon:
        raise _malformed("a header line without a colon")
    found = _new_name(raw), value.strip(b" \t")
    if len(_lines) < _MAX_LINES and len(line) < _LONGEST_KEPT:
        _lines[line] = found
    return found


def _new_name(raw: bytes) -> bytes:
    if _NAME.fullmatch(raw) is None:
        raise _malformed(f"a bad header name {raw[:40]!r}")
    name = raw.lower()
    if len(_names) < _MAX_NAMES:
        _names[raw] = name
    return name


def _joined(name: bytes, first: bytes, second: bytes) -> bytes:
    if name not in _SINGLE:
        return first + b", " + second
    if first != second:
        raise _malformed(f"two different {name.decode()} headers")
    return first


def framed(status: int, reason: bytes, headers: dict[bytes, bytes], minor: int = 1) -> Head:
    """A head with what its headers say of the body. Raises Transient where that can be read in two ways."""
    length = headers.get(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if length is not None and not (length.isdigit() and len(length) <= _LENGTH_DIGITS):
        raise _malformed(f"a bad content-length {length[:40]!r}")
    if coding is not None:
        if length is not None:
            raise _malformed("both content-length and transfer-encoding")
        if coding.lower() != b"chunked":
            raise _malformed(f"a transfer-encoding {coding[:40]!r} that nobody asked for")
    return Head(status, reason, headers, minor, None if length is None else int(length), coding is not None)


def _malformed(what: str) -> Transient:
    return Transient(f"malformed answer: {what}")
