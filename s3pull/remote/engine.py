"""`SocketStore`: the `Store` contract over our own connections.

One call is one thread, one connection, one blocking exchange. What goes wrong is sorted by `recovery`.

Redirects are never followed: a Location can name any host, and the next request carries a signature.

This module knows nothing of files, parts or checksums' values.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from s3pull.errors import S3pullError, ServiceError, Transient, Unsupported, UsageError, WrongRegion, let_go
from s3pull.objects import Access, Credentials, CredentialSource, Endpoint, ObjectVersion, RemoteObject
from s3pull.remote import endpoint as endpoints
from s3pull.remote.answers import check_pin, describe, extent, quote_etag
from s3pull.remote.bodies import SocketBody, read_document
from s3pull.remote.connection import Connection, DiedIdle
from s3pull.remote.failures import MAX_DOCUMENT, from_response
from s3pull.remote.heads import Head
from s3pull.remote.listing import (
    MAX_PAGE,
    Page,
    Progress,
    VersionPage,
    page_query,
    parse_page,
    parse_versions,
    versions_query,
)
from s3pull.remote.ratelimit import RateLimit
from s3pull.remote.recovery import Recovery
from s3pull.remote.retry import Patience
from s3pull.remote.routes import Kind, Request, Route
from s3pull.remote.signing import encode_key, encode_query
from s3pull.remote.tls import make_context
from s3pull.remote.twin import Twin

T = TypeVar("T")
Taker = Callable[[Route, Connection, Head], SocketBody]
Failed = tuple[S3pullError, Route, Credentials | None]

#: a bare 403 this close to the session's end is taken for its end
_NEAR_EXPIRY_SECONDS = 60.0
_ONE_BYTE = b"range: bytes=0-0\r\n"


def open_store(
    access: Access,
    credentials: CredentialSource,
    *,
    endpoint: Endpoint | None,
    remember: Callable[[Endpoint], None],
    environ: Mapping[str, str],
    limit_rate: float | None = None,
    silence: float = 30.0,
) -> SocketStore:
    """The store for `access`. `endpoint` is what an earlier run was told by `remember`; None asks botocore.

    `limit_rate` is bytes a second over all threads, `silence` the seconds without a byte after which a read is given
    up. Raises UsageError (bucket, region, profile, endpoint URL, proxy, CA bundle, plain http).
    """
    if endpoint is None:
        endpoint = endpoints.resolve(access, None)
        remember(endpoint)
    else:
        endpoints.check_scheme(endpoint, access)
    limit = None if limit_rate is None else RateLimit(limit_rate)
    return SocketStore(access, credentials, endpoint, remember, environ, limit, silence=silence)


class SocketStore:
    """See `s3pull.remote.store.Store`, which is the law here. `patience` is shared with the callers' own retries."""

    def __init__(
        self,
        access: Access,
        credentials: CredentialSource,
        endpoint: Endpoint,
        remember: Callable[[Endpoint], None],
        environ: Mapping[str, str],
        limit: RateLimit | None = None,
        *,
        silence: float = 30.0,
        patience: Patience | None = None,
        resolve: Callable[[Access, str | None], Endpoint] = endpoints.resolve,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.patience = patience if patience is not None else Patience()
        #: the least seconds to an answer, of objects (True) and of all else
        self._latencies = {True: 0.0, False: 0.0}
        #: see `Store.waited`; a little less where threads add to it at the same moment
        self.waited = 0.0
        self._access = access
        self.credentials = credentials
        self._remember = remember
        self._environ = environ
        self._limit = limit
        self._silence = silence
        self._resolve = resolve
        self._clock = clock
        self.timer = time.monotonic
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._interrupted = False
        self._route = self._new_route(endpoint)
        self._routes = [self._route]

    # --- the contract --------------------------------------------------------------------------------------

    def head(
        self, key: str, *, version_id: str | None = None, part: int | None = None, checksum: bool = False
    ) -> RemoteObject:
        """See `Store.head`."""
        query = b""
        if version_id is not None or part is not None:
            pairs = [] if version_id is None else [("versionId", version_id)]
            query = encode_query(pairs if part is None else [*pairs, ("partNumber", str(part))])
        request = Request(b"HEAD", key, b"/" + encode_key(key), query, Kind.CHECKSUM if checksum else Kind.PLAIN)

        def take(route: Route, connection: Connection, head: Head) -> RemoteObject:
            _settle(route, connection, head)
            if head.length is None:
                raise Unsupported(f"the answer for {key} does not say how long it is", status=head.status, key=key)
            seen = describe(key, head, head.length)
            check_pin(seen, None, version_id)
            return seen

        return self._answer(request, take)

    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        pin: RemoteObject | None = None,
        version_id: str | None = None,
        checksum: bool = False,
    ) -> SocketBody:
        """See `Store.get`."""
        if start < 0 or (end is not None and end <= start):
            raise UsageError(f"the range {start}-{end} of {key} is empty", hint="a range has a byte at least", key=key)
        ranged = start > 0 or end is not None
        lines = b""
        if ranged:
            lines = b"range: bytes=%d-\r\n" % start if end is None else b"range: bytes=%d-%d\r\n" % (start, end - 1)
        lines += _if_match(pin)
        query = b"" if version_id is None else encode_query([("versionId", version_id)])
        kind = Kind.CHECKSUM if checksum else Kind.PLAIN

        return self._answer(
            Request(b"GET", key, b"/" + encode_key(key), query, kind, lines),
            self._taker(key, start, end, pin, version_id, ranged=ranged),
        )

    def ask(self, key: str, *, pin: RemoteObject | None = None, version_id: str | None = None) -> Asked:
        """See `Store.ask`."""
        lines = _if_match(pin)
        query = b"" if version_id is None else encode_query([("versionId", version_id)])
        request = Request(b"GET", key, b"/" + encode_key(key), query, Kind.CHECKSUM, lines)
        return Asked(self, request, self._taker(key, 0, None, pin, version_id, ranged=False))

    def widen(self, count: int) -> int:
        """See `Store.widen`."""
        return self._route.pool.widen(count)

    def _taker(
        self, key: str, start: int, end: int | None, pin: RemoteObject | None, version_id: str | None, *, ranged: bool
    ) -> Taker:
        """What makes a body of an answer, or says what is wrong with it."""

        def take(route: Route, connection: Connection, head: Head) -> SocketBody:
            try:
                size, length = extent(key, head, start, end, ranged=ranged, pin=pin)
                seen = describe(key, head, size)
                check_pin(seen, pin, version_id)
                return SocketBody(seen, length, connection, route.pool, head, self._limit)
            except BaseException:
                route.pool.drop(connection)
                raise

        return take

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[list[RemoteObject]]:
        """See `Store.list`."""
        progress = Progress()
        token: str | None = None
        while True:
            query = page_query(prefix, start_after, token)
            page = self._answer(Request(b"GET", None, b"", query, Kind.LIST), self._take_page)
            progress.check(page)
            if page.objects:
                yield page.objects
            token = page.token
            if token is None:
                return

    def list_versions(self, prefix: str = "") -> Iterator[Sequence[ObjectVersion]]:
        """See `Store.list_versions`."""
        marker: tuple[str, str] | None = None
        seen: set[tuple[str, str]] = set()
        while True:
            query = versions_query(prefix, marker)
            page = self._answer(Request(b"GET", None, b"", query, Kind.PLAIN), self._take_versions)
            if page.versions:
                yield page.versions
            marker = page.marker
            if marker is None:
                return
            if marker in seen:
                raise ServiceError("the list of versions repeats itself")
            seen.add(marker)

    def twin(self) -> Twin | None:
        """See `Store.twin`. A rate is one process's to hold; sessions of S3 Express are one process's, too."""
        endpoint = self._route.endpoint
        if self._limit is not None or endpoint.algorithm != "s3v4":
            return None
        return Twin(self._access, endpoint, self._silence)

    def interrupt(self) -> None:
        """See `Store.interrupt`."""
        with self._lock:
            self._interrupted = True
            routes = list(self._routes)
        self.patience.interrupt()
        if self._limit is not None:
            self._limit.interrupt()
        for route in routes:
            route.pool.interrupt()

    def close(self) -> None:
        """See `Store.close`. Bodies that are still open see Cancelled."""
        self.interrupt()

    # --- one request, to its end ---------------------------------------------------------------------------

    def _answer(
        self, request: Request, take: Callable[[Route, Connection, Head], T], failed: Failed | None = None
    ) -> T:
        """Ask until there is an answer that `take` accepts, or an error that is final.

        `failed` is how a first try ended that was made elsewhere (`Asked`).
        """
        recovery: Recovery | None = None
        if failed is not None:
            recovery = Recovery(self)
            recovery.mend(*failed)
        while True:
            route = self._route
            credentials = self.credentials.current()
            try:
                connection, head = self._exchange(route, request, credentials)
                result = take(route, connection, head)
            except S3pullError as error:
                if recovery is None:
                    recovery = Recovery(self)
                recovery.mend(error, route, credentials)
            else:
                if recovery is not None:
                    recovery.succeeded()
                self.patience.succeeded()
                return result

    def _exchange(self, route: Route, request: Request, credentials: Credentials | None) -> tuple[Connection, Head]:
        """One try: a 200 or 206 whose body is still to be read, or the error that the answer is."""
        self.patience.wait_at_gate()
        wire = route.wire(request, credentials)
        pool = route.pool
        connection = pool.take()
        asked = self.timer()
        try:
            try:
                head = connection.ask(wire)
            except DiedIdle:
                pool.drop(connection)
                connection = pool.take(fresh=True)
                head = connection.ask(wire)
        except BaseException:
            pool.drop(connection)
            raise
        took, page = self.timer() - asked, request.kind is Kind.LIST
        if not page:
            self.waited += took
        self.answered(took, of_object=not page and request.method == b"GET")
        if head.status == 200 or head.status == 206:
            return connection, head
        raise self._failure(route, request, credentials, connection, head)

    @property
    def latency(self) -> float:
        """See `Store.latency`. A listing and an object may be far apart: objects count, once there was one."""
        return self._latencies[True] or self._latencies[False]

    def answered(self, seconds: float, *, of_object: bool) -> None:
        """An answer began so long after its request. One that nobody waited for says too much; the least is right."""
        least = self._latencies[of_object]
        if seconds < least or not least:
            self._latencies[of_object] = seconds

    def _failure(
        self, route: Route, request: Request, credentials: Credentials | None, connection: Connection, head: Head
    ) -> S3pullError:
        method = request.method.decode("ascii")
        if request.method == b"HEAD":
            _settle(route, connection, head)
            if head.status in (400, 403):
                reason = self._reason(route, request, credentials)
                if reason is not None:
                    return reason
                if head.status == 400:
                    return Transient(f"a HEAD of {request.key} was refused, and a GET was not", status=400)
            body = b""
        else:
            body = read_document(connection, head, route.pool, MAX_DOCUMENT)
        return from_response(method, request.key, self._access.bucket, head.status, head.headers, body, credentials)

    def _reason(self, route: Route, request: Request, credentials: Credentials | None) -> S3pullError | None:
        """A HEAD's refusal has no document: the same request as a GET of one byte tells why.

        None where that is answered well.
        """
        lines = b"" if b"partNumber" in request.query else _ONE_BYTE
        try:
            connection, _ = self._exchange(route, request._replace(method=b"GET", lines=lines), credentials)
        except S3pullError as error:
            return None if error.status == 416 else error
        route.pool.drop(connection)
        return None

    def _take_page(self, route: Route, connection: Connection, head: Head) -> Page:
        return parse_page(self._listing(route, connection, head))

    def _take_versions(self, route: Route, connection: Connection, head: Head) -> VersionPage:
        return parse_versions(self._listing(route, connection, head))

    def _listing(self, route: Route, connection: Connection, head: Head) -> bytes:
        document = read_document(connection, head, route.pool, MAX_PAGE)
        if b"<Error>" in document[:1000]:  # S3 can find out that it failed after it said 200
            credentials = self.credentials.current()
            raise from_response("GET", None, self._access.bucket, head.status, head.headers, document, credentials)
        return document

    # --- routes --------------------------------------------------------------------------------------------

    def _new_route(self, endpoint: Endpoint) -> Route:
        return Route(endpoint, self._access, self._environ, self._tls, silence=self._silence, clock=self._clock)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = make_context(self._access.ca_bundle, self._environ)
        return self._context

    def reroute(self, error: WrongRegion, wrong: Route) -> None:
        """Go where `error` says, unless another thread went there already.

        Raises `error` where it leads nowhere new.
        """
        with self._lock:
            if self._route is not wrong:
                return
            if error.region is None or error.region == wrong.endpoint.region or wrong.endpoint.algorithm == "s3v4a":
                raise error
            try:
                endpoint = self._resolve(self._access, error.region)
            except UsageError:
                raise error from None
            if endpoint == wrong.endpoint:
                raise error
            route = self._new_route(endpoint)
            if self._interrupted:
                route.pool.interrupt()
            self._routes.append(route)
            self._route = route
        wrong.pool.retire()
        self._remember(endpoint)

    def renew(self, error: S3pullError, refused: Credentials | None) -> None:
        """Get other credentials than those that were refused. Raises `error` where there are none to renew."""
        if refused is None:
            raise error
        self.credentials.renew(refused)

    def near_expiry(self, credentials: Credentials | None) -> bool:
        """True where a refusal may well be the end of the session."""
        if credentials is None or credentials.expires is None:
            return False
        return self._clock() > credentials.expires - _NEAR_EXPIRY_SECONDS


