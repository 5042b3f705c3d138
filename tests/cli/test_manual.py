"""The manual page: what the command line is, sound roff, and where `man` finds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from s3pull.cli.completions import tree
from s3pull.cli.manual import EXITS, page

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "s3pull.1"


def plain(text):
    """roff without its escapes."""
    return re.sub(r"\\f[BIR]|\\&", "", text).replace(r"\-", "-").replace(r"\e", "\\")


def test_it_is_what_the_command_line_is():
    assert KEPT.read_text(encoding="utf-8") == page(), "run: python -m s3pull.cli.manual docs/s3pull.1"


def test_every_command_and_every_option_is_in_it():
    text = plain(page())
    for node in tree():
        if node.path:
            assert f".SS s3pull {' '.join(node.path)}\n" in text
        for option in node.options:
            for name in option.names:
                assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), name


def test_exit_codes_are_told_as_in_the_readme():
    rows = re.findall(r"^\| ([\d, ]+) \| (.+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == EXITS


def test_it_is_sound_roff():
    if shutil.which("mandoc") is None:
        pytest.skip("there is no mandoc here")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", KEPT], capture_output=True, text=True, timeout=60)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_groff_takes_it_without_a_word():
    if shutil.which("groff") is None:
        pytest.skip("there is no groff here")
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", KEPT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3pull share import acme.toml" in done.stdout


@pytest.mark.slow
def test_the_wheel_brings_it_and_the_completions_to_where_they_are_looked_for(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()} - {""}
    assert names == {
        "share/man/man1/s3pull.1",
        "share/bash-completion/completions/s3pull",
        "share/zsh/site-functions/_s3pull",
        "share/fish/vendor_completions.d/s3pull.fish",
    }
