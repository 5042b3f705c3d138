"""TLS sessions as OpenSSL copies them.

The session of one connection makes the handshakes of others short. There has to be a copy for each, because one that
ends without a goodbye spoils its session for the next (https://docs.openssl.org/3.0/man3/SSL_set_shutdown/), and ours
end so. Up to 3.13 Python copies it when it is taken over and when it is used, by writing it out and reading it again,
certificates and all: 0.3 ms of CPU, where the short handshake takes 0.6 without. Since 3.14 it does not copy it at all.
OpenSSL's own copy shares what nobody changes (https://docs.openssl.org/3.0/man3/SSL_SESSION_dup/).
"""

from __future__ import annotations

from s3pull.remote.openssl import Native


class Session:
    """A session that nobody else has, of a connection that stays as it is. Used by any thread."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, native: Native) -> None:
        library, connection = native
        self._library = library
        shared = library.SSL_get1_session(connection)
        self._pointer: int | None = library.SSL_SESSION_dup(shared) if shared else None
        library.SSL_SESSION_free(shared)

    @property
    def has_ticket(self) -> bool:
        """Whether the other side has given something that a later connection can show."""
        return self._pointer is not None and bool(self._library.SSL_SESSION_has_ticket(self._pointer))

    def take_up(self, native: Native) -> None:
        """Let another connection of the same context begin with it. One that cannot has a whole handshake."""
        library, connection = native
        copy = library.SSL_SESSION_dup(self._pointer) if self._pointer else None
        if copy:
            if not library.SSL_set_session(connection, copy):
                library.ERR_clear_error()
            library.SSL_SESSION_free(copy)

    def __del__(self) -> None:
        if hasattr(self, "_pointer"):
            self._library.SSL_SESSION_free(self._pointer)
