"""The one key under which cached sessions are sealed: 32 random bytes that the operating system's keyring keeps.

A keyring can hang for ever (a locked D-Bus collection), ask a question, fail, or be a text file. It is asked on a
thread of its own with a hard time limit, and one that did not answer is not asked again for a while. This module
seals nothing and stores no session: `cache` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from s3pull.access import files
from s3pull.records import Record

SERVICE = "s3pull"
ACCOUNT = "session-cache"
KEY_BYTES = 32
#: seconds that a keyring may take, and where somebody is there to type its password
PATIENCE = 3.0
PERSONS_PATIENCE = 60.0
#: seconds for which a keyring that failed is left alone
REST = 3600.0

_MEMORY = "keyring-unavailable.json"
#: a change in one of these may mean that a keyring has come up
_SURROUNDINGS = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "PYTHON_KEYRING_BACKEND")


class Backend(Protocol):
    """The part of a keyring backend that is used here."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...


class Key(Record, hidden=("value",)):
    """The key, or the reason why there is none. `backend` names the keyring that answered."""

    value: bytes | None
    backend: str | None = None
    reason: str | None = None


def fetch(
    directory: Path,
    environ: Mapping[str, str],
    *,
    patience: float = PATIENCE,
    find: Callable[[], Backend] | None = None,
    clock: Callable[[], float] = time.time,
) -> Key:
    """The key from the keyring, made there when there is none yet. Never raises.

    `directory` holds the memory of a keyring that failed and the lock against two first runs at once. `find` returns
    the backend to ask; the default is the one that the keyring library finds.
    """
    surroundings, memory = _surroundings(environ), directory / _MEMORY
    remembered = _remembered(memory, surroundings, clock())
    if remembered is not None:
        return Key(None, reason=remembered)
    answer: list[Key] = []

    def ask() -> None:
        try:
            backend = _alone((find or _find)())
            problem = unsuitable(backend)
            answer.append(Key(None, reason=problem) if problem else _ask(backend, directory))
        except Exception as error:  # a backend may raise anything; none of it may stop a download
            answer.append(Key(None, reason=f"the keyring failed ({type(error).__name__})"))

    thread = threading.Thread(target=ask, name="s3pull-keyring", daemon=True)
    thread.start()
    thread.join(patience)
    found = answer[0] if answer else Key(None, reason=f"the keyring did not answer within {patience:g} s")
    if found.value is None:
        _remember(memory, surroundings, found.reason or "", clock())
    return found


def fetch_unasked(
    directory: Path,
    environ: Mapping[str, str],
    *,
    find: Callable[[], Backend] | None = None,
    silence: Callable[[Backend], bool] | None = None,
) -> Key:
    """The key, where the keyring gives it without asking anybody anything. None is made. Never raises.

    `silence` says whether the backend is one that will not ask, and lets it ask nothing where it might.
    """
    if _remembered(directory / _MEMORY, _surroundings(environ), time.time()) is not None:
        return Key(None, reason="the keyring failed a short while ago")
    try:
        backend = _alone((find or _find)())
        if unsuitable(backend) or not (silence or _silenced)(backend):
            return Key(None, reason="the keyring might ask somebody")
        return Key(_decoded(backend.get_password(SERVICE, ACCOUNT)), reason="the keyring has no key")
    except Exception as error:
        return Key(None, reason=f"the keyring failed ({type(error).__name__})")


def _silenced(backend: Backend) -> bool:
    """Whether `backend` can be read without a window that asks for a password.

    | keyring              | how                                                                             |
    |----------------------|---------------------------------------------------------------------------------|
    | Secret Service       | its default collection is unlocked (reading a locked one opens a window)        |
    | macOS Keychain       | SecKeychainSetUserInteractionAllowed(false): then reading a locked one fails     |
    | Windows credentials  | never asks                                                                      |
    | any other            | who knows                                                                       |
    """
    module = type(backend).__module__
    if module == "keyring.backends.Windows":
        return True
    if module == "keyring.backends.macOS":
        import ctypes

        security: Any = ctypes.CDLL("/System/Library/Frameworks/Security.framework/Security")
        return int(security.SecKeychainSetUserInteractionAllowed(0)) == 0
    if module == "keyring.backends.SecretService":
        import secretstorage

        bus = secretstorage.dbus_init()
        return not secretstorage.collection.get_collection_by_alias(bus, "default").is_locked()
    return False


