"""SigV4A, the asymmetric signature that Multi-Region Access Points want, by awscrt through botocore. The slow path.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiRegionAccessPointRequests.html. Deriving the key and
signing take about a millisecond, and the imports a third of a second; nothing else comes here.
"""

from __future__ import annotations

from s3pull.objects import Credentials
from s3pull.remote.signing import Headers


class AsymmetricPlan:
    """Like `signing.Plan`, for all regions at once. `lines` takes the time from the clock and not from `now`."""

    def __init__(self, credentials: Credentials, service: str, host: str, headers: Headers) -> None:
        from botocore.credentials import Credentials as BotoCredentials
        from botocore.crt.auth import CrtS3SigV4AsymAuth

        keys = BotoCredentials(credentials.access_key, credentials.secret_key, credentials.token)
        self._auth = CrtS3SigV4AsymAuth(keys, service, "*")
        self._host = host
        self._headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in headers]

    def lines(self, method: bytes, path: bytes, query: bytes, now: float) -> bytes:  # noqa: ARG002
        """The signed header lines, each ended by CRLF."""
        from botocore.awsrequest import AWSRequest

        url = f"https://{self._host}{path.decode('ascii')}" + (f"?{query.decode('ascii')}" if query else "")
        request = AWSRequest(method.decode("ascii"), url, headers={"host": self._host, **dict(self._headers)})
        self._auth.add_auth(request)
        return "".join(f"{name}: {value}\r\n" for name, value in request.headers.items()).encode("latin-1")
