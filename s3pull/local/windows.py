r"""What is different on Windows, as decisions that are made, and tested, anywhere: long paths, files in use.

A path of more than 260 characters needs the form `\\?\C:\...`, in which nothing is resolved any more:
https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation

There a file that somebody has open (a virus scanner for a moment, a spreadsheet for a day) can be neither replaced nor
removed: https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_Of = TypeVar("_Of")

ACCESS_DENIED, SHARING_VIOLATION, LOCK_VIOLATION = 5, 32, 33
#: seconds between tries: scanners and indexers let go of a new file within some tenths
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


def extended(full: str) -> str:
    r"""An absolute path in the form that may be longer than 260 characters.

    >>> extended(r"C:\data\x"), extended(r"\\server\share\x")
    ('\\\\?\\C:\\data\\x', '\\\\?\\UNC\\server\\share\\x')

    What has a form of its own already (`\\?\`, `\\.\`) stays as it is.
    """
    full = full.replace("/", "\\")
    if full.startswith(("\\\\?\\", "\\\\.\\")):
        return full
    return "\\\\?\\UNC" + full[1:] if full.startswith("\\\\") else "\\\\?\\" + full


def in_use(error: OSError, *, stands: bool = True) -> bool:
    """Whether `error` may be about a file that another program has open; never elsewhere than on Windows.

    ERROR_ACCESS_DENIED is what replacing and removing such a file gives, and what they give where one may not. Where
    nothing `stands` at the name it is the latter.
    """
    found = getattr(error, "winerror", None)
    return found in (SHARING_VIOLATION, LOCK_VIOLATION) or (stands and found == ACCESS_DENIED)


def patiently(call: Callable[[], _Of], sleep: Callable[[float], object] = time.sleep) -> _Of:
    """`call()`, again for about a second and a half while a file is in use. Raises its last OSError."""
    pauses: Iterator[float] = iter(_PAUSES)
    while True:
        try:
            return call()
        except OSError as error:
            pause = next(pauses, None) if in_use(error) else None
            if pause is None:
                raise
            sleep(pause)
