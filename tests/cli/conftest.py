"""Run command lines in this process, where no terminal, signal or exit of a process is at stake."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from s3pull.cli.app import main


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
def config(isolated, monkeypatch):
    """Where config.toml will be."""
    path = isolated / "config.toml"
    monkeypatch.setenv("S3PULL_CONFIG", str(path))
    return path
