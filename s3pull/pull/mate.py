"""A second process that takes part of a flood, where there is a second core: Python runs one thread at a time.

It gets objects that were decided on here, fetches, verifies and names them as this process would, and says of each what
is to be told and receipted. It decides nothing else: an object that goes wrong there in any way comes back and is
done here, so errors are met, retried and told in one place. When it dies, all that it had comes back.

What goes to it: the store's `Twin`, credentials, then objects, over a pipe. When this process dies the pipe ends, and
so does it (`mate_process`). Its part files are its own: a later run takes them up like those of any dead process.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3pull.errors import S3pullError
from s3pull.events import ObjectEvent
from s3pull.local.directory import FileStat
from s3pull.objects import Checksum, Credentials, RemoteObject
from s3pull.pull.cores import cores
from s3pull.pull.progress import ActiveObject
from s3pull.pull.spare import Spare, close_pipes, launch
from s3pull.records import NamedTuple
from s3pull.remote.twin import Twin

if TYPE_CHECKING:
    import subprocess

    from s3pull.pull.crew import Task
    from s3pull.pull.puller import Choices, Item, Puller
    from s3pull.pull.sums import Sums

#: small objects that must be left for a second process to be worth its start (0.15 s of a core); where a spare one was
#: started already, and only its part is to be made ready
MANY, SOME = 2500, 500
#: bytes over TLS that must be left, of more than one object
MUCH = 512 * 1024 * 1024
#: objects that may wait there
_WAITING = 256
#: large ones that it may have: two, or as many as come to so many bytes
_LARGE, _LARGE_BYTES = 2, 1024 * 1024 * 1024
_AT_ONCE = 16
#: how often in a row this process looks for a large one among those that come next
_LOOKS = 16
_END_SECONDS = 10.0


class Setup(NamedTuple):
    """What the second process is to work on. `device` and `inode` are those of `root`, which must be the same there."""

    twin: Twin
    credentials: Credentials | None
    root: str
    device: int
    inode: int
    choices: Choices
    jobs: int
    receipts: bool
    sums: Sums | None = None


class Lent(NamedTuple):
    """One object on its way to the second process."""

    item: Item
    reason: str


class Note(NamedTuple):
    """What a receipt is made of: what the service said, how the file looks, what was computed of it."""

    stated: RemoteObject
    look: FileStat
    content: Checksum
    verified: bool


class Done(NamedTuple):
    """An object that is as it should be."""

    event: ObjectEvent
    note: Note | None


class Reached(NamedTuple):
    """How far the second process is: objects begun, and what `Progress` says there. All are totals."""

    begun: int
    received: int
    done_bytes: int
    active: list[tuple[int, str, int, int]]


def idle_seconds() -> float | None:
    """Seconds that all cores of this machine together had nothing to do since it started; None where nobody tells.

    https://www.kernel.org/doc/html/latest/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
    """
    try:
        with Path("/proc/stat").open("rb") as file:
            idle, waiting = file.readline().split()[4:6]
        return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


def stream_cores(twin: Twin | None) -> float:
    """Cores that large objects may have busy while it pays to try more threads for them.

    Of plain HTTP the kernel does most, and several threads do that side by side. Of TLS so much is done under Python's
    own lock that a second thread costs more than it brings on a full machine. A store without a twin is taken for TLS.
    """
    return math.inf if twin is not None and twin.endpoint.scheme == "http" else max(1, cores() - 1)


class Mate:
    """The second process as this one sees it. `lend` and `flush` are called from any thread.

    `back` is called with objects that are to be done here after all. `spare` is the caller's to close.
    """

    def __init__(
        self,
        puller: Puller,
        twin: Twin,
        jobs: int,
        back: Callable[[list[Task]], None],
        spare: Spare | None = None,
    ) -> None:
        self._puller = puller
        self._twin = twin
        self._jobs = jobs
        self._back = back
        self._spare = spare
        self._meter = puller.progress.meter()
        self._change = threading.Condition()
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._considered = self._ready = self._ended = self._gone = False
        self._credentials: Credentials | None = None
        #: by path: what is there and not told of yet
        self._out: dict[str, Lent] = {}
        #: bytes of the large ones of these
        self._large: dict[str, int] = {}
        #: bytes of the last large one that could go there, and how often one was looked for since
        self._seen = self._looks = 0
        self._unsent: list[Lent] = []
        self._lent = self._begun = 0
        self._active: set[int] = set()

    def consider(self) -> None:
        """Start it, once, when so much is left that it pays; nobody waits for that."""
        if self._considered or not self._pays():
            return
        with self._change:
            if self._considered:
                return
            self._considered = True
        self._start()

    def listed(self) -> None:
        """No more objects will be found: a spare process is ended where nothing can make it pay any more."""
        with self._change:
            if self._spare is not None and not self._considered and not self._are_large:
                self._spare.close()

    def _pays(self) -> bool:
        if self._files_left >= (SOME if self._spare else MANY):
            return True
        # a slow line needs no second process; one that is there already costs nothing more
        return self._are_large and (bool(self._spare) or self._puller.crew.busy)

    @property
    def _are_large(self) -> bool:
        """Whether much is left, of more than one object, over TLS: without it the kernel does most of the work, and
        several threads do that at once.
        """
        return self._bytes_left >= MUCH and self._files_left > 1 and self._twin.endpoint.scheme == "https"

    def _start(self) -> None:
        """It gets nothing before it says that it is ready; where it cannot be started it never does."""
        puller = self._puller
        try:
            root = puller.tree.root.stat()
            self._credentials = puller.store.credentials.current()
        except (OSError, S3pullError):
            self._gone = True
            return
        self._process = (self._spare.take() if self._spare is not None else None) or launch()
        if self._process is None:
            self._gone = True
            return
        setup = Setup(
            self._twin,
            self._credentials,
            str(puller.tree.root.absolute()),
            root.st_dev,
            root.st_ino,
            puller.choices,
            self._jobs,
            puller.ledger is not None,
            puller.sums.lent() if puller.sums is not None else None,
        )
        self._send(setup)
        self._reader = threading.Thread(target=self._read, name="mate", daemon=True)
        self._reader.start()

    # --- lending --------------------------------------------------------------------------------------------

    def lend(self, item: Item, reason: str, *, large: bool) -> bool:
        """Give an object away; False where it is better done here, because there is enough there already."""
        if not self._ready or self._lent - self._begun >= _WAITING or not (large or self._has_less()):
            return False
        lent = Lent(item, reason)
        with self._change:
            if large:
                self._seen, self._looks = item.object.size, 0
            if not self._ready or self._ended or (large and not self._has_room(item.object.size)):
                return False
            self._out[item.path] = lent
            if large:
                self._large[item.path] = item.object.size
            self._lent += 1
            first = self._lent == 1
            self._unsent.append(lent)
            due = large or len(self._unsent) >= _AT_ONCE
        if first:
            self._puller.crew.halve()
        if due:
            self.flush()
        if large:
            self.look_for_large()
        return True

    def look_for_large(self) -> None:
        """Have the next object offered here, if one more can be there: this process is busy with what it has begun.

        It may be a small one; then `look_on`. It begins no more here than there are threads for.
        """
        crew = self._puller.crew
        with self._change:
            look = self._ready and not self._ended and self._has_room(self._seen)
        if look and len(self._puller.open_objects) <= crew.threads:
            self._looks += 1
            crew.begin_another()

    def look_on(self) -> None:
        """A task is over: if it was to bring a large one, and none was in it, the next one may."""
        if 0 < self._looks < _LOOKS and not self._large:
            self.look_for_large()

    def _has_room(self, size: int) -> bool:
        """Whether a large object of so many bytes is better there: it then has no more to do than this process."""
        progress, large = self._puller.progress, self._large
        active = map(progress.active.get, list(self._active))
        there = sum(large.values()) - sum(shown.done for shown in active if shown is not None)
        if len(large) >= _LARGE and there + size > _LARGE_BYTES:
            return False
        return not large or progress.total_bytes is None or 2 * there + size <= self._bytes_left

    def _has_less(self) -> bool:
        """Whether fewer objects are left there than here: so both come to their end together."""
        return 2 * len(self._out) < self._files_left

    @property
    def _files_left(self) -> int:
        """Objects that nobody has done yet, here or there, of those that are listed by now."""
        progress = self._puller.progress
        return (progress.total_files or 0) - progress.done_files

    @property
    def _bytes_left(self) -> int:
        """Bytes of these."""
        progress = self._puller.progress
        return (progress.total_bytes or 0) - progress.done_bytes

    def flush(self) -> None:
        """Send what was lent and not sent."""
        if not self._unsent:
            return
        with self._change:
            unsent, self._unsent = self._unsent, []
        if unsent:
            self._push_credentials()
            self._send(unsent)

    def end(self) -> None:
        """Nothing more will be lent: let it finish. `wait` for that."""
        self.flush()
        with self._change:
            self._ended = True
        if self._process is not None:
            self._send(None)

    def kill(self) -> None:
        """End it at once, from any thread: what it had is left as a killed run leaves it."""
        if self._process is not None:
            self._process.kill()

    def wait(self) -> None:
        """Until all that was lent is told of, or has come back."""
        if self._process is not None:
            with self._change:
                while self._out and not self._gone:
                    self._change.wait(0.2)

    def close(self) -> None:
        """End the process, at once if it still has something."""
        process = self._process
        if process is None:
            return
        import subprocess

        if self._out or not self._ended:
            process.kill()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(_END_SECONDS)
        with self._writing:
            close_pipes(process)

    def _push_credentials(self) -> None:
        try:
            now = self._puller.store.credentials.current()
        except S3pullError:
            return  # whoever needs them here hears why
        if now is not None and now is not self._credentials:
            self._credentials = now
            self._send(now)

    def _send(self, what: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        import pickle

        data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        with self._writing:
            try:
                self._process.stdin.write(data)
                self._process.stdin.flush()
            except (OSError, ValueError):
                pass  # it is gone: the reader sees that, too

    # --- what it says ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        import pickle

        try:
            while True:
                self._hear(pickle.load(self._process.stdout))  # noqa: S301 - it is our own child
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            pass
        except BaseException as fatal:
            self._puller.crew.stop(fatal)
        self._lost()

    def _hear(self, said: Any) -> None:
        if isinstance(said, Reached):
            self._advance(said)
        elif isinstance(said, list):
            for done in said:
                self._done(done)
            with self._change:
                self._change.notify_all()
        elif isinstance(said, tuple):
            self._return(*said)
        elif isinstance(said, Credentials):
            threading.Thread(target=self._renew, args=(said,), name="mate-renewal", daemon=True).start()
        else:
            self._ready = True
            self.look_for_large()

    def _advance(self, said: Reached) -> None:
        self._begun = said.begun
        meter, active = self._meter, self._puller.progress.active
        meter.received, meter.done_bytes = said.received, said.done_bytes
        for mark, name, size, done in said.active:
            shown = active.get(-mark)
            if shown is None:
                shown = active[-mark] = ActiveObject(name, size)
            shown.done = done
        now = {-mark for mark, *_ in said.active}
        for mark in self._active - now:
            active.pop(mark, None)
        self._active = now

    def _done(self, done: Done) -> None:
        event, note = done
        path = event.path
        assert path is not None
        with self._change:
            lent = self._out.pop(path, None)
            large = self._large.pop(path, None)
        if lent is None:
            return
        self._meter.done_files += 1
        if note is not None:
            self._puller.wrote(lent.item, note.stated, note.look, note.content, verified=note.verified)
        self._puller.report(event)
        if large is not None:
            self.look_for_large()

    def _return(self, path: str, received: int) -> None:
        with self._change:
            lent = self._out.pop(path, None)
            large = self._large.pop(path, None)
            if lent is not None:
                self._back([self._puller.again(lent.item, lent.reason, received)])
            self._change.notify_all()
        if large is not None:
            self.look_for_large()

    def _lost(self) -> None:
        """The pipe has ended: what is still out will not be done there."""
        assert self._process is not None
        self._process.wait()
        if not self._ended:
            self._puller.crew.alone()
        with self._change:
            self._ready = False
            self._unsent = []
            lent = list(self._out.values())  # `wait` waits until they are back
        for mark in self._active:
            self._puller.progress.active.pop(mark, None)
        if lent:
            self._puller.look_again()
            self._back([self._puller.orphaned(of.item) for of in lent])
        with self._change:
            self._out.clear()
            self._gone = True
            self._change.notify_all()

    def _renew(self, refused: Credentials) -> None:
        try:
            self._credentials = self._puller.store.credentials.renew(refused)
        except S3pullError:
            self._send(refused)  # there are no others: then the object comes back, and is told of here
        else:
            self._send(self._credentials)
