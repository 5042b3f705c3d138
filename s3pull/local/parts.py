"""The part file of one large object: one inode, one writer, from its first byte to its final name.

Two writers on one inode would break the promise: one may verify and rename it while the other, still holding it, writes
a flipped bit. So a part is taken over by renaming it only when its owner is provably dead; from any other owner's part
what it claims is copied into a new one. In both cases nothing counts until it was hashed here, from our own inode.

What is not done here: which bytes to fetch, whether the whole is the object (`pull`), small files (`settle`).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Self

from s3pull.errors import Cancelled, NameRefused, ObjectError
from s3pull.local import owner
from s3pull.local.checkpoint import Claim, Header, Running, claims, header_line, longest_match, record, seed_of
from s3pull.local.directory import Directory, FileStat, nanoseconds
from s3pull.local.durability import sync_data
from s3pull.local.names import OWN_PREFIX
from s3pull.local.openfile import OpenFile, copy_range
from s3pull.local.oserrors import data_error
from s3pull.local.owner import LOG_SUFFIX, PartName, State
from s3pull.local.room import take_room
from s3pull.records import NamedTuple

#: parts whose owner cannot be judged are swept when nothing touched them for so many seconds
UNKNOWN_AGE = 7 * 86400.0
_SCAN_EVERY = 1.0
_IDENT_AT = len(OWN_PREFIX) + 1
_LARGEST_LOG = 64 * 1024 * 1024

#: the parts that this process works on: the names in it are not free to be taken by another thread
_open_here: set[str] = set()


class _Claim:
    """A name is in `_open_here` for as long as anybody has its claim."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name
        _open_here.add(name)

    def __del__(self) -> None:
        _open_here.discard(self._name)


class Candidate(NamedTuple):
    """A part with a readable log. `claimed` is how many bytes the log says are there; nothing is proven yet."""

    name: PartName
    state: State
    header: Header
    segments: dict[int, list[Claim]]
    claimed: int

    @property
    def free(self) -> bool:
        """Whether it may be taken over by renaming."""
        return _is_free(self.name, self.state)


def _is_free(name: PartName, state: State) -> bool:
    """Whether the owner is dead, or is this process and has closed it."""
    return state is State.DEAD or (state is State.SELF and name.part not in _open_here)


class _Seen(NamedTuple):
    """The names of parts and logs that one scan found, and until when (monotonic) no other is made."""

    names: list[str]
    until: float


#: by directory: a scan for each of ten thousand objects in one directory would cost more than their download
_seen: weakref.WeakKeyDictionary[Directory, _Seen] = weakref.WeakKeyDictionary()


def find(directory: Directory, ident: str) -> list[Candidate]:
    """The parts of this ident in `directory`, the one with the most claimed bytes first.

    What others began in the last second (longer, where scans are slow) may be missed; what we closed is not.
    """
    found = []
    for name in _own_names(directory):
        facts = owner.parse(name) if name.startswith(ident, _IDENT_AT) else None
        if facts is None or not facts.log or facts.part in _open_here:
            continue
        log = _read_log(directory, name)
        if log is None:
            continue
        header, segments, _ = claims(log)
        if header is not None:
            claimed = sum(max(claim.done for claim in of) for of in segments.values())
            found.append(Candidate(facts, owner.state(facts.token), header, segments, claimed))
    return sorted(found, key=lambda candidate: (candidate.claimed, candidate.free), reverse=True)


def _own_names(directory: Directory) -> list[str]:
    seen = _seen.get(directory)
    now = time.monotonic()
    if seen is None or now >= seen.until:
        names = directory.names(OWN_PREFIX + "-")
        done = time.monotonic()
        seen = _seen[directory] = _Seen(names, done + max(_SCAN_EVERY, 100 * (done - now)))
    return seen.names


