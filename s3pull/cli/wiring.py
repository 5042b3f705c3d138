"""Joins what the rooms know of one source: its share, its access, a session for it and a store to read it with.

Commands get an `OpenSource` and close it; nothing is asked of AWS before the first request needs it or the session
has to be made. It decides nothing: `access.options.resolve` says what holds, and messages go to the command's Output.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from s3pull.access import profiles
from s3pull.access.cache import open_cache
from s3pull.access.config import Config, Share, config_path, load
from s3pull.access.options import resolve
from s3pull.access.session import Session, open_session
from s3pull.cli.advice import advise as add_advice
from s3pull.cli.options import AccessChoice
from s3pull.cli.render import Output
from s3pull.errors import S3pullError
from s3pull.objects import Access
from s3pull.pull.source import SourceSpec, parse_source
from s3pull.remote.engine import SocketStore, open_store


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source that can be read. Keys of `store` begin with `prefix`; `spec.path` is what comes after it."""

    spec: SourceSpec
    access: Access
    session: Session
    store: SocketStore

    @property
    def prefix(self) -> str:
        return self.access.prefix


def read_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """config.toml: `path` (from --config), S3PULL_CONFIG or the user's own. Raises UsageError, DiskError."""
    return load(config_path(path, environ))


def find_access(choice: AccessChoice, spec: SourceSpec, environ: Mapping[str, str] = os.environ) -> Access:
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


def find_session(access: Access, out: Output, environ: Mapping[str, str] = os.environ) -> Session:
    """A session for `access`: cached, or made now. Raises AccessDenied, CredentialsError, UsageError, ServiceError."""
    return open_session(
        access,
        environ=environ,
        profiles=profiles.load(environ),
        cache=open_cache(access.cache, environ, detail=out.note),
        prompt=out.asker(),
        note=out.say,
    )


@contextmanager
def advising(access: Access, spec: SourceSpec, out: Output) -> Iterator[None]:
    """Let denials of this source say what they mean: those that `out` tells, and those that leave the block."""

    def advise(error: S3pullError, seen: bool = False) -> None:
        add_advice(error, access, spec.share or spec.text, seen=seen)

    out.advised_by(advise)
    try:
        yield
    except S3pullError as error:
        advise(error)
        raise


@contextmanager
def open_source(
    choice: AccessChoice,
    source: str,
    out: Output,
    *,
    limit_rate: float | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[OpenSource]:
    """Open what SOURCE names for as long as the block runs. `limit_rate` is bytes a second."""
    spec = parse_source(source)
    access = find_access(choice, spec, environ)
    with (
        advising(access, spec, out),
        closing(find_session(access, out, environ)) as session,
        closing(
            open_store(
                access,
                session.credentials,
                endpoint=session.endpoint,
                remember=session.remember,
                environ=environ,
                limit_rate=limit_rate,
            )
        ) as store,
    ):
        yield OpenSource(spec, access, session, store)
