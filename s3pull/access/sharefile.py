"""Share files: what a data owner hands over, in TOML. They come from strangers and are trusted with nothing.

A file says where a source is and which role reads it. It may not say anything about the reader: whose credentials are
used, where sessions are kept, whether plain HTTP will do. This module reads, judges and writes text; asking for a
yes is the command line's, remembering is `config`'s.

    [shares.acme]                 (or the keys alone, and a name given on import)
    bucket = "acme-exports"
    prefix = "2026/"
    role_arn = "arn:aws:iam::111122223333:role/acme-readers"
    external_id = "9f4c…"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from s3pull.access import values
from s3pull.access.config import SHARE_KEYS, Config, Share, line_of, parse_toml, share
from s3pull.errors import UsageError

ALLOWED = (
    "bucket",
    "access_point",
    "prefix",
    "role_arn",
    "external_id",
    "region",
    "bucket_owner",
    "request_payer",
    "endpoint_url",
)

_SENT = "ask the data owner for it again: it may have been changed on the way"
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would do, line by line (the external ID among them), and why it may not happen without a yes."""

    lines: tuple[str, ...]
    needs_consent: tuple[str, ...]


def read(text: str, *, name: str | None = None) -> Share:
    """The share that a file describes. `name` overrides the file's own.

    Raises UsageError for what is not TOML, holds another number of shares than one, a key that a share file may not
    have, or a value that cannot be.
    """
    document = parse_toml(text, "the share file", hint=_SENT)
    own_name, settings, above = _only_share(document)
    called = name or own_name
    if called is None:
        raise UsageError("the share file does not say what the share is called", hint="--name NAME")

    def place(key: str) -> str:
        line = line_of(text, (*above, key)) if key else None
        where = f"the share file, line {line}" if line else "the share file"
        return f"{where}: {key}" if key else where

    for key in settings:
        if key in SHARE_KEYS and key not in ALLOWED:
            hint = "this is for you to say and not for the data owner: leave it out of the file"
            raise UsageError(f"{place(key)} is not allowed in a share file", hint=hint)
    return share(called, settings, place)


def preview(new: Share, config: Config) -> Preview:
    """What remembering `new` would do, and `needs_consent`: why that wants a yes (nothing: it does not)."""
    old = config.shares.get(new.name)
    lines = [f"share {new.name} ({'replaces the one of that name' if old else 'new'})"]
    lines += [f"  {key} = {value}" for key, value in new.settings().items()]
    lines.append(f"  {_meaning(new)}")
    return Preview(tuple(lines), tuple(_doubts(new, old)))


def export(one: Share) -> str:
    """A share as a file for somebody else: the source and its role, nothing of one's own. Has the external ID."""
    import tomlkit

    table = tomlkit.table()
    for key, value in one.settings().items():
        if key in ALLOWED:
            table.add(key, value)
    document = tomlkit.document()
    document["shares"] = tomlkit.table(is_super_table=True)
    document["shares"][one.name] = table
    return tomlkit.dumps(document)


def _only_share(document: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any], tuple[str, ...]]:
    """(name, settings, the tables above them) of the one share in a file."""
    tables = document.get("shares")
    if tables is None:
        return None, document, ()
    if len(document) > 1 or not isinstance(tables, dict) or len(tables) != 1:
        raise UsageError("a share file holds one share and nothing else", hint="one table [shares.NAME]")
    name, settings = next(iter(tables.items()))
    if not isinstance(settings, dict):
        raise UsageError(f"the share file: {name} is not a table", hint="one table [shares.NAME]")
    return name, settings, ("shares", name)


def _meaning(new: Share) -> str:
    where = new.bucket or new.access_point
    if new.role_arn:
        account = values.role_account(new.role_arn)
        return f"reads {where} by assuming a role in account {account}"
    return f"reads {where} with your own credentials, directly"


def _doubts(new: Share, old: Share | None) -> list[str]:
    doubts = []
    if old is not None:
        doubts.append(f"there is a share {new.name} already: it would be replaced, your own settings in it included")
    host = urlsplit(new.endpoint_url).hostname or "" if new.endpoint_url else None
    if host is not None and not host.endswith(_AWS_HOSTS):
        whose = "requests signed for the role" if new.role_arn else "requests signed with your own credentials"
        doubts.append(f"it names a service that is not AWS: {whose} would go to {host}")
    return doubts
