"""The store contract (`s3pull.remote.store`), one suite over every server: our fake (plain and TLS), moto, rclone."""

import hashlib
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from s3pull.errors import Cancelled, NothingThere, ObjectChanged, S3pullError
from s3pull.objects import Access, Credentials
from s3pull.remote.engine import SocketStore, open_store

BUCKET = "acme"
BIG = os.urandom(3 * 1024 * 1024 + 17)
SMALL = b"0123456789"
KEYS = {
    "a/big.bin": BIG,
    "a/small.txt": SMALL,
    "a/zero": b"",
    "b c/ü+%&=?#~.txt": b"odd name",
    "d/e/f": b"deep",
}


class Keyring:
    """Credentials that never end."""

    def __init__(self, access_key: str, secret_key: str, token: str | None = None) -> None:
        self._credentials = Credentials(access_key, secret_key, token)

    def current(self) -> Credentials:
        return self._credentials

    def renew(self, refused: Credentials) -> Credentials:
        raise AssertionError("these keys do not expire")


@dataclass
class Served:
    """A server with the objects of KEYS. `client` is moto's boto3 client."""

    kind: str
    store: SocketStore
    client: Any = None


def opened(url: str, keys: Any, environ: dict[str, str], **options: Any) -> SocketStore:
    access = Access(BUCKET, endpoint_url=url, region="us-east-1")
    return open_store(
        access,
        Keyring(keys.access_key, keys.secret_key),
        endpoint=None,
        remember=lambda _: None,
        environ=environ,
        **options,
    )


@pytest.fixture(params=["fake", "fake-tls", "moto", "rclone"])
def served(request):
    kind = request.param
    client = None
    environ = {}
    if kind.startswith("fake"):
        server = request.getfixturevalue("fake_aws" if kind == "fake" else "fake_aws_tls")
        keys = server.user("111111111111", "owner")
        server.bucket(BUCKET)
        for key, body in KEYS.items():
            server.put(BUCKET, key, body)
        environ = server.env(keys)
    elif kind == "rclone":
        server = keys = request.getfixturevalue("rclone_server")
        folder = server.bucket(BUCKET)
        for key, body in KEYS.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    else:
        server = keys = request.getfixturevalue("moto_server")
        client = server.client
        client.create_bucket(Bucket=BUCKET)
        for key, body in KEYS.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=body)
    store = opened(server.url, keys, environ)
    yield Served(kind, store, client)
    store.close()


def read(body, size=64 * 1024) -> bytes:
    found = bytearray()
    buffer = memoryview(bytearray(size))
    with body:
        while count := body.readinto(buffer):
            assert 1 <= count <= size
            found += buffer[:count]
        assert body.readinto(buffer) == 0
    assert len(found) == body.length
    return bytes(found)


def test_get_is_the_object(served):
    for key, content in KEYS.items():
        body = served.store.get(key)
        assert body.object.key == key
        assert body.object.size == body.length == len(content)
        assert read(body) == content


def test_head_get_and_list_agree(served):
    for key, content in KEYS.items():
        head = served.store.head(key)
        (listed,) = [obj for page in served.store.list(key) for obj in page]
        with served.store.get(key) as body:
            got = body.object
        assert head.key == listed.key == got.key == key
        assert head.size == listed.size == got.size == len(content)
        assert head.etag == listed.etag == got.etag == hashlib.md5(content).hexdigest()
        assert head.last_modified == got.last_modified
        assert abs(head.last_modified - listed.last_modified) <= 1  # an HTTP date has no fractions
        assert abs(head.last_modified - time.time()) < 300


RANGES = [
    (0, 1),
    (0, len(BIG)),
    (0, len(BIG) + 5),
    (1, None),
    (5, 70_000),
    (len(BIG) - 1, None),
    (100_000, len(BIG) + 99),
]


def test_ranges(served):
    pin = served.store.head("a/big.bin")
    for start, end in RANGES:
        body = served.store.get("a/big.bin", start=start, end=end, pin=pin)
        assert body.object.size == len(BIG)
        assert read(body) == BIG[start:end]


