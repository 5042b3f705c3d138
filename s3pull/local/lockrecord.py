"""What stands in the file of a run lock, and what is known of who wrote it. Pure, but for asking which machine this is.

One line of JSON whose last field is the heartbeat, so that it can be overwritten in place. A file that is not byte for
byte what `encode` gives (empty, torn, anybody's) holds no record.

What is known of the writer of a record (`owner.State` of its token, then):

| token   | nonce                     | machine and host name | boot    | judged  |
|---------|---------------------------|-----------------------|---------|---------|
| zeros   |                           |                       |         | DEAD    |
| SELF    | a lock that we hold       |                       |         | ALIVE   |
| SELF    | left behind, before exec  |                       |         | DEAD    |
| ALIVE   |                           |                       |         | ALIVE   |
| DEAD    |                           |                       |         | DEAD    |
| UNKNOWN |                           | ours                  | another | DEAD    |
| UNKNOWN |                           | ours                  | ours    | UNKNOWN |
| UNKNOWN |                           | another, or not known |         | UNKNOWN |
| no record |                         |                       |         | UNKNOWN |

What is not done here: files, waiting, taking over (`runlock`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Collection
from pathlib import Path

from s3pull.local import owner
from s3pull.local.owner import Host, State
from s3pull.records import NamedTuple

#: bytes; a file that is longer holds no record
LONGEST = 4096
_SCHEMA = 1
_HEX = "[0-9a-f]{32}"
#: the token of nobody: a lock that is there to be taken
FREE = "0" * 32
#: the first second of the year 10000
_LATEST = 253_402_300_800
#: the inode of the first process-ID namespace, the same on every Linux (PROC_PID_INIT_INO in include/linux/proc_ns.h)
_FIRST_PIDS = f"pid:[{0xEFFFFFFC}]"


class Machine(NamedTuple):
    """Which machine this is, and since which boot. An empty `ident` or `boot` is not known and equals nothing."""

    host: str
    ident: str
    boot: str


class Record(NamedTuple):
    """`nonce` and `token` are 32 hex digits; `since` is seconds since the epoch, for messages alone."""

    nonce: str
    token: str
    pid: int
    machine: Machine
    since: int
    beat: int = 0

    @property
    def who(self) -> str:
        """For messages."""
        return f"process {self.pid} on {self.machine.host}"


def own_record() -> Record:
    """A record of this process with a nonce of its own."""
    return Record(os.urandom(16).hex(), owner.own_token(), owner.this_host().pid, this_machine(), int(time.time()))


def free_record() -> Record:
    """The record of a lock that nobody holds. It has a nonce, and so it can be taken by one alone."""
    return Record(os.urandom(16).hex(), FREE, 0, Machine("", "", ""), int(time.time()))


def encode(record: Record) -> bytes:
    """The file's content."""
    facts = {
        "schema": _SCHEMA,
        "nonce": record.nonce,
        "token": record.token,
        "pid": record.pid,
        **record.machine._asdict(),
        "since": record.since,
    }
    return json.dumps(facts)[:-1].encode("ascii") + b', "beat": "' + beat_field(record.beat) + b'"}\n'


def beat_field(beat: int) -> bytes:
    """The bytes of the heartbeat, always 16."""
    return b"%016x" % (beat & 0xFFFFFFFFFFFFFFFF)


def beat_offset(record: Record) -> int:
    """Where they are in the file."""
    return len(encode(record)) - len(beat_field(0) + b'"}\n')


def parse(content: bytes) -> Record | None:
    """The record in `content`, or None."""
    if len(content) > LONGEST:
        return None
    try:
        facts = json.loads(content)
        machine = Machine(facts["host"], facts["ident"], facts["boot"])
        record = Record(facts["nonce"], facts["token"], facts["pid"], machine, facts["since"], int(facts["beat"], 16))
        good = (
            re.fullmatch(_HEX, record.nonce)
            and re.fullmatch(_HEX, record.token)
            and all(text.isprintable() for text in machine)
            and type(record.pid) is int
            and type(record.since) is int
            and 0 <= record.since < _LATEST
        )
        return record if good and encode(record) == content else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def judge(
    record: Record | None,
    held: Collection[str],
    *,
    machine: Machine | None = None,
    host: Host | None = None,
    own: str | None = None,
) -> State:
    """ALIVE, DEAD or UNKNOWN, as in the module's table. `held`: the nonces of the locks that this process holds."""
    if record is None:
        return State.UNKNOWN
    if record.token == FREE:
        return State.DEAD
    state = owner.state(record.token, host, own)
    if state is State.SELF:
        return State.ALIVE if record.nonce in held else State.DEAD
    if state is not State.UNKNOWN:
        return state
    return State.DEAD if _rebooted(record.machine, machine or this_machine()) else State.UNKNOWN


def _rebooted(its: Machine, ours: Machine) -> bool:
    known = all(ours) and all(its)
    return known and (its.host, its.ident) == (ours.host, ours.ident) and its.boot != ours.boot


def this_machine(root: Path = Path("/")) -> Machine:
    """By /etc/machine-id, hashed as machine-id(5) asks, and the kernel's boot ID; by its name alone elsewhere.

    Containers bring the machine-id of their image and may move with their name: there it is not believed.
    """
    name = "".join(character if character.isprintable() else "?" for character in socket.gethostname()) or "?"
    try:
        if str((root / "proc/self/ns/pid").readlink()) != _FIRST_PIDS:
            return Machine(name, "", "")
        ident = (root / "etc/machine-id").read_bytes().decode("ascii").strip()
        boot = (root / "proc/sys/kernel/random/boot_id").read_bytes().decode("ascii").strip()
    except (OSError, ValueError):
        return Machine(name, "", "")
    if re.fullmatch(_HEX, ident) is None:  # `uninitialized`, or empty
        return Machine(name, "", "")
    return Machine(name, hashlib.sha256(f"s3pull run lock {ident}".encode()).hexdigest()[:16], boot)
