"""The OpenSSL below Python's `ssl`, for what Python does not offer, or takes long for.

A connection stays Python's: it made it and verified the other side, it encrypts, and it says what went wrong. Only its
pointer is taken, which CPython keeps behind the first field of the object (`PySSLSocket` in
https://github.com/python/cpython/blob/main/Modules/_ssl.c, the same from 3.8 on). That is no promise of CPython's. So
it is done where it was tried, on Linux with these versions, and OpenSSL is asked first, of each connection, whether it
reads from and writes to the memory that Python gave it. For all others there is Python's own way.
"""

from __future__ import annotations

import os
import ssl
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from s3pull.records import NamedTuple

if TYPE_CHECKING:
    import ctypes

#: the first and the last version of CPython that it was tried with (`tests/remote/test_openssl.py`)
TRIED = ((3, 11), (3, 15))
#: as many bytes of a structure are looked at, at most
_LOOKED_AT = 256

#: a pointer was where it should be, so it is there in all connections
_proven = False


class Native(NamedTuple):
    """One connection as OpenSSL has it, for as long as Python has it."""

    library: ctypes.PyDLL
    pointer: int


def find(connection: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> Native | None:
    """Where OpenSSL has `connection`, which was made over these two; None where that is not to be found."""
    library = _library()
    if library is None:
        return None
    pointer = _pointer(library, connection, incoming, outgoing)
    return None if pointer is None else Native(library, pointer)


def at_hand() -> bool:
    """Whether to `find` costs nothing more. To load ctypes takes 3 ms, and a run may do with one connection."""
    return "ctypes" in sys.modules and _library() is not None


@cache
def _library() -> ctypes.PyDLL | None:
    """The OpenSSL that Python's `ssl` calls."""
    if sys.implementation.name != "cpython" or sys.platform != "linux" or not ssl.OPENSSL_VERSION.startswith("OpenSSL"):
        return None
    if not TRIED[0] <= sys.version_info[:2] <= TRIED[1]:
        return None
    try:
        import _ssl
        import ctypes

        library = ctypes.PyDLL(_ssl.__file__)
        _declare(library, _ssl.__file__)
    except (ImportError, AttributeError, OSError):  # linked into Python, or not all of it is there
        return None
    return library


def _declare(library: Any, path: str) -> None:
    from ctypes import CDLL, c_int, c_long, c_size_t, c_uint64, c_ulong, c_void_p

    # most calls are over before others would have taken up their work: only reading gives Python's lock away
    library.BIO_read = CDLL(path, use_errno=True).BIO_read

    def declare(name: str, result: Any, *arguments: Any) -> None:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments

    declare("BIO_f_ssl", c_void_p)
    declare("BIO_f_buffer", c_void_p)
    declare("BIO_new", c_void_p, c_void_p)
    declare("BIO_new_socket", c_void_p, c_int, c_int)
    declare("BIO_push", c_void_p, c_void_p, c_void_p)
    declare("BIO_ctrl", c_long, c_void_p, c_int, c_long, c_void_p)
    declare("BIO_read", c_int, c_void_p, c_void_p, c_int)
    declare("BIO_number_read", c_uint64, c_void_p)
    declare("BIO_up_ref", c_int, c_void_p)
    declare("BIO_free_all", None, c_void_p)
    declare("ERR_clear_error", None)
    declare("ERR_peek_error", c_ulong)
    declare("ERR_pop_to_mark", c_int)
    declare("ERR_set_mark", c_int)
    declare("SSL_get_rbio", c_void_p, c_void_p)
    declare("SSL_get_wbio", c_void_p, c_void_p)
    declare("SSL_set0_rbio", None, c_void_p, c_void_p)
    declare("SSL_has_pending", c_int, c_void_p)
    declare("SSL_ctrl", c_long, c_void_p, c_int, c_long, c_void_p)
    declare("SSL_set_default_read_buffer_len", None, c_void_p, c_size_t)
    declare("SSL_set_read_ahead", None, c_void_p, c_int)
    declare("SSL_get1_session", c_void_p, c_void_p)
    declare("SSL_set_session", c_int, c_void_p, c_void_p)
    declare("SSL_SESSION_dup", c_void_p, c_void_p)
    declare("SSL_SESSION_free", None, c_void_p)
    declare("SSL_SESSION_has_ticket", c_int, c_void_p)


def _pointer(
    library: ctypes.PyDLL, connection: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> int | None:
    """The pointer itself; None where what stands in its place is another."""
    global _proven
    pointer, reads, writes = _word(getattr(connection, "_sslobj", None), 1), _word(incoming, 0), _word(outgoing, 0)
    if pointer is None or not (_proven or _readable(pointer)):
        return None
    if library.SSL_get_rbio(pointer) != reads or library.SSL_get_wbio(pointer) != writes:
        return None
    _proven = True
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
