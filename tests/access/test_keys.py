"""The key in the keyring, and keyrings that hang, fail, forget or are text files."""

from __future__ import annotations

import base64
import ctypes
import json
import multiprocessing
import sys
import threading
import time
import types

import pytest

from s3pull.access import keys


class Ring:
    """A keyring in memory."""

    def __init__(self):
        self.kept = {}
        self.calls = 0

    def get_password(self, service, username):
        self.calls += 1
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password


class Hanging(Ring):
    def __init__(self):
        super().__init__()
        self.let_go = threading.Event()

    def get_password(self, service, username):
        self.calls += 1
        self.let_go.wait(20)


class Raising(Ring):
    def get_password(self, service, username):
        self.calls += 1
        raise RuntimeError("the collection is locked: secret")


class Forgetful(Ring):
    def set_password(self, service, username, password):
        pass


class PlaintextKeyring(Ring):
    pass


def fetch(directory, backend, **more):
    return keys.fetch(directory, more.pop("environ", {}), find=lambda: backend, **more)


def test_made_once_and_found_again(tmp_path):
    ring = Ring()
    first = fetch(tmp_path, ring)
    assert len(first.value) == 32
    assert first.backend == "Ring"
    assert fetch(tmp_path, ring).value == first.value
    assert repr(first.value) not in repr(first)
    assert list(ring.kept) == [("s3pull", "session-cache")]


@pytest.mark.parametrize("kept", ["", "short", "!!!", "QUJD"])
def test_what_is_no_key_is_replaced(tmp_path, kept):
    ring = Ring()
    ring.kept["s3pull", "session-cache"] = kept
    assert len(fetch(tmp_path, ring).value) == 32


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (Raising(), "the keyring failed (RuntimeError)"),
        (Forgetful(), "the keyring (Forgetful) does not keep what it is given"),
        (PlaintextKeyring(), "the keyring (PlaintextKeyring) is only a file"),
    ],
)
def test_one_that_cannot(tmp_path, backend, reason):
    assert fetch(tmp_path, backend) == keys.Key(None, reason=reason)


def test_one_that_hangs_is_given_up_and_left_alone(tmp_path):
    ring = Hanging()
    try:
        started = time.monotonic()
        found = fetch(tmp_path, ring, patience=0.2)
        assert time.monotonic() - started < 10
        assert found.reason == "the keyring did not answer within 0.2 s"
        assert fetch(tmp_path, ring, patience=0.2) == found
        assert ring.calls == 1
    finally:
        ring.let_go.set()


def test_a_failure_is_remembered_for_a_while_and_for_these_surroundings(tmp_path):
    ring = Raising()
    now = [1000.0]

    def again(**environ):
        return fetch(tmp_path, ring, environ=environ, clock=lambda: now[0])

    again()
    again()
    assert ring.calls == 1
    again(DBUS_SESSION_BUS_ADDRESS="unix:path=/run/bus")
    assert ring.calls == 2
    again()
    assert ring.calls == 3, "the memory is of one surrounding at a time"
    now[0] += keys.REST + 1
    again()
    assert ring.calls == 4
    now[0] -= 5000
    again()
    assert ring.calls == 5, "a memory from the future is none"
    keys.forget_failure(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_memory_is_none(tmp_path):
    (tmp_path / "keyring-unavailable.json").write_text(json.dumps(["x"]))
    (tmp_path / "keyring-unavailable.json").chmod(0o600)
    assert fetch(tmp_path, Ring()).value is not None


def test_a_place_that_cannot_be_written(tmp_path):
    gone = tmp_path / "gone"
    assert fetch(gone, Ring()).value is not None
    assert fetch(gone, Raising()).value is None


def test_the_keyring_of_a_headless_machine(tmp_path):
    found = keys.fetch(tmp_path, {})
    assert found == keys.Key(None, reason="no keyring is available")


@pytest.mark.parametrize(
    ("module", "name", "fit"),
    [
        ("keyring.backends.fail", "Keyring", False),
        ("keyring.backends.null", "Keyring", False),
        ("keyrings.alt.file", "EncryptedKeyring", False),
        ("keyrings.alt.file", "PlaintextKeyring", False),
        ("keyring.backends.SecretService", "Keyring", True),
        ("keyring.backends.macOS", "Keyring", True),
        ("keyring.backends.Windows", "WinVaultKeyring", True),
    ],
)
def test_which_keyrings_will_do(module, name, fit):
    assert (keys.unsuitable(type(name, (), {"__module__": module})()) is None) is fit


def chain(*links):
    return type("ChainerBackend", (Ring,), {"__module__": "keyring.backends.chainer", "backends": list(links)})()


def test_a_chain_is_its_first_link(tmp_path):
    ring, second = Ring(), Raising()
    assert fetch(tmp_path, chain(ring, second)).backend == "Ring"
    assert second.calls == 0
    assert fetch(tmp_path, chain(PlaintextKeyring(), ring)).value is None
    assert fetch(tmp_path, chain(), environ={"DISPLAY": ":1"}).reason == "no keyring is available"


class OnDisk:
    """A keyring that two processes share; slow, so that they meet."""

    def __init__(self, path):
        self.path = path

    def get_password(self, service, username):
        found = self.path.read_text() if self.path.exists() else None
        time.sleep(0.05)
        return found

    def set_password(self, service, username, password):
        self.path.write_text(password)


def _fetch_into(directory, ring, queue):
    queue.put(fetch(directory, OnDisk(ring)).value)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_two_first_runs_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    racers = [context.Process(target=_fetch_into, args=(tmp_path, tmp_path / "ring", queue)) for _ in range(4)]
    for racer in racers:
        racer.start()
    found = {queue.get(timeout=20) for _ in racers}
    for racer in racers:
        racer.join()
    assert len(found) == 1
    assert None not in found


def test_where_a_person_is_there_the_keyring_is_asked_again(tmp_path, monkeypatch):
    from s3pull.access.cache import open_cache

    ring, waits = Raising(), []
    monkeypatch.setattr(keys, "_find", lambda: ring)
    fetch_plainly = keys.fetch

    def watched(*args, **more):
        waits.append(more["patience"])
        return fetch_plainly(*args, **more)

    monkeypatch.setattr(keys, "fetch", watched)
    environ = {"S3PULL_CACHE_DIR": str(tmp_path)}
    for person in (False, False, True):
        assert open_cache("auto", environ, person=person).where()[0] == "file"
    assert ring.calls == 2
    assert waits == [keys.PATIENCE, keys.PATIENCE, keys.PERSONS_PATIENCE]


# --- without a question: what completion and `--version -v` may do ---------------------------------------


def backend(module, kept=None):
    """A keyring that calls itself one of the keyring library's."""
    kind = type("Keyring", (Ring,), {"__module__": module})
    made = kind()
    if kept is not None:
        made.kept[keys.SERVICE, keys.ACCOUNT] = kept
    return made


KEPT = base64.b64encode(b"k" * 32).decode()


def test_the_windows_credential_manager_never_asks(tmp_path):
    ring = backend("keyring.backends.Windows", KEPT)
    assert keys.fetch_unasked(tmp_path, {}, find=lambda: ring).value == b"k" * 32


def test_no_key_is_made_where_there_is_none(tmp_path):
    ring = backend("keyring.backends.Windows")
    assert keys.fetch_unasked(tmp_path, {}, find=lambda: ring).value is None
    assert ring.kept == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "value"), [(0, b"k" * 32), (-25293, None)])
