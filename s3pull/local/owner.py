"""Who wrote a part file, told by its name alone: `.s3pull-<ident>-<owner token>-<counter>`, 66 bytes.

A file that is written whole in one go carries a seal, too: `=<CRC of its bytes><v or u>`, 18 bytes more.

A token is 32 hex digits: the place (8; host, boot and process-ID namespace, hashed), the process ID (8) and the time at
which that process started (16, in the system's own ticks). An owner is dead only where that can be proven:

| place     | process                         | state   |
|-----------|---------------------------------|---------|
| ours      | is this one                     | SELF    |
| another   |                                 | UNKNOWN |
| ours      | there, with that start time     | ALIVE   |
| ours      | there, one start time not known | ALIVE   |
| ours      | there, with another start time  | DEAD    |
| ours      | gone                            | DEAD    |

Another place may be another machine on a network file system, a container, or this machine before its last boot:
nothing can be said of it. No lock is taken: flock does nothing on some of the file systems that this runs on.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import socket
import sys
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Protocol

from s3pull.local.names import OWN_PREFIX
from s3pull.records import NamedTuple

LOG_SUFFIX = ".log"
#: what stands for the object in names of files that nobody resumes: small ones, and the probe of the file system
SMALL = "0" * 16
PROBE = "f" * 16

_NAME = re.compile(
    rf"{re.escape(OWN_PREFIX)}-(?P<ident>[0-9a-f]{{16}})-(?P<token>[0-9a-f]{{32}})-[0-9a-f]{{8}}(?P<rest>{re.escape(LOG_SUFFIX)}|-\u00e9)?(?:=(?P<seal>[0-9a-f]{{16}}[uv]))?"
)
_count = itertools.count()


class State(Enum):
    """What is known of an owner. DEAD is proven; UNKNOWN proves nothing."""

    SELF = "self"
    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class PartName(NamedTuple):
    """The facts in a name. `log` is True for a checkpoint log, whose part is `part`; `seal` '' where there is none."""

    name: str
    part: str
    ident: str
    token: str
    log: bool
    seal: str = ""


class Host(Protocol):
    """What must be known of this machine; tests bring their own."""

    #: 8 hex digits, or None where this place cannot be told from others
    place: str | None
    #: this process
    pid: int

    def started(self, pid: int) -> int | None:
        """When process `pid` started, in ticks; 0 where it is there and that is not known; None where it is gone."""
        ...


def part_ident(key: str, etag: str, size: int, final_name: str) -> str:
    """16 hex digits for one version of one object on its way to one name."""
    facts = "\0".join((key, etag, str(size), final_name))
    return hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def part_name(ident: str = SMALL, seal: str = "") -> str:
    """A name that no other process, and no other call, gives to a part."""
    name = f"{OWN_PREFIX}-{ident}-{own_token()}-{next(_count) & 0xFFFFFFFF:08x}"
    return f"{name}={seal}" if seal else name


def seal(crc: int, verified: bool) -> str:
    """What a name says of bytes that are all there: their CRC (64 bits), and whether it was proven that they are the
    object's.
    """
    return f"{crc:016x}{'v' if verified else 'u'}"


def unseal(text: str) -> tuple[int, bool]:
    """What `seal` was given."""
    return int(text[:-1], 16), text.endswith("v")


def parse(name: str) -> PartName | None:
    """The facts in the name of a part or its log; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    rest = match["rest"] or ""
    part = name.removesuffix(rest) if rest else name
    return PartName(name, part, match["ident"], match["token"], rest == LOG_SUFFIX, match["seal"] or "")


@cache
def own_token() -> str:
    """The token of this process (another one after a fork)."""
    return token(this_host())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=own_token.cache_clear)


def token(host: Host) -> str:
    """The token of the process that `host` says we are. Without a place it is random: unknown to everybody else."""
    place = host.place or os.urandom(4).hex()
    return f"{place}{host.pid & 0xFFFFFFFF:08x}{(host.started(host.pid) or 0) & 0xFFFFFFFFFFFFFFFF:016x}"


