"""What is done about an error of one call of the store:

| what came                                   | what is done                                                     |
|---------------------------------------------|------------------------------------------------------------------|
| Transient                                   | try again while `Patience` lasts                                 |
| TokenExpired                                | one `CredentialSource.renew`, one more try                       |
| 403 within 60 s of the credentials' end     | the same: a session that ends is not always called expired       |
| WrongRegion that names another region       | resolve the endpoint again (two times at most), and remember it  |
| anything else                               | final                                                            |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3pull.errors import AccessDenied, S3pullError, TokenExpired, Transient, WrongRegion, let_go
from s3pull.objects import Credentials
from s3pull.remote.routes import Route

if TYPE_CHECKING:
    from s3pull.remote.engine import SocketStore

_MAX_REROUTES = 2


class Recovery:
    """What one call has tried already to get over its errors; the table stands above."""

    def __init__(self, store: SocketStore) -> None:
        self._store = store
        self._attempts = store.patience.attempts()
        self._renewed = False
        self._reroutes = 0

    def mend(self, error: S3pullError, route: Route, credentials: Credentials | None) -> None:
        """Do what makes another try worth while, or raise: `error`, or what went wrong in mending it."""
        if isinstance(error, Transient):
            self._attempts.failed(error)
        elif isinstance(error, TokenExpired) or (type(error) is AccessDenied and self._store.near_expiry(credentials)):
            if self._renewed:
                raise error
            self._renewed = True
            self._store.renew(error, credentials)
        elif isinstance(error, WrongRegion) and self._reroutes < _MAX_REROUTES:
            self._reroutes += 1
            self._store.reroute(error, route)
        else:
            raise error
        let_go(error)

    def succeeded(self) -> None:
        """There was a good answer in the end."""
        self._attempts.progressed()
