"""Run command lines in this process, where no terminal, signal or exit of a process is at stake."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from s3pull.cli.app import main
from s3pull.local import durability, releases
from tests.mirrors import Mirrored


@dataclass(frozen=True)
class Ran:
    """What a command line left behind."""

    exit: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """`run("share", "list")` in an empty working directory; `env` is set for this call and after it."""
    monkeypatch.chdir(tmp_path)

    def call(*args, env=None):
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(args)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture
def headless(tmp_path):
    """`headless("status")` as a process that has no terminal, not even one to open by name."""

    def call(*args, stdin=""):
        done = subprocess.run(
            [sys.executable, "-m", "s3pull", *args],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            timeout=60,
            start_new_session=True,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def config(isolated, monkeypatch):
    """Where config.toml will be."""
    path = isolated / "config.toml"
    monkeypatch.setenv("S3PULL_CONFIG", str(path))
    return path


class Here(Mirrored):
    """A bucket and its mirror, with commands that run in this process."""

    def __init__(self, aws, cwd, capsys):
        super().__init__(aws, cwd)
        self._capsys = capsys

    def __call__(self, *args):
        self._capsys.readouterr()
        code = main(args)
        said = self._capsys.readouterr()
        return Ran(code, said.out, said.err)

    def sync(self, *args):
        return self("sync", self.source, "m", *args)

    def get(self, *args):
        return self("get", *args)


@pytest.fixture
def here(fake_aws, tmp_path, capsys, monkeypatch):
    """Runs many commands quickly: nothing waits for the disk."""
    made = Here(fake_aws, tmp_path, capsys)
    made.lead(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for module in (durability, releases):
        monkeypatch.setattr(module, "syncfs", lambda: lambda _: None)
    return made
