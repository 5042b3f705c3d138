"""The store when things go wrong: what is retried, what is refused, and that no wrong byte is ever believed."""

import os
import threading
import time

import pytest

from s3pull.errors import (
    AccessDenied,
    Archived,
    Cancelled,
    CredentialsError,
    NothingThere,
    ObjectChanged,
    ServiceError,
    TokenExpired,
    Transient,
    Unsupported,
    WrongRegion,
)
from s3pull.objects import Access, Credentials
from s3pull.remote.checksums import crc_digest, crc_function, full_object
from s3pull.remote.endpoint import resolve
from s3pull.remote.engine import SocketStore, open_store
from s3pull.remote.retry import Patience
from tests.fakes import FakeAws, Sparse
from tests.fakes.faults import (
    chunked,
    drip,
    drop,
    expire_tokens,
    header,
    ignore_if_match,
    ignore_range,
    informational,
    no_content_length,
    ok_with_error_body,
    overlong,
    raw,
    redirect,
    replace_object,
    reset_after,
    slow_head,
    stall_after,
    status,
    truncate_at,
    wrong_content_range,
    wrong_etag,
)

OWNER = "111111111111"
BODY = os.urandom(300_000)


class Source:
    """Sessions of a role; `renew` opens a new one, unless there are no more."""

    def __init__(self, aws, *, lifetime=3600.0, renewals=99, expires=None):
        self.aws, self.lifetime, self.renewals, self.expires = aws, lifetime, renewals, expires
        self.renewed = []
        self._now = self._open()

    def _open(self):
        keys = self.aws.session(OWNER, "reader", lifetime=self.lifetime)
        expires = time.time() + self.lifetime if self.expires is None else self.expires
        return Credentials(keys.access_key, keys.secret_key, keys.token, expires)

    def current(self):
        return self._now

    def renew(self, refused):
        self.renewed.append(refused)
        if not self.renewals:
            raise CredentialsError("no more sessions")
        self.renewals -= 1
        self._now = self._open()
        return self._now


class World:
    def __init__(self, aws, **options):
        self.aws = aws
        self.source = Source(aws, **options.pop("sessions", {}))
        self.remembered = []
        self.slept = []
        self.patience = Patience(fraction=lambda: 0.0, sleep=self.slept.append)
        access = Access(
            "acme", endpoint_url=aws.url, region=options.pop("region", "us-east-1"), **options.pop("access", {})
        )
        self.store = SocketStore(
            access,
            self.source,
            resolve(access, None),
            self.remembered.append,
            aws.env(),
            patience=self.patience,
            silence=options.pop("silence", 20.0),
            **options,
        )

    def read(self, body) -> bytes:
        found = bytearray()
        buffer = memoryview(bytearray(50_000))
        with body:
            while count := body.readinto(buffer):
                found += buffer[:count]
        return bytes(found)

    def read_until(self, body, error) -> int:
        """How many bytes came before `error`; the connection must be gone then."""
        count = 0
        buffer = memoryview(bytearray(10_000))
        with body, pytest.raises(error):
            while True:
                got = body.readinto(buffer)
                assert got, "the body ended"
                count += got
        return count


def ask(store, call):
    """One request of a kind, all of it."""
    if call == "list":
        list(store.list())
    elif call == "head":
        store.head("small")
    else:
        store.get("small").close()


@pytest.fixture
def aws(fake_aws):
    fake_aws.bucket("acme", owner=OWNER)
    fake_aws.put("acme", "k", BODY)
    fake_aws.put("acme", "small", b"0123456789")
    return fake_aws


@pytest.fixture
def world(aws):
    world = World(aws)
    yield world
    world.store.close()


# --- in the middle of a body -----------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 16_384, 299_999])
@pytest.mark.parametrize("fault", [reset_after, truncate_at])
def test_a_body_that_breaks_off_is_transient_and_can_be_continued(world, aws, fault, cut):
    pin = world.store.head("k")
    aws.fault("GetObject", fault(cut))
    count = world.read_until(world.store.get("k", pin=pin), Transient)
    assert count <= cut
    assert world.read(world.store.get("k", start=count, pin=pin)) == BODY[count:]


def test_a_broken_body_is_not_a_failed_request(world, aws):
    aws.fault("GetObject", truncate_at(5))
    world.read_until(world.store.get("k"), Transient)
    assert world.slept == []


