"""The log: nothing in it is believed beyond what the bytes prove, however it was torn or flipped."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.local.checkpoint import (
    RECORD_SIZE,
    Claim,
    Header,
    claims,
    header_line,
    longest_match,
    record,
    seed_of,
)

HEADER = Header("a/k\u00e9y\n\ud800", "0123-4", 250, 100, "CRC32")
DATA = random.Random(1).randbytes(250)
WRITTEN = [(0, 30), (1, 50), (0, 100), (2, 50), (1, 80)]


def crc(data: memoryview, value: int) -> int:
    return zlib.crc32(data, value)


def claim(segment: int, done: int) -> Claim:
    return Claim(done, zlib.crc32(DATA[segment * 100 : segment * 100 + done]))


def log_of(written: list[tuple[int, int]], header: Header = HEADER) -> bytes:
    seed = seed_of(header)
    return header_line(header) + b"".join(record(seed, segment, *claim(segment, done)) for segment, done in written)


LOG = log_of(WRITTEN)


def reader(data: bytes):
    def read(at: int, buffer: memoryview) -> int:
        piece = data[at : at + min(len(buffer), 7)]
        buffer[: len(piece)] = piece
        return len(piece)

    return read


def proven(log: bytes, data: bytes) -> dict[int, Claim]:
    """What a resume would keep."""
    found = claims(log)
    if found.header != HEADER:
        return {}
    return {
        segment: longest_match(of, reader(data[segment * 100 : segment * 100 + 100]), crc)
        for segment, of in found.segments.items()
    }


def test_a_whole_log() -> None:
    found = claims(LOG)
    assert found.header == HEADER
    assert found.segments == {0: [claim(0, 30), claim(0, 100)], 1: [claim(1, 50), claim(1, 80)], 2: [claim(2, 50)]}
    assert found.end == len(LOG)
    assert proven(LOG, DATA) == {0: claim(0, 100), 1: claim(1, 80), 2: claim(2, 50)}


def test_segments() -> None:
    assert HEADER.segments == 3
    assert [HEADER.length(segment) for segment in range(4)] == [100, 100, 50, 0]
    assert Header("k", "e", 0, 100, "CRC32").segments == 0


@pytest.mark.parametrize("cut", range(len(LOG)))
def test_torn_anywhere(cut: int) -> None:
    found = claims(LOG[:cut])
    head = len(header_line(HEADER))
    if cut < head:
        assert found == (None, {}, 0)
    else:
        records = (cut - head) // RECORD_SIZE
        assert found.end == head + records * RECORD_SIZE
        assert sum(map(len, found.segments.values())) == records


@pytest.mark.parametrize("at", range(len(LOG)))
def test_a_flipped_bit_anywhere_claims_nothing_new(at: int) -> None:
    log = bytearray(LOG)
    log[at] ^= 1 << (at % 8)
    found = claims(bytes(log))
    whole = claims(LOG)
    assert found.header in (None, HEADER)
    for segment, of in found.segments.items():
        assert of == whole.segments[segment][: len(of)]
    assert sum(map(len, found.segments.values())) < len(WRITTEN)


@given(st.integers(0, len(DATA) - 1))
def test_flipped_data_is_not_kept(at: int) -> None:
    data = bytearray(DATA)
    data[at] ^= 0x10
    for segment, kept in proven(LOG, bytes(data)).items():
        assert kept.crc == zlib.crc32(data[segment * 100 : segment * 100 + kept.done])
        assert not segment * 100 <= at < segment * 100 + kept.done


@given(st.binary(max_size=100), st.integers(0, len(LOG)), st.binary(max_size=250))
def test_garbage_never_proves_more_than_the_data(garbage: bytes, cut: int, data: bytes) -> None:
    for segment, kept in proven(LOG[:cut] + garbage, data).items():
        at = segment * 100
        assert kept.done <= len(data[at : at + 100])
        assert kept.crc == zlib.crc32(data[at : at + kept.done])


@given(st.binary(max_size=400))
def test_any_bytes_are_a_log_without_claims(log: bytes) -> None:
    assert claims(log) == (None, {}, 0)


def test_records_count_only_in_their_own_log() -> None:
    other = HEADER._replace(etag="another")
    log = header_line(HEADER) + log_of(WRITTEN, other)[len(header_line(other)) :]
    assert claims(log).segments == {}


@pytest.mark.parametrize(("segment", "done"), [(0, 101), (2, 51), (3, 1), (2**32 - 1, 1), (0, 2**64 - 1)])
def test_what_cannot_be_is_not_claimed(segment: int, done: int) -> None:
    log = LOG + record(seed_of(HEADER), segment, done, 0) + record(seed_of(HEADER), 0, 10, 0)
    assert claims(log) == claims(LOG)


@pytest.mark.parametrize(
    "facts",
    [
        '[2,"k","e",1,1,"C"]',
        '[1,"k","e",-1,1,"C"]',
        '[1,"k","e",1,0,"C"]',
        '[1,"k","e","1",1,"C"]',
        "[]",
        "7",
        "null",
        "{",
    ],
)
def test_headers_of_others(facts: str) -> None:
    text = facts.encode()
    assert claims(b"%s %08x\n" % (text, zlib.crc32(text))).header is None


def test_the_longest_claim_that_matches_is_kept() -> None:
    good, short, wrong = claim(0, 60), claim(0, 30), Claim(40, 123)
    assert longest_match([wrong, good, short], reader(DATA), crc) == good
    assert longest_match([short, wrong], reader(DATA), crc) == short
    assert longest_match([Claim(40, 9), claim(0, 40), Claim(40, 2**33)], reader(DATA), crc) == claim(0, 40)
    assert longest_match([wrong], reader(DATA), crc) == Claim(0, 0)
    assert longest_match([], reader(DATA), crc) == Claim(0, 0)
    assert longest_match([claim(0, 0)], reader(DATA), crc) == Claim(0, 0)


def test_a_short_file_proves_only_what_it_has() -> None:
    assert longest_match([claim(0, 60), claim(0, 30)], reader(DATA[:45]), crc) == claim(0, 30)


def test_progress_of_hashing() -> None:
    pieces: list[int] = []
    longest_match([claim(0, 60), claim(0, 30)], reader(DATA), crc, on_hashed=pieces.append)
    assert sum(pieces) == 60
