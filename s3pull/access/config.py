"""Shares, and the config.toml that remembers them.

Reading is tomllib: fast, at any file mode, through symbolic links. Writing is tomlkit: comments and order are kept, the
file is 0600 and replaced atomically, two writers wait for each other. What a value means is `values`' business; a
share file from a stranger is `sharefile`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from s3pull.access import files, values
from s3pull.access.options import BY_NAME
from s3pull.access.profiles import nearest
from s3pull.access.values import Wrong
from s3pull.errors import DiskError, NothingThere, UsageError
from s3pull.records import NamedTuple, Record

_HEADER = r"\s*\[\s*([^\[\]]+?)\s*\]"
_LOCK_PATIENCE = 10.0
_FORM = 'a share is [shares.NAME] and below it lines like bucket = "acme-data"'


class Share(Record, hidden=("external_id",)):
    """A remembered source: where it is, and every access option (None: not said here). Made by `share`."""

    name: str
    bucket: str | None = None
    access_point: str | None = None
    prefix: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    profile: str | None = None
    region: str | None = None
    mfa_serial: str | None = None
    duration: int | None = None
    session_name: str | None = None
    source_identity: str | None = None
    session_tag: tuple[tuple[str, str], ...] = ()
    bucket_owner: str | None = None
    no_assume: bool | None = None
    anonymous: bool | None = None
    request_payer: bool | None = None
    narrow: bool | None = None
    endpoint_url: str | None = None
    sts_endpoint_url: str | None = None
    cache: str | None = None
    allow_http: bool | None = None

    def settings(self) -> dict[str, Any]:
        """What is said, in the order of the file: share key to a value that TOML can hold."""
        said = {key: getattr(self, key) for key in SHARE_KEYS}
        said["session_tag"] = dict(self.session_tag)
        return {key: value for key, value in said.items() if value is not None and value != {}}


_LOCATION: Mapping[str, Callable[[object], Any]] = {
    "bucket": values.bucket,
    "access_point": values.access_point,
    "prefix": values.prefix,
}

#: every key of a share, in the order in which they are written
SHARE_KEYS: tuple[str, ...] = tuple(name for name in Share.fields() if name != "name")


class Config(NamedTuple):
    """A config.toml as read. `path` is where it stands or would stand."""

    path: Path
    shares: Mapping[str, Share]

    def share(self, name: str) -> Share:
        """The share called `name`; raises NothingThere with the nearest name."""
        if name in self.shares:
            return self.shares[name]
        near = nearest(name, self.shares)
        hint = f"did you mean {near}?" if near else "`s3pull ls` lists them, `s3pull share add` makes one"
        raise NothingThere(f"no share {name!r} in {self.path}", hint=hint)


def config_path(given: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    """Where config.toml is: `--config`, S3PULL_CONFIG, or the user's configuration directory."""
    chosen = given or environ.get("S3PULL_CONFIG")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_config_dir("s3pull", appauthor=False)) / "config.toml"


def load(path: Path) -> Config:
    """Read `path`; a file that is not there is an empty configuration.

    Raises UsageError that names the line of what is wrong, DiskError for a file that is there and may not be read.
    """
    text = _read(path)
    return Config(path, _shares(parse_toml(text, path), text, path))


def share(name: str, settings: Mapping[str, object], place: Callable[[str], str] | None = None) -> Share:
    """Check `settings` (share keys to text or values) and make a share of them.

    `place` says where a key stands, for messages. Raises UsageError.
    """
    place = place or (lambda key: f"share {name!r}: {key}" if key else f"share {name!r}")
    if not re.fullmatch(values.SHARE_NAME, name):
        hint = "2 or more characters of a-z, 0-9, _ and -"
        raise UsageError(f"{place('')} has a name that cannot be: {name!r}", hint=hint)
    for key in settings:
        if key not in SHARE_KEYS:
            near = nearest(key, SHARE_KEYS)
            hint = f"did you mean {near}?" if near else f"known keys: {', '.join(SHARE_KEYS)}"
            raise UsageError(f"{place(key)} is unknown", hint=hint)
    if bool(settings.get("bucket")) == bool(settings.get("access_point")):
        both = "both bucket and access_point" if settings.get("bucket") else "neither bucket nor access_point"
        raise UsageError(f"{place('')} has {both}", hint="a share has one of them")
    made: dict[str, Any] = {}
    for key, value in settings.items():
        option = BY_NAME.get(key)
        if option and option.kind in {"flag", "switch"} and not isinstance(value, bool):
            raise UsageError(f"{place(key)} is neither true nor false", hint="without quotes")
        if key == "bucket_owner" and not isinstance(value, str):
            raise UsageError(f"{place(key)} is not text", hint='12 digits in quotes, or "any"')
        try:
            made[key] = (option.parse if option else _LOCATION[key])(value)
        except Wrong as wrong:
            raise UsageError(f"{place(key)} {wrong.problem}", hint=wrong.hint) from None
    ways = [key for key in ("role_arn", "no_assume", "anonymous") if made.get(key)]
    if len(ways) > 1:
        raise UsageError(f"{place(ways[0])} and {ways[1]} exclude each other", hint="keep one of them")
    return Share(name=name, **made)


