"""May so much be deleted? Does it fit? Pure: counts come in, an error goes out or nothing does."""

from __future__ import annotations

import re

from s3pull.errors import DiskError, GuardRefused, UsageError
from s3pull.records import NamedTuple


class Limit(NamedTuple):
    """`--max-delete`: so many files, or so many percent of the files that have a receipt. One of them is None."""

    files: int | None = None
    percent: float | None = None

    def __str__(self) -> str:
        return f"{self.files:,} files" if self.files is not None else f"{self.percent:g}% of the files"


HALF = Limit(percent=50.0)


def parse_limit(text: str) -> Limit:
    """`100` or `20%`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,12})|(\d{1,3}(?:\.\d+)?)\s*%", text.strip(), re.ASCII)
    if match is None or (match[2] is not None and float(match[2]) > 100):
        raise ValueError("not a number of files like 100, or a share of them like 20%")
    return Limit(files=int(match[1])) if match[1] is not None else Limit(percent=float(match[2]))


#: options of `sync` that do not all go together: what `check_options` looks at
EXCLUSIVE = ("delete", "max_delete", "publish", "keep", "grace", "wait", "shard", "dask")


def check_options(
    *,
    delete: bool,
    max_delete: object,
    publish: bool,
    keep: object,
    grace: object,
    wait: object = None,
    shard: object = None,
    dask: object = None,
) -> None:
    """Raise UsageError where options contradict each other; None is what was not given."""
    if shard is not None and delete:
        raise UsageError(
            "--delete does not go with --shard: one part does not know what the whole lacks",
            hint="when all shards are done, run it once without --shard: that lists, deletes and fetches nothing",
        )
    if shard is not None and publish:
        raise UsageError(
            "--publish does not go with --shard: a release is published whole or not at all",
            hint="fetch shards into a plain folder, or publish with one process",
        )
    if shard is not None and wait:
        raise UsageError(
            "--wait does not go with --shard: shards hold nothing that others wait for", hint="leave --wait out"
        )
    if dask is not None and (publish or shard is not None):
        raise UsageError(
            f"--dask does not go with {'--publish' if publish else '--shard'}",
            hint="Dask divides the work by itself: leave --shard out"
            if shard is not None
            else "let Dask fetch into a plain folder, or publish with one process",
        )
    if max_delete is not None and not delete:
        raise UsageError("--max-delete says how much --delete may remove", hint="give --delete, too")
    if not publish and (keep is not None or grace is not None):
        raise UsageError("--keep and --grace go with --publish", hint="give --publish, too")


def check_deletions(gone: int, known: int, listed: int, limit: Limit | None) -> None:
    """Raise GuardRefused where `gone` of `known` files with receipts must not be deleted. `limit` None: the default.

    | the listing   | files to delete          | then |
    |---------------|--------------------------|------|
    | has objects   | none                     | fine |
    | is empty      | any                      | refused, whatever the limit is |
    | has objects   | no more than the limit   | fine |
    | has objects   | more                     | refused |
    | has objects   | more than half, no limit given | refused |
    """
    if not gone:
        return
    if not listed:
        raise GuardRefused(
            f"the source lists no object, and {gone:,} {_files(gone)} here would be deleted: nothing was",
            hint="see with s3pull ls whether the source is right; an empty listing never deletes",
        )
    bound = limit or HALF
    most = bound.files if bound.files is not None else known * (bound.percent or 0.0) / 100
    if gone > most:
        raise GuardRefused(
            f"{gone:,} of {known:,} {_files(known)} would be deleted, more than {bound}: nothing was done",
            hint=f"see what with --dry-run; if it is right: --max-delete {gone}",
        )


def check_room(needed: int, free: int) -> None:
    """Raise DiskError where `needed` bytes more cannot fit into `free`."""
    if needed > free:
        raise DiskError(
            f"it cannot fit: {needed:,} bytes are needed, {free:,} are free",
            hint="free some space there, choose another DEST, or leave something out with --exclude",
        )


def requests_for(size: int, small: int, segment: int) -> int:
    """GETs and HEADs that an object of `size` bytes costs, if nothing goes wrong."""
    if size <= max(small, segment):
        return 1
    return 1 + -(-size // segment)


def _files(count: int) -> str:
    return "file" if count == 1 else "files"
