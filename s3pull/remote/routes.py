"""A route: one endpoint with its pool, and requests as the bytes that go to it.

What is the same in all requests of one kind is laid out and signed ahead (`signing.Plan`); per request only the path,
the query, the date and a few unsigned lines are added. A wrong region makes a new route; the old one dies with its
last answer.

This module does not read answers.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from enum import IntEnum

import s3pull
from s3pull.objects import Access, Credentials, Endpoint
from s3pull.records import NamedTuple
from s3pull.remote.dial import Dialer
from s3pull.remote.pool import Pool
from s3pull.remote.proxies import proxy_for
from s3pull.remote.signing import Headers, Plan, anonymous_lines
from s3pull.remote.sigv4a import AsymmetricPlan


class Kind(IntEnum):
    """Requests with the same constant headers."""

    PLAIN = 0
    CHECKSUM = 1
    LIST = 2


_BY_KIND: dict[Kind, Headers] = {
    Kind.PLAIN: (),
    Kind.CHECKSUM: ((b"x-amz-checksum-mode", b"ENABLED"),),
    # tells for archived objects whether they are restored, without a HEAD each
    Kind.LIST: ((b"x-amz-optional-object-attributes", b"RestoreStatus"),),
}


class Request(NamedTuple):
    """`key` is None for a listing.

    `path` stands behind the endpoint's own; `lines` are unsigned headers, each with its CRLF.
    """

    method: bytes
    key: str | None
    path: bytes
    query: bytes = b""
    kind: Kind = Kind.PLAIN
    lines: bytes = b""


class Route:
    """Shared by threads. `context` makes the TLS context on first need: plain http never loads a certificate."""

    def __init__(
        self,
        endpoint: Endpoint,
        access: Access,
        environ: Mapping[str, str],
        context: Callable[[], ssl.SSLContext],
        *,
        silence: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        usual = endpoint.port == (443 if endpoint.scheme == "https" else 80)
        self._host = host if usual else f"{host}:{endpoint.port}"
        self._path = endpoint.path.encode("ascii")
        proxy = proxy_for(endpoint.scheme, endpoint.host, endpoint.port, environ)
        plain = endpoint.scheme == "http"
        self._origin = f"http://{self._host}".encode("ascii") if plain and proxy else b""
        self._tail = f"user-agent: s3pull/{s3pull.__version__}\r\n".encode("ascii")
        if plain and proxy and proxy.authorization:
            self._tail += b"proxy-authorization: " + proxy.authorization + b"\r\n"
        common: list[tuple[bytes, bytes]] = []
        if access.bucket_owner is not None:
            common.append((b"x-amz-expected-bucket-owner", access.bucket_owner.encode("ascii")))
        if access.request_payer:
            common.append((b"x-amz-request-payer", b"requester"))
        self._headers = {kind: (*common, *more) for kind, more in _BY_KIND.items()}
        self._anonymous = {kind: anonymous_lines(self._host, headers) for kind, headers in self._headers.items()}
        self._plans: dict[Kind, tuple[Credentials, Plan | AsymmetricPlan]] = {}
        dialer = Dialer(endpoint.host, endpoint.port, None if plain else context(), proxy, context)
        self.pool = Pool(self._host, dialer, silence=silence)

    def wire(self, request: Request, credentials: Credentials | None) -> bytes:
        """The request as it goes over the wire."""
        method, _, path, query, kind, lines = request
        path = self._path + path if path else self._path or b"/"
        if credentials is None:
            signed = self._anonymous[kind]
        else:
            known = self._plans.get(kind)
            plan = known[1] if known is not None and known[0] is credentials else self._plan(kind, credentials)
            signed = plan.lines(method, path, query, self._clock())
        target = self._origin + path
        if query:
            target = target + b"?" + query
        return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (method, target, signed, lines, self._tail)

    def _plan(self, kind: Kind, credentials: Credentials) -> Plan | AsymmetricPlan:
        known = self._plans.get(kind)
        if known is not None and known[0] == credentials:
            return known[1]
        endpoint, headers = self.endpoint, self._headers[kind]
        plan: Plan | AsymmetricPlan
        if endpoint.algorithm == "s3v4a":
            plan = AsymmetricPlan(credentials, endpoint.service, self._host, headers)
        else:
            plan = Plan(credentials, endpoint.region, endpoint.service, self._host, headers)
        self._plans[kind] = (credentials, plan)
        return plan
