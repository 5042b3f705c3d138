"""Private files: mode 0600, replaced atomically, locked between processes. Knows nothing of what is in them.

A lock is a courtesy that saves work (one STS call, one writer at a time); where the file system has none, work goes on
without. Nothing here may rest the truth of a file on a lock.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_WINDOWS = sys.platform == "win32"
_NEW = r"\.(.+)\.[0-9a-f]{12}\.new"


#: seconds after which a file that was to replace another belongs to nobody any more: writing one takes a moment
_UNFINISHED = 60.0


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path`, whole or not at all, readable by the owner alone unless `mode` is another one.

    What killed processes left unfinished of the same file is removed. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if mode != 0o600 and not _WINDOWS:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime
        _rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    remove_unfinished(path.parent, before=now - _UNFINISHED, of=path.name)


def remove_unfinished(folder: Path, *, before: float = math.inf, of: str | None = None) -> None:
    """Remove what `replace` did not finish in `folder`, or of the file `of` there; written `before` (epoch). Raises
    nothing: who is still at it fails as on a full disk.
    """
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            name = re.fullmatch(_NEW, path.name)
            if name is not None and of in (None, name[1]):
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < before:
                        path.unlink()


def _rename(old: Path, new: Path) -> None:
    """Windows: somebody who reads `new` just now keeps it from being replaced, for a moment."""
    for pause in (0.01, 0.05, 0.2, 0.5):
        try:
            old.replace(new)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) is None:
                raise
            time.sleep(pause)
    old.replace(new)


def read_private(path: Path, most: int) -> bytes:
    """The content of a file that nobody else can have written or read.

    Raises FileNotFoundError, OSError, and PermissionError with the reason as its text for a symbolic link, another
    owner, a mode wider than 0600, anything but a regular file, or more than `most` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except OSError:
        if path.is_symlink():
            raise PermissionError("is a symbolic link") from None
        raise
    try:
        # before fdopen, which leaks the handle of a directory
        problem = _distrusted(os.fstat(handle))
        if problem:
            raise PermissionError(problem)
    except BaseException:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise PermissionError("is too long")
    return content


def _distrusted(status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if not _WINDOWS and status.st_uid != os.geteuid():
        return "belongs to somebody else"
    if not _WINDOWS and status.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def private_directory(path: Path) -> str | None:
    """Make `path` if need be (0700); the reason why it cannot hold secrets, or None where it can."""
    if not path.is_absolute():
        return "there is no home directory"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        return f"{path}: {(error.strerror or 'cannot be made').lower()}"
    if not stat.S_ISDIR(status.st_mode):
        return f"{path}: not a directory"
    if _WINDOWS:
        return None
    if status.st_uid != os.geteuid():
        return f"{path} belongs to somebody else"
    if status.st_mode & 0o022:
        return f"{path} can be written by others"
    if not os.access(path, os.W_OK | os.X_OK):
        return f"{path}: permission denied"
    return None


@contextlib.contextmanager
def hold(path: Path, patience: float, give_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Hold the lock `path` against other processes; yields whether it is held.

    Waits at most `patience` seconds, or until `give_up` says that there is nothing left to wait for. Not held does
    not mean that anything failed: the file system may have no locks, or the holder may hang.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError:
        yield False
        return
    try:
        held = _wait(handle, patience, give_up)
        yield held
    finally:
        # closing lets go of the lock, also when this process is killed
        os.close(handle)


def _wait(handle: int, patience: float, give_up: Callable[[], bool]) -> bool:
    until = time.monotonic() + patience
    while True:
        try:
            if _try_lock(handle):
                return True
        except OSError:
            return False
        if time.monotonic() >= until or give_up():
            return False
        time.sleep(0.01 + os.urandom(1)[0] / 6000)  # not all at the same time


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
