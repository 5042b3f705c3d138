"""Run command lines the way users do: in this process where that is enough, as a process where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from s3pull.cli.app import main


@dataclass(frozen=True)
class Ran:
    """What a command line left behind."""

    exit: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own for every test: nobody's configuration, credentials or cache are touched."""
    place = tmp_path / "home"
    place.mkdir()
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3PULL_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("S3PULL_CONFIG", str(place / "config.toml"))
    monkeypatch.setenv("S3PULL_CACHE_DIR", str(place / "cache"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return place


@pytest.fixture
def run(capsys):
    """`run("share", "list")` in this process."""

    def call(*args):
        code = main(args)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture
def s3pull():
    """`s3pull("share", "list")` as a process, without a terminal."""

    def call(*args, **settings):
        done = subprocess.run(
            [sys.executable, "-m", "s3pull", *args],
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=60,
            start_new_session=True,
            **settings,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call
