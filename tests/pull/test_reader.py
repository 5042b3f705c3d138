"""Reading at any place: against the bytes themselves, over connections that break, and never two versions mixed."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import CheckFailed, ObjectChanged, ServiceError
from s3pull.objects import Checksum
from s3pull.pull.reader import LEAST_AHEAD, MOST_AHEAD, Reader, ahead_of
from s3pull.remote import checksums
from tests.pull.memory_store import MemoryStore

SIZE = 3_000_000
BODY = random.Random(7).randbytes(SIZE)


def crc(body):
    hasher = checksums.hasher("CRC64NVME")
    hasher.update(memoryview(body))
    return checksums.full_object("CRC64NVME", hasher.digest())


def reader_of(body=BODY, **facts):
    store = MemoryStore()
    store.put("key", body, **facts)
    return Reader(store, store.head("key", checksum=True)), store


def read(reader, at, count):
    buffer = memoryview(bytearray(count))
    done = 0
    while done < count and (got := reader.read_at(at + done, buffer[done:])):
        done += got
    return bytes(buffer[:done])


@pytest.mark.parametrize(
    ("reads_on", "last", "ahead"),
    [
        (False, 0, LEAST_AHEAD),
        (True, 0, LEAST_AHEAD),
        (False, MOST_AHEAD, LEAST_AHEAD),
        (True, LEAST_AHEAD, 2 * LEAST_AHEAD),
        (True, MOST_AHEAD, MOST_AHEAD),
    ],
)
def test_how_much_is_asked_for_ahead(reads_on, last, ahead):
    assert ahead_of(reads_on, last) == ahead


@given(
    places=st.lists(st.tuples(st.integers(0, SIZE + 10), st.integers(1, 700_000)), max_size=8),
    breaks=st.lists(st.integers(1, 400_000), max_size=4),
)
def test_it_reads_what_is_there_wherever_and_whatever_breaks(places, breaks):
    reader, store = reader_of()
    faults = iter(breaks)
    store.faults.append(lambda *_: ("break", n) if (n := next(faults, None)) else None)
    for at, count in places:
        assert read(reader, at, count) == BODY[at : at + count]


def test_reading_on_asks_less_and_less_often():
    reader, store = reader_of()
    assert b"".join(read(reader, at, 10_000) for at in range(0, SIZE, 10_000)) == BODY
    asked = [(start, end) for _, start, end in store.gets]
    assert len(asked) <= 5
    assert [start for start, _ in asked] == [0, *(end for _, end in asked[:-1])]


def test_a_place_elsewhere_is_not_paid_for_with_all_that_lies_between():
    reader, store = reader_of()
    read(reader, SIZE - 8, 8)
    read(reader, 0, 8)
    assert all((end or SIZE) - start <= LEAST_AHEAD + 8 for _, start, end in store.gets)


def test_a_small_gap_is_read_over():
    reader, store = reader_of()
    read(reader, 0, 10)
    read(reader, 50_000, 10)
    assert len(store.gets) == 1


def test_what_cannot_be_had_is_an_error_and_not_a_hang():
    reader, store = reader_of()
    store.faults.append(lambda *_: ("break", 0))
    with pytest.raises(ServiceError):
        read(reader, 0, 10)


@pytest.mark.parametrize("places", [[(0, SIZE)], [(SIZE - 8, 8), (0, SIZE)], [(0, 1_000_000), (500_000, SIZE)]])
def test_all_that_was_read_in_a_row_is_verified(places):
    reader, _ = reader_of(checksum=crc(BODY))
    assert reader.verified is None
    for at, count in places:
        read(reader, at, count)
    assert reader.verified is True


def test_what_was_not_read_in_a_row_is_not():
    reader, _ = reader_of(checksum=crc(BODY))
    read(reader, 0, SIZE - 400_000)
    read(reader, SIZE - 10, 10)
    assert reader.verified is None


def test_the_etag_proves_where_there_is_no_checksum_and_parts_do_too():
    halves = [BODY[:2_000_000], BODY[2_000_000:]]
    etag = hashlib.md5(b"".join(hashlib.md5(half).digest() for half in halves)).hexdigest() + "-2"
    for facts in ({}, {"etag": etag, "parts": [len(half) for half in halves]}):
        reader, _ = reader_of(**facts)
        read(reader, 0, SIZE)
        assert reader.verified is True


def test_wrong_bytes_are_an_error_with_the_last_of_them_and_from_then_on():
    reader, store = reader_of(checksum=crc(BODY))
    store.faults.append(lambda key, start, end: ("flip", 5) if not start else None)
    assert read(reader, 0, SIZE - 500_000)[:5] == BODY[:5]
    with pytest.raises(CheckFailed, match="CRC64NVME"):
        read(reader, SIZE - 500_000, 500_000)
    with pytest.raises(CheckFailed):
        read(reader, 0, 1)
    assert reader.verified is False


def test_what_cannot_be_proven_is_neither_right_nor_wrong():
    reader, _ = reader_of(etag="0123456789abcdef0123456789abcdef", encryption="aws:kms")
    assert read(reader, 0, SIZE) == BODY
    assert reader.verified is None
    assert read(reader, 0, SIZE) == BODY


def test_an_empty_object_is_verified_at_once():
    reader, store = reader_of(b"", checksum=crc(b""))
    assert read(reader, 0, 5) == b""
    assert (reader.verified, store.gets) == (True, [])


def test_two_versions_are_never_mixed():
    reader, store = reader_of()
    assert read(reader, 0, 10) == BODY[:10]
    store.put("key", bytes(SIZE))
    with pytest.raises(ObjectChanged, match="while it was being read"):
        read(reader, SIZE - 10, 10)


def test_an_algorithm_that_nobody_knows_is_no_proof():
    reader, _ = reader_of(checksum=Checksum("WHIRLPOOL", "AAAA"), etag="opaque", encryption="aws:kms")
    read(reader, 0, SIZE)
    assert reader.verified is None
