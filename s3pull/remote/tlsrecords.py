"""The records of a TLS connection, decrypted: one by one, as Python does it, or many in one call of OpenSSL.

Python gives its lock away for each record of 16 KiB and takes it back afterwards, which costs more than the decrypting
once several threads stream. OpenSSL's `BIO_f_buffer` reads from what is below it until there is no more room, and what
is below it can be a TLS connection (`BIO_f_ssl`): one call, without Python's lock, for all that has arrived, from where
the kernel has put it (https://docs.openssl.org/3.0/man3/BIO_f_buffer/, https://docs.openssl.org/3.0/man3/BIO_f_ssl/).

The connection stays Python's: it made it and verified the other side, it encrypts, and it says what went wrong. Only
its pointer is taken, which CPython keeps behind the first field of the object (`PySSLSocket` in
https://github.com/python/cpython/blob/main/Modules/_ssl.c, the same from 3.8 on). That is no promise of CPython's. So
it is done where it was tried, on Linux with these versions, and OpenSSL is asked first, of each connection, whether it
reads from and writes to the memory that Python gave it. For all others there is Python's own way.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import ctypes

#: the first and the last version of CPython that it was tried with (`tests/remote/test_tlsrecords.py`)
TRIED = ((3, 11), (3, 15))
#: <openssl/bio.h> and <openssl/ssl.h>
_BIO_NOCLOSE = 0
_BIO_CTRL_PENDING = 10
_BIO_C_SET_SSL = 109
_BIO_C_SET_BUF_MEM_EOF_RETURN = 130
#: OpenSSL counts bytes by an int
_AT_ONCE = 1 << 30
#: as many bytes of a structure are looked at, at most
_LOOKED_AT = 256

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


class OneByOne:
    """As Python reads: a call for each record."""

    __slots__ = ("_connection", "_ended", "_incoming")

    def __init__(self, connection: ssl.SSLObject, incoming: ssl.MemoryBIO) -> None:
        self._connection = connection
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

    def __init__(self, library: ctypes.CDLL, pointer: int, python: OneByOne) -> None:
        import ctypes

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


def many_at_once(
    connection: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, python: OneByOne
) -> OneByOne | ManyAtOnce:
    """What reads `connection`, which was made over these two, from now on: `python` still, where it has to be."""
    library = _library()
    pointer = None if library is None else _pointer(library, connection, incoming, outgoing)
    return python if library is None or pointer is None else ManyAtOnce(library, pointer, python)


@cache
def _library() -> ctypes.CDLL | None:
    """The OpenSSL that Python's `ssl` calls."""
    if sys.implementation.name != "cpython" or sys.platform != "linux" or not ssl.OPENSSL_VERSION.startswith("OpenSSL"):
        return None
    if not TRIED[0] <= sys.version_info[:2] <= TRIED[1]:
        return None
    try:
        import _ssl
        import ctypes

        library = ctypes.CDLL(_ssl.__file__)
        _declare(library)
    except (ImportError, AttributeError, OSError):  # linked into Python, or not all of it is there
        return None
    return library


def _declare(library: ctypes.CDLL) -> None:
    from ctypes import c_int, c_long, c_ulong, c_void_p

    def declare(name: str, result: Any, *arguments: Any) -> None:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments

    declare("BIO_f_ssl", c_void_p)
    declare("BIO_f_buffer", c_void_p)
    declare("BIO_new", c_void_p, c_void_p)
    declare("BIO_new_mem_buf", c_void_p, c_void_p, c_int)
    declare("BIO_push", c_void_p, c_void_p, c_void_p)
    declare("BIO_ctrl", c_long, c_void_p, c_int, c_long, c_void_p)
    declare("BIO_read", c_int, c_void_p, c_void_p, c_int)
    declare("BIO_up_ref", c_int, c_void_p)
    declare("BIO_free_all", None, c_void_p)
    declare("ERR_clear_error", None)
    declare("ERR_peek_error", c_ulong)
    declare("SSL_get_rbio", c_void_p, c_void_p)
    declare("SSL_get_wbio", c_void_p, c_void_p)
    declare("SSL_set0_rbio", None, c_void_p, c_void_p)


def _pointer(
    library: ctypes.CDLL, connection: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> int | None:
    """Where OpenSSL has `connection`; None where that is not to be found in the object."""
    pointer, reads, writes = _word(getattr(connection, "_sslobj", None), 1), _word(incoming, 0), _word(outgoing, 0)
    if pointer is None or not _readable(pointer):
        return None
    if library.SSL_get_rbio(pointer) != reads or library.SSL_get_wbio(pointer) != writes:
        return None
    return pointer


def _word(value: object, number: int) -> int | None:
    """A pointer in a Python object: the first one behind its head is number 0."""
    import ctypes

    width = ctypes.sizeof(ctypes.c_void_p)
    at = object.__basicsize__ + number * width
    if at + width > type(value).__basicsize__:
        return None
    return ctypes.c_void_p.from_address(id(value) + at).value


def _readable(address: int) -> bool:
    """Whether there is memory at an address: the kernel is asked to read it, and says so where there is none."""
    import ctypes

    try:
        reader, writer = os.pipe()
    except OSError:  # no descriptor is left
        return False
    try:
        return os.write(writer, (ctypes.c_char * _LOOKED_AT).from_address(address)) == _LOOKED_AT
    except OSError:
        return False
    finally:
        os.close(reader)
        os.close(writer)
