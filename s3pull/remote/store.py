"""The contract between s3pull and the source bucket.

Everything above this line knows S3 only through `Store`. One contract suite (tests/remote/test_store_contract.py)
runs over every implementation and every server. A store is bound to one bucket and is shared by many threads.

Law:

1. A method returns what was asked for or raises an error of `s3pull.errors`; no other exception leaves it, mid-body
   included. Code, status, message and request IDs of the service are kept on the error.
2. `head`, `get` (up to its response head) and each page of `list` retry what is worth retrying, within one shared
   budget (`remote.retry`); what they raise is final. `Body.readinto` never retries: it raises `Transient`, and
   the caller calls `get` again from where it got to.
3. Nothing is believed that does not fit the pin: an answer with another ETag, size, version or range raises
   `ObjectChanged`, also where a server ignored If-Match.
4. A body delivers exactly the announced bytes: fewer or more raise `Transient`, and the connection is not used again.
5. ExpiredToken is answered by one `CredentialSource.renew` and one more try; a wrong region by resolving the
   endpoint again. No credential is ever sent to a host that the endpoint did not name.
6. `interrupt` makes every blocked or later call raise `Cancelled` within a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from s3pull.objects import CredentialSource, ObjectVersion, RemoteObject
from s3pull.remote.retry import Patience
from s3pull.remote.twin import Twin


class Body(Protocol):
    """The bytes of one answered GET. Close it in every case; closing early drops the connection."""

    #: what the answer said about the whole object: `size` is the object's, not the range's
    object: RemoteObject
    #: bytes that `readinto` will deliver in all
    length: int

    def readinto(self, buffer: memoryview) -> int:
        """Read some bytes (at least 1) into `buffer`; 0 only at the announced end. Raises Transient, Cancelled."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Asked(Protocol):
    """A GET under way. Either `body` or `drop` is called, once, by the thread that asked."""

    def body(self) -> Body:
        """What `Store.get` returns and raises."""
        ...

    def drop(self) -> None:
        """Nobody will read the answer."""
        ...


class Store(Protocol):
    """One source bucket, read-only."""

    #: the budget of retries that callers share when they go on with a body that broke off
    patience: Patience
    #: whose signature the requests carry
    credentials: CredentialSource

    @property
    def latency(self) -> float:
        """Seconds from a request to the head of its answer, the shortest so far; 0.0 before the first."""
        ...

    @property
    def waited(self) -> float:
        """Seconds for which threads waited for answers, together; not for pages, nor for what they `ask` ahead."""
        ...

    def head(
        self, key: str, *, version_id: str | None = None, part: int | None = None, checksum: bool = False
    ) -> RemoteObject:
        """HeadObject. With `part`, `size` is that part's length and `parts` the number of parts (None: not multipart).

        `checksum` asks for the stored checksum too (on KMS objects that also needs kms:Decrypt). A HEAD has no error
        body: on 400 and 403 the reason is fetched with a GET of one byte, so that the error says why.

        Raises NothingThere, AccessDenied, CredentialsError, ServiceError, Unsupported, Cancelled.
        """
        ...

    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        pin: RemoteObject | None = None,
        version_id: str | None = None,
        checksum: bool = False,
    ) -> Body:
        """GetObject of the bytes [start, end) (`end` None: to the end).

        Without start and end no Range is sent (a zero-byte object has no valid range). With `pin` the request carries
        If-Match (a weak ETag is only compared) and the answer must have the pin's ETag, size and, where `version_id`
        is given, that version ID. `checksum` asks for the stored checksum (AWS sends it with whole objects only).

        Raises what `head` raises, and ObjectChanged, Archived.
        """
        ...

    def ask(self, key: str, *, pin: RemoteObject | None = None, version_id: str | None = None) -> Asked:
        """Send the GET of a whole object with its checksum, and do not wait for the answer. Raises nothing.

        While it is on its way the caller works on another: on a short way that costs less than another thread does.
        """
        ...

    def widen(self, count: int) -> int:
        """How many requests can be sent by `ask` without waiting for a connection to be opened. Where that takes a
        while, more are opened meanwhile, until it is `count`. Raises nothing.
        """
        ...

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[list[RemoteObject]]:
        """ListObjectsV2, page by page, in the order in which the server gives them, `prefix` sent exactly as given.

        Raises AccessDenied, NothingThere (no such bucket), CredentialsError, ServiceError, Cancelled.
        """
        ...

    def list_versions(self, prefix: str = "") -> Iterator[Sequence[ObjectVersion]]:
        """ListObjectVersions, page by page: keys in the service's order, the versions of each the newest first.

        Needs s3:ListBucketVersions. Raises what `list` raises.
        """
        ...

    def twin(self) -> Twin | None:
        """What another process needs in order to open this store too; None where one process has to do it all."""
        ...

    def interrupt(self) -> None:
        """Stop every request of every thread; from any thread."""
        ...

    def close(self) -> None:
        """Close all connections. The store is not used again."""
        ...
