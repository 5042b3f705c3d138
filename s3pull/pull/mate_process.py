"""The second process itself: see `pull.mate`, which starts it and is the only one to talk to it.

It reads objects from its standard input and writes what became of them to its standard output, both as pickles. When
the input ends without a word, whoever started it is dead: then it ends at once, and leaves what a killed run leaves.
Signals from the terminal are not for it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from s3pull import garbage
from s3pull.errors import CredentialsError
from s3pull.events import ObjectEvent
from s3pull.local.directory import FileStat
from s3pull.local.settle import Settler
from s3pull.local.tree import Tree
from s3pull.objects import Checksum, Credentials, RemoteObject
from s3pull.pull.crew import Crew, Task, Worker
from s3pull.pull.ledger import Ledger
from s3pull.pull.mate import Done, Lent, Note, Reached, Setup, idle_seconds, stream_cores
from s3pull.pull.progress import Progress
from s3pull.pull.puller import Item, Puller, Tally
from s3pull.pull.small import Ahead
from s3pull.remote.engine import SocketStore
from s3pull.remote.twin import open_twin

_BEAT = 0.01
#: so many of them between two words on bytes alone
_BEATS = 10
#: done with and not told of: many at a time, but none for long
_AT_ONCE = 64
_RENEWAL_SECONDS = 300.0


def main() -> None:
    """Work until there is no more. Exits 0 when all was told. Who calls this told `garbage` of the loading."""
    garbage.loaded()
    code = 1
    try:
        _work()
        code = 0
    finally:
        os._exit(code)  # a thread waits for what will not come, and would hold up the interpreter's end


def _work() -> None:
    for name in ("SIGINT", "SIGTERM"):  # whoever started us ends us
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = Parent(sys.stdin.buffer, sys.stdout.buffer)
    setup: Setup = parent.hear()
    credentials = Borrowed(setup.credentials, parent.say)
    store = open_twin(setup.twin, credentials, os.environ)
    progress, over = Progress(), threading.Event()
    crew = Crew(
        jobs=setup.jobs,
        processes=2,
        stream_cores=stream_cores(setup.twin),
        progress=progress,
        throttles=lambda: store.patience.throttles,
        latency=lambda: store.latency,
        waited=lambda: store.waited,
        idle_seconds=idle_seconds,
        on_stop=lambda: _stop(store, over),
    )
    with Tree(Path(setup.root), create=False, durable=setup.choices.durable) as tree:
        there = tree.root.stat()
        if (there.st_dev, there.st_ino) != (setup.device, setup.inode):
            return  # somebody moved the destination: not ours to judge
        notes = Notes() if setup.receipts else None
        errands = Errands(parent, notes)
        with Settler(durable=setup.choices.durable) as settler:
            puller = Puller(
                store=store,
                tree=tree,
                settler=settler,
                crew=crew,
                progress=progress,
                choices=setup.choices,
                emit=errands.event,
                tally=Tally(),
                ledger=notes,
                sums=setup.sums,
            )
            threading.Thread(target=_beat, args=(errands, parent, progress), name="beat", daemon=True).start()
            parent.say("ready")
            serve = threading.Thread(target=_serve, args=(parent, credentials, errands, puller, over), daemon=True)
            serve.start()
            over.wait()
            crew.finish()
            settler.flush()
            parent.flush()
            parent.say(errands.reached(progress))


class Parent:
    """The pipes to the process that started us. Any thread may speak; one listens."""

    def __init__(self, hears: Any, says: Any) -> None:
        self._hears = hears
        self._says = says
        self._lock = threading.Lock()
        self._done: list[Done] = []

    def hear(self) -> Any:
        """The next word. Ends this process where there will be none."""
        try:
            return pickle.load(self._hears)  # noqa: S301 - nobody else has the other end
        except (EOFError, OSError):
            os._exit(1)

    def say(self, what: object) -> None:
        """Say it now."""
        with self._lock:
            self._say(what)

    def done(self, done: Done) -> None:
        """Say it soon."""
        with self._lock:
            self._done.append(done)
            if len(self._done) >= _AT_ONCE:
                self._flush()

    def flush(self) -> None:
        """Say what was put off."""
        if self._done:
            with self._lock:
                self._flush()

    def _flush(self) -> None:
        done, self._done = self._done, []
        if done:
            self._say(done)

    def _say(self, what: object) -> None:
        try:
            self._says.write(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))
            self._says.flush()
        except OSError:
            os._exit(1)


class Borrowed:
    """The other process's credentials (`CredentialSource`). It renews them: there is one session for both."""

    def __init__(self, now: Credentials | None, ask: Callable[[Credentials], None]) -> None:
        self._now = now
        self._ask = ask
        self._change = threading.Condition()
        self._answers = 0
        self._asked: Credentials | None = None

    def current(self) -> Credentials | None:
        """What came last."""
        return self._now

    def renew(self, refused: Credentials) -> Credentials:
        """Ask for newer ones. Raises CredentialsError where there are none."""
        with self._change:
            if self._now is not None and self._now != refused:
                return self._now
            before = self._answers
            if self._asked != refused:
                self._asked = refused
                self._ask(refused)
            self._change.wait_for(lambda: self._answers > before, _RENEWAL_SECONDS)
            if self._now is None or self._now == refused:
                raise CredentialsError("the credentials were refused and there are no newer ones")
            return self._now

    def take(self, newer: Credentials) -> None:
        """The other process has these now."""
        with self._change:
            self._now = newer
            self._answers += 1
            self._asked = None
            self._change.notify_all()


