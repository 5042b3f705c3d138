"""TLS from memory: how much is asked of the kernel, and that no thread keeps its turn while it waits for more."""

import threading

import pytest

from s3pull.remote import tls, tlsrecords
from tests.fakes.wire import Wire, flood, read

KIB = 1024


class Noting(Wire):
    """Notes at each read from the network whether somebody had a turn to decrypt."""

    def __init__(self):
        self.turns = []
        super().__init__()

    def recv_into(self, buffer):
        self.turns.append(tlsrecords._turn.locked())
        return super().recv_into(buffer)


@pytest.mark.parametrize(("piece", "most"), [(4, 32), (16, 32), (128, 256), (256, 512), (1024, 512)])
def test_twice_what_the_reader_takes_is_asked_of_the_kernel_at_most(piece, most):
    wire, said = Wire(), bytes(range(256)) * 16 * KIB
    wire.say(said)
    assert read(wire, len(said), piece * KIB) == said
    assert max(wire.asked) == most * KIB


def test_the_end_of_a_piece_does_not_make_less_of_the_next_one():
    wire, said = Wire(), bytes(range(256)) * 16 * KIB
    wire.say(said)
    read(wire, 2 * KIB * KIB, 1024 * KIB)
    wire.asked.clear()
    buffer, filled = memoryview(bytearray(KIB * KIB)), 0
    while filled < len(buffer):
        filled += wire.tls.recv_into(buffer[filled:])
    assert wire.asked[0] == 512 * KIB
    assert len(wire.asked) <= 3


def test_nobody_waits_for_the_network_while_others_wait_for_their_turn():
    wire, said = Noting(), bytes(range(256)) * 16 * KIB
    wire.say(said)
    for wire.most in (None, 100_003, 5):
        assert read(wire, 100_000, 256 * KIB) == said[:100_000]
        said = said[100_000:]
    assert not any(wire.turns)


def test_much_is_decrypted_in_a_turn_where_each_record_is_a_call(monkeypatch):
    wire, turns = Wire(), []
    wire.say(bytes(KIB * KIB))
    following = tlsrecords.OneByOne.next

    def noted(reads, buffer):
        turns.append((reads._incoming.pending >= 64 * KIB, tlsrecords._turn.locked()))
        return following(reads, buffer)

    monkeypatch.setattr(tlsrecords.OneByOne, "next", noted)
    read(wire, KIB * KIB, 256 * KIB)
    assert {much for much, _ in turns} == {True, False}
    assert all(much == turn for much, turn in turns)


def test_a_thread_has_no_more_room_than_it_reads_into():
    """Of those that only open a connection there are many at once."""
    rooms = []

    def opens_and_reads():
        wire = Wire()
        wire.say(b"a little")
        assert read(wire, 8, 8) == b"a little"
        rooms.append(len(tls._rooms.of(0)))
        flood(wire)
        rooms.append(len(tls._rooms.of(0)))

    thread = threading.Thread(target=opens_and_reads)
    thread.start()
    thread.join(60)
    assert rooms[0] == 32 * KIB < rooms[1] <= 512 * KIB


def test_room_that_is_gone_stays_with_who_has_it():
    rooms = tls._Rooms()
    small = rooms.of(10)
    small[:] = b"0123456789"
    assert rooms.of(5) is small
    assert len(rooms.of(20)) == 20
    assert small == b"0123456789"
