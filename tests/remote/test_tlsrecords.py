"""Many records in one call, from the socket: the same bytes, ends and errors as from Python."""

import ctypes
import errno
import gc
import os
import socket
import ssl
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.remote import openssl
from s3pull.remote.connection import Connection
from s3pull.remote.tls import Tls
from s3pull.remote.tlsrecords import MUCH, ManyAtOnce, OneByOne, next_step
from tests.fakes.wire import Cable, Tunnel, Wire, flood, read, resident, take, tried, versions

KIB = 1024


def streaming(version=ssl.TLSVersion.TLSv1_3, size=MUCH) -> tuple[Cable, bytes]:
    """A connection over which much came already."""
    wire = Cable(version)
    assert flood(wire) is ManyAtOnce
    said = os.urandom(size)
    wire.say(said)
    return wire, said


def hear_all(wire: Wire, tls: Tls, data: bytes, pieces: list[int], arrive: list[int]) -> None:
    """Read exactly `data`, in pieces of these sizes, as it arrives by these."""
    got, number = 0, 0
    while got < len(data):
        wire.most = arrive[number % len(arrive)]
        wire.deliver()
        buffer = memoryview(bytearray(min(pieces[number % len(pieces)], len(data) - got)))
        count = tls.much_into(buffer) if number % 5 else tls.recv_into(buffer)
        assert 0 < count <= len(buffer)
        assert buffer[:count] == data[got : got + count]
        got, number = got + count, number + 1
    assert got == len(data)


@tried
@versions
@settings(max_examples=40, deadline=None)
@given(
    first=st.booleans(),
    said=st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
    pieces=st.lists(st.integers(300, 300_000), min_size=1, max_size=6),
    arrive=st.lists(st.integers(300, 300_000), min_size=1, max_size=4),
)
def test_what_is_read_is_what_was_said(version, first, said, pieces, arrive):
    wire, before = streaming(version) if first else (Cable(version), b"")
    data = os.urandom(sum(said))
    at = 0
    for size in said:
        wire.say(data[at : at + size])
        at += size
    hear_all(wire, wire.tls, before + data, pieces, arrive)
    assert not wire.tls.surplus()


@tried
def test_as_much_as_is_to_come_comes_in_one_call(monkeypatch):
    wire, said = streaming(size=200 * KIB)
    calls = []
    monkeypatch.setattr(OneByOne, "next", lambda reads, buffer: calls.append(buffer) or -1)
    wire.most = 1000
    wire.tls._many._step = 200 * KIB
    buffer = memoryview(bytearray(200 * KIB))
    assert take(wire, buffer) == len(buffer)
    assert buffer == said
    assert not calls
    assert not wire.tls.surplus()


@tried
@pytest.mark.parametrize(
    ("step", "size", "seconds", "following"),
    [
        (64, 64, 0.001, 128),
        (64, 64, 0.05, 64),
        (64, 64, 0.2, 32),
        (128, 128, 0.001, 128),
        (16, 16, 0.5, 16),
        (20, 20, 3.0, 16),
        (128, 70, 0.001, 128),
        (128, 70, 0.2, 35),
    ],
)
def test_who_waited_long_waits_for_less(step, size, seconds, following):
    assert next_step(step * KIB, size * KIB, seconds) == following * KIB


def trickle(wire: Cable, pieces: int, seconds: float) -> threading.Thread:
    """What was said is sent in pieces of so many bytes, with a pause behind each."""
    data = wire._out.read()

    def send():
        for at in range(0, len(data), pieces):
            wire._sent.put(data[at : at + pieces])
            time.sleep(seconds)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@tried
@pytest.mark.parametrize("size", [600 * KIB, 100 * KIB])
def test_little_is_waited_for_where_it_comes_slowly(size):
    """A tenth of a second's at most, whatever came quickly before."""
    wire, _ = streaming(size=2048 * KIB)
    read(wire, 2048 * KIB, 1024 * KIB)
    assert wire.tls._many._step == 128 * KIB
    said = os.urandom(size)
    wire.say(said)
    sending = trickle(wire, 3_000, 0.01)
    buffer, got, counts = memoryview(bytearray(1024 * KIB)), b"", []
    while len(got) < size:
        counts.append(take(wire, buffer[: size - len(got)]))
        got += buffer[: counts[-1]]
    sending.join()
    assert got == said
    assert max(counts[3:], default=0) <= 32 * KIB
    assert wire.tls._many._step <= 64 * KIB