@pytest.mark.parametrize("key", ["k", "small"])
@pytest.mark.parametrize("surplus", [1, 100_000])
def test_surplus_bytes_are_never_taken_for_another_answer(world, aws, key, surplus):
    body = {"k": BODY, "small": b"0123456789"}[key]
    aws.fault("GetObject", overlong(surplus))
    try:
        assert world.read(world.store.get(key)) == body  # where the surplus came too late to be seen
    except Transient:
        pass
    for _ in range(3):
        assert world.read(world.store.get(key)) == body


def test_surplus_that_comes_with_the_answer_is_refused(world, aws):
    head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 3\r\n\r\n'
    aws.fault("GetObject", raw(head + b"abcd"))
    with world.store.get("small") as body, pytest.raises(Transient, match="more than the 3 bytes"):
        body.readinto(memoryview(bytearray(10)))


def test_silence_is_given_up(aws):
    world = World(aws, silence=0.3)
    aws.fault("GetObject", stall_after(100_000))
    started = time.monotonic()
    body = world.store.get("k")
    assert world.read_until(body, Transient) <= 100_000
    assert 0.2 < time.monotonic() - started < 5
    world.store.close()


def test_silence_before_the_head_is_tried_again(aws):
    world = World(aws, silence=0.3)
    aws.fault("GetObject", slow_head(60))
    assert world.read(world.store.get("small")) == b"0123456789"
    assert len(world.slept) == 1
    world.store.close()


def test_a_slow_body_is_not_silent(aws):
    world = World(aws, silence=1.5)
    aws.put("acme", "slow", b"x" * 10)
    aws.fault("GetObject", drip(5, piece=1))
    assert world.read(world.store.get("slow")) == b"x" * 10
    world.store.close()


def test_a_reader_that_takes_its_time_is_not_silence(aws):
    world = World(aws, silence=0.2)
    buffer = memoryview(bytearray(100_000))
    with world.store.get("k") as body:
        got = body.readinto(buffer)
        time.sleep(0.6)
        while count := body.readinto(buffer):
            got += count
    assert got == len(BODY)
    world.store.close()


# --- answers that do not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", [wrong_etag(), wrong_content_range(1), header("Content-Range", None)])
def test_an_answer_that_does_not_fit_the_pin_is_refused(world, aws, action):
    pin = world.store.head("k")
    aws.fault("GetObject", action)
    with pytest.raises(ObjectChanged):
        world.store.get("k", start=10, end=20, pin=pin)


def test_without_a_pin_an_odd_range_is_tried_again(world, aws):
    aws.fault("GetObject", wrong_content_range(1))
    assert world.read(world.store.get("k", start=10, end=20)) == BODY[10:20]


@pytest.mark.parametrize("vendor", [None, ignore_if_match()])
def test_an_object_replaced_meanwhile_is_noticed(world, aws, vendor):
    pin = world.store.head("k")
    now = aws.put("acme", "k", os.urandom(len(BODY)))
    if vendor is not None:
        aws.fault("GetObject", vendor, times=None)
    for start in (0, 100_000):
        with pytest.raises(ObjectChanged) as caught:
            world.store.get("k", start=start, pin=pin)
        assert caught.value.now == (now if vendor is not None else None)
    assert aws.count("GetObject") == 2  # not tried again


def test_an_object_replaced_in_mid_answer_stays_the_old_one(world, aws):
    aws.fault("GetObject", replace_object(b"new", at=1000))
    assert world.read(world.store.get("k")) == BODY


def test_a_server_without_ranges_is_refused_by_name(world, aws):
    aws.fault("GetObject", ignore_range(), times=None)
    with pytest.raises(Unsupported, match="ignored the range"):
        world.store.get("k", start=10)
    assert world.read(world.store.get("k", start=0, end=len(BODY))) == BODY


def test_a_200_that_is_an_error_is_no_object(world, aws):
    aws.fault("GetObject", ok_with_error_body())
    assert world.read(world.store.get("small")) == b"0123456789"
    assert len(world.slept) == 1
    aws.fault("ListObjectsV2", ok_with_error_body())
    assert [obj.key for page in world.store.list() for obj in page] == ["k", "small"]
    assert len(world.slept) == 2


# --- framing ----------------------------------------------------------------------------------------------


def test_chunked_objects(world, aws):
    pin = world.store.head("k")
    aws.fault("GetObject", chunked(), times=None)
    assert world.read(world.store.get("k", pin=pin)) == BODY
    assert world.read(world.store.get("k", start=7, end=200_000)) == BODY[7:200_000]
    with pytest.raises(Unsupported, match="how long"):
        world.store.get("k")
    with pytest.raises(ObjectChanged):
        world.store.get("k", pin=pin._replace(etag="0"))


