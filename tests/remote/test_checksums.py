"""Checksums against straightforward computation and published values."""

import base64
import hashlib
import subprocess
import sys
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3pull.objects import COMPOSITE, Checksum, RemoteObject
from s3pull.remote import checksums

CRCS = ["CRC64NVME", "CRC32", "CRC32C"]
OTHERS = ["SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"]


def slow_crc(data: bytes, polynomial: int, bits: int) -> int:
    """A reflected CRC, bit by bit."""
    mask = (1 << bits) - 1
    crc = mask
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (polynomial if crc & 1 else 0)
    return crc ^ mask


POLYNOMIALS = {"CRC64NVME": (0x9A6C9329AC4BC9B5, 64), "CRC32": (0xEDB88320, 32), "CRC32C": (0x82F63B78, 32)}


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("XXHASH64", "8cb841db40e6ae83"),
    ],
)
def test_published_check_values(algorithm, digest):
    hasher = checksums.hasher(algorithm)
    hasher.update(b"123456789")
    assert hasher.digest().hex() == digest


@pytest.fixture(params=["awscrt", "anycrc"])
def whose(request, monkeypatch):
    """Who computes: awscrt in its library, or what is there where that cannot be asked."""
    if request.param == "anycrc":
        monkeypatch.setattr(checksums.crt, "crc_function", lambda _: None)
        monkeypatch.setattr(checksums.crt, "combine_function", lambda _: None)
    forget()
    yield
    forget()


def forget():
    checksums.crc_function.cache_clear()
    checksums._combine_function.cache_clear()


