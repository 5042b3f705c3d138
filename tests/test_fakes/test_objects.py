"""Objects, their parts, versions and checksums, and listings."""

import concurrent.futures
import contextlib
import hashlib
import http.client

import pytest

from tests.fakes import Sparse, bodies, faults
from tests.test_fakes.asking import (
    OWNER,
    PUBLIC,
    refused,
)

KEYS = ["plain", "a/b c+d", "ünï/☃", "tilde~*'()!", "a//b/", "%41", "q?x=1&y", "#frag", " lead", "dot/../dot", "x\ty"]


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_signed_stored_listed_and_read(fake_aws, s3, key):
    etag = fake_aws.put("acme", key, key.encode(), last_modified=1_700_000_000)
    got = s3.get_object(Bucket="acme", Key=key, ChecksumMode="ENABLED")
    assert got["Body"].read() == key.encode()
    assert got["ETag"] == f'"{etag}"' == f'"{hashlib.md5(key.encode()).hexdigest()}"'
    assert got["LastModified"].timestamp() == 1_700_000_000
    assert got["ChecksumCRC64NVME"]
    (listed,) = s3.list_objects_v2(Bucket="acme")["Contents"]
    assert (listed["Key"], listed["Size"], listed["ETag"]) == (key, len(key.encode()), f'"{etag}"')
    assert s3.head_object(Bucket="acme", Key=key)["ContentLength"] == len(key.encode())


@pytest.mark.parametrize(
    ("span", "answer"),
    [
        ("bytes=0-3", (206, b"0123", "bytes 0-3/10")),
        ("bytes=8-", (206, b"89", "bytes 8-9/10")),
        ("bytes=-3", (206, b"789", "bytes 7-9/10")),
        ("bytes=5-99", (206, b"56789", "bytes 5-9/10")),
        ("bytes=3-1", (200, b"0123456789", None)),
    ],
)
def test_ranges(fake_aws, s3, span, answer):
    fake_aws.put("acme", "k", b"0123456789")
    got = s3.get_object(Bucket="acme", Key="k", Range=span)
    status = got["ResponseMetadata"]["HTTPStatusCode"]
    assert (status, got["Body"].read(), got.get("ContentRange")) == answer
    assert fake_aws.asked("GetObject")[0].bytes_sent == len(answer[1])


def test_ranges_that_are_not_there(fake_aws, s3):
    fake_aws.put("acme", "k", b"0123456789")
    fake_aws.put("acme", "empty", b"")
    assert refused(s3.get_object, Bucket="acme", Key="k", Range="bytes=10-")[:2] == (416, "InvalidRange")
    assert refused(s3.get_object, Bucket="acme", Key="empty", Range="bytes=0-0")[:2] == (416, "InvalidRange")


def test_conditions(fake_aws, s3):
    etag = fake_aws.put("acme", "k", b"one")
    assert s3.get_object(Bucket="acme", Key="k", IfMatch=f'"{etag}"')["Body"].read() == b"one"
    fake_aws.put("acme", "k", b"two")
    status, code, _ = refused(s3.get_object, Bucket="acme", Key="k", IfMatch=f'"{etag}"')
    assert (status, code) == (412, "PreconditionFailed")
    fake_aws.fault("GetObject", faults.ignore_if_match())
    assert s3.get_object(Bucket="acme", Key="k", IfMatch=f'"{etag}"')["Body"].read() == b"two"


def test_parts(fake_aws, s3):
    data = bytes(range(256)) * 40
    etag = fake_aws.put("acme", "k", data, parts=[5000, 5240], checksum="SHA256")
    digests = [hashlib.md5(data[:5000]), hashlib.md5(data[5000:])]
    assert etag == hashlib.md5(b"".join(d.digest() for d in digests)).hexdigest() + "-2"
    head = s3.head_object(Bucket="acme", Key="k", PartNumber=1)
    assert (head["PartsCount"], head["ContentLength"]) == (2, 5000)
    part = s3.get_object(Bucket="acme", Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert (part["Body"].read(), part["ContentRange"]) == (data[5000:], "bytes 5000-10239/10240")
    whole = s3.head_object(Bucket="acme", Key="k", ChecksumMode="ENABLED")
    assert (whole["ChecksumType"], whole["ChecksumSHA256"][-2:]) == ("COMPOSITE", "-2")
    assert refused(s3.get_object, Bucket="acme", Key="k", PartNumber=3)[:2] == (416, "InvalidPartNumber")


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("CRC32", "y/Q5Jg=="),
        ("CRC32C", "4waSgw=="),
        ("CRC64NVME", "rosUhgp5mIg="),
        ("SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ],
)
def test_checksums_are_the_published_ones(algorithm, value):
    """The check values of '123456789' (reveng's catalogue of CRCs)."""
    assert bodies.checksum(bodies.Held(b"123456789"), algorithm, "FULL_OBJECT", None) == value


def test_versions(fake_aws, clients, owner):
    fake_aws.bucket("kept", OWNER, versioning=True)
    s3 = clients(fake_aws, "s3", owner)
    for body in (b"one", b"two"):
        fake_aws.put("kept", "k", body)
    fake_aws.delete("kept", "k")
    listed = s3.list_object_versions(Bucket="kept")
    newest, oldest = (one["VersionId"] for one in listed["Versions"])
    (marker,) = listed["DeleteMarkers"]
    assert marker["IsLatest"]
    assert s3.get_object(Bucket="kept", Key="k", VersionId=oldest)["Body"].read() == b"one"
    assert s3.get_object(Bucket="kept", Key="k", VersionId=newest)["VersionId"] == newest
    assert refused(s3.get_object, Bucket="kept", Key="k")[:2] == (404, "NoSuchKey")
    assert refused(s3.get_object, Bucket="kept", Key="k", VersionId="none")[:2] == (404, "NoSuchVersion")
    gone = refused(s3.get_object, Bucket="kept", Key="k", VersionId=marker["VersionId"])
    assert gone[:2] == (405, "MethodNotAllowed")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="kept", PaginationConfig={"PageSize": 1})
    assert sum(len(p.get("Versions", [])) + len(p.get("DeleteMarkers", [])) for p in pages) == 3


