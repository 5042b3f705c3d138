"""All that reads what others may have written: whatever the bytes, an answer or one of our errors, never a crash.

Each reader gets good input with something done to it (bytes gone, doubled, flipped, or something nasty put in). What
found something stands as an `@example`. Readers with properties of their own are tested beside their code: response
heads, listings, checkpoints, lock records, policies, sources (docs/RELIABILITY.md names them).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3pull.access import cache, config, keys, session, sharefile
from s3pull.errors import S3pullError
from s3pull.local import journals, owner
from s3pull.local.mirror import Mirror, State
from s3pull.local.names import local_path
from s3pull.local.receipts import Receipts
from s3pull.local.tree import Tree
from s3pull.objects import Receipt
from s3pull.pull import items
from s3pull.pull.globs import Filters, matcher
from s3pull.pull.manifest import Manifest
from s3pull.pull.source import parse_dest, parse_source
from s3pull.remote import listing
from s3pull.remote.answers import check_pin, describe, extent
from s3pull.remote.failures import from_response
from s3pull.remote.heads import parse_head

NASTY = [
    *(b"[" * 20_000, b'{"a":' * 20_000, b"a" * 70_000),
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b'"', b"'", b"\n", b"\r", b"=", b"#"),
    *(b"9" * 5000, b"1" + b"0" * 400, b"-1", b"1e999", b"NaN", b"Infinity", b"null", b"true", b"[]", b"{}", b"0.5"),
    *(b"1979-05-27T07:32:00Z", b"<", b"&", b"]]>", b"<!DOCTYPE x>", b"../", b"\x1b[2J", b"%00", b"%ff", b"%", b"+"),
]  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """`good`, and up to four things done to it."""
    found = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        stop = min(len(found), start + draw(st.integers(0, 12)))
        kind = draw(st.sampled_from(["cut", "end", "double", "flip", "insert", "replace"]))
        if kind == "cut":
            del found[start:stop]
        elif kind == "end":
            del found[start:]
        elif kind == "double":
            found[start:start] = found[start:stop]
        elif kind == "flip" and start < len(found):
            found[start] ^= 1 << draw(st.integers(0, 7))
        else:
            found[start : stop if kind == "replace" else start] = draw(st.sampled_from(NASTY))
    return bytes(found)


@st.composite
def json_with(draw: st.DrawFn, good: dict[str, object] | list[object]) -> object:
    """`good`, with some of its values of another kind or gone."""
    odd = st.sampled_from(
        [None, True, -1, 0, 1.5, 10**30, 10**400, float("inf"), "", "\ud800", "x" * 3000, [], [1], {}, {"a": 1}]
    )
    found = good.copy()
    for _ in range(draw(st.integers(1, 3))):
        if isinstance(found, dict) and found:
            name = draw(st.sampled_from(sorted(found)))
            if draw(st.booleans()):
                found[name] = draw(odd)
            else:
                del found[name]
        elif isinstance(found, list) and found:
            place = draw(st.integers(0, len(found) - 1))
            found[place : place + draw(st.integers(0, 1))] = [draw(odd)]
    return found


@contextlib.contextmanager
def ours():
    """Errors of ours are an answer."""
    with contextlib.suppress(S3pullError):
        yield


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- configuration and shares ----------------------------------------------------------------------------

SHARE = b"""# a comment
[shares.acme]
bucket = "acme-exports"
prefix = "2026/"
role_arn = "arn:aws:iam::111122223333:role/readers"
external_id = "9f4c1d"
region = "eu-west-1"
duration = "1h"
session_tags = { team = "data" }
request_payer = true
"""
DEEP = b"a = " + b"[" * 20_000


@given(spoilt(SHARE))
@example(SHARE)
@example(DEEP)
@example(SHARE + b"[shares.a" + b".b" * 5000 + b"]\n")
@example(b"a = " + b"9" * 5000)
def test_a_configuration_is_read_or_refused(text):
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "config.toml"
        path.write_bytes(text)
        with ours():
            for one in config.load(path).shares.values():
                one.settings()
        before = path.read_bytes()
        try:
            config.save_share(path, config.share("other", {"bucket": "others"}))
        except S3pullError:
            assert path.read_bytes() == before
        else:
            assert config.load(path).share("other").bucket == "others"


@given(spoilt(SHARE))
@example(SHARE)
@example(DEEP)
@example(b"a = " + b"9" * 5000)
def test_a_share_file_is_read_or_refused(text):
    with ours():
        new = sharefile.read(text.decode("utf-8", "replace"))
        sharefile.preview(new, config.Config(Path("none"), {}))
        assert set(new.settings()) <= set(sharefile.ALLOWED)


# --- the cache -------------------------------------------------------------------------------------------

HELD = {
    "access_key": "ASIA", "secret_key": "s", "token": "t", "expires": 3000.0, "issued": 1.0, "share": "acme",
    "bucket": "b", "prefix": "", "role_arn": "r", "session_name": "n", "session_arn": "a", "width": "prefix",
}  # fmt: skip
HEADER = b'{"s3pull":1,"kind":"session","expires":3000.0,"sealed":false}\n'
ENTRY = HEADER + json.dumps(HELD).encode()
HUGE = b"1" + b"0" * 400


@given(spoilt(ENTRY))
@example(ENTRY)
@example(ENTRY.replace(b"3000.0", HUGE, 1))
@example(b"[" * 60_000)
@example(HEADER + b"[" * 60_000)
@example(HEADER + b'{"a":' * 10_000)
def test_a_cache_entry_is_a_session_or_a_miss(content):
    name = "0" * 64
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "cache"
        directory.mkdir(mode=0o700)
        kept = cache.Cache(
            *("auto", directory), environ={}, clock=lambda: 1000.0, fetch_key=lambda _: keys.Key(None, reason="none")
        )
        path = directory / name
        path.touch(0o600)
        path.write_bytes(content)
        session._held(kept.get(name))
        kept.entries()
        kept.put("1" * 64, cache.SESSION, {"a": 1}, 2000.0)  # sweeps
        assert kept.get("1" * 64) == {"a": 1}


@given(json_with(HELD))
@example({**HELD, "expires": 10**400})
def test_whatever_a_cache_entry_holds(value):
    held = session._held(value)
    assert held is None or isinstance(held.credentials.secret_key, str)


# --- what stands in a destination ------------------------------------------------------------------------


def _database() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "receipts.db"
        with Receipts.open(path, durable=False) as receipts:
            for n in range(40):
                receipts.record(Receipt(f"k/{n:02}", f"k/{n:02}", n, 1, "e", None, 1.0, "CRC32", "x", True))
        return path.read_bytes()


DATABASE = _database()


@settings(max_examples=60)
@given(spoilt(DATABASE))
def test_receipts_are_read_or_refused(content):
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "receipts.db"
        path.write_bytes(content)
        with ours(), Receipts.open(path, durable=False) as receipts:
            for receipt in receipts.rows():
                receipts.find(receipt.key)
            list(receipts.briefs())
            receipts.record(Receipt("new", "new", 1, 1, "e", None, 1.0, "CRC32", "x", True))
            receipts.flush()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE receipts SET size = 'large'",
        "UPDATE receipts SET mtime_ns = 1.5",
        "UPDATE receipts SET key = x'00ff'",
        "UPDATE receipts SET path = x'ff'",
        "UPDATE receipts SET etag = 5",
        "UPDATE receipts SET modified = 'never'",
        "DROP TABLE receipts",
    ],
)
def test_receipts_of_other_types_are_read_or_refused(tmp_path, change):
    """SQLite takes any value in any column."""
    path = tmp_path / "receipts.db"
    path.write_bytes(DATABASE)
    with contextlib.closing(sqlite3.connect(path)) as db, contextlib.suppress(sqlite3.IntegrityError):
        db.execute(change)
        db.commit()
    with ours(), Receipts.open(path, durable=False) as receipts:
        list(receipts.rows())
        list(receipts.briefs())


MIRROR = Mirror("bucket", "", "root/", "acme:root/")
HEAD_LINE = {"schema": 1, "bucket": "bucket", "endpoint": ""}
LINE: list[object] = ["root/a", "a", 4, 0, "e", None, 1.0, "CRC32", "x", True]


@settings(max_examples=60)
@given(st.lists(json_with(LINE), min_size=1, max_size=4), st.data())
@example([["root/a", "a", 4, 0, ["e"], None, 1.0, "CRC32", "x", True]], None)
@example([["root/a", "a", 4, 0, "e", None, 10**400, "CRC32", "x", True]], None)
@example([["root/a", "a", 4, 0, "\ud800", None, 1.0, "CRC32", "x", True]], None)
@example([["root/\ud800", "\ud800", 4, 0, "e", None, 1.0, "CRC32", "x", True]], None)
def test_a_journal_is_believed_line_by_line(said, data):
    with tempfile.TemporaryDirectory() as place, Tree(Path(place), create=True, durable=False) as tree:
        file = Path(place) / "a"
        file.write_bytes(b"body")
        os.utime(file, ns=(0, 0))
        state = State.open(tree, create=True)
        text = "".join(json.dumps(line) + "\n" for line in [HEAD_LINE, *said, LINE]).encode()
        if data is not None and data.draw(st.booleans()):
            text = data.draw(spoilt(text))
        (Path(place) / ".s3pull" / f"journal-{owner.part_name()}").write_bytes(text)
        with Receipts.open(state.receipts_path(), durable=False) as receipts:
            journals.merge(state, MIRROR, tree, receipts)
            receipts.flush()
            list(receipts.rows())


# --- lists of keys and manifests -------------------------------------------------------------------------

OBJECT_LINE = {
    "event": "object", "key": "a", "size": 1, "etag": "e", "modified": 1.0, "version_id": "v", "storage_class": None,
    "checksum": {"algorithm": "CRC32", "value": "x", "type": "FULL_OBJECT"},
}  # fmt: skip
MANIFEST_HEAD = {"event": "manifest", "schema": 1, "source": "s", "bucket": "b", "root": "r/"}
END = {"event": "end", "objects": 1}


@given(json_with(MANIFEST_HEAD), json_with(OBJECT_LINE), st.data())
@example(MANIFEST_HEAD, OBJECT_LINE, None)
@example(MANIFEST_HEAD, {**OBJECT_LINE, "checksum": {"algorithm": "\ud800", "value": "x", "type": "y"}}, None)
def test_a_manifest_is_read_or_refused(head, line, data):
    text = "".join(json.dumps(one) + "\n" for one in (head, line, END)).encode()
    if data is not None and data.draw(st.booleans()):
        text = data.draw(spoilt(text))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "m.jsonl"
        path.write_bytes(text)
        with ours():
            for page in Manifest(path).pages():
                for found in page:
                    assert found.size >= 0
                    found.key.encode()


LISTED = {
    "event": "object",
    "key": "a",
    "size": 1,
    "etag": "e",
    "last_modified": "2026-11-26T00:00:00Z",
    "storage_class": "S",
}


@given(json_with(LISTED), st.data())
@example(LISTED, None)
@example({**LISTED, "last_modified": "0001-01-01T00:00:00"}, None)
@example({**LISTED, "size": -1}, None)
@example({**LISTED, "size": 10**30}, None)
@example({**LISTED, "size": True}, None)
@example({**LISTED, "etag": "\ud800"}, None)
@example({**LISTED, "key": "\ud800"}, None)
def test_a_line_of_a_list_is_an_object_or_refused(said, data):
    text = json.dumps(said)
    if data is not None and data.draw(st.booleans()):
        text = data.draw(spoilt(text.encode())).decode("utf-8", "replace")
    naming = items.Naming(encode=False, folds=False)
    with ours():
        for key, ask in items.from_list([text], _Nothing(), "p/", naming, Filters()):
            key.encode()
            with ours():
                what = ask()
                assert 0 <= what.object.size < 2**63
                assert type(what.object.size) is int


class _Nothing:
    """A store that has nothing."""

    def head(self, key, **_):
        from s3pull.errors import NothingThere

        raise NothingThere("nothing", code="NoSuchKey")


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape")))
@example("s3://a" + "*" * 5000)
@example("acme:" + "[" * 3000)
@example("acme:" + "{" * 3000 + "**/" * 2000)
def test_sources_destinations_and_globs(text):
    with ours():
        spec = parse_source(text)
        spec.kind, spec.key, spec.fixed  # noqa: B018
        parse_dest(None, spec, is_directory=False)
        parse_dest(text, spec, is_directory=False)
        matcher(spec.path)("a/b" * 50)
    with ours():
        local_path(text, encode=True)


# --- answers ---------------------------------------------------------------------------------------------

HEAD = (
    b"HTTP/1.1 206 Partial Content\r\nx-amz-id-2: abc\r\nLast-Modified: Thu, 26 Nov 2026 10:00:00 GMT\r\n"
    b'ETag: "900150983cd24fb0d6963f7d28e17f72-3"\r\n'
    b"x-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\nx-amz-checksum-type: FULL_OBJECT\r\n"
    b"x-amz-mp-parts-count: 3\r\nx-amz-version-id: v\r\nContent-Range: bytes 0-9/100\r\nContent-Length: 10\r\n"
    b"x-amz-restore: ongoing-request=\"false\"\r\nConnection: keep-alive\r\nRetry-After: 5\r\n\r\n"
)  # fmt: skip


@given(spoilt(HEAD))
@example(HEAD)
@example(HEAD.replace(b"26 Nov 2026", b"31 Feb 0000"))
@example(HEAD.replace(b"count: 3", b"count: " + b"9" * 5000))
def test_the_head_of_an_answer_describes_an_object_or_is_refused(data):
    with ours():
        parsed = parse_head(data, 0, len(data))
        if parsed is None:
            return
        head = parsed[0]
        with ours():
            size, length = extent("k", head, 0, 10, ranged=True, pin=None)
            assert 0 <= length <= size
        seen = describe("k", head, 100)
        seen.etag.encode()
        with ours():
            check_pin(seen, seen._replace(etag="other"), None)
        from_response("GET", "k", "b", head.status, head.headers, b"")


ERROR = (
    b"<?xml version=\"1.0\"?>\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-west-1'</Message>"
    b"<Region>eu-west-1</Region><RequestId>1</RequestId><HostId>2</HostId></Error>"
)


@given(spoilt(ERROR), st.sampled_from([200, 301, 400, 403, 404, 405, 412, 416, 500, 503]))
@example(ERROR.replace(b"AuthorizationHeaderMalformed", b"[" * 20_000), 403)
def test_an_error_document_is_an_error(body, status):
    error = from_response("GET", "k", "b", status, {b"retry-after": body[:20].strip(b"\r\n")}, body)
    assert error.message
    assert len(error.message) < 5000


PAGE = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p</Prefix><KeyCount>2</KeyCount>\
<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>a+b%2Fc</Key>\
<LastModified>2026-11-23T22:54:56.000Z</LastModified><ETag>&quot;900150983cd24fb0d6963f7d28e17f72&quot;</ETag>\
<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>3</Size>\
<StorageClass>STANDARD</StorageClass></Contents><Contents><Key>d</Key><LastModified>2026-11-23T22:54:57.000Z</LastModified>\
<ETag>"x-3"</ETag><Size>4</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"""


def _pages(document: bytes, patch: pytest.MonkeyPatch) -> list[object]:
    """What both ways of reading a page make of it."""
    found: list[object] = []
    for quick in (True, False):
        with patch.context() as context:
            if not quick:
                context.setattr(listing, "_plain", lambda whole: (whole, []))
            try:
                found.append(listing.parse_page(document))
            except S3pullError as error:
                found.append(type(error))
    return found


@settings(max_examples=400)
@given(spoilt(PAGE))
@example(PAGE)
@example(PAGE.replace(b"22:54:56", b"22:54:1e999"))
def test_a_page_is_read_or_refused_the_same_in_both_ways(document):
    quick, slow = _pages(document, pytest.MonkeyPatch())
    assert quick == slow
    if isinstance(quick, listing.Page):
        for found in quick.objects:
            assert found.size >= 0
            found.key.encode()
