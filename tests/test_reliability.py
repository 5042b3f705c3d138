"""docs/RELIABILITY.md, held to the suite: every promise names its tests, and pytest collects each of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
HEADING = "| Promise | Tested by |\n|---|---|\n"
TEST = re.compile(r"tests/[\w/]+\.py(?:::\w+)*")


def promises() -> list[tuple[str, list[str]]]:
    """(promise, tests) of each row of the tables that make promises."""
    tables = [text.partition("\n\n")[0] for text in PAGE.split(HEADING)[1:]]
    rows = [row.strip("|").split(" | ") for table in tables for row in table.splitlines()]
    return [(cells[0].strip(), TEST.findall(cells[-1])) for cells in rows]


def test_every_promise_names_a_test():
    found = promises()
    assert found
    assert [promise for promise, tests in found if not tests or not promise] == []


def test_nothing_stands_under_a_promise_but_tests():
    """A row whose second cell is prose beside a test would promise more than the test holds."""
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and "`tests/" in line]
    assert [row for row in rows if not re.fullmatch(r"\| .+ \| (`[\w/.:]+`(, | and )?)+ \|", row)] == []
    assert len(rows) == len(promises())


def test_every_test_that_is_named_is_collected():
    named = sorted({test for _, tests in promises() for test in tests})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for test in named:
        assert test in done.stdout, test
