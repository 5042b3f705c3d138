"""What is known of the files of a destination: one receipt for each, in an SQLite database that one process writes.

A receipt says which version of which object a file is, how the file looked when it was finished (size and time), and
the checksum of its content. It is written when the file is durable and has its name, many in one transaction, so that
none ever names data that is not there. It decides nothing: `pull` compares it with listings and with the disk.

Beside them stand the files that a run is about to make (`expect`), for as long as it runs: what a killed run had named
is ours, though no receipt says so yet.

SQLite with a rollback journal (WAL needs shared memory, which network file systems do not have). Keys are relative to
the source's root; their order is the order of their UTF-8, as S3 lists.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from s3pull.errors import DiskError, Locked, S3pullError, UsageError
from s3pull.local import owner
from s3pull.objects import Receipt
from s3pull.records import NamedTuple

VERSION = 1
_APPLICATION = 0x53335052  # "S3PR", so that `file` can tell, and we
_BATCH = 2000
_SECONDS = 0.5
_BUSY = 10.0
#: seconds after which it is asked whether the file system has locks at all
_MOMENT = 0.25
#: SQLite's MAX_PATHNAME, which no setting changes, less the suffix of its journal
_LONGEST_PATH = 512 - 12
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_PAGE = 1000

_SCHEMA = """
CREATE TABLE receipts (
    key TEXT PRIMARY KEY,
    path TEXT,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    etag TEXT NOT NULL,
    version_id TEXT,
    modified REAL,
    algorithm TEXT,
    checksum TEXT,
    verified INTEGER NOT NULL
) WITHOUT ROWID
"""
_EXPECTED = """
CREATE TABLE expected (
    key TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified REAL
) WITHOUT ROWID
"""
_INSERT = "INSERT OR REPLACE INTO receipts VALUES (?,?,?,?,?,?,?,?,?,?)"


class ReceiptsError(DiskError):
    """The receipts cannot be read: damaged, or no receipts at all."""

    reason = "receipts"


class Brief(NamedTuple):
    """What a comparison needs of a receipt."""

    key: str
    path: str
    size: int
    mtime_ns: int
    etag: str


class Expected(NamedTuple):
    """A file that will be made: the size and the LastModified of its object. `known`: it has a receipt already."""

    key: str
    path: str
    size: int
    modified: float | None
    known: bool = False


class Receipts:
    """The receipts of one tree. Any thread may call; `record` only remembers, a thread of its own commits.

    `guard` is called before each commit and raises where this process may no longer write (`runlock`). What goes wrong
    in the committing thread is raised by the next call, and told to `on_error` at once.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, guard: Callable[[], None]) -> None:
        self._db = connection
        self._path = path
        self._guard = guard
        self._use = threading.RLock()
        self._change = threading.Condition()
        self._pending: list[Receipt] = []
        self._closed = False
        self._error: S3pullError | None = None
        self._thread: threading.Thread | None = None
        self.on_error: Callable[[S3pullError], None] = lambda _: None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        durable: bool = True,
        read_only: bool = False,
        create: bool = True,
        alone: bool = True,
        guard: Callable[[], None] = lambda: None,
    ) -> Receipts:
        """Open or make the receipts at `path`. With `read_only`, or without `create`, they must be there.

        `alone`: nobody writes them meanwhile but us, as who holds the run lock knows; then no lock of SQLite is needed.

        Raises ReceiptsError (damaged, or not there), UsageError (of a newer version), Locked, DiskError.
        """
        if (read_only or not create) and missing(path):
            raise ReceiptsError(f"there are no receipts at {str(path)!r}", hint=_AGAIN)
        if len(os.fsencode(path.absolute())) > _LONGEST_PATH:
            raise DiskError(
                f"cannot keep receipts in {str(path.parent)!r}: its path is too long for SQLite",
                hint=f"choose a DEST with less than {_LONGEST_PATH - 20} bytes in its whole path",
            )
        with _translated(path):
            return cls(_opened(path, read_only, durable, alone), path, guard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(abandon=kind is not None)

    # --- reading ----------------------------------------------------------------------------------------

    def briefs(self, *, proven: bool = False) -> Iterator[Brief]:
        """All of them by key. Nothing may be recorded meanwhile.

        `proven`: a file whose content was never proven has no ETag, and so it equals no object.
        """
        query = "SELECT key, path, size, mtime_ns, etag FROM receipts ORDER BY key"
        if proven:
            query = (
                "SELECT key, path, size, mtime_ns, CASE WHEN verified OR key LIKE '%/' THEN etag ELSE '' END "
                "FROM receipts ORDER BY key"
            )
        for key, path, size, mtime_ns, etag in self._scan(query):
            yield Brief(key, path if path is not None else key, size, mtime_ns, etag)

    def rows(self) -> Iterator[Receipt]:
        """All of them by key, whole. Nothing may be recorded meanwhile."""
        yield from map(_receipt, self._scan("SELECT * FROM receipts ORDER BY key"))

    def find(self, key: str) -> Receipt | None:
        """The receipt of `key`, as it was last committed."""
        with _translated(self._path), self._use:
            row = self._db.execute("SELECT * FROM receipts WHERE key = ?", (key,)).fetchone()
        return _receipt(row) if row is not None else None

    def count(self) -> int:
        """How many there are, markers of folders too."""
        with _translated(self._path), self._use:
            return int(self._db.execute("SELECT count(*) FROM receipts").fetchone()[0])

    def check(self) -> None:
        """Let SQLite look through all of the file. Raises ReceiptsError."""
        with _translated(self._path), self._use:
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise _damaged(self._path, str(found and found[0]))

    def _scan(self, query: str) -> Iterator[tuple[Any, ...]]:
        with _translated(self._path), self._use:
            cursor = self._db.execute(query)
        while True:
            with _translated(self._path), self._use:
                rows = cursor.fetchmany(_PAGE)
            if not rows:
                return
            yield from rows

    # --- writing ----------------------------------------------------------------------------------------

    def record(self, receipt: Receipt) -> None:
        """A file is finished and durable. Committed soon; `flush` waits for it."""
        with self._change:
            self._raise()
            self._pending.append(receipt)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)
                self._thread.start()
            elif len(self._pending) in (1, _BATCH):
                self._change.notify()

    def drop(self, keys: Iterable[str]) -> None:
        """Forget these keys, in one transaction of its own."""
        self.flush()
        with _translated(self._path), self._use:
            self._guard()
            self._transaction("DELETE FROM receipts WHERE key = ?", ((key,) for key in keys))

    def expect(self, files: Iterable[Expected]) -> None:
        """Note, durably, which files are about to be made; earlier notes are kept. Raises DiskError, Locked."""
        with _translated(self._path), self._use:
            self._guard()
            self._transaction("INSERT OR REPLACE INTO expected VALUES (?,?,?,?)", (file[:4] for file in files))

    def expected(self) -> Iterator[Expected]:
        """All of them by key, and whether they have a receipt by now. Receipts may be recorded meanwhile."""
        query = (
            "SELECT e.key, e.path, e.size, e.modified, r.key IS NOT NULL "
            "FROM expected e LEFT JOIN receipts r USING (key) WHERE e.key > ? ORDER BY e.key LIMIT ?"
        )
        last = ""
        while True:
            with _translated(self._path), self._use:
                rows = self._db.execute(query, (last, _PAGE)).fetchall()
            for key, path, size, modified, known in rows:
                yield Expected(key, path, size, modified, bool(known))
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def settle_expected(self) -> None:
        """All that was expected has its receipt, or was not made."""
        self.flush()
        with _translated(self._path), self._use:
            if self._db.execute("SELECT 1 FROM expected LIMIT 1").fetchone() is not None:
                self._guard()
                self._transaction("DELETE FROM expected WHERE ?", [(1,)])

    def flush(self) -> None:
        """Commit what is remembered. Raises DiskError, Locked."""
        with self._change:
            self._raise()
        self._commit()

    def close(self, *, abandon: bool = False) -> None:
        """`flush` and close. With `abandon` errors of that are kept quiet: another one is under way."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()
        try:
            if self._error is None:
                self._commit()
        except S3pullError as error:
            self._error = error
        with self._use:
            self._db.close()
        if not abandon:
            self._raise()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._pending and not self._closed:
                    self._change.wait()
                until = time.monotonic() + _SECONDS
                while not self._closed and len(self._pending) < _BATCH and (left := until - time.monotonic()) > 0:
                    self._change.wait(left)
                if self._closed:
                    return
            try:
                self._commit()
            except S3pullError as error:
                self._error = error
                self.on_error(error)
                return

    def _commit(self) -> None:
        with _translated(self._path), self._use:
            with self._change:
                batch, self._pending = self._pending, []
            if batch:
                self._guard()
                self._transaction(_INSERT, map(_row, batch))

    def _transaction(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # of some errors SQLite has rolled back already
                with suppress(sqlite3.Error):  # the first error says why
                    self._db.execute("ROLLBACK")
            raise

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def missing(path: Path) -> bool:
    """Whether there are no receipts at `path`: no file, or an empty one, into which nothing was ever written."""
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True
    except OSError:  # opening it will say more
        return False


def _row(receipt: Receipt) -> tuple[Any, ...]:
    return (receipt.key, None if receipt.path == receipt.key else receipt.path, *receipt[2:9], int(receipt.verified))


def _receipt(row: tuple[Any, ...]) -> Receipt:
    found = Receipt(*row)
    return found._replace(path=found.path if row[1] is not None else found.key, verified=bool(found.verified))


def _opened(path: Path, read_only: bool, durable: bool, alone: bool) -> sqlite3.Connection:
    """A connection to what is ours. SQLite takes no lock where the file system has none, if we are `alone`."""
    patience, locks = _MOMENT, True
    while True:
        db = _connect(path, read_only, patience, locks)
        try:
            _check(db, path, read_only, durable)
            db.execute(f"PRAGMA busy_timeout = {_BUSY * 1000:.0f}")
        except BaseException as error:
            db.close()
            if patience < _BUSY and isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                patience, locks = _BUSY, _has_locks(path.parent)
                if locks or alone:
                    continue
            raise
        return db


def _connect(path: Path, read_only: bool, patience: float, locks: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}{'' if locks else '&nolock=1'}"
    return sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)


def _has_locks(folder: Path) -> bool:
    """Whether files there can be locked as SQLite does it (NFS without its lock service: not). Makes a file to see.

    Where none can be made, as if they could.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    probe = folder / owner.part_name(owner.PROBE)
    try:
        fd = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return True
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NO_LOCKS
    finally:
        os.close(fd)
        with suppress(OSError):
            probe.unlink()
    return True


