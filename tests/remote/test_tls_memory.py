"""TLS from memory: how much is asked of the kernel, and that no thread keeps its turn while it waits for more."""

import ssl

import pytest

from s3pull.remote import tls as module
from s3pull.remote.tls import Tls
from tests.fakes.tls import authority, server_context

KIB = 1024


class Wire:
    """A server in memory. It gives what was asked for at once, if there is as much, and notes how much that was."""

    def __init__(self):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = server_context().wrap_bio(self._in, self._out, server_side=True)
        self.asked, self.turns, self.most = [], [], None
        self.tls = Tls(self, ssl.create_default_context(cafile=authority()[0]), "localhost")
        self.tls.do_handshake()
        self._server.do_handshake()
        self.asked.clear()

    def sendall(self, data):
        self._in.write(data)
        try:
            self._server.do_handshake()
        except ssl.SSLWantReadError:
            pass

    def say(self, data):
        while data:
            data = data[self._server.write(data) :]

    def recv_into(self, buffer):
        self.asked.append(len(buffer))
        self.turns.append(module._turn.locked())
        data = self._out.read(min(len(buffer), self.most or len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def read(wire, size, piece):
    """All that was said, in pieces."""
    said, buffer = b"", memoryview(bytearray(piece))
    while len(said) < size:
        count = wire.tls.recv_into(buffer[: size - len(said)])
        assert count
        said += buffer[:count]
    return said


@pytest.mark.parametrize(("piece", "most"), [(4, 32), (16, 32), (128, 256), (256, 512), (1024, 512)])
def test_twice_what_the_reader_takes_is_asked_of_the_kernel_at_most(piece, most):
    wire, said = Wire(), bytes(range(256)) * 16 * KIB
    wire.say(said)
    assert read(wire, len(said), piece * KIB) == said
    assert max(wire.asked) == most * KIB


def test_nobody_waits_for_the_network_while_others_wait_for_their_turn():
    wire, said = Wire(), bytes(range(256)) * 16 * KIB
    wire.say(said)
    for wire.most in (None, 100_003, 5):
        assert read(wire, 100_000, 256 * KIB) == said[:100_000]
        said = said[100_000:]
    assert not any(wire.turns)


def test_much_is_decrypted_in_a_turn(monkeypatch):
    wire, turns = Wire(), []
    wire.say(bytes(KIB * KIB))
    decrypt = wire.tls._decrypt

    def noted(buffer):
        turns.append((wire.tls._incoming.pending >= 64 * KIB, module._turn.locked()))
        return decrypt(buffer)

    monkeypatch.setattr(wire.tls, "_decrypt", noted)
    read(wire, KIB * KIB, 256 * KIB)
    assert {much for much, _ in turns} == {True, False}
    assert all(much == turn for much, turn in turns)