@pytest.mark.parametrize(("wrong", "error"), [(-1, "more than"), (1, "closed the connection after")])
def test_chunked_objects_of_another_length(world, aws, wrong, error):
    pin = world.store.head("k")
    aws.fault("GetObject", chunked(), times=None)
    aws.fault("GetObject", ignore_if_match(), times=None)
    buffer = memoryview(bytearray(len(BODY) + 10))
    with world.store.get("k", pin=pin._replace(size=len(BODY) + wrong)) as body, pytest.raises(Transient, match=error):
        while body.readinto(buffer):
            pass


@pytest.mark.parametrize(
    "tail",
    [
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;ext=1\r\nabc\r\n000\r\nTrailer: x\r\n\r\n",
        b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    ],
)
def test_chunks(world, aws, tail):
    pin = world.store.head("small")._replace(size=3, etag="e")
    aws.fault("GetObject", raw(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n' + tail))
    assert world.read(world.store.get("small", pin=pin)) == b"abc"


@pytest.mark.parametrize(
    "tail",
    [
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"4\r\nabc\r\n0\r\n\r\n",
        b"x\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n",
        b"3\r\nabc\r\n",
        b"3\r\nab",
        b"\r\n",
        b"3" * 5000,
        b"3\r\nabc\r\n0\r\n" + b"T: x\r\n" * 200 + b"\r\n",
    ],
)
def test_malformed_chunks_are_transient(world, aws, tail):
    pin = world.store.head("small")._replace(size=3, etag="e")
    aws.fault("GetObject", raw(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n' + tail))
    with pytest.raises(Transient):
        world.read(world.store.get("small", pin=pin))


def test_bodies_that_end_with_the_connection(world, aws):
    pin = world.store.head("k")
    aws.fault("GetObject", no_content_length(), times=None)
    assert world.read(world.store.get("k", pin=pin)) == BODY
    assert world.read(world.store.get("k", start=5, pin=pin)) == BODY[5:]
    aws.fault("GetObject", truncate_at(1000))
    assert world.read_until(world.store.get("k", pin=pin), Transient) <= 1000


def test_chunked_listings_and_errors(world, aws):
    aws.fault(None, chunked(), times=None)
    assert [obj.key for page in world.store.list() for obj in page] == ["k", "small"]
    with pytest.raises(NothingThere) as caught:
        world.store.get("nothing")
    assert caught.value.code == "NoSuchKey"


def test_interim_answers_are_passed_over(world, aws):
    aws.fault("GetObject", informational(100))
    aws.fault("GetObject", informational(103))
    assert world.read(world.store.get("small")) == b"0123456789"
    aws.fault("GetObject", raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100))
    assert world.read(world.store.get("small")) == b"0123456789"


@pytest.mark.parametrize(
    "noise", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", b"\x15"]
)
def test_garbage_is_tried_again(world, aws, noise):
    aws.fault("GetObject", raw(noise))
    assert world.read(world.store.get("small")) == b"0123456789"
    assert len(world.slept) == 1


@pytest.mark.parametrize("length", [10**17, 20 * 1024 * 1024])
def test_documents_have_a_size_limit(world, aws, length):
    aws.fault("ListObjectsV2", raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length))
    assert [obj.key for page in world.store.list() for obj in page] == ["k", "small"]


# --- retries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["head", "get", "list"])
@pytest.mark.parametrize("fault", [status(500), status(503, retry_after=1), status(429), drop(), drop(reset=True)])
def test_what_passes_is_tried_again(world, aws, call, fault):
    world.store.head("small")
    aws.fault(None, fault, times=2)
    if call == "list":
        assert [obj.key for page in world.store.list() for obj in page] == ["k", "small"]
    elif call == "head":
        assert world.store.head("small").size == 10
    else:
        assert world.read(world.store.get("small")) == b"0123456789"


def test_slow_down_is_counted(world, aws):
    aws.fault("GetObject", status(503), times=3)
    world.read(world.store.get("small"))
    assert world.patience.throttles == 3


def test_a_failure_that_stays_is_told_with_its_ids(world, aws):
    aws.fault("GetObject", status(500), times=None)
    with pytest.raises(ServiceError) as caught:
        world.store.get("small")
    last = aws.asked("GetObject")[-1]
    assert caught.value.exit_code == 15
    assert (caught.value.code, caught.value.status) == ("InternalError", 500)
    assert (caught.value.request_id, caught.value.host_id) == (last.request_id, last.host_id)
    assert aws.count("GetObject") == 8


def test_a_connection_that_died_idle_is_nobodys_failure(world, aws):
    for _ in range(3):
        assert world.store.head("small").size == 10
        aws.server.drop_connections()
        time.sleep(0.05)
    assert world.slept == []


def test_connections_are_reused(world, aws):
    for _ in range(5):
        world.read(world.store.get("k"))
        world.store.head("small")
        list(world.store.list())
        with pytest.raises(NothingThere):
            world.store.get("nothing")
        world.read(world.store.get("small", start=3))
    assert aws.server.connections == 1


# --- sessions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["head", "get", "list"])
def test_an_expired_session_is_renewed_once(world, aws, call):
    aws.fault(None, expire_tokens())
    ask(world.store, call)
    assert len(world.source.renewed) == 1


def test_a_session_that_cannot_be_renewed_is_final(aws):
    world = World(aws, sessions={"renewals": 0})
    aws.expire_sessions()
    with pytest.raises(CredentialsError, match="no more sessions"):
        world.store.get("small")
    world.store.close()


def test_renewed_and_still_expired_is_final(aws):
    world = World(aws, sessions={"lifetime": -10})
    with pytest.raises(TokenExpired) as caught:
        world.store.get("small")
    assert caught.value.code == "ExpiredToken"
    assert len(world.source.renewed) == 1
    world.store.close()


@pytest.mark.parametrize(("left", "renewals"), [(30, 1), (-5, 1), (300, 0), (None, 0)])
def test_a_bare_403_near_the_end_of_a_session_is_taken_for_its_end(aws, left, renewals):
    world = World(aws)
    keys = world.source.current()
    expires = None if left is None else time.time() + left
    world.source._now = Credentials(keys.access_key, keys.secret_key, keys.token, expires)
    aws.fault("GetObject", status(403, "AccessDenied", "Access Denied"))
    if renewals:
        world.store.get("small").close()
    else:
        with pytest.raises(AccessDenied):
            world.store.get("small")
    assert len(world.source.renewed) == renewals
    world.store.close()


def test_long_term_keys_that_are_refused_are_final(aws):
    world = World(aws)
    world.source._now = Credentials("AKIANOBODY", "secret")
    with pytest.raises(CredentialsError) as caught:
        world.store.get("small")
    assert caught.value.code == "InvalidAccessKeyId" and aws.count("GetObject") == 1
    world.store.close()


def test_a_clock_that_is_wrong(world, aws):
    aws.clock.offset = 3600
    with pytest.raises(CredentialsError) as caught:
        world.store.get("small")
    assert caught.value.code == "RequestTimeTooSkewed" and "clock" in caught.value.hint


# --- regions and redirects --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["malformed", "redirect"])
@pytest.mark.parametrize("call", ["head", "get", "list"])
def test_a_wrong_region_is_put_right_and_remembered(aws, kind, call):
    aws.wrong_region = kind
    aws.bucket("far", owner=OWNER, region="eu-west-1")
    aws.put("far", "small", b"x")
    world = World(aws)
    far = Access("far", endpoint_url=aws.url)
    store = SocketStore(far, world.source, resolve(far, "us-east-1"), world.remembered.append, {})
    ask(store, call)
    assert [endpoint.region for endpoint in world.remembered] == ["eu-west-1"]
    asked = len(aws.requests)
    assert store.head("small").size == 1
    assert len(aws.requests) == asked + 1
    store.close()
    world.store.close()


def test_a_region_that_leads_nowhere_is_final(world, aws):
    aws.fault("GetObject", status(301, "PermanentRedirect"), times=None)
    with pytest.raises(WrongRegion) as caught:
        world.store.get("small")
    assert aws.count("GetObject") == 1 and "--region" in caught.value.hint


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_not_followed(world, aws, code):
    with FakeAws() as other:
        aws.fault("GetObject", redirect(other.url, code), times=None)
        with pytest.raises(WrongRegion):
            world.store.get("small")
        assert other.requests == [] and other.server.connections == 0


# --- what S3 refuses --------------------------------------------------------------------------------------


def test_a_head_says_why(world, aws):
    aws.put("acme", "customer", b"x", sse_c=True)
    with pytest.raises(Unsupported, match="SSE-C"):
        world.store.head("customer")
    aws.role_of(f"arn:aws:iam::{OWNER}:role/reader").policies = ()
    with pytest.raises(AccessDenied) as caught:
        world.store.head("small")
    assert caught.value.code == "AccessDenied"
    assert "because no identity-based policy allows the s3:GetObject action" in caught.value.message


def test_a_head_that_alone_is_refused(world, aws):
    aws.fault("HeadObject", status(403), times=None)
    with pytest.raises(AccessDenied) as caught:
        world.store.head("small")
    assert caught.value.code == "403"


def test_a_head_that_is_refused_without_a_reason_is_tried_again(world, aws):
    """A HEAD's 400 has no words, and where the GET that asks for them is answered well there is none to be told."""
    refused = aws.fault("HeadObject", status(400, "RequestTimeout"), times=2)
    assert world.store.head("small").size == 10
    assert refused.fired == 2
    aws.fault("HeadObject", status(400, "RequestTimeout"), times=None)
    with pytest.raises(ServiceError, match="a HEAD of small was refused, and a GET was not"):
        world.store.head("small")


def test_archived(world, aws):
    aws.put("acme", "cold", b"x", storage_class="DEEP_ARCHIVE")
    aws.put("acme", "warm", b"x", storage_class="GLACIER", restore='ongoing-request="false", expiry-date="x"')
    assert world.store.head("cold").archived and not world.store.head("warm").archived
    listed = {obj.key: obj.archived for page in world.store.list() for obj in page}
    assert listed["cold"] is True and listed["warm"] is False and listed["k"] is False
    with pytest.raises(Archived):
        world.store.get("cold")


def test_versions(world, aws):
    aws.bucket("acme2", owner=OWNER, versioning=True)
    aws.put("acme2", "v", b"one")
    access = Access("acme2", endpoint_url=aws.url)
    versioned = SocketStore(access, world.source, resolve(access, None), lambda _: None, {})
    first = versioned.head("v").version_id
    aws.put("acme2", "v", b"second")
    assert world.read(versioned.get("v", version_id=first)) == b"one"
    assert versioned.head("v", version_id=first).size == 3
    aws.fault("GetObject", header("x-amz-version-id", "another"), times=1)
    with pytest.raises(ObjectChanged):
        versioned.get("v", version_id=first)
    aws.delete("acme2", "v")
    with pytest.raises(NothingThere):
        versioned.get("v")
    versioned.close()


@pytest.mark.parametrize("kind", ["FULL_OBJECT", "COMPOSITE"])
def test_parts_and_checksums(world, aws, kind):
    aws.put("acme", "parts", bytes(range(100)), parts=[60, 30, 10], checksum="CRC32", checksum_type=kind)
    whole = world.store.head("parts", checksum=True)
    assert whole.size == 100 and whole.checksum.algorithm == "CRC32" and whole.checksum.type == kind
    assert world.store.head("parts").checksum is None
    sizes = [world.store.head("parts", part=part) for part in (1, 2, 3)]
    assert [(obj.size, obj.parts) for obj in sizes] == [(60, 3), (30, 3), (10, 3)]
    assert world.store.head("small", part=1).parts is None
    with world.store.get("parts", checksum=True) as body:
        assert body.object.checksum == whole.checksum
    digest = crc_digest("CRC64NVME", crc_function("CRC64NVME")(b"0123456789", 0))
    assert world.store.head("small", checksum=True).checksum == full_object("CRC64NVME", digest)


# --- what is sent -----------------------------------------------------------------------------------------


def test_every_request_says_who_and_for_whom(aws):
    world = World(aws, access={"bucket_owner": OWNER, "request_payer": True})
    world.store.head("small", checksum=True)
    world.read(world.store.get("small"))
    list(world.store.list("s"))
    for record in aws.requests:
        assert record.headers["user-agent"].startswith("s3pull/")
        assert record.headers["x-amz-expected-bucket-owner"] == OWNER
        assert record.headers["x-amz-request-payer"] == "requester"
        assert "accept-encoding" not in record.headers
    listing = aws.asked("ListObjectsV2")[0].query
    assert listing == {"list-type": "2", "encoding-type": "url", "prefix": "s"}
    world.store.close()


def test_another_owner_is_refused(aws):
    world = World(aws, access={"bucket_owner": "999999999999"})
    with pytest.raises(AccessDenied):
        world.store.get("small")
    world.store.close()


def test_requester_pays(aws):
    aws.bucket("paid", owner=OWNER, requester_pays=True, policy=_public("paid"))
    aws.put("paid", "x", b"x")
    keys = aws.user("222222222222", "ana")
    outcome = []
    for payer in (False, True):
        access = Access("paid", endpoint_url=aws.url, request_payer=payer)
        source = World(aws).source
        source._now = Credentials(keys.access_key, keys.secret_key)
        store = SocketStore(access, source, resolve(access, None), lambda _: None, {})
        try:
            outcome.append(store.head("x").size)
        except AccessDenied:
            outcome.append("denied")
        store.close()
    assert outcome == ["denied", 1]


def test_anonymous(aws):
    class Nobody:
        def current(self):
            return None

        def renew(self, refused):
            raise AssertionError

    aws.bucket("open", owner=OWNER, policy=_public("open"))
    aws.put("open", "x", b"x")
    access = Access("open", endpoint_url=aws.url, anonymous=True)
    store = open_store(access, Nobody(), endpoint=None, remember=lambda _: None, environ={})
    assert store.head("x").size == 1
    assert all("authorization" not in record.headers for record in aws.requests)
    denied = SocketStore(access, Nobody(), store._route.endpoint._replace(path="/acme"), lambda _: None, {})
    with pytest.raises(AccessDenied):
        denied.get("small")
    store.close()
    denied.close()


def _public(bucket):
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:*"}
    return {
        "Version": "2012-10-17",
        "Statement": [{**everyone, "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}],
    }


def test_long_listings(world, aws):
    keys = sorted((f"n/{n:05d} ü+" for n in range(2500)), key=str.encode)
    for key in keys:
        aws.put("acme", key, b"")
    pages = list(world.store.list("n/"))
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [obj.key for page in pages for obj in page] == keys
    assert [obj.key for page in world.store.list("n/", start_after=keys[1200]) for obj in page] == keys[1201:]


def test_a_listing_that_repeats_itself_ends(world, aws):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        b"<Contents><Key>a</Key><Size>1</Size><ETag>e</ETag></Contents></ListBucketResult>"
    )
    aws.fault("ListObjectsV2", raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page), times=None)
    with pytest.raises(ServiceError, match="repeats"):
        list(world.store.list())
    assert aws.count("ListObjectsV2") == 2


# --- an interrupt -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["head", "body", "retry", "gate", "limit", "list"])
def test_an_interrupt_ends_whatever_is_under_way_within_a_second(aws, where):
    access = Access("acme", endpoint_url=aws.url)
    source = Source(aws)
    store = open_store(
        access,
        source,
        endpoint=None,
        remember=lambda _: None,
        environ={},
        limit_rate=1000 if where == "limit" else None,
    )
    if where in ("head", "list"):
        aws.fault(None, slow_head(60), times=None)
    if where == "body":
        aws.fault("GetObject", stall_after(10), times=None)
    if where in ("retry", "gate"):
        aws.fault("GetObject", status(503, retry_after=60), times=None)
    outcome = []

    def work():
        try:
            if where == "list":
                list(store.list())
            else:
                with store.get("k") as body:
                    buffer = memoryview(bytearray(100_000))
                    while body.readinto(buffer):
                        pass
            outcome.append("finished")
        except BaseException as error:
            outcome.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert outcome == []
    started = time.monotonic()
    store.interrupt()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - started < 1
    assert outcome == [Cancelled] * 3
    store.close()


def test_a_rate_limit_holds(aws):
    store = open_store(
        Access("acme", endpoint_url=aws.url),
        Source(aws),
        endpoint=None,
        remember=lambda _: None,
        environ={},
        limit_rate=600_000,
    )
    started = time.monotonic()
    buffer = memoryview(bytearray(1 << 20))
    with store.get("k") as body:
        while body.readinto(buffer):
            pass
    assert time.monotonic() - started > 0.4  # 300,000 bytes take half a second
    store.close()


# --- everything at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_random_faults_never_yield_a_wrong_length_or_another_object(world, aws, seed):
    sizes = {f"s/{n}": n * 37_000 for n in range(12)}
    for key, size in sizes.items():
        aws.put("acme", key, Sparse(size, seed=size), checksum=None)
    aws.seeded_faults(seed, 0.4)
    listed = {obj.key: obj for page in world.store.list("s/") for obj in page}
    assert {key: obj.size for key, obj in listed.items()} == sizes
    buffer = memoryview(bytearray(30_000))
    for key, pin in listed.items():
        done, attempts = 0, world.patience.attempts()
        while done < pin.size:
            with world.store.get(key, start=done, pin=pin) as body:
                try:
                    while count := body.readinto(buffer):
                        done += count
                        attempts.progressed()
                except Transient as error:
                    attempts.failed(error)
        assert done == pin.size
