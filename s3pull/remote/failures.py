"""What an answer that is not 2xx means: S3's code, or where there is none the status, to one of `s3pull.errors`.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and the denial texts that S3 was seen to
send.

    | code or status                                             | error                                   |
    |------------------------------------------------------------|-----------------------------------------|
    | 301, 307, PermanentRedirect, TemporaryRedirect             | WrongRegion (region where named)        |
    | 400 AuthorizationHeaderMalformed with <Region>             | WrongRegion                             |
    | 400 IllegalLocationConstraintException                     | WrongRegion                             |
    | NoSuchKey, NoSuchBucket, NoSuchVersion, 404                | NothingThere                            |
    | 405 with x-amz-delete-marker or MethodNotAllowed           | NothingThere (a delete marker)          |
    | ExpiredToken, InvalidToken, TokenRefreshRequired           | TokenExpired                            |
    | InvalidAccessKeyId, SignatureDoesNotMatch                  | CredentialsError                        |
    | RequestTimeTooSkewed                                       | CredentialsError, hint: the clock       |
    | InvalidObjectState                                         | Archived                                |
    | 400 that speaks of a customer-provided key                 | Unsupported (SSE-C)                     |
    | KMS.* (400: the key is disabled, pending deletion, gone)   | AccessDenied, hint: the owner's key     |
    | 412                                                        | ObjectChanged                           |
    | 416                                                        | ObjectChanged (the object is shorter)   |
    | 429, 503, SlowDown, ServiceUnavailable, Throttling*        | Transient, throttled                    |
    | other 5xx, 408, RequestTimeout, InternalError, BadDigest   | Transient                               |
    | 403, other codes that deny                                 | AccessDenied, AWS's words kept          |
    | anything else                                              | ServiceError                            |

This module retries nothing and asks nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from s3pull.errors import (
    AccessDenied,
    Archived,
    CredentialsError,
    NothingThere,
    ObjectChanged,
    S3pullError,
    ServiceError,
    TokenExpired,
    Transient,
    Unsupported,
    WrongRegion,
)
from s3pull.objects import Credentials
from s3pull.remote.answers import SSE_C_HINT, parse_date, sse_c_message

MAX_DOCUMENT = 64 * 1024
_MAX_DEPTH = 8
_MAX_MESSAGE = 2000
_MAX_FACT = 200  # a code, a region, a request ID

_REDIRECTS = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException", "Redirect", "IncorrectEndpoint"}
)
_MISSING = {"NoSuchKey": "no such key", "NoSuchBucket": "no such bucket", "NoSuchVersion": "no such version"}
_EXPIRED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"})
_THROTTLED = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
    }
)
_TRANSIENT = frozenset({"InternalError", "RequestTimeout", "RequestTimeoutException", "OperationAborted", "BadDigest"})
_SECRET_HINT = "the keys are wrong, deleted or inactive: check the profile or environment they come from"  # noqa: S105


class _TooMuchError(Exception):
    """The document is more than an error document can be."""


def parse_document(body: bytes) -> dict[str, str]:
    """The texts of the elements of an `<Error>` document by name; empty where it is none.

    Entities and DTDs are not read.
    """
    if len(body) > MAX_DOCUMENT or not body.lstrip().startswith(b"<"):
        return {}
    found: dict[str, str] = {}
    path: list[str] = []
    texts: list[str] = []

    def start(name: str, _: object) -> None:
        path.append(name)
        texts.clear()
        if len(path) > _MAX_DEPTH:
            raise _TooMuchError

    def end(name: str) -> None:
        path.pop()
        if path and "Error" in path:
            found.setdefault(name, "".join(texts).strip())
        texts.clear()

    def refuse(*_: Any) -> None:
        raise _TooMuchError

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, _TooMuchError):
        return found if found.get("Code") else {}
    return found


def from_response(
    method: str,
    key: str | None,
    bucket: str,
    status: int,
    headers: dict[bytes, bytes],
    body: bytes,
    credentials: Credentials | None = None,
    *,
    now: Callable[[], float] = time.time,
) -> S3pullError:
    """The error that an answer is, by the table above. `key` is None for a listing.

    A service may repeat what it was sent: what is secret of `credentials` is left out of its words.
    """
    document = parse_document(body) if body else {}
    for secret in () if credentials is None else (credentials.secret_key, credentials.token):
        if secret:
            document = {name: text.replace(secret, "…") for name, text in document.items()}
    document = {name: text[: _MAX_MESSAGE if name == "Message" else _MAX_FACT] for name, text in document.items()}
    code = document.get("Code") or _status_code(method, status)
    said = " ".join(document.get("Message", "").split())[:_MAX_MESSAGE]
    facts: dict[str, Any] = {
        "code": code,
        "status": status,
        "request_id": document.get("RequestId") or _header(headers, b"x-amz-request-id", b"x-amzn-requestid"),
        "host_id": document.get("HostId") or _header(headers, b"x-amz-id-2"),
        "key": key,
    }
    what = f"s3://{bucket}" if key is None else f"s3://{bucket}/{key}"
    because = f": {said}" if said else f" ({code})"

    if (
        status in (301, 302, 303, 307, 308)
        or code in _REDIRECTS
        or (code == "AuthorizationHeaderMalformed" and "Region" in document)
    ):
        region = document.get("Region") or _header(headers, b"x-amz-bucket-region") or _region_in(said)
        where = f" in {region}" if region else " elsewhere"
        return WrongRegion(
            f"{what} is{where}{because}",
            region=region,
            hint=None if region else "give the bucket's region with --region",
            **facts,
        )
    if code in _EXPIRED:
        return TokenExpired(f"the session for {what} is no longer honoured{because}", **facts)
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return CredentialsError(f"the credentials for {what} were refused{because}", hint=_SECRET_HINT, **facts)
    if code == "RequestTimeTooSkewed":
        server = document.get("ServerTime") or _header(headers, b"date")
        hint = "set this machine's clock" + (f": the server's says {server}" if server else "")
        return CredentialsError(f"the request for {what} was refused{because}", hint=hint, **facts)
    if code == "InvalidObjectState":
        storage = document.get("AccessTier") or document.get("StorageClass") or "an archive class"
        return Archived(f"{what} lies in {storage} and is not restored", hint="its owner can restore it", **facts)
    if status == 400 and _speaks_of_sse_c(said, headers):
        return Unsupported(sse_c_message(what), hint=SSE_C_HINT, **facts)
    if code.startswith("KMS."):
        hint = "the owner's KMS key cannot be used: disabled, pending deletion, or gone"
        return AccessDenied(f"cannot decrypt {what}{because}", hint=hint, **facts)
    if status == 412 or code == "PreconditionFailed":
        return ObjectChanged(f"{what} has changed: its ETag is another one now", **facts)
    if status == 416 or code == "InvalidRange":
        size = document.get("ActualObjectSize")
        shorter = f" ({size} bytes now)" if size else ""
        return ObjectChanged(f"{what} is shorter than the range that was asked for{shorter}", **facts)
    if code in _THROTTLED or status in (429, 503):
        return Transient(
            f"the service asks to slow down{because}", retry_after=_retry_after(headers, now), throttled=True, **facts
        )
    if code in _TRANSIENT or status >= 500 or status == 408:
        return Transient(f"the service failed on {what}{because}", retry_after=_retry_after(headers, now), **facts)
    if code in _MISSING:
        name = f"s3://{bucket}" if code == "NoSuchBucket" else what
        return NothingThere(f"{_MISSING[code]}: {name}", **facts)
    if status == 404:
        return NothingThere(f"nothing there: {what}", **facts)
    if status == 405:
        return NothingThere(f"{what} is a delete marker", **facts)
    if status in (401, 403) or code == "AccessDenied":
        return _denied(what, key, said, because, facts)
    if status == 407:
        return ServiceError(f"a proxy wants other credentials{because}", hint="check HTTPS_PROXY", **facts)
    return ServiceError(f"the service refused the request for {what}{because}", **facts)


def _denied(what: str, key: str | None, said: str, because: str, facts: dict[str, Any]) -> AccessDenied:
    """403. Without s3:ListBucket S3 answers 403 for a key that does not exist too, unless its words say more."""
    certain = "kms:" in said or "explicit deny" in said or "ciphertext" in said
    if key is None or certain or facts["code"] not in ("AccessDenied", "403"):
        return AccessDenied(f"access denied to {what}{because}", hint=_ASK, **facts)
    return AccessDenied(f"no such key, or no permission: {what}{because}", hint=_ASK, **facts)


_ASK = "ask the data owner what the role may read; `-v` shows the request ID that they can look up"


def _status_code(method: str, status: int) -> str:
    """A HEAD has no document; S3 clients then call the code what the status is."""
    if status == 405 and method in ("GET", "HEAD"):
        return "MethodNotAllowed"
    return str(status)


def _header(headers: dict[bytes, bytes], *names: bytes) -> str | None:
    for name in names:
        if name in headers:
            return headers[name].decode("latin-1")
    return None


def _region_in(said: str) -> str | None:
    """`… the region 'A' is wrong; expecting 'B'`."""
    _, found, rest = said.partition("expecting '")
    return rest.partition("'")[0] or None if found else None


def _speaks_of_sse_c(said: str, headers: dict[bytes, bytes]) -> bool:
    text = said.lower()
    return (
        b"x-amz-server-side-encryption-customer-algorithm" in headers
        or "server side encryption. the correct parameters" in text
        or "server-side encryption customer" in text
        or "customer-provided" in text
        or "customer provided" in text
    )


def _retry_after(headers: dict[bytes, bytes], now: Callable[[], float]) -> float | None:
    value = headers.get(b"retry-after")
    if value is None:
        return None
    if value.isdigit():
        return float(value[:9])
    at = parse_date(value)
    return None if at is None else max(0.0, at - now())