class Asked:
    """A GET that was sent and not yet answered; see `Store.ask`. Made and used by one thread."""

    __slots__ = ("_asked", "_connection", "_credentials", "_failure", "_request", "_route", "_store", "_take")

    def __init__(self, store: SocketStore, request: Request, take: Taker) -> None:
        self._store = store
        self._request = request
        self._take = take
        self._failure: S3pullError | None = None
        self._connection: Connection | None = None
        self._route = route = store._route
        self._credentials = store.credentials.current()
        try:
            store.patience.wait_at_gate()
            self._connection = route.pool.take()
            self._asked = store.timer()
            self._connection.send(route.wire(request, self._credentials))
        except S3pullError as error:
            self._failure = error
            self.drop()

    def body(self) -> SocketBody:
        """What `Store.get` returns and raises; whatever went wrong so far is the first of its tries."""
        connection, self._connection = self._connection, None
        if connection is not None:
            route = self._route
            try:
                head = connection.hear()
            except S3pullError as error:
                route.pool.drop(connection)
                self._failure = error
            else:
                try:
                    if head.status == 200:
                        self._store.answered(self._store.timer() - self._asked, of_object=True)
                        body = self._take(route, connection, head)
                        self._store.patience.succeeded()
                        return body
                    self._failure = self._store._failure(route, self._request, self._credentials, connection, head)
                except S3pullError as error:
                    self._failure = error
        failure, self._failure = self._failure, None
        if failure is None or isinstance(failure, DiedIdle):
            let_go(failure)
            return self._store._answer(self._request, self._take)
        return self._store._answer(self._request, self._take, (failure, self._route, self._credentials))

    def drop(self) -> None:
        """Nobody will read the answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._route.pool.drop(connection)


def _if_match(pin: RemoteObject | None) -> bytes:
    """The If-Match line of a pin; nothing for a weak ETag, which is only compared."""
    match = quote_etag(pin.etag) if pin is not None else None
    return b"" if match is None else b"if-match: " + match.encode("ascii") + b"\r\n"


def _settle(route: Route, connection: Connection, head: Head) -> None:
    """A HEAD's answer is over with its head."""
    if head.keeps_alive and not connection.surplus:
        route.pool.give(connection)
    else:
        route.pool.drop(connection)
