"""Many tasks on many connections: one thread each, urgent tasks first, as many threads as goodput wants.

A task is called with the worker that runs it. Tasks handle the errors of their own object; an exception that leaves a
task stops the whole run, and `finish` raises the first such. Tasks are not retried here.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from s3pull.errors import Cancelled
from s3pull.pull.memory import give_back_large
from s3pull.pull.pace import REQUEST_WEIGHT, Pace, ahead, most, streams
from s3pull.pull.progress import Meter, Progress

if TYPE_CHECKING:
    from s3pull.local.directory import Directory

_BEAT = 0.05
#: of a core: what Python uses of it where it has no time to wait, over so many seconds
_BUSY = 0.75
_WINDOW = 0.2
#: of a core: where less is idle on the whole machine, and this process has a good part of it, threads that are added
#: for what Python does under its lock only take turns
_FULL, _PART = 0.25, 0.3
#: of the time of all threads: who waits so long could be helped by others
_WAITED = 0.25
#: threads that wait for an answer each, for each stream that something large would have. All are here: another process
#: gets what is decided, and has nothing to wait for.
_SIDE_BY_SIDE = 2
#: tasks that may wait before whoever submits has to wait too
_QUEUE = 8192
SMALL_BUFFER = 64 * 1024
#: what a thread has of something large before it checks and writes it: this much, and more where they are few
PIECE = 256 * 1024
_LARGE_PIECE, _FEW_THREADS = 1024 * 1024, 16
#: Answers that a thread takes in a row before it asks for as many more, where it has twice as many under way: what it
#: does for each stays in the processor's caches, and who answers is not woken for one request at a time.
_IN_A_ROW = 8


class Pending(Protocol):
    """Something that a thread has asked for and comes back to."""

    def end(self, worker: Worker) -> None:
        """Take the answer."""
        ...

    def drop(self) -> None:
        """Nobody will take it."""
        ...


class Worker:
    """What one thread owns: counters, a read buffer that grows when a task asks for more, and what it has asked for.

    What is `pending` outlives the task that asked: answers come while the thread does something else. It is ended
    before the thread waits for work.
    """

    __slots__ = ("_buffer", "ended", "folder", "meter", "pending")

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        #: it has ended a task with nothing left under way
        self.ended = False
        self.pending: deque[Pending] = deque()
        #: where the last object went: the next one often goes there, too
        self.folder: Directory | None = None
        self._buffer = memoryview(bytearray(SMALL_BUFFER))

    def catch_up(self, most: int = 0) -> None:
        """End what was asked for first, until no more than `most` are pending."""
        pending = self.pending
        while len(pending) > most:
            pending.popleft().end(self)

    def make_way(self, width: int) -> None:
        """Let less than `width` be pending; where there is as much, some of it is ended in a row."""
        if len(self.pending) >= width:
            self.catch_up(width - min(_IN_A_ROW, (width + 1) // 2))

    def buffer(self, size: int) -> memoryview:
        """A buffer of at least `size` bytes; what it held before is gone."""
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size))
        return self._buffer


Task = Callable[[Worker], None]


class Crew:
    """Runs tasks. `on_stop` is called once, when a fatal error or `stop` ends the run early (it closes sockets).

    A large object has `least_streams` threads at least, and no more are tried while `stream_cores` are busy with it.
    `waited` says for how many seconds threads waited for answers that they had to have before they went on.
    """

    def __init__(
        self,
        *,
        jobs: int,
        progress: Progress,
        processes: int = 1,
        least_streams: int = 1,
        stream_cores: float = math.inf,
        throttles: Callable[[], int] = lambda: 0,
        latency: Callable[[], float] = lambda: 0.0,
        waited: Callable[[], float] = lambda: 0.0,
        idle_seconds: Callable[[], float | None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._progress = progress
        self._throttles = throttles
        self._latency = latency
        self._waited = waited
        self._idle_seconds = idle_seconds
        self._on_stop = on_stop
        self._processes = processes
        self._least_streams = least_streams
        self._stream_cores = stream_cores
        self._jobs = jobs
        self._pace = Pace(limit=jobs)
        self._urgent: deque[Task] = deque()
        self._ready: deque[Task] = deque()
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._alive = 0
        self._idle = 0
        self._closed = False
        self._stopping = False
        self._error: BaseException | None = None
        self._pacer: threading.Thread | None = None
        self._streaming = self._waiting = self._bound = False
        #: threads that it was begun with
        self._streams = 0
        #: another process could begin something: the next task goes before those of what was begun here
        self._another = False
        #: threads have notably more under way than a moment ago: more comes for that, whatever their number
        self.widened = False
        #: seconds for which threads waited for bodies that had begun to come
        self.waited = 0.0
        #: this process has as much to do as one thread at a time can
        self.busy = False
        #: cores that nobody used lately; all there may be where that cannot be told
        self._idle_cores = math.inf
        #: connections that each thread may have: as many as a long way keeps busy, and no more than are allowed
        self.room = 1
        self.make_room()
        #: one for each thread that lives
        self._workers: set[Worker] = set()

    # --- those who bring work ---------------------------------------------------------------------------

    def submit(self, tasks: Iterable[Task]) -> bool:
        """Add tasks; blocks while many wait. False once the run is stopping: bring no more."""
        while len(self._ready) > _QUEUE and not self._stopping:
            time.sleep(0.01)
        with self._wake:
            if self._stopping:
                return False
            before = len(self._ready)
            self._ready.extend(tasks)
            self._grow()
            self._wake.notify(len(self._ready) - before)
        return True

    def hurry(self, tasks: Iterable[Task]) -> None:
        """Add tasks that go before all others: parts of something that was begun."""
        with self._wake:
            if self._stopping:
                return
            before = len(self._urgent)
            self._urgent.extend(tasks)
            self._grow()
            self._wake.notify(len(self._urgent) - before)

    def begin_another(self) -> None:
        """Take one task before the urgent ones: another process waits for something large."""
        self._another = True

    def finish(self) -> None:
        """No more tasks come from outside: wait for all, then raise the first fatal error, if any.

        Waits in short naps, so that a signal handler of the main thread gets its turn.
        """
        with self._wake:
            self._closed = True
            self._wake.notify_all()
            while not self._over():
                self._wake.wait(0.2)
        self.join(5.0)
        if self._error is not None:
            raise self._error

    def stop(self, error: BaseException | None = None) -> None:
        """Drop what waits and interrupt what runs; `finish` raises the first `error` given, else Cancelled.

        Safe from any thread and more than once.
        """
        with self._wake:
            first = not self._stopping
            self._stopping = self._closed = True
            if self._error is None:
                self._error = error or Cancelled("stopped")
            self._ready.clear()
            self._urgent.clear()
            self._wake.notify_all()
        if first:
            self._on_stop()

    def join(self, seconds: float) -> bool:
        """Wait for the threads to end; whether they did. They are daemons: a stuck one does not keep the process."""
        deadline = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return self._alive == 0

    def stream(self) -> None:
        """Something large comes: have threads enough that the way is busy while each waits for its own."""
        if not self._streaming:
            self._streaming = True
            give_back_large()
            with self._wake:
                self._open_ways()
                self._grow()

    def _open_ways(self) -> None:
        """Have as many as the way asks for, once, for something large or for those that wait: what goodput says of more
        or fewer comes after that. Locked.

        A listing may be nearer than objects, until one has come nobody knows, and the first may be late for no reason.
        """
        wanted = streams(self._latency())
        if self._streaming:
            wanted = max(self._least_streams, wanted // self._processes)
        else:
            wanted *= _SIDE_BY_SIDE
        if wanted > self._streams:
            self._streams = wanted
            self._pace.raise_to(wanted)
        elif wanted < self._streams and self._pace.lower(self._streams, wanted):
            self._streams = wanted

    def halve(self) -> None:
        """Another process does half of the work from now on, with half of the connections."""
        with self._wake:
            self._processes = 2
            self._pace.limit = max(1, self._jobs // 2)
            many = self._streaming or self._waiting
            self._pace.target = min(self._pace.target, self._pace.limit) if many else 1

    def alone(self) -> None:
        """The other process is no more: all of the work is here, and all connections."""
        with self._wake:
            self._processes = 1
            self._pace.limit = self._jobs

    def drain(self) -> None:
        """Wait until there is nothing to do, though more may come. Returns early when the run is stopping."""
        with self._wake:
            while not self._stopping and (self._ready or self._urgent or self._idle < self._alive):
                self._wake.wait(0.2)

    def make_room(self) -> None:
        """Reckon `room` anew, from the latency that is known by now."""
        alive = max(1, self._alive)
        self.room = max(1, min(ahead(self._latency(), alive * self._processes), self._pace.limit // alive))

    @property
    def piece(self) -> int:
        """Bytes of something large that a thread has before it checks and writes them."""
        return _LARGE_PIECE if self._alive <= _FEW_THREADS else PIECE

    @property
    def error(self) -> BaseException | None:
        """The first error that stopped the run."""
        return self._error

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def threads(self) -> int:
        """How many there are at present."""
        return self._alive

    @property
    def limit(self) -> int:
        """Connections that they may have, all together."""
        return self._pace.limit

    # --- the threads ------------------------------------------------------------------------------------

    def _over(self) -> bool:
        return self._alive == 0 and (self._stopping or not (self._ready or self._urgent))

    def _grow(self) -> None:
        """Start threads for work that nobody is free to take. The lock is held."""
        if self._pacer is None:
            self._pacer = threading.Thread(target=self._keep_pace, name="pace", daemon=True)
            self._pacer.start()
        wanted = min(self._pace.target, self._alive - self._idle + len(self._ready) + len(self._urgent))
        while self._alive < wanted:
            self._alive += 1
            thread = threading.Thread(target=self._work, name=f"pull-{self._alive}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        worker = Worker(self._progress.meter())
        urgent, ready = self._urgent, self._ready
        self._workers.add(worker)
        try:
            while True:
                task: Task | None
                try:
                    task = self._next() if self._another else urgent.popleft() if urgent else ready.popleft()
                except IndexError:
                    if worker.pending:
                        worker.catch_up(len(worker.pending) - 1)
                        continue
                    task = self._wait()
                    if task is None:
                        return
                task(worker)
                if not worker.pending:
                    worker.ended = True
                del task  # it may hold a job with an open file: not while this thread waits for more
                if self._alive > self._pace.target:
                    worker.catch_up()
                    if self._retire():
                        return
        except BaseException as error:
            self._leave()
            self.stop(error)
        finally:
            self._workers.discard(worker)
            for left in worker.pending:
                left.drop()

    def _next(self) -> Task:
        """A task that begins something, if there is one. Raises IndexError where there is none at all."""
        self._another = False
        return self._ready.popleft() if self._ready else self._urgent.popleft()

    def _wait(self) -> Task | None:
        """The next task, or None when there will be none (this thread has then left)."""
        with self._wake:
            self._idle += 1
            if self._idle == self._alive:
                self._wake.notify_all()
            while True:
                if self._urgent or self._ready:
                    self._idle -= 1
                    return self._urgent.popleft() if self._urgent else self._ready.popleft()
                if self._closed and self._idle == self._alive:
                    break
                self._wake.wait()
            self._idle -= 1
            self._alive -= 1
            self._wake.notify_all()
            return None

    def _retire(self) -> bool:
        with self._wake:
            if self._alive <= max(1, self._pace.target):
                return False
            self._alive -= 1
            self._wake.notify_all()
            return True

    def _leave(self) -> None:
        with self._wake:
            self._alive -= 1
            self._wake.notify_all()

    def _full(self, use: float) -> bool:
        """Whether all cores are busy, a good part of one with what threads here do in turns; `use` is our cores."""
        in_turns = not self._streaming or self._stream_cores < math.inf
        return in_turns and use > _PART and self._idle_cores < _FULL

    def _keep_pace(self) -> None:
        began, used, idle = time.monotonic(), time.process_time(), self._idle_seconds()
        answers = self._waited()
        waited = answers + self.waited
        while True:
            time.sleep(_BEAT)
            now, spent = time.monotonic(), time.process_time()
            if now - began >= _WINDOW:
                # small objects are Python's work, one thread at a time; large ones are not
                use = (spent - used) / (now - began)
                self.busy = use > _BUSY
                idle_now = self._idle_seconds()
                if idle is not None and idle_now is not None:
                    self._idle_cores = (idle_now - idle) / (now - began)
                self._bound = use > _BUSY * (self._stream_cores if self._streaming else 1) or self._full(use)
                for_answers = self._waited()
                for_all = for_answers + self.waited
                much = _WAITED * (now - began) * self._alive
                if for_answers - answers > much and not self._throttles():  # for which they would wait, too
                    self._waiting = True
                if self.widened and not self._streaming and for_all - waited < much:
                    self._bound = True
                self.widened, answers, waited = False, for_answers, for_all
                began, used, idle = now, spent, idle_now
            with self._wake:
                if self._closed and self._alive == 0:
                    return
                if self._streaming or self._waiting:
                    self._open_ways()
                work = self._progress.received + self._progress.done_files * REQUEST_WEIGHT
                waiting = len(self._ready) + len(self._urgent)
                self._pace.reach = most(self._latency())
                active = sum(1 for worker in list(self._workers) if worker.meter.received or worker.ended)
                self._pace.step(now, float(work), waiting, self._throttles(), active, bound=self._bound)
                self._grow()
                self.make_room()
