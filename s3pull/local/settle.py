"""Complete files under part names: made durable many at a time, then given their final names.

An fsync each would cost more than the download of small ones. So files gather in batches bounded by time, number and
bytes; one syncfs(2) makes a large batch durable, then it is renamed, then its directories are synced. A thread of its
own does this while the download goes on, and brings large files to the disk while they still grow (`sync_soon`). A
crash in between leaves part files only, which the next run takes up (`leftovers`, `parts`) or `parts.sweep` removes.

What is not done here: whether the bytes are right is known before a file is added.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from s3pull.errors import Cancelled, DiskError, ObjectError, S3pullError
from s3pull.local import durability, owner
from s3pull.local.directory import Directory, FileStat, nanoseconds
from s3pull.local.oserrors import data_error
from s3pull.records import NamedTuple

#: a batch is settled when its first file has waited so many seconds, or it has so many files or bytes
_BATCH_SECONDS = 0.5
_BATCH_FILES = 1000
_BATCH_BYTES = 64 * 1024 * 1024
#: from so many files or directories on, one syncfs is cheaper than an fsync each
_MANY = 16
#: files that may wait before whoever adds has to wait too
_WAITING = 4 * _BATCH_FILES
#: bytes of a growing file after which it is worth a sync: what is left for the end takes a tenth of a second
SYNC_BYTES = 64 * 1024 * 1024

#: told once for each file: None, or why it did not get its name
Done = Callable[[S3pullError | None], None]

_On = TypeVar("_On")
_UTIME_FD = os.utime in os.supports_fd


class _Waiting(NamedTuple):
    directory: Directory
    part_name: str
    final_name: str
    mtime: float | None
    on_done: Done
    keep: bool


class Written(NamedTuple):
    """A file under a part name, and how it will look under its final one; None where nobody wants to know."""

    name: str
    look: FileStat | None


def write_whole(
    directory: Directory,
    data: memoryview | bytes,
    mtime: float | None = None,
    name: str | None = None,
    *,
    look: bool = False,
) -> Written:
    """Write a new file with a part name, set its time (seconds since the epoch), close it. `look`: say how it looks.

    Raises DiskError, ObjectError; then no file is left.
    """
    name = name or owner.part_name()
    fd = directory.create(name)
    seen: FileStat | None = None
    try:
        try:
            count = os.write(fd, data)
            while count < len(data):
                count += os.write(fd, data[count:])
            if mtime is not None and _UTIME_FD:
                when = nanoseconds(mtime)
                os.utime(fd, ns=(when, when))
            if look:
                seen = FileStat.of(os.fstat(fd))
        finally:
            os.close(fd)
    except OSError as error:
        directory.unlink(name)
        raise data_error(error, f"cannot write below {directory.relative or '.'!r}") from error
    if mtime is not None and not _UTIME_FD:
        directory.set_mtime(name, mtime)
        seen = seen and seen._replace(mtime_ns=nanoseconds(mtime))
    return Written(name, seen)


class Settler:
    """Gives complete files their names. `add` from any thread; each `on_done` is called once, from its own thread.

    After a DiskError nothing more is settled: `add`, `flush` and `close` raise it, and what waited is told of it.
    Not durable: `add` renames at once and there is no thread. `syncfs` False: an fsync each.
    """

    def __init__(self, durable: bool, syncfs: bool = True, *, seconds: float = _BATCH_SECONDS) -> None:
        self._durable = durable
        self._may_syncfs = syncfs
        self._seconds = seconds
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)
        self._waiting: list[_Waiting] = []
        self._growing: list[Callable[[], None]] = []
        self._bytes = 0
        self._since = 0.0
        self._hurry = False
        self._busy = False
        self._closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def add(
        self,
        directory: Directory,
        part_name: str,
        final_name: str,
        mtime: float | None,
        on_done: Done,
        *,
        size: int = 0,
        keep: bool = False,
    ) -> None:
        """Settle `part_name` of `directory`, written and closed, as `final_name`. `mtime` None: it has its time.

        `keep`: where it does not get its name, another run can go on with it, so it is not removed. Blocks while very
        many wait.
        """
        file = _Waiting(directory, part_name, final_name, mtime, on_done, keep)
        if not self._durable:
            if self._error is None:
                failed = self._attempt(_set_time, file) if mtime is not None else None
                on_done(failed or self._attempt(_name, file))
            if self._error is not None:
                raise self._error
            return
        with self._lock:  # the condition's, which to enter and leave by that takes two calls more for each file
            while len(self._waiting) >= _WAITING and self._error is None:
                self._change.wait()
            if self._error is not None:
                raise self._error
            if self._closed:
                raise ValueError("the settler is closed")
            self._waiting.append(file)
            self._bytes += size
            count = len(self._waiting)
            if count == 1:
                self._since = time.monotonic()
            if self._thread is None:
                self._begin()
            if count in (1, _BATCH_FILES) or self._bytes >= _BATCH_BYTES:
                self._change.notify_all()

    def sync_soon(self, sync: Callable[[], None]) -> None:
        """Call `sync`, which brings a file that still grows to the disk, when nothing else is to be done.

        It raises DiskError, or Cancelled where the file is closed by then. Raises the DiskError of an earlier one.
        """
        if not self._durable:
            return
        with self._change:
            self._raise()
            if sync not in self._growing:
                self._growing.append(sync)
                if self._thread is None:
                    self._begin()
                self._change.notify_all()

    def _begin(self) -> None:
        """Start the thread. The lock is held."""
        self._thread = threading.Thread(target=self._run, name="settle", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Settle what waits, and return when it is done. Raises the DiskError that stopped it."""
        with self._change:
            self._hurry = True
            self._change.notify_all()
            while (self._waiting or self._busy) and self._error is None:
                self._change.wait()
            self._hurry = False
            self._raise()

    def close(self, *, abandon: bool = False) -> None:
        """`flush`, and end the thread. With `abandon` remove the files that wait instead, and wait for nothing."""
        dropped: list[_Waiting] = []
        with self._change:
            self._closed = True
            self._growing.clear()
            if abandon:
                dropped, self._waiting = self._waiting, []
            self._change.notify_all()
        for file in dropped:
            if not file.keep:
                file.directory.unlink(file.part_name)
        if self._thread is not None and not abandon:
            self._thread.join()
        if not abandon:
            self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(abandon=kind is not None)

    # --- its thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._change:
                while not (due := self._due()) and not self._growing:
                    if self._closed and not self._waiting:
                        return
                    self._change.wait(self._seconds - (time.monotonic() - self._since) if self._waiting else None)
                if due:
                    work: Callable[[], object] = partial(self._settle, self._waiting)
                    self._waiting, self._bytes, self._busy = [], 0, True
                    self._change.notify_all()
                else:
                    work = partial(self._attempt, _sync_growing, self._growing.pop(0))
            try:
                work()
            except BaseException as error:  # from an `on_done`: whoever waits for us must hear of it
                self._error = error
            with self._change:
                self._busy = False
                self._change.notify_all()

    def _due(self) -> bool:
        return bool(self._waiting) and (
            self._hurry
            or self._closed
            or len(self._waiting) >= _BATCH_FILES
            or self._bytes >= _BATCH_BYTES
            or time.monotonic() - self._since >= self._seconds
        )

    def _settle(self, batch: list[_Waiting]) -> None:
        """Data, then names, then directories, then the word that it is done."""
        timed = [file for file in batch if file.mtime is not None]
        files = self._sync_data(self._each(batch, _set_time) if timed else batch)
        files = self._each(files, _name)
        files = self._sync_names(files)
        for file in files:
            file.on_done(None)

    def _each(self, files: list[_Waiting], step: Callable[[_Waiting], None]) -> list[_Waiting]:
        """Do `step` for each file; those with which it went well. Once the disk failed, nothing more is tried."""
        left = []
        for file in files:
            error = self._attempt(step, file)
            if error is None:
                left.append(file)
            else:
                file.on_done(error)
        return left

    def _sync_data(self, files: list[_Waiting]) -> list[_Waiting]:
        if len(files) >= _MANY and self._syncfs is not None:
            return self._sync_systems(files)
        return self._each(files[:-1], _sync_before_others) + self._each(files[-1:], _sync)

    def _sync_names(self, files: list[_Waiting]) -> list[_Waiting]:
        directories = {id(file.directory): file.directory for file in files}
        if len(directories) >= _MANY and self._syncfs is not None:
            files = self._sync_systems(files)
            for file in files:
                file.directory.synced()
            return files
        errors = {mark: self._attempt(Directory.sync, directory) for mark, directory in directories.items()}
        return self._spared(files, errors, lambda file: id(file.directory))

    def _sync_systems(self, files: list[_Waiting]) -> list[_Waiting]:
        """One syncfs for each file system that the files are on."""
        directories = {file.directory.device: file.directory for file in files}
        errors = {device: self._attempt(self._sync_system, directory) for device, directory in directories.items()}
        return self._spared(files, errors, lambda file: file.directory.device)

    def _spared(
        self, files: list[_Waiting], errors: dict[int, S3pullError | None], where: Callable[[_Waiting], int]
    ) -> list[_Waiting]:
        """Those where nothing went wrong; `where` says for each whose error is its own."""
        if any(error is not None for error in errors.values()):
            return self._each(files, lambda file: _raise(errors[where(file)]))
        return files

    def _sync_system(self, directory: Directory) -> None:
        if self._syncfs is None or directory.fd is None:
            return
        try:
            self._syncfs(directory.fd)
        except OSError as error:
            raise data_error(error, f"cannot sync the file system of {directory.relative or '.'!r}") from error

    @property
    def _syncfs(self) -> Callable[[int], None] | None:
        """Asked for late: it loads ctypes, and one file is synced without it."""
        return durability.syncfs() if self._may_syncfs else None

    def _attempt(self, step: Callable[[_On], None], on: _On) -> S3pullError | None:
        """The error of `step`. A DiskError is everybody's: after one, it is the answer to all that follows."""
        if isinstance(self._error, DiskError):
            return self._error
        try:
            step(on)
        except DiskError as error:
            self._error = error
            return error
        except S3pullError as error:
            return error
        return None

    def _raise(self) -> None:
        _raise(self._error)


def _set_time(file: _Waiting) -> None:
    if file.mtime is not None:
        file.directory.set_mtime(file.part_name, file.mtime)


def _sync(file: _Waiting, *, barrier: bool = True) -> None:
    fd = file.directory.open(file.part_name, write=True)
    if fd is None:
        raise _gone(file)
    try:
        durability.sync_file(fd, file.directory.path(file.final_name), barrier=barrier)
    finally:
        os.close(fd)


def _sync_growing(sync: Callable[[], None]) -> None:
    try:
        sync()
    except Cancelled:
        pass  # it is complete by now, or given up: it comes with a batch, or not at all


def _sync_before_others(file: _Waiting) -> None:
    _sync(file, barrier=False)


def _name(file: _Waiting) -> None:
    try:
        if not file.directory.rename(file.part_name, file.final_name):
            raise _gone(file)
    except ObjectError:
        if not file.keep:
            file.directory.unlink(file.part_name)
        raise


def _gone(file: _Waiting) -> ObjectError:
    return ObjectError(f"cannot finish {file.directory.path(file.final_name)!r}: somebody removed its part file")


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
