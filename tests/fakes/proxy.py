"""An HTTP proxy: CONNECT tunnels and plain-HTTP forwarding, with Basic authentication where it is asked to.

Every host name leads to 127.0.0.1 (to `upstream`, where it is given), so that a client can ask for amazonaws.com.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Proxied:
    """One request to the proxy: `target` is `host:port` of a CONNECT, else the absolute URL."""

    method: str
    target: str
    headers: dict[str, str]
    admitted: bool


class FakeProxy:
    """Starts when it is made; `requests` remembers what it was asked."""

    def __init__(self, auth: tuple[str, str] | None = None, upstream: int | None = None) -> None:
        self._auth = auth
        self._upstream = upstream
        self.requests: list[Proxied] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            self._open.add(client)
            try:
                self._relay(client)
            finally:
                self._open.discard(client)

    def _relay(self, client: socket.socket) -> None:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            more = client.recv(1 << 16)
            if not more:
                return
            data += more
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        method, target, _ = line.split(" ")
        admitted = self._admits(headers.get("proxy-authorization"))
        self.requests.append(Proxied(method, target, headers, admitted))
        if not admitted:
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=fake\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        authority = target if method == "CONNECT" else target.split("/", 3)[2]
        port = self._upstream or int(authority.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as server:
            self._open.add(server)
            try:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    server.sendall(rest)
                else:
                    server.sendall(bytes(data))
                back = threading.Thread(target=_pour, args=(server, client), daemon=True)
                back.start()
                _pour(client, server)
                back.join()
            finally:
                self._open.discard(server)

    def _admits(self, header: str | None) -> bool:
        if self._auth is None:
            return True
        token = base64.b64encode(":".join(self._auth).encode()).decode()
        return header == f"Basic {token}"


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Bytes one way until the end, which is passed on."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
