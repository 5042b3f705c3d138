"""Past Python to OpenSSL: only where it was tried, and only to what is certainly this connection."""

import os
import ssl
import subprocess
import sys

import pytest

from s3pull.remote import openssl
from s3pull.remote.tlsrecords import ManyAtOnce, OneByOne
from tests.fakes.wire import Cable, flood, tried


@pytest.fixture
def forgetful():
    openssl._library.cache_clear()
    yield
    openssl._library.cache_clear()


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (sys, "version_info", (3, 10, 99)),
        (sys, "version_info", (4, 0)),
        (sys, "platform", "darwin"),
        (ssl, "OPENSSL_VERSION", "LibreSSL 3.9.0"),
        (ssl, "OPENSSL_VERSION", "AWS-LC 1.40"),
    ],
)
def test_where_it_was_not_tried_python_reads(module, name, value, monkeypatch, forgetful):
    monkeypatch.setattr(module, name, value)
    assert openssl._library() is None


def test_an_openssl_that_is_part_of_python_is_left_alone(monkeypatch, forgetful):
    import _ssl

    monkeypatch.delattr(_ssl, "__file__", raising=False)
    assert openssl._library() is None


@tried
def test_an_openssl_that_lacks_a_function_is_left_alone(monkeypatch, forgetful):
    import _ctypes as another

    monkeypatch.setattr("_ssl.__file__", another.__file__)
    assert openssl._library() is None


@tried
@pytest.mark.parametrize("word", [None, 0, 1, 8, 0x7FFF_FFFF_F000, 0xDEAD_BEEF_0000])
def test_what_is_no_pointer_is_not_followed(word, monkeypatch):
    genuine = openssl._word
    monkeypatch.setattr(openssl, "_proven", False)
    monkeypatch.setattr(openssl, "_word", lambda value, number: word if number == 1 else genuine(value, number))
    assert flood(Cable()) is OneByOne


@tried
def test_the_pointer_of_another_connection_is_none_of_this_one(monkeypatch):
    other = Cable()
    genuine = openssl._word
    pointer = genuine(other.tls._tls._sslobj, 1)
    monkeypatch.setattr(openssl, "_word", lambda value, number: pointer if number == 1 else genuine(value, number))
    assert flood(Cable()) is OneByOne


@tried
def test_where_no_descriptor_is_left_python_reads(monkeypatch):
    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(openssl, "_proven", False)
    monkeypatch.setattr(os, "pipe", none_left)
    assert flood(Cable()) is OneByOne


@tried
def test_one_pointer_in_its_place_speaks_for_all(monkeypatch):
    looked, genuine = [], openssl._readable
    monkeypatch.setattr(openssl, "_proven", False)
    monkeypatch.setattr(openssl, "_readable", lambda address: looked.append(address) or genuine(address))
    for _ in range(3):
        assert flood(Cable()) is ManyAtOnce
    assert len(looked) == 1


def test_an_object_is_not_read_beyond_its_end():
    assert openssl._word(object(), 0) is None
    assert openssl._word(None, 1) is None


def test_ctypes_is_not_loaded_for_little():
    script = """
import sys
from tests.fakes.wire import Wire, read
wire = Wire()
wire.say(b"x")
read(wire, 1, 1)
assert wire.tls.session.has_ticket
assert "ctypes" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
