"""Many records in one call: the same bytes, ends and errors as from Python."""

import gc
import os
import ssl
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.remote import tlsrecords
from s3pull.remote.tls import Tls
from s3pull.remote.tlsrecords import MUCH, ManyAtOnce, OneByOne
from tests.fakes.wire import Tunnel, Wire, flood, read, resident, tried, versions

KIB = 1024


def streaming(version=ssl.TLSVersion.TLSv1_3, size=MUCH) -> tuple[Wire, bytes]:
    """A connection over which much came already."""
    wire = Wire(version)
    assert flood(wire) is ManyAtOnce
    said = os.urandom(size)
    wire.say(said)
    return wire, said


def hear_all(wire: Wire, tls: Tls, data: bytes, pieces: list[int], arrive: list[int]) -> None:
    """Read exactly `data`, in pieces of these sizes, as it arrives by these."""
    got, number = 0, 0
    while got < len(data):
        wire.most = arrive[number % len(arrive)]
        buffer = memoryview(bytearray(pieces[number % len(pieces)]))
        count = tls.recv_into(buffer)
        assert 0 < count <= len(buffer)
        assert buffer[:count] == data[got : got + count]
        got, number = got + count, number + 1
    assert got == len(data)


@tried
@versions
@settings(max_examples=40, deadline=None)
@given(
    said=st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
    pieces=st.lists(st.integers(300, 300_000), min_size=1, max_size=6),
    arrive=st.lists(st.integers(300, 300_000), min_size=1, max_size=4),
)
def test_what_is_read_is_what_was_said(version, said, pieces, arrive):
    wire, first = streaming(version)
    data = os.urandom(sum(said))
    at = 0
    for size in said:
        wire.say(data[at : at + size])
        at += size
    hear_all(wire, wire.tls, first + data, pieces, arrive)
    assert not wire.tls.surplus()


@tried
def test_all_that_has_arrived_comes_in_one_call(monkeypatch):
    wire, said = streaming(size=200 * KIB)
    calls = []
    monkeypatch.setattr(OneByOne, "next", lambda reads, buffer: calls.append(buffer) or -1)
    buffer = memoryview(bytearray(512 * KIB))
    count = wire.tls.recv_into(buffer)
    assert count > 100 * KIB
    assert buffer[:count] == said[:count]
    assert len(calls) == 1  # before anything had arrived


@tried
def test_what_had_no_room_is_kept_from_whoever_reads_next_in_this_thread():
    wires = [streaming(size=300 * KIB) for _ in range(3)]
    got, kept = [b"", b"", b""], 0
    piece = memoryview(bytearray(30_000))
    for _ in range(10):
        for number, (wire, _) in enumerate(wires):
            count = wire.tls.recv_into(piece)
            kept += wire.tls._reads.pending()
            got[number] += piece[:count]
    assert kept
    assert all(some and said.startswith(some) for some, (_, said) in zip(got, wires, strict=True))


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
    wire = Wire(version)
    said = os.urandom(4 * MUCH)
    wire.say(said)
    if polite:
        wire.bye()
    wire.over = True
    assert read(wire, len(said), 100_000) == said
    assert isinstance(wire.tls._reads, ManyAtOnce) == native
    for _ in range(2):
        assert wire.tls.recv_into(memoryview(bytearray(100))) == 0


@versions
def test_what_was_changed_on_its_way_is_an_error(native, version):
    wire = Wire(version)
    assert (flood(wire) is ManyAtOnce) == native
    said = os.urandom(10 * 16 * KIB)
    wire.say(said)
    wire.spoil()
    got, buffer = b"", memoryview(bytearray(MUCH))
    with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed|record layer failure"):
        while True:
            count = wire.tls.recv_into(buffer)
            got += buffer[:count]
    assert said.startswith(got)
    # and the next connection of this thread hears nothing of it
    other = Wire(version)
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
        got += buffer[: wire.tls.recv_into(buffer)]
    assert 0 < len(got) < len(said)
    assert said.startswith(got)
    assert read(other, 100 * KIB, 30_000) == theirs  # the same thread
    for _ in range(2):
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed|record layer failure"):
            wire.tls.recv_into(buffer)


@tried
def test_no_more_is_asked_of_openssl_than_it_can_count(monkeypatch):
    wire, said = streaming(size=100 * KIB)
    asked = []
    genuine = wire.tls._reads._read
    monkeypatch.setattr(tlsrecords, "_AT_ONCE", 20_000)
    wire.tls._reads._read = lambda bio, at, size: asked.append(size) or genuine(bio, at, size)
    assert read(wire, 100 * KIB, 90_000) == said
    assert max(asked) == 20_000


@versions
def test_a_goodbye_right_behind_the_last_byte_is_no_surplus(native, version):
    wire = Wire(version)
    assert (flood(wire) is ManyAtOnce) == native
    wire.say(b"x" * 20_000)
    wire.bye()
    assert read(wire, 20_000, 20_000) == b"x" * 20_000
    assert wire.tls._reads.pending()
    assert not wire.tls.surplus()
    assert wire.tls.recv_into(memoryview(bytearray(10))) == 0


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
            wire.tls.recv_into(memoryview(bytearray(30_000)))  # the rest is kept, and goes, too
        del wire
        gc.collect()  # a wire knows its connection, and the connection its wire

    grown = []
    for _ in range(4):  # Python itself grows by something at first
        before = resident()
        some(200)
        grown.append(resident() - before)
    assert min(grown) < 4 * KIB * KIB  # of 200 times 64 KiB and more


def test_little_is_read_as_python_reads():
    wire = Wire()
    for _ in range(50):
        wire.say(bytes(4 * KIB))
        assert read(wire, 4 * KIB, 16 * KIB) == bytes(4 * KIB)
    assert isinstance(wire.tls._reads, OneByOne)
