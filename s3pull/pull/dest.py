"""Where a run may write: DEST judged against the disk, before anything is asked of anybody. Makes nothing."""

from __future__ import annotations

from pathlib import Path

from s3pull.errors import UsageError
from s3pull.local.mirror import check_dest
from s3pull.pull.source import Dest, Into, SourceSpec, is_remote, parse_dest


def file_dest(text: str | None, spec: SourceSpec) -> Dest:
    """DEST of `get`: see `parse_dest`.

    Raises UsageError, also where a file stands in the place of the folder that things should go to, or it is ours.
    """
    found = parse_dest(text, spec, is_directory=text is not None and text != "-" and Path(text).is_dir())
    if found.into is not Into.STDOUT:
        folder = Path(found.folder)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{found.folder!r} is not a folder", hint="give a folder, or a name that is free")
        for below in (found.name or "", found.tree):
            check_dest(folder / below)
    return found


def mirror_dest(text: str) -> Path:
    """DEST of `sync`: a folder, there or not. Raises UsageError where it is remote, none, or ours."""
    if is_remote(text):
        raise UsageError("s3pull only downloads", hint="DEST is a local folder (./name:x for a name with a colon)")
    if text in ("", "-"):
        raise UsageError(f"DEST {text!r} is not a folder", hint="a mirror needs a folder; s3pull get writes to stdout")
    folder = Path(text)
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise UsageError(f"{text!r} is not a folder", hint="give a folder, or a name that is free")
    check_dest(folder)
    return folder
