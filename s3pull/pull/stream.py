"""One object to a pipe: in order, over one connection, checked on the way by. What was written cannot be taken back, so
the verdict comes afterwards."""

from __future__ import annotations

from collections.abc import Callable

from s3pull.errors import CheckFailed, NothingThere, ObjectChanged, Transient
from s3pull.objects import Checksum, RemoteObject
from s3pull.pull.progress import Progress
from s3pull.pull.watch import Watch
from s3pull.records import NamedTuple
from s3pull.remote.store import Store

_BUFFER = 512 * 1024


class Streamed(NamedTuple):
    """What went out. `verified` is False where nothing could be proven; a proven difference is raised instead."""

    object: RemoteObject
    received: int
    checksum: Checksum | None
    verified: bool


def stream(
    store: Store,
    key: str,
    write: Callable[[memoryview], object],
    *,
    version_id: str | None = None,
    first: int | None = None,
    last: int | None = None,
    require_checksum: bool = False,
    progress: Progress | None = None,
) -> Streamed:
    """Write the object at `key`, or its bytes `first` to `last` (inclusive, as in HTTP; a range is not verified).

    Raises CheckFailed after all was written where the bytes are not what the service states, ObjectChanged where the
    object was replaced underway, and what `Store.get` raises.
    """
    meter = (progress or Progress()).meter()
    attempts = store.patience.attempts()
    buffer = memoryview(bytearray(_BUFFER))
    whole = first is None and last is None
    at = first or 0
    end = None if last is None else last + 1
    pin: RemoteObject | None = None
    watch: Watch | None = None
    while end is None or at < end:
        begun = pin is not None
        try:
            with store.get(
                key,
                start=at,
                end=end if not whole or begun else None,
                pin=pin,
                version_id=version_id,
                checksum=whole and not begun,
            ) as body:
                if pin is None:
                    pin = body.object
                    end = min(pin.size, pin.size if end is None else end)
                    watch = Watch(store, pin, version_id) if whole else None
                    if progress is not None:
                        progress.total_bytes, progress.total_files = end - at, 1
                while count := body.readinto(buffer):
                    piece = buffer[:count]
                    write(piece)
                    at += count
                    meter.received += count
                    meter.done_bytes += count
                    if watch is not None:
                        watch.update(piece)
                    attempts.progressed()
        except Transient as error:
            attempts.failed(error)
        except ObjectChanged as error:
            if pin is None:
                raise
            raise ObjectChanged(
                f"{key} was replaced while it was being written out",
                hint="what came so far is of the old object: start again",
                key=key,
            ) from error
    if pin is None:
        raise NothingThere(f"the range of {key} is empty", hint="--range A-B counts bytes from 0, B included", key=key)
    verdict = watch.verdict() if watch is not None else None
    checksum = watch.checksum if watch is not None else None
    if verdict is False:
        raise CheckFailed(
            f"what was written of {key} is not what the service states ({checksum.algorithm if checksum else 'ETag'})",
            hint="do not use what was written: start again",
            key=key,
        )
    if require_checksum and not verdict:
        raise CheckFailed(f"{key} has no checksum that can be verified", hint="leave --require-checksum out", key=key)
    meter.done_files += 1
    return Streamed(pin, meter.received, checksum, bool(verdict))
