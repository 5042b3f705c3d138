"""The open connections to one endpoint: kept alive, reused youngest first, watched.

- A connection is handed out to one thread at a time and comes back only after an answer was read to its end.
- One that was idle for long is closed rather than reused: S3 closes idle ones itself after a while.
- The watchdog aborts connections that are silent in the middle of an exchange, and `interrupt` all of them.

The pool does not bound their number: callers bring their own threads, each with one connection. A thread that will
want many asks for them ahead (`widen`): over a long way each takes some round trips, so they are opened side by side.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from s3pull.errors import Cancelled, S3pullError, Transient
from s3pull.remote.connection import Connection
from s3pull.remote.dial import Dialer

IDLE_SECONDS = 20.0
#: where opening takes less, it is not worth a thread
_QUICK_SECONDS = 0.005
#: connections that `widen` opens at the same time
_DIALERS = 32
#: after one could not be opened, none is opened ahead for a while
_PAUSE_SECONDS = 1.0


class Pool:
    """`name` is the endpoint, for messages; `silence` the seconds after which a read without a byte is given up."""

    def __init__(
        self,
        name: str,
        dialer: Dialer,
        *,
        silence: float,
        idle: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._dialer = dialer
        self._silence = silence
        self._idle_seconds = idle
        self._clock = clock
        self._idle: deque[Connection] = deque()
        self._lock = threading.Lock()
        self._all: set[Connection] = set()
        self._interrupted = False
        self._retired = False
        #: the least seconds that opening took; 0.0 before the first
        self._opening = 0.0
        self._wanted = self._dialing = 0
        self._not_before = 0.0
        self._stop = threading.Event()
        self._watchdog: threading.Thread | None = None

    def take(self, *, fresh: bool = False) -> Connection:
        """An open connection, a kept one unless `fresh`. Raises what opening raises; Cancelled after `interrupt`."""
        if self._interrupted:
            raise Cancelled("interrupted")
        if not fresh:
            try:
                while True:
                    connection = self._idle.pop()
                    if self._clock() - connection.idle_since < self._idle_seconds:
                        return connection
                    self.drop(connection)
            except IndexError:
                pass
        connection = Connection(self._name)
        with self._lock:
            if self._interrupted:
                raise Cancelled("interrupted")
            self._add(connection)
        self._open(connection)
        return connection

    def widen(self, count: int) -> int:
        """Let there be `count` connections soon, opened by threads of their own; how many there are by now.

        Where one is opened in no time all are said to be there. One that cannot be opened is no error here: whoever
        needs it will try, and be told.
        """
        if self._opening < _QUICK_SECONDS:
            return count
        with self._lock:
            self._wanted = count
            while (connection := self._next()) is not None:
                threading.Thread(target=self._dial, args=(connection,), name="s3pull-dial", daemon=True).start()
            return len(self._all) - self._dialing

    def _next(self) -> Connection | None:
        """One more that is to be opened ahead, where one is. The lock is held."""
        enough = len(self._all) >= self._wanted or self._dialing >= _DIALERS
        if enough or self._interrupted or self._retired or self._clock() < self._not_before:
            return None
        connection = Connection(self._name)
        self._add(connection)
        self._dialing += 1
        return connection

    def _dial(self, connection: Connection | None) -> None:
        while connection is not None:
            try:
                self._open(connection)
                connection.lain = True
                self._keep(connection)
            except S3pullError:
                self._not_before = self._clock() + _PAUSE_SECONDS
            with self._lock:
                self._dialing -= 1
                connection = self._next()

    def _add(self, connection: Connection) -> None:
        """Watch over one that is to be opened. The lock is held."""
        self._all.add(connection)
        if self._watchdog is None:
            self._watchdog = threading.Thread(target=self._watch, name="s3pull-watchdog", daemon=True)
            self._watchdog.start()

    def _open(self, connection: Connection) -> None:
        began = self._clock()
        try:
            self._dialer.open(connection)
        except BaseException:
            self.drop(connection)
            raise
        took = self._clock() - began
        if took < self._opening or not self._opening:
            self._opening = took

    def give(self, connection: Connection) -> None:
        """Take back a connection whose answer was read to its end."""
        if connection.verdict is not None:  # as it read its last byte
            self.drop(connection)
            return
        if not connection.served:
            self._dialer.remember_session(connection)
        connection.served += 1
        self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = self._clock()
        self._idle.append(connection)
        if self._retired or self._interrupted:
            self._close_idle()

    def drop(self, connection: Connection) -> None:
        """Close a connection that cannot be used again."""
        with self._lock:
            self._all.discard(connection)
        connection.close()

    def interrupt(self) -> None:
        """Abort every connection under its user, who sees Cancelled; refuse new ones."""
        self._stop.set()
        with self._lock:
            self._interrupted = True
            connections = list(self._all)
        for connection in connections:
            connection.abort(Cancelled("interrupted"))
        self._close_idle()

    def retire(self) -> None:
        """Keep no connection any more: requests go elsewhere by now. What is in use is watched on and then closed."""
        self._retired = True
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            try:
                self.drop(self._idle.pop())
            except IndexError:
                return

    # --- the watchdog --------------------------------------------------------------------------------------

    def _watch(self) -> None:
        pause = min(1.0, self._silence / 4)
        while not self._stop.wait(pause):
            self.look()

    def look(self) -> None:
        """One round: abort what has been silent for too long, close what has been idle for too long."""
        now = self._clock()
        with self._lock:
            connections = list(self._all)
        for connection in connections:
            pulse, since = connection.pulse, connection.seen[1]
            if pulse != connection.seen[0]:
                connection.seen = (pulse, now)
            elif pulse[0] % 2 and now - since >= self._silence:
                connection.abort(Transient(f"no data for {self._silence:g} s from {self._name}"))
        while self._idle:
            try:
                oldest = self._idle.popleft()
            except IndexError:
                return
            if now - oldest.idle_since < self._idle_seconds:
                self._idle.appendleft(oldest)
                return
            self.drop(oldest)
