"""What belongs to a source, and how to list it: the same answer for `sync`, `verify --remote` and `lock`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from s3pull.objects import RemoteObject
from s3pull.pull import fanout, items
from s3pull.pull.globs import fixed_part, matcher
from s3pull.pull.source import Kind, SourceSpec
from s3pull.records import NamedTuple
from s3pull.remote.store import Store


class Extent(NamedTuple):
    """`root` is the key prefix that paths below DEST do not have; `prefix` is what is listed, exactly so.

    `belongs` says of a key below `root` whether the source means it (None: all of them). `one`: the one object that
    the source is; then nothing needs to be listed.
    """

    root: str
    prefix: str
    belongs: Callable[[str], bool] | None = None
    one: RemoteObject | None = None

    def pages(self, store: Store) -> Iterator[list[RemoteObject]]:
        """All of it, page by page, with what else lies below `prefix`."""
        return iter([[self.one]]) if self.one is not None else fanout.pages(store, self.prefix)


def extent(store: Store, spec: SourceSpec, share_prefix: str) -> Extent:
    """What `spec` names: one exact key is asked for and never listed; where it is none, it is the tree below.

    Raises what `Store.head` raises, but NothingThere.
    """
    if spec.kind is Kind.OBJECT:
        found = items.exact(store, share_prefix + spec.key)
        if found is not None:
            name = spec.key.rpartition("/")[2]
            return Extent(share_prefix + spec.fixed, share_prefix + spec.key, lambda key: key == name, found)
        spec = spec.below()
    root = share_prefix + spec.fixed
    if spec.kind is not Kind.GLOB:
        return Extent(root, share_prefix + spec.key)
    wanted, fixed = matcher(spec.path), spec.fixed
    # a key that reads like the glob itself is meant too: names from `ls` can be pasted
    return Extent(
        root, share_prefix + fixed_part(spec.path), lambda key: wanted(fixed + key) or fixed + key == spec.path
    )
