"""What processes that do not hold a destination did in it: a journal each, which the holder turns into receipts.

A journal is text, appended to: a line with the source it belongs to, lines with the files that its writer is about to
make, a line for each file that is whole, and a last line when the writer ended in good order. What is torn is left out.
Journals are hints: what one says of a file counts only if the file still looks like that. One that says nothing is
taken away by its writer.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from s3pull.errors import S3pullError
from s3pull.local import owner
from s3pull.local.directory import LAST_NS, FileStat
from s3pull.local.durability import sync_file
from s3pull.local.mirror import UNPROVEN, Mirror, State
from s3pull.local.names import local_path
from s3pull.local.oserrors import data_error
from s3pull.local.owner import State as OwnerState
from s3pull.local.parts import UNKNOWN_AGE
from s3pull.local.tree import Tree
from s3pull.objects import Receipt

if TYPE_CHECKING:
    from s3pull.local.receipts import Expected

_PREFIX = "journal-"
_END = "end"
_SCHEMA = 1
_EXPECT = "expect"
_PAGE = 1000


class Journal:
    """One process's journal; any thread may write. Receipts' keys are whole ones here, not relative to a root.

    The file is made when there is something to say: a process that does nothing may do it where nothing can be written.
    `open` makes it before, so that others see somebody at work.
    """

    def __init__(self, state: State, bucket: str, endpoint: str, ident: str = owner.SMALL) -> None:
        """`ident`, 16 hex digits, tells what the process is at, where others may have to go on with it."""
        self._directory = state.directory
        self._name = _PREFIX + owner.part_name(ident)
        self._head = {"schema": _SCHEMA, "bucket": bucket, "endpoint": endpoint}
        self._fd: int | None = None
        self._said = False
        self._lock = threading.Lock()

    def write(self, receipt: Receipt) -> None:
        """A file is whole and durable. Raises DiskError."""
        with self._lock:
            self._put(self._opened(), list(receipt))

    def expect(self, files: Iterable[Expected]) -> None:
        """Note, durably, which files are about to be made. Raises DiskError."""
        left = iter(files)
        while page := list(islice(left, _PAGE)):
            with self._lock:
                self._put(self._opened(), *({_EXPECT: file[:4]} for file in page))
        if self._said and self._fd is not None:
            sync_file(self._fd, self._directory.path(self._name))

    def open(self) -> None:
        """Make the file. Raises DiskError."""
        with self._lock:
            self._opened()
            self._said = False

    def close(self) -> None:
        """Write the last line, or take the journal away if it says nothing. Raises DiskError."""
        if self._fd is None:
            return
        try:
            if self._said:
                self._put(self._fd, _END)
                sync_file(self._fd, self._directory.path(self._name))
        finally:
            os.close(self._fd)
            self._fd = None
        if not self._said:
            self._directory.unlink(self._name)

    def _opened(self) -> int:
        """The file, for something to say. The lock is held."""
        if self._fd is None:
            self._fd = self._directory.append(self._name)
            self._put(self._fd, self._head)
        self._said = True
        return self._fd

    def _put(self, fd: int, *records: object) -> None:
        line = b"".join(json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n" for record in records)
        try:
            if os.write(fd, line) != len(line):
                os.write(fd, b"\n")  # torn by a full disk: the next line is whole again
        except OSError as error:
            raise data_error(error, f"cannot write {self._directory.path(self._name)!r}") from error


class Book(Protocol):
    """Where journals' receipts go: `Receipts`, or some in memory."""

    def find(self, key: str) -> Receipt | None: ...

    def record(self, receipt: Receipt) -> None: ...

    def drop(self, keys: Iterable[str]) -> None: ...

    def expect(self, files: Iterable[Expected]) -> None: ...

    def flush(self) -> None: ...


def merge(
    state: State, mirror: Mirror, tree: Tree, receipts: Book, *, keep: bool = False, ident: str | None = None
) -> int:
    """Turn journals of the same source into receipts; how many. Only the holder of the destination calls this, or, with
    `keep`, whoever has receipts of his own: then no journal is removed. `ident`: only those journals.

    | the file now                | the receipt that is there | the journal's |
    |-----------------------------|---------------------------|---------------|
    | is not as the journal says  |                           | is left out |
    | is not where the mirror would have put it |             | is left out |
    | is as the journal says      | is none, of another look, or unproven | is taken |
    | is as the journal says      | of the same look, same ETag | is left out |
    | is as the journal says      | of the same look, another ETag | neither is believed |

    Files that its writer was about to make, and that have no receipt then, are expected still (see `expected`). A
    journal whose writer has ended is then removed, whatever source it was of.
    """
    count = 0
    for name in state.directory.names(_PREFIX):
        facts = owner.parse(name.removeprefix(_PREFIX))
        text = _text(state, name) if facts is not None and ident in (None, facts.ident) else None
        if facts is None or text is None:
            continue
        for receipt in _receipts(text, mirror):
            count += _take(receipt, tree, receipts, mirror.encode_names)
        receipts.flush()
        if keep:
            continue
        missing = [file for file in _expected(text, mirror) if receipts.find(file.key) is None]
        if missing:
            receipts.expect(missing)
        if _ended(text) or _abandoned(state, name, owner.state(facts.token)):
            state.directory.unlink(name)
    return count


