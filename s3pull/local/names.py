"""From an object's key to a safe relative path, and back. Pure: the disk is never looked at.

A key is anything up to 1,024 bytes of UTF-8; a path is what every file system below the destination can hold without
leaving it, hiding another file, or touching our own files. What cannot be held is refused with a reason or, with
`encode`, percent-encoded: `decode_path` then gives the key back, and two keys never share a path.

What is not done here: symbolic links below the destination are `tree`'s concern.

| in a key                                     | refused because          | encoded as |
|----------------------------------------------|--------------------------|------------|
| a leading, doubled or trailing `/`           | absolute, empty segment  | `%2F` |
| `.` or `..` as a segment                     | traversal                | `%2E`, `%2E%2E` |
| control characters, NUL, backslash           |                          | byte by byte |
| a lone surrogate                             | is not UTF-8             | byte by byte |
| a segment that begins with `.s3pull`         | ours                     | `%2E…` |
| a segment over 255 bytes, a path over 4,095  | too long                 | refused still |
| Windows: `< > : " | ? *`, final dot or space |                          | byte by byte |
| Windows: CON, NUL.txt, COM1 … , 8.3 names of ours | a device            | its first character |
| `%` before two hex digits                    | (not refused)            | `%25` |
"""

from __future__ import annotations

import os
import re
import unicodedata
from functools import cache

from s3pull.errors import NameRefused

#: our part files and our state directory begin with it, at every depth
OWN_PREFIX = ".s3pull"
#: bytes of UTF-8 (Windows: UTF-16 units) in one name
NAME_LIMIT = 255
#: the same of a whole relative path
PATH_LIMIT = 4095
_WINDOWS_PATH_LIMIT = 32_000

_CONTROL = r"\x00-\x1f\x7f-\x9f"
_UNHOLDABLE = rf"{_CONTROL}\\\ud800-\udfff"
_WINDOWS_UNHOLDABLE = rf'{_UNHOLDABLE}<>:"|?*'
_ESCAPE = "%(?=[0-9A-Fa-f]{2})"
_ESCAPES = "(?:%[0-9A-Fa-f]{2})+"
#: https://learn.microsoft.com/windows/win32/fileio/naming-a-file; the base name before the first dot counts
_DEVICE = r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)"
#: the 8.3 short name under which NTFS would open `.s3pull` as well
_SHORT_NAME = r"(?i)s3[^./]{0,6}~[0-9]"


@cache
def _bad(windows: bool) -> re.Pattern[str]:
    return re.compile(f"[{_WINDOWS_UNHOLDABLE if windows else _UNHOLDABLE}]")


@cache
def _suspect(windows: bool) -> re.Pattern[str]:
    """Finds everything that needs a closer look. A short key in which it finds nothing is its own path."""
    if windows:
        return re.compile(
            rf"[{_WINDOWS_UNHOLDABLE}]|[^\x00-\x7f]|(?:^|/)(?:\.|/|$)|[. ](?:/|$)|~|(?i:con|prn|aux|nul|com|lpt)"
        )
    return re.compile(rf"[{_UNHOLDABLE}]|[^\x00-\x7f]|(?:^|/)(?:\.|/|$)|/$")


def local_path(key: str, *, encode: bool = False, windows: bool = os.name == "nt") -> str:
    """The '/'-joined path for `key`, relative to the destination.

    A `dir/` marker is asked for without its last slash. Raises NameRefused with the reason.
    """
    if key and len(key) <= NAME_LIMIT and not _suspect(windows).search(key) and not (encode and "%" in key):
        return key
    if not key:
        raise NameRefused("the name is empty")
    path = "/".join(_encoded(part, windows) for part in _held_segments(key)) if encode else key
    for segment in path.split("/"):
        why = _objection(segment, windows)
        if why is not None:
            raise _refusal(key, why, encode)
    if _length(path, windows) > (_WINDOWS_PATH_LIMIT if windows else PATH_LIMIT):
        raise _refusal(key, "the path is too long", True)
    return path


def decode_path(path: str) -> str:
    """The key that `local_path(key, encode=True)` made `path` from. Raises ValueError where it made none such."""

    def decode(match: re.Match[str]) -> str:
        return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogatepass")

    return re.sub(_ESCAPES, decode, path)


