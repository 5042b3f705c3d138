"""What a good answer says, and whether it fits the pin: the table of `remote.answers`."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import ObjectChanged, Transient, Unsupported
from s3pull.objects import Checksum, RemoteObject
from s3pull.remote.answers import check_pin, describe, extent, parse_date, quote_etag, strip_etag
from s3pull.remote.heads import framed

PIN = RemoteObject("k", 100, "e")


def head(status=200, **headers):
    return framed(status, b"", {name.replace("_", "-").encode(): value for name, value in headers.items()})


def ranged(first, last, size, length=None):
    content_range = f"bytes {first}-{last}/{size}".encode()
    return head(206, content_range=content_range, content_length=str(length or last - first + 1).encode())


CHANGED, AGAIN, NEVER = ObjectChanged, Transient, Unsupported


@pytest.mark.parametrize(
    ("answer", "start", "end", "pin", "outcome"),
    [
        (head(content_length=b"100"), 0, None, PIN, (100, 100)),
        (head(content_length=b"0"), 0, None, None, (0, 0)),
        (head(content_length=b"100", content_range=b"bytes 0-9/100"), 0, None, None, (100, 100)),  # not asked for
        (head(), 0, None, PIN, (100, 100)),  # chunked: the pin knows
        (head(), 0, None, None, NEVER),
        (head(content_length=b"300"), 10, 20, PIN, AGAIN),  # an error document after a 200
        (ranged(0, 99, 100), 0, None, PIN, CHANGED),  # a range where none was asked for
        (ranged(0, 99, 100), 0, None, None, AGAIN),
        (ranged(10, 19, 100), 10, 20, PIN, (100, 10)),
        (ranged(10, 19, 100), 10, 20, None, (100, 10)),
        (ranged(90, 99, 100), 90, None, PIN, (100, 10)),
        (ranged(90, 99, 100), 90, 200, PIN, (100, 10)),  # an end beyond the object's
        (ranged(0, 99, 100), 0, 100, PIN, (100, 100)),
        (ranged(11, 20, 100), 10, 20, PIN, CHANGED),
        (ranged(10, 18, 100), 10, 20, PIN, CHANGED),
        (ranged(10, 20, 100), 10, 20, PIN, CHANGED),
        (ranged(10, 20, 100), 10, 20, None, AGAIN),
        (ranged(10, 19, 101), 10, 20, PIN, CHANGED),
        (ranged(10, 19, 100, length=11), 10, 20, PIN, CHANGED),
        (head(206, content_range=b"bytes 10-19/*", content_length=b"10"), 10, 20, PIN, (100, 10)),
        (head(206, content_range=b"bytes 10-19/*", content_length=b"10"), 10, 20, None, NEVER),
        (head(206, content_range=b"bytes 10-19/100"), 10, 20, PIN, (100, 10)),  # chunked
        (head(206, content_length=b"10"), 10, 20, PIN, CHANGED),
        (head(206, content_range=b"bytes */100", content_length=b"10"), 10, 20, PIN, CHANGED),
        (head(206, content_range=b"octets 10-19/100", content_length=b"10"), 10, 20, PIN, CHANGED),
        (head(206, content_range=b"bytes 10-19/100, x", content_length=b"10"), 10, 20, PIN, CHANGED),
        (head(200, content_range=b"bytes 10-19/100", content_length=b"10"), 10, 20, PIN, (100, 10)),
        (head(200, content_range=b"bytes 0-19/100", content_length=b"20"), 10, 20, PIN, CHANGED),
        (head(200, content_length=b"100"), 10, 20, PIN, NEVER),
        (head(200, content_length=b"100"), 0, 100, PIN, (100, 100)),
        (head(200, content_length=b"100"), 0, 200, PIN, (100, 100)),
        (head(200, content_length=b"100"), 0, 99, PIN, NEVER),
    ],
)
def test_extent(answer, start, end, pin, outcome):
    asked = start > 0 or end is not None
    if isinstance(outcome, tuple):
        assert extent("k", answer, start, end, ranged=asked, pin=pin) == outcome
    else:
        with pytest.raises(outcome):
            extent("k", answer, start, end, ranged=asked, pin=pin)


@pytest.mark.parametrize(
    ("seen", "version_id", "fits"),
    [
        (PIN, None, True),
        (PIN._replace(last_modified=5.0, version_id="v"), None, True),
        (PIN._replace(etag="f"), None, False),
        (PIN._replace(etag='W/"e"'), None, False),
        (PIN._replace(size=101), None, False),
        (PIN._replace(version_id="v"), "v", True),
        (PIN._replace(version_id="w"), "v", False),
        (PIN, "v", False),
    ],
)
def test_the_pin(seen, version_id, fits):
    if fits:
        check_pin(seen, PIN, version_id)
    else:
        with pytest.raises(ObjectChanged) as caught:
            check_pin(seen, PIN, version_id)
        assert caught.value.now == seen.etag


def test_without_a_pin_everything_fits():
    check_pin(PIN, None, None)


def test_describe():
    answer = head(
        etag=b'"abc-2"',
        last_modified=b"Wed, 21 Oct 2015 07:28:00 GMT",
        x_amz_version_id=b"v1",
        x_amz_storage_class=b"GLACIER",
        x_amz_restore=b'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"',
        x_amz_server_side_encryption=b"aws:kms",
        x_amz_mp_parts_count=b"2",
        x_amz_checksum_type=b"FULL_OBJECT",
        x_amz_checksum_crc64nvme=b"AAAAAAAAAAA=",
    )
    assert describe("k", answer, 9) == RemoteObject(
        "k", 9, "abc-2", 1445412480.0, "v1", "GLACIER", Checksum("CRC64NVME", "AAAAAAAAAAA="), "aws:kms", 2, True
    )


def test_an_answer_without_an_etag_is_no_object():
    with pytest.raises(Transient):
        describe("k", head(content_length=b"5"), 5)


def test_customer_keys_are_refused_by_name():
    with pytest.raises(Unsupported, match="SSE-C"):
        describe("k", head(etag=b'"e"', x_amz_server_side_encryption_customer_algorithm=b"AES256"), 5)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"x_amz_checksum_type": b"COMPOSITE"}, None),
        ({"x_amz_checksum_sha1": b"x-3"}, Checksum("SHA1", "x-3", "COMPOSITE")),
        ({"x_amz_checksum_sha1": b"x"}, Checksum("SHA1", "x")),
        ({"x_amz_checksum_sha1": b"x", "etag": b'"e-2"'}, None),  # a composite that lost its -2, or not: cannot tell
        ({"x_amz_checksum_sha1": b"x", "etag": b'"e-2"', "x_amz_checksum_type": b"FULL_OBJECT"}, Checksum("SHA1", "x")),
        ({"x_amz_checksum_xxhash128": b"x", "x_amz_checksum_type": b"FULL_OBJECT"}, Checksum("XXHASH128", "x")),
    ],
)
def test_stored_checksums(headers, found):
    assert describe("k", head(**{"etag": b'"e"', **headers}), 1).checksum == found


@pytest.mark.parametrize(("count", "parts"), [(b"3", 3), (b"", None), (b"-1", None), (b"9" * 5000, None)])
def test_how_many_parts(count, parts):
    assert describe("k", head(etag=b'"e"', **{"x_amz_mp_parts_count": count}), 1).parts == parts


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2100, 1, 1)))
def test_dates(moment):
    moment = moment.replace(microsecond=0, tzinfo=datetime.UTC)
    import email.utils

    assert parse_date(email.utils.format_datetime(moment, usegmt=True).encode()) == moment.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Wed, 21 Foo 2015 07:28:00 GMT",
        b"Wednesday, 21-Oct-15 07:28:00 GMT",
        b"2015-10-21",
        # found by the fault server: there is no year 0, and what follows year 9999 (or fits no receipt) is no time
        b"Thu, 31 Feb 0000 00:00:00 GMT",
        b"Mon, 01 Jan 0001 00:00:00 GMT",
        b"Fri, 31 Dec 9999 23:59:60 GMT",
        b"Sun, 31 Dec 2400 23:59:59 GMT",
    ],
)
def test_odd_dates_are_unknown(text):
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("value", "etag", "match"),
    [
        ('"abc"', "abc", '"abc"'),
        ("abc", "abc", '"abc"'),
        ('W/"abc"', 'W/"abc"', None),
        ('""', "", None),
        ('"', '"', None),
        ('"a"b"', 'a"b', None),
        ('"a\r\nx: y"', "a\r\nx: y", None),
        ('"ü"', "ü", None),
    ],
)
def test_etags(value, etag, match):
    assert strip_etag(value) == etag
    assert quote_etag(etag) == match
