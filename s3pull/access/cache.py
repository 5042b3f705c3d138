"""Keeps sessions (and the endpoints they are used at) between runs, in private files of one entry each.

An entry is a header line of JSON (version, kind, expiry, sealed or not) and a payload: AES-GCM under the keyring's
key, or, where there is no keyring, plain JSON in a 0600 file, as the AWS CLI keeps its own. Name and header are
authenticated with the payload, so a sealed entry cannot be renamed into another's place.

A cache that cannot be read is a miss and one that cannot be written is memory: neither is ever an error. What was
refused, and why, goes to `detail`. It knows nothing of STS; what a key is made of is the caller's business.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from s3pull.access import files, keys
from s3pull.errors import UsageError
from s3pull.records import Record

VERSION = 1
SESSION = "session"
ENDPOINT = "endpoint"

_LARGEST = 64 * 1024
_NONCE = 12
_NAME = r"[0-9a-f]{64}"
_LOCK_PATIENCE = 150.0
_DAY = 86_400.0
#: what it comes to where the JSON of an entry is none, or is something else (10**400 is no float)
_NO_ENTRY = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


class Entry(Record, hidden=("value",)):
    """One entry, for `status` and `logout`. `value` is None where it cannot be opened: `problem` says why."""

    name: str
    kind: str
    expires: float
    sealed: bool
    value: dict[str, Any] | None = None
    problem: str | None = None


class Cache:
    """Entries by name. `mode` is auto, keyring, file or none; called from many threads."""

    def __init__(
        self,
        mode: str = "auto",
        directory: Path | None = None,
        *,
        environ: Mapping[str, str],
        detail: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        fetch_key: Callable[[Path], keys.Key] | None = None,
    ) -> None:
        self.mode = mode
        self._environ = environ
        self._detail = detail
        self._clock = clock
        self._fetch_key = fetch_key or (lambda place: keys.fetch(place, environ, clock=clock))
        self._memory: dict[str, tuple[str, float, dict[str, Any]]] = {}
        self._guard = threading.RLock()
        self._key: keys.Key | None = None
        self._said: set[str] = set()
        self.directory: Path | None = None
        #: why nothing is kept on disk, where it is not
        self.reason: str | None = None
        if mode == "none":
            self.reason = "--cache none"
        else:
            place = directory or cache_directory(environ)
            self.reason = files.private_directory(place)
            self.directory = place if self.reason is None else None
        if self.reason and mode != "none":
            self._say(f"sessions are kept in memory only: {self.reason}")

    def get(self, name: str) -> dict[str, Any] | None:
        """The value under `name`, or None: missing, expired, or refused for a reason that `detail` is told."""
        with self._guard:
            kept = self._memory.get(name)
        if kept is not None and kept[1] > self._clock():
            return kept[2]
        if self.directory is None:
            return None
        entry = self._open(name)
        if entry is None:
            return None
        if entry.value is None:
            self._say(f"a cached {entry.kind} is ignored: {entry.problem}")
            return None
        if entry.expires <= self._clock():
            return None
        self._hold_in_memory(name, entry.kind, entry.expires, entry.value)
        return entry.value

    def fresh(self, name: str) -> dict[str, Any] | None:
        """`get`, past this process's own memory: what another process may have put there since."""
        with self._guard:
            kept = self._memory.pop(name, None)
        found = self.get(name)
        if found is None and kept is not None:
            self._hold_in_memory(name, *kept)
            return kept[2] if kept[1] > self._clock() else None
        return found

    def put(self, name: str, kind: str, value: dict[str, Any], expires: float) -> None:
        """Keep `value` (JSON) until `expires`. Raises UsageError in mode `keyring` where there is no keyring."""
        self._hold_in_memory(name, kind, expires, value)
        if self.directory is None:
            return
        key = self.key() if self.mode in {"auto", "keyring"} else None
        if self.mode == "keyring" and (key is None or key.value is None):
            raise unavailable(key)
        sealed = key is not None and key.value is not None
        header = _header(kind, expires, sealed)
        payload = json.dumps(value, separators=(",", ":")).encode()
        if key is not None and key.value is not None:
            payload = _seal(key.value, name, header, payload)
        try:
            files.replace(self.directory / name, header + payload)
        except OSError as error:
            self._say(f"sessions are kept in memory only: {self.directory}: {(error.strerror or 'failed').lower()}")
        self._sweep()

    def remove(self, name: str) -> bool:
        """Forget one entry; whether there was one."""
        with self._guard:
            was = self._memory.pop(name, None) is not None
        if self.directory is not None:
            with contextlib.suppress(OSError):
                (self.directory / name).unlink()
                was = True
        return was

    def remove_unfinished(self) -> None:
        """Forget what killed processes were writing: there are secrets in it, and no name says whose."""
        if self.directory is not None:
            files.remove_unfinished(self.directory)

    def entries(self) -> list[Entry]:
        """All entries, expired ones and ones that cannot be opened among them."""
        with self._guard:
            found = {
                name: Entry(name, kind, expires, False, value) for name, (kind, expires, value) in self._memory.items()
            }
        for path in self._paths():
            entry = self._open(path.name)
            if entry is not None:
                found[path.name] = entry
        return list(found.values())

    @contextlib.contextmanager
    def lock(self, name: str, give_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Hold `name` against other processes while its value is made; yields whether it is held (see `files.hold`)."""
        if self.directory is None:
            yield False
            return
        with files.hold(self.directory / f"{name}.lock", _LOCK_PATIENCE, give_up) as held:
            yield held

    def key(self) -> keys.Key:
        """The keyring's key or why there is none; the keyring is asked once per process, and only when needed."""
        with self._guard:
            if self._key is None:
                if self.mode in {"auto", "keyring"} and self.directory is not None:
                    self._key = self._fetch_key(self.directory)
                else:
                    self._key = keys.Key(None, reason=self.reason or f"--cache {self.mode}")
                if self._key.reason and self.mode == "auto" and self.directory is not None:
                    self._say(f"sessions are kept in a file of mode 0600: {self._key.reason}")
            return self._key

    def where(self) -> tuple[str, str | None]:
        """(`keyring`, `file` or `memory`; why it is not the keyring). Asks the keyring."""
        if self.directory is None:
            return "memory", self.reason
        key = self.key()
        return ("keyring", None) if key.value is not None else ("file", key.reason)

    def _hold_in_memory(self, name: str, kind: str, expires: float, value: dict[str, Any]) -> None:
        with self._guard:
            self._memory[name] = (kind, expires, value)

    def _say(self, text: str) -> None:
        with self._guard:
            if text in self._said:
                return
            self._said.add(text)
        self._detail(text)

    def _paths(self) -> list[Path]:
        try:
            entries = self.directory.iterdir() if self.directory else ()
            return [path for path in entries if re.fullmatch(_NAME, path.name)]
        except OSError:
            return []

    def _open(self, name: str) -> Entry | None:
        """The entry as it is on disk; None where there is none. Never raises."""
        assert self.directory is not None
        nothing = Entry(name, SESSION, 0.0, False)
        try:
            content = files.read_private(self.directory / name, _LARGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _refused(nothing, str(error.args[0] if len(error.args) == 1 else error.strerror))
        header, newline, payload = content.partition(b"\n")
        try:
            facts = json.loads(header)
            if facts["s3pull"] != VERSION:
                return _refused(nothing, "is of another version")
            entry = Entry(name, str(facts["kind"]), float(facts["expires"]), bool(facts["sealed"]))
        except _NO_ENTRY:
            return _refused(nothing, "is damaged")
        if entry.sealed:
            key = self.key()
            if key.value is None:
                return _refused(entry, f"it is sealed, and {key.reason}")
            opened = _unseal(key.value, name, header + newline, payload)
            if opened is None:
                return _refused(entry, "is damaged, or sealed under another key")
            payload = opened
        elif self.mode == "keyring":
            return _refused(entry, "is not sealed, and --cache keyring wants it to be")
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            return _refused(entry, "is damaged")
        return Entry(name, entry.kind, entry.expires, entry.sealed, value)

    def _sweep(self) -> None:
        """Remove what expired, and what interrupted runs left. Cheap: it happens beside a call to STS."""
        assert self.directory is not None
        now = self._clock()
        with contextlib.suppress(OSError):
            for path in list(self.directory.iterdir()):
                with contextlib.suppress(OSError):
                    age = now - path.lstat().st_mtime
                    if re.fullmatch(_NAME, path.name):
                        stale = _expired(path, now)
                    else:
                        stale = path.suffix in {".lock", ".new"} and age > _DAY
                    if stale:
                        path.unlink()


def open_cache(
    mode: str,
    environ: Mapping[str, str],
    *,
    detail: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
    person: bool = False,
    silent: bool = False,
) -> Cache:
    """The user's cache (S3PULL_CACHE_DIR or the platform's place), in `mode` (an `Access.cache`).

    `person`: somebody is there to unlock the keyring (`login`), so it is asked again and given time. `silent`: the
    keyring is not used where it might ask somebody.
    """

    def fetch(place: Path) -> keys.Key:
        if silent:
            return keys.fetch_unasked(place, environ)
        if person:
            keys.forget_failure(place)
        return keys.fetch(place, environ, patience=keys.PERSONS_PATIENCE if person else keys.PATIENCE, clock=clock)

    return Cache(mode, environ=environ, detail=detail, clock=clock, fetch_key=fetch)


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where entries are kept."""
    if chosen := environ.get("S3PULL_CACHE_DIR"):
        return Path(os.path.abspath(chosen))  # noqa: PTH100  Path.absolute keeps `..`
    import platformdirs

    return Path(platformdirs.user_cache_dir("s3pull", appauthor=False))


def entry_name(kind: str, inputs: Mapping[str, Any]) -> str:
    """The name of the entry that is made from `inputs` (JSON): a hash, so that nothing of them can be read from it."""
    text = json.dumps([kind, VERSION, inputs], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def unavailable(key: keys.Key | None) -> UsageError:
    """What mode `keyring` answers where there is none."""
    reason = key.reason if key is not None else None
    return UsageError(f"the keyring cannot be used: {reason or 'unknown'}", hint="--cache file, or --cache auto")


def _header(kind: str, expires: float, sealed: bool) -> bytes:
    facts = {"s3pull": VERSION, "kind": kind, "expires": expires, "sealed": sealed}
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def _refused(entry: Entry, problem: str) -> Entry:
    return Entry(entry.name, entry.kind, entry.expires, entry.sealed, None, problem)


def _expired(path: Path, now: float) -> bool:
    try:
        facts = json.loads(files.read_private(path, _LARGEST).partition(b"\n")[0])
        return float(facts["expires"]) <= now
    except (OSError, *_NO_ENTRY):
        return False


def _seal(key: bytes, name: str, header: bytes, payload: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, payload, name.encode() + header)


def _unseal(key: bytes, name: str, header: bytes, payload: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(payload[:_NONCE], payload[_NONCE:], name.encode() + header)
    except (InvalidTag, ValueError):
        return None
