"""Response heads: a table of what is taken and what is refused, and the same for every split of the input."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3pull.errors import Transient
from s3pull.remote.heads import MAX_HEAD, Head, parse_head


def parse(data: bytes):
    return parse_head(bytearray(data), 0, len(data))


def test_a_plain_head():
    data = b'HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nETag:"a-1"\r\nX-Amz-Meta-A:  b \t\r\n\r\nbody'
    head, end = parse(data)
    assert (head.status, head.reason, head.length) == (206, b"Partial Content", 10)
    assert head.headers == {b"content-length": b"10", b"etag": b'"a-1"', b"x-amz-meta-a": b"b"}
    assert data[end:] == b"body"
    assert head.keeps_alive and not head.chunked


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200\r\n\r\n",  # no reason and no space
        b"HTTP/1.1 200 \r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 Sch\xf6n\r\nx-amz-meta-\xc3: \xe4\r\n\r\n".replace(b"\xc3", b"c"),  # latin-1 values are bytes
        b"HTTP/1.1 200 OK\r\na: 1\r\na: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: x\r\netag: x\r\n\r\n",  # the same twice
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nempty:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(200)) + b"\r\n",
    ],
)
def test_taken(data):
    head, end = parse(data)
    assert head.status == 200 and end == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n A: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\xc3\xa4: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: 1\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: a\r\nETag: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Range: a\r\nContent-Range: b\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(201)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD + 10),  # refused before its end was seen
        b"<html>",  # and so is what cannot become a head any more
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"SSH-2.0",
    ],
)
def test_refused(data):
    with pytest.raises(Transient):
        parse(data)


def test_a_name_that_was_seen_is_read_like_a_new_one():
    first, second = b"HTTP/1.1 200 OK\r\nX-Seen: one\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Seen:\t two \r\n\r\n"
    assert [parse(each)[0].headers for each in (first, second, first)] == [
        {b"x-seen": b"one"},
        {b"x-seen": b"two"},
        {b"x-seen": b"one"},
    ]
    for bad in (b"X-Seen", b"X-Seen : three", b" X-Seen: three"):
        with pytest.raises(Transient):
            parse(b"HTTP/1.1 200 OK\r\n" + bad + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, CLOSE\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_keeping_alive(head, keeps):
    assert parse(head)[0].keeps_alive is keeps


_pieces = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.0 404",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b"Content-Length: 5",
            b"content-length:6",
            b"Transfer-Encoding: chunked",
            b"A: b",
            b" ",
            b":",
            b"\x00",
            b"\xff",
            b"HTTP",
        ]
    )
    | st.binary(max_size=6),
    max_size=12,
).map(b"".join)


@given(_pieces | st.binary(max_size=200))
@example(b"HTTP/1.1 200 OK\r\n\r\n")
def test_whatever_comes_there_are_three_outcomes_and_no_fourth(data):
    try:
        outcome = parse(data)
    except Transient as error:
        assert error.message.startswith("malformed answer: ")
        return
    if outcome is None:
        assert b"\r\n\r\n" not in data
    else:
        head, end = outcome
        assert isinstance(head, Head) and 100 <= head.status <= 999
        assert data[end - 4 : end] == b"\r\n\r\n" and data.find(b"\r\n\r\n") == end - 4


@given(_pieces.map(lambda middle: b"HTTP/1.1 200 OK\r\n" + middle + b"\r\n\r\n"), st.binary(max_size=9))
def test_the_outcome_does_not_depend_on_what_precedes_or_follows(data, noise):
    def outcome(buffer, start, stop):
        try:
            parsed = parse_head(buffer, start, stop)
        except Transient as error:
            return error.message
        return parsed and (parsed[0], parsed[1] - start)

    alone = outcome(bytearray(data), 0, len(data))
    placed = outcome(bytearray(noise + data + noise), len(noise), len(noise) + len(data))
    assert alone == placed


@given(st.integers(0, 60))
def test_every_beginning_of_a_head_asks_for_more(cut):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: abcdefghijklmnop\r\n\r\n"
    assert parse(data[: min(cut, len(data) - 1)]) is None


def test_the_memory_for_header_names_is_bounded():
    from s3pull.remote import heads

    for n in range(heads._MAX_NAMES + 500):
        parse(b"HTTP/1.1 200 OK\r\nx-%d: 1\r\n\r\n" % n)
    assert len(heads._names) <= heads._MAX_NAMES
