"""ListObjectsV2 and ListObjectVersions pages: XML straight into tuples, and the law of going from page to page.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html

Keys are percent-decoded only where the answer
says that it encoded them (EncodingType). A listing never tells a checksum's value, only its algorithm, which is
ignored here.

What would make a listing endless or wrong is an error by name: a continuation token or a page seen before,
IsTruncated without a token, pages that stay empty, no ListBucketResult at all, an object without key, size or ETag, a
key that is longer than any can be. A document that breaks off is Transient: it is asked for again. Entities and DTDs
are refused.

This module sends nothing. `delimiter` and `max-keys` are never asked for: policies can make conditions on them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus
from xml.parsers import expat

from s3pull.errors import ServiceError, Transient
from s3pull.objects import ObjectVersion, RemoteObject
from s3pull.records import NamedTuple
from s3pull.remote.answers import credible, strip_etag
from s3pull.remote.signing import encode_query

#: 1,000 keys of 1,024 bytes, each percent-encoded, with all their metadata, are below 5 MB.
MAX_PAGE = 16 * 1024 * 1024
#: S3's keys have at most 1,024 bytes, three times that percent-encoded; those of others are paths of up to 4,096
_MAX_KEY = 16 * 1024
_MAX_EMPTY_PAGES = 1000
_MAX_DEPTH = 8


class Page(NamedTuple):
    """`token` asks for the page after this one; None: this was the last."""

    objects: list[RemoteObject]
    token: str | None


class VersionPage(NamedTuple):
    """`versions` are newest first for each key. `marker` asks for the page after this one; None: this was the last."""

    versions: list[ObjectVersion]
    marker: tuple[str, str] | None


def page_query(prefix: str, start_after: str, token: str | None) -> bytes:
    """The query of one page. `prefix` is always sent, exactly as given, because policies make conditions on it."""
    pairs = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)]
    if token is not None:
        pairs.append(("continuation-token", token))
    elif start_after:
        pairs.append(("start-after", start_after))
    return encode_query(pairs)


def parse_page(document: bytes) -> Page:
    """Read one page. Raises Transient for XML that breaks off, ServiceError for what is no listing."""
    rest, plain = _plain(document)
    top, found = _read(rest, "ListBucketResult", _CONTENTS)
    encoded = top.get("EncodingType") == "url"
    objects = _objects(plain, encoded) if plain else [_object(fields, encoded) for fields in found]
    if not _truncated(top):
        return Page(objects, None)
    token = top.get("NextContinuationToken")
    if not token:
        raise ServiceError("malformed listing: there is more, but no continuation token")
    return Page(objects, token)


#: one object, written as AWS writes it: nothing optional out of its place, no attribute, comment or reference but that
#: of the quotes around the ETag
_TEXT = rf"([^<&\x00-\x1f\ufffe\uffff]{{0,{_MAX_KEY}}})"
_TAG = _TEXT.replace("<", '<"')
_QUOTE = '(?:&quot;|&#34;|")'
_PLAIN = (
    rf"<Contents><Key>{_TEXT}</Key><LastModified>{_TEXT}</LastModified><ETag>{_QUOTE}{_TAG}{_QUOTE}</ETag>"
    rf"(?:<ChecksumAlgorithm>[A-Z0-9]*</ChecksumAlgorithm>)*(?:<ChecksumType>[A-Z_]*</ChecksumType>)?"
    rf"<Size>([0-9]{{1,18}})</Size><StorageClass>{_TEXT}</StorageClass></Contents>"
)
_ALL_PLAIN = f"(?:{_PLAIN})+"


def _plain(document: bytes) -> tuple[bytes, list[tuple[str, str, str, str, str]]]:
    """The texts of all objects of a page in which every one is plain, and the document without them.

    Regular expressions are several times faster than handlers of the parser (`re` compiles them when a page comes: that
    takes 2 ms, which who fetches one object need not wait for). What is not plain in any way, and what is
    no XML, is left to the parser: then the document comes back whole, and no objects.
    """
    begin = document.find(b"<Contents>")
    end = document.rfind(b"</Contents>") + len(b"</Contents>")
    if begin < 0 or end < begin:
        return document, []
    try:
        section = document[begin:end].decode("utf-8")
    except UnicodeDecodeError:
        return document, []
    if "]]>" in section or re.fullmatch(_ALL_PLAIN, section) is None:
        return document, []
    return document[:begin] + document[end:], re.findall(_PLAIN, section)


def _objects(found: list[tuple[str, str, str, str, str]], encoded: bool) -> list[RemoteObject]:
    objects = []
    for key, modified, etag, size, storage in found:
        if encoded and ("%" in key or "+" in key):
            key = _decode(key)
        objects.append(RemoteObject(key, int(size), etag, _time(modified), None, storage))
    return objects


def versions_query(prefix: str, marker: tuple[str, str] | None) -> bytes:
    """The query of one page of versions."""
    pairs = [("encoding-type", "url"), ("prefix", prefix), ("versions", "")]
    if marker is not None:
        pairs += [("key-marker", marker[0]), ("version-id-marker", marker[1])]
    return encode_query(pairs)


def parse_versions(document: bytes) -> VersionPage:
    """Read one page of versions and delete markers. Raises as `parse_page` does."""
    top, found = _read(document, "ListVersionsResult", _VERSIONS)
    encoded = top.get("EncodingType") == "url"
    versions = [_version(fields, encoded) for fields in found]
    if not _truncated(top):
        return VersionPage(versions, None)
    key, version = top.get("NextKeyMarker"), top.get("NextVersionIdMarker")
    if not key or version is None:
        raise ServiceError("malformed listing: there is more, but no marker to go on from")
    return VersionPage(versions, (_decode(key) if encoded else key, version))


def _version(fields: dict[str, str], encoded: bool) -> ObjectVersion:
    version_id = fields.get("VersionId")
    if not version_id:
        raise ServiceError("malformed listing: a version without an ID")
    deleted = "ETag" not in fields
    found = _object({"Size": "0", "ETag": "", **fields} if deleted else fields, encoded)
    return ObjectVersion(found._replace(version_id=version_id), deleted)


def _truncated(top: dict[str, str]) -> bool:
    truncated = top.get("IsTruncated")
    if truncated not in ("true", "false"):
        raise ServiceError("malformed listing: it does not say whether it is complete")
    return truncated == "true"


_CONTENTS = frozenset({"Contents"})
_VERSIONS = frozenset({"Version", "DeleteMarker"})


def _read(document: bytes, root: str, items: frozenset[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The texts of the page's own elements, and those of each item, by name.

    The handlers run some twenty times a key, so they are closures that do no more than remember texts.
    """
    texts: list[str] = []
    clear = texts.clear
    depth = 0
    fields: dict[str, str] = {}
    top: dict[str, str] = {}
    found: list[dict[str, str]] = []

    def start(name: str, _: object) -> None:
        nonlocal depth, fields
        depth += 1
        if texts:
            clear()
        if name in items:
            fields = {}
        elif depth > _MAX_DEPTH or (depth == 1 and name != root):
            raise ServiceError(f"malformed listing: an element {name[:40]}")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if depth >= 2:
            fields[name] = "".join(texts)
        elif name in items:
            found.append(fields)
        else:
            top[name] = "".join(texts)
        if texts:
            clear()

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.append
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise Transient(f"malformed listing: {error}") from None
    return top, found


