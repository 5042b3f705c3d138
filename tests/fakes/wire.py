"""A TLS server, and the connection of ours to it: in memory (`Wire`), or over a socket (`Cable`)."""

from __future__ import annotations

import os
import queue
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from s3pull.remote import openssl
from s3pull.remote.tls import AnySession, Bytes, Tls
from s3pull.remote.tlsrecords import MUCH, Reads
from tests.fakes.tls import authority, server_context

#: for what is so only where OpenSSL is asked past Python
tried = pytest.mark.skipif(
    sys.platform != "linux" or not openssl.TRIED[0] <= sys.version_info[:2] <= openssl.TRIED[1],
    reason="elsewhere only Python is asked",
)
versions = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Wire:
    """It gives what was asked for at once, if there is as much (`most`: no more than that), and notes how much that
    was. `version`: of TLS. `over`: nothing comes after what was said. `contexts`: those of an earlier one, which the
    server and our side use again, with a `session`."""

    def __init__(
        self,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        *,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
        session: AnySession | None = None,
    ) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        if contexts is None:
            contexts = server_context(), ssl.create_default_context(cafile=authority()[0])
            contexts[0].minimum_version = contexts[0].maximum_version = version
        self.contexts = contexts
        self._server = contexts[0].wrap_bio(self._in, self._out, server_side=True)
        self.asked: list[int] = []
        self.most: int | None = None
        self.over = False
        self.tls = Tls(self._below(), contexts[1], "localhost", session)
        self.tls.do_handshake()
        self._server.do_handshake()
        self.asked.clear()

    def _below(self) -> Bytes:
        return self

    def deliver(self) -> None:
        """What was said is on its way."""

    def sendall(self, data: bytes) -> None:
        self._in.write(data)
        try:
            self._server.do_handshake()
        except ssl.SSLWantReadError:
            pass

    def say(self, data: bytes) -> None:
        """Records of 16 KiB and one with the rest."""
        while data:
            data = data[self._server.write(data) :]

    def hear(self) -> bytes:
        """What our side has sent."""
        return self._server.read(1 << 20)

    def bye(self) -> None:
        """Say that nothing follows (close_notify)."""
        try:
            self._server.unwrap()
        except ssl.SSLWantReadError:
            pass  # our side does not answer
        self.over = True

    def spoil(self) -> None:
        """One bit of what was said is another one on its way."""
        data = bytearray(self._out.read())
        data[len(data) // 2 + 1000] ^= 1  # not where a record begins
        self._out.write(data)

    def recv_into(self, buffer: memoryview) -> int:
        self.asked.append(len(buffer))
        data = self._out.read(min(len(buffer), self.most or len(buffer)))
        assert data or self.over, "our side waits for what nobody sends"
        buffer[: len(data)] = data
        return len(data)


class Cable(Wire):
    """A thread sends what was said (`most`: so much at a time) once our side reads, through `take` or `read`. Where
    our side waits for what nobody sends it finds the connection closed."""

    _PATIENCE = 20  # seconds

    def __init__(self, *arguments: Any, **options: Any) -> None:
        ours, self._theirs = socket.socketpair()
        self.plug = _Plug(self, ours.detach())
        self._sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        #: whether our side waited for what nobody sent: a test that sees an end because of that is wrong
        self.given_up = threading.Event()
        threading.Thread(
            target=_send, args=(self._theirs, self._sent, self._PATIENCE, self.given_up), daemon=True
        ).start()
        super().__init__(*arguments, **options)

    def _below(self) -> Bytes:
        return self.plug

    def deliver(self) -> None:
        data = self._out.read()
        step = self.most or len(data)
        for at in range(0, len(data), step or 1):
            self._sent.put(data[at : at + step])
        if self.over:
            self.end()

    def end(self) -> None:
        """The other side closes the connection behind what was sent."""
        self._sent.put(None)


def _send(
    theirs: socket.socket, sent: queue.SimpleQueue[bytes | None], patience: float, given_up: threading.Event
) -> None:
    with theirs:
        try:
            while data := sent.get(timeout=patience):
                theirs.sendall(data)
        except queue.Empty:
            given_up.set()
        except OSError:
            pass


class _Plug(socket.socket):
    """Our end of a cable. What Python sends and reads goes by it, what OpenSSL reads itself does not."""

    def __init__(self, cable: Cable, fd: int) -> None:
        super().__init__(fileno=fd)
        self._cable = cable

    def __del__(self) -> None:
        self._cable.end()
        self.close()

    def sendall(self, data: bytes, *_: Any) -> None:  # type: ignore[override]
        self._cable.sendall(data)

    def recv_into(self, buffer: memoryview, *_: Any) -> int:  # type: ignore[override]
        self._cable.asked.append(len(buffer))
        self._cable.deliver()
        return super().recv_into(buffer)


def take(wire: Wire, buffer: memoryview) -> int:
    """Read into `buffer`, of which every byte was said, or will be."""
    wire.deliver()
    count = wire.tls.much_into(buffer)
    assert not (isinstance(wire, Cable) and wire.given_up.is_set()), "our side waited for what nobody sent"
    return count


def read(wire: Wire, size: int, piece: int) -> bytes:
    """All that was said, in pieces; what was read into is not what the next piece finds."""
    said, buffer = bytearray(), memoryview(bytearray(piece))
    while len(said) < size:
        count = take(wire, buffer[: size - len(said)])
        assert count
        said += buffer[:count]
    return bytes(said)


def flood(wire: Wire) -> type[Reads]:
    """So much comes that many records are read at once, where that can be; what reads them then."""
    wire.say(bytes(4 * MUCH))
    assert read(wire, 4 * MUCH, MUCH) == bytes(4 * MUCH)
    return type(wire.tls._reads)


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Tunnel(Wire):
    """A proxy that speaks TLS itself: `inner` is our connection through it, to a server that says what it is told."""

    def __init__(self) -> None:
        self._there, self._back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._beyond: ssl.SSLObject | None = None
        super().__init__()
        self._beyond = server_context().wrap_bio(self._there, self._back, server_side=True)
        self.inner = Tls(self.tls, ssl.create_default_context(cafile=authority()[0]), "localhost")
        self.inner.do_handshake()
        self._pass_on()

    def tell(self, data: bytes, *, batch: int = 1 << 20) -> None:
        """The server says it in records of 16 KiB; the proxy puts so many bytes of them at a time into its own."""
        assert self._beyond is not None
        while data:
            data = data[self._beyond.write(data[:16384]) :]
        while held := self._back.read(batch):
            self.say(held)

    def recv_into(self, buffer: memoryview) -> int:
        if self._beyond is not None:
            self._pass_on()
        return super().recv_into(buffer)

    def _pass_on(self) -> None:
        assert self._beyond is not None
        try:
            while True:
                self._there.write(self.hear())
        except ssl.SSLWantReadError:
            pass
        try:
            self._beyond.do_handshake()
        except ssl.SSLWantReadError:
            pass
        if held := self._back.read():
            self.say(held)
