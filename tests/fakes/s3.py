"""What S3 answers: GET, HEAD and PUT of objects, buckets and their listings, with AWS's order of checks and texts.

Shapes: ACCESS.md 2 and https://docs.aws.amazon.com/AmazonS3/latest/API/. The checks are in calls.py, listings in
listings.py, what a bucket holds in buckets.py.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from tests.fakes import listings
from tests.fakes.bodies import part_checksum
from tests.fakes.buckets import State, Version
from tests.fakes.calls import Call
from tests.fakes.http import Request, Response
from tests.fakes.policies import Values
from tests.fakes.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws, Recorded


class Route(NamedTuple):
    """What a request asks for, as far as its line and Host tell. `access_point` is the ARN it came through."""

    action: str
    bucket: str | None = None
    key: str | None = None
    access_point: str | None = None


def route(request: Request, state: State) -> Route:
    """Path style, or the bucket (or access point) in the Host's first label, or an access point's alias as a bucket."""
    path = request.path.removeprefix("/")
    host, colon, port = request.headers.get("host", "").rpartition(":")
    bucket = state.bucket_of_host(host if colon and port.isdigit() else request.headers.get("host", ""))
    if bucket is None:
        bucket, _, path = path.partition("/")
    action = _action(request, bool(bucket), bool(path))
    point = state.access_points.get(bucket)
    if point:
        return Route(action, point.bucket, path or None, point.arn)
    return Route(action, bucket or None, path or None)


#: what is asked of an object by query is another operation, and none that is served here
_SUBRESOURCES = {"attributes", "tagging", "acl", "uploads", "uploadId", "select", "retention", "restore", "torrent"}


def _action(request: Request, bucket: bool, key: bool) -> str:
    query = {name for name, _ in request.query_pairs}
    method = request.method
    if key:
        actions = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
        return "Unknown" if query & _SUBRESOURCES else actions.get(method, "Unknown")
    if method == "HEAD" and bucket:
        return "HeadBucket"
    if method == "GET" and bucket:
        named = {"location": "GetBucketLocation", "versions": "ListObjectVersions", "list-type": "ListObjectsV2"}
        return next((action for name, action in named.items() if name in query), "Unknown")
    return "Unknown"


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
        text = f"the fake does not serve {request.method} {request.raw_path}?{request.raw_query}"
        raise Refusal(501, "NotImplemented", text)
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
    call.demand("s3:PutObject", call.object_arn)
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
    call.demand("s3:DeleteObject", call.object_arn)
    call.aws.delete(call.bucket.name, call.record.key)
    return Response(204)


# --- buckets --------------------------------------------------------------------------------------------


def _head_bucket(call: Call) -> Response:
    """HeadBucket carries no prefix, so a role that may list below one gets 403; the region is told all the same."""
    assert call.bucket is not None
    call.demand("s3:ListBucket", call.arn)
    headers = {"x-amz-bucket-region": call.bucket.region, "x-amz-access-point-alias": "false"}
    return Response(200, {**headers, "Content-Type": "application/xml"})


def _location(call: Call) -> Response:
    assert call.bucket is not None
    call.demand("s3:GetBucketLocation", call.arn)
    region = "" if call.bucket.region == "us-east-1" else call.bucket.region
    body = f'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{region}</LocationConstraint>'
    return Response(200, {"Content-Type": "application/xml"}, body.encode())


def _list(call: Call) -> Response:
    assert call.bucket is not None
    call.demand("s3:ListBucket", call.arn, **_list_context(call))
    return _xml(call, listings.objects(call.bucket, call.query, call.request.headers))


def _versions(call: Call) -> Response:
    assert call.bucket is not None
    call.demand("s3:ListBucketVersions", call.arn, **_list_context(call))
    return _xml(call, listings.versions(call.bucket, call.query))


def _list_context(call: Call) -> dict[str, Values]:
    named = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
    return {key: call.query[name] for key, name in named.items() if name in call.query}


def _xml(call: Call, body: str) -> Response:
    return Response(200, {"Content-Type": "application/xml", **call.region_header()}, body.encode())
