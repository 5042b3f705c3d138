"""What S3 answers: GET, HEAD and PUT of objects, buckets and their listings, with AWS's order of checks and texts.

Shapes: ACCESS.md 2 and https://docs.aws.amazon.com/AmazonS3/latest/API/. Listings are in listings.py, what a
bucket holds in buckets.py.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from tests.fakes import listings, sigv4
from tests.fakes.bodies import part_checksum
from tests.fakes.buckets import Bucket, KmsKey, State, Version
from tests.fakes.http import Request, Response
from tests.fakes.identities import Session
from tests.fakes.policies import (
    ANONYMOUS,
    ENDPOINT,
    RCP,
    RESOURCE,
    SCP,
    Ask,
    Principal,
    Values,
    Verdict,
    decide,
)
from tests.fakes.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws, Recorded

__all__ = ["Bucket", "Route", "State", "Version", "answer", "route"]

SKEW = 900.0


class Route(NamedTuple):
    """What a request asks for, as far as its line and Host tell."""

    action: str
    bucket: str | None
    key: str | None


def route(request: Request, state: State) -> Route:
    """Path style, or the bucket in the Host's first label."""
    path = request.path.removeprefix("/")
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    bucket = state.bucket_of_host(host)
    if bucket is None:
        bucket, slash, key = path.partition("/")
    else:
        slash, key = "/", path
    query = {name for name, _ in request.query_pairs}
    method = request.method
    if not bucket:
        return Route("ListBuckets" if method == "GET" else "Unknown", None, None)
    if slash and key:
        actions = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
        action = actions.get(method, "Unknown")
        if query & {"attributes", "tagging", "acl", "uploads", "uploadId", "select", "retention", "restore"}:
            action = "Unknown"
        return Route(action, bucket, key)
    if method == "HEAD":
        return Route("HeadBucket", bucket, None)
    if method == "GET":
        if "location" in query:
            return Route("GetBucketLocation", bucket, None)
        if "versions" in query:
            return Route("ListObjectVersions", bucket, None)
        if "list-type" in query:
            return Route("ListObjectsV2", bucket, None)
    return Route("Unknown", bucket, None)


