"""docs/TROUBLESHOOTING.md has an entry for every cause and every warning, and for nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from s3pull.access.denials import Cause, Who

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "TROUBLESHOOTING.md").read_text(encoding="utf-8")


def entries() -> dict[str, str]:
    """Cause -> what the page says of it."""
    parts = re.split(r"^### (\S+)$", PAGE, flags=re.MULTILINE)
    return {name: text.partition("\n## ")[0].strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def warnings_that_doctor_has() -> set[str]:
    """The first argument of every `Warned(…)` in the source."""
    found = set()
    for path in (ROOT / "s3pull" / "access" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Warned":
                assert isinstance(node.args[0], ast.Constant), path
                found.add(node.args[0].value)
    return found


def test_every_cause_has_its_entry():
    assert sorted(entries()) == sorted(map(str, Cause))
    assert [name for name, text in entries().items() if len(text) < 40] == []


def test_every_warning_has_its_row():
    told = re.findall(r"^\| ([a-z-]+) \|", PAGE.partition("## Warnings")[2], re.MULTILINE)
    assert sorted(told) == sorted(warnings_that_doctor_has())


def test_everybody_who_may_have_to_act_is_named():
    told = re.search(r"^\*\*Who acts:\*\*.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[0])) == set(map(str, Who))