def fold(path: str) -> str:
    """`path` as file systems that ignore case or Unicode form compare it."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


class Collisions:
    """Refuses a path that cannot exist beside one that was checked before. One thread; about 100 bytes a path.

    `folds`: the file system ignores case or Unicode form, so that `A` and `a` are one file, and one directory. There
    the paths themselves are kept, to name both sides; elsewhere their hashes are enough.
    """

    def __init__(self, folds: bool) -> None:
        self._folds = folds
        self._files: dict[int, str | None] = {}
        self._directories: dict[int, str | None] = {}
        self._last_parent: str | None = None

    def check(self, path: str, *, directory: bool = False) -> None:
        """Remember `path`, a file or (for a `dir/` marker) a directory; NameRefused if it cannot be beside the others.

        | against    | a file  | a directory |
        |------------|---------|-------------|
        | file       | refused | refused     |
        | directory  | refused | the same one: fine; one that only folds to it: refused |
        """
        mark = self._mark(path)
        parents: list[tuple[int, str]] = []
        parent, _, _ = path.rpartition("/")
        if parent != self._last_parent:
            parents = [(self._mark(name), name) for name in _ancestors(path)]
        for at, name in parents:
            self._refuse_unless_directory(at, name, path)
        if directory:
            self._refuse_unless_directory(mark, path, path)
        elif mark in self._files:
            raise NameRefused(self._same(path, self._files[mark]))
        elif mark in self._directories:
            raise NameRefused(f"cannot be a file at {path!r}: other objects need a folder there")
        for at, name in parents:
            self._directories.setdefault(at, name if self._folds else None)
        self._last_parent = parent
        (self._directories if directory else self._files).setdefault(mark, path if self._folds else None)

    def _mark(self, path: str) -> int:
        return hash(fold(path) if self._folds else path)

    def _refuse_unless_directory(self, mark: int, name: str, path: str) -> None:
        if mark in self._files:
            other = self._files[mark] or name
            raise NameRefused(f"cannot be at {path!r}: another object is a file at {other!r}")
        other_name = self._directories.get(mark)
        if other_name is not None and other_name != name:
            raise NameRefused(
                f"cannot be at {path!r}: this file system takes the folders {name!r} and {other_name!r} for the same"
            )

    def _same(self, path: str, other: str | None) -> str:
        if other is None or other == path:
            return f"cannot be at {path!r}: another object has the same path"
        return f"cannot be at {path!r}: this file system takes {other!r}, another object, for the same name"


def _ancestors(path: str) -> list[str]:
    """`a/b/c` -> `a`, `a/b`."""
    found = []
    at = path.find("/")
    while at >= 0:
        found.append(path[:at])
        at = path.find("/", at + 1)
    return found


def _objection(segment: str, windows: bool) -> str | None:
    """Why `segment` cannot be a name, or None."""
    if segment == "":
        return "it is absolute or has an empty segment"
    if segment in (".", ".."):
        return f"{segment!r} would leave its place"
    if _bad(windows).search(segment):
        return "it holds a character that cannot be in a file name"
    if _ours(segment):
        return f"names that begin with {OWN_PREFIX!r} are our own"
    if windows:
        if segment[-1] in ". ":
            return "Windows drops a final dot or space"
        if re.match(_DEVICE, segment):
            return f"{segment!r} is a device on Windows"
        if re.match(_SHORT_NAME, segment):
            return f"{segment!r} can be the short name of our own folder"
    if _length(segment, windows) > NAME_LIMIT:
        return f"a name is longer than {NAME_LIMIT} {'characters' if windows else 'bytes'}"
    return None


def _ours(segment: str) -> bool:
    """Also as HFS+ and others see it, which ignore case and invisible characters (as in CVE-2014-9390)."""
    if segment.isascii():
        return segment[: len(OWN_PREFIX)].lower() == OWN_PREFIX
    seen = "".join(character for character in segment if unicodedata.category(character) != "Cf")
    return fold(seen).startswith(OWN_PREFIX)


def _length(text: str, windows: bool) -> int:
    if windows:
        return len(text.encode("utf-16-le", "surrogatepass")) // 2
    return len(text.encode("utf-8", "surrogatepass"))


def _refusal(key: str, why: str, encode: bool) -> NameRefused:
    return NameRefused(
        f"{key!r} cannot be a path here: {why}", hint=None if encode else "--encode-names percent-encodes such names"
    )


# --- encoding -------------------------------------------------------------------------------------------


def _held_segments(key: str) -> list[str]:
    """Split at each `/` that stands between two characters of names; any other stays in its segment, to be encoded."""
    segments = []
    begin = 0
    last = len(key) - 1
    for at, character in enumerate(key):
        if character == "/" and begin < at < last:
            segments.append(key[begin:at])
            begin = at + 1
    segments.append(key[begin:])
    return segments


def _encoded(segment: str, windows: bool) -> str:
    """`segment` as a name that `_objection` accepts, its length apart; each escape is whole UTF-8."""
    segment = re.sub(_ESCAPE, "%25", segment).replace("/", "%2F")
    segment = _bad(windows).sub(lambda match: _percent(match[0]), segment)
    if segment in (".", ".."):
        return _percent(segment)
    if windows:
        kept = segment.rstrip(". ")
        segment = kept + _percent(segment[len(kept) :])
    if _ours(segment) or (windows and (re.match(_DEVICE, segment) or re.match(_SHORT_NAME, segment))):
        # nothing that begins with `%` is ours or a device's
        return _percent(segment[0]) + segment[1:]
    return segment


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))
