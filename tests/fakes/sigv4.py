"""Signature Version 4 from the server's side: read the signature of a request and compute what it should be.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html; header and query forms.
Who the key belongs to, and what follows from a mismatch, is for sts.py and s3.py to say.
"""

from __future__ import annotations

import calendar
import functools
import hashlib
import hmac
import time
from dataclasses import dataclass
from urllib.parse import quote

from tests.fakes.http import Request

UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Signature:
    """What a request says about its own signature. `expires` is the seconds of a presigned URL, else None."""

    access_key: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    value: str
    stamp: str
    token: str | None
    expires: int | None = None

    @property
    def time(self) -> float:
        return calendar.timegm(time.strptime(self.stamp, "%Y%m%dT%H%M%SZ"))


def parse(request: Request) -> Signature | None:
    """The signature, None of an anonymous request. Raises ValueError where it is malformed."""
    header = request.headers.get("authorization")
    query = dict(request.query_pairs)
    if header is None and "X-Amz-Algorithm" not in query:
        return None
    if header is None:
        return _parsed(
            query["X-Amz-Credential"],
            query["X-Amz-SignedHeaders"],
            query["X-Amz-Signature"],
            query["X-Amz-Date"],
            query.get("X-Amz-Security-Token"),
            int(query["X-Amz-Expires"]),
        )
    algorithm, _, rest = header.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        raise ValueError(f"unsupported authorization type: {algorithm}")
    fields = dict(field.strip().split("=", 1) for field in rest.split(","))
    return _parsed(
        fields["Credential"],
        fields["SignedHeaders"],
        fields["Signature"],
        request.headers["x-amz-date"],
        request.headers.get("x-amz-security-token"),
        None,
    )


def _parsed(credential: str, signed: str, value: str, stamp: str, token: str | None, expires: int | None) -> Signature:
    access_key, day, region, service, end = credential.split("/")
    if end != "aws4_request" or not stamp.startswith(day):
        raise ValueError("malformed credential scope")
    return Signature(access_key, day, region, service, tuple(signed.split(";")), value, stamp, token, expires)


def fits(request: Request, signature: Signature, secret: str) -> bool:
    """True where the request was signed with `secret` and has not been altered, its body included."""
    claimed = request.headers.get("x-amz-content-sha256")
    if signature.expires is not None:
        payload = UNSIGNED
    elif claimed is None:
        payload = hashlib.sha256(request.body).hexdigest()
    elif claimed == UNSIGNED or claimed.startswith("STREAMING-"):
        payload = claimed
    elif claimed != hashlib.sha256(request.body).hexdigest():
        return False
    else:
        payload = claimed
    must_sign = {"host"} | {name for name in request.headers if name.startswith("x-amz-")}
    if signature.expires is None and not must_sign <= set(signature.signed_headers):
        return False
    canonical = canonical_request(request, signature, payload)
    scope = f"{signature.day}/{signature.region}/{signature.service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{signature.stamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    key = signing_key(secret, signature.day, signature.region, signature.service)
    return hmac.compare_digest(hmac.new(key, to_sign.encode(), "sha256").hexdigest(), signature.value)


def canonical_request(request: Request, signature: Signature, payload: str) -> bytes:
    """S3 encodes the decoded path once and does not normalise it; other services are only ever called at `/`."""
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in request.query_pairs
        if name != "X-Amz-Signature"
    )
    lines = [
        request.method,
        quote(request.path, safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signature.signed_headers),
        "",
        ";".join(signature.signed_headers),
        payload,
    ]
    return "\n".join(lines).encode("latin-1")


@functools.lru_cache(maxsize=256)
def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for step in (day, region, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key
