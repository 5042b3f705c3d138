"""The grammar of SOURCE and DEST. Pure text: nothing is asked of anybody here.

    NAME, NAME:                    a share, its whole prefix
    NAME:path/key                  one object (or, where there is none, the tree below path/key/)
    NAME:path/                     a tree
    NAME:2026/*.parquet            a glob
    s3://bucket/…                  the same, without a share
    s3://arn:aws:s3:…:accesspoint/ap/…

A backslash before `*`, `?`, `[`, `]`, `/` or itself takes the meaning from it, so that every key can be named: one that
begins with two slashes has a backslash before them, because what has them behind its colon looks like a URL.
"""

from __future__ import annotations

import re
from enum import Enum

from s3pull.access.values import SHARE_NAME
from s3pull.errors import UsageError
from s3pull.pull.globs import fixed_part, has_magic, unescape
from s3pull.records import NamedTuple

_ACCESS_POINT = r"(?s)(arn:[a-z0-9-]+:s3[a-z0-9-]*:[a-z0-9-]*:\d*:accesspoint[/:][A-Za-z0-9.-]+)(?:/(.*))?"
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"


class Kind(Enum):
    """What a path may name before anybody was asked."""

    OBJECT = "object"  # one exact key; a tree where no such key exists
    TREE = "tree"
    GLOB = "glob"


class SourceSpec(NamedTuple):
    """A parsed SOURCE. Either `share` or `bucket` (a name or an access-point ARN) is set; `path` is as typed."""

    text: str
    share: str | None
    bucket: str | None
    path: str

    @property
    def kind(self) -> Kind:
        if has_magic(self.path):
            return Kind.GLOB
        return Kind.TREE if not self.path or self.path.endswith("/") else Kind.OBJECT

    @property
    def key(self) -> str:
        """The path as a key relative to the share: escapes resolved."""
        return unescape(self.path)

    @property
    def fixed(self) -> str:
        """What is cut from a key to get the path below DEST: '' or a text that ends in '/'."""
        match self.kind:
            case Kind.GLOB:
                literal = fixed_part(self.path)
                return literal[: literal.rfind("/") + 1]
            case Kind.TREE:
                return self.key
            case Kind.OBJECT:
                return self.key[: self.key.rfind("/") + 1]

    def below(self) -> SourceSpec:
        """The tree below this path, for an OBJECT that turned out to be none."""
        return SourceSpec(self.text, self.share, self.bucket, self.path + "/")


def parse_source(text: str) -> SourceSpec:
    """Read a SOURCE. Raises UsageError with the form that was probably meant."""
    if text.startswith("s3://"):
        return _parse_url(text)
    if text.startswith("arn:aws"):
        raise UsageError(f"cannot read the source {text!r}", hint=f"an access point is given as s3://{text}")
    name, colon, path = text.partition(":")
    if path.startswith("//") or (name == "s3" and path.startswith("/")):
        raise UsageError(f"cannot read the source {text!r}", hint="a bucket is given as s3://bucket/path")
    if re.fullmatch(SHARE_NAME, name):
        return SourceSpec(text, name, None, path)
    if not text:
        raise UsageError("the source is empty", hint="give NAME:path or s3://bucket/path")
    if len(name) == 1 and colon:
        raise UsageError(
            f"{text!r} is a local path, not a source", hint="a share name has 2 or more characters of a-z 0-9 _ -"
        )
    if colon and re.fullmatch(SHARE_NAME, name.lower()):
        raise UsageError(f"no share can be called {name!r}", hint=f"share names are lower case: {name.lower()}:{path}")
    if "/" in text and not text.startswith((".", "/", "~")):
        raise UsageError(f"cannot read the source {text!r}", hint=f"for a bucket write s3://{text}")
    raise UsageError(
        f"cannot read the source {text!r}",
        hint="give NAME:path (a share) or s3://bucket/path; `s3pull ls` prints the shares",
    )


def _parse_url(text: str) -> SourceSpec:
    rest = text[len("s3://") :]
    if rest.startswith("arn:"):
        match = re.fullmatch(_ACCESS_POINT, rest)
        if match is None:
            raise UsageError(
                f"cannot read the access point in {text!r}",
                hint="s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/path",
            )
        return SourceSpec(text, None, match[1], match[2] or "")
    bucket, _, path = rest.partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise UsageError(f"{bucket!r} cannot be a bucket name in {text!r}", hint="s3://bucket/path")
    return SourceSpec(text, None, bucket, path)


class Into(Enum):
    """What DEST is, seen from the source."""

    FILE = "file"
    FOLDER = "folder"
    STDOUT = "stdout"


class Dest(NamedTuple):
    """Where things go: the `folder`, and for one object the `name` in it (None: the key's own basename).

    `tree` is where in the folder a path goes that turns out to be no object but a tree ('': into the folder itself).
    """

    into: Into
    folder: str = "."
    name: str | None = None
    tree: str = ""


def parse_dest(text: str | None, spec: SourceSpec, *, is_directory: bool) -> Dest:
    """Decide where a source goes. `is_directory` says whether DEST exists and is a directory.

    A path that turns out to be a tree goes where the tree would have gone: that is the Dest's `tree`.

    | DEST          | object             | tree, share        | glob |
    |---------------|--------------------|--------------------|------|
    | none          | ./basename         | ./last-segment/ or ./NAME/ | . |
    | -             | stdout             | error              | error |
    | dir or ends / | into it            | into it            | into it |
    | other         | the file's name    | that folder        | that folder |

    Raises UsageError where DEST is remote, stdout for more than one object, or not given and the source ends in `..`.
    """
    one = spec.kind is Kind.OBJECT
    if text is None:
        if spec.kind is Kind.GLOB:
            return Dest(Into.FOLDER, ".")
        last = spec.key.rstrip("/").rpartition("/")[2]
        if last in (".", ".."):
            raise UsageError(f"{last!r} cannot be a name here", hint="say where it should go: give a DEST")
        if one:
            return Dest(Into.FILE, ".", tree=last)
        return Dest(Into.FOLDER, last or spec.share or (spec.bucket or "").rpartition("/")[2])
    if text == "-":
        if not one:
            raise UsageError("only one object can go to stdout", hint="name one key, or give a folder as DEST")
        return Dest(Into.STDOUT)
    if is_remote(text):
        raise UsageError(
            "s3pull only downloads", hint="DEST is a local folder or file name (./name:x for a name with a colon)"
        )
    if not text:
        raise UsageError("DEST is empty", hint="leave it out, or give a folder or file name")
    if not one:
        return Dest(Into.FOLDER, text)
    if is_directory or text.endswith(("/", "\\") if _windows() else "/"):
        return Dest(Into.FILE, text)
    folder, name = _split(text)
    return Dest(Into.FILE, folder, name, tree=name)


def is_remote(text: str) -> bool:
    """True where a DEST has the form of a source: `s3://…` or `NAME:…`."""
    name, colon, _ = text.partition(":")
    return text.startswith("s3://") or bool(colon and re.fullmatch(SHARE_NAME, name))


def _windows() -> bool:
    import os

    return os.name == "nt"


def _split(text: str) -> tuple[str, str]:
    import os.path

    folder, name = os.path.split(text)
    if name in (".", "..") or not name:
        return text, ""
    return folder or ".", name
