"""What comes in is locked by hash, and what goes out can be built again by anybody, byte for byte."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK = ROOT / ".ci" / "dev.txt"


def locked() -> dict[str, tuple[str, int]]:
    """Versions and numbers of hashes by name."""
    found = {}
    for block in re.split(r"\n(?=\S)", LOCK.read_text()):
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+)", block)
        assert match, block
        found[match[1].lower().replace("_", "-")] = (match[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)))
    return found


def test_every_dependency_is_locked_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["demo"],
        *(one for group in project["dependency-groups"].values() for one in group if isinstance(one, str)),
    ]
    found = locked()
    missing = {re.split(r"[\[>=<~! ]", one)[0].lower() for one in wanted} - set(found)
    assert not missing, "run .ci/lock"
    assert all(count for _, count in found.values())
    assert len(found) > 60


def test_the_lock_names_no_index_and_no_machine() -> None:
    text = LOCK.read_text()
    assert not re.search(r"://|^-|--(index|extra|find|trusted)|/(opt|home|root|tmp|usr)/", text, re.MULTILINE)
    assert " @ " not in text


def build(source: Path, into: Path, what: str) -> Path:
    """With a clock and a locale of its own each time: none of them may show in what is built."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", what, "-d", str(into)],
        cwd=source,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = into.iterdir()
    return made


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack(sdist: Path, into: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    (folder,) = into.iterdir()
    return folder


def test_a_build_from_the_sdist_can_be_repeated(tmp_path: Path) -> None:
    """The same sdist twice, and of it the same wheel twice, in other folders and with other times of files."""
    pytest.importorskip("hatchling")
    first = build(ROOT, tmp_path / "1", "sdist")
    assert digest(first) == digest(build(ROOT, tmp_path / "2", "sdist"))
    wheels = []
    for name in ("here", "elsewhere"):
        source = unpack(first, tmp_path / name)
        for path in source.rglob("*"):
            os.utime(path, (len(wheels) * 10_000_000,) * 2)
        wheels.append(build(source, tmp_path / f"wheel-{name}", "wheel"))
    assert digest(wheels[0]) == digest(wheels[1])
    again = build(unpack(first, tmp_path / "third"), tmp_path / "3", "sdist")
    assert digest(again) == digest(first)
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = wheel.namelist()
    assert "s3pull/__main__.py" in names
    assert not [name for name in names if not name.startswith(("s3pull/", "s3pull-"))]
