"""A large object: a grid of segments, each streamed over one connection into one part file, until it is verified.

Law:

1. Every answer belongs to one pin (the store sees to it); when the object was replaced, the part file is thrown away
   and everything starts again under the new pin, three times at most.
2. The running CRC of each segment covers exactly the bytes that were written for it; after a resume it starts from
   what was hashed back from disk. Combined, the segments' CRCs are the checksum of what is on disk.
3. The file gets its final name only from `_finish`, by the last worker that leaves, after the checksum was compared.
4. Whatever goes wrong short of a proven mismatch, the part file stays, and the next run goes on from it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from s3pull.errors import Cancelled, CheckFailed, ObjectChanged, S3pullError, Transient
from s3pull.events import Action
from s3pull.local import owner
from s3pull.local.checkpoint import Header, Running
from s3pull.local.parts import PartFile
from s3pull.local.settle import SYNC_BYTES, Written
from s3pull.objects import FULL_OBJECT, Checksum
from s3pull.pull import proof
from s3pull.pull.crew import PIECE
from s3pull.pull.outcome import Outcome, settle
from s3pull.pull.progress import ActiveObject
from s3pull.pull.standing import OWN_ALGORITHM
from s3pull.remote import checksums

if TYPE_CHECKING:
    from s3pull.local.directory import Directory
    from s3pull.pull.crew import Worker
    from s3pull.pull.inorder import InOrder
    from s3pull.pull.puller import Item, Puller
    from s3pull.remote.retry import Attempts
    from s3pull.remote.store import Body

_MIB = 1024 * 1024
SEGMENT = 16 * _MIB
#: a giant has at most so many segments: the grid, its sidecar and its requests stay small
_MOST_SEGMENTS = 4096
#: A kill loses at most what came since the last checkpoint of each connection: there may be many, so every buffer that
#: is written is noted (24 bytes), up to so many times a segment, and at least every second.
_CHECKPOINTS = 32
_CHECKPOINT_SECONDS = 1.0
_FIRST_BYTES = _MIB
_RUNNING = ("CRC64NVME", "CRC32C", "CRC32")


def segment_size(size: int) -> int:
    """Bytes of a segment in the grid of an object of `size` bytes: 16 MiB, more for giants, whole MiB always."""
    return max(SEGMENT, -(-size // (_MOST_SEGMENTS * _MIB)) * _MIB)


class LargeObject:
    """One object under way. `begin` runs on one worker and calls others to the segments; the last to leave finishes."""

    def __init__(self, puller: Puller, item: Item, directory: Directory, reason: str) -> None:
        self._puller = puller
        self._item = item
        self._directory = directory
        self._reason = reason
        self._lock = threading.Lock()
        self._repins = 0
        self._received = 0
        self._unsynced = 0
        self._resumed = False
        self._doubted: Checksum | None = None
        self._stated = item.object
        self._trouble: S3pullError | None = None
        self._left = 0
        self._part: PartFile | None = None
        self._crcs: list[int] = []
        self._sha: InOrder | None = None
        self._shown = ActiveObject(item.path, item.object.size)

    # --- from pin to part file ------------------------------------------------------------------------------

    def begin(self, worker: Worker) -> None:
        """Open (or take over) the part file and fetch the segments."""
        self._puller.open_objects.add(self)
        try:
            tasks = self._open()
        except ObjectChanged as error:
            self._again(error, worker)
            return
        except S3pullError as error:
            self._abandon(error)
            return
        self._puller.progress.active[id(self)] = self._shown
        if tasks:
            self._puller.crew.hurry(tasks[1:])
            tasks[0](worker)
        else:
            self._last_one_out(worker)

    def carry_on(self, worker: Worker, body: Body, head: memoryview) -> None:
        """`begin` with an answer that is under way, the first bytes of which are in `head`; closes it."""
        self._puller.open_objects.add(self)
        with body:
            try:
                self._open()
                part = self._open_part()
                segment = _Segment(0, 0, part.header.length(0), 0, 0)  # what is slow has a log at once
                part.resume(0, self._crc)  # an older part of it is not gone on with: this answer has more, or will
                self._stated, self._resumed = body.object, False
                self._puller.progress.active[id(self)] = self._shown
                self._write(segment, head, self._crc(head, 0), worker)
            except S3pullError as error:
                self._abandon(error)
                return
            self._take_segment(segment, worker, body)

    def _open(self) -> list[Callable[[Worker], None]]:
        pin = self._item.object
        size = segment_size(pin.size)
        self._stated = pin
        if pin.size > size:
            # a single segment is one plain GET, whose answer brings the checksum with it
            self._stated = self._puller.stated(self._item)
        stated = self._stated.checksum
        running = stated.algorithm if stated and stated.type == FULL_OBJECT and stated.algorithm in _RUNNING else None
        header = Header(pin.key, pin.etag, pin.size, size, running or "CRC64NVME")
        self._part = PartFile.open(self._directory, self._item.name, header)
        self._resumed = any(self._part.claimed.values())
        sums = self._puller.sums
        self._sha = sums.in_order(pin.key, self._part) if sums is not None else None
        self._crc = checksums.crc_function(self._part.header.algorithm)
        count = self._part.header.segments
        self._crcs = [0] * count
        self._left = count
        self._trouble = None
        self._shown.size, self._shown.done = pin.size, 0
        return [partial(self._segment, index) for index in range(count)]

    # --- one segment ------------------------------------------------------------------------------------------

    def _segment(self, index: int, worker: Worker) -> None:
        worker.catch_up()  # a segment takes long: no answer is kept waiting for it
        segment = None
        if self._trouble is None:
            try:
                part = self._open_part()
                done, crc = part.resume(index, self._crc)
                start = index * part.header.segment
                alone = part.header.segments == 1 and not part.logged
                segment = _Segment(index, start, start + part.header.length(index), done, crc, alone=alone)
                if self._sha is not None:
                    self._sha.resumed(index, segment.at)
                self._advance(worker, done)
            except S3pullError as error:
                self._fail(error)
        self._take_segment(segment, worker)

    def _take_segment(self, segment: _Segment | None, worker: Worker, body: Body | None = None) -> None:
        """Fetch the rest of a segment, from `body` as long as that goes; the last to do so finishes the object."""
        if segment is not None:
            try:
                self._fetch(segment, worker, body)
            except S3pullError as error:
                self._fail(error)
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._last_one_out(worker)

    def _fail(self, error: S3pullError) -> None:
        with self._lock:
            self._trouble = self._trouble or error

    def _fetch(self, segment: _Segment, worker: Worker, body: Body | None) -> None:
        attempts = self._puller.store.patience.attempts()
        while segment.at < segment.end and self._trouble is None:
            try:
                if body is None:
                    self._stream(segment, worker, attempts)
                else:
                    self._pour(segment, body, worker, attempts)
            except S3pullError as error:
                self._note(segment)
                if not isinstance(error, Transient):
                    raise
                body = None
                attempts.failed(error)
        self._crcs[segment.index] = segment.crc
        if segment.at == segment.end:
            self._sync_at_times(segment.end - segment.start)

    def _sync_at_times(self, count: int) -> None:
        """A segment of `count` bytes is complete. What the disk has already is not waited for at the end."""
        with self._lock:
            self._unsynced += count
            due = self._unsynced >= SYNC_BYTES
            if due:
                self._unsynced = 0
        if due:
            self._puller.settler.sync_soon(self._open_part().datasync)

    def _note(self, segment: _Segment) -> None:
        """Something went wrong: what came so far is for this run, or another one, to go on from."""
        if segment.unmarked:
            try:
                self._checkpoint(segment)
            except S3pullError:
                pass  # closed, or the disk fails: whoever writes next hears of it

    def _stream(self, segment: _Segment, worker: Worker, attempts: Attempts) -> None:
        """The rest of a segment over one connection. Raises Transient where it broke off; what came is written."""
        pin = self._item.object
        whole = segment.at == 0 and segment.end == pin.size
        with self._puller.store.get(
            pin.key,
            start=0 if whole else segment.at,
            end=None if whole else segment.end,
            pin=pin,
            version_id=self._item.version_id,
            checksum=whole,
        ) as body:
            if whole:
                self._stated = body.object
            self._pour(segment, body, worker, attempts)

    def _pour(self, segment: _Segment, body: Body, worker: Worker, attempts: Attempts) -> None:
        crew = self._puller.crew
        broken: Transient | None = None
        while segment.at < segment.end and self._trouble is None:
            if broken is not None:
                raise broken
            size = min(crew.piece, segment.piece, segment.end - segment.at)
            piece = worker.buffer(size)[:size]
            filled, crc, broken = _fill(body, piece, self._crc, segment.crc)
            if filled:
                self._write(segment, piece[:filled], crc, worker)
                attempts.progressed()

    def _write(self, segment: _Segment, piece: memoryview, crc: int, worker: Worker) -> None:
        """Write what follows in the segment; `crc` is the segment's with it."""
        part, at, count = self._open_part(), segment.at, len(piece)
        part.write_at(at, piece)
        segment.at, segment.crc = at + count, crc
        if self._sha is not None:
            self._sha.wrote(at, piece)
        worker.meter.received += count
        self._advance(worker, count, received=count)
        if segment.checkpoint_is_due():
            self._checkpoint(segment)

    def _checkpoint(self, segment: _Segment) -> None:
        self._open_part().checkpoint(segment.index, segment.at - segment.start, segment.crc)
        segment.mark()

    def _advance(self, worker: Worker, count: int, *, received: int = 0) -> None:
        worker.meter.done_bytes += count
        with self._lock:
            self._shown.done += count
            self._received += received

    # --- the end ----------------------------------------------------------------------------------------------

    def _last_one_out(self, worker: Worker) -> None:
        self._puller.progress.active.pop(id(self), None)
        trouble = self._trouble
        if trouble is None:
            try:
                self._finish(worker)
            except ObjectChanged as error:
                self._again(error, worker)
            except S3pullError as error:
                self._abandon(error)
        elif isinstance(trouble, ObjectChanged):
            self._again(trouble, worker)
        else:
            self._abandon(trouble)

    def _finish(self, worker: Worker) -> None:
        """Verify what is on disk, then give it its name. Bytes that do not match are fetched once more."""
        part = self._open_part()
        found, content = self._prove(part), self._content(part)
        if self._sha is not None and self._puller.sums is not None:
            found = self._puller.sums.prove(self._item.object.key, found, self._sha.digest, self._doubted)
            content = found.by if found.equal and found.by is not None else content
        if not self._puller.judge(self._item, found, self._doubted):
            self._doubted = found.by
            self._start_anew(worker)
            return
        look = part.complete(self._stated.last_modified, self._seal(part, verified=bool(found.equal)))
        written = Written(part.name, look)
        self._puller.open_objects.discard(self)
        action = Action.RESUMED if self._resumed else Action.DOWNLOADED
        outcome = Outcome(
            *(self._item, self._stated, action, self._reason, self._received, found.by, content, bool(found.equal))
        )
        settle(self._puller, self._directory, written, outcome, worker, part=part)

    def _seal(self, part: PartFile, *, verified: bool) -> str:
        """What another run knows the file by, should this one be killed before it has its name; '' for its log."""
        if not self._puller.choices.durable or part.logged or len(self._crcs) != 1:
            return ""
        if part.header.algorithm == OWN_ALGORITHM:
            return owner.seal(self._crcs[0], verified)
        part.checkpoint(0, part.header.size, self._crcs[0])
        return ""

    def _prove(self, part: PartFile) -> proof.Proof:
        if self._stated.checksum is None:
            # a resumed single segment never saw a whole answer; its checksum comes by HEAD
            self._stated = self._puller.stated(self._item)
        self._stated = self._puller.held(self._item, self._stated)
        if self._stated.checksum is None and self._puller.opaque_etags:
            return proof.UNTOLD
        return proof.prove(
            self._stated,
            proof.on_disk(part.read_at),
            running=self._content(part),
            part_size=self._puller.part_size(self._item),
        )

    def _content(self, part: PartFile) -> Checksum:
        """The checksum of what is on disk, out of its segments'."""
        algorithm = part.header.algorithm
        pieces = ((crc, part.header.length(index)) for index, crc in enumerate(self._crcs))
        return checksums.full_object(
            algorithm, checksums.crc_digest(algorithm, checksums.combine_all(algorithm, pieces))
        )

    def _again(self, error: ObjectChanged, worker: Worker) -> None:
        """The object was replaced: forget the old bytes and start under the new pin."""
        try:
            self._item = self._puller.repinned(self._item, error, self._repins)
        except S3pullError as final:
            self._abandon(final, keep=False)
            return
        self._repins += 1
        self._doubted = None
        self._start_anew(worker)

    def _start_anew(self, worker: Worker) -> None:
        worker.meter.done_bytes -= self._shown.done
        self._discard()
        self.begin(worker)

    def _abandon(self, error: S3pullError, *, keep: bool = True) -> None:
        """Report the failure. The part file stays for the next run, unless its bytes are proven wrong."""
        if keep and not isinstance(error, CheckFailed):
            self.close()
        else:
            self._discard()
        self._puller.open_objects.discard(self)
        self._puller.failed(self._item.object, self._item.path, error, self._received)

    def close(self) -> None:
        """Let go of the part file and keep it: the next run goes on from it."""
        if self._part is not None:
            self._part.close()

    def _discard(self) -> None:
        if self._part is not None:
            self._part.discard()
            self._part = None

    def _open_part(self) -> PartFile:
        if self._part is None:
            raise Cancelled("the part file was closed")
        return self._part


