"""Who is to fetch with `--dask`: read from its text, and no more. Nobody is asked here (`cluster`)."""

from __future__ import annotations

import re

from s3pull.errors import UsageError
from s3pull.records import NamedTuple

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^\s/]+:[0-9]{1,5}")
_MOST_LOCAL = 256


class Workers(NamedTuple):
    """Who is to do it: a scheduler's `address`, or so many processes here (`local`)."""

    address: str | None = None
    local: int = 0

    def __str__(self) -> str:
        return self.address or f"local:{self.local}"


def parse_workers(text: str) -> Workers:
    """`tcp://host:8786` or `local:4`. Raises UsageError."""
    text = text.strip()
    if text.startswith("local:"):
        count = text.removeprefix("local:")
        if not re.fullmatch("[0-9]{1,4}", count, re.ASCII) or not 1 <= int(count) <= _MOST_LOCAL:
            raise UsageError(f"--dask {text!r}: not a number of processes, 1 to {_MOST_LOCAL}", hint="--dask local:4")
        return Workers(local=int(count))
    if _ADDRESS.fullmatch(text) is None:
        raise UsageError(
            f"--dask {text!r}: not the address of a scheduler",
            hint="--dask tcp://host:8786, as the scheduler prints it when it starts; or local:N for N processes here",
        )
    return Workers(address=text)
