"""Where a host name leads: looked up anew for connections, and spread over all addresses.

S3 answers each lookup with a few of very many addresses; going to all of them is what Amazon recommends for
throughput (https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-guidelines.html). An answer
is shared for one second, so that 256 connections opened at once make one lookup.

`getaddrinfo` cannot be cancelled; it runs in a daemon thread, and who waits for it looks up now and then whether to
stop.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from s3pull.errors import Transient

#: family, type, protocol, canonical name, socket address: as `getaddrinfo` gives them
AddressInfo = tuple[Any, Any, int, str, Any]

FRESH_SECONDS = 1.0
_POLL_SECONDS = 0.2


def _look_up(host: str, port: int, **how: Any) -> list[AddressInfo]:
    # as text it would go through the codec of international names, which takes 3 ms to load
    return socket.getaddrinfo(host.encode("ascii") if host.isascii() else host, port, **how)


class Addresses:
    """The addresses of one host. Shared by threads."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        lookup: Callable[..., list[AddressInfo]] = _look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._lookup = lookup
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: _Lookup | None = None

    def find(self, seconds: float, check: Callable[[], None]) -> list[AddressInfo]:
        """All addresses, each time in another order, the resolver's preferred family first.

        `check` is called every so often and may raise. Raises Transient where the lookup fails or takes longer than
        `seconds`.
        """
        with self._lock:
            lookup = self._latest
            if lookup is None or lookup.error is not None or self._clock() - lookup.started > FRESH_SECONDS:
                lookup = self._latest = _Lookup(self._clock())
                if _is_numeric(self._host):
                    lookup.run(self._lookup, self._host, self._port)
                else:
                    arguments = (self._lookup, self._host, self._port)
                    threading.Thread(target=lookup.run, args=arguments, name="s3pull-dns", daemon=True).start()
        deadline = self._clock() + seconds
        while not lookup.done.wait(_POLL_SECONDS):
            check()
            if self._clock() > deadline:
                raise Transient(f"no answer from DNS for {self._host} within {seconds:.0f} s")
        if lookup.error is not None:
            raise Transient(f"cannot find the address of {self._host}: {lookup.error}")
        return _spread(lookup.found)


class _Lookup:
    """One call of getaddrinfo, whoever waits for it."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.done = threading.Event()
        self.found: list[AddressInfo] = []
        self.error: str | None = None

    def run(self, lookup: Callable[..., list[AddressInfo]], host: str, port: int) -> None:
        try:
            self.found = lookup(host, port, type=socket.SOCK_STREAM)
            if not self.found:
                self.error = "no address"
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that IDNA refuses
            self.error = getattr(error, "strerror", None) or str(error)
        finally:
            self.done.set()


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _spread(found: list[AddressInfo]) -> list[AddressInfo]:
    """Shuffle within each family; then one of each family in turn, the family of the first address leading (RFC
    8305).
    """
    families: dict[Any, list[AddressInfo]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    queues = list(families.values())
    for queue in queues:
        queue.sort(key=lambda _: os.urandom(8))  # `random` takes 5 ms to load, which one small object notices
    turns = max(len(queue) for queue in queues)
    return [queue[turn] for turn in range(turns) for queue in queues if turn < len(queue)]
