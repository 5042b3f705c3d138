"""Every way of going wrong does just what its name says."""

import contextlib
import http.client
import socket
import time

import pytest

from tests.fakes import FakeAws, at, faults
from tests.test_fakes.asking import (
    refused,
)

BODY = bytes(range(200)) * 5000
FLIPPED = BODY[:777_777] + bytes([BODY[777_777] ^ 1]) + BODY[777_778:]


@pytest.mark.parametrize(
    ("action", "status", "body", "end"),
    [
        (faults.reset_after(0), 200, b"", "reset"),
        (faults.reset_after(300_001), 200, BODY[:300_001], "reset"),
        (faults.truncate_at(0), 200, b"", "closed"),
        (faults.truncate_at(999_999), 200, BODY[:999_999], "closed"),
        (faults.flip_bit(777_777), 200, FLIPPED, "closed"),
        (faults.overlong(3), 200, BODY + b"\xee\xee\xee", "closed"),
        (faults.stall_after(500_000, 0.05), 200, BODY, "closed"),
        (faults.slow_head(0.05), 200, BODY, "closed"),
        (faults.no_content_length(), 200, BODY, "closed"),
        (faults.wrong_etag(), 200, BODY, "closed"),
        (faults.redirect("127.0.0.1:1"), 307, None, "closed"),
        (faults.status(503, retry_after=2), 503, None, "closed"),
        (faults.ok_with_error_body(), 200, None, "closed"),
        (faults.raw(b"HTTP/1.1 299 Odd\r\n\r\nx"), 299, b"x", "closed"),
    ],
)
def test_each_fault_does_what_it_says(fake_aws, public, action, status, body, end):
    fault = fake_aws.fault(at("GetObject", key="k"), action)
    head, got, how = public()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert how == end
    if body is not None:
        assert got == body
        assert fake_aws.requests[0].bytes_sent == (0 if "raw" in action.name else len(body))
    assert fake_aws.requests[0].faults == (action.name,)
    assert fault.fired == 1
    assert public()[1] == BODY  # once is once


def test_what_faulty_heads_say(fake_aws, public):
    fake_aws.fault("GetObject", faults.status(503, retry_after=2))
    assert "\r\nRetry-After: 2\r\n" in public()[0] + "\r\n"
    fake_aws.fault("GetObject", faults.redirect("evil.example:80"))
    assert "Location: http://evil.example:80/open/k" in public()[0]
    fake_aws.fault("GetObject", faults.wrong_content_range())
    assert "Content-Range: bytes 6-10/1000000" in public(Range="bytes=5-9")[0]
    fake_aws.fault("GetObject", faults.ignore_range())
    head, body, _ = public(Range="bytes=5-9")
    assert head.startswith("HTTP/1.1 200 ")
    assert body == BODY
    fake_aws.fault("GetObject", faults.informational())
    head, rest, _ = public()
    assert head.startswith("HTTP/1.1 103 ")
    assert rest.startswith(b"HTTP/1.1 200 ")
    fake_aws.fault("GetObject", faults.header("ETag", None))
    assert "ETag" not in public()[0]
    fake_aws.fault("GetObject", faults.drop())
    assert public() == ("", b"", "closed")
    fake_aws.fault("GetObject", faults.drop(reset=True))
    assert public() == ("", b"", "reset")


def test_chunks(fake_aws, public):
    fake_aws.fault("GetObject", faults.chunked())
    connection = http.client.HTTPConnection("127.0.0.1", fake_aws.server.port, timeout=5)
    with contextlib.closing(connection):
        for _ in range(2):  # and the connection lives on
            connection.request("GET", "/open/k")
            assert connection.getresponse().read() == BODY
    assert fake_aws.server.connections == 1


def test_matching(fake_aws, public):
    fake_aws.fault(at(range=500), faults.status(500))
    fake_aws.fault(at("GetObject", nth=2, range=False), faults.status(503), times=2)
    seen = [public(**more)[0].split()[1] for more in ({"Range": "bytes=0-99"}, {"Range": "bytes=400-"}, *[{}] * 4)]
    assert seen == ["206", "500", "200", "503", "503", "200"]


def test_the_object_is_replaced_under_a_get(fake_aws, public):
    fake_aws.fault("GetObject", faults.replace_object(b"new", at=100_000))
    assert public()[1] == BODY
    assert public()[1] == b"new"


def test_an_expiry_in_mid_run(fake_aws, reader):
    s3 = reader()
    fake_aws.fault(at("GetObject", nth=2), faults.expire_tokens())
    assert s3.get_object(Bucket="acme", Key="data/k")
    assert refused(s3.get_object, Bucket="acme", Key="data/k")[1] == "ExpiredToken"


def test_throttling(fake_aws, public):
    fake_aws.throttle = 3
    assert [public()[0].split()[1] for _ in range(5)] == ["200"] * 3 + ["503"] * 2


def test_seeded_faults_repeat(public, fake_aws):
    def run():
        fake_aws.requests.clear()
        fake_aws.seeded_faults(seed=7, rate=0.5)
        for n in range(20):
            public(Range=f"bytes={n}-{n}")
        return [one.faults for one in fake_aws.requests]

    first = run()
    assert first == run()
    assert 3 < sum(bool(one) for one in first) < 17
    fake_aws.seeded_faults(0, 0)
    assert public()[1] == BODY


def test_stopping_ends_a_stall():
    aws = FakeAws()
    aws.bucket("open", policy={"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})
    aws.put("open", "k", b"abc")
    aws.fault("GetObject", faults.stall_after(1))
    with socket.create_connection(("127.0.0.1", aws.server.port), timeout=5) as sock:
        sock.sendall(b"GET /open/k HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while not got.endswith(b"a"):
            got += sock.recv(4096)
        start = time.monotonic()
        aws.stop()
        assert time.monotonic() - start < 10
