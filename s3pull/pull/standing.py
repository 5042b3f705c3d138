"""What stands at the local path of an object, and so what to do: gathers the facts for `plan.decide`, no more of them
than it needs. A HEAD and the reading of the file are the dear ones; a receipt saves both.

Nothing is written or fetched here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3pull.errors import LocalEdit, NameRefused, ObjectChanged
from s3pull.local.abandoned import remove_abandoned
from s3pull.local.directory import DIRECTORY, Directory, FileStat
from s3pull.local.reading import reading
from s3pull.objects import FULL_OBJECT, Checksum, Receipt, RemoteObject
from s3pull.pull import plan, proof
from s3pull.records import NamedTuple
from s3pull.remote import checksums

if TYPE_CHECKING:
    from s3pull.local.tree import Tree
    from s3pull.pull.puller import Choices, Item
    from s3pull.remote.store import Store

#: what content is hashed with where nobody prescribes another
OWN_ALGORITHM = "CRC64NVME"


class Standing(NamedTuple):
    """The decision, and what it rests on: the file as it stands, and its content's checksum where that was computed.

    `listed`: a list of `--checksums` names just this content.
    """

    decision: plan.Decision
    found: FileStat | None = None
    content: Checksum | None = None
    listed: bool = False


#: what is to be done where nothing stands and nothing is known
_NOTHING = Standing(plan.decide(None, 0, None, None))


def look(
    item: Item,
    tree: Tree,
    directory: Directory,
    store: Store,
    choices: Choices,
    receipt: Receipt | None,
    *,
    again: bool = False,
) -> Standing:
    """Decide about `item`, whose folder in `tree` is `directory`. `receipt` is what is known of its path.

    `again`: this run may have fetched it already.

    Raises NameRefused, LocalEdit, ObjectChanged, DiskError, and what `Store.head` raises.
    """
    pin = item.object
    if receipt is None and directory.new and not again:
        return _NOTHING
    found = directory.stat(item.name)
    if found is not None and found.kind == DIRECTORY and choices.mirror and not choices.dry_run:
        # a killed run made it, for an object that is gone by now
        found = None if remove_abandoned(tree, item.path) else found
    said = None
    if receipt is not None:
        same = receipt.etag == pin.etag and receipt.size == pin.size
        said = plan.Said(receipt.size, receipt.mtime_ns, same)
    standing = None
    equal: bool | None = None
    content: Checksum | None = None
    if found is not None:
        if found.kind == DIRECTORY:
            raise NameRefused(
                f"{item.path} is a directory here, an object in the source",
                hint="another DEST, or --exclude one of them",
                key=pin.key,
            )
        standing = plan.Standing(found.size, found.mtime_ns, found.regular)
        if plan.needs_proof(standing, pin.size, said, no_clobber=choices.no_clobber):
            whole = said is not None and said.unedited(standing)
            equal, content = _compare(item, directory, store, receipt, unedited=whole)
    decision = plan.decide(
        standing,
        pin.size,
        pin.last_modified,
        equal,
        said,
        overwrite=choices.overwrite,
        no_clobber=choices.no_clobber,
        mirror=choices.mirror,
        strict=choices.strict or choices.require_checksum,
    )
    if decision.refused:
        raise LocalEdit(
            f"{item.path} was changed here{'' if receipt else ' and is newer than the object'}",
            hint="--overwrite replaces it, --no-clobber keeps it without a word",
            key=pin.key,
        )
    return Standing(decision, found, content)


def _compare(
    item: Item, directory: Directory, store: Store, receipt: Receipt | None, *, unedited: bool
) -> tuple[bool | None, Checksum | None]:
    """Whether the file there has the object's content (None: it cannot be told), and the checksum of the content.

    | known                                        | compared                              | costs          |
    |----------------------------------------------|---------------------------------------|----------------|
    | a receipt of this very object                | the file with the receipt's checksum  | reading        |
    | a receipt of another one, the file unedited  | the receipt's checksum, if it is of the stated kind | a HEAD |
    | an ETag that looks like an MD5               | the file's MD5; if that differs, as below | reading    |
    | nothing of these                             | the file with what the service states | reading, a HEAD |
    """
    pin = item.object
    had = receipt_checksum(receipt)
    if receipt is not None and had is not None and receipt.etag == pin.etag and receipt.size == pin.size:
        content = content_of(directory, item.name, pin.size, had.algorithm)
        return content == had, content
    if checksums.etag_md5(pin) is not False and not unedited:
        content = content_of(directory, item.name, pin.size, "MD5")
        if content == checksums.full_object("MD5", bytes.fromhex(pin.etag)):
            return True, content
    stated = stated_by(store, item)
    if unedited and had is not None and stated.checksum is not None and stated.checksum[::2] == had[::2]:
        return checksums.same(stated.checksum, had), had
    with reading(directory, item.name) as read_at:
        found = proof.prove(stated, proof.on_disk(read_at), part_size=part_size(store, item))
    whole = found.by if found.by is not None and found.by.type == FULL_OBJECT else None
    return None if found.doubt else found.equal, whole


def receipt_checksum(receipt: Receipt | None) -> Checksum | None:
    """The checksum in a receipt, where there is one that can be computed here."""
    if receipt is None or receipt.algorithm is None or receipt.checksum is None:
        return None
    if checksums.hasher(receipt.algorithm) is None:
        return None
    return Checksum(receipt.algorithm, receipt.checksum)


def content_of(directory: Directory, name: str, size: int, algorithm: str = OWN_ALGORITHM) -> Checksum:
    """Read the file `name` and compute its checksum; a file shorter than `size` bytes is hashed as far as it goes."""
    hasher = checksums.hasher(algorithm)
    assert hasher is not None
    with reading(directory, name) as read_at:
        for piece in proof.on_disk(read_at)(0, size):
            hasher.update(piece)
    return checksums.full_object(algorithm, hasher.digest())


def stated_by(store: Store, item: Item) -> RemoteObject:
    """All that the service says of the object, its checksum among it: from the pin if it has one, else by HEAD.

    Raises ObjectChanged where the object is no longer the pinned one.
    """
    pin = item.object
    if pin.checksum is not None:
        return pin
    now = store.head(pin.key, version_id=item.version_id, checksum=True)
    if now.etag != pin.etag or now.size != pin.size:
        raise ObjectChanged(f"{pin.key} was replaced since it was listed", now=now.etag, key=pin.key)
    return now


def part_size(store: Store, item: Item) -> proof.PartSize:
    """Asks for the size of one part."""
    return lambda number: store.head(item.object.key, version_id=item.version_id, part=number)
