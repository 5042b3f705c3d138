"""TLS: whom we trust, how a handshake failure is told, and TLS inside TLS for https:// proxies.

Trusted is what AWS_CA_BUNDLE names, else the profile's ca_bundle, else the system's store. Where the system has none
(some containers and some builds of Python) the bundle that botocore ships is used, as botocore itself does; it is
found without importing botocore.

A certificate that does not verify is final at once: no retry makes it valid.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from typing import cast

from s3pull.errors import ServiceError, Transient, UsageError


def make_context(ca_bundle: str | None, environ: Mapping[str, str]) -> ssl.SSLContext:
    """The one context of a store. `ca_bundle` is the profile's. Raises UsageError for a bundle that cannot be read."""
    bundle = environ.get("AWS_CA_BUNDLE") or ca_bundle
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


class InnerTls:
    """TLS to the endpoint inside the TLS to an https:// proxy; `ssl` can wrap only real sockets, so this pumps by
    hand.
    """

    _RECORD = 64 * 1024

    def __init__(self, outer: socket, context: ssl.SSLContext, host: str) -> None:
        self._outer = outer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def do_handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            else:
                self._flush()
                return

    def recv_into(self, buffer: memoryview) -> int:
        while True:
            try:
                return cast(int, self._tls.read(len(buffer), buffer))  # type: ignore[arg-type, unused-ignore]
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLEOFError:
                return 0

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def pending(self) -> int:
        return self._tls.pending()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._outer.sendall(self._outgoing.read())

    def _fill(self) -> None:
        data = self._outer.recv(self._RECORD)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
