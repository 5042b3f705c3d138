"""The one exception with which the fake services refuse a request, and the XML in which S3 and STS say so."""

from __future__ import annotations

from xml.sax.saxutils import escape

from tests.fakes.http import Response


class Refusal(Exception):
    """An error answer: `extra` are further elements of S3's error document."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str = "",
        *,
        extra: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra or {}
        self.headers = headers or {}

    def as_s3(self, request_id: str, host_id: str) -> Response:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
        fields = {"Code": self.code, "Message": self.message, **self.extra, "RequestId": request_id, "HostId": host_id}
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
        return Response(self.status, {"Content-Type": "application/xml", **self.headers}, body.encode())

    def as_sts(self, request_id: str) -> Response:
        kind = "Sender" if self.status < 500 else "Receiver"
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n'
            f"    <Type>{kind}</Type>\n    <Code>{escape(self.code)}</Code>\n"
            f"    <Message>{escape(self.message)}</Message>\n  </Error>\n"
            f"  <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n"
        )
        return Response(self.status, {"Content-Type": "text/xml", **self.headers}, body.encode())
