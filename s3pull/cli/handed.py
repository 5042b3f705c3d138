"""What somebody hands over as a file or through a pipe: a share, a policy. It is a stranger's and may be endless."""

from __future__ import annotations

import sys
from pathlib import Path

from s3pull.errors import DiskError, UsageError


def read(file: str, most: int, *, hint: str) -> bytes:
    """The bytes of `file` (`-` is stdin), one beyond `most` at the most: who gets so many says what it is too long for.

    Raises UsageError with `hint` where there is no such file, DiskError where it cannot be read.
    """
    try:
        if file == "-":
            return sys.stdin.buffer.read(most + 1)
        with Path(file).open("rb") as stream:
            return stream.read(most + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {file!r}", hint=hint) from None
    except IsADirectoryError:
        raise UsageError(f"{file!r} is a folder", hint=hint) from None
    except OSError as error:
        raise DiskError(f"cannot read {file!r}: {(error.strerror or 'failed').lower()}") from None
