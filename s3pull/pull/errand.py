"""What a worker on another machine is sent to do, and what it brings back: records, and their form on the way.

Both are text, JSON that this module writes and reads alone. So it is plain what crosses a scheduler: names, sizes,
ETags, receipts, the source as it was typed; no credentials and no external ID, because there is no place for one.
Nothing is sent or done here (`cluster`, `deputy`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from s3pull import errors
from s3pull.errors import S3pullError
from s3pull.events import Action, ObjectEvent
from s3pull.objects import JSON, Checksum, Receipt
from s3pull.pull.changes import Wanted
from s3pull.pull.guard import requests_for
from s3pull.pull.large import segment_size
from s3pull.pull.pace import REQUEST_WEIGHT
from s3pull.pull.puller import Choices
from s3pull.pull.small import SMALL

#: objects in an errand at most: what it says and what it brings back stays below a megabyte or so
MOST_OBJECTS = 1000
#: of an errand, in bytes and what requests count for: less is not worth the way, more keeps others waiting at the end
LEAST_WORK, MOST_WORK = 4 << 20, 4 << 30
#: errands for each worker, if they can be so small: those that are done early take what is left
_EACH = 4


@dataclass(frozen=True, slots=True)
class Way:
    """How all errands of a run reach their source: as it was typed, with the access options that were given, in words.

    `config` is a path, or None for the worker's own. `bucket`, `endpoint` and `root` are what that must lead to.
    `limit_rate` is bytes a second, for all workers together, who have `slots` threads. Root and slots are filled in
    when they are known.
    """

    version: str
    source: str
    options: dict[str, Any]
    config: str | None
    bucket: str
    endpoint: str
    dest: str
    encode_names: bool
    locked: bool
    jobs: int
    limit_rate: float | None
    choices: Choices
    root: str = ""
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Errand:
    """Some objects to fetch. `nonce` is the run lock's whose holder wants them: when that is gone, nobody does.

    `ident` (16 hex digits) names this errand among all that there ever were: a second try finds by it what the first
    one did. `known` are the receipts of what stands in the objects' places.
    """

    way: Way
    ident: str
    nonce: str
    rows: tuple[Wanted, ...]
    known: tuple[Receipt, ...] = ()
    #: what a list of `--checksums` says of the objects (`Sums.told`)
    listed: JSON | None = None

    def text(self) -> str:
        """As it is sent."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Errand:
        """What `text` gave."""
        said = json.loads(text)
        way = said["way"]
        way["choices"] = Choices(*way["choices"])
        rows = tuple(Wanted(*row) for row in said["rows"])
        known = tuple(Receipt(*row) for row in said["known"])
        return cls(Way(**way), said["ident"], said["nonce"], rows, known, said["listed"])


def version_of(text: str) -> str:
    """The version of s3pull that wrote an errand, whatever else that one says."""
    return str(json.loads(text)["way"]["version"])


@dataclass(slots=True)
class Answer:
    """What became of an errand. `worker` is who did it, in its try `attempt`; `error` is what kept it from its end.

    `received` is bytes that came over the network in this try.
    """

    worker: str = ""
    ident: str = ""
    attempt: str = ""
    receipts: list[Receipt] = field(default_factory=list)
    events: list[ObjectEvent] = field(default_factory=list)
    local_changes: int = 0
    received: int = 0
    error: S3pullError | None = None

    def text(self) -> str:
        """As it is sent."""
        said = {
            "worker": self.worker,
            "ident": self.ident,
            "attempt": self.attempt,
            "receipts": self.receipts,
            "events": [_event_json(event) for event in self.events],
            "local_changes": self.local_changes,
            "received": self.received,
            "error": _error_json(self.error),
        }
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Answer:
        """What `text` gave."""
        said = json.loads(text)
        return cls(
            said["worker"],
            said["ident"],
            said["attempt"],
            [Receipt(*row) for row in said["receipts"]],
            [_event(one) for one in said["events"]],
            said["local_changes"],
            said["received"],
            _error(said["error"]),
        )


# --- how much is in an errand -----------------------------------------------------------------------------


def work(row: Wanted) -> int:
    """What an object costs: its bytes, and for each request what a connection moves meanwhile."""
    return row.size + requests_for(row.size, SMALL, segment_size(row.size)) * REQUEST_WEIGHT


def share_of(total: int, slots: int) -> int:
    """The work of one errand, where all of it is `total` and `slots` can be done at once."""
    return max(LEAST_WORK, min(MOST_WORK, total // (slots * _EACH)))


def cut(rows: Iterable[Wanted], share: int) -> Iterator[list[Wanted]]:
    """`rows` in their order, in pieces of about `share` work and no more than MOST_OBJECTS.

    No piece is more than `share` unless it is one object.
    """
    piece: list[Wanted] = []
    filled = 0
    for row in rows:
        cost = work(row)
        if piece and (filled + cost > share or len(piece) >= MOST_OBJECTS):
            yield piece
            piece, filled = [], 0
        piece.append(row)
        filled += cost
    if piece:
        yield piece


# --- on the way -------------------------------------------------------------------------------------------


def _event_json(event: ObjectEvent) -> dict[str, Any]:
    said = event._asdict()
    return {**said, "error": _error_json(event.error)}


def _event(said: dict[str, Any]) -> ObjectEvent:
    checksum = Checksum(*said["checksum"]) if said["checksum"] is not None else None
    action, error = Action(said["action"]), _error(said["error"])
    return ObjectEvent(**{**said, "action": action, "checksum": checksum, "error": error})


_FACTS = ("hint", "code", "status", "request_id", "host_id", "key")


def _error_json(error: S3pullError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    facts = {name: getattr(error, name) for name in _FACTS}
    return {
        "kind": type(error).__name__,
        "exit": error.exit_code,
        "message": error.message,
        "diagnosis": error.diagnosis,
        **facts,
    }


def _error(said: dict[str, Any] | None) -> S3pullError | None:
    if said is None:
        return None
    kind = getattr(errors, said["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, S3pullError)):  # a room's own kind: one of the same exit code
        kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, S3pullError)]
        kind = next((one for one in kinds if one.exit_code == said["exit"]), S3pullError)
    error: S3pullError = kind(said["message"], **{name: said[name] for name in _FACTS})
    error.diagnosis = said["diagnosis"]
    return error
