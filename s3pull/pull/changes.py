"""The differences between a source and a destination, kept on disk while they are counted and judged.

A temporary SQLite database: private, without a name, gone with the process. So a plan of any size needs little
memory, and is complete before the first byte is fetched. Rows come back in the order of their keys.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from s3pull.objects import Checksum, RemoteObject
from s3pull.records import NamedTuple

_PAGE = 1000


class Wanted(NamedTuple):
    """An object to take. `key` is relative to the root. `path` None: not named yet; `known`: it has a receipt there.

    `standing` is the size of the regular file at its path, None for none, -1 for something else.
    """

    key: str
    size: int
    etag: str
    modified: float | None
    storage_class: str | None
    restored: bool | None
    version_id: str | None = None
    checksum: str | None = None
    path: str | None = None
    known: bool = False
    standing: int | None = None

    @classmethod
    def of(
        cls, key: str, found: RemoteObject, path: str | None = None, known: bool = False, standing: int | None = None
    ) -> Wanted:
        """The row of `found`, whose key below the root is `key`."""
        checksum = " ".join(found.checksum) if found.checksum is not None else None
        return cls(
            *(key, *found[1:4], found.storage_class, found.restored, found.version_id, checksum),
            *(path, known, standing),
        )

    @property
    def place(self) -> str:
        """Where it goes; a folder's ends in `/`."""
        return self.path or self.key

    @property
    def folder(self) -> bool:
        """True for a `dir/` marker."""
        return self.place.endswith("/")

    def object(self, root: str) -> RemoteObject:
        """As a listing has it."""
        return RemoteObject(
            root + self.key,
            self.size,
            self.etag,
            self.modified,
            self.version_id,
            self.storage_class,
            Checksum(*self._checksum_words()) if self.checksum is not None else None,
            restored=self.restored,
        )

    def _checksum_words(self) -> list[str]:
        assert self.checksum is not None
        return self.checksum.split(" ")


class Gone(NamedTuple):
    """A file whose object is no longer in the source. `moved`: the object is, but has another path now."""

    key: str
    path: str
    size: int
    mtime_ns: int
    moved: bool = False


class Changes:
    """`wanted` and `gone`, added in any order, read by key. One thread."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE wanted (key PRIMARY KEY, a, b, c, d, e, f, g, path, h, i) WITHOUT ROWID")
        self._db.execute("CREATE TABLE gone (key, path, a, b, moved, PRIMARY KEY (key, moved)) WITHOUT ROWID")
        self._db.execute("CREATE TABLE listed (key PRIMARY KEY, a, b, c, d, e) WITHOUT ROWID")
        self._wanted: list[Wanted] = []
        self._gone: list[Gone] = []

    def close(self) -> None:
        self._db.close()

    def clear(self) -> None:
        """Begin anew."""
        self._wanted.clear()
        self._gone.clear()
        self._db.execute("DELETE FROM wanted")
        self._db.execute("DELETE FROM gone")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def want(self, row: Wanted) -> None:
        self._wanted.append(row)
        if len(self._wanted) >= _PAGE:
            self._flush()

    def lose(self, row: Gone) -> None:
        self._gone.append(row)
        if len(self._gone) >= _PAGE:
            self._flush()

    def unnamed(self) -> bool:
        """Whether there are objects without a path, or with another than they had: it may be in use."""
        self._flush()
        query = "SELECT 1 FROM wanted WHERE path IS NULL UNION ALL SELECT 1 FROM gone WHERE moved LIMIT 1"
        return self._db.execute(query).fetchone() is not None

    def name(self, paths: Iterable[tuple[str, str]]) -> None:
        """Give paths to objects that have none: (path, key) pairs, and to all others their key as their path."""
        self._flush()
        self._db.executemany("UPDATE wanted SET path = ? WHERE key = ?", paths)
        self._db.execute("UPDATE wanted SET path = key WHERE path IS NULL")

    def drop(self, keys: Iterable[str]) -> None:
        """These are not wanted after all, and so their files stay where they are."""
        self._flush()
        rows = [(key,) for key in keys]
        self._db.executemany("DELETE FROM wanted WHERE key = ?", rows)
        self._db.executemany("DELETE FROM gone WHERE key = ? AND moved", rows)

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Only those of these keys are wanted."""
        self._flush()
        self._db.create_function("wanted", 1, wanted, deterministic=True)
        self._db.execute("DELETE FROM wanted WHERE NOT wanted(key)")

    def wants(self, key: str) -> bool:
        """Whether the object at `key` is wanted."""
        self._flush()
        return self._db.execute("SELECT 1 FROM wanted WHERE key = ?", (key,)).fetchone() is not None

    def loses(self, key: str) -> bool:
        """Whether the file of `key` is gone."""
        self._flush()
        return self._db.execute("SELECT 1 FROM gone WHERE key = ?", (key,)).fetchone() is not None

    def wanted(self) -> Iterator[Wanted]:
        """All that is wanted, by key."""
        for row in self._rows("SELECT * FROM wanted ORDER BY key"):
            found = Wanted(*row)
            restored = None if found.restored is None else bool(found.restored)
            yield found._replace(restored=restored, known=bool(found.known))

    def gone(self) -> Iterator[Gone]:
        """All that is gone, by key."""
        for row in self._rows("SELECT * FROM gone ORDER BY key"):
            yield Gone(*row)._replace(moved=bool(row[4]))

    def in_order(self, pages: Iterable[list[RemoteObject]]) -> Iterator[list[RemoteObject]]:
        """A whole listing in the order of its keys, each once (its last word), for services that list in another.

        Nothing comes before the listing has ended.
        """
        for page in pages:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR REPLACE INTO listed VALUES (?,?,?,?,?,?)",
                ((o.key, o.size, o.etag, o.last_modified, o.storage_class, o.restored) for o in page),
            )
            self._db.execute("COMMIT")
        out: list[RemoteObject] = []
        for key, size, etag, modified, storage, restored in self._rows("SELECT * FROM listed ORDER BY key"):
            was = None if restored is None else bool(restored)
            out.append(RemoteObject(key, size, etag, modified, None, storage, restored=was))
            if len(out) >= _PAGE:
                yield out
                out = []
        if out:
            yield out

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        self._flush()
        cursor = self._db.execute(query)
        while rows := cursor.fetchmany(_PAGE):
            yield from rows

    def _flush(self) -> None:
        if not self._wanted and not self._gone:
            return
        wanted, self._wanted = self._wanted, []
        gone, self._gone = self._gone, []
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO wanted VALUES (?,?,?,?,?,?,?,?,?,?,?)", wanted)
        self._db.executemany("INSERT OR REPLACE INTO gone VALUES (?,?,?,?,?)", gone)
        self._db.execute("COMMIT")
