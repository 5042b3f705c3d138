"""Who calls: access options as keyword arguments, and what takes the place of a person at a terminal.

What there is to say goes to the logger `s3pull` (info and debug, so that nothing is shown unless a program asks for
it); questions go to the callback `ask_mfa`, or to nobody.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypedDict

from s3pull.access.cache import Cache, cache_directory, open_cache
from s3pull.access.options import BY_NAME
from s3pull.access.profiles import nearest
from s3pull.errors import S3pullError
from s3pull.pull import opening
from s3pull.pull.opening import Advise, OpenSource

_LOGGER = logging.getLogger("s3pull")

#: one cache for each process, mode and place: sessions that are kept in memory serve the calls that follow
_CACHES: dict[tuple[int, str, Path], Cache] = {}


class AccessOptions(TypedDict, total=False):
    """How to get at a source. Each is the command line's option of that name (`--role-arn`); what is not given is found
    as there: the share, `S3PULL_*`, the AWS profile and environment."""

    role_arn: str
    external_id: str
    profile: str
    region: str
    mfa_serial: str
    #: seconds, or text like `1h30m`
    duration: int | str
    session_name: str
    source_identity: str
    session_tag: Mapping[str, str] | Sequence[str]
    bucket_owner: str
    no_assume: bool
    anonymous: bool
    request_payer: bool
    narrow: bool
    endpoint_url: str
    sts_endpoint_url: str
    cache: Literal["auto", "keyring", "file", "none"]
    allow_http: bool
    #: another config.toml
    config: str | os.PathLike[str]
    #: called with the question where a role wants an MFA code; returns the six digits
    ask_mfa: Callable[[str], str]


class Caller:
    """A `Chosen` and a `Listener` of `pull.opening`."""

    def __init__(self, given: AccessOptions, function: str) -> None:
        values: dict[str, Any] = dict(given)
        config = values.pop("config", None)
        self._ask: Callable[[str], str] | None = values.pop("ask_mfa", None)
        self.config = Path(config) if config is not None else None
        for name in values:
            if name not in BY_NAME:
                near = nearest(name, AccessOptions.__annotations__)
                hint = f"; did you mean {near}?" if near else ""
                raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
        self.values: Mapping[str, object] = {name: value for name, value in values.items() if value is not None}
        self._advise: Advise = lambda _, __: None

    def say(self, text: str) -> None:
        _LOGGER.info("%s", text)

    def note(self, text: str) -> None:
        _LOGGER.debug("%s", text)

    def asker(self) -> Callable[[str], str] | None:
        return self._ask

    def advised_by(self, advise: Advise) -> None:
        self._advise = advise

    def explain(self, error: S3pullError, *, seen: bool) -> None:
        """Give a denial of one object its meaning; `seen`: it was in a listing."""
        self._advise(error, seen)

    def open(self, source: str) -> OpenSource:
        """Open `source`; whoever calls closes it."""
        return opening.open_now(self, source, self, cache=_cache)

    def opened(self, source: str, *, limit_rate: float | None = None) -> AbstractContextManager[OpenSource]:
        """`source`, open while the block runs. `limit_rate` is bytes a second."""
        return opening.open_source(self, source, self, limit_rate=limit_rate, cache=_cache)


def _cache(mode: str) -> Cache:
    place = os.getpid(), mode, cache_directory(os.environ)
    found = _CACHES.get(place)
    if found is None:
        found = _CACHES.setdefault(place, open_cache(mode, os.environ, detail=lambda text: _LOGGER.debug("%s", text)))
    return found