@given(st.sampled_from(CRCS), st.lists(st.binary(max_size=300), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_crcs_fed_in_pieces_and_combined_are_the_crc_of_the_whole(whose, algorithm, pieces):
    whole = b"".join(pieces)
    expected = slow_crc(whole, *POLYNOMIALS[algorithm])
    function = checksums.crc_function(algorithm)
    assert function(whole, 0) == expected
    hasher = checksums.hasher(algorithm)
    for piece in pieces:
        hasher.update(memoryview(piece))
    assert hasher.digest() == checksums.crc_digest(algorithm, expected)
    assert checksums.combine_all(algorithm, [(function(piece, 0), len(piece)) for piece in pieces]) == expected


@pytest.mark.parametrize("algorithm", CRCS)
def test_nothing_changes_where_awscrt_takes_over(algorithm):
    crcs = checksums._FewThenMany(algorithm, 100)
    crc, used = 0, set()
    for piece in range(8):
        crc = crcs.update(memoryview(bytes([piece]) * 40), crc)
        used.add(crcs._function)
        whole = b"".join(bytes([each]) * 40 for each in range(piece + 1))
        assert crc == slow_crc(whole, *POLYNOMIALS[algorithm])
    assert len(used) == 2


def test_awscrt_is_imported_only_for_much_data():
    """With pieces of a MiB."""
    script = "import sys; from s3pull.remote import checksums as c, crt; crt.TRIED = ((0, 0), (0, 0));"
    script += "function = c.crc_function('CRC64NVME'); data = bytes(1 << 20); first = function(data, 0);"
    script += "more = [function(data, 0) for _ in range(127)]; assert '_awscrt' not in sys.modules;"
    script += "last = function(data, 0); assert {first, *more, last} == {first}; assert '_awscrt' in sys.modules;"
    script += "assert c.combine('CRC64NVME', first, last, len(data)) == function(data * 2, 0)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere its library is not asked")
def test_where_the_library_of_awscrt_is_asked_nothing_else_is_loaded():
    script = "import sys; from s3pull.remote import checksums as c; data = bytes(1 << 20);"
    script += "crc = c.crc_function('CRC64NVME')(data, 0);"
    script += "assert c.combine('CRC64NVME', crc, crc, len(data)) == c.crc_function('CRC64NVME')(data * 2, 0);"
    script += "assert not {'_awscrt', 'anycrc', 'inspect'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_combining_over_gigabytes():
    zeros = zlib.crc32(bytes(1 << 20))
    combined = checksums.combine_all("CRC32", [(zeros, 1 << 20)] * 4096)
    again = checksums.combine("CRC32", combined, checksums.crc_function("CRC32")(b"tail", 0), 4)
    half = checksums.combine_all("CRC32", [(zeros, 1 << 20)] * 2048)
    assert combined == checksums.combine("CRC32", half, half, 2 << 30)
    assert again == zlib.crc32(b"tail", combined)


@given(st.sampled_from(CRCS + OTHERS), st.lists(st.binary(max_size=50), max_size=4))
def test_feeding_in_pieces_changes_nothing(algorithm, pieces):
    whole, split = checksums.hasher(algorithm), checksums.hasher(algorithm)
    whole.update(b"".join(pieces))
    for piece in pieces:
        split.update(piece)
    assert whole.digest() == split.digest()


@given(st.sampled_from([*CRCS, "SHA256"]), st.binary(max_size=300), st.binary(max_size=3))
def test_whether_a_value_is_that_of_a_whole(algorithm, body, more):
    hasher = checksums.hasher(algorithm)
    hasher.update(body)
    stated = checksums.full_object(algorithm, hasher.digest())
    crc = algorithm in CRCS
    assert checksums.is_whole(stated, memoryview(body)) is crc
    assert checksums.is_whole(stated, body + more) is (crc and not more)
    assert not checksums.is_whole(stated._replace(type=COMPOSITE), body)
    assert not checksums.is_whole(stated._replace(algorithm="CRC128"), body)
    # spelt in another way it is for `same` to say
    assert not checksums.is_whole(stated._replace(value=stated.value.rstrip("=")), body)


@given(st.sampled_from(["SHA1", "SHA256", "MD5"]), st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_composite(algorithm, parts):
    digests = [hashlib.new(algorithm, part).digest() for part in parts]
    value = base64.b64encode(hashlib.new(algorithm, b"".join(digests)).digest()).decode()
    assert checksums.composite(algorithm, digests) == Checksum(algorithm, f"{value}-{len(parts)}", COMPOSITE)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_composite_of_crcs_and_multipart_etags(parts):
    raw = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
    value = base64.b64encode(zlib.crc32(raw).to_bytes(4, "big")).decode()
    found = checksums.composite("CRC32", [zlib.crc32(part).to_bytes(4, "big") for part in parts])
    assert found == Checksum("CRC32", f"{value}-{len(parts)}", COMPOSITE)
    md5s = [hashlib.md5(part).digest() for part in parts]
    assert checksums.multipart_etag(md5s) == f"{hashlib.md5(b''.join(md5s)).hexdigest()}-{len(parts)}"


def test_an_unknown_algorithm_cannot_be_verified_and_is_no_mismatch():
    assert checksums.hasher("BLAKE9") is None
    assert checksums.composite("BLAKE9", [b"x"]) is None


@pytest.mark.parametrize(
    ("stored", "computed", "verdict"),
    [
        (("CRC32", "AAAAAA==", "FULL_OBJECT"), ("CRC32", "AAAAAA==", "FULL_OBJECT"), True),
        (("CRC32", "AAAAAA", "FULL_OBJECT"), ("CRC32", "AAAAAA==", "FULL_OBJECT"), True),
        (("CRC32", "AAAAAQ==", "FULL_OBJECT"), ("CRC32", "AAAAAA==", "FULL_OBJECT"), False),
        (("CRC32C", "AAAAAA==", "FULL_OBJECT"), ("CRC32", "AAAAAA==", "FULL_OBJECT"), False),
        (("CRC32", "AAAAAA==-2", "COMPOSITE"), ("CRC32", "AAAAAA==-2", "COMPOSITE"), True),
        (("CRC32", "AAAAAA==-2", "COMPOSITE"), ("CRC32", "AAAAAA==-3", "COMPOSITE"), False),
        (("CRC32", "AAAAAA==", "COMPOSITE"), ("CRC32", "AAAAAA==", "FULL_OBJECT"), False),
        (("CRC32", "!", "FULL_OBJECT"), ("CRC32", "AAAAAA==", "FULL_OBJECT"), False),
    ],
)
def test_same(stored, computed, verdict):
    assert checksums.same(Checksum(*stored), Checksum(*computed)) is verdict


HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("etag", "encryption", "md5", "multipart", "parts"),
    [
        (HEX, "AES256", True, False, None),
        (HEX, None, None, False, None),
        (HEX, "aws:kms", False, False, None),
        (HEX, "aws:kms:dsse", False, False, None),
        (HEX.upper(), "AES256", False, False, None),
        (HEX + "-3", "AES256", False, True, 3),
        (HEX + "-3", "aws:kms", False, False, 3),
        (HEX + "-3", None, False, None, 3),
        (HEX + "-10000", None, False, None, 10_000),
        (HEX + "-10001", None, False, False, None),
        (HEX + "-0", None, False, False, None),
        (HEX + "-", None, False, False, None),
        (HEX + "-³", None, False, False, None),
        ('W/"' + HEX + '"', "AES256", False, False, None),
        ("", None, False, False, None),
    ],
)
def test_what_an_etag_may_be(etag, encryption, md5, multipart, parts):
    obj = RemoteObject("k", 1, etag, encryption=encryption)
    assert checksums.etag_md5(obj) is md5
    assert checksums.multipart_etag_md5(obj) is multipart
    assert checksums.etag_parts(obj) == parts


def test_parts_of_a_composite_value():
    assert checksums.parts_of(Checksum("SHA1", "abc=-12", COMPOSITE)) == 12
    assert checksums.parts_of(Checksum("SHA1", "abc=", COMPOSITE)) is None
    assert checksums.parts_of(Checksum("SHA1", "abc=")) is None