class Notes(Ledger):
    """What belongs into the receipts of files that got their names: told together with the event."""

    def __init__(self) -> None:
        super().__init__("", lambda _: None, lambda _: None)
        self._noted: dict[str, Note] = {}

    def note(self, stated: RemoteObject, path: str, found: FileStat, content: Checksum, *, verified: bool) -> None:
        """See `Ledger.note`."""
        self._noted[path] = Note(stated, found, content, verified)

    def pop(self, path: str) -> Note | None:
        """What was noted of `path`, once."""
        return self._noted.pop(path, None)


class Errands:
    """Fetches what was decided on elsewhere. What goes well is told with all that belongs to it, the rest goes back."""

    def __init__(self, parent: Parent, notes: Notes | None) -> None:
        self._parent = parent
        self._notes = notes
        self._counting = threading.Lock()
        self._begun = 0

    def task(self, puller: Puller, objects: list[Lent]) -> Task:
        """Take all of these."""
        return lambda worker: self._take(puller, objects, worker)

    def _take(self, puller: Puller, objects: list[Lent], worker: Worker) -> None:
        for item, reason in objects:
            with self._counting:
                self._begun += 1
            puller.attempt(item, worker, partial(_start, puller, item, reason, worker))

    def event(self, event: ObjectEvent) -> None:
        """What the puller reports."""
        assert event.path is not None
        note = self._notes.pop(event.path) if self._notes is not None else None
        if event.error is None:
            self._parent.done(Done(event, note))
        else:
            self._parent.say((event.path, event.received))

    def reached(self, progress: Progress) -> Reached:
        """How far we are."""
        active = [(mark, shown.name, shown.size, shown.done) for mark, shown in list(progress.active.items())]
        return Reached(self._begun, progress.received, progress.done_bytes, active)


def _start(puller: Puller, item: Item, reason: str, worker: Worker) -> Ahead | None:
    return puller.start(item, puller.tree.directory(item.folder, create=False), reason, worker)


def _stop(store: SocketStore, over: threading.Event) -> None:
    """The crew stops, because of what no object explains: then this process ends, and all comes back."""
    store.interrupt()
    over.set()


def _serve(parent: Parent, credentials: Borrowed, errands: Errands, puller: Puller, over: threading.Event) -> None:
    while True:
        said = parent.hear()
        if said is None:
            over.set()
        elif isinstance(said, Credentials):
            credentials.take(said)
        else:
            puller.crew.submit([errands.task(puller, said)])


def _beat(errands: Errands, parent: Parent, progress: Progress) -> None:
    """Say how far we are, where that changed: soon where objects were begun, else now and then, because each word
    takes the other process's lock away from a thread that streams.
    """
    before = errands.reached(progress)
    beats = 0
    while True:
        time.sleep(_BEAT)
        beats += 1
        now = errands.reached(progress)
        if now.begun != before.begun or (beats >= _BEATS and now != before):
            before, beats = now, 0
            parent.say(now)
        parent.flush()