def remove(state: State, ident: str) -> None:
    """Take away the journals of that ident, whoever wrote them: all that they say is known."""
    for name in state.directory.names(_PREFIX):
        facts = owner.parse(name.removeprefix(_PREFIX))
        if facts is not None and facts.ident == ident:
            state.directory.unlink(name)


def at_work(state: State) -> bool | None:
    """Whether some journal's writer has not ended; None where there is no journal at all."""
    found: bool | None = None
    for name in state.directory.names(_PREFIX):
        facts = owner.parse(name.removeprefix(_PREFIX))
        text = _text(state, name) if facts is not None else None
        if facts is None or text is None:
            continue
        if not _ended(text) and not _abandoned(state, name, owner.state(facts.token)):
            return True
        found = False
    return found


def _ended(text: bytes) -> bool:
    return text.endswith(f'"{_END}"\n'.encode())


def _take(receipt: Receipt, tree: Tree, receipts: Book, encode: bool) -> bool:
    if receipt.folder:
        return False
    try:
        if receipt.path != local_path(receipt.key, encode=encode):
            return False
        found = tree.stat(receipt.path)
    except S3pullError:
        return False
    if found is None or not _looks_so(found, receipt):
        return False
    before = receipts.find(receipt.key)
    if before is not None and _looks_so(found, before):
        if before.etag not in (receipt.etag, UNPROVEN):
            receipts.drop([receipt.key])
        if before.etag != UNPROVEN:
            return False
    receipts.record(receipt)
    return True


def _looks_so(found: FileStat, receipt: Receipt) -> bool:
    return found.regular and found.size == receipt.size and found.mtime_ns == receipt.mtime_ns


def _abandoned(state: State, name: str, of: OwnerState) -> bool:
    if of is OwnerState.DEAD:
        return True
    if of is not OwnerState.UNKNOWN:
        return False
    touched = state.directory.touched(name)
    here = state.directory.touched("lock")  # the file system's own clock: the holder's heartbeat
    return touched is not None and here is not None and here - touched > UNKNOWN_AGE


def _text(state: State, name: str) -> bytes | None:
    fd = state.directory.open(name)
    if fd is None:
        return None
    try:
        with open(fd, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError as error:
        raise data_error(error, f"cannot read {state.directory.path(name)!r}") from error


def _lines(text: bytes, mirror: Mirror) -> Iterator[object]:
    """What a journal of a mirror's bucket says, its head apart."""
    lines = text.split(b"\n")[:-1]
    header = _parsed(lines[0]) if lines else None
    if not isinstance(header, dict) or header.get("schema") != _SCHEMA:
        return
    if (header.get("bucket"), header.get("endpoint")) != (mirror.bucket, mirror.endpoint):
        return
    yield from map(_parsed, lines[1:])


def _expected(text: bytes, mirror: Mirror) -> Iterator[Expected]:
    """The files of a mirror's source that a journal says will be made, with keys relative to its root."""
    from s3pull.local.receipts import Expected  # SQLite, which most runs do not need

    for said in _lines(text, mirror):
        match said:
            case {"expect": [str(key), str(path), int(size), int() | float() | None as modified]}:
                if key.startswith(mirror.root):
                    yield Expected(key[len(mirror.root) :], path, size, modified)


def _receipts(text: bytes, mirror: Mirror) -> Iterator[Receipt]:
    """The receipts of a journal that are of a mirror's source, with keys relative to its root."""
    for said in _lines(text, mirror):
        if not isinstance(said, list):
            continue
        try:
            receipt = Receipt(*said)
        except TypeError:
            continue
        if _can_be(receipt) and receipt.key.startswith(mirror.root):
            yield receipt._replace(key=receipt.key[len(mirror.root) :])


def _can_be(receipt: Receipt) -> bool:
    """Whether each of its fields is what the receipts can hold."""
    needed = (receipt.key, receipt.path, receipt.etag)
    texts = (receipt.version_id, receipt.algorithm, receipt.checksum)
    if not all(_is_text(text) for text in needed) or not all(text is None or _is_text(text) for text in texts):
        return False
    if not all(type(number) is int and abs(number) <= LAST_NS for number in (receipt.size, receipt.mtime_ns)):
        return False
    return isinstance(receipt.modified, float | None) and isinstance(receipt.verified, bool)


def _is_text(value: object) -> bool:
    """JSON also writes halves of characters, which are none."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
