"""Reads a SHA256SUMS: which SHA-256 each name should have. Opens nothing.

    | form                                | written by                                     |
    |-------------------------------------|------------------------------------------------|
    | `<64 hex>  NAME`, `<64 hex> *NAME`  | sha256sum, shasum; `*` says that it read binary |
    | `<64 hex> NAME`                     | sha256 -r                                      |
    | `SHA256 (NAME) = <64 hex>`          | sha256sum --tag, sha256 (BSD), openssl dgst    |
    | a `\\` before any of these           | \\\\, \\n and \\r in NAME mean what they say in C  |
    | `MD5 (NAME) = …` and the like       | left out: such a file is not named             |
    | empty, or a `#` first               | left out                                       |

https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html. Names are relative to the folder of the
list; what leads out of it, or to no file, is an error, as is a line of no form: half a list proves nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from s3pull.errors import CheckFailed

_GNU = re.compile(r"([0-9A-Fa-f]{64}) (?:[ *]|(?=[^ *]))(.+)", re.DOTALL)
_BSD = re.compile(r"([A-Z][A-Z0-9/-]*) ?\((.+)\) ?= ?([0-9A-Fa-f]+)", re.DOTALL)
#: openssl 3 calls it so
_SHA256 = ("SHA256", "SHA2-256")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_FORMS = "lines are `<sha256>  NAME` or `SHA256 (NAME) = <sha256>`, as sha256sum writes them"


def local_file(text: str) -> Path | None:
    """The file here that `--checksums` names; None where it is a key of the source.

    Local is what begins in `./`, `../` or the root (or a drive): no other key of the source could be meant.
    """
    marks = ("./", "../", ".\\", "..\\") if os.name == "nt" else ("./", "../")
    return Path(text) if text.startswith(marks) or Path(text).is_absolute() else None


def parse(data: bytes, name: str) -> dict[str, bytes]:
    """The digest of each name in the list `data`. Raises CheckFailed that names the line; `name` is the list's."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CheckFailed(f"{name} is not UTF-8", hint=_FORMS) from None
    found: dict[str, bytes] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        entry = _entry(line.removesuffix("\r"), f"line {number} of {name}")
        if entry is None:
            continue
        path, digest = entry
        if found.setdefault(path, digest) != digest:
            raise CheckFailed(
                f"lines {first[path]} and {number} of {name} give {path} two different SHA-256",
                hint="tell who made the list: nobody can say which is right",
            )
        first.setdefault(path, number)
    if not found:
        raise CheckFailed(f"{name} names no file", hint=_FORMS)
    return found


def _entry(line: str, where: str) -> tuple[str, bytes] | None:
    if not line.strip() or line.startswith("#"):
        return None
    escaped = line.startswith("\\")
    body = line[1:] if escaped else line
    if match := _GNU.fullmatch(body):
        digest, path = match[1], match[2]
    elif match := _BSD.fullmatch(body):
        if match[1] not in _SHA256:
            return None
        path, digest = match[2], match[3]
        if len(digest) != 64:
            raise CheckFailed(f"{where} has a SHA-256 of {len(digest)} digits, not 64", hint=_FORMS)
    else:
        raise CheckFailed(f"{where} is no checksum of a file", hint=_FORMS)
    return _relative(_plain(path, where) if escaped else path, where), bytes.fromhex(digest)


def _plain(path: str, where: str) -> str:
    """A name without its escapes."""
    pieces = re.split(r"(\\.?)", path, flags=re.DOTALL)
    try:
        return "".join(_ESCAPES[piece] if piece.startswith("\\") else piece for piece in pieces)
    except KeyError as unknown:
        raise CheckFailed(f"{where} has an escape that is none: {unknown.args[0]}", hint=_FORMS) from None


def _relative(path: str, where: str) -> str:
    """A name below the list's folder, `./` before it left out."""
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    segments = path.split("/")
    if path.startswith("/") or ".." in segments:
        raise CheckFailed(
            f"{where} names {path}, which is not below the list", hint="a list vouches for what lies beside it"
        )
    if not all(segments) or "." in segments:
        raise CheckFailed(f"{where} names {path!r}, which is no file", hint=_FORMS)
    return path
