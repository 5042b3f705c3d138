"""One socket: a request goes out, a head comes in, bytes go into the caller's buffer. Used by one thread at a time.

The socket blocks without a timeout, because a timeout would cost a `poll` before every read. Silence is policed from
outside instead: `beat` is odd while a read or write is under way and changes with each of them, and the pool's
watchdog calls `abort` on a connection whose beat has been the same odd number for too long, with nothing coming
meanwhile. `abort` shuts the socket down, which wakes whoever is blocked in it, and leaves behind why; the woken thread
raises that.

Foreign errors (OSError, ssl) end here: everything above sees `Transient`, `Cancelled` and final `ServiceError`s.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Protocol

from s3pull.errors import S3pullError, Transient
from s3pull.remote.heads import Head, parse_head
from s3pull.remote.tls import AnySession, Tls

#: One TLS record. Most heads and small objects come in one read; a longer head makes the buffer grow.
_BUFFER = 16 * 1024
_LARGEST_BUFFER = 128 * 1024
_MAX_INTERIM = 16


class Channel(Protocol):
    """What a connection needs of a socket: `socket.socket` and `tls.Tls` fit."""

    def recv_into(self, buffer: memoryview, /) -> int: ...

    def sendall(self, data: bytes, /) -> None: ...


class DiedIdle(Transient):
    """A kept-alive connection was closed by the other side before it answered.

    Nobody's failure: the same is asked again on a new one.
    """


class Connection:
    """Made by the pool, opened by `remote.dial`. `name` is the peer, for messages."""

    __slots__ = (
        "_buffer",
        "_channel",
        "_drained",
        "_lock",
        "_much",
        "_receive",
        "_reused",
        "_socket",
        "_start",
        "_stop",
        "_view",
        "beat",
        "idle_since",
        "lain",
        "name",
        "seen",
        "served",
        "verdict",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.beat = 0
        #: the watchdog's: the pulse it saw last, and since when
        self.seen: tuple[tuple[int, int], float] = ((0, 0), 0.0)
        self.idle_since = 0.0
        self.served = 0  # answers read to their end
        self.lain = False  # was idle before its first request
        self.verdict: S3pullError | None = None  # why it was aborted
        self._reused = False
        self._drained = True  # the last read got less than it had room for: nothing else had arrived
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._channel: Channel | None = None
        #: what there is, for a head; and for a body, of which as much as there is room for will come
        self._receive: Callable[[memoryview], int] = _closed
        self._much: Callable[[memoryview], int] = _closed
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._stop = 0

    # --- opening and ending --------------------------------------------------------------------------------

    def adopt(self, raw: socket.socket) -> None:
        """Take charge of a socket while it is being opened; `abort` reaches it from now on.

        Raises where that has happened.
        """
        with self._lock:
            self._socket = raw
        self.check()

    def opened(self, channel: Channel) -> None:
        """The channel over the adopted socket is ready for requests."""
        self._channel = channel
        self._receive = channel.recv_into
        self._much = channel.much_into if isinstance(channel, Tls) else channel.recv_into

    def check(self) -> None:
        """Raise why this connection was aborted, if it was."""
        if self.verdict is not None:
            raise self.verdict

    def abort(self, why: S3pullError) -> None:
        """End this connection under whoever uses it, from any thread; that one raises `why`."""
        with self._lock:  # `close` may not give the descriptor to somebody else between look and shutdown
            if self.verdict is None:
                self.verdict = why
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # not connected yet, or no longer

    def close(self) -> None:
        with self._lock:
            raw, self._socket = self._socket, None
            self._channel = None
            self._receive = self._much = _closed
            if raw is not None:
                try:
                    raw.close()
                except OSError:
                    pass  # a reset that close() reports: the bytes were counted already

    @property
    def pulse(self) -> tuple[int, int]:
        """What changes while something comes or goes: the beat, and what has come within one."""
        channel = self._channel
        return self.beat, channel.came if isinstance(channel, Tls) else 0

    @property
    def tls_session(self) -> AnySession | None:
        return self._channel.session if isinstance(self._channel, Tls) else None

    @property
    def tls_resumed(self) -> bool:
        """Whether it was opened with the TLS session of an earlier one."""
        return isinstance(self._channel, Tls) and self._channel.session_reused

    # --- one exchange --------------------------------------------------------------------------------------

    def ask(self, request: bytes) -> Head:
        """Send a request and read the head of its answer. Raises DiedIdle, Transient, Cancelled."""
        self.send(request)
        return self.hear()

    def send(self, request: bytes) -> None:
        """Send a request; `hear` has its answer. Raises DiedIdle, Transient, Cancelled."""
        self._reused = self.served > 0 or self.lain
        self._start = self._stop = 0
        channel = self._channel
        self.beat += 1
        try:
            if channel is None:
                raise BrokenPipeError("the connection is closed")
            channel.sendall(request)
        except OSError as error:
            raise self._broken(error) from None
        finally:
            self.beat += 1

    def hear(self) -> Head:
        """Read the head of the answer; interim (1xx) answers are passed over.

        Raises DiedIdle where a kept-alive connection turns out to be closed, Transient, Cancelled.
        """
        interim = 0
        while interim < _MAX_INTERIM:
            if self._stop > self._start:
                self._reused = False  # it does answer: what goes wrong from here on is a failure
                parsed = parse_head(self._buffer, self._start, self._stop)
                if parsed is not None:
                    head, self._start = parsed
                    if head.status >= 200:
                        return head
                    interim += 1
                    continue
            if not self._more():
                raise self._broken(None)
        raise Transient(f"{self.name} sends interim answers without end")

    def _more(self) -> int:
        """Read what comes next behind the buffered bytes; 0 at the end of the stream."""
        if self._start == self._stop:
            self._start = self._stop = 0
        elif self._stop == len(self._buffer):
            self._make_room()
        count = self._read(self._view[self._stop :] if self._stop else self._view, self._receive)
        self._stop += count
        return count

    def _make_room(self) -> None:
        held = self._buffer[self._start : self._stop]
        size = len(self._buffer)
        if len(held) > size // 2:
            size = min(_LARGEST_BUFFER, size * 2)
        if len(held) == size:
            raise Transient(f"malformed answer: {self.name} sends a line longer than {size} bytes")
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._view[: len(held)] = held
        self._start, self._stop = 0, len(held)

    def readinto(self, buffer: memoryview) -> int:
        """Read some bytes of the body, those that came with the head first; 0 at the end of the stream.

        All of `buffer` belongs to the body: over TLS a good part of it may be waited for.
        """
        if self.verdict is not None:
            raise self.verdict
        held = self._stop - self._start
        if held:
            count = min(held, len(buffer))
            buffer[:count] = self._view[self._start : self._start + count]
            self._start += count
            return count
        return self._read(buffer, self._much)

    def readline(self, limit: int) -> bytes:
        """A line of the chunked coding without its CRLF.

        Raises Transient where it is longer than `limit` or never ends.
        """
        while True:
            end = self._buffer.find(b"\r\n", self._start, self._stop)
            if end - self._start > limit or (end < 0 and self._stop - self._start > limit + 1):
                raise Transient(f"malformed answer: {self.name} sends an overlong line in a chunked body")
            if end >= 0:
                line = bytes(self._view[self._start : end])
                self._start = end + 2
                return line
            if not self._more():
                raise self._broken(None)

    @property
    def surplus(self) -> bool:
        """True where bytes lie ready beyond the end of the answer: it was longer than it announced."""
        if self._stop > self._start:
            return True
        channel = self._channel
        if isinstance(channel, Tls):
            return not (self._drained and channel.reads_all) and channel.surplus()
        return not self._drained and isinstance(channel, socket.socket) and _readable(channel)

    def _read(self, buffer: memoryview, receive: Callable[[memoryview], int]) -> int:
        self.beat += 1
        try:
            count = receive(buffer)
        except OSError as error:
            raise self._broken(error) from None
        finally:
            self.beat += 1
        if not count:
            self.check()
        self._drained = count < len(buffer)
        return count

    def _broken(self, error: OSError | None) -> S3pullError:
        """Why reading or writing came to nothing: the one who aborted says, else the socket."""
        if self.verdict is not None:
            return self.verdict
        if self._reused:
            return DiedIdle(f"{self.name} closed the connection while it was idle")
        if error is None:
            return Transient(f"{self.name} closed the connection in the middle of an answer")
        return Transient(f"the connection to {self.name} broke: {error.strerror or error}")


def _closed(_: memoryview) -> int:
    raise BrokenPipeError("the connection is closed")


def _readable(raw: socket.socket) -> bool:
    """True where a plain socket has bytes ready (its end counts as none)."""
    dontwait = getattr(socket, "MSG_DONTWAIT", None)
    try:
        if dontwait is not None:
            return bool(raw.recv(1, socket.MSG_PEEK | dontwait))
        raw.setblocking(False)
        try:
            return bool(raw.recv(1, socket.MSG_PEEK))
        finally:
            raw.setblocking(True)
    except OSError:
        return False
