"""TLS sessions that are taken up by later connections: OpenSSL's copies do what Python's do."""

import ctypes  # so that OpenSSL is at hand  # noqa: F401
import gc
import ssl
import threading

import pytest

from s3pull.remote import openssl
from s3pull.remote.tls import Tls
from s3pull.remote.tlsrecords import ManyAtOnce
from s3pull.remote.tlssessions import Session
from tests.fakes.wire import Cable, Wire, flood, read, resident, tried, versions


def answered(version=ssl.TLSVersion.TLSv1_3, **options) -> Wire:
    """A connection over which something has come: TLS 1.3 sends its tickets with that."""
    wire = Wire(version, **options)
    wire.say(b"x")
    assert read(wire, 1, 1) == b"x"
    return wire


@versions
def test_a_session_makes_the_next_handshakes_short(native, version):
    first = answered(version)
    assert not first.tls.session_reused
    session = first.tls.session
    assert isinstance(session, Session) == native
    assert session.has_ticket
    for _ in range(3):
        assert answered(contexts=first.contexts, session=session).tls.session_reused


@versions
def test_a_session_outlives_its_connection(native, version):
    first = answered(version)
    session, contexts = first.tls.session, first.contexts
    del first
    gc.collect()
    assert answered(contexts=contexts, session=session).tls.session_reused


@tried
@versions
def test_a_connection_that_ends_by_an_error_spoils_no_session(version):  # as it does where Python shares it
    wire = answered(version)
    session, contexts = wire.tls.session, wire.contexts
    for spoilt in (True, False, True, False):
        if spoilt:
            wire.say(b"x" * 4000)
            wire.spoil()
            with pytest.raises(ssl.SSLError):
                wire.tls.recv_into(memoryview(bytearray(10)))
        del wire
        gc.collect()  # a wire knows its connection, and the connection its wire
        wire = answered(contexts=contexts, session=session)
        assert wire.tls.session_reused


def test_a_session_comes_of_a_connection_over_which_much_came(native):
    wire = Cable()
    assert (flood(wire) is ManyAtOnce) == native
    assert answered(contexts=wire.contexts, session=wire.tls.session).tls.session_reused


def test_a_connection_that_resumed_has_a_session_for_others_too(native):
    first = answered()
    second = answered(contexts=first.contexts, session=first.tls.session)
    assert answered(contexts=first.contexts, session=second.tls.session).tls.session_reused


@tried
def test_a_server_that_does_not_know_it_gets_a_whole_handshake():
    assert not answered(session=answered().tls.session).tls.session_reused


@tried
def test_before_the_handshake_there_is_none():
    wire = Wire()
    fresh = Tls(wire, wire.contexts[1], "localhost")
    session = fresh.session
    assert not session.has_ticket
    assert not answered(contexts=wire.contexts, session=session).tls.session_reused


@tried
def test_where_a_connection_is_not_found_it_has_a_whole_handshake(monkeypatch):
    first = answered()
    session = first.tls.session
    monkeypatch.setattr(openssl, "_word", lambda value, number: None)
    assert not answered(contexts=first.contexts, session=session).tls.session_reused


@tried
@pytest.mark.parametrize(("name", "nothing"), [("SSL_set_session", 0), ("SSL_SESSION_dup", None)])
def test_what_openssl_cannot_do_leaves_no_error(name, nothing, monkeypatch):
    first = answered()
    session, native = first.tls.session, first.tls._find()
    library = native.library

    def fails(*_arguments):
        assert not library["BIO_new_mem_buf"](None, -1)  # which it tells of
        return nothing

    fails()
    assert library.ERR_peek_error()
    library.ERR_clear_error()
    monkeypatch.setattr(library, name, fails)
    session.take_up(native)
    assert not library.ERR_peek_error()
    if nothing is None:
        assert not Session(native).has_ticket
        assert not library.ERR_peek_error()
    assert not answered(contexts=first.contexts, session=session).tls.session_reused


@tried
def test_threads_take_it_up_side_by_side():
    first = answered()
    session, reused = first.tls.session, []

    def work():
        reused.extend(answered(contexts=first.contexts, session=session).tls.session_reused for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reused == [True] * 300


@tried
def test_nothing_is_left_of_it():
    wire = answered()
    native = wire.tls._find()
    for _ in range(2000):  # Python itself grows by something at first
        Session(native).take_up(native)
    before = resident()
    for _ in range(20_000):
        Session(native).take_up(native)
    assert resident() - before < 4 << 20  # of 40,000 sessions of some hundred bytes and more
