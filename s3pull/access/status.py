"""What `login`, `logout` and `status` ask about: which sessions are cached, until when, and who one is.

It opens no session and holds no secret: `session` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from s3pull.access import own, sts
from s3pull.access.cache import SESSION, Cache
from s3pull.access.own import Prompt
from s3pull.access.profiles import Profiles
from s3pull.objects import Access


@dataclass(frozen=True, slots=True)
class CachedSession:
    """A session in the cache, without its secrets. `problem` says why one cannot be opened; then little is known."""

    name: str
    expires: float
    sealed: bool
    share: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    role_arn: str | None = None
    session_name: str | None = None
    session_arn: str | None = None
    width: str | None = None
    problem: str | None = None


_SHOWN = ("share", "bucket", "prefix", "role_arn", "session_name", "session_arn", "width")


def cached_sessions(cache: Cache, *, clock: Callable[[], float] = time.time) -> list[CachedSession]:
    """The sessions that AWS still honours, the one that ends first at the head."""
    found = [
        CachedSession(
            entry.name,
            entry.expires,
            entry.sealed,
            **{key: (entry.value or {}).get(key) for key in _SHOWN},
            problem=entry.problem,
        )
        for entry in cache.entries()
        if entry.kind == SESSION and (entry.expires > clock() or entry.problem)
    ]
    return sorted(found, key=lambda session: session.expires)


def forget(
    cache: Cache, *, share: str | None = None, name: str | None = None, everything: bool = False
) -> list[CachedSession]:
    """Forget sessions: one share's, one entry's, or all (endpoints too). Returns those forgotten.

    AWS honours a session until it expires, forgotten or not: each tells when that is.
    """
    gone = []
    for session in cached_sessions(cache):
        mine = session.share == share if share is not None else session.name == name
        if (everything or mine) and cache.remove(session.name):
            gone.append(session)
    if everything:
        for entry in cache.entries():
            cache.remove(entry.name)
    return gone


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the own credentials are. `iam_arn` is what a data owner names in a trust policy; `caveat` is said with it."""

    arn: str
    account: str
    user_id: str
    iam_arn: str
    caveat: str | None = None


def whoami(access: Access, *, environ: Mapping[str, str], profiles: Profiles, prompt: Prompt | None = None) -> Identity:
    """Ask STS (GetCallerIdentity) who the own credentials are. Raises CredentialsError, ServiceError, AccessDenied."""
    caller = sts.Sts(access, own.find(access, environ, profiles, prompt).current(), environ, profiles).caller()
    return identity_of(caller)


def identity_of(caller: sts.Caller) -> Identity:
    """The IAM ARN behind the ARN of a session.

    user/…, root          as it is
    assumed-role/R/S      role/R: AWS leaves the role's path out of session ARNs, so it may be missing here
    an SSO role           role/aws-reserved/sso.amazonaws.com/R; outside us-east-1 its path has the region too
    """
    head, _, tail = caller.arn.rpartition(":")
    kind, *names = tail.split("/")
    if kind != "assumed-role" or not names:
        return Identity(caller.arn, caller.account, caller.user_id, caller.arn)
    partition = head.split(":")[1]
    path, caveat = "", "if the role has a path, it is missing here: AWS does not say it"
    if names[0].startswith("AWSReservedSSO_"):
        path = "aws-reserved/sso.amazonaws.com/"
        caveat = "an SSO role of a region other than us-east-1 has the region in its path: …/sso.amazonaws.com/REGION/…"
    arn = f"arn:{partition}:iam::{caller.account}:role/{path}{names[0]}"
    return Identity(caller.arn, caller.account, caller.user_id, arn, caveat)
