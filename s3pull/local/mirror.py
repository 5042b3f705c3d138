"""DEST/.s3pull: what s3pull keeps about a destination, and which source that mirrors.

    .s3pull/source.json     the source, and how it is laid out: plain (files in DEST) or publish (releases, `current`)
    .s3pull/receipts.db     the receipts of a plain tree (see `receipts`)
    .s3pull/lock            the run lock (see `runlock`)
    .s3pull/journal-…       what other processes did here (see `journals`)
    .s3pull/releases/N/     `tree` and `receipts.db` of each release; DEST/current leads to one (see `releases`)
    .s3pull/staging/        the same of the release that is being built

What is not done here: comparing, fetching, publishing.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from s3pull.errors import DiskError, NameRefused, NothingThere, UsageError
from s3pull.local import owner
from s3pull.local.directory import Directory
from s3pull.local.durability import sync_file
from s3pull.local.lockfiles import LOCK
from s3pull.local.lockrecord import parse
from s3pull.local.oserrors import data_error
from s3pull.local.tree import Tree
from s3pull.records import NamedTuple

FOLDER = ".s3pull"
RECEIPTS = "receipts.db"
_SOURCE = "source.json"
_RELEASES = "releases"
_SCHEMA = 1
_LONGEST = 1024 * 1024
PLAIN, PUBLISH = "plain", "publish"
#: the ETag in the receipt of a file that is ours, and whose content nobody has compared
UNPROVEN = "?"


class Mirror(NamedTuple):
    """Which source a destination mirrors.

    `root` is the key prefix that is cut off; `endpoint` the host of a service that is not AWS, '' for AWS. `source` is
    as it was typed, for people and for `verify --repair`. `locked` and `filters` (an include, or not; the pattern) are
    what the last sync was told: `verify` expects no more than that would do.
    """

    bucket: str
    endpoint: str
    root: str
    source: str
    layout: str = PLAIN
    encode_names: bool = False
    locked: bool = False
    filters: tuple[tuple[bool, str], ...] = ()

    def same_source(self, other: Mirror) -> bool:
        """Whether both mean the same objects at the same paths."""
        return self[:3] == other[:3]


class State:
    """An open `.s3pull`. `path` is where it is; `directory` is it, held open."""

    def __init__(self, tree: Tree, directory: Directory) -> None:
        self.tree = tree
        self.directory = directory
        self.path = tree.root / FOLDER

    @classmethod
    def open(cls, tree: Tree, *, create: bool) -> State | None:
        """The state of the destination `tree`; None where it has none and none is to be made.

        Raises DiskError, also where a link or a file stands in its place.
        """
        try:
            return cls(tree, tree.directory(FOLDER, create=create))
        except NothingThere:
            return None
        except NameRefused as error:
            raise DiskError(
                error.message,
                hint=f"s3pull keeps there what it knows: move {str(tree.root / FOLDER)!r} away, or choose another DEST",
            ) from error

    def mirror(self) -> Mirror | None:
        """Which source is mirrored here; None where nothing was noted. Raises UsageError (newer), DiskError."""
        text = self._read(_SOURCE)
        if text is None:
            return None
        try:
            said = json.loads(text)
            schema = said["schema"]
            if isinstance(schema, int) and schema > _SCHEMA:
                raise UsageError(
                    f"{str(self.path)!r} was made by a newer s3pull", hint="upgrade s3pull, or choose another DEST"
                )
            facts = [said[name] for name in ("bucket", "endpoint", "root", "source", "layout")]
            if schema != _SCHEMA or not all(isinstance(fact, str) for fact in facts):
                raise ValueError("not in the form of a source")
            return Mirror(*facts)._replace(
                encode_names=bool(said.get("encode_names")),
                locked=bool(said.get("locked")),
                filters=tuple((bool(include), str(pattern)) for include, pattern in said.get("filters", ())),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DiskError(
                f"cannot read {str(self.path / _SOURCE)!r}: it is damaged",
                hint=_forgetting(self.path, "the next sync takes up what is right by its checksums"),
            ) from error

    def note(self, mirror: Mirror) -> None:
        """Remember the source, atomically and durably."""
        record = {"schema": _SCHEMA, **mirror._asdict()}
        data = (json.dumps(record, indent=1) + "\n").encode("ascii")
        name = owner.part_name()
        path = self.directory.path(_SOURCE)
        fd = self.directory.create(name)
        try:
            try:
                os.write(fd, data)
                sync_file(fd, path)
            finally:
                os.close(fd)
        except OSError as error:
            self.directory.unlink(name)
            raise data_error(error, f"cannot write {path!r}") from error
        self.directory.rename(name, _SOURCE)
        self.directory.sync()

    def held_by(self) -> str | None:
        """The nonce of the run lock that lies here, whoever holds it; None where none can be read. Raises DiskError."""
        text = self._read(LOCK)
        record = parse(text) if text is not None else None
        return record.nonce if record is not None else None

    def receipts_path(self) -> Path:
        """Where the receipts of a plain tree are."""
        return self.path / RECEIPTS

    def _read(self, name: str) -> bytes | None:
        fd = self.directory.open(name)
        if fd is None:
            return None
        try:
            with open(fd, "rb") as file:  # noqa: PTH123
                return file.read(_LONGEST)
        except OSError as error:
            raise data_error(error, f"cannot read {self.directory.path(name)!r}") from error


def check_dest(dest: Path) -> None:
    """Raise UsageError where `dest` lies in somebody's `.s3pull`, also by the link `current` of a published folder."""
    try:
        parts = dest.resolve().parts
    except (OSError, RuntimeError):  # a loop of links: who opens it will say so
        return
    if FOLDER in (part.lower() for part in parts):
        raise UsageError(
            f"{str(dest)!r} lies in {FOLDER}, where s3pull keeps its own files and published releases",
            hint="choose another DEST; a published folder gets what is new by s3pull sync --publish",
        )