def _check(db: sqlite3.Connection, path: Path, read_only: bool, durable: bool) -> None:
    """Make the table in a new file; refuse what is none of ours, or newer than we are."""
    if not read_only:
        db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == _APPLICATION and version > VERSION:
        raise UsageError(
            f"the receipts {str(path)!r} are of a newer s3pull (version {version}, here {VERSION})",
            hint="upgrade s3pull; or move that file away: what is there is then taken up by its checksums again",
        )
    if not tables and not read_only:
        db.execute("BEGIN EXCLUSIVE")
        db.execute(_SCHEMA)
        db.execute(_EXPECTED)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute("COMMIT")
    elif application != _APPLICATION or version != VERSION:
        raise _damaged(path, "it is not a file of receipts")
    db.execute("SELECT 1 FROM receipts LIMIT 1").fetchone()


def _damaged(path: Path, why: str) -> ReceiptsError:
    return ReceiptsError(
        f"the receipts {str(path)!r} are damaged: {why}",
        hint=f"move that file away and {_AGAIN}",
    )


#: true of a plain tree and of releases
_AGAIN = "run the sync again: it takes up files that are right by their checksums, and downloads only the others"
_HINT = "the receipts lie on that disk too: free some space, or see that it can be written"


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text:
            raise Locked(f"the receipts {str(path)!r} are in use", hint="another run is writing them: wait") from error
        if "malformed" in text or "no such" in text:
            raise _damaged(path, text) from error
        raise DiskError(f"cannot use the receipts {str(path)!r}: {text}", hint=_HINT) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
