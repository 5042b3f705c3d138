"""What is there: objects of a source, or one level of it with its folders. Streams; keeps no listing."""

from __future__ import annotations

from collections.abc import Iterator

from s3pull.errors import NothingThere
from s3pull.objects import RemoteObject
from s3pull.pull import fanout
from s3pull.pull.globs import fixed_part, matcher
from s3pull.pull.items import exact
from s3pull.pull.source import Kind, SourceSpec
from s3pull.records import NamedTuple
from s3pull.remote.store import Store

#: sorts after every key of a folder: UTF-8 order is code point order
_AFTER_ALL = "\U0010ffff"


class Entry(NamedTuple):
    """A name relative to the share; `object` None: a folder (its name ends in `/`)."""

    name: str
    object: RemoteObject | None


def entries(store: Store, spec: SourceSpec, prefix: str, *, recursive: bool) -> Iterator[list[Entry]]:
    """Page by page, the objects of `spec` below `prefix` (the share's), in the service's order, folders folded unless
    `recursive`.

    Raises NothingThere where there are none, and what `Store.list` and `Store.head` raise.
    """
    if spec.kind is Kind.OBJECT:
        found = exact(store, prefix + spec.key)
        if found is not None:
            yield [Entry(spec.key, found)]
            return
        spec = spec.below()
    cut = len(prefix)
    pages: Iterator[list[Entry]]
    if spec.kind is Kind.GLOB:
        wanted = matcher(spec.path)
        pages = (
            [Entry(found.key[cut:], found) for found in page if wanted(found.key[cut:]) or found.key[cut:] == spec.path]
            for page in fanout.pages(store, prefix + fixed_part(spec.path))
        )
    elif recursive:
        root = prefix + spec.key
        pages = (
            [Entry(found.key[cut:], found) for found in page if found.key.startswith(root)]
            for page in fanout.pages(store, root)
        )
    else:
        pages = ([entry] for entry in level(store, prefix, spec.key))
    some = False
    for page in pages:
        some = some or bool(page)
        yield page
    if not some and (spec.path or not recursive):
        raise NothingThere(
            f"nothing at {spec.text}", hint="names are case-sensitive; `s3pull ls -r` lists all of a share"
        )


def level(store: Store, prefix: str, folder: str) -> Iterator[Entry]:
    """What is in `folder` (ends in `/`, or is ''), or what there is on its level where it is the beginning of a name.

    A delimiter is never sent (policies can condition on it): after each page the rest of a folder that is
    known by then is jumped over with start-after."""
    root = prefix + folder
    seen: set[str] = set()
    start_after = last = ""
    ordered = True  # a directory bucket is not, and knows no start-after
    while True:
        jump = ""
        for page in store.list(root, start_after=start_after):
            for found in page:
                ordered = ordered and found.key > last
                last = found.key
                relative = last[len(root) :]
                if not last.startswith(root) or (not relative and folder[-1:] in ("", "/")):
                    continue
                inner, slash, _ = relative.partition("/")
                if not slash:
                    yield Entry(folder + inner, found)
                elif inner not in seen:
                    seen.add(inner)
                    yield Entry(f"{folder}{inner}/", None)
            inner, slash, _ = last[len(root) :].partition("/")
            if ordered and page and slash:
                jump = f"{root}{inner}/{_AFTER_ALL}"
                break
        if not jump:
            return
        start_after = jump