def save_share(path: Path, new: Share, *, replace: bool = False) -> None:
    """Write one share into config.toml. Raises UsageError where the name is taken, DiskError where it cannot be."""

    def change(document: Any, current: Mapping[str, Share]) -> dict[str, Share]:
        import tomlkit
        import tomlkit.items

        if new.name in current and not replace:
            raise UsageError(f"there is a share {new.name!r} already", hint="--replace replaces it")
        if "shares" not in document:
            document["shares"] = tomlkit.table(is_super_table=True)
        within = document["shares"]
        table: Any = tomlkit.inline_table() if isinstance(within, tomlkit.items.InlineTable) else tomlkit.table()
        for key, value in new.settings().items():
            if isinstance(value, dict):
                inline = tomlkit.inline_table()
                inline.update(value)
                value = inline
            table.add(key, value)
        if new.name in current:
            _update(within[new.name], table)
        else:
            within[new.name] = table
        return {**current, new.name: new}

    _edit(path, change)


def remove_share(path: Path, name: str) -> Share:
    """Take one share out of config.toml and return it. Raises NothingThere, DiskError."""
    removed: list[Share] = []

    def change(document: Any, current: Mapping[str, Share]) -> dict[str, Share]:
        removed.append(Config(path, current).share(name))
        del document["shares"][name]
        return {key: value for key, value in current.items() if key != name}

    _edit(path, change)
    return removed[0]


def _update(table: Any, new: Mapping[str, Any]) -> None:
    """Key by key, so that the comments between the lines of a share stay."""
    for key in [key for key in table if key not in new]:
        del table[key]
    for key, value in new.items():
        table[key] = value


def _edit(path: Path, change: Callable[[Any, Mapping[str, Share]], dict[str, Share]]) -> None:
    import tomlkit

    # a symbolic link (dotfiles under version control) stays: its target is replaced
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.hold(target.with_name(f".{target.name}.lock"), _LOCK_PATIENCE):
            before = _read(path)
            current = _shares(parse_toml(before, path), before, path)
            document = tomlkit.parse(before)
            expected = change(document, current)
            after = tomlkit.dumps(document)
            if _shares(parse_toml(after, path), after, path) != expected:
                raise UsageError(f"cannot edit {path} without changing its meaning", hint="edit it by hand")
            files.replace(target, after.encode())
    except OSError as error:
        raise DiskError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}",
            hint=f"it is as it was; see that {path.parent} can be written, and that there is room",
        ) from None


def _read(path: Path) -> str:
    try:
        # bytes, so that line ends stay as they are when a share is written
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it as UTF-8, as TOML always is") from None
    except OSError as error:
        if not _visible(path):
            return ""
        raise DiskError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def _visible(path: Path) -> bool:
    """False where a directory above bars us (another user's home): then there is no configuration of ours."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def parse_toml(text: str, what: object, *, hint: str = _FORM) -> Mapping[str, Any]:
    """The TOML in `text`. Raises UsageError, which names the file by `what`."""
    import tomllib  # only where there is a configuration

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
        raise UsageError(f"{what} is not TOML: {problem[:1].lower()}{problem[1:]}", hint=hint) from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"{what} cannot be read: a number is too large, or it is nested too deeply", hint=hint
        ) from None


def _shares(document: Mapping[str, Any], text: str, path: Path) -> dict[str, Share]:
    for key in document:
        if key != "shares":
            hint = "did you mean shares?" if nearest(key, ["shares"]) else "shares are tables: [shares.NAME]"
            raise UsageError(f"{_at(path, text, (key,))}: {key} is unknown", hint=hint)
    tables = document.get("shares", {})
    if not isinstance(tables, dict):
        raise UsageError(f"{_at(path, text, ('shares',))}: shares is not a table", hint="[shares.NAME]")
    found = {}
    for name, settings in tables.items():
        if not isinstance(settings, dict):
            where = _at(path, text, ("shares", name))
            raise UsageError(f"{where}: {name} is not a table", hint="shares are tables: [shares.NAME]")

        def place(key: str, name: str = name) -> str:
            keys = ("shares", name, key) if key else ("shares", name)
            return f"{_at(path, text, keys)}: share {name!r}" + (f": {key}" if key else "")

        found[name] = share(name, settings, place)
    return found


def _at(path: Path, text: str, keys: tuple[str, ...]) -> str:
    number = line_of(text, keys)
    return f"{path}, line {number}" if number else str(path)


def line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """The number of the line that sets a dotted key; tomllib does not say. None where it cannot be told.

    Knows `[a.b]` headers, `key = …` and dotted keys; not keys inside multi-line strings or inline tables.
    """
    wanted = ".".join(keys)
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(_HEADER, line)
        if header:
            table = _plain(header.group(1))
            if table == wanted or table.startswith(wanted + "."):
                return number
        elif "=" in line:
            key = _plain(line.partition("=")[0])
            full = f"{table}.{key}" if table else key
            if full == wanted or full.startswith(wanted + "."):
                return number
    return None


def _plain(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.strip().split("."))
