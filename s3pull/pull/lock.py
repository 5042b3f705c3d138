"""`lock`: notes exactly which version of which objects a source has, or had at a moment. Streams in the order of keys.

A listing tells neither version nor checksum, so each object costs a HEAD; many are under way at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from s3pull.errors import AccessDenied, NothingThere, UsageError
from s3pull.objects import ObjectVersion, RemoteObject
from s3pull.pull.globs import Filters
from s3pull.pull.scope import Extent, extent
from s3pull.pull.source import SourceSpec
from s3pull.remote.store import Store

_HEADS = 32
_AHEAD = 8 * _HEADS


def moment(text: str) -> float:
    """Seconds since the epoch: `2026-07-01`, `2026-07-01T12:00`, `2026-07-01T12:00:00+02:00`; UTC where not said.

    Raises ValueError.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("not a time like 2026-07-01 or 2026-07-01T12:00:00Z") from None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


class Lock:
    """What a manifest of `spec` says. `prefix` is the share's; `as_of` seconds since the epoch, None for now."""

    def __init__(
        self, store: Store, spec: SourceSpec, prefix: str, *, filters: Filters, as_of: float | None = None
    ) -> None:
        self._store = store
        self._filters = filters
        self._as_of = as_of
        self._extent: Extent = extent(store, spec, prefix) if as_of is None else _versioned(store, spec, prefix)
        self._text = spec.text
        self.root = self._extent.root

    def objects(self) -> Iterator[RemoteObject]:
        """Every object with its version, ETag, size and (where it may be read) checksum, by key.

        Raises NothingThere where there is none, UsageError where no past is known, and what `Store.list`,
        `list_versions` and `head` raise.
        """
        some = False
        with ThreadPoolExecutor(_HEADS, thread_name_prefix="lock") as pool:
            under_way: deque[Future[RemoteObject | None]] = deque()
            try:
                for found in self._listed():
                    under_way.append(pool.submit(self._described, found))
                    if len(under_way) >= _AHEAD and (done := under_way.popleft().result()) is not None:
                        some = True
                        yield done
                while under_way:
                    if (done := under_way.popleft().result()) is not None:
                        some = True
                        yield done
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if not some:
            raise NothingThere(f"nothing at {self._text}", hint="s3pull ls shows what is there")

    def _listed(self) -> Iterator[RemoteObject]:
        there = self._extent
        last = ""
        pages = there.pages(self._store) if self._as_of is None else self._as_it_was(self._as_of)
        for page in pages:
            for found in page:
                relative = found.key[len(there.root) :]
                if not found.key.startswith(there.root) or not relative:
                    continue
                if there.belongs is not None and not there.belongs(relative):
                    continue
                if self._filters and not self._filters.wants(relative):
                    continue
                if found.key < last:
                    raise UsageError(
                        "this service does not list in the order of keys: a manifest cannot be made of it",
                        hint="directory buckets are such",
                    )
                last = found.key
                yield found

    def _as_it_was(self, then: float) -> Iterator[list[RemoteObject]]:
        """For each key the newest version that is not younger than `then`, unless it was deleted by then."""
        seen = ""
        checked = False
        for page in self._store.list_versions(self._extent.prefix):
            if page and not checked:
                self._check_versioned(page)
                checked = True
            out = []
            for version in page:
                found = version.object
                if found.key == seen or found.last_modified is None or found.last_modified > then:
                    continue
                seen = found.key
                if not version.deleted:
                    out.append(found)
            yield out

    def _check_versioned(self, page: Sequence[ObjectVersion]) -> None:
        """Raise UsageError where the bucket never kept versions: of its past it only knows what is still there.

        Objects older than versioning have the version `null`, too, but only there a HEAD says so.
        """
        if any(version.deleted or version.object.version_id not in (None, "null") for version in page):
            return
        try:
            now = self._store.head(page[0].object.key)
        except (NothingThere, AccessDenied):  # deleted just now; or who may not ask this will be told so later
            return
        if now.version_id is None:
            raise UsageError(
                f"the bucket of {self._text} keeps no versions, and so nobody knows what it had",
                hint="leave --as-of out: s3pull lock writes down what is there now",
            )

    def _described(self, found: RemoteObject) -> RemoteObject | None:
        """With version and checksum; None where it is gone meanwhile."""
        version = found.version_id if self._as_of is not None else None
        try:
            try:
                now = self._store.head(found.key, version_id=version, checksum=True)
            except AccessDenied:  # a KMS key that we may not use guards the checksum, too
                now = self._store.head(found.key, version_id=version)
        except NothingThere:
            if version is not None:
                raise
            return None
        return now if now.version_id is not None or version is None else now._replace(version_id=version)


def _versioned(store: Store, spec: SourceSpec, prefix: str) -> Extent:
    """As `extent`, but of the past: whether a path was an object then is not asked of today's bucket."""
    from s3pull.pull.source import Kind

    if spec.kind is not Kind.OBJECT:
        return extent(store, spec, prefix)
    fixed = prefix + spec.fixed
    name = spec.key.rpartition("/")[2]
    for page in store.list_versions(prefix + spec.key):
        for version in page:
            if version.object.key == prefix + spec.key:
                return Extent(fixed, prefix + spec.key, lambda key: key == name)
        break
    return extent(store, spec.below(), prefix)