@tried
def test_what_comes_while_many_are_waited_for_is_seen_from_outside():
    wire, _ = streaming(size=2048 * KIB)
    read(wire, 2048 * KIB, 1024 * KIB)
    wire.say(bytes(128 * KIB))
    reading = threading.Thread(target=wire.tls.much_into, args=(memoryview(bytearray(128 * KIB)),))
    sending = trickle(wire, 20_000, 0.05)
    reading.start()
    seen = set()
    while reading.is_alive():
        seen.add(wire.tls.came)
        time.sleep(0.01)
    sending.join()
    assert len(seen) >= 4


@tried
def test_a_head_is_not_kept_waiting_for_more():
    wire, said = streaming(size=30_000)
    buffer = memoryview(bytearray(128 * KIB))
    got = b""
    while len(got) < len(said):
        wire.deliver()
        got += buffer[: wire.tls.recv_into(buffer)]
    assert got == said
    assert not wire.given_up.is_set()


@tried
@versions
def test_both_sides_go_on_talking(version):
    wire, said = streaming(version)
    for number in range(20):
        assert read(wire, len(said), 10_000) == said
        wire.tls.sendall(b"request %d" % number)
        assert wire.hear() == b"request %d" % number
        said = os.urandom(100_000)
        wire.say(said)


@versions
@pytest.mark.parametrize("polite", [True, False])
def test_the_end_is_told_as_python_tells_it(native, version, polite):
    wire = Cable(version)
    said = os.urandom(4 * MUCH)
    wire.say(said)
    if polite:
        wire.bye()
    wire.over = True
    assert read(wire, len(said), 100_000) == said
    assert isinstance(wire.tls._reads, ManyAtOnce) == native
    for room in (MUCH, 100, MUCH):
        assert take(wire, memoryview(bytearray(room))) == 0


@tried
@versions
@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("size", [5 * MUCH, 5 * MUCH + 1000])
def test_the_end_in_the_middle_of_what_was_to_come(version, polite, size):
    wire, said = streaming(version, size)
    if polite:
        wire.bye()
    wire.over = True
    buffer, got = memoryview(bytearray(4 * MUCH)), b""
    while count := take(wire, buffer):
        got += buffer[:count]
    assert got == said
    for room in (MUCH, 100, MUCH):
        assert take(wire, memoryview(bytearray(room))) == 0


@tried
@versions
def test_a_connection_that_is_shut_down_under_the_reader_ends(version):
    wire, said = streaming(version)
    assert read(wire, len(said), len(said)) == said
    threading.Timer(0.1, lambda: wire.plug.shutdown(socket.SHUT_RDWR)).start()
    assert take(wire, memoryview(bytearray(2 * MUCH))) == 0


@tried
@pytest.mark.parametrize("behind", [0, 50_000])
def test_what_the_system_says_went_wrong_is_told(behind):
    wire, said = streaming()
    assert read(wire, MUCH, MUCH) == said
    wire.say(bytes(behind))
    theirs = over_tcp(wire)
    theirs.sendall(wire._out.read())
    buffer, got = memoryview(bytearray(2 * MUCH)), 0
    threading.Timer(0.1, theirs.close).start()
    with pytest.raises(ConnectionResetError) as caught:
        while count := wire.tls.much_into(buffer):
            got += count
    assert caught.value.errno == errno.ECONNRESET
    assert got == behind


@tried
def test_a_reset_right_behind_the_last_byte_is_no_surplus():
    wire, said = streaming()
    assert read(wire, MUCH, MUCH) == said
    theirs = over_tcp(wire)
    wire.say(bytes(MUCH))
    theirs.sendall(wire._out.read())
    buffer, got = memoryview(bytearray(MUCH)), 0
    while got < MUCH:
        got += wire.tls.much_into(buffer[got:])
    theirs.close()
    assert not wire.tls.surplus()


