"""Which objects a process takes where several share one source. Pure: keys go in, a yes or no comes out.

Several processes that know nothing of each other (`--shard I/N`, a Slurm array, an indexed job of Kubernetes) have to
come to the same answer, whatever each of them sees of the source and of the disk at its moment: so it is a hash of the
key that decides, and nothing else. Every key is in one shard, and in one alone.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from s3pull.errors import UsageError
from s3pull.records import NamedTuple

#: more processes than any scheduler starts at once
_MOST = 100_000
#: https://slurm.schedmd.com/job_array.html,
#: https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
_COUNTING = "shards count from 0, as SLURM_ARRAY_TASK_ID of --array=0-3 and JOB_COMPLETION_INDEX do"


class Shard(NamedTuple):
    """Number `number` (from 0) of `total`."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def has(self, key: str) -> bool:
        """Whether the object at `key` (below the source's root) is in this shard."""
        return shard_of(key, self.total) == self.number


def shard_of(key: str, count: int) -> int:
    """The number of the shard that has `key`. The same on every machine and in every version: 64 bits of BLAKE2b.

    >>> [shard_of(key, 4) for key in ("2026/a.csv", "2026/b.csv", "2026/c.csv")]
    [1, 0, 0]
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count


def parse_shard(text: str) -> Shard:
    """`I/N`. Raises UsageError that says what is wrong with it."""
    match = re.fullmatch(r"([0-9]{0,9})/([0-9]{0,9})", text.strip(), re.ASCII)
    if match is None:
        raise _wrong(text, "not a shard like 0/4, number I of N")
    if not match[1] or not match[2]:
        raise _wrong(text, "a number is missing in I/N: is the variable set?")
    index, count = int(match[1]), int(match[2])
    if not 1 <= count <= _MOST:
        raise _wrong(text, f"there must be 1 to {_MOST:,} shards")
    if index >= count:
        raise _wrong(text, f"there is no shard {index} of {count}, only 0 to {count - 1}")
    return Shard(index, count)


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"--shard {text!r}: {why}", hint=_COUNTING)