class PartFile:
    """An open part file. `header` is how it is cut: an adopted part keeps the cut it was begun with.

    Its log comes with the first checkpoint: a file system looks long for an inode after many were freed, and most
    objects are here before a log of them is worth one.

    `write_at`, `read_at`, `checkpoint`, `datasync` and `resume` (of different segments) may be called from many
    threads; once it is closed they raise Cancelled. All raise DiskError; ObjectError where the file system takes no
    file so big.
    """

    def __init__(
        self,
        directory: Directory,
        final_name: str,
        name: str,
        header: Header,
        files: tuple[OpenFile, OpenFile | None, OpenFile | None],
        segments: dict[int, list[Claim]],
        held: _Claim,
    ) -> None:
        self.directory = directory
        self.final_name = final_name
        self.name = name
        self._held: _Claim | None = held
        self.header = header
        self._part: OpenFile | None = files[0]
        self._log = files[1]
        self._logging = threading.Lock()
        self._source = files[2]
        self._segments = segments
        self._seed = seed_of(header)

    @classmethod
    def open(
        cls, directory: Directory, final_name: str, header: Header, usable: Callable[[Header], bool] = lambda _: True
    ) -> PartFile:
        """Go on from the best part of this object that is there, else begin. `usable` may turn a part's cut down.

        What other dead owners left of the same object is then of no use, and removed.
        """
        ident = _ident(header, final_name)
        part: PartFile | None = None
        for candidate in find(directory, ident):
            if part is None and candidate.header[:3] == header[:3] and candidate.claimed and usable(candidate.header):
                part = cls.adopt(directory, final_name, candidate)
            elif candidate.state is State.DEAD:
                directory.unlink(candidate.name.part)
                directory.unlink(candidate.name.name)
        return part if part is not None else cls.create(directory, final_name, ident, header)

    @classmethod
    def create(cls, directory: Directory, final_name: str, ident: str, header: Header) -> PartFile:
        """Begin: a new file of the final size, without data."""
        return cls._create(directory, final_name, ident, header, None, {})

    @classmethod
    def adopt(cls, directory: Directory, final_name: str, candidate: Candidate) -> PartFile | None:
        """Go on from `candidate`; `claimed` says what there is to `resume`. None where it is gone, or not ours.

        A free one is renamed; of another, what is claimed is copied as `resume` comes to it.
        """
        name, header, segments = candidate.name, candidate.header, dict(candidate.segments)
        if not candidate.free:
            source = open_own(directory, name.part, write=False)
            return cls._create(directory, final_name, name.ident, header, source, segments) if source else None
        if open_own(directory, name.part, write=False) is None:
            return None
        # The new log comes first: whenever this is killed, one whole pair of part and log is there.
        new = owner.part_name(name.ident)
        held = _Claim(new)
        log = _new_log(directory, new, header, segments)
        part = open_own(directory, new, write=True, held=held) if directory.rename(name.part, new) else None
        if part is None:
            directory.unlink(new + LOG_SUFFIX)
            return None
        directory.unlink(name.name)
        _resize(part, header.size, directory.path(final_name))
        return cls(directory, final_name, new, header, (part, log, None), segments, held)

    @classmethod
    def _create(
        cls,
        directory: Directory,
        final_name: str,
        ident: str,
        header: Header,
        source: OpenFile | None,
        segments: dict[int, list[Claim]],
    ) -> PartFile:
        name = owner.part_name(ident)
        held = _Claim(name)
        try:
            part = OpenFile(directory.create(name), held)
            # what is copied may share the blocks of what it is copied from
            _resize(part, header.size, directory.path(final_name), take=source is None)
        except BaseException:
            directory.unlink(name)
            raise
        return cls(directory, final_name, name, header, (part, None, source), segments, held)

    # --- bytes ------------------------------------------------------------------------------------------

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write all of `data` at `offset`."""
        part = self._file()
        try:
            part.write_at(offset, data)
        except OSError as error:
            raise data_error(error, f"cannot write {self._path()!r}") from error

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Read what is written at `offset`; how many bytes, 0 at the end of the file."""
        part = self._file()
        try:
            return part.read_at(offset, buffer)
        except OSError as error:
            raise data_error(error, f"cannot read {self._path()!r}") from error

    def checkpoint(self, segment: int, done: int, crc: int) -> None:
        """Note that the first `done` bytes of `segment` are written and have the running checksum `crc`."""
        log = self._log
        if log is None:
            with self._logging:
                self._file()
                log = self._log = self._log or _new_log(self.directory, self.name, self.header, {})
        try:
            os.write(log.fd, record(self._seed, segment, done, crc))
        except OSError as error:
            raise data_error(error, f"cannot write the log of {self._path()!r}") from error

    @property
    def logged(self) -> bool:
        """Whether there was a checkpoint: another run can go on from here."""
        return self._log is not None

    def datasync(self) -> None:
        """Bring to the disk what is written so far: the end then waits for less, and a power cut wastes less."""
        copy = self._file().duplicate()
        if copy is None:
            raise Cancelled(f"the part file of {self._path()!r} was closed")
        sync_data(copy.fd, self._path())

    # --- going on ---------------------------------------------------------------------------------------

    @property
    def claimed(self) -> dict[int, int]:
        """For each segment that is still to be resumed, the most bytes that are claimed of it."""
        return {segment: max(claim.done for claim in of) for segment, of in list(self._segments.items())}

    def resume(
        self,
        segment: int,
        crc: Running,
        *,
        buffer: memoryview | None = None,
        on_hashed: Callable[[int], None] | None = None,
    ) -> Claim:
        """How much of `segment` is there, proven by hashing it from our own disk, and its running checksum.

        `crc` computes `header.algorithm`. Call it once a segment, before writing to it; `Claim(0, 0)` where there is
        nothing. `on_hashed` is told the bytes of each piece.
        """
        claimed = self._segments.pop(segment, None)
        if not claimed:
            return Claim(0, 0)
        start = segment * self.header.segment
        source = self._source
        if source is not None:
            try:
                copy_range(source, self._file(), start, max(claim.done for claim in claimed))
            except OSError as error:
                raise data_error(error, f"cannot copy to {self._path()!r}") from error

        def read(at: int, into: memoryview) -> int:
            return self.read_at(start + at, into)

        proven = longest_match(claimed, read, crc, buffer=buffer, on_hashed=on_hashed)
        if source is not None and proven.done:
            self.checkpoint(segment, *proven)
        return proven

    # --- the end ----------------------------------------------------------------------------------------

    def complete(self, mtime: float | None, seal: str = "") -> FileStat:
        """All bytes are here and proven: set the time (seconds since the epoch) and close it; how it will look.

        `seal` (`owner.seal`) goes into its name where it has no log, for another run to know it by (`leftovers`).

        All other threads are done with it. What is left is the settler's (the disk, then the name); until `named` or
        `close` nobody else in this process takes it up.
        """
        part = self._file()
        path = self._path()
        when = nanoseconds(mtime) if mtime is not None else None
        try:
            if when is not None and os.utime in os.supports_fd:
                os.utime(part.fd, ns=(when, when))
            found = FileStat.of(os.fstat(part.fd))
            part.close()  # network file systems report here what they could not write
        except OSError as error:
            raise data_error(error, f"cannot finish {path!r}") from error
        logged = self.logged
        self._part = self._log = self._source = None
        if seal and not logged:
            sealed = owner.part_name(_ident(self.header, self.final_name), seal)
            self._held = _Claim(sealed)
            if not self.directory.rename(self.name, sealed):
                raise ObjectError(f"cannot finish {path!r}: somebody removed its part file")
            self.name = sealed
        if mtime is not None and when is not None and os.utime not in os.supports_fd:
            self.directory.set_mtime(self.name, mtime)
            found = found._replace(mtime_ns=when)
        return found

    def named(self) -> None:
        """It has its final name: nobody needs its log."""
        self._let_go()
        self.directory.unlink(self.name + LOG_SUFFIX)

    def discard(self) -> None:
        """Remove the part and its log."""
        self._let_go()
        self.directory.unlink(self.name)
        self.directory.unlink(self.name + LOG_SUFFIX)

    def close(self) -> None:
        """Let go of the files and keep them: the next `open` goes on from them. Calls under way may still end."""
        self._let_go()
        _seen.pop(self.directory, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _let_go(self) -> None:
        self._part = self._log = self._source = self._held = None

    def _file(self) -> OpenFile:
        part = self._part
        if part is None:
            raise Cancelled(f"the part file of {self._path()!r} was closed")
        return part

    def _path(self) -> str:
        return self.directory.path(self.final_name)


def sweep(
    directory: Directory,
    live_idents: Collection[str] = (),
    *,
    dead_age: float = 0.0,
    left: list[PartName] | None = None,
) -> int:
    """Remove what nobody will use of earlier runs' parts and logs in `directory`; how many files. Raises DiskError.

    `dead_age` (seconds) spares younger parts of dead owners that could be resumed. Ages are by the file system's clock.
    With `left`, dead owners' files that are said to be whole are not removed but added to it, and so are the logs of
    parts that stay.

    | owner         | files                          | removed when |
    |---------------|--------------------------------|--------------|
    | any           | ident is in `live_idents`      | never |
    | SELF, ALIVE   |                                | never |
    | DEAD          | a part without a log that can be read, or a log without a part | at once (see `left`) |
    | DEAD          | a part with its log            | untouched for `dead_age` |
    | UNKNOWN       |                                | untouched for 7 days |
    """
    names = {facts.name: facts for facts in _parsed(directory)}
    now: float | None = None
    removed = 0
    for facts in names.values():
        state = owner.state(facts.token)
        if facts.ident in live_idents or state in (State.SELF, State.ALIVE):
            continue
        if left is not None and facts.seal and state is State.DEAD:
            left.append(facts)
            continue
        log = facts.part + LOG_SUFFIX
        pair = facts.part in names and log in names and (state is State.UNKNOWN or _begins(directory, log))
        age = UNKNOWN_AGE if state is State.UNKNOWN else dead_age if pair else 0.0
        if age:
            if now is None:
                now = _clock(directory)
            touched = [directory.touched(name) for name in (facts.part, log)]
            if now - max((time for time in touched if time is not None), default=now) <= age:
                if left is not None and facts.log:
                    left.append(facts)
                continue
        removed += directory.unlink(facts.name)
    return removed


def takeable_bytes(directory: Directory) -> int:
    """Bytes on disk of what may be taken over in `directory`. Raises DiskError."""
    return sum(
        directory.allocated(facts.name) for facts in _parsed(directory) if _is_free(facts, owner.state(facts.token))
    )


def _parsed(directory: Directory) -> Iterator[PartName]:
    return (facts for facts in map(owner.parse, directory.names(OWN_PREFIX + "-")) if facts is not None)


def _begins(directory: Directory, name: str) -> bool:
    """Whether the log `name` has its header: without one nobody can go on from its part."""
    log = _read_log(directory, name)
    return log is not None and claims(log).header is not None


def _clock(directory: Directory) -> float:
    """Now, as the file system's server sees it."""
    name = owner.part_name(owner.PROBE)
    fd = directory.create(name)
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        directory.unlink(name)


def _ident(header: Header, final_name: str) -> str:
    return owner.part_ident(header.key, header.etag, header.size, final_name)


# --- files ----------------------------------------------------------------------------------------------


def _resize(part: OpenFile, size: int, path: str, *, take: bool = False) -> None:
    """Without data: zeros that were written would look like it. With `take` a new file has room on the disk, too."""
    try:
        os.ftruncate(part.fd, size)
        if take:
            take_room(part.fd, size)
    except OSError as error:
        raise data_error(error, f"cannot make {path!r} {size:,} bytes long") from error


def _new_log(directory: Directory, name: str, header: Header, segments: dict[int, list[Claim]]) -> OpenFile:
    seed = seed_of(header)
    text = header_line(header) + b"".join(
        record(seed, segment, *claim) for segment, of in segments.items() for claim in of
    )
    log = OpenFile(directory.append(name + LOG_SUFFIX))
    try:
        while text:
            text = text[os.write(log.fd, text) :]
    except OSError as error:
        raise data_error(error, f"cannot write {directory.path(name + LOG_SUFFIX)!r}") from error
    return log


def open_own(directory: Directory, name: str, *, write: bool = False, held: object = None) -> OpenFile | None:
    """The file `name` if it is one that we could have made; nobody else's bytes, or second name, are trusted."""
    try:
        fd = directory.open(name, write)
    except NameRefused:
        return None
    if fd is None:
        return None
    file = OpenFile(fd, held)
    return file if directory.can_own(os.fstat(fd)) else None


def _read_log(directory: Directory, name: str) -> bytes | None:
    file = open_own(directory, name, write=False)
    if file is None:
        return None
    try:
        size = os.fstat(file.fd).st_size
        if size > _LARGEST_LOG:
            return None
        return bytes(file.read_first(size))
    except OSError as error:
        raise data_error(error, f"cannot read {directory.path(name)!r}") from error
