"""awscrt's CRCs without its start: the same answers, in every version that they are asked of, else none."""

from __future__ import annotations

import subprocess
import sys

import awscrt
import pytest
from awscrt import checksums
from hypothesis import given
from hypothesis import strategies as st

from s3pull.remote import crt

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere awscrt is imported")

ALGORITHMS = ("CRC64NVME", "CRC32C", "CRC32")


@pytest.fixture(autouse=True)
def forgetful():
    def forget():
        crt.crc_function.cache_clear()
        crt.combine_function.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(first=st.binary(max_size=20_000), second=st.binary(max_size=20_000))
def test_they_are_what_the_import_says(algorithm, first, second):
    function, imported = crt.crc_function(algorithm), getattr(checksums, algorithm.lower())
    crc = function(memoryview(first), 0)
    assert crc == imported(first, 0)
    assert function(bytearray(second), crc) == imported(first + second, 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(first=st.binary(max_size=2_000), second=st.binary(max_size=2_000))
def test_they_are_combined_to_what_the_whole_has(algorithm, first, second):
    crc, combine = crt.crc_function(algorithm), crt.combine_function(algorithm)
    assert combine(crc(first, 0), crc(second, 0), len(second)) == crc(first + second, 0)


def test_nothing_is_started():
    script = (
        "import sys; from s3pull.remote import crt;"
        "crc = crt.crc_function('CRC64NVME')(bytes(1 << 20), 0);"
        "assert crt.combine_function('CRC64NVME')(crc, 0, 0) == crc != 0;"
        "assert '_awscrt' not in sys.modules;"
        # and what needs all of it can have it afterwards
        "from awscrt import checksums, auth; assert checksums.crc64nvme(b'123456789') == crt._KNOWN['CRC64NVME'];"
        "assert crt.crc_function('CRC64NVME')(b'123456789', 0) == crt._KNOWN['CRC64NVME']"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_is_no_data_is_an_error_and_no_crash():
    function = crt.crc_function("CRC64NVME")
    for data, crc in ((None, 0), (b"x", None), (b"x", -1), (b"x", 1 << 64), (memoryview(bytes(9))[::2], 0)):
        with pytest.raises((TypeError, OverflowError, ValueError, BufferError)):
            function(data, crc)
    combine = crt.combine_function("CRC64NVME")
    for numbers in ((None, 0, 0), (0, 0, -1), (0, 1 << 64, 0), (0, 0, 1 << 64), (0, 0), (0, 0, 0, 0)):
        with pytest.raises((TypeError, OverflowError, ValueError)):
            combine(*numbers)
    assert function(b"123456789", 0) == crt._KNOWN["CRC64NVME"]


@pytest.mark.parametrize("version", ["0.25.7", "0.39.0", "1.0.0.dev0", "unknown"])
def test_versions_that_were_not_tried_are_not_asked(monkeypatch, version):
    monkeypatch.setattr(awscrt, "__version__", version)
    assert crt.crc_function("CRC64NVME") is None
    assert crt.combine_function("CRC64NVME") is None


def test_the_version_that_is_locked_was_tried():
    """What was tried: 0.26.1, 0.27.6, 0.28.4, 0.29.2 and each minor version up to 0.38, for which raise TRIED."""
    assert crt.crc_function("CRC64NVME") is not None, f"try {awscrt.__version__}, and raise TRIED"
    assert crt.combine_function("CRC64NVME") is not None


def test_other_systems_are_not_asked(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert crt.crc_function("CRC64NVME") is None


def test_one_that_answers_wrongly_is_not_asked(monkeypatch):
    monkeypatch.setitem(crt._KNOWN, "CRC32", 1)
    assert crt.crc_function("CRC32") is None
    assert crt.crc_function("SHA256") is None


def test_a_library_without_the_name_is_not_asked(monkeypatch):
    monkeypatch.setattr(crt, "_named", lambda name, named=crt._named: named(name + "_gone"))
    assert crt.crc_function("CRC32") is None


def test_a_version_that_combines_nothing_computes_all_the_same(monkeypatch):
    """Those before 0.31."""
    named = crt._named
    monkeypatch.setattr(crt, "_named", lambda name: named(name.replace("_combine", "_gone")))
    assert crt.crc_function("CRC32") is not None
    assert crt.combine_function("CRC32") is None


def test_one_that_combines_wrongly_is_not_asked(monkeypatch):
    named = crt._named
    monkeypatch.setattr(crt, "_named", lambda name: (lambda *_: 7) if name.endswith("_combine") else named(name))
    assert crt.crc_function("CRC64NVME") is not None
    assert crt.combine_function("CRC64NVME") is None
