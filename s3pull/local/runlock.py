"""One run at a time in one destination: `.s3pull/lock`, created exclusively, taken over only from who is gone.

The law, in which no time and no flock decides who wins:

1. A lock has a nonce, which never comes back. Who wants to replace or remove the lock with nonce N must first be the
   successor of N: the one who created `lock.N.0` exclusively. If that one is gone too, his successor is the one who
   created `lock.N.1`, and so on. The lock and its successors are a chain; each link holds the record of its maker.
2. A chain is taken over only when every link in it is gone, and only by the next link. It moves down link by link: it
   looks again whether the link below is still the one that was judged, and renames itself over it, at last over `lock`.
3. Such a rename goes by name. Whoever was stopped just before it, for however long, installs the record of the
   successor that stands there by then, not its own. So everybody reads back: who reads its own nonce has the lock.
4. Where there is no lock, one that nobody holds is created, and taken over in the same way.

| links                                        | we                                                   |
|----------------------------------------------|------------------------------------------------------|
| none                                         | create one that nobody holds, and look again         |
| all DEAD (`lockrecord.judge`)                | take over at once                                    |
| one ALIVE                                    | wait, or raise Locked                                |
| some empty, for a moment, on a disk with links | count as DEAD (`lockfiles`)                        |
| some UNKNOWN, one moved since we looked first| wait, or raise Locked                                |
| some UNKNOWN, none has moved for `stale`     | take over                                            |
| some UNKNOWN, none has moved yet             | wait, or note it (`lock.seen`) and raise Locked      |
| the same, as noted by a run `stale` ago      | take over when none moves for two beats either       |

So who may not wait is told at once, and yet what a killed container left is taken over by a later run. Time in which
this process or machine slept does not count as watched. One thing no lock on a shared file system can exclude: a holder
on another machine that is stopped for `stale` between a `check` and what it does next.

What is not done here: what the lock protects. Its holder asks `check` before each delete, commit and swap.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from s3pull.errors import Cancelled, DiskError, Locked, NameRefused, S3pullError
from s3pull.local.directory import Directory
from s3pull.local.lockfiles import LOCK, Link, LockFiles, close_quietly, link_name
from s3pull.local.lockrecord import LONGEST, Record, beat_field, beat_offset, free_record, judge, own_record, parse
from s3pull.local.oserrors import data_error
from s3pull.local.owner import State
from s3pull.records import NamedTuple

#: which chain a run saw that could not wait
_SEEN = f"{LOCK}.seen"
_LINK = re.compile(rf"{LOCK}\.([0-9a-f]{{32}})\.(?:[0-9]+|new)")
#: of a poll: how long something takes that another process is at this very moment
_MOMENT = 0.05
#: how often `release` looks whether somebody who is taking the lock over has come to an end
_PATIENCE = 20

#: the nonces of the locks that this process holds or is about to
_held: set[str] = set()


class Times(NamedTuple):
    """All in seconds. `beat`: between two heartbeats. `stale`: of silence, after which a holder of whom nothing else is
    known counts as gone. `poll`: between two looks at another's lock.
    """

    beat: float = 10.0
    stale: float = 60.0
    poll: float = 1.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


_TIMES = Times()


class _Watch:
    """For how long nothing moved, by our own clock, and whether anything has moved at all."""

    def __init__(self) -> None:
        self.quiet = 0.0
        self.moved = False
        self._seen: list[tuple[str, int]] | None = None
        self._at = 0.0

    def look(self, seen: list[tuple[str, int]], now: float, most: float) -> None:
        """Note what is there `now`. Of the time since the last look `most` seconds count: we may have slept as well."""
        if seen == self._seen:
            self.quiet += min(now - self._at, most)
        else:
            self.moved = self.moved or self._seen is not None
            self.quiet = 0.0
        self._seen, self._at = seen, now


class RunLock:
    """The lock of one `.s3pull` directory, held until `release`. `check` and `release` may be called by any thread."""

    def __init__(self, directory: Directory, record: Record, times: Times) -> None:
        """Use `acquire`."""
        self._directory = directory
        self._files = LockFiles(directory)
        self._record = record
        self._times = times
        self._beats = 0
        self._lost = False
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="run lock", daemon=True)

    @classmethod
    def acquire(
        cls,
        directory: Directory,
        *,
        wait: float = 0.0,
        say: Callable[[str], None] = lambda _: None,
        times: Times = _TIMES,
        stopped: Callable[[], bool] = lambda: False,
    ) -> RunLock:
        """The lock of `directory`, the open `.s3pull`. Waits up to `wait` seconds for a run that holds it.

        `say` is told when waiting begins, and when the lock of somebody who is gone is taken over. Raises Locked,
        DiskError, and Cancelled soon after `stopped` is true.
        """
        lock = cls(directory, own_record(), times)
        _held.add(lock._record.nonce)
        try:
            lock._win(wait, say, stopped)
            lock._thread.start()
        except BaseException:
            lock._leave()
            lock._withdraw_all()
            raise
        return lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def nonce(self) -> str:
        """By which others know that it is this run which holds the destination (`State.held_by`)."""
        return self._record.nonce

    def check(self) -> None:
        """Raise Locked where the lock is not ours any more. Reads one small file. Raises DiskError."""
        link = self._files.read(LOCK)
        if not self._lost and self._is_ours(link):
            return
        self._lost = True
        raise Locked(
            f"lost the lock of this destination: {_taken(link, self._record.nonce)}",
            hint="this process, its machine or the file system stood still for too long; run it again: "
            "what was downloaded is kept",
        )

    def release(self) -> None:
        """Remove the lock if it is ours. Never raises: one that cannot be removed stays, as a dead one."""
        if self._record.pid != os.getpid():  # a child of ours leaves: the lock is its parent's
            return
        self._released.set()
        if self._thread.is_alive():
            self._thread.join(self._times.beat)
        self._leave()

    def beat(self) -> None:
        """Write one heartbeat, as the thread does every `Times.beat` seconds; never into a lock that is not ours.

        A failing disk is no loss of the lock: the next beat, or `check`, will tell.
        """
        try:
            fd = self._directory.open(LOCK, write=True)
        except NameRefused:
            self._lost = True
            return
        except DiskError:
            return
        if fd is None:
            self._lost = True
            return
        try:
            record = parse(os.read(fd, LONGEST + 1))
            if record is None or record.nonce != self._record.nonce:
                self._lost = True
                return
            self._beats += 1
            os.lseek(fd, beat_offset(self._record), os.SEEK_SET)
            os.write(fd, beat_field(self._beats))
        except OSError:
            return
        finally:
            close_quietly(fd)

    def _keep_beating(self) -> None:
        while not self._lost and not self._released.wait(self._times.beat):
            self.beat()

    # --- winning ----------------------------------------------------------------------------------------

    def _win(self, wait: float, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        began = self._times.monotonic()
        watch = _Watch()
        told = False
        before: bool | None = None
        while True:
            if stopped():
                raise Cancelled("stopped while waiting for another run")
            links = self._chain()
            if not links:
                self._files.create(LOCK, free_record())
                continue
            if self._is_ours(links[0]):  # after we gave up, somebody who was stopped before his rename did it for us
                self._sweep()
                return
            now = self._times.monotonic()
            marks = [link.mark for link in links]
            watch.look(marks, now, 2 * self._times.poll)
            states = [judge(link.record, _held) for link in links]
            if watch.quiet >= self._times.poll / 4 and self._files.can_link():
                states = [State.DEAD if link.void else state for link, state in zip(links, states, strict=True)]
            gone = all(state is State.DEAD for state in states)
            enough = 2 * self._times.beat if before else self._times.stale
            silent = State.ALIVE not in states and watch.quiet >= enough
            if gone or silent:
                if self._succeed(links, onto=0):
                    self._sweep()
                    if not links[0].free:
                        say(_took_over(links[0].record, None if gone else self._times.stale))
                    return
                self._times.sleep(self._times.poll * _MOMENT)
                continue
            alive = [link for link, state in zip(links, states, strict=True) if state is State.ALIVE]
            holder = (alive or [link for link in links if link.record is not None and not link.free] or links)[-1]
            left = began + wait - now
            known = State.ALIVE in states or watch.moved
            # in all likelihood; one that changed was not in that moment
            unread = not alive and (holder.record is None or any(link.void for link in links))
            writing = unread and not watch.moved and watch.quiet < self._times.poll
            if not known and not writing and before is None:
                before = self._saw_before(marks)
            if left <= 0 and not writing and (known or wait > 0 or not before):
                raise _locked(holder.record, self._directory, None if known else self._times.stale)
            pause = min(self._times.poll, left) if left > 0 else self._times.poll
            if writing:
                pause *= _MOMENT
            elif not told:
                told = True
                say(_waiting(holder.record, None if known else enough))
            self._times.sleep(pause)

    def _saw_before(self, marks: list[tuple[str, int]]) -> bool:
        """Whether an earlier run noted, `stale` ago by the file system's clock, that it saw just these.

        Where none did, that is noted now.
        """
        saw = hashlib.sha256(repr(marks).encode()).hexdigest().encode()
        probe = link_name(self._record.nonce, 0)  # of that name, whoever wins sweeps it if we are killed
        try:
            close_quietly(self._directory.create(probe))
            noted = self._directory.open(_SEEN)
            if noted is not None:
                try:
                    if os.read(noted, LONGEST) == saw:
                        here, then = self._directory.stat(probe), os.fstat(noted).st_mtime_ns
                        return here is not None and here.mtime_ns - then >= self._times.stale * 1e9
                finally:
                    close_quietly(noted)
                self._directory.unlink(_SEEN)
            made = self._directory.create(_SEEN)
            try:
                os.write(made, saw)
            finally:
                close_quietly(made)
        except NameRefused:  # another run notes it at this moment
            pass
        except OSError as error:
            raise data_error(error, f"cannot write {self._directory.path(_SEEN)!r}") from error
        finally:
            self._directory.unlink(probe)
        return False

    def _succeed(self, links: list[Link], onto: int) -> bool:
        """Add ourselves to the chain `links`, of which all was judged, and move down to link number `onto`."""
        names = [link.name for link in links] + [link_name(links[0].ident, len(links) - 1)]
        began = self._times.monotonic()
        if not self._files.create(names[-1], self._record):
            return False
        for at in range(len(links) - 1, onto - 1, -1):
            there = self._files.read(names[at])
            if self._is_ours(there):  # somebody who was stopped before his rename has done it for us
                continue
            late = self._times.monotonic() - began > self._times.stale / 2  # others will soon count us as gone
            if late or there is None or there.mark != links[at].mark:
                self._withdraw(names[at + 1])
                return False
            self._directory.rename(names[at + 1], names[at])
        return self._is_ours(self._files.read(names[onto]))

    def _leave(self) -> None:
        """Remove our lock, if it is there, without raising. If it stays it counts as a dead one's from now on."""
        try:
            for _ in range(_PATIENCE):
                if self._remove():
                    break
                self._times.sleep(self._times.poll * _MOMENT)
        except S3pullError:
            pass
        finally:
            _held.discard(self._record.nonce)

    def _remove(self) -> bool:
        """False where somebody is taking it over at this moment."""
        links = self._chain()
        if not links or not self._is_ours(links[0]):
            return True
        if any(judge(link.record, _held) is not State.DEAD for link in links[1:]):
            return False
        if not self._succeed(links, onto=1):
            return False
        if self._is_ours(self._files.read(LOCK)):
            self._directory.unlink(LOCK)
        self._withdraw(link_name(links[0].ident, 0))
        return True

    def _withdraw(self, name: str) -> None:
        if self._is_ours(self._files.read(name)):
            self._directory.unlink(name)

    def _withdraw_all(self) -> None:
        """What an error left in the middle, without raising: as long as this process lives it would count as alive."""
        try:
            for name in self._directory.names(LOCK + "."):
                self._withdraw(name)
        except S3pullError:
            pass

    def _sweep(self) -> None:
        """Remove successors of locks that are no more. Who still moves down such a chain will find the lock changed."""
        for name in self._directory.names(LOCK + "."):
            match = _LINK.fullmatch(name)
            if name == _SEEN or (match is not None and match[1] != self._record.nonce):
                self._directory.unlink(name)

    def _is_ours(self, link: Link | None) -> bool:
        return link is not None and link.record is not None and link.record.nonce == self._record.nonce

    def _chain(self) -> list[Link]:
        """The lock and its successors, or nothing."""
        links: list[Link] = []
        link = self._files.read(LOCK)
        while link is not None:
            links.append(link)
            link = self._files.read(link_name(links[0].ident, len(links) - 1))
        return links