def test_archives(fake_aws, s3):
    fake_aws.put("acme", "cold", b"x", storage_class="GLACIER")
    fake_aws.put("acme", "thawed", b"x", storage_class="GLACIER", restore='ongoing-request="false", expiry-date="x"')
    fake_aws.put("acme", "tiered", b"x", storage_class="INTELLIGENT_TIERING", archive_status="ARCHIVE_ACCESS")
    assert s3.head_object(Bucket="acme", Key="cold")["StorageClass"] == "GLACIER"
    assert refused(s3.get_object, Bucket="acme", Key="cold")[:2] == (403, "InvalidObjectState")
    assert refused(s3.get_object, Bucket="acme", Key="tiered")[:2] == (403, "InvalidObjectState")
    assert s3.get_object(Bucket="acme", Key="thawed")["Body"].read() == b"x"


def test_a_customers_key(fake_aws, s3):
    fake_aws.put("acme", "k", b"x", sse_c=True)
    assert refused(s3.get_object, Bucket="acme", Key="k")[:2] == (400, "InvalidRequest")
    assert refused(s3.head_object, Bucket="acme", Key="k")[:2] == (400, "400")


# --- listings -------------------------------------------------------------------------------------------


def test_listing_pages_in_byte_order(fake_aws, s3):
    keys = sorted([f"d{n % 7}/{n:05}" for n in range(2500)] + ["A", "é", "z", "￿", "😀"], key=str.encode)
    for key in keys:
        fake_aws.put("acme", key, b"", checksum=None)
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="acme"))
    assert [one["Key"] for page in pages for one in page["Contents"]] == keys
    assert [page["KeyCount"] for page in pages] == [1000, 1000, 505]
    after = s3.list_objects_v2(Bucket="acme", StartAfter="d6/02498", Prefix="d6/")
    assert [one["Key"] for one in after.get("Contents", [])] == [key for key in keys if "d6/02498" < key < "d6/3"]


def test_listing_with_a_delimiter(fake_aws, s3):
    for key in ["a", "b/1", "b/2", "b/c/3", "d/4", "e"]:
        fake_aws.put("acme", key, b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="acme", Delimiter="/", PaginationConfig={"PageSize": 2})
    found = [
        ([o["Key"] for o in p.get("Contents", [])], [c["Prefix"] for c in p.get("CommonPrefixes", [])]) for p in pages
    ]
    assert found == [(["a"], ["b/"]), (["e"], ["d/"])]


def test_listing_facts(fake_aws, s3):
    fake_aws.put("acme", "k", b"xyz", parts=[2, 1], checksum="CRC32", owner="333333333333")
    (listed,) = s3.list_objects_v2(Bucket="acme", FetchOwner=True)["Contents"]
    assert listed["ChecksumAlgorithm"] == ["CRC32"]
    assert (listed["ChecksumType"], listed["StorageClass"]) == ("COMPOSITE", "STANDARD")
    assert listed["Owner"]["ID"].startswith("333333333333")


def test_sparse_bodies_differ_everywhere():
    body = Sparse(5 << 20, seed=3)
    data = b"".join(bodies.chunks(body, 0, body.size, 99_991))
    assert len(data) == body.size
    assert data == b"".join(bodies.chunks(body, 0, body.size))
    assert bytes(body.read(3 << 20, 10)) == data[3 << 20 : (3 << 20) + 10]
    pages = {data[start : start + 4096] for start in range(0, len(data), 4096)}
    assert len(pages) == body.size // 4096
    assert bytes(Sparse(1000).read(990, 100)) == bytes(Sparse(2000).read(990, 10))
    assert len(bytes(Sparse(1000).read(1000, 1))) == 0


def test_a_huge_object_costs_no_memory(fake_aws, s3):
    size = 1 << 40
    fake_aws.put("acme", "huge", Sparse(size), etag="huge-1", checksum=None)
    assert s3.head_object(Bucket="acme", Key="huge")["ContentLength"] == size
    tail = s3.get_object(Bucket="acme", Key="huge", Range=f"bytes={size - 5}-")["Body"].read()
    assert tail == bytes(Sparse(size).read(size - 5, 5))


def test_many_connections_at_once(fake_aws):
    fake_aws.bucket("open", OWNER, policy=PUBLIC)
    for n in range(400):
        fake_aws.put("open", f"{n}", b"%d" % n)

    def fetch(numbers):
        connection = http.client.HTTPConnection("127.0.0.1", fake_aws.server.port, timeout=10)
        with contextlib.closing(connection):
            for n in numbers:
                connection.request("GET", f"/open/{n}")
                assert connection.getresponse().read() == b"%d" % n

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(fetch, [range(start, 400, 20) for start in range(20)]))
    assert fake_aws.count("GetObject", status=200) == 400
    assert fake_aws.server.connections == 20
