"""TLS: whom we trust, how a handshake failure is told, and TLS itself, over sockets and over the TLS of proxies.

Trusted is what AWS_CA_BUNDLE names, else the profile's ca_bundle, else the system's store. Where the system has none
(some containers and some builds of Python) the bundle that botocore ships is used, as botocore itself does; it is
found without importing botocore.

A certificate that does not verify is final at once: no retry makes it valid.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from s3pull.errors import ServiceError, Transient, UsageError
from s3pull.remote import openssl
from s3pull.remote.tlsrecords import MUCH, ManyAtOnce, OneByOne, Reads, inside
from s3pull.remote.tlssessions import Session


def make_context(ca_bundle: str | None, environ: Mapping[str, str]) -> ssl.SSLContext:
    """The one context of a store. `ca_bundle` is the profile's. Raises UsageError for a bundle that cannot be read."""
    context = _trusting(environ.get("AWS_CA_BUNDLE") or ca_bundle)
    # whoever reads does not write: no server begins anew in the middle of an answer (TLS 1.2, and S3 does not)
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _trusting(bundle: str | None) -> ssl.SSLContext:
    if bundle:
        path = Path(bundle).expanduser()
        try:
            if path.is_dir():
                return ssl.create_default_context(capath=str(path))
            return ssl.create_default_context(cafile=str(path))
        except OSError as error:  # ssl.SSLError is one
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"cannot read the CA bundle {bundle}: {reason}",
                hint="AWS_CA_BUNDLE (or ca_bundle of the profile) names a PEM file of certificates",
            ) from None
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not _has_directory_of_certificates():
        shipped = _botocore_bundle()
        if shipped is not None:
            context.load_verify_locations(cafile=str(shipped))
    return context


def _has_directory_of_certificates() -> bool:
    # OpenSSL reads such a directory as it needs it: the statistics do not count it
    directory = ssl.get_default_verify_paths().capath
    try:
        return directory is not None and any(Path(directory).iterdir())
    except OSError:
        return False


def _botocore_bundle() -> Path | None:
    from importlib.util import find_spec  # which few need, and takes 4 ms to load

    spec = find_spec("botocore")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("cacert.pem")
    return path if path.is_file() else None