def test_any_buffer_will_do(served):
    assert read(served.store.get("a/small.txt"), 1) == SMALL
    assert read(served.store.get("a/big.bin", start=len(BIG) - 1000), 7) == BIG[-1000:]
    for size in (16 * 1024, 1024 * 1024, 8 * 1024 * 1024):
        assert read(served.store.get("a/big.bin"), size) == BIG


def test_what_is_not_there(served):
    for call in (served.store.head, served.store.get):
        with pytest.raises(NothingThere) as caught:
            call("a/nothing")
        assert caught.value.status == 404 and caught.value.key == "a/nothing"


def test_a_range_beyond_the_end(served):
    pin = served.store.head("a/small.txt")
    with pytest.raises(ObjectChanged):
        served.store.get("a/small.txt", start=10, pin=pin._replace(size=20))


def test_another_pin_is_another_object(served):
    pin = served.store.head("a/small.txt")
    for wrong in (pin._replace(etag="0" * 32), pin._replace(size=9), pin._replace(etag=f'W/"{pin.etag}"')):
        with pytest.raises(ObjectChanged):
            served.store.get("a/small.txt", pin=wrong)
    assert read(served.store.get("a/small.txt", pin=pin)) == SMALL


def test_list(served):
    pages = list(served.store.list())
    assert [obj.key for page in pages for obj in page] == sorted(KEYS, key=str.encode)
    assert [obj.key for page in served.store.list("a/") for obj in page] == ["a/big.bin", "a/small.txt", "a/zero"]
    assert [obj.key for page in served.store.list("a/", start_after="a/big.bin") for obj in page] == [
        "a/small.txt",
        "a/zero",
    ]
    assert list(served.store.list("nothing/")) == []


def test_no_such_bucket(served):
    store = served.store
    lost = SocketStore(
        Access("no-such-bucket"),
        store.credentials,
        store._route.endpoint._replace(path="/no-such-bucket"),
        lambda _: None,
        store._environ,
    )
    with pytest.raises(NothingThere) as caught:
        list(lost.list())
    assert caught.value.code == "NoSuchBucket"
    lost.close()


def test_closing_a_body_early_harms_nobody(served):
    buffer = memoryview(bytearray(1000))
    for _ in range(3):
        with served.store.get("a/big.bin") as body:
            body.readinto(buffer)
        assert read(served.store.get("a/small.txt")) == SMALL


def test_many_threads(served):
    failures = []

    def work(number):
        try:
            for turn in range(5):
                start = (number * 5 + turn) * 50_000
                assert (
                    read(served.store.get("a/big.bin", start=start, end=start + 50_000)) == BIG[start : start + 50_000]
                )
                assert read(served.store.get("a/small.txt")) == SMALL
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_after_an_interrupt_everything_is_cancelled(served):
    body = served.store.get("a/big.bin")
    served.store.interrupt()
    buffer = memoryview(bytearray(1000))
    with body, pytest.raises(Cancelled):
        body.readinto(buffer)
    for call in (served.store.head, served.store.get):
        with pytest.raises(Cancelled):
            call("a/small.txt")
    with pytest.raises(Cancelled):
        next(served.store.list())


def test_nothing_but_our_errors(served):
    for call in (served.store.head, served.store.get, lambda prefix: list(served.store.list(prefix))):
        with pytest.raises(S3pullError):
            call("a\udcff")


@pytest.mark.parametrize("served", ["moto"], indirect=True)  # our fake's are tested with faults; rclone has none
def test_versions(served):
    client = served.client
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    versions = [client.put_object(Bucket=BUCKET, Key="v", Body=body)["VersionId"] for body in (b"one", b"two!")]
    for version, body in zip(versions, (b"one", b"two!"), strict=True):
        assert served.store.head("v", version_id=version).version_id == version
        assert read(served.store.get("v", version_id=version)) == body
    with pytest.raises(NothingThere):
        served.store.get("v", version_id="00000000-0000-0000-0000-000000000000")
