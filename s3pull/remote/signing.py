"""AWS Signature Version 4 for S3, in the Authorization header.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html; held to botocore's S3SigV4Auth by a
property test.

Signed are `host` and every `x-amz-*` header, which is what S3 demands. Range, If-Match and User-Agent are not: an
answer is checked against the pin anyway, and so the signed part of all requests of one kind is one constant text
(`Plan`) into which only method, path, query and date are put. The body of every request is empty; paths are taken as
given, never normalised.

This module knows no S3 Express sessions (such buckets take plain SigV4 for the service `s3express`) and no SigV4A
(`remote.sigv4a`).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from hashlib import sha256
from urllib.parse import quote_from_bytes

from s3pull.errors import UsageError
from s3pull.objects import Credentials
from s3pull.records import NamedTuple

#: SHA-256 of nothing: the payload hash of a request without a body.
EMPTY_HASH = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Headers = tuple[tuple[bytes, bytes], ...]


class _Moment(NamedTuple):
    """What all requests of one second have in common: the end of the canonical request, the HMAC of what is signed
    before that one's digest, and the header lines before the signature.
    """

    second: int
    canonical: bytes
    begun: Hmac
    lines: bytes


class Plan:
    """All requests of one kind: credentials, host and constant headers are fixed. Safe to share between threads."""

    __slots__ = ("_after", "_authorization", "_before", "_constant", "_key", "_moment", "_scope_tail")

    def __init__(self, credentials: Credentials, region: str, service: str, host: str, headers: Headers) -> None:
        named = {b"host": host.encode("ascii"), b"x-amz-content-sha256": EMPTY_HASH, b"x-amz-date": b""}
        named.update((name.lower(), b" ".join(value.split())) for name, value in headers)
        if credentials.token is not None:
            named[b"x-amz-security-token"] = credentials.token.encode("utf-8")
        names = sorted(named)
        cut = names.index(b"x-amz-date")
        signed = b";".join(names)
        self._before = b"".join(b"%b:%b\n" % (name, named[name]) for name in names[:cut]) + b"x-amz-date:"
        rest = b"".join(b"%b:%b\n" % (name, named[name]) for name in names[cut + 1 :])
        self._after = b"\n%b\n%b\n%b" % (rest, signed, EMPTY_HASH)
        self._constant = b"".join(b"%b: %b\r\n" % (name, named[name]) for name in names if name != b"x-amz-date")
        self._key = (b"AWS4" + credentials.secret_key.encode("utf-8"), region.encode("ascii"), service.encode("ascii"))
        self._scope_tail = b"/%b/%b/aws4_request" % self._key[1:]
        access_key = credentials.access_key.encode("utf-8")
        self._authorization = (
            b"authorization: AWS4-HMAC-SHA256 Credential=" + access_key + b"/",
            b", SignedHeaders=" + signed + b", Signature=",
        )
        self._moment: _Moment | None = None

    def lines(self, method: bytes, path: bytes, query: bytes, now: float) -> bytes:
        """The signed header lines, `authorization` and `host` included, each ended by CRLF. `now` is the epoch time."""
        moment = self._moment
        if moment is None or moment.second != int(now):
            moment = self._moment = self._at(int(now))
        _, canonical, begun, lines = moment
        digest = sha256(b"%b\n%b\n%b\n%b" % (method, path, query, canonical)).hexdigest()
        return b"%b%b\r\n" % (lines, begun.hexdigest(digest.encode("ascii")).encode("ascii"))

    def _at(self, second: int) -> _Moment:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second)).encode("ascii")
        day = date[:8]
        scope = day + self._scope_tail
        first, last = self._authorization
        return _Moment(
            second,
            b"%b%b%b" % (self._before, date, self._after),
            Hmac(_day_key(day, *self._key)).begun(b"AWS4-HMAC-SHA256\n%b\n%b\n" % (date, scope)),
            b"%bx-amz-date: %b\r\n%b%b%b" % (self._constant, date, first, scope, last),
        )


class Hmac:
    """HMAC-SHA256 with the key's half of the work done ahead.

    `hmac.digest` would also hand the GIL to another thread each time.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")  # a SHA-256 block; keys here are digests and so never longer
        self._inner = sha256(block.translate(_INNER_PAD))
        self._outer = sha256(block.translate(_OUTER_PAD))

    def begun(self, text: bytes) -> Hmac:
        """One that has seen `text` already, and goes on from there each time."""
        other = Hmac.__new__(Hmac)
        other._inner, other._outer = self._inner.copy(), self._outer
        other._inner.update(text)
        return other

    def hexdigest(self, text: bytes) -> str:
        """The HMAC of `text`, behind what it has seen."""
        inner = self._inner.copy()
        inner.update(text)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


def _day_key(day: bytes, secret: bytes, region: bytes, service: bytes) -> bytes:
    key = secret
    for text in (day, region, service, b"aws4_request"):
        key = hmac.digest(key, text, "sha256")
    return key


def anonymous_lines(host: str, headers: Headers) -> bytes:
    """The header lines of a request that nobody signs."""
    lines = b"host: " + host.encode("ascii") + b"\r\n"
    return lines + b"".join(b"%b: %b\r\n" % pair for pair in headers)


_AS_THEY_ARE = b"/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def encode_key(key: str) -> bytes:
    """A key as it stands in a path: percent-encoded once, `/` kept, nothing normalised.

    Raises UsageError for what is no Unicode.
    """
    try:
        raw = key.encode("utf-8")
    except UnicodeEncodeError:
        raise _no_unicode(key) from None
    return quote_from_bytes(raw, safe="/").encode("ascii") if raw.translate(None, _AS_THEY_ARE) else raw


def encode_query(pairs: Iterable[tuple[str, str]]) -> bytes:
    """A query string in the canonical form that is both sent and signed: sorted, and every reserved character encoded.

    Raises UsageError for what is no Unicode.
    """
    quoted = sorted(
        (quote_from_bytes(_utf8(name), safe=""), quote_from_bytes(_utf8(value), safe="")) for name, value in pairs
    )
    return "&".join(f"{name}={value}" for name, value in quoted).encode("ascii")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise _no_unicode(text) from None


def _no_unicode(text: str) -> UsageError:
    return UsageError(f"{text!r} is not valid Unicode and cannot be asked for", hint="keys are UTF-8 text")