class Call:
    """One request on its way through the checks."""

    def __init__(self, aws: FakeAws, request: Request, record: Recorded) -> None:
        self.aws = aws
        self.request = request
        self.record = record
        self.query = record.query
        self.signature = self._signature()
        self.bucket = self._bucket()
        self._check_region()
        self.who = self._principal()
        self._check_owner()
        self._check_payer()

    # --- who asks, and of whom --------------------------------------------------------------------------

    def _signature(self) -> sigv4.Signature | None:
        try:
            return sigv4.parse(self.request)
        except (ValueError, KeyError) as malformed:
            text = f"The authorization header is malformed; {malformed}"
            raise Refusal(400, "AuthorizationHeaderMalformed", text) from None

    def _bucket(self) -> Bucket | None:
        name = self.record.bucket
        if name is None:
            return None
        bucket = self.aws.store.buckets.get(name)
        if bucket is None:
            self._principal()
            text = "The specified bucket does not exist"
            raise Refusal(404, "NoSuchBucket", text, extra={"BucketName": name})
        return bucket

    def _check_region(self) -> None:
        bucket = self.bucket
        if bucket is None or self.signature is None or self.signature.region == bucket.region:
            return
        told = {"x-amz-bucket-region": bucket.region}
        if self.record.action == "HeadBucket" or self.aws.wrong_region == "redirect":
            endpoint = f"{bucket.name}.s3.{bucket.region}.amazonaws.com"
            text = (
                "The bucket you are attempting to access must be addressed using the specified endpoint. Please send "
                "all future requests to this endpoint."
            )
            raise Refusal(
                301, "PermanentRedirect", text, extra={"Endpoint": endpoint, "Bucket": bucket.name}, headers=told
            )
        text = (
            f"The authorization header is malformed; the region '{self.signature.region}' is wrong; "
            f"expecting '{bucket.region}'"
        )
        raise Refusal(400, "AuthorizationHeaderMalformed", text, extra={"Region": bucket.region})

    def _principal(self) -> Principal:
        signature, aws = self.signature, self.aws
        if signature is None:
            return ANONYMOUS
        now = aws.clock.now()
        if signature.expires is not None:
            if now > signature.time + signature.expires:
                raise Refusal(403, "AccessDenied", "Request has expired", extra={"ServerTime": listings.iso(now)})
        elif abs(now - signature.time) > SKEW:
            raise Refusal(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                extra={
                    "RequestTime": signature.stamp,
                    "ServerTime": listings.iso(now),
                    "MaxAllowedSkewMilliseconds": "900000",
                },
            )
        holder = aws.directory.holder(signature.access_key)
        if holder is None:
            text = "The AWS Access Key Id you provided does not exist in our records."
            raise Refusal(403, "InvalidAccessKeyId", text, extra={"AWSAccessKeyId": signature.access_key})
        if signature.token != holder.keys.token:
            raise Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if isinstance(holder, Session) and holder.expires <= now:
            raise Refusal(400, "ExpiredToken", "The provided token has expired.")
        if signature.service != "s3" or not sigv4.fits(self.request, signature, holder.keys.secret_key):
            raise Refusal(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and "
                "signing method.",
                extra={"AWSAccessKeyId": signature.access_key, "SignatureProvided": signature.value},
            )
        return holder.principal()

    def _check_owner(self) -> None:
        expected = self.request.headers.get("x-amz-expected-bucket-owner")
        if self.bucket and expected not in (None, self.bucket.owner):
            raise Refusal(403, "AccessDenied", "Access Denied", headers=self.region_header())

    def _check_payer(self) -> None:
        bucket = self.bucket
        if bucket is None or not bucket.requester_pays or self.who.account == bucket.owner:
            return
        if self.request.headers.get("x-amz-request-payer") != "requester" or self.who.account is None:
            raise Refusal(403, "AccessDenied", "Access Denied", headers=self.region_header())

    def region_header(self) -> dict[str, str]:
        bucket_call = self.record.action in ("HeadBucket", "ListObjectsV2", "ListObjectVersions")
        return {"x-amz-bucket-region": self.bucket.region} if self.bucket and bucket_call else {}

    # --- may it -----------------------------------------------------------------------------------------

    def verdict(self, action: str, resource: str, **context: Values) -> Verdict:
        assert self.bucket is not None
        bucket, account = self.bucket, self.who.account
        applies = {SCP: (None, account), RCP: (None, bucket.owner), ENDPOINT: (None,)}
        guards = [guard for whose, guard in self.aws.guards if whose in applies[guard.kind]]
        return decide(
            self.who,
            Ask(action, resource, {**self.context(), **context}),
            resource_policy=bucket.policy,
            resource_account=bucket.owner,
            guards=guards,
        )

    def context(self) -> dict[str, Values]:
        headers = self.request.headers
        found: dict[str, Values] = {
            "aws:SourceIp": "127.0.0.1",
            "aws:SecureTransport": str(self.request.secure).lower(),
            "aws:UserAgent": headers.get("user-agent", ""),
            "s3:authType": "REST-HEADER" if "authorization" in headers else "REST-QUERY-STRING",
        }
        if self.signature:
            found["s3:signatureversion"] = "AWS4-HMAC-SHA256"
        return found

    def demand(self, action: str, resource: str, **context: Values) -> None:
        """The 403 with AWS's reason; across accounts, and to nobody in particular, a bare one (ACCESS.md 2)."""
        verdict = self.verdict(action, resource, **context)
        if verdict.allowed:
            return
        assert self.bucket is not None
        if self.who.account != self.bucket.owner:
            raise Refusal(403, "AccessDenied", "Access Denied", headers=self.region_header())
        message = verdict.message(self.who.arn, Ask(action, resource), quoted=True)
        raise Refusal(403, "AccessDenied", message, headers=self.region_header())

    def decrypt(self, version: Version) -> None:
        """kms:Decrypt through S3, for objects that were encrypted with a KMS key."""
        if version.encryption != "aws:kms" and version.encryption != "aws:kms:dsse":
            return
        assert self.bucket is not None
        arn = version.kms_key or self.aws.store.managed_key(self.bucket)
        key = self.aws.store.kms_keys[arn]
        bare = (
            f"User: {self.who.arn} is not authorized to perform: kms:Decrypt on the resource associated with this "
            "ciphertext because the resource does not exist in this Region, no resource-based policies allow access, "
            "or a resource-based policy explicitly denies access"
        )
        _check_state(key)
        if key.managed:
            # its policy allows every principal of its account through S3, and nobody else
            if self.who.account != key.account:
                raise Refusal(403, "AccessDenied", bare)
            return
        context: dict[str, Values] = {
            **self.context(),
            "kms:ViaService": f"s3.{self.bucket.region}.amazonaws.com",
            "kms:CallerAccount": self.who.account or "",
            "kms:EncryptionContext:aws:s3:arn": f"{self.bucket.arn}/{version.key}",
        }
        root = {"AWS": f"arn:aws:iam::{key.account}:root"}
        delegating = {"Statement": [{"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}]}
        verdict = decide(
            self.who,
            Ask("kms:Decrypt", arn, context),
            resource_policy=key.policy or delegating,
            resource_account=key.account,
            resource_rules=True,
        )
        if not verdict.allowed:
            plain = verdict.message(self.who.arn, Ask("kms:Decrypt", arn))
            raise Refusal(403, "AccessDenied", bare if verdict.kind == RESOURCE else plain)

    # --- which object -----------------------------------------------------------------------------------

    def version(self) -> Version:
        """The version asked for, after its permission was checked; a missing key is a 404 only to who may list."""
        bucket, key = self.bucket, self.record.key
        assert bucket is not None and key is not None
        wanted = self.query.get("versionId")
        action = "s3:GetObject" if wanted is None else "s3:GetObjectVersion"
        resource = f"{bucket.arn}/{key}"
        context: dict[str, Values] = {"s3:VersionId": wanted} if wanted else {}
        found = bucket.find(key, wanted)
        verdict = self.verdict(action, resource, **context)
        if found is None and not self.verdict("s3:ListBucket", bucket.arn, **{"s3:prefix": key}).allowed:
            self.demand(action, resource, **context)
            self.demand("s3:ListBucket", bucket.arn, **{"s3:prefix": key})
        if not verdict.allowed:
            self.demand(action, resource, **context)
        if found is None and wanted is not None:
            extra = {"Key": key, "VersionId": wanted}
            raise Refusal(404, "NoSuchVersion", "The specified version does not exist.", extra=extra)
        if found is None:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.", extra={"Key": key})
        if found.delete_marker:
            headers = {"x-amz-delete-marker": "true", "x-amz-version-id": found.version_id}
            if wanted is None:
                text = "The specified key does not exist."
                raise Refusal(404, "NoSuchKey", text, extra={"Key": key}, headers=headers)
            text = "The specified method is not allowed against this resource."
            raise Refusal(
                405,
                "MethodNotAllowed",
                text,
                extra={"Method": self.request.method},
                headers={**headers, "Allow": "DELETE"},
            )
        if found.owner not in (None, bucket.owner) and self.who.account != found.owner:
            # a bucket policy and the role's own policies say nothing about another account's object
            raise Refusal(403, "AccessDenied", "Access Denied")
        return found


def _check_state(key: KmsKey) -> None:
    if key.state == "Disabled":
        raise Refusal(400, "KMS.DisabledException", f"{key.arn} is disabled.")
    if key.state == "PendingDeletion":
        raise Refusal(400, "KMS.KMSInvalidStateException", f"{key.arn} is pending deletion.")
    if key.state != "Enabled":
        raise Refusal(400, "KMS.NotFoundException", f"Key '{key.arn}' does not exist")


def answer(aws: FakeAws, request: Request, record: Recorded) -> Response:
    call = Call(aws, request, record)
    handler = {
        "GetObject": _get,
        "HeadObject": _get,
        "HeadBucket": _head_bucket,
        "ListObjectsV2": _list,
        "ListObjectVersions": _versions,
        "GetBucketLocation": _location,
        "PutObject": _put,
        "DeleteObject": _delete,
    }.get(record.action)
    if handler is None:
        raise Refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
    return handler(call)


# --- objects --------------------------------------------------------------------------------------------


def _get(call: Call) -> Response:
    version = call.version()
    get = call.record.action == "GetObject"
    if version.sse_c and "x-amz-server-side-encryption-customer-algorithm" not in call.request.headers:
        text = (
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
            "to retrieve the object."
        )
        raise Refusal(400, "InvalidRequest", text)
    if get and version.archived:
        extra = {"StorageClass": version.storage_class}
        if version.archive_status:
            extra["AccessTier"] = version.archive_status
        raise Refusal(
            403, "InvalidObjectState", "The operation is not valid for the object's storage class", extra=extra
        )
    with_checksum = call.request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if get or with_checksum:
        call.decrypt(version)
    headers = _object_headers(call, version)
    if (early := _conditions(call, version, headers)) is not None:
        return early
    size = version.body.size
    part, span = call.query.get("partNumber"), call.request.asked("range")
    if part is not None:
        return _part(version, int(part), headers, with_checksum, span)
    limits = _range(span, size) if span else None
    if limits is None:
        if with_checksum and version.algorithm:
            headers |= version.checksum_headers()
        return Response(200, headers, version.body)
    start, stop = limits
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Response(206, headers, version.body, start, stop)


def _part(version: Version, number: int, headers: dict[str, str], with_checksum: bool, span: str | None) -> Response:
    if span:
        text = "Cannot specify both Range header and partNumber query parameter"
        raise Refusal(400, "InvalidRequest", text)
    sizes = version.parts or (version.body.size,)
    if not 1 <= number <= len(sizes):
        raise Refusal(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
    start = sum(sizes[: number - 1])
    stop = start + sizes[number - 1]
    if version.parts:
        headers["x-amz-mp-parts-count"] = str(len(sizes))
    if with_checksum and version.algorithm:
        if version.parts is None:
            headers |= version.checksum_headers()
        elif version.kind == "COMPOSITE":
            value = part_checksum(version.body, version.algorithm, start, stop)
            headers |= {f"x-amz-checksum-{version.algorithm.lower()}": value, "x-amz-checksum-type": version.kind}
    if stop == start:
        return Response(200, headers)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{version.body.size}"
    return Response(206, headers, version.body, start, stop)


def _object_headers(call: Call, version: Version) -> dict[str, str]:
    headers = {
        "Last-Modified": formatdate(version.last_modified, usegmt=True),
        "ETag": version.quoted_etag,
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    assert call.bucket is not None
    if version.encryption:
        headers["x-amz-server-side-encryption"] = version.encryption
    if version.encryption and version.encryption.startswith("aws:kms"):
        key = version.kms_key or call.aws.store.managed_key(call.bucket)
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = key
    if version.sse_c:
        headers["x-amz-server-side-encryption-customer-algorithm"] = "AES256"
    if version.storage_class != "STANDARD":
        headers["x-amz-storage-class"] = version.storage_class
    if version.restore:
        headers["x-amz-restore"] = version.restore
    if version.archive_status:
        headers["x-amz-archive-status"] = version.archive_status
    if call.bucket.versioning:
        headers["x-amz-version-id"] = version.version_id
    if call.bucket.requester_pays and call.who.account != call.bucket.owner:
        headers["x-amz-request-charged"] = "requester"
    return headers | version.headers


def _conditions(call: Call, version: Version, headers: dict[str, str]) -> Response | None:
    wanted = call.request.asked("if-match")
    if wanted is not None and not _etag_in(wanted, version):
        text = "At least one of the pre-conditions you specified did not hold"
        raise Refusal(412, "PreconditionFailed", text, extra={"Condition": "If-Match"})
    unwanted = call.request.asked("if-none-match")
    if unwanted is not None and _etag_in(unwanted, version):
        return Response(304, headers)
    return None


def _etag_in(header: str, version: Version) -> bool:
    return any(one.strip().strip('"') in ("*", version.etag) for one in header.split(","))


def _range(header: str, size: int) -> tuple[int, int] | None:
    """[start, stop), or None where S3 ignores the header. Any range of an empty object is unsatisfiable."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    else:
        start, stop = max(0, size - int(last)), size
    if start >= size:
        raise Refusal(
            416,
            "InvalidRange",
            "The requested range is not satisfiable",
            extra={"RangeRequested": header, "ActualObjectSize": str(size)},
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, stop


def _put(call: Call) -> Response:
    assert call.bucket is not None and call.record.key is not None
    call.demand("s3:PutObject", f"{call.bucket.arn}/{call.record.key}")
    body = call.request.body
    if call.request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        body = _unchunked(body)
    etag = call.aws.put(call.bucket.name, call.record.key, body)
    return Response(200, {"ETag": f'"{etag}"'})


def _unchunked(body: bytes) -> bytes:
    """aws-chunked, without looking at chunk signatures and trailers."""
    found = []
    while body:
        head, _, rest = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            break
        found.append(rest[:size])
        body = rest[size + 2 :]
    return b"".join(found)


def _delete(call: Call) -> Response:
    assert call.bucket is not None and call.record.key is not None
    call.demand("s3:DeleteObject", f"{call.bucket.arn}/{call.record.key}")
    call.aws.delete(call.bucket.name, call.record.key)
    return Response(204)


# --- buckets --------------------------------------------------------------------------------------------


def _head_bucket(call: Call) -> Response:
    """HeadBucket carries no prefix, so a role that may list below one gets 403; the region is told all the same."""
    assert call.bucket is not None
    call.demand("s3:ListBucket", call.bucket.arn)
    headers = {"x-amz-bucket-region": call.bucket.region, "x-amz-access-point-alias": "false"}
    return Response(200, {**headers, "Content-Type": "application/xml"})


def _location(call: Call) -> Response:
    assert call.bucket is not None
    call.demand("s3:GetBucketLocation", call.bucket.arn)
    region = "" if call.bucket.region == "us-east-1" else call.bucket.region
    body = f'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{region}</LocationConstraint>'
    return Response(200, {"Content-Type": "application/xml"}, body.encode())


def _list(call: Call) -> Response:
    assert call.bucket is not None
    call.demand("s3:ListBucket", call.bucket.arn, **_list_context(call))
    return _xml(call, listings.objects(call.bucket, call.query, call.request.headers))


def _versions(call: Call) -> Response:
    assert call.bucket is not None
    call.demand("s3:ListBucketVersions", call.bucket.arn, **_list_context(call))
    return _xml(call, listings.versions(call.bucket, call.query))


def _list_context(call: Call) -> dict[str, Values]:
    named = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
    return {key: call.query[name] for key, name in named.items() if name in call.query}


def _xml(call: Call, body: str) -> Response:
    return Response(200, {"Content-Type": "application/xml", **call.region_header()}, body.encode())
