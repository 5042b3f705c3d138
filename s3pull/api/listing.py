"""`s3pull.ls`: what is there, as records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Unpack

from s3pull.api.caller import AccessOptions, Caller
from s3pull.pull import ls as listing
from s3pull.pull.globs import escape
from s3pull.pull.opening import find_access
from s3pull.pull.source import SourceSpec, parse_source
from s3pull.records import NamedTuple


class Entry(NamedTuple):
    """An object or a folder. `name` is relative to the share (or the bucket); a folder's ends in `/`, and all it has is
    a name, a `source` and a `url`.

    `source` names it for `open`, `pull` and `sync`; `url` (`s3://bucket/key`) for other tools. `size` is bytes.
    """

    name: str
    source: str
    url: str
    size: int | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    storage_class: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.etag is None


def ls(source: str, *, recursive: bool = False, **access: Unpack[AccessOptions]) -> Iterator[Entry]:
    """What is at `source`: one level of it with its folders, or all that is below. Streams: the first entries come at
    once, and nothing is kept.

    >>> [entry.name for entry in s3pull.ls("acme:2026/")]
    ['2026/deep/', '2026/prices.parquet', '2026/report.csv']
    >>> sum(entry.size for entry in s3pull.ls("acme:", recursive=True) if entry.name.endswith(".csv"))
    36

    Raises UsageError and NothingThere (no such share) at once, the rest while it is read: NothingThere where there is
    nothing, AccessDenied, CredentialsError, ServiceError.
    """
    caller = Caller(access, "ls")
    spec = parse_source(source)
    place = find_access(caller, spec)
    return _entries(caller, spec, f"s3://{place.bucket}/{place.prefix}", recursive=recursive)


def _entries(caller: Caller, spec: SourceSpec, url: str, *, recursive: bool) -> Iterator[Entry]:
    with caller.opened(spec.text) as opened:
        stem = f"{spec.share}:" if spec.share is not None else f"s3://{spec.bucket}/"
        for page in listing.entries(opened.store, spec, opened.prefix, recursive=recursive):
            for name, found in page:
                source = stem + escape(name)
                if found is None:
                    yield Entry(name, source, url + name)
                    continue
                when = datetime.fromtimestamp(found.last_modified, UTC) if found.last_modified is not None else None
                storage = found.storage_class or "STANDARD"
                yield Entry(name, source, url + name, found.size, found.etag, when, storage)