def test_the_macos_keychain_is_told_not_to_ask(tmp_path, monkeypatch, status, value):
    """SecKeychainSetUserInteractionAllowed(false): what is locked then fails with errSecInteractionNotAllowed."""
    asked = []

    class Security:
        @staticmethod
        def SecKeychainSetUserInteractionAllowed(allowed):
            asked.append(allowed)
            return status

    monkeypatch.setattr(ctypes, "CDLL", lambda path: Security if path.endswith("/Security") else None)
    ring = backend("keyring.backends.macOS", KEPT)
    assert keys.fetch_unasked(tmp_path, {}, find=lambda: ring).value == value
    assert asked == [0]
    assert ring.calls == (value is not None)


def test_a_keychain_that_will_not_without_a_question_is_no_key(tmp_path, monkeypatch):
    class Security:
        SecKeychainSetUserInteractionAllowed = staticmethod(lambda _: 0)

    class Locked(Ring):
        __module__ = "keyring.backends.macOS"

        def get_password(self, service, username):
            raise RuntimeError("-25308")

    monkeypatch.setattr(ctypes, "CDLL", lambda path: Security)
    assert keys.fetch_unasked(tmp_path, {}, find=Locked).reason == "the keyring failed (RuntimeError)"


@pytest.mark.parametrize("locked", [True, False])
def test_a_locked_collection_of_the_secret_service_is_left_alone(tmp_path, monkeypatch, locked):
    class Collection:
        is_locked = staticmethod(lambda: locked)

    service = types.ModuleType("secretstorage")
    service.dbus_init = lambda: "bus"
    service.collection = types.SimpleNamespace(get_collection_by_alias=lambda bus, alias: Collection)
    monkeypatch.setitem(sys.modules, "secretstorage", service)
    ring = backend("keyring.backends.SecretService", KEPT)
    found = keys.fetch_unasked(tmp_path, {}, find=lambda: ring)
    assert (found.value is None, ring.calls) == (locked, int(not locked))


@pytest.mark.parametrize("module", ["keyring.backends.kwallet", "keyring.backends.libsecret", "somebody.elses"])
def test_one_that_might_ask_is_not_asked(tmp_path, module):
    ring = backend(module, KEPT)
    assert keys.fetch_unasked(tmp_path, {}, find=lambda: ring).reason == "the keyring might ask somebody"
    assert ring.calls == 0


def test_one_that_failed_a_short_while_ago_is_not_looked_for(tmp_path):
    fetch(tmp_path, Raising())
    found = keys.fetch_unasked(tmp_path, {}, find=lambda: pytest.fail("it was looked for"))
    assert found.value is None


def test_which_keyring_it_would_be_is_told_without_asking_it():
    ring = backend("keyring.backends.macOS", KEPT)
    assert keys.backend_name(find=lambda: ring) == "keyring.backends.macOS.Keyring"
    assert keys.backend_name(find=PlaintextKeyring) == "the keyring (PlaintextKeyring) is only a file"
    assert ring.calls == 0

    def fail():
        raise RuntimeError("secret")

    assert keys.backend_name(find=fail) == "cannot be found (RuntimeError)"
    gone = threading.Event()
    assert keys.backend_name(find=lambda: gone.wait(20), patience=0.05) == "does not say within 0.05 s what it is"
    gone.set()


def test_what_is_kept_fits_into_the_windows_credential_manager(tmp_path):
    """CRED_MAX_CREDENTIAL_BLOB_SIZE is 5 * 512 bytes, and Python's keyring hands text over as UTF-16."""

    class CredentialManager(Ring):
        def set_password(self, service, username, password):
            assert len(password.encode("utf-16-le")) <= 2560
            super().set_password(service, username, password)

    assert len(fetch(tmp_path, CredentialManager()).value) == 32
