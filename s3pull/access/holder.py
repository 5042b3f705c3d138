"""Holds credentials in memory for many threads, and renews them before they end.

The implementations of `CredentialSource`: nobody, what lies at hand, own credentials, a role's session. None of them
knows where a newer session comes from: `session` hands that in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from s3pull.access.own import Own
from s3pull.access.profiles import Profiles, reload
from s3pull.errors import CredentialsError, S3pullError
from s3pull.objects import Credentials
from s3pull.records import NamedTuple

#: a session is renewed this long before its end, and is then no longer handed to new runs
LONGEST_MARGIN = 300.0
MARGIN_SHARE = 0.2
#: below this a request may not arrive in time any more: callers wait for the renewal
LAST_MOMENT = 30.0

_LONGEST_NAP = 30.0
_LONGEST_PAUSE = 60.0


def margin(lifetime: float) -> float:
    """Seconds before its end at which a session of `lifetime` seconds is renewed: 5 minutes, or a fifth of a short one.

    >>> margin(900), margin(3600)
    (180.0, 300.0)
    """
    return min(LONGEST_MARGIN, lifetime * MARGIN_SHARE)


class Anonymous:
    """Nobody: requests are not signed."""

    def current(self) -> Credentials | None:
        return None

    def renew(self, refused: Credentials) -> Credentials:  # noqa: ARG002
        raise CredentialsError("anonymous access has no credentials to renew")


class Still:
    """Credentials that are had without asking anybody, as long as they last."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def current(self) -> Credentials | None:
        return self._credentials

    def renew(self, refused: Credentials) -> Credentials:  # noqa: ARG002
        raise CredentialsError("these credentials are not renewed here")


class OwnCredentials:
    """Own credentials, directly. botocore renews those that can be renewed; others may have been replaced on disk."""

    def __init__(self, find: Callable[[Profiles], Own], environ: Mapping[str, str], profiles: Profiles) -> None:
        self._find = find
        self._environ = environ
        self._profiles = profiles
        self._source = find(profiles)
        self._renewing = threading.Lock()

    def current(self) -> Credentials | None:
        return self._source.current()

    def renew(self, refused: Credentials) -> Credentials:
        with self._renewing:
            newer = self._source.current()
            if newer.access_key == refused.access_key:
                self._profiles = reload(self._environ, self._profiles)
                self._source = self._find(self._profiles)
                newer = self._source.current()
        if newer.access_key == refused.access_key:
            raise CredentialsError("your own credentials were refused and there are no newer ones", hint="log in again")
        return newer


class Held(NamedTuple):
    """A session as held and cached."""

    credentials: Credentials
    issued: float
    facts: Mapping[str, Any]

    @property
    def due(self) -> float:
        """When it is to be renewed."""
        ends = self.credentials.expires or 0.0
        return ends - margin(ends - self.issued)


class RoleCredentials:
    """A role's session in memory, renewed before its end in the background.

    `make` gets a newer one than it is given (cache or STS). At most one thread at a time is in it. With a session that
    is about to end `current` waits for the newer one rather than hand out what will be refused.
    """

    def __init__(self, held: Held, make: Callable[[Credentials], Held], clock: Callable[[], float]) -> None:
        self._held = held
        self._make = make
        self._clock = clock
        self._renewing = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="s3pull-renewal", daemon=True)
        self._thread.start()

    def current(self) -> Credentials | None:
        held = self._held
        if (held.credentials.expires or 0.0) - self._clock() > LAST_MOMENT:
            return held.credentials
        try:
            return self.renew(held.credentials)
        except S3pullError:
            if (held.credentials.expires or 0.0) > self._clock():
                return held.credentials
            raise

    def renew(self, refused: Credentials) -> Credentials:
        with self._renewing:
            if self._held.credentials.access_key == refused.access_key:
                self._held = self._make(refused)
            return self._held.credentials

    def close(self) -> None:
        """End the renewal in the background; what is held stays usable."""
        self._closed.set()

    def _keep_fresh(self) -> None:
        pause = 1.0
        while True:
            wait = self._held.due - self._clock()
            if wait > 0:
                # in naps: a machine that slept, or whose clock was set, is noticed
                if self._closed.wait(min(wait, _LONGEST_NAP)):
                    return
                continue
            try:
                self.renew(self._held.credentials)
                if self._held.due > self._clock():
                    pause = 1.0
                    continue
            except S3pullError:
                # whoever needs the newer session hears why in `current`; until then there is time to try again
                if (self._held.credentials.expires or 0.0) < self._clock():
                    return
            if self._closed.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE)