class Beginning:
    """What a run into `dest` makes before it knows that there is anything to mirror. Both calls are exits of contexts:
    when an error leaves them, and no source was noted, what was made is taken back."""

    def __init__(self, dest: Path) -> None:
        self._state = dest / FOLDER
        self._made = [folder for folder in (self._state, dest, *dest.parents) if not folder.exists()]

    def forget(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove receipts of nothing. While the run lock is held: nobody else uses them."""
        if kind is not None and self._state in self._made and not (self._state / _SOURCE).exists():
            for name in (RECEIPTS, RECEIPTS + "-journal"):
                with suppress(OSError):
                    (self._state / name).unlink()

    def leave(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the folders, as far as nothing is in them."""
        for folder in self._made if kind is not None else ():
            with suppress(OSError):
                folder.rmdir()


def check_mirror(dest: Path, now: Mirror, before: Mirror) -> None:
    """Raise UsageError where `dest` is mirrored from another source, or otherwise."""
    if not now.same_source(before):
        raise another_source(dest, now, before)
    if now.layout != before.layout:
        how, again = ("in place", "without") if now.layout == PUBLISH else ("by releases", "with")
        raise UsageError(
            f"{str(dest)!r} is mirrored {how}",
            hint=f"sync it {again} --publish as before, or choose another DEST",
        )


def unknown_source(dest: Path) -> UsageError:
    """The refusal of receipts that may be of another source."""
    return UsageError(
        f"{str(dest)!r} has receipts, and nothing says of which source",
        hint=_forgetting(dest / FOLDER, "files that are right are taken up by their checksums, not downloaded"),
    )


def another_source(dest: Path, now: Mirror, before: Mirror) -> UsageError:
    """The refusal of a source in a destination that mirrors another.

    What was typed may be the same: then it is told where it led to.
    """
    was, wants = before.source, now.source
    if was == wants and (before.bucket, before.root) != (now.bucket, now.root):
        was, wants = (f"{one.source} (s3://{one.bucket}/{one.root})" for one in (before, now))
    if before.endpoint != now.endpoint:
        was, wants = (f"{text} at {one.endpoint or 'AWS'}" for text, one in ((was, before), (wants, now)))
    return UsageError(
        f"{str(dest)!r} mirrors {was}, not {wants}",
        hint="choose another DEST"
        + (f"; or remove {str(dest / FOLDER)!r}, so that it forgets (files stay)" if before.layout == PLAIN else ""),
    )


def _forgetting(state: Path, then: str) -> str:
    """The way out of a state that nobody can read; never one that takes away what was published."""
    if (state / _RELEASES).exists():
        return f"choose another DEST; releases lie in {str(state)!r}: leave it as long as somebody reads them"
    return f"remove {str(state)!r}: {then}"
