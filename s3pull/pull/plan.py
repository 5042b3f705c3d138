"""What to do with one object whose local path may be taken. Pure: the facts come in, a reason goes out.

The proof (hashing what is on disk) is asked for only where it can change the decision: `needs_proof` says when.
"""

from __future__ import annotations

from s3pull.events import Reason
from s3pull.local.directory import TIME_SLACK
from s3pull.records import NamedTuple


class Standing(NamedTuple):
    """What stands at the local path. `regular` is False for a symlink, a directory or a device."""

    size: int
    mtime_ns: int
    regular: bool = True


class Said(NamedTuple):
    """What a receipt says of the file at that path: its size and time when it was finished."""

    size: int
    mtime_ns: int
    same_object: bool

    def unedited(self, standing: Standing) -> bool:
        """Whether the file is still as it was finished."""
        return standing.regular and standing.size == self.size and standing.mtime_ns == self.mtime_ns


class Decision(NamedTuple):
    """`fetch` True: download (over what stands there); False: skip, or refuse where `refused`.

    `edited`: what stands there, or stood there, was changed here since its receipt, or is newer than the object.
    """

    fetch: bool
    reason: str
    refused: bool = False
    edited: bool = False


def needs_proof(standing: Standing | None, size: int, said: Said | None = None, *, no_clobber: bool = False) -> bool:
    """Whether the bytes on disk must be compared first.

    Only a regular file of the right size can be the same, and a receipt may have said so already.
    """
    if standing is None or not standing.regular or standing.size != size or no_clobber:
        return False
    return said is None or not (said.same_object and said.unedited(standing))


def decide(
    standing: Standing | None,
    size: int,
    last_modified: float | None,
    proof: bool | None,
    said: Said | None = None,
    *,
    overwrite: bool = False,
    no_clobber: bool = False,
    mirror: bool = False,
    strict: bool = False,
) -> Decision:
    """Whether to fetch an object of `size` bytes over `standing`. `proof`: equal, different, or None (cannot be told).

    `mirror` is `sync`: it replaces what `get` refuses. `strict`: only a proof or a receipt counts, never a time.

    | standing    | receipt says           | proof | time                     | decision |
    |-------------|------------------------|-------|--------------------------|----------|
    | nothing     | none                   |       |                          | fetch, new |
    | nothing     | some                   |       |                          | fetch, removed-here (edited) |
    | anything    |                        |       | (--no-clobber)           | skip, no-clobber |
    | regular     | unedited, this object  |       |                          | skip, same-receipt |
    | same size   |                        | equal |                          | skip, same-checksum |
    | regular     | unedited, another one  |       |                          | fetch, changed |
    | same size   | none                   | none  | mtime = LastModified     | skip, same-time (not if strict) |
    | regular     | none                   |       | not newer than LastModified | fetch, changed |
    | otherwise   |                        |       | (--overwrite)            | fetch, overwrite (edited) |
    | otherwise   |                        |       | (sync)                   | fetch, local-edit (edited) |
    | otherwise   |                        |       |                          | refuse, local-edit |
    """
    if standing is None:
        if said is not None:
            return Decision(True, Reason.REMOVED, edited=True)
        return Decision(True, Reason.NEW)
    if no_clobber:
        return Decision(False, Reason.NO_CLOBBER)
    unedited = said is not None and said.unedited(standing)
    if said is not None and unedited and said.same_object:
        return Decision(False, Reason.SAME_RECEIPT)
    if standing.regular and standing.size == size and proof:
        return Decision(False, Reason.SAME_CHECKSUM)
    if unedited:
        return Decision(True, Reason.CHANGED)
    if said is None and standing.regular and last_modified is not None:
        same_time = abs(standing.mtime_ns / 1e9 - last_modified) < TIME_SLACK
        if standing.size == size and proof is None and same_time and not strict:
            return Decision(False, Reason.SAME_TIME)
        if standing.mtime_ns / 1e9 < last_modified + TIME_SLACK:
            return Decision(True, Reason.CHANGED)
    if overwrite:
        return Decision(True, Reason.OVERWRITE, edited=True)
    if mirror:
        return Decision(True, Reason.LOCAL_EDIT, edited=True)
    return Decision(False, Reason.LOCAL_EDIT, refused=True)