def backend_name(*, find: Callable[[], Backend] | None = None, patience: float = PATIENCE) -> str:
    """Which keyring would be asked, or why none. It is not asked for anything. Never raises."""
    answer: list[str] = []

    def look() -> None:
        try:
            backend = _alone((find or _find)())
            problem = unsuitable(backend)
            answer.append(problem or f"{type(backend).__module__}.{type(backend).__qualname__}")
        except Exception as error:
            answer.append(f"cannot be found ({type(error).__name__})")

    thread = threading.Thread(target=look, name="s3pull-keyring", daemon=True)
    thread.start()
    thread.join(patience)
    return answer[0] if answer else f"does not say within {patience:g} s what it is"


def forget_failure(directory: Path) -> None:
    """Ask the keyring again next time."""
    try:
        (directory / _MEMORY).unlink()
    except OSError:
        pass


def unsuitable(backend: object) -> str | None:
    """Why a backend cannot keep the key, or None where it can.

    `fail` and `null` keep nothing; all of keyrings.alt are files, some in plain text, some with a password prompt on
    the terminal. A chain here is one without
    links (see `_alone`).
    """
    kind = type(backend)
    if kind.__module__ in {"keyring.backends.fail", "keyring.backends.null", "keyring.backends.chainer"}:
        return "no keyring is available"
    if kind.__module__.startswith("keyrings.alt") or "plaintext" in kind.__name__.lower():
        return f"the keyring ({kind.__name__}) is only a file"
    return None


def _surroundings(environ: Mapping[str, str]) -> str:
    names = json.dumps([sys.prefix, *(environ.get(name, "") for name in _SURROUNDINGS)])
    return hashlib.sha256(names.encode()).hexdigest()


def _find() -> Backend:
    import keyring

    backend: Any = keyring.get_keyring()
    return backend  # type: ignore[no-any-return]


def _alone(backend: Any) -> Any:
    """The first link of a chain: a chain asks the others too, and one of them may ask a question."""
    links = list(getattr(backend, "backends", ())) if type(backend).__module__ == "keyring.backends.chainer" else []
    return links[0] if links else backend


def _ask(backend: Backend, directory: Path) -> Key:
    name = type(backend).__name__ if type(backend).__name__ != "Keyring" else type(backend).__module__.split(".")[-1]
    key = _decoded(backend.get_password(SERVICE, ACCOUNT))
    if key is None:
        # two first runs at once: both read what the later one wrote
        with files.hold(directory / "keyring.lock", PATIENCE):
            key = _decoded(backend.get_password(SERVICE, ACCOUNT))
            if key is None:
                backend.set_password(SERVICE, ACCOUNT, base64.b64encode(os.urandom(KEY_BYTES)).decode())
                key = _decoded(backend.get_password(SERVICE, ACCOUNT))
    if key is None:
        return Key(None, reason=f"the keyring ({name}) does not keep what it is given")
    return Key(key, backend=name)


def _decoded(text: str | None) -> bytes | None:
    try:
        key = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _remembered(memory: Path, surroundings: str, now: float) -> str | None:
    try:
        noted = json.loads(files.read_private(memory, 4096))
        fresh = noted["surroundings"] == surroundings and now - REST < noted["when"] <= now
        return str(noted["reason"]) if fresh else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _remember(memory: Path, surroundings: str, reason: str, now: float) -> None:
    noted = {"surroundings": surroundings, "when": now, "reason": reason}
    try:
        files.replace(memory, json.dumps(noted).encode())
    except OSError:
        pass
