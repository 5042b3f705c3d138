"""Adds to a denial what it means, in one line, and that doctor knows more. Nobody is asked for it.

The words are those that came with the denial; what they mean is `access.denials`'. Other errors are left alone.
"""

from __future__ import annotations

import shlex

from s3pull.errors import AccessDenied, S3pullError
from s3pull.objects import Access

#: how the engine begins where 403 may mean that there is nothing, and where it takes it for a denial
_DOUBTFUL, _CERTAIN = "no such key, or no permission: ", "access denied to "


def advise(error: S3pullError, access: Access, source: str, *, seen: bool = False) -> None:
    """Give `error` its `diagnosis` and the hint `s3pull doctor SOURCE`, where it is a denial.

    `source` is the share's name, or an s3:// source as it was typed. A HEAD that was refused has no words: then there
    is nothing to diagnose, and the hint stands alone. `seen`: the object of this key was in a listing, so that nobody
    has to be told that there may be none.
    """
    if not isinstance(error, AccessDenied) or error.diagnosis is not None:
        return
    from s3pull.access.denials import Cause, at_one_key, diagnose

    missing = False
    service, said = words_of(error, access.bucket)
    if said:
        found = diagnose(
            service,
            error.status,
            error.code or "",
            said,
            assumed=access.role_arn is not None,
            anonymous=access.anonymous,
            listing=error.key is None,
        )
        if error.key is not None and service == "s3":
            found = at_one_key(found)
        missing = found.causes[0].cause is Cause.KEY_MISSING
        error.diagnosis = found.line
    if missing:
        error.message = _begun(error.message, _CERTAIN, _DOUBTFUL)
    elif seen:
        error.message = _begun(error.message, _DOUBTFUL, _CERTAIN)
    error.hint = f"s3pull doctor {shlex.quote(source)}"


def _begun(message: str, before: str, now: str) -> str:
    """A message that begins otherwise: whether an object is there the engine cannot know of one answer alone."""
    return now + message.removeprefix(before) if message.startswith(before) else message


def words_of(error: S3pullError, bucket: str) -> tuple[str, str]:
    """(who said it, AWS's own words) of an error of ours; no words where it came without any.

    What stands before them is cut off: a key is anybody's choice, and is not to be read as words of AWS.
    """
    named = f"s3://{bucket}/{error.key}: " if error.key is not None else f"s3://{bucket}: "
    before, found, said = error.message.partition(named)
    if found:
        return "s3", said
    if before.startswith("cannot assume "):
        return "sts", before.partition(": ")[2]
    return "s3", ""