class _Segment:
    """Where one segment got to: everything before `at` is written, and `crc` covers it from the segment's start."""

    __slots__ = ("_alone", "_marked", "_marked_at", "_step", "at", "crc", "end", "index", "start")

    def __init__(self, index: int, start: int, end: int, done: int, crc: int, *, alone: bool = False) -> None:
        self.index = index
        self.start = start
        self.end = end
        self.at = self._marked = start + done
        self.crc = crc
        self._step = (end - start) // _CHECKPOINTS
        self._marked_at = time.monotonic()
        self._alone = alone

    @property
    def piece(self) -> int:
        """Bytes that may be read before they are written, and are lost in a kill: a sixteenth, where that is much."""
        return max(PIECE, 2 * self._step)

    @property
    def unmarked(self) -> bool:
        """Whether bytes came since the last checkpoint."""
        return self.at > self._marked

    def checkpoint_is_due(self) -> bool:
        """True when a 32nd of the segment was written, after a second, and at the end.

        Of an object that is one segment the first only after a second or a MiB: most are whole by then.
        """
        return (
            self.at - self._marked >= (_FIRST_BYTES if self._alone else self._step)
            or (self.at == self.end and not self._alone)
            or time.monotonic() - self._marked_at >= _CHECKPOINT_SECONDS
        )

    def mark(self) -> None:
        """There was a checkpoint here."""
        self._marked, self._marked_at, self._alone = self.at, time.monotonic(), False


def _fill(body: Body, buffer: memoryview, running: Running, crc: int) -> tuple[int, int, Transient | None]:
    """Read until the buffer is full or a second has passed: fewer, larger writes, and nothing held back on a slow link.

    Returns how many bytes came, `crc` with them, and what broke off behind them. Each part is checked as it comes, as
    long as the processor has it at hand: by the MiB it comes from memory, which takes several times as long.
    """
    filled, size = 0, len(buffer)
    deadline = time.monotonic() + _CHECKPOINT_SECONDS
    try:
        while filled < size and (not filled or time.monotonic() < deadline):
            rest = buffer[filled:]
            count = body.readinto(rest)
            if not count:
                return filled, crc, Transient("the body ended before its announced end")
            crc = running(rest[:count], crc)
            filled += count
    except Transient as error:
        return filled, crc, error
    return filled, crc, None