def handshake_error(host: str, error: OSError) -> ServiceError:
    """What a failed handshake with `host` means.

    | error                          | is                                          |
    |--------------------------------|---------------------------------------------|
    | the certificate does not verify| ServiceError, final, hint AWS_CA_BUNDLE     |
    | the other side speaks no TLS   | ServiceError, final                         |
    | anything else                  | Transient                                   |
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServiceError(
            f"cannot trust the certificate of {host}: {error.verify_message}",
            hint="behind a TLS-inspecting proxy or with a private CA, set AWS_CA_BUNDLE to its PEM file",
        )
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return ServiceError(f"{host} does not speak TLS", hint="is the endpoint an http:// one?")
    return Transient(f"TLS handshake with {host} failed: {error.strerror or error}")


class Bytes(Protocol):
    """What TLS runs over: a socket, or the TLS to a proxy."""

    def recv_into(self, buffer: memoryview, /) -> int: ...

    def sendall(self, data: bytes, /) -> None: ...


#: what makes a later handshake short: OpenSSL's, or Python's where that is not at hand
AnySession = Session | ssl.SSLSession


class _Rooms(threading.local):
    """Each thread's own; nothing is in it between two calls, nor when TLS over TLS comes to fill it a second time.

    It grows with what is asked for: many threads only open a connection each, and to touch memory is not for nothing.
    """

    _room = memoryview(b"")

    def of(self, size: int) -> memoryview:
        """Room for `size` bytes at least."""
        if len(self._room) < size:
            self._room = memoryview(bytearray(size))
        return self._room


_rooms = _Rooms()


class Tls:
    """TLS over a socket or over another TLS (the one to an https:// proxy), fed by hand.

    `ssl.SSLSocket` makes two system calls for each record of 16 KiB and gives the GIL away at each. Reading what the
    kernel has in one call and decrypting from memory moves twice as much on one core (measured: 620 against 1,340 MB/s
    on one connection), and with several threads most of the hand-overs of the GIL are gone. For a body OpenSSL reads
    the socket itself, many records at once, where that can be done (`tlsrecords`).
    """

    #: what is asked of the kernel at once: enough for the answer to a small GET, doubled each time there was as much,
    #: and no more than twice what the reader takes at once
    _FIRST = 32 * 1024
    _MOST = 512 * 1024

    def __init__(self, outer: Bytes, context: ssl.SSLContext, host: str, session: AnySession | None = None) -> None:
        self._outer = outer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # as text it would go through the codec of international names, which takes 3 ms to load
        name = host.encode("ascii") if host.isascii() else host
        pythons = session if isinstance(session, ssl.SSLSession) else None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=pythons)
        self._write = inside(self._tls).write
        self._native: openssl.Native | None = None
        self._looked = False  # for that
        if isinstance(session, Session) and (native := self._find()) is not None:
            session.take_up(native)
        self._want = self._FIRST
        self._python = OneByOne(self._tls, self._incoming)
        self._reads: Reads = self._python
        self._many: ManyAtOnce | None = None

    def do_handshake(self) -> None:
        """Raises what `handshake_error` knows, and TimeoutError where the socket has a timeout."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._fill()
            else:
                self._flush()
                return

    def recv_into(self, buffer: memoryview) -> int:
        """At least a byte, and all that was read from the network already if there is room; 0 at the end."""
        while True:
            count = self._reads.read(buffer)
            if count >= 0:
                return count
            self._fill(len(buffer))

    def much_into(self, buffer: memoryview) -> int:
        """`recv_into` for a part of a body, all of which is yet to come: a good part of it may be waited for."""
        many = self._many_at_once() if len(buffer) >= MUCH else None
        if many is None:
            return self.recv_into(buffer)
        self._flush()
        return many.much(buffer)

    def _many_at_once(self) -> ManyAtOnce | None:
        """OpenSSL reading by itself from now on, if it can: sockets only, not the TLS to a proxy."""
        if self._many is None and isinstance(self._outer, socket.socket) and (native := self._find()) is not None:
            self._reads = self._many = ManyAtOnce(native, self._python, self._outer)
        return self._many

    def sendall(self, data: bytes) -> None:
        self._write(data)
        self._outer.sendall(self._outgoing.read())

    def surplus(self) -> bool:
        """Whether more has arrived than was asked for, which is lost then. The other side's goodbye is none."""
        try:
            return self._reads.surplus()
        except OSError:
            return True

    @property
    def reads_all(self) -> bool:
        """Whether all that had arrived was read, where less was read than there was room for."""
        return self._many is None or not self._many.from_socket

    @property
    def came(self) -> int:
        """Bytes that came while somebody waits for many; any thread may ask."""
        return 0 if self._many is None else self._many.came

    @property
    def session(self) -> AnySession | None:
        """What the other side has given by now for later connections."""
        native = self._find() if openssl.at_hand() else None
        return self._tls.session if native is None else Session(native)

    @property
    def session_reused(self) -> bool:
        """Whether the handshake was short: the session of an earlier connection was taken up."""
        return bool(self._tls.session_reused)

    def _find(self) -> openssl.Native | None:
        """This connection as OpenSSL has it: looked for once, before it reads from elsewhere."""
        if not self._looked:
            self._looked = True
            self._native = openssl.find(self._tls, self._incoming, self._outgoing)
        return self._native

    def _flush(self) -> None:
        """Send what OpenSSL has to say by itself, if it has."""
        if self._outgoing.pending:
            self._outer.sendall(self._outgoing.read())

    def _fill(self, size: int = 0) -> None:
        """Wait for more, of which the reader takes `size` bytes, once the other side has all that it may wait for."""
        self._flush()
        want = self._want
        room = _rooms.of(want)
        count = self._outer.recv_into(room[:want])
        if not count:
            self._reads.ended()
            return
        self._reads.arrived(room[:count])
        if count == want < min(2 * size, self._MOST):
            self._want *= 2
