"""A manifest: exactly which version of which objects a source had. `lock` writes one, `sync --locked` pulls just that.

JSON lines: the source, an object a line in the order of their keys, and an end that counts them, so that half of one is
never taken for the whole. Keys are relative to the source's fixed part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s3pull.errors import DiskError, NothingThere, UsageError
from s3pull.objects import JSON, Checksum, RemoteObject
from s3pull.pull.items import LARGEST, speakable
from s3pull.pull.source import SourceSpec

SCHEMA = 1
_PAGE = 1000
#: bytes that no object has
#: seconds: the year 10000
_LATEST = 253_402_300_800


def head_record(source: str, bucket: str, root: str, as_of: str | None) -> JSON:
    """The first line."""
    return {"schema": SCHEMA, "event": "manifest", "source": source, "bucket": bucket, "root": root, "as_of": as_of}


def object_record(found: RemoteObject, root: str) -> JSON:
    """The line of one object."""
    checksum = found.checksum
    return {
        "schema": SCHEMA,
        "event": "object",
        "key": found.key[len(root) :],
        "version_id": found.version_id,
        "etag": found.etag,
        "size": found.size,
        "modified": found.last_modified,
        "storage_class": found.storage_class,
        "checksum": {"algorithm": checksum.algorithm, "value": checksum.value, "type": checksum.type}
        if checksum is not None
        else None,
    }


def end_record(count: int, size: int) -> JSON:
    """The last line."""
    return {"schema": SCHEMA, "event": "end", "objects": count, "bytes": size}


class Manifest:
    """One that was written, read line by line each time. Raises UsageError where it is none, or not whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        head = next(self._lines(), None)
        if head is None or head[1].get("event") != "manifest":
            raise self._wrong(1, "it does not begin as a manifest does")
        schema = head[1].get("schema")
        if schema != SCHEMA:
            raise UsageError(
                f"the manifest {str(path)!r} is of another s3pull (schema {schema})", hint="upgrade s3pull"
            )
        self.source = self._text(head, "source")
        self.bucket = self._text(head, "bucket")
        self.root = self._text(head, "root")

    def check(self, bucket: str, prefix: str, spec: SourceSpec) -> None:
        """Raises UsageError where it is of another source than `spec` below `prefix` in `bucket`."""
        # a path without a slash at its end may be an object or a tree: the manifest knows which it was
        roots = {prefix + one.fixed for one in (spec, spec.below())}
        if self.bucket != bucket or self.root not in roots:
            raise UsageError(
                f"the manifest is of s3://{self.bucket}/{self.root}, not of {spec.text}",
                hint="leave SOURCE out: the manifest knows it",
            )

    def pages(self) -> Iterator[list[RemoteObject]]:
        """Its objects, their keys whole again, like pages of a listing."""
        page: list[RemoteObject] = []
        count = 0
        last = ""
        end: int | None = None
        for number, said in self._lines():
            if end is not None:
                raise self._wrong(number, "something follows its end")
            match said.get("event"):
                case "object":
                    found = self._object((number, said))
                    if found.key <= last:
                        raise self._wrong(number, "it is not in the order of its keys")
                    last = found.key
                    page.append(found)
                    count += 1
                case "end":
                    end = said.get("objects")
            if len(page) >= _PAGE:
                yield page
                page = []
        if end != count:
            raise UsageError(
                f"the manifest {str(self._path)!r} is not whole: {count:,} objects, and no end that says so",
                hint="make it again with s3pull lock",
            )
        if page:
            yield page

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        said = json.loads(line, parse_constant=_refuse)
                    except (ValueError, RecursionError):
                        raise self._wrong(number, "it is no JSON") from None
                    if not isinstance(said, dict):
                        raise self._wrong(number, "it is no JSON object")
                    yield number, said
        except FileNotFoundError:
            raise NothingThere(f"no such file: {self._path}", hint="s3pull lock SOURCE > FILE makes one") from None
        except OSError as error:
            raise DiskError(f"cannot read {self._path}: {(error.strerror or str(error)).lower()}") from None

    def _object(self, line: tuple[int, dict[str, Any]]) -> RemoteObject:
        said = line[1]
        size, modified, version = said.get("size"), said.get("modified"), said.get("version_id")
        checksum = said.get("checksum")
        if not isinstance(version, str | None) or not isinstance(checksum, dict | None):
            raise self._wrong(line[0], "it does not describe an object")
        if type(size) is not int or not 0 <= size < LARGEST:
            raise self._wrong(line[0], "its size is none")
        if modified is not None and (type(modified) not in (int, float) or not 0 <= modified < _LATEST):
            raise self._wrong(line[0], "its time is none")
        if version is not None and not speakable(version):
            raise self._wrong(line[0], "its version is not UTF-8")
        stated = None
        if checksum is not None:
            words = [str(checksum.get(name)) for name in ("algorithm", "value", "type")]
            if any(not word or " " in word for word in words):
                raise self._wrong(line[0], "its checksum is none")
            stated = Checksum(*words)
        return RemoteObject(
            self.root + self._text(line, "key"),
            size,
            self._text(line, "etag"),
            float(modified) if modified is not None else None,
            version,
            said.get("storage_class"),
            stated,
            restored=True,  # or not: that comes and goes, and the GET will tell
        )

    def _text(self, line: tuple[int, dict[str, Any]], name: str) -> str:
        value = line[1].get(name)
        if not isinstance(value, str):
            raise self._wrong(line[0], f"it has no {name}")
        if not speakable(value):
            raise self._wrong(line[0], f"its {name} is not UTF-8")
        return value

    def _wrong(self, number: int, why: str) -> UsageError:
        return UsageError(
            f"line {number} of the manifest {str(self._path)!r}: {why}", hint="s3pull lock SOURCE > FILE makes one"
        )


def _refuse(_: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")
