"""A host that no request of ours should ever reach: it answers as if it had every object, and notes all it heard."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tests.fakes import tls as authority
from tests.fakes.http import Request, Response, Server

#: what a request would carry of a caller's credentials, in headers or (presigned) in its query
CREDENTIALS = ("authorization", "x-amz-security-token", "cookie", "x-amz-signature", "x-amz-credential", "signature")


class Witness:
    """Listens on a port of its own; `requests` are those that came, `leaks` those that carried a credential."""

    def __init__(self, body: bytes = b"of another host", *, tls: bool = False) -> None:
        self.body = body
        self.requests: list[Request] = []
        self.tls = tls
        self.server = Server(self._answer, authority.server_context() if tls else None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def leaks(self) -> list[Request]:
        return [
            request
            for request in self.requests
            if any(name in request.headers or name in request.raw_query.lower() for name in CREDENTIALS)
        ]

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(200, {"ETag": '"00000000000000000000000000000bad"'}, self.body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()
