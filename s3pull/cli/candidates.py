"""Answers the completion scripts while somebody waits at a prompt: `s3pull __complete KIND WORD [WORDS OF THE LINE…]`.

One candidate a line, in full; nothing where anything is in the way. It asks no person and no STS, starts no program,
writes no file, and is silent after 0.3 s (S3PULL_COMPLETE_SECONDS sets another bound, for long ways): a session is
used where one is cached, else there are no keys to offer. It is no command: typer is not even imported.

    | KIND     | candidates                                                           |
    |----------|----------------------------------------------------------------------|
    | source   | the shares (`acme:`); after the colon folders and keys, one level     |
    | share    | the shares (`acme`)                                                  |
    | profile  | the AWS profiles                                                     |
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

PATIENCE = 0.3
#: nobody reads more at a prompt
_MOST = 500


def answer(args: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
    """Print the candidates, all at once or none. Never raises; ends the process where time is up."""
    try:
        patience = float(environ.get("S3PULL_COMPLETE_SECONDS") or PATIENCE)
        # what starting up took counts, too
        clock = threading.Timer(max(0.05, patience - time.process_time()), os._exit, (0,))
        clock.daemon = True
        clock.start()
        kind, word, *line = args
        found = [one for one in islice(_KINDS[kind](word, line, environ), _MOST) if one.isprintable()]
        sys.stdout.buffer.write("".join(f"{one}\n" for one in found).encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except BaseException:  # noqa: S110  whatever it is, somebody is in the middle of typing
        pass


def _names(word: str, line: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    from s3pull.access.config import config_path, load

    config = load(config_path(_given(line).get("config"), environ))
    return (name for name in sorted(config.shares) if name.startswith(word))


def _profiles(word: str, _: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    from s3pull.access import profiles

    return (name for name in sorted(profiles.load(environ).profiles) if name.startswith(word))


def _sources(word: str, line: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    if ":" not in word:
        return (f"{name}:" for name in _names(word, line, environ))
    return _keys(word, line, environ)


def _keys(word: str, line: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    from s3pull.access import config, profiles
    from s3pull.access.cache import open_cache
    from s3pull.access.options import resolve
    from s3pull.access.session import kept_session
    from s3pull.pull.ls import level
    from s3pull.pull.source import Kind, parse_source
    from s3pull.remote.engine import open_store

    spec = parse_source(word)
    if spec.kind is Kind.GLOB or (spec.bucket is not None and "/" not in word.removeprefix("s3://")):
        return
    options = _given(line)
    path = config.config_path(options.pop("config", None), environ)
    known = profiles.load(environ)
    share = config.load(path).share(spec.share) if spec.share is not None else None
    access = resolve(share=share, bucket=spec.bucket, prefix="", options=options, environ=environ, profiles=known)
    cache = open_cache(access.cache, environ, silent=True)
    session = kept_session(access, environ=environ, profiles=known, cache=cache)
    endpoint = session.endpoint if session is not None else None
    if session is None or endpoint is None:  # never read before: botocore would have to be asked where it is
        return
    before = word[: len(word) - len(spec.path)]
    with closing(
        open_store(access, session.credentials, endpoint=endpoint, remember=lambda _: None, environ=environ)
    ) as store:
        for entry in level(store, access.prefix, spec.key):
            yield before + _escaped(entry.name)


def _escaped(name: str) -> str:
    """A key as it is typed in a SOURCE, where `*` and its like would be wildcards."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", name)


def _given(line: Sequence[str]) -> dict[str, Any]:
    """The access options on a command line that nobody has finished typing, and `config`."""
    from s3pull.access.options import ACCESS_OPTIONS

    found: dict[str, Any] = {}
    flags: dict[str, tuple[str, object]] = {}
    valued: dict[str, tuple[str, bool]] = {"--config": ("config", False)}
    for row in ACCESS_OPTIONS:
        if row.kind in ("flag", "switch"):
            flags[row.flag] = (row.name, True)
            if row.off:
                flags[row.off] = (row.name, False)
        else:
            valued[row.flag] = (row.name, row.kind == "pairs")
    words = iter(line)
    for word in words:
        name, equals, value = word.partition("=")
        if word in flags:
            key, on = flags[word]
            found[key] = on
        elif name in valued:
            key, many = valued[name]
            said = value if equals else next(words, "")
            found[key] = [*found.get(key, []), said] if many else said
    if "config" in found:
        found["config"] = Path(found["config"]).expanduser()
    return found


_KINDS: dict[str, Callable[[str, Sequence[str], Mapping[str, str]], Iterator[str]]] = {
    "source": _sources,
    "share": _names,
    "profile": _profiles,
}
