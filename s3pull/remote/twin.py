"""What another process of ours needs in order to open the same store. It goes over a pipe, never into a file or argv.

The credentials are not in it: whoever opens the twin brings a `CredentialSource` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from s3pull.objects import Access, CredentialSource, Endpoint
from s3pull.records import NamedTuple

if TYPE_CHECKING:
    from s3pull.remote.engine import SocketStore


class Twin(NamedTuple):
    """Plain facts that can be pickled. `silence` is seconds."""

    access: Access
    endpoint: Endpoint
    silence: float


def open_twin(twin: Twin, credentials: CredentialSource, environ: Mapping[str, str]) -> SocketStore:
    """A store like the one that gave `twin`. Where it learns of another endpoint it keeps that to itself.

    Raises UsageError.
    """
    from s3pull.remote.engine import SocketStore  # which knows Twin

    return SocketStore(twin.access, credentials, twin.endpoint, lambda _: None, environ, silence=twin.silence)
