"""The records of a TLS connection, decrypted: one by one, as Python does it, or many in one call of OpenSSL.

Python gives its lock away for each record of 16 KiB and takes it back afterwards, which costs more than the decrypting
once several threads stream. OpenSSL's `BIO_f_buffer` reads from what is below it until there is no more room, and what
is below it can be a TLS connection (`BIO_f_ssl`), which in turn can read from the socket by itself: one call, without
Python's lock, for some hundred KiB of a body (https://docs.openssl.org/3.0/man3/BIO_f_buffer/,
https://docs.openssl.org/3.0/man3/BIO_f_ssl/, https://docs.openssl.org/3.0/man3/SSL_CTX_set_read_ahead/).

Which connections can be read so `openssl` knows.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from typing import Protocol

from s3pull.remote.openssl import Native

#: <openssl/bio.h> and <openssl/ssl.h>
_BIO_NOCLOSE = 0
_BIO_C_SET_SSL = 109
_SSL_CTRL_MODE, _SSL_CTRL_CLEAR_MODE = 33, 78
_SSL_MODE_RELEASE_BUFFERS = 0x10
#: bytes that are worth to ask OpenSSL for at once, or to wait for a turn
MUCH = 64 * 1024
#: What OpenSSL reads from the socket at once. It stays in the processor's nearest caches until it is decrypted: 256 KiB
#: at once took a tenth more CPU.
_FROM_SOCKET = 64 * 1024
#: what is waited for in one call; more than `BIO_f_buffer` would put into a buffer of its own (4 KiB)
_LEAST, _MOST = 16 * 1024, 128 * 1024
#: seconds: who waits longer asks for less the next time, so that little is under way when it ends
_LONG = 0.1
_RECORD = 16 * 1024
#: no failure: nothing is there yet, or a signal came
_PASSING = (errno.EINTR, errno.EAGAIN)

#: Where each record is a call that gives the GIL away one thread with much to decrypt does it at a time, and the
#: others wait here, not for the GIL, which they would be handed after each record.
_turn = threading.Lock()


class Reads(Protocol):
    """The reading side of one connection. One thread at a time."""

    def read(self, buffer: memoryview) -> int:
        """Decrypt into `buffer`, which is never empty, as much as there is room for; how many bytes.

        0 at the connection's end, -1 where something has to arrive first. Raises OSError (ssl.SSLError is one).
        """
        ...

    def arrived(self, data: memoryview) -> None:
        """What came from the network after `read` has said -1. It may change once `read` was called again."""
        ...

    def ended(self) -> None:
        """Nothing more will arrive; `read` says whether it should have."""
        ...

    def surplus(self) -> bool:
        """Whether there are bytes that were not asked for, decrypted or not. Raises OSError as `read` does."""
        ...


def inside(connection: ssl.SSLObject) -> ssl.SSLObject:
    """What `connection` hands its calls on to, each by a call more; itself where it has nothing inside."""
    found: ssl.SSLObject = getattr(connection, "_sslobj", connection)
    return found


class OneByOne:
    """As Python reads: a call for each record."""

    __slots__ = ("_connection", "_ended", "_incoming")

    def __init__(self, connection: ssl.SSLObject, incoming: ssl.MemoryBIO) -> None:
        self._connection = inside(connection)
        self._incoming = incoming
        self._ended = False

    def read(self, buffer: memoryview) -> int:
        waiting = self._incoming.pending
        if not waiting and not self._ended and not self._connection.pending():
            return -1  # an exception would say so, too, and cost more
        if waiting < MUCH:
            return self.next(buffer)
        with _turn:
            return self.next(buffer)

    def next(self, buffer: memoryview) -> int:
        """`read`, without a look at what there is first."""
        read, incoming = self._connection.read, self._incoming
        count, size = 0, len(buffer)
        while True:
            try:
                got = read(size - count, buffer[count:])  # type: ignore[arg-type, unused-ignore]
            except ssl.SSLWantReadError:
                return count or -1
            except ssl.SSLEOFError:
                return count
            else:
                count += got  # type: ignore[operator, unused-ignore]  # a number: it has a buffer
                if not got or count == size or not incoming.pending:
                    return count

    def arrived(self, data: memoryview) -> None:
        self._incoming.write(data)

    def ended(self) -> None:
        self._incoming.write_eof()
        self._ended = True

    def surplus(self) -> bool:
        return bool(self._connection.pending() or self._incoming.pending) and self.next(memoryview(bytearray(1))) != 0


class ManyAtOnce:
    """As OpenSSL reads by itself, for a connection over a socket. What goes wrong Python explains.

    Until the first `much` it is as Python reads, then Python's memory is read to its end, and then the socket.
    """

    __slots__ = (
        "_bio",
        "_ended",
        "_errno",
        "_failed",
        "_library",
        "_own",
        "_pointer",
        "_python",
        "_raw",
        "_reference",
        "_socket",
        "_start",
        "_step",
    )

    def __init__(self, native: Native, python: OneByOne, raw: socket.socket) -> None:
        import ctypes

        self._library, self._pointer = native
        self._python, self._raw = python, raw  # which keeps the connection
        self._start, self._reference, self._errno = ctypes.c_char.from_buffer, ctypes.byref, ctypes.get_errno
        #: where OpenSSL reads from when Python does, and where else: None as long as that is not so
        self._own: int = self._library.SSL_get_rbio(self._pointer)
        self._socket: int | None = None
        #: what reads many records; None as long as OpenSSL's own buffer is not as it should be for that
        self._bio: int | None = None
        self._step = _FROM_SOCKET
        self._ended = False
        self._failed: OSError | None = None

    def read(self, buffer: memoryview) -> int:
        """See `Reads.read`; from the socket it waits by itself."""
        if self._socket is None:
            return self._python.read(buffer)
        if self._failed is not None:
            raise self._failed
        count = 0 if self._ended else self._python.next(buffer)
        while count < 0:  # a signal came
            count = self._python.next(buffer)
        self._ended = not count
        return count

    def much(self, buffer: memoryview) -> int:
        """Wait for a good part of `buffer`, which has room for `MUCH` and all of which is yet to come; how many bytes
        there are. 0 at the connection's end. Raises OSError.
        """
        if self._bio is None:
            return self._first(buffer)
        if self._ended or self._failed is not None:
            return self.read(buffer)
        library, size = self._library, min(len(buffer), self._step)
        began = time.monotonic()
        library.ERR_clear_error()  # what others left would be taken for this connection's
        count: int = library.BIO_read(self._bio, self._reference(self._start(buffer)), size)
        if count < size:
            return self._short(buffer, count)
        self._step = next_step(self._step, size, time.monotonic() - began)
        return count

    def _first(self, buffer: memoryview) -> int:
        """What lies in Python's memory, then a record from the socket; many can be read at once when that is done.

        OpenSSL's buffer has room for one record. It is given back when it is empty, because Python wants that so, and
        the next one may be larger (before OpenSSL 3.2: later ones stay as they are, which costs a call for each
        record).
        """
        library, pointer = self._library, self._pointer
        if self._socket is None:
            count = self._python.next(buffer)
            if count >= 0:
                return count
            self._socket = library.BIO_new_socket(self._raw.fileno(), _BIO_NOCLOSE)
            library.SSL_set0_rbio(pointer, self._socket)
            library.SSL_set_default_read_buffer_len(pointer, _FROM_SOCKET)
        count = self.read(buffer[:_RECORD])
        if count and not library.SSL_has_pending(pointer):
            library.SSL_set_read_ahead(pointer, 1)
            library.SSL_ctrl(pointer, _SSL_CTRL_CLEAR_MODE, _SSL_MODE_RELEASE_BUFFERS, None)
            library.SSL_ctrl(pointer, _SSL_CTRL_MODE, 0, None)  # since 3.2 this is what tells whoever has the buffer
            below = library.BIO_new(library.BIO_f_ssl())
            library.BIO_ctrl(below, _BIO_C_SET_SSL, _BIO_NOCLOSE, pointer)
            self._bio = library.BIO_push(library.BIO_new(library.BIO_f_buffer()), below)
        return count

    def _short(self, buffer: memoryview, count: int) -> int:
        """Less came than was waited for: a signal, the end, or something is wrong, of which the next `read` is told."""
        code = self._errno()
        if self._library.ERR_peek_error():
            self._explain()
        elif code and code not in _PASSING:
            self._failed = OSError(code, os.strerror(code))
        return count if count > 0 else self.read(buffer)

    def _explain(self) -> None:
        """Ask Python what OpenSSL's errors mean, which are those of this connection and not of the next one here."""
        try:
            if self._python.next(memoryview(bytearray(1))):
                self._failed = ssl.SSLError("the TLS of this connection failed")
            else:
                self._ended = True
        except OSError as error:
            self._failed = error
        finally:
            self._library.ERR_clear_error()

    @property
    def from_socket(self) -> bool:
        """Whether OpenSSL reads by itself: then more may have arrived than was read."""
        return self._socket is not None

    @property
    def came(self) -> int:
        """Bytes that OpenSSL has read from the socket by itself, also while it reads; any thread may ask."""
        return 0 if self._socket is None else int(self._library.BIO_number_read(self._socket))

    def arrived(self, data: memoryview) -> None:
        self._python.arrived(data)

    def ended(self) -> None:
        self._python.ended()

    def surplus(self) -> bool:
        """See `Reads.surplus`: of what was read ahead, or has arrived in the socket."""
        library, pointer = self._library, self._pointer
        if self._socket is None:
            return self._python.surplus()
        try:
            data = self._raw.recv(_RECORD, socket.MSG_DONTWAIT)
        except OSError:  # there is nothing; or what went wrong concerns who asks next
            data = b""
        if not data and not library.SSL_has_pending(pointer):
            return False
        # it may be a part of a record, the rest of which is not waited for: read from Python's memory, which is empty
        library.BIO_up_ref(self._socket)
        library.BIO_up_ref(self._own)
        library.SSL_set0_rbio(pointer, self._own)
        try:
            self._python.arrived(memoryview(data))
            count = self._python.next(memoryview(bytearray(1)))
        finally:
            library.SSL_set0_rbio(pointer, self._socket)
        return count > 0 or (count < 0 and bool(library.SSL_has_pending(pointer)))

    def __del__(self) -> None:
        if getattr(self, "_bio", None) is not None:
            self._library.ERR_set_mark()  # this thread may have errors of another connection to tell
            self._library.BIO_free_all(self._bio)  # it says goodbye to the other side, which may be too late
            self._library.ERR_pop_to_mark()


def next_step(step: int, size: int, seconds: float) -> int:
    """How many bytes to wait for in one call, after `size` of at most `step` took so many seconds."""
    if seconds > _LONG:
        return max(_LEAST, size // 2)
    return min(_MOST, step * 2) if size == step and seconds < _LONG / 8 else step