def _refuse(*_: Any) -> None:
    raise ServiceError("malformed listing: a document type, which no listing has")


def _object(fields: dict[str, str], encoded: bool) -> RemoteObject:
    try:
        key = fields["Key"]
        size = fields["Size"]
        etag = fields["ETag"]
    except KeyError as error:
        raise ServiceError(f"malformed listing: an object without {error.args[0]}") from None
    if not size.isdecimal() or not size.isascii() or len(size) > 18:
        raise ServiceError(f"malformed listing: {size[:40]!r} is no size")
    if len(key) > _MAX_KEY:
        raise ServiceError(f"malformed listing: a key of {len(key)} characters, which begins with {key[:40]!r}")
    if encoded and ("%" in key or "+" in key):
        key = _decode(key)
    restoring = fields.get("IsRestoreInProgress")
    return RemoteObject(
        key,
        int(size),
        strip_etag(etag),
        _time(fields.get("LastModified")),
        None,
        fields.get("StorageClass"),
        None,
        None,
        None,
        None if restoring is None else restoring == "false",  # at worst the GET says that it is archived after all
    )


def _decode(key: str) -> str:
    """S3 encodes a space as `+`, as HTML forms do.

    Bytes that are no UTF-8 would make a key that cannot be asked for.
    """
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise ServiceError(f"malformed listing: the key {key[:100]!r} is not UTF-8") from None


_MAX_MINUTES = 10_000
_minutes: dict[str, float] = {}


def _time(text: str | None) -> float | None:
    """`2026-11-23T22:54:56.000Z` as epoch seconds; None for anything else.

    Neighbours in a listing were often written within the same minutes, so these are remembered.
    """
    if text is None or len(text) < 20 or text[-1] != "Z":
        return None
    try:
        minute = _minutes.get(text[:17])
        if minute is None:
            minute = _new_minute(text)
        seconds = float(text[17:-1])
        return credible(minute + seconds) if 0.0 <= seconds < 61.0 else None
    except ValueError:
        return None


def _new_minute(text: str) -> float:
    if (text[4], text[7], text[10], text[13], text[16]) != ("-", "-", "T", ":", ":"):
        raise ValueError("not in the form of ISO 8601")
    fields = (int(text[:4]), int(text[5:7]), int(text[8:10]), int(text[11:13]), int(text[14:16]))
    if len(_minutes) >= _MAX_MINUTES:
        _minutes.clear()
    minute = _minutes[text[:17]] = datetime(*fields, tzinfo=UTC).timestamp()
    return minute


class Progress:
    """Sees every page of one listing and refuses what would go round in circles.

    Keys of a listing are unique, so a page that starts with the first key of an earlier page is a repetition, in
    whatever order the server lists. Only hashes are kept: 16 bytes or so for every thousand keys.
    """

    def __init__(self) -> None:
        self._tokens: set[int] = set()
        self._first_keys: set[int] = set()
        self._empty = 0

    def check(self, page: Page) -> None:
        """Raise ServiceError where `page` shows that the listing does not get on."""
        if page.objects:
            first = hash(page.objects[0].key)
            if first in self._first_keys:
                raise ServiceError(f"the listing repeats itself at {page.objects[0].key}")
            self._first_keys.add(first)
            self._empty = 0
        else:
            self._empty += 1
            if self._empty > _MAX_EMPTY_PAGES:
                raise ServiceError(f"the listing goes on for {_MAX_EMPTY_PAGES} pages without an object")
        if page.token is not None:
            token = hash(page.token)
            if token in self._tokens:
                raise ServiceError("the listing repeats a continuation token")
            self._tokens.add(token)