def state(of: str, host: Host | None = None, own: str | None = None) -> State:
    """What is known of the owner with the token `of`; the table is in the module's docstring."""
    host = host or this_host()
    if of == (own or own_token()):
        return State.SELF
    place, pid, start = of[:8], int(of[8:16], 16), int(of[16:], 16)
    if host.place is None or place != host.place or pid == 0:
        return State.UNKNOWN
    now = host.started(pid)
    if now is None:
        return State.DEAD
    return State.DEAD if start and now and start != now else State.ALIVE


# --- the machines that we know --------------------------------------------------------------------------


def this_host() -> Host:
    """This process on this machine; made once a process."""
    global _host
    if _host is None or _host.pid != os.getpid():
        if sys.platform == "linux":
            _host = Linux()
        elif sys.platform == "win32":
            _host = Windows()
        else:
            _host = Posix()
    return _host


_host: Host | None = None


def _hash(*facts: str) -> str:
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:8]


class Linux:
    """Reads /proc, and believes it only if it is the one of our own process-ID namespace."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self.pid = os.getpid()
        self._proc = proc
        self.place = self._place()

    def started(self, pid: int) -> int | None:
        """Field 22 of /proc/PID/stat, clock ticks since boot (man 5 proc_pid_stat)."""
        if not _exists(pid):
            return None
        try:
            text = (self._proc / str(pid) / "stat").read_bytes()
        except OSError:  # hidden from us (hidepid), or gone this very moment
            return 0 if _exists(pid) else None
        fields = text[text.rindex(b")") + 2 :].split()
        # a zombie without threads has closed its files; its leader can be one while other threads still write
        if fields[0] == b"Z" and int(fields[17]) <= 1:
            return None
        return int(fields[19])

    def _place(self) -> str | None:
        try:
            if str((self._proc / "self").readlink()) != str(self.pid):
                return None
            boot = (self._proc / "sys/kernel/random/boot_id").read_text().strip()
            processes = str((self._proc / "self/ns/pid").readlink())
        except OSError:
            return None
        try:  # start times are shifted in a time namespace
            clock = str((self._proc / "self/ns/time").readlink())
        except OSError:  # before Linux 5.6
            clock = ""
        return _hash(socket.gethostname(), boot, processes, clock)


class Posix:
    """macOS and the BSDs: no start times, so a process ID that was given anew counts as alive."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        boot = _boot_session()
        self.place = _hash(socket.gethostname(), boot) if boot else None

    def started(self, pid: int) -> int | None:
        return 0 if _exists(pid) else None


class Windows:
    """Asks the kernel. Creation times tell a process from another with its ID, so boots need not be told apart."""

    _QUERY_LIMITED_INFORMATION = 0x1000
    _INVALID_PARAMETER = 87
    _STILL_ACTIVE = 259

    def __init__(self) -> None:
        self.pid = os.getpid()
        machine = _machine_guid()
        self.place = _hash(socket.gethostname(), machine) if machine else None

    def started(self, pid: int) -> int | None:
        """GetProcessTimes' creation time, 100 ns since 1601."""
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
        kernel.OpenProcess.restype = ctypes.c_void_p
        kernel.OpenProcess.argtypes = [ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32]
        handle = kernel.OpenProcess(self._QUERY_LIMITED_INFORMATION, 0, pid)
        if not handle:
            gone = ctypes.get_last_error() == self._INVALID_PARAMETER  # type: ignore[attr-defined,unused-ignore]
            return None if gone else 0
        try:
            process = ctypes.c_void_p(handle)
            code = ctypes.c_uint32()
            if kernel.GetExitCodeProcess(process, ctypes.byref(code)) and code.value != self._STILL_ACTIVE:
                return None
            times = [ctypes.c_uint64() for _ in range(4)]
            return times[0].value if kernel.GetProcessTimes(process, *(ctypes.byref(time) for time in times)) else 0
        finally:
            kernel.CloseHandle(ctypes.c_void_p(handle))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's; or no number that this system gives: nothing is proven
        return True
    return True


def _boot_session() -> str | None:
    """sysctl kern.bootsessionuuid (macOS): new at every boot, unlike the boot time it does not move with the clock."""
    import ctypes

    try:
        system = ctypes.CDLL(None)
        size = ctypes.c_size_t(64)
        text = ctypes.create_string_buffer(size.value)
        if system.sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return text.value.decode("ascii", "replace") or None


def _machine_guid() -> str | None:
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:  # type: ignore[attr-defined,unused-ignore]
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return None
