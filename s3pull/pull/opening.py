"""Joins what the rooms know of one source: its share, its access, a session for it and a store to read it with.

The command line and the Python interface get an `OpenSource` here and close it; nothing is asked of AWS before the
first request needs it or the session has to be made. It decides nothing: `access.options.resolve` says what holds, and
whatever there is to say or to ask goes to the caller's `Listener`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from s3pull.access import profiles
from s3pull.access.cache import Cache, open_cache
from s3pull.access.config import Config, Share, config_path, load
from s3pull.access.options import resolve
from s3pull.access.session import Session, open_session
from s3pull.errors import S3pullError
from s3pull.events import Summary
from s3pull.objects import Access
from s3pull.pull.advice import advise as add_advice
from s3pull.pull.source import SourceSpec, parse_source
from s3pull.records import NamedTuple
from s3pull.remote.engine import SocketStore, open_store

#: gives an error its diagnosis and a better hint; told, too, whether its object was seen in a listing
Advise = Callable[[S3pullError, bool], None]


class Chosen(Protocol):
    """How to get at a source: what was given, by name of `access.options.ACCESS_OPTIONS`, and which config.toml."""

    @property
    def values(self) -> Mapping[str, object]: ...

    @property
    def config(self) -> Path | None: ...


class Listener(Protocol):
    """Whoever is told things and asked questions while a source is opened and read."""

    def say(self, text: str) -> None:
        """What people should know."""
        ...

    def note(self, text: str) -> None:
        """What only the curious want to know."""
        ...

    def asker(self) -> Callable[[str], str] | None:
        """A function that asks a person (for an MFA code); None where there is nobody to ask."""
        ...

    def advised_by(self, advise: Advise) -> None:
        """Let `advise` look at each object's error before anybody is told of it."""
        ...


class OpenSource(NamedTuple):
    """A source that can be read. Keys of `store` begin with `prefix`; `spec.path` is what comes after it."""

    spec: SourceSpec
    access: Access
    session: Session
    store: SocketStore

    @property
    def prefix(self) -> str:
        return self.access.prefix

    def close(self) -> None:
        """End what reads and what renews; may be called more than once."""
        self.store.close()
        self.session.close()

    @property
    def endpoint_host(self) -> str:
        """The host of a service that is not AWS, '' for AWS: with the bucket's name it tells sources apart."""
        from urllib.parse import urlsplit

        url = self.access.endpoint_url
        host = (urlsplit(url).hostname or "") if url else ""
        return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else host

    def signed(self, summary: Summary) -> Summary:
        """`summary`, with who it was that read."""
        return summary._replace(
            role_arn=self.access.role_arn,
            session_name=self.session.session_name,
            source_identity=self.access.source_identity,
        )


def payer(access: Access) -> str:
    """Whose account pays for requests and transfer.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html: with an assumed role it is the
    account of the role.
    """
    if not access.request_payer or access.anonymous:
        return "the bucket's owner"
    if access.role_arn is not None:
        return f"the role's account ({access.role_arn.split(':')[4]})"
    return "your account (requester pays)"


def read_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """config.toml: `path` (from --config), S3PULL_CONFIG or the user's own. Raises UsageError, DiskError."""
    return load(config_path(path, environ))


def find_access(choice: Chosen, spec: SourceSpec, environ: Mapping[str, str] = os.environ) -> Access:
    """How to get at `spec`. The configuration is read only where it names a share. Raises UsageError, NothingThere."""
    share: Share | None = read_config(choice.config, environ).share(spec.share) if spec.share is not None else None
    return resolve(
        share=share,
        bucket=spec.bucket,
        prefix="",
        options=choice.values,
        environ=environ,
        profiles=profiles.load(environ),
    )


def find_session(
    access: Access,
    listener: Listener,
    environ: Mapping[str, str] = os.environ,
    *,
    cache: Callable[[str], Cache] | None = None,
) -> Session:
    """A session for `access`: cached, or made now. `cache` gives the cache of a mode; the user's own if it is None.

    Raises AccessDenied, CredentialsError, UsageError, ServiceError.
    """
    return open_session(
        access,
        environ=environ,
        profiles=profiles.load(environ),
        cache=cache(access.cache) if cache else open_cache(access.cache, environ, detail=listener.note),
        prompt=listener.asker(),
        note=listener.say,
    )


@contextmanager
def advising(access: Access, spec: SourceSpec, listener: Listener) -> Iterator[None]:
    """Let denials of this source say what they mean: those that `listener` tells, and those that leave the block."""

    def advise(error: S3pullError, seen: bool = False) -> None:
        add_advice(error, access, spec.share or spec.text, seen=seen)

    listener.advised_by(advise)
    try:
        yield
    except S3pullError as error:
        advise(error)
        raise


def open_now(
    choice: Chosen,
    source: str,
    listener: Listener,
    *,
    limit_rate: float | None = None,
    environ: Mapping[str, str] = os.environ,
    cache: Callable[[str], Cache] | None = None,
) -> OpenSource:
    """Open what SOURCE names; whoever gets it closes it. `limit_rate` is bytes a second; `cache` as above."""
    spec = parse_source(source)
    access = find_access(choice, spec, environ)
    with advising(access, spec, listener):
        session = find_session(access, listener, environ, cache=cache)
        try:
            store = open_store(
                access,
                session.credentials,
                endpoint=session.endpoint,
                remember=session.remember,
                environ=environ,
                limit_rate=limit_rate,
            )
        except BaseException:
            session.close()
            raise
    return OpenSource(spec, access, session, store)


@contextmanager
def open_source(
    choice: Chosen,
    source: str,
    listener: Listener,
    *,
    limit_rate: float | None = None,
    environ: Mapping[str, str] = os.environ,
    cache: Callable[[str], Cache] | None = None,
) -> Iterator[OpenSource]:
    """`open_now`, for as long as the block runs; denials that leave the block say what they mean."""
    with (
        closing(open_now(choice, source, listener, limit_rate=limit_rate, environ=environ, cache=cache)) as opened,
        advising(opened.access, opened.spec, listener),
    ):
        yield opened