def over_tcp(wire: Cable) -> socket.socket:
    """Have our side read from another socket and return its other end, whose close is a reset."""
    listening = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.create_connection(listening.getsockname()), listening.accept()[0]
    listening.close()
    os.dup2(ours.fileno(), wire.plug.fileno())
    ours.close()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return theirs


@tried
@versions
def test_what_others_left_is_not_told_of_this_connection(version, monkeypatch):
    wire, said = streaming(version, 3 * MUCH)
    library, genuine = wire.tls._many._library, wire.tls._many._library.BIO_read
    monkeypatch.setattr(library, "BIO_read", lambda bio, at, size: genuine(bio, at, size // 2))  # a signal came
    fails = library["BIO_new_mem_buf"]
    assert not fails(None, -1)
    assert library.ERR_peek_error()
    assert read(wire, len(said), 2 * MUCH) == said


@tried
def test_a_signal_ends_no_head(monkeypatch):
    wire, said = streaming(size=1000)
    genuine, interrupted = OneByOne.next, []
    monkeypatch.setattr(
        OneByOne,
        "next",
        lambda reads, buffer: genuine(reads, buffer) if interrupted else interrupted.append(None) or -1,
    )
    assert read(wire, 1000, 1000) == said
    assert interrupted


@tried
@versions
def test_a_signal_ends_no_connection(version, monkeypatch):
    wire, said = streaming(version, 3 * MUCH)
    library, genuine, calls = wire.tls._many._library, wire.tls._many._library.BIO_read, []

    def interrupted_every_other_time(bio, at, size):
        calls.append(size)
        return -1 if len(calls) % 2 else genuine(bio, at, size)

    monkeypatch.setattr(library, "BIO_read", interrupted_every_other_time)
    assert read(wire, len(said), 2 * MUCH) == said
    assert len(calls) > 1


@versions
def test_what_was_changed_on_its_way_is_an_error(native, version):
    wire = Cable(version)
    assert (flood(wire) is ManyAtOnce) == native
    said = os.urandom(10 * 16 * KIB)
    wire.say(said)
    wire.spoil()
    got, buffer = b"", memoryview(bytearray(MUCH))
    with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed|record layer failure"):
        while True:
            count = take(wire, buffer)
            got += buffer[:count]
    assert said.startswith(got)
    # and the next connection of this thread hears nothing of it
    other = Cable(version)
    other.say(bytes(MUCH))
    assert read(other, MUCH, MUCH) == bytes(MUCH)


@settings(max_examples=40, deadline=None)
@given(
    said=st.lists(st.integers(1, 300_000), min_size=1, max_size=4),
    pieces=st.lists(st.integers(10_000, 300_000), min_size=1, max_size=4),
    arrive=st.lists(st.integers(5_000, 300_000), min_size=1, max_size=4),
    batch=st.integers(1000, 50_000),
)
def test_tls_in_the_tls_of_a_proxy(said, pieces, arrive, batch):
    tunnel = Tunnel()
    data = os.urandom(4 * MUCH + sum(said))
    at = 0
    for size in (4 * MUCH, *said):
        tunnel.tell(data[at : at + size], batch=batch)
        at += size
    hear_all(tunnel, tunnel.inner, data, pieces, arrive)
    assert not tunnel.inner.surplus()


@tried
@versions
def test_what_goes_wrong_behind_good_bytes_is_told_to_who_reads_on(version):
    wire, said = streaming(version, 10 * 16 * KIB)
    other, theirs = streaming(version, 100 * KIB)
    wire.spoil()
    buffer, got = memoryview(bytearray(512 * KIB)), b""
    while not got:
        got += buffer[: take(wire, buffer)]
    assert 0 < len(got) < len(said)
    assert said.startswith(got)
    assert read(other, 100 * KIB, 30_000) == theirs  # the same thread
    for _ in range(2):
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed|record layer failure"):
            take(wire, buffer)


@versions
@pytest.mark.parametrize("streams", [True, False])
def test_a_goodbye_right_behind_the_last_byte_is_no_surplus(version, streams):
    wire = Cable(version)
    if streams:
        flood(wire)
    wire.say(b"x" * 20_000)
    wire.bye()
    assert read(wire, 20_000, 20_000) == b"x" * 20_000
    assert not wire.tls.surplus()
    assert take(wire, memoryview(bytearray(10))) == 0


@tried
def test_a_session_ticket_behind_the_last_byte_is_no_surplus():
    wire = Cable()
    assert flood(wire) is ManyAtOnce
    wire.say(b"x" * 20_000)
    library, server = wire.tls._many._library, openssl._word(wire._server._sslobj, 1)
    give_a_ticket = library["SSL_new_session_ticket"]
    give_a_ticket.argtypes = [ctypes.c_void_p]
    assert give_a_ticket(server) == 1
    before = wire._out.pending
    wire._server.do_handshake()
    assert wire._out.pending > before
    arrive(wire, wire._out.read())
    assert read(wire, 20_000, 20_000) == b"x" * 20_000
    ahead = bool(library.SSL_has_pending(wire.tls._many._pointer))
    assert ahead == (ssl.OPENSSL_VERSION_INFO < (3, 2)), "where it was read already, and where it is in the socket"
    assert not wire.tls.surplus()
    wire.say(b"y" * MUCH)
    assert read(wire, MUCH, MUCH) == b"y" * MUCH


@versions
@pytest.mark.parametrize("cut", [None, 1000, 3])
def test_what_comes_behind_the_last_byte_is_surplus(version, cut):
    """Whole or in part, which nobody waits for."""
    wire = Cable(version)
    flood(wire)
    wire.say(b"x" * 20_000)
    due = wire._out.read()
    wire.say(b"surplus" * 1000)
    arrive(wire, due + wire._out.read()[:cut])
    assert read(wire, 20_000, 20_000) == b"x" * 20_000
    assert wire.tls.surplus()


@tried
@versions
@pytest.mark.parametrize("cut", [None, 1000, 3])
def test_what_lies_in_the_socket_is_surplus_too(version, cut):
    wire, said = streaming(version)
    assert read(wire, len(said), len(said)) == said
    assert not wire.tls.surplus()
    wire.say(b"surplus" * 1000)
    arrive(wire, wire._out.read()[:cut])
    assert wire.tls.surplus()


@versions
@pytest.mark.parametrize("streams", [True, False])
def test_another_answer_behind_a_small_one_is_surplus(version, streams):
    wire = Cable(version)
    if streams:
        flood(wire)
    connection = Connection("peer")
    connection.opened(wire.tls)
    wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + bytes(100))
    wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL")
    arrive(wire, wire._out.read())
    assert connection.hear().status == 200
    assert connection.readinto(memoryview(bytearray(100))) == 100
    assert connection.surplus


def arrive(wire: Cable, data: bytes) -> None:
    """Send `data`, and wait until all of it lies in our socket."""
    wire._sent.put(data)
    deadline = time.monotonic() + 20
    while len(wire.plug.recv(1 << 20, socket.MSG_PEEK)) < len(data):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@tried
def test_threads_read_side_by_side():
    wires = [streaming(size=3000 * KIB) for _ in range(6)]
    got = {}

    def work(number):
        wire, said = wires[number]
        got[number] = read(wire, len(said), 77_777)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[number] for number in range(6)] == [said for _, said in wires]


@tried
def test_a_connection_goes_from_thread_to_thread():
    wire, said = streaming(size=2000 * KIB)
    got = []

    def work():
        got.append(read(wire, 100_000, 30_000))

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert b"".join(got) == said[:2_000_000]


@tried
def test_nothing_is_left_of_it_when_it_ends():
    def some(count: int) -> None:
        for _ in range(count):
            wire, _ = streaming()
            take(wire, memoryview(bytearray(30_000)))  # the rest is kept, and goes, too
        del wire
        gc.collect()  # a wire knows its connection, and the connection its wire

    grown = []
    for _ in range(4):  # Python itself grows by something at first
        before = resident()
        some(200)
        grown.append(resident() - before)
    assert min(grown) < 4 * KIB * KIB  # of 200 times 64 KiB and more


def test_little_is_read_as_python_reads():
    wire = Cable()
    for _ in range(50):
        wire.say(bytes(4 * KIB))
        assert read(wire, 4 * KIB, 16 * KIB) == bytes(4 * KIB)
    assert isinstance(wire.tls._reads, OneByOne)
