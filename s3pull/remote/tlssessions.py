"""TLS sessions as OpenSSL copies them.

The session of one connection makes the handshakes of others short. Each needs a copy: a connection that ends by an
error spoils the session that it has for all (https://docs.openssl.org/3.0/man3/SSL_set_shutdown/). Up to 3.13.0 Python
copies it when it is taken over and when it is used, by writing it out and reading it again, certificates and all: 0.3
ms of CPU, where the short handshake takes 0.6 without. Later ones share it
(https://github.com/python/cpython/issues/116810). OpenSSL's own copy takes no time
(https://docs.openssl.org/3.0/man3/SSL_SESSION_dup/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3pull.remote.openssl import Native

if TYPE_CHECKING:
    import ctypes


class Session:
    """A session that nobody else has, of a connection that stays as it is. Used by any thread."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, native: Native) -> None:
        library, connection = native
        self._library = library
        shared = library.SSL_get1_session(connection)
        self._pointer = _copy(library, shared)
        library.SSL_SESSION_free(shared)

    @property
    def has_ticket(self) -> bool:
        """Whether the other side has given something that a later connection can show."""
        return self._pointer is not None and bool(self._library.SSL_SESSION_has_ticket(self._pointer))

    def take_up(self, native: Native) -> None:
        """Let another connection of the same context begin with it. One that cannot has a whole handshake."""
        library, connection = native
        copy = _copy(library, self._pointer)
        if copy is not None:
            if not library.SSL_set_session(connection, copy):
                library.ERR_clear_error()
            library.SSL_SESSION_free(copy)

    def __del__(self) -> None:
        if hasattr(self, "_pointer"):
            self._library.SSL_SESSION_free(self._pointer)


def _copy(library: ctypes.CDLL, session: int | None) -> int | None:
    """None of none, and where there is no memory for it. No error is left for whoever asks OpenSSL next."""
    if session is None:
        return None
    copy: int | None = library.SSL_SESSION_dup(session)
    if copy is None:
        library.ERR_clear_error()
    return copy
