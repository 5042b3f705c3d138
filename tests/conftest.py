"""Keeps every test away from the user's own home, AWS settings, keyring and proxies, and registers the servers."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from s3pull.pull import spare
from tests.partner import partner
from tests.servers import fake_aws, fake_aws_tls, moto_process, moto_server, rclone_process, rclone_server

__all__ = ["fake_aws", "fake_aws_tls", "moto_process", "moto_server", "partner", "rclone_process", "rclone_server"]

# no test is timed: other work may go on beside it
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# what a shell starts in the background ignores Ctrl-C, and so would every process that a test starts and interrupts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: whatever could lead a test, or a process that it starts, to something of the user's
FOREIGN = re.compile(
    r"(AWS|S3PULL|XDG|RCLONE|KEYRING|PYTHON_KEYRING)_.*|(https?|all|no|ftp)_proxy|(REQUESTS|CURL)_CA_BUNDLE|"
    r"SSL_CERT_(FILE|DIR)|BOTO_CONFIG|NO_COLOR|FORCE_COLOR|COLUMNS|LINES|DBUS_SESSION_BUS_ADDRESS",
    re.IGNORECASE,
)


#: minutes after which no further slow proof is begun: the suite has to end in time on slow machines, too
SLOW_MINUTES = float(os.environ.get("SLOW_MINUTES", "25"))
_BEGAN = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow proofs come last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") is not None and time.monotonic() - _BEGAN > SLOW_MINUTES * 60:
        pytest.skip(f"this machine is slow: {SLOW_MINUTES:g} minutes are over (SLOW_MINUTES sets another bound)")


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders not there yet. (`mktemp` would look through all the homes before it at every test.)"""
    parent = tmp_path_factory.mktemp("homes")
    return (parent / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> Path:
    """An empty home for this test; returns it. The keyring fails as on a headless machine."""
    home = next(homes)
    home.mkdir()
    for name in [name for name in os.environ if FOREIGN.fullmatch(name)]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name, folder in {
        "XDG_CONFIG_HOME": ".config",
        "XDG_CACHE_HOME": ".cache",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "APPDATA": "AppData/Roaming",
        "LOCALAPPDATA": "AppData/Local",
    }.items():
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setattr(spare, "cores", lambda: 1)  # a process ahead for each command would take a core from the tests
    return home
