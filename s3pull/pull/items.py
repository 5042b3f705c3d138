"""From a source to items: which objects it names, and the safe path that each will have. Streams; keeps no listing.

What cannot have a safe path comes out as a `Refused` in its place, so that one bad key never stops the others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator

from s3pull.errors import NameRefused, NothingThere, S3pullError, UsageError
from s3pull.local.names import Collisions, local_path
from s3pull.objects import RemoteObject
from s3pull.pull import fanout
from s3pull.pull.globs import Filters, fixed_part, matcher
from s3pull.pull.puller import Item
from s3pull.pull.source import Kind, SourceSpec
from s3pull.records import NamedTuple
from s3pull.remote.answers import credible
from s3pull.remote.store import Store

#: bytes that no object has
LARGEST = 1 << 60


class Marker(NamedTuple):
    """A `dir/` object: it becomes a directory."""

    object: RemoteObject
    path: str


class Refused(NamedTuple):
    """An object that will not be fetched, and why."""

    object: RemoteObject
    error: S3pullError


Found = Item | Marker | Refused


class Naming:
    """Gives each key its path. `collisions` remembers what was given, so that two keys never share one."""

    def __init__(self, *, encode: bool, folds: bool) -> None:
        self._encode = encode
        self._collisions = Collisions(folds)
        self._lock = threading.Lock()

    def place(self, found: RemoteObject, relative: str, *, version_id: str | None = None) -> Found:
        """The item, marker or refusal for the object whose key is `relative` below the source's fixed part."""
        with self._lock:
            return self._place(found, relative, version_id)

    def _place(self, found: RemoteObject, relative: str, version_id: str | None) -> Found:
        try:
            if relative.endswith("/") and found.size == 0:
                path = local_path(relative[:-1], encode=self._encode)
                self._collisions.check(path, directory=True)
                return Marker(found, path)
            path = local_path(relative, encode=self._encode)
            self._collisions.check(path)
        except NameRefused as error:
            error.key = found.key
            return Refused(found, error)
        folder, _, name = path.rpartition("/")
        return Item(found, folder, name, version_id)


def listed(
    store: Store, spec: SourceSpec, prefix: str, naming: Naming, filters: Filters, *, folder: str = ""
) -> Iterator[list[tuple[RemoteObject, Found]]]:
    """Page by page, the objects of a tree or glob. `prefix` is the share's: keys below it are what the user sees.
    `folder` is one folder, named by the user, that all paths lie in."""
    root = prefix + spec.fixed
    literal = fixed_part(spec.path) if spec.kind is Kind.GLOB else spec.key
    wanted = matcher(spec.path) if spec.kind is Kind.GLOB else None
    for page in fanout.pages(store, prefix + literal):
        out = []
        for found in page:
            if not found.key.startswith(root) or len(found.key) == len(root):
                continue  # the marker of the root itself, or a server that lists more than was asked for
            if wanted is not None and not wanted(found.key[len(prefix) :]) and found.key != prefix + spec.path:
                continue  # a key that reads like the glob itself is meant too: names from `ls` can be pasted
            relative = found.key[len(root) :]
            if filters and not filters.wants(relative):
                continue
            out.append((found, _inside(folder, naming.place(found, relative))))
        yield out


def _inside(folder: str, what: Found) -> Found:
    if not folder or isinstance(what, Refused):
        return what
    if isinstance(what, Marker):
        return what._replace(path=f"{folder}/{what.path}")
    return what._replace(folder=f"{folder}/{what.folder}" if what.folder else folder)


def exact(store: Store, key: str, *, version_id: str | None = None) -> RemoteObject | None:
    """The object at one exact key, or None where the service says that there is none. Never lists.

    Raises AccessDenied where it will not tell (no such key, or no permission).
    """
    try:
        return store.head(key, version_id=version_id, checksum=True)
    except NothingThere as error:
        if error.code == "NoSuchBucket" or version_id is not None:
            raise
        return None


def from_list(
    lines: Iterable[str], store: Store, prefix: str, naming: Naming, filters: Filters
) -> Iterator[tuple[str, Callable[[], Found]]]:
    """The keys of `--from-file`: one a line, relative to the source, or `ls --json` lines. Each comes with a call that
    asks for the object (many at once, from the crew), except where the line itself says size and ETag.

    Raises UsageError for a key that cannot be one.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text:
            continue
        said = _json_line(text) if text.startswith("{") else None
        if said is None:
            relative, known = text, None
        elif said.get("event", "object") != "object" or "key" not in said:
            continue
        else:
            relative = str(said["key"])
            if not speakable(relative):
                raise UsageError(
                    f"line {number} of the list: its key is not UTF-8",
                    hint="S3 has no such key: write the list by s3pull ls -r --json",
                )
            known = _known(prefix + relative, said)
        if filters and not filters.wants(relative):
            continue
        yield prefix + relative, _asker(store, prefix + relative, relative, known, naming)


def _json_line(text: str) -> dict[str, object] | None:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None  # a key may well begin with a brace
    return said if isinstance(said, dict) else None


def _known(key: str, said: dict[str, object]) -> RemoteObject | None:
    size, etag = said.get("size"), said.get("etag")
    if type(size) is not int or not 0 <= size < LARGEST or not isinstance(etag, str) or not speakable(etag):
        return None
    modified, storage = said.get("last_modified"), said.get("storage_class")
    return RemoteObject(
        key,
        size,
        etag,
        last_modified=_epoch(modified),
        storage_class=storage if isinstance(storage, str) else None,
    )


def _epoch(text: object) -> float | None:
    from datetime import datetime

    if not isinstance(text, str):
        return None
    try:
        return credible(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return None


def _asker(store: Store, key: str, relative: str, known: RemoteObject | None, naming: Naming) -> Callable[[], Found]:
    def ask() -> Found:
        found = known or exact(store, key)
        if found is None:
            raise NothingThere(f"no object {key}", hint="keys are taken relative to the source", key=key)
        return naming.place(found, relative)

    return ask


def speakable(text: str) -> bool:
    """Whether it can be asked for: JSON also writes halves of characters, which no key has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
