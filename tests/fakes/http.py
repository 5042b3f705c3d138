"""An HTTP/1.1 server of raw sockets and threads, so that it can misbehave at any byte.

It parses requests, keeps connections alive, frames answers and counts what it sent. It knows neither AWS nor
faults: an answer's `wires` (tests/fakes/faults.py) may cut, delay or change its bytes on their way out.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, unquote_plus

from tests.fakes.bodies import Body, Held, chunks

Chunks = Iterator[bytes | memoryview]
Wire = Callable[[Chunks], Chunks]

#: bytes handed to the kernel at once: small enough that `bytes_sent` and a stop are followed closely
PIECE = 256 << 10
LARGEST_HEAD = 64 << 10


class Hangup(Exception):
    """Raised by a wire: what was yielded so far is sent, then the connection ends, by RST or by FIN."""

    def __init__(self, reset: bool) -> None:
        super().__init__("reset" if reset else "closed")
        self.reset = reset


@dataclass
class Request:
    """One parsed request. Header names are lower case; `path` is decoded, `raw_path` as it was sent."""

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    body: bytes
    client_port: int
    secure: bool
    #: names of headers that a fault makes the service overlook, after the signature was checked
    overlook: set[str] = field(default_factory=set)

    def asked(self, name: str) -> str | None:
        return None if name in self.overlook else self.headers.get(name)

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def query_pairs(self) -> list[tuple[str, str]]:
        pairs = (pair.partition("=") for pair in self.raw_query.split("&") if pair)
        return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


@dataclass
class Response:
    """One answer. `length` overrides the announced Content-Length; `framing` is 'length', 'chunked' or 'close'.

    Of `body` the bytes [start, stop) are sent. `raw` replaces the whole answer, head and all, by these bytes and
    a closed connection. `sent` is told how many body bytes went out, as they go.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Body = b""
    start: int = 0
    stop: int | None = None
    length: int | None = None
    framing: str = "length"
    close: bool = False
    preface: bytes = b""
    raw: bytes | None = None
    wires: list[Wire] = field(default_factory=list)
    sent: Callable[[int], None] = lambda count: None

    @property
    def size(self) -> int:
        return (_size(self.body) if self.stop is None else self.stop) - self.start

    def head(self) -> bytes:
        headers = dict(self.headers)
        if self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif self.framing == "length" and self.status != 304:
            headers["Content-Length"] = str(self.size if self.length is None else self.length)
        if self.close or self.framing == "close":
            headers["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return self.preface + f"HTTP/1.1 {self.status} {_phrase(self.status)}\r\n{lines}\r\n".encode("latin-1")

    def pieces(self) -> Chunks:
        body = Held(self.body) if isinstance(self.body, bytes) else self.body
        return self.wired(chunks(body, self.start, self.start + self.size, PIECE))

    def wired(self, flow: Chunks) -> Chunks:
        for wire in self.wires:
            flow = wire(flow)
        return flow


def _size(body: bytes | Body) -> int:
    return len(body) if isinstance(body, bytes) else body.size


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Server:
    """Listens on a free port of 127.0.0.1; `answer` is called from one thread a connection."""

    def __init__(self, answer: Callable[[Request], Response], tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._lock = threading.Lock()
        self._live: dict[threading.Thread, socket.socket] = {}
        self.stopping = threading.Event()
        self.connections = 0
        self.most_at_once = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name=f"fake-aws-{self.port}", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """End every connection and thread; returns when they are gone."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept on Linux
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()  # and elsewhere
        self._acceptor.join(5)
        self._listener.close()
        self.drop_connections()
        for thread in list(self._live):
            thread.join(5)

    def drop_connections(self) -> None:
        """Close every open connection, as a load balancer does with idle ones."""
        with self._lock:
            for sock in self._live.values():
                with contextlib.suppress(OSError):
                    # not SSLSocket.shutdown, which pulls the TLS object from under the thread that uses it
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock, peer[1]), daemon=True)
            with self._lock:
                self._live[thread] = sock
                self.connections += 1
                self.most_at_once = max(self.most_at_once, len(self._live))
            thread.start()

    def _serve(self, sock: socket.socket, client_port: int) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                # the handshake is this thread's, so that a silent client cannot block others
                tls = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._live[threading.current_thread()] = sock = tls
                tls.do_handshake()
            if not self.stopping.is_set():
                self._converse(sock, client_port)
        except (OSError, ValueError, Hangup):
            pass  # a client may go away at any moment, and tests make it
        finally:
            with self._lock:
                self._live.pop(threading.current_thread(), None)
            sock.close()

    def _converse(self, sock: socket.socket, client_port: int) -> None:
        unread = bytearray()
        while (request := self._read(sock, unread, client_port)) is not None:
            try:
                response = self._answered(request)
                keep = self._send(sock, request, response)
            except Hangup as hangup:
                (reset if hangup.reset else finish)(sock)
                return
            if not keep or request.headers.get("connection", "").lower() == "close":
                finish(sock)
                return

    def _answered(self, request: Request) -> Response:
        """A mistake of the fake's own must reach the test, and not look like a client that went away."""
        try:
            return self._answer(request)
        except (Hangup, OSError):
            raise
        except Exception as mistake:
            raise RuntimeError(f"the fake failed at {request.method} {request.raw_path}") from mistake

    def _read(self, sock: socket.socket, unread: bytearray, client_port: int) -> Request | None:
        while (end := unread.find(b"\r\n\r\n")) < 0:
            if len(unread) > LARGEST_HEAD or not _more(sock, unread):
                return None
        lines = unread[:end].decode("latin-1").split("\r\n")
        del unread[: end + 4]
        method, target, _ = lines[0].split(" ")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        if headers.get("expect", "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length", "0"))
        while len(unread) < length:
            if not _more(sock, unread):
                return None
        body = bytes(unread[:length])
        del unread[:length]
        if target.startswith("http://"):  # absolute form: sent to a plain-HTTP proxy
            target = "/" + target.split("/", 3)[3]
        raw_path, _, raw_query = target.partition("?")
        return Request(method, raw_path, raw_query, headers, body, client_port, self._tls is not None)

    def _send(self, sock: socket.socket, request: Request, response: Response) -> bool:
        if response.raw is not None:
            sock.sendall(response.raw)
            return False
        head = response.head()
        bodyless = request.method == "HEAD" or response.status in (204, 304)
        # the wires of an answer without a body still act, on nothing
        pieces = response.wired(iter(())) if bodyless else response.pieces()
        try:
            for piece in pieces:
                # one packet for head and a small body: thousands of small answers depend on it
                response.sent(len(piece))  # before it goes, so that a client which has it all finds it counted
                sock.sendall(head + framed(piece, response.framing) if head else framed(piece, response.framing))
                head = b""
        except Hangup:
            if head:
                sock.sendall(head)
            raise
        if not bodyless and response.framing == "chunked":
            head += b"0\r\n\r\n"
        if head:
            sock.sendall(head)
        return not response.close and response.framing != "close"


def framed(piece: bytes | memoryview, framing: str) -> bytes | memoryview:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" and piece else piece


def _more(sock: socket.socket, unread: bytearray) -> bool:
    data = sock.recv(1 << 16)
    unread += data
    return bool(data)


def finish(sock: socket.socket) -> None:
    """End a connection in order: close_notify where there is TLS, then FIN."""
    if isinstance(sock, ssl.SSLSocket):
        sock.settimeout(0.2)
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """End a connection by RST, after what was sent has reached the peer's kernel."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl
        import termios

        give_up = time.monotonic() + 1
        while time.monotonic() < give_up:
            if not any(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")):
                break
            time.sleep(0.001)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
