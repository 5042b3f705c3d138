"""The records of a TLS connection, decrypted: one by one, as Python does it, or many in one call of OpenSSL.

Python gives its lock away for each record of 16 KiB and takes it back afterwards, which costs more than the decrypting
once several threads stream. OpenSSL's `BIO_f_buffer` reads from what is below it until there is no more room, and what
is below it can be a TLS connection (`BIO_f_ssl`): one call, without Python's lock, for all that has arrived, from where
the kernel has put it (https://docs.openssl.org/3.0/man3/BIO_f_buffer/, https://docs.openssl.org/3.0/man3/BIO_f_ssl/).

Which connections can be read so `openssl` knows.
"""

from __future__ import annotations

import ssl
import threading
from typing import Protocol

from s3pull.remote.openssl import Native

#: <openssl/bio.h> and <openssl/ssl.h>
_BIO_NOCLOSE = 0
_BIO_CTRL_PENDING = 10
_BIO_C_SET_SSL = 109
_BIO_C_SET_BUF_MEM_EOF_RETURN = 130
#: OpenSSL counts bytes by an int
_AT_ONCE = 1 << 30
#: bytes that are worth to ask OpenSSL for at once, or to wait for a turn
MUCH = 64 * 1024

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

    def pending(self) -> bool:
        """Whether there are bytes that were not asked for, decrypted or not."""
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

    def pending(self) -> bool:
        return self._connection.pending() + self._incoming.pending > 0


class ManyAtOnce:
    """As OpenSSL reads, for a connection over which much comes. Why there is nothing to read Python explains."""

    __slots__ = (
        "_arrived",
        "_bio",
        "_failed",
        "_library",
        "_memory",
        "_own",
        "_pointer",
        "_python",
        "_read",
        "_reference",
        "_start",
    )

    def __init__(self, native: Native, python: OneByOne) -> None:
        import ctypes

        library, pointer = native
        self._library, self._read = library, library.BIO_read
        self._start, self._reference = ctypes.c_char.from_buffer, ctypes.byref
        self._pointer, self._python = pointer, python  # which keeps the connection
        #: where OpenSSL reads from when Python does, and where else: what `arrived` was given, and its view of that
        self._own = library.SSL_get_rbio(pointer)
        self._arrived: memoryview | None = None
        self._memory: int | None = None
        self._failed: OSError | None = None
        below = library.BIO_new(library.BIO_f_ssl())
        library.BIO_ctrl(below, _BIO_C_SET_SSL, _BIO_NOCLOSE, pointer)
        self._bio = library.BIO_push(library.BIO_new(library.BIO_f_buffer()), below)

    def read(self, buffer: memoryview) -> int:
        if self._failed is not None:
            raise self._failed
        if len(buffer) > _AT_ONCE:
            buffer = buffer[:_AT_ONCE]
        count: int = self._read(self._bio, self._reference(self._start(buffer)), len(buffer))
        if count <= 0:
            return self._python.next(buffer)
        if count < len(buffer):
            if self._library.ERR_peek_error():
                self._failed = self._failure()
        elif self._arrived is not None:
            self._keep_rest(self._arrived)
        return count

    def _failure(self) -> OSError:
        """What went wrong behind the bytes that were read: the next `read` is told, not what this thread reads next."""
        try:
            self._python.next(memoryview(bytearray(1)))
        except OSError as error:
            return error
        finally:
            self._library.ERR_clear_error()
        return ssl.SSLError("the TLS of this connection failed")

    def arrived(self, data: memoryview) -> None:
        library = self._library
        memory = library.BIO_new_mem_buf(self._reference(self._start(data)), len(data))
        library.BIO_ctrl(memory, _BIO_C_SET_BUF_MEM_EOF_RETURN, -1, None)  # its end is not the connection's
        library.SSL_set0_rbio(self._pointer, memory)
        self._arrived, self._memory = data, memory

    def _keep_rest(self, data: memoryview) -> None:
        """There was no room for all of `data`, whose memory is its owner's again: what is left is copied."""
        left = self._library.BIO_ctrl(self._memory, _BIO_CTRL_PENDING, 0, None)
        if left:
            self.arrived(memoryview(bytearray(data[len(data) - left :])))
        else:
            self._arrived = None

    def ended(self) -> None:
        self._library.BIO_up_ref(self._own)
        self._library.SSL_set0_rbio(self._pointer, self._own)
        self._arrived = self._memory = None
        self._python.ended()

    def pending(self) -> bool:
        return bool(self._library.BIO_ctrl(self._bio, _BIO_CTRL_PENDING, 0, None))

    def __del__(self) -> None:
        if hasattr(self, "_bio"):
            self._library.BIO_free_all(self._bio)
            self._library.ERR_clear_error()  # it says goodbye to the other side, which may be too late
