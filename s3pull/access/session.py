"""Opens a source's session: from the cache where one is still good, from STS where none is, and renews it under way.

A warm start imports neither boto3 nor botocore. Twenty processes (or threads) that need the same session at once make
one call. It knows nothing of S3; what AssumeRole is asked is `assume`'s, and where entries lie is `cache`'s.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from s3pull.access.cache import ENDPOINT, SESSION, Cache, entry_name, unavailable
from s3pull.access.holder import Anonymous, Held, OwnCredentials, RoleCredentials, Still
from s3pull.access.identity import fingerprint, profile_facts
from s3pull.access.narrow import narrowing
from s3pull.access.profiles import Profiles, effective, reload, sts_region
from s3pull.errors import UsageError
from s3pull.objects import Access, Credentials, CredentialSource, Endpoint

if TYPE_CHECKING:
    from s3pull.access.own import Prompt

#: seconds for which a resolved endpoint is remembered; a wrong one is found out by the first answer
ENDPOINT_LIFE = 7 * 86_400.0

_ENDPOINT_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_S3_USE_ARN_REGION",
    "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


class Session:
    """One source's credentials and endpoint for the time of a run. Closing it ends the renewal in the background."""

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        access: Access,
        cache: Cache,
        endpoint_entry: str,
        facts: Mapping[str, Any] | None = None,
        from_cache: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.credentials = credentials
        self.access = access
        self.from_cache = from_cache
        self.role_arn = access.role_arn
        facts = facts or {}
        #: how far the session is narrowed: 'prefix', 'bucket', 'role'; None for own credentials
        self.width: str | None = facts.get("width")
        self.session_name: str | None = facts.get("session_name")
        #: the ARN by which the owner's CloudTrail knows the session
        self.session_arn: str | None = facts.get("session_arn")
        self._cache = cache
        self._endpoint_entry = endpoint_entry
        self._clock = clock

    @property
    def expires(self) -> float | None:
        """When the present credentials end; None for ones that do not, and for anonymous access."""
        current = self.credentials.current()
        return current.expires if current is not None else None

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint that an earlier run found to work for this access, or None."""
        kept = self._cache.get(self._endpoint_entry)
        if kept is None:
            return None
        try:
            return Endpoint(**kept)
        except TypeError:
            return None

    def remember(self, endpoint: Endpoint) -> None:
        """Keep an endpoint that works for the runs to come."""
        try:
            self._cache.put(self._endpoint_entry, ENDPOINT, endpoint._asdict(), self._clock() + ENDPOINT_LIFE)
        except UsageError:
            # no keyring in mode `keyring`: whoever needs a session hears of it; an endpoint is not worth an error
            pass

    def close(self) -> None:
        """End the renewal in the background."""
        if isinstance(self.credentials, RoleCredentials):
            self.credentials.close()


def open_session(
    access: Access,
    *,
    environ: Mapping[str, str],
    profiles: Profiles,
    cache: Cache,
    prompt: Prompt | None = None,
    note: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Session:
    """A session for `access`. `prompt` asks a person (None: there is nobody to ask); `note` tells them something.

    anonymous -> nothing is signed; no role -> own credentials, directly; else the role's session: the cached one if it
    will last for a while, else a new one, made by one process for all that wait for it.

    Raises CredentialsError, AccessDenied, UsageError, ServiceError (see `assume`).
    """
    return _open(access, environ, profiles, cache, prompt, note, clock, anew=False)


def kept_session(
    access: Access,
    *,
    environ: Mapping[str, str],
    profiles: Profiles,
    cache: Cache,
    clock: Callable[[], float] = time.time,
) -> Session | None:
    """What `open_session` gives, where it can be had without a call, a question or another program; else None.

    It is never renewed. Raises CredentialsError (half a pair of keys), UsageError.
    """
    source: CredentialSource
    if access.anonymous:
        source = Anonymous()
    elif access.role_arn is None:
        from s3pull.access import own

        found = own.at_hand(access, environ, profiles)
        if found is None:
            return None
        source = Still(found)
    else:
        held = _Maker(access, environ, profiles, cache, None, lambda _: None, clock).cached()
        if held is None:
            return None
        source = Still(held.credentials)
    entry = endpoint_name(access, environ, profiles)
    return Session(source, access=access, cache=cache, endpoint_entry=entry, clock=clock)


def login(
    access: Access,
    *,
    environ: Mapping[str, str],
    profiles: Profiles,
    cache: Cache,
    prompt: Prompt | None = None,
    note: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Session:
    """Assume the role now, whatever is cached, and keep the session. Otherwise as `open_session`."""
    return _open(access, environ, profiles, cache, prompt, note, clock, anew=True)


def _open(
    access: Access,
    environ: Mapping[str, str],
    profiles: Profiles,
    cache: Cache,
    prompt: Prompt | None,
    note: Callable[[str], None],
    clock: Callable[[], float],
    *,
    anew: bool,
) -> Session:
    def opened(source: CredentialSource, facts: Mapping[str, Any] | None = None, *, cached: bool = False) -> Session:
        entry = endpoint_name(access, environ, profiles)
        return Session(
            source, access=access, cache=cache, endpoint_entry=entry, facts=facts, from_cache=cached, clock=clock
        )

    if access.anonymous:
        return opened(Anonymous())
    if access.role_arn is None:
        from s3pull.access import own

        return opened(OwnCredentials(lambda found: own.find(access, environ, found, prompt), environ, profiles))
    if access.cache == "keyring" and (key := cache.key()).value is None:
        raise unavailable(key)
    maker = _Maker(access, environ, profiles, cache, prompt, _once(note), clock)
    first = None if anew else maker.cached()
    held = first or maker.make(None, anew=anew)
    return opened(RoleCredentials(held, maker.make, clock), held.facts, cached=first is not None)


class _Maker:
    """Gets a role's session: from the cache, or from STS while other processes wait for it."""

    def __init__(
        self,
        access: Access,
        environ: Mapping[str, str],
        profiles: Profiles,
        cache: Cache,
        prompt: Prompt | None,
        note: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._access, self._environ, self._profiles, self._cache = access, environ, profiles, cache
        self._prompt, self._note, self._clock = prompt, note, clock

    def cached(self, refused: Credentials | None = None) -> Held | None:
        """The cached session, unless it is about to end or is the one that was refused."""
        held = _held(self._cache.fresh(self._name()))
        if held is None or held.due <= self._clock():
            return None
        return None if refused is not None and held.credentials.access_key == refused.access_key else held

    def make(self, refused: Credentials | None, *, anew: bool = False) -> Held:
        """A session newer than `refused`; with `anew` one from STS whatever is cached."""
        if refused is not None:
            # tools that log in rewrite ~/.aws/credentials while a long run goes on
            self._profiles = reload(self._environ, self._profiles)
        with self._cache.lock(self._name(), lambda: not anew and self.cached(refused) is not None):
            if not anew and (held := self.cached(refused)) is not None:
                return held
            from s3pull.access.assume import assume  # a warm start needs none of it

            issued = self._clock()
            made = assume(
                self._access,
                environ=self._environ,
                profiles=self._profiles,
                prompt=self._prompt,
                note=self._note,
                clock=self._clock,
            )
            facts = {
                "share": self._access.share,
                "bucket": self._access.bucket,
                "prefix": self._access.prefix,
                "role_arn": self._access.role_arn,
                "session_name": made.session_name,
                "session_arn": made.arn,
                "width": made.width,
            }
            held = Held(made.credentials, issued, facts)
            # the name anew: an SSO token may have been renewed on the way
            self._cache.put(self._name(), SESSION, _value(held), made.credentials.expires or issued)
            return held

    def _name(self) -> str:
        return session_entry(self._access, self._environ, self._profiles)


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """`note`, told each thing once: a renewal finds the same things worth saying as the first call."""
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            note(text)

    return tell


def session_entry(access: Access, environ: Mapping[str, str], profiles: Profiles) -> str:
    """The name of the cache entry of `access`'s session: a hash over all that the session is made of and for."""
    return entry_name(
        SESSION,
        {
            "role": access.role_arn,
            "external_id": access.external_id,
            "session_name": access.session_name,
            "duration": access.duration,
            "policy": narrowing(access).policy,
            "mfa": access.mfa_serial,
            "source_identity": access.source_identity,
            "tags": access.session_tags,
            "own": fingerprint(access, environ, profiles),
            "endpoint": [access.sts_endpoint_url, environ.get("AWS_ENDPOINT_URL_STS"), environ.get("AWS_ENDPOINT_URL")],
            "region": sts_region(access, environ, profiles),
        },
    )


def endpoint_name(access: Access, environ: Mapping[str, str], profiles: Profiles) -> str:
    """The name of the cache entry of `access`'s endpoint: all that botocore's endpoint rules look at."""
    settings = json.dumps(profile_facts(effective(access.profile, environ), profiles), sort_keys=True)
    return entry_name(
        ENDPOINT,
        {
            "bucket": access.bucket,
            "region": access.region,
            "url": access.endpoint_url,
            "environment": {key: environ[key] for key in _ENDPOINT_VARIABLES if environ.get(key)},
            "profile": hashlib.sha256(settings.encode("utf-8", "surrogatepass")).hexdigest(),
        },
    )


def _value(held: Held) -> dict[str, Any]:
    keys = held.credentials
    return {
        **held.facts,
        "access_key": keys.access_key,
        "secret_key": keys.secret_key,
        "token": keys.token,
        "expires": keys.expires,
        "issued": held.issued,
    }


def _held(value: Mapping[str, Any] | None) -> Held | None:
    """A session from its cache entry; None for an entry that is not one."""
    try:
        if value is None:
            return None
        facts = dict(value)
        keys = [str(facts.pop(key)) for key in ("access_key", "secret_key", "token")]
        expires, issued = float(facts.pop("expires")), float(facts.pop("issued"))
        return Held(Credentials(keys[0], keys[1], keys[2], expires), issued, facts)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
