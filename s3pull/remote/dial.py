"""Opening a connection: address, proxy tunnel, TLS. Ten seconds for all of it, and stoppable throughout.

A proxy gets the Proxy-Authorization that its URL carries; the endpoint never sees that, and the proxy never sees what
goes through its tunnel. Plain http:// endpoints behind a proxy are asked through it in absolute form, which is the
engine's to write.

This module reuses nothing but TLS sessions; keeping connections is the pool's work.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable

from s3pull.errors import S3pullError, ServiceError, Transient
from s3pull.remote import openssl
from s3pull.remote.addresses import Addresses, AddressInfo
from s3pull.remote.connection import Channel, Connection
from s3pull.remote.heads import Head, parse_head
from s3pull.remote.proxies import Proxy
from s3pull.remote.tls import AnySession, Tls, handshake_error

CONNECT_SECONDS = 10.0
#: with further addresses to try, no single one may use up all the time
_ONE_OF_SEVERAL_SECONDS = 4.0
_POLL_SECONDS = 0.2
#: for which one TLS session is used
_SESSION_SECONDS = 60.0
_IN_PROGRESS = {
    errno.EINPROGRESS,
    errno.EWOULDBLOCK,
    errno.EALREADY,
    getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS),
}


class Dialer:
    """Opens connections to one endpoint. `context` is None for plain http. Shared by threads."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        proxy: Proxy | None,
        proxy_context: Callable[[], ssl.SSLContext],
        *,
        addresses: Addresses | None = None,
        seconds: float = CONNECT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._proxy = proxy
        self._proxy_context = proxy_context
        self._addresses = addresses or (Addresses(proxy.host, proxy.port) if proxy else Addresses(host, port))
        self._peer = f"the proxy {proxy.name}" if proxy else f"{host}:{port}"
        self._seconds = seconds
        self._clock = clock
        self._session: AnySession | None = None
        self._session_until = 0.0
        self._session_lock = threading.Lock()

    def open(self, connection: Connection) -> None:
        """Open `connection`. Raises Transient, ServiceError (a certificate, a proxy that refuses), Cancelled."""
        deadline = self._clock() + self._seconds
        raw = self._connect(connection, deadline)
        raw.settimeout(max(0.1, deadline - self._clock()))
        try:
            channel: Channel = raw
            if self._proxy is not None and self._proxy.tls:
                channel = self._wrap(channel, self._proxy_context(), self._proxy.host, None)
            if self._proxy is not None and self._context is not None:
                self._tunnel(channel, self._proxy)
            if self._context is not None:
                channel = self._wrap(channel, self._context, self._host, self._session)
            raw.settimeout(None)
        except S3pullError:
            connection.check()  # an abort looks like a failed handshake
            raise
        except OSError as error:
            connection.check()
            raise Transient(f"the connection to {self._peer} broke: {error.strerror or error}") from None
        connection.check()
        connection.opened(channel)

    def remember_session(self, connection: Connection) -> None:
        """Keep the TLS session of a connection that has answered: TLS 1.3 sends its tickets after the handshake.

        One that the other side takes up serves for a minute: where Python copies it, that takes half of a handshake.
        Python's own serves until OpenSSL's can be had.
        """
        if self._proxy is not None:
            return
        with self._session_lock:
            own = not isinstance(self._session, ssl.SSLSession) or not openssl.at_hand()
            if own and connection.tls_resumed and self._clock() < self._session_until:
                return
            session = connection.tls_session
            if session is not None and session.has_ticket:
                self._session = session
                self._session_until = self._clock() + _SESSION_SECONDS

    # --- steps ---------------------------------------------------------------------------------------------

    def _connect(self, connection: Connection, deadline: float) -> socket.socket:
        found = self._addresses.find(deadline - self._clock(), connection.check)
        failure = "timed out" if found else "no address"  # where the lookup took all the time
        for number, info in enumerate(found):
            left = deadline - self._clock()
            if left <= 0:
                break
            if number + 1 < len(found):
                left = min(left, _ONE_OF_SEVERAL_SECONDS)
            raw, failure = self._try(connection, info, left)
            if raw is not None:
                return raw
        raise Transient(f"cannot connect to {self._peer}: {failure}")

    def _try(self, connection: Connection, info: AddressInfo, seconds: float) -> tuple[socket.socket | None, str]:
        family, kind, protocol, _, address = info
        try:
            raw = socket.socket(family, kind, protocol)
        except OSError as error:  # no IPv6 here, or no descriptor left
            return None, error.strerror or str(error)
        try:
            connection.adopt(raw)
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = raw.connect_ex(address)
            if code in _IN_PROGRESS:
                code = self._await(connection, raw, seconds)
            if code == 0:
                return raw, ""
            connection.close()
            return None, "timed out" if code == errno.ETIMEDOUT else os.strerror(code)
        except OSError as error:
            connection.close()
            return None, error.strerror or str(error)

    def _await(self, connection: Connection, raw: socket.socket, seconds: float) -> int:
        deadline = self._clock() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(raw, selectors.EVENT_WRITE)
            while True:
                left = deadline - self._clock()
                if left <= 0:
                    return errno.ETIMEDOUT
                ready = selector.select(min(left, _POLL_SECONDS))
                connection.check()
                if ready:
                    return raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _wrap(self, outer: Channel, context: ssl.SSLContext, host: str, session: AnySession | None) -> Tls:
        wrapped = Tls(outer, context, host, session)
        try:
            wrapped.do_handshake()
        except TimeoutError:
            raise Transient(f"no TLS handshake with {host} within {self._seconds:.0f} s") from None
        except OSError as error:
            raise handshake_error(host, error) from None
        return wrapped

    def _tunnel(self, channel: Channel, proxy: Proxy) -> None:
        target = f"[{self._host}]" if ":" in self._host else self._host
        request = f"CONNECT {target}:{self._port} HTTP/1.1\r\nhost: {target}:{self._port}\r\n".encode("ascii")
        if proxy.authorization is not None:
            request += b"proxy-authorization: " + proxy.authorization + b"\r\n"
        channel.sendall(request + b"\r\n")
        head = _tunnel_head(channel, proxy)
        if not 200 <= head.status < 300:
            raise _refused(proxy, head, self._host)


def _tunnel_head(channel: Channel, proxy: Proxy) -> Head:
    """Read exactly the proxy's head: what follows it belongs to the tunnel."""
    buffer = bytearray()
    byte = memoryview(bytearray(1))
    while True:
        if not channel.recv_into(byte):
            raise Transient(f"the proxy {proxy.name} closed the connection without an answer")
        buffer += byte
        if buffer.endswith(b"\r\n\r\n") or len(buffer) % 1024 == 0:
            parsed = parse_head(buffer, 0, len(buffer))
            if parsed is not None:
                return parsed[0]


def _refused(proxy: Proxy, head: Head, host: str) -> ServiceError:
    """A proxy's refusal: 407 is the user's, other 4xx are a policy, 5xx may pass."""
    if head.status == 407:
        return ServiceError(
            f"the proxy {proxy.name} wants other credentials (407)",
            hint="put user:password@ into HTTPS_PROXY, percent-encoded",
            status=407,
        )
    message = f"the proxy {proxy.name} will not connect to {host} ({head.status} {head.reason.decode('latin-1')})"
    if head.status >= 500 or head.status == 429:
        return Transient(message, status=head.status)
    return ServiceError(message, hint="NO_PROXY names the hosts to be reached directly", status=head.status)
