"""ListObjectsV2 and ListObjectVersions as XML. https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from tests.fakes.buckets import Bucket, Version
from tests.fakes.refusals import Refusal

PAGE = 1000
XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def iso(when: float) -> str:
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def url_encoded(key: str) -> str:
    """encoding-type=url is Java's URLEncoder, slashes kept: a space becomes `+`, `*` stays."""
    return quote_plus(key, safe="/*-._").replace("~", "%7E")


def xml_escaped(text: str) -> str:
    """Control characters become references that XML 1.0 does not allow, as S3's do."""
    return "".join(f"&#x{ord(c):x};" if c < " " else c for c in escape(text))


class _Page:
    """One page under way: entries and common prefixes share the limit of keys."""

    def __init__(self, query: Mapping[str, str]) -> None:
        try:
            self.limit = min(int(query.get("max-keys", PAGE)), PAGE)
        except ValueError:
            raise Refusal(400, "InvalidArgument", "Provided max-keys not an integer or within integer range") from None
        if self.limit < 0:
            raise Refusal(400, "InvalidArgument", "Argument max-keys must be an integer between 0 and 2147483647")
        self.encode = query.get("encoding-type") == "url"
        self.prefix = query.get("prefix", "")
        self.delimiter = query.get("delimiter", "")
        self.last = ""
        self.count = 0
        self.prefixes: list[str] = []

    def text(self, value: str) -> str:
        return url_encoded(value) if self.encode else xml_escaped(value)

    def group(self, key: str) -> str | None:
        """The common prefix that a key falls under."""
        if not self.delimiter:
            return None
        head, found, _ = key[len(self.prefix) :].partition(self.delimiter)
        return self.prefix + head + self.delimiter if found else None

    def fields(self, **values: str | int | None) -> str:
        return "".join(f"<{name}>{value}</{name}>" for name, value in values.items() if value is not None)

    def tail(self) -> str:
        return "".join(f"<CommonPrefixes><Prefix>{self.text(one)}</Prefix></CommonPrefixes>" for one in self.prefixes)


def objects(bucket: Bucket, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    page = _Page(query)
    token = query.get("continuation-token")
    marker = _marker(token) if token is not None else query.get("start-after", "")
    with_owner = query.get("fetch-owner") == "true"
    with_restore = "RestoreStatus" in headers.get("x-amz-optional-object-attributes", "")
    entries: list[str] = []
    truncated = False
    for key in bucket.keys_after(marker, page.prefix):
        version = bucket.find(key)
        if version is None or version.delete_marker:
            continue
        group = page.group(key)
        if group is not None and (group in page.prefixes[-1:] or (marker and marker.startswith(group))):
            page.last = key
            continue
        if page.count >= page.limit:
            truncated = page.limit > 0
            break
        page.count += 1
        page.last = key
        if group is None:
            entries.append(_entry(page, bucket, version, with_owner, with_restore))
        else:
            page.prefixes.append(group)
    head = page.fields(
        Name=bucket.name,
        Prefix=page.text(page.prefix),
        StartAfter=page.text(query["start-after"]) if "start-after" in query else None,
        ContinuationToken=token,
        NextContinuationToken=_token(page.last) if truncated else None,
        KeyCount=page.count,
        MaxKeys=page.limit,
        Delimiter=page.text(page.delimiter) if page.delimiter else None,
        EncodingType="url" if page.encode else None,
        IsTruncated=str(truncated).lower(),
    )
    return _document("ListBucketResult", head + "".join(entries) + page.tail())


def _document(root: str, inner: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} {XMLNS}>{inner}</{root}>'


def _entry(page: _Page, bucket: Bucket, version: Version, with_owner: bool, with_restore: bool) -> str:
    if version.listed is None:
        version.listed = _facts(version)
    text = f"<Contents><Key>{page.text(version.key)}</Key>{version.listed}"
    if with_owner:
        text += f"<Owner><ID>{_canonical_id(version.owner or bucket.owner)}</ID></Owner>"
    if with_restore and version.restore:
        going = 'ongoing-request="true"' in version.restore
        text += f"<RestoreStatus><IsRestoreInProgress>{str(going).lower()}</IsRestoreInProgress></RestoreStatus>"
    return text + f"<StorageClass>{version.storage_class}</StorageClass></Contents>"


def _facts(version: Version) -> str:
    text = (
        f"<LastModified>{iso(version.last_modified)}</LastModified><ETag>{escape(version.quoted_etag, _QUOTE)}</ETag>"
    )
    if version.algorithm:
        text += f"<ChecksumAlgorithm>{version.algorithm}</ChecksumAlgorithm><ChecksumType>{version.kind}</ChecksumType>"
    return text + f"<Size>{version.body.size}</Size>"


_QUOTE = {'"': "&quot;"}


def _canonical_id(account: str) -> str:
    return (account * 6)[:64]


def _token(key: str) -> str:
    return base64.urlsafe_b64encode(b"1" + key.encode()).decode()


def _marker(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token)[1:].decode()
    except ValueError:
        raise Refusal(400, "InvalidArgument", "The continuation token provided is incorrect") from None


def versions(bucket: Bucket, query: Mapping[str, str]) -> str:
    """ListObjectVersions, without delimiters; pages end between versions."""
    page = _Page(query)
    key_marker, id_marker = query.get("key-marker", ""), query.get("version-id-marker")
    found: list[tuple[Version, bool]] = []
    keys = bucket.keys_after(key_marker, page.prefix)
    if id_marker is not None and key_marker.startswith(page.prefix):
        keys = [key_marker, *keys]
    for key in keys:
        held = list(bucket.versions.get(key, []))
        skip = id_marker is not None and key == key_marker
        for number, version in enumerate(held):
            if not skip:
                found.append((version, number == 0))
            elif version.version_id == id_marker:
                skip = False
        if len(found) > page.limit:
            break
    truncated = len(found) > page.limit
    found = found[: page.limit]
    last = found[-1][0] if truncated and found else None
    head = page.fields(
        Name=bucket.name,
        Prefix=page.text(page.prefix),
        KeyMarker=page.text(key_marker),
        VersionIdMarker=id_marker or "",
        NextKeyMarker=page.text(last.key) if last else None,
        NextVersionIdMarker=last.version_id if last else None,
        MaxKeys=page.limit,
        EncodingType="url" if page.encode else None,
        IsTruncated=str(truncated).lower(),
    )
    entries = "".join(_version(page, bucket, version, latest) for version, latest in found)
    return _document("ListVersionsResult", head + entries)


def _version(page: _Page, bucket: Bucket, version: Version, latest: bool) -> str:
    kind = "DeleteMarker" if version.delete_marker else "Version"
    facts = f"<LastModified>{iso(version.last_modified)}</LastModified>" if version.delete_marker else _facts(version)
    storage = "" if version.delete_marker else f"<StorageClass>{version.storage_class}</StorageClass>"
    return (
        f"<{kind}><Key>{page.text(version.key)}</Key><VersionId>{version.version_id}</VersionId>"
        f"<IsLatest>{str(latest).lower()}</IsLatest>{facts}"
        f"<Owner><ID>{_canonical_id(version.owner or bucket.owner)}</ID></Owner>{storage}</{kind}>"
    )
