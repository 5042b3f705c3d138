"""What to do with one object whose local path may be taken. Pure: the facts come in, a reason goes out.

The proof (hashing what is on disk) is asked for only where it can change the decision: `needs_proof` says when.
"""

from __future__ import annotations

from typing import NamedTuple

from s3pull.events import Reason


class Standing(NamedTuple):
    """What stands at the local path. `regular` is False for a symlink, a directory or a device."""

    size: int
    mtime: float
    regular: bool = True


class Decision(NamedTuple):
    """`fetch` True: download (over what stands there); False: skip, or refuse where `refused`."""

    fetch: bool
    reason: str
    refused: bool = False


#: File systems keep coarser times than nanoseconds (FAT: 2 s) and LastModified has whole seconds.
TIME_SLACK = 2.0


def needs_proof(standing: Standing | None, size: int, *, no_clobber: bool) -> bool:
    """Whether the bytes on disk must be compared first: only a regular file of the right size can be the same."""
    return standing is not None and standing.regular and standing.size == size and not no_clobber


def decide(
    standing: Standing | None,
    size: int,
    last_modified: float | None,
    proof: bool | None,
    *,
    overwrite: bool = False,
    no_clobber: bool = False,
) -> Decision:
    """Whether to fetch an object of `size` bytes over `standing`. `proof`: equal, different, or None (cannot be told).

    | standing    | proof | time                     | decision |
    |-------------|-------|--------------------------|----------|
    | nothing     |       |                          | fetch, new |
    | anything    |       | (--no-clobber)           | skip, no-clobber |
    | same size   | equal |                          | skip, same-checksum |
    | same size   | none  | mtime = LastModified     | skip, same-time |
    | regular     |       | not newer than LastModified | fetch, changed |
    | otherwise   |       | (--overwrite)            | fetch, overwrite |
    | otherwise   |       |                          | refuse, local-edit |
    """
    if standing is None:
        return Decision(True, Reason.NEW)
    if no_clobber:
        return Decision(False, Reason.NO_CLOBBER)
    if standing.regular and standing.size == size:
        if proof:
            return Decision(False, Reason.SAME_CHECKSUM)
        if proof is None and last_modified is not None and abs(standing.mtime - last_modified) < TIME_SLACK:
            return Decision(False, Reason.SAME_TIME)
    if standing.regular and last_modified is not None and standing.mtime < last_modified + TIME_SLACK:
        return Decision(True, Reason.CHANGED)
    if overwrite:
        return Decision(True, Reason.OVERWRITE)
    return Decision(False, "local-edit", refused=True)