# --- what is said ---------------------------------------------------------------------------------------


def _who(record: Record | None) -> str:
    return record.who if record is not None else "somebody who left no readable record"


def _locked(record: Record | None, directory: Directory, stale: float | None) -> Locked:
    if record is None:
        message = f"another run holds this destination: {directory.path(LOCK)!r} cannot be read"
        message += ", and changes" if stale is None else ""
    else:
        since = datetime.fromtimestamp(record.since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        message = f"another run holds this destination: {record.who}, since {since}"
    hint = "wait for its end, for example with --wait 10m"
    if stale is not None:
        hint += f"; if it does nothing for {stale:.0f} s it counts as gone, and its place is taken"
    return Locked(message, hint=hint)


def _waiting(record: Record | None, stale: float | None) -> str:
    if stale is None:
        return f"waiting for {_who(record)}"
    return f"waiting to see whether {_who(record)} is still there, up to {stale:.0f} s"


def _took_over(record: Record | None, silent: float | None) -> str:
    why = "which is gone" if silent is None else f"silent for {silent:.0f} s"
    return f"took over the lock of {_who(record)}, {why}"


def _taken(link: Link | None, nonce: str) -> str:
    if link is None:
        return "it was removed"
    if link.record is None:
        return "its file was damaged"
    return f"{link.record.who} took it over" if link.record.nonce != nonce else "it was away for a while"
