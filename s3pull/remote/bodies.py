"""The bodies of answers: by Content-Length, chunked, or to the end of the connection.

Objects come as a `SocketBody`, which delivers exactly the announced number of bytes; documents (listings, errors) as
bytes by `read_document`. S3 sends documents chunked and objects by length; other servers may chunk objects too, whose
length is then known from the pin or from Content-Range.

Nothing is decoded: a Content-Encoding is part of the object.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Protocol, Self

from s3pull.errors import Transient
from s3pull.objects import RemoteObject
from s3pull.remote.connection import Connection
from s3pull.remote.heads import Head
from s3pull.remote.pool import Pool
from s3pull.remote.ratelimit import RateLimit

_CHUNK_SIZE = rb"(?s)([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?"
_MAX_CHUNK_LINE = 4096
_MAX_TRAILERS = 100


class Source(Protocol):
    """Raw bytes of a body: `Connection` itself, or `Chunked` over it. 0 is the end."""

    def readinto(self, buffer: memoryview) -> int: ...


class Chunked:
    """The chunked coding (RFC 9112, section 7.1) taken off a connection. Trailers are read and dropped."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left = 0
        self._between = False  # the CRLF after a chunk's data is still to come
        self._ended = False

    def readinto(self, buffer: memoryview) -> int:
        if not self._left:
            self._next_chunk()
            if self._ended:
                return 0
        count = self._connection.readinto(buffer[: self._left])
        if not count:
            raise Transient("the connection was closed within a chunk")
        self._left -= count
        return count

    def _next_chunk(self) -> None:
        if self._ended:
            return
        if self._between and self._connection.readline(0):
            raise Transient("malformed answer: a chunk is longer than it says")
        match = re.fullmatch(_CHUNK_SIZE, self._connection.readline(_MAX_CHUNK_LINE))
        if match is None:
            raise Transient("malformed answer: a bad chunk size")
        self._left = int(match[1], 16)
        self._between = True
        if not self._left:
            for _ in range(_MAX_TRAILERS):
                if not self._connection.readline(_MAX_CHUNK_LINE):
                    self._ended = True
                    return
            raise Transient("malformed answer: trailers without end")


class SocketBody:
    """The `Body` of the store contract. It owns the connection until its last byte was read or it is closed."""

    __slots__ = ("_chunked", "_connection", "_keep", "_left", "_limit", "_pool", "_read", "length", "object")

    def __init__(
        self,
        described: RemoteObject,
        length: int,
        connection: Connection,
        pool: Pool,
        head: Head,
        limit: RateLimit | None,
    ) -> None:
        self.object = described
        self.length = length
        self._left = length
        self._pool = pool
        self._limit = limit
        self._keep = head.keeps_alive and (head.length is not None or head.chunked)
        self._chunked = Chunked(connection) if head.chunked else None
        self._connection: Connection | None = connection
        self._read = connection.readinto if self._chunked is None else self._chunked.readinto
        if not length:
            self._finish(connection)

    def readinto(self, buffer: memoryview) -> int:
        """See `Body.readinto`."""
        left = self._left
        if not left:
            return 0
        connection = self._connection
        if connection is None:
            raise Transient("the body is closed")
        if len(buffer) > left:
            buffer = buffer[:left]
        try:
            count = self._read(buffer) if self._limit is None else self._read_limited(buffer, self._limit)
            if not count:
                got = self.length - left
                raise Transient(f"{connection.name} closed the connection after {got} of {self.length} bytes")
            if count == left:
                self._finish(connection)
        except BaseException:
            self.close()
            raise
        self._left = left - count
        return count

    def _read_limited(self, buffer: memoryview, limit: RateLimit) -> int:
        granted = limit.take(len(buffer))
        count = self._read(buffer[:granted])
        if count < granted:
            limit.give_back(granted - count)
        return count

    def _finish(self, connection: Connection) -> None:
        """The announced bytes are there: nothing may follow them."""
        if self._chunked is not None and self._chunked.readinto(memoryview(bytearray(1))):
            raise Transient(f"{connection.name} sent more than the {self.length} bytes of the object")
        if connection.surplus:
            raise Transient(f"{connection.name} sent more than the {self.length} bytes that it announced")
        self._connection = None
        if self._keep:
            self._pool.give(connection)
        else:
            self._pool.drop(connection)

    def close(self) -> None:
        """See `Body.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.drop(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self.close()


def read_document(connection: Connection, head: Head, pool: Pool, limit: int) -> bytes:
    """A whole body of at most `limit` bytes. The connection goes back to the pool, or is closed where that is not safe.

    Raises Transient for a body that is longer, or shorter than announced.
    """
    try:
        if head.length is not None and head.length > limit:
            raise Transient(f"{connection.name} sends a document of {head.length} bytes where one has at most {limit}")
        source: Source = Chunked(connection) if head.chunked else connection
        wanted = head.length
        document = bytearray()
        buffer = memoryview(bytearray(64 * 1024))
        while wanted is None or len(document) < wanted:
            count = source.readinto(buffer if wanted is None else buffer[: wanted - len(document)])
            if not count:
                break
            document += buffer[:count]
            if len(document) > limit:
                raise Transient(f"{connection.name} sends a document of more than {limit} bytes")
        if wanted is not None and len(document) < wanted:
            raise Transient(f"{connection.name} closed the connection after {len(document)} of {wanted} bytes")
        keep = head.keeps_alive and (wanted is not None or head.chunked) and not connection.surplus
    except BaseException:
        pool.drop(connection)
        raise
    if keep:
        pool.give(connection)
    else:
        pool.drop(connection)
    return bytes(document)
