"""What an OSError of the destination means: a name that it cannot hold, an object too big, or the end of the run.

Pure: an exception comes in, an error of `s3pull.errors` goes out. Nothing is retried here.

| errno                                             | error       | the run |
|---------------------------------------------------|-------------|---------|
| ENAMETOOLONG EISDIR ENOTDIR ENOTEMPTY EEXIST ELOOP EILSEQ EINVAL, while naming something | NameRefused | goes on |
| EFBIG; a file in use on Windows                   | ObjectError | goes on |
| anything else                                     | DiskError   | stops   |
"""

from __future__ import annotations

import errno
import os

from s3pull.errors import DiskError, NameRefused, ObjectError, S3pullError

_GO_ON = "; what is there is kept, and the next run goes on from it"

_NAMES = {
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EISDIR: "a folder stands where the file would go",
    errno.ENOTEMPTY: "a folder stands where the file would go",
    errno.ENOTDIR: "something that is no folder stands where a folder is needed",
    errno.EEXIST: "something else stands there",
    errno.ELOOP: "a symbolic link stands in the way",
    errno.EILSEQ: "this file system cannot hold the name",
    errno.EINVAL: "this file system cannot hold the name",
}

_HINTS = {
    errno.ENOSPC: "free some space there" + _GO_ON,
    errno.EDQUOT: "your quota there is used up: free some space" + _GO_ON,
    errno.EROFS: "the file system is mounted read-only: choose another destination",
    errno.EACCES: "you may not write there: check its owner and mode, or choose another destination",
    errno.EPERM: "you may not write there: check its owner, mode and attributes, or choose another destination",
    errno.EIO: "the disk or its network link reports an error: see the system's log",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or lower --jobs",
    errno.ENFILE: "the system has too many files open: lower --jobs",
    errno.ESTALE: "the network file system lost this file: another machine removed it, or it was remounted",
}


def data_error(error: OSError, what: str) -> S3pullError:
    """The error of reading, writing or syncing an open file. `what` says what was done on what: 'cannot write x'."""
    message = f"{what}: {_text(error)}"
    if error.errno == errno.EFBIG:
        return ObjectError(message, hint="the file system, or a limit (ulimit -f), does not allow files of this size")
    return DiskError(message, hint=_HINTS.get(error.errno or 0))


def name_error(error: OSError, what: str) -> S3pullError:
    """The error of creating, opening, renaming or looking at something by its name."""
    why = _NAMES.get(error.errno or 0)
    return NameRefused(f"{what}: {why}") if why is not None else data_error(error, what)


def in_use_error(what: str) -> ObjectError:
    """The error of a file that another program will not let go of (see `windows`): the run goes on without it."""
    return ObjectError(
        f"{what}: another program has it open, or it is read-only",
        hint="close it there; the next run goes on from here",
    )


def _text(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]
