"""README and docs, held to what is there: commands, options, exit codes, links, and the tests that claims name.

That their commands do what they say is `test_docs_commands.py`'s.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import s3pull.cli.exits  # noqa: F401  (it defines errors with exit codes of their own)
from s3pull.cli.app import COMMANDS
from s3pull.cli.exits import SIGPIPE_EXIT
from s3pull.cli.root import root
from s3pull.errors import S3pullError

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "bench/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
]
CLI = root()


def blocks(text: str) -> list[list[str]]:
    """The lines of each fenced block."""
    return [block.strip().splitlines() for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def one_liners() -> list[str]:
    """The README's commands that begin in an empty clone."""
    return [line for block in blocks(README) for line in block if line.startswith("python3 -m venv")]


def section(title: str) -> str:
    """The README's text under a heading."""
    return re.split(r"^## ", README.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def options_of(command) -> set[str]:
    """Every long option of a command and of the commands below it."""
    found = {name for param in command.params for name in (*param.opts, *param.secondary_opts) if name[:2] == "--"}
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            found |= options_of(command.get_command(None, name))
    return found | {"--help"}


def find_command(words: list[str]):
    """The command that `words` call, groups resolved; None where there is no such command."""
    command = CLI
    for word in words:
        if not hasattr(command, "list_commands") or word.startswith("-"):
            break
        command = command.get_command(None, word)
        if command is None:
            return None
    return command


def test_there_are_two_one_liners_and_the_first_runs_the_demo():
    demo, tests = one_liners()
    assert demo.endswith("&& .venv/bin/s3pull demo")
    assert tests.split(" && ")[-1].startswith(".venv/bin/pytest")


def test_ci_runs_what_the_readme_says():
    """Step by step, but for the place of the environment and pip's own remarks."""
    script = (ROOT / ".ci" / "run").read_text().replace('"$venv"/bin/', ".venv/bin/").replace('"$venv"', ".venv")
    script = script.replace('"$python"', "python3").replace(" --disable-pip-version-check", "")
    steps = one_liners()[1].split(" && ")
    places = [script.splitlines().index(step) for step in steps]
    assert places == sorted(places)
    assert script.splitlines()[-1] == steps[-1]


def test_ci_checks_style_and_types_too():
    script = (ROOT / ".ci" / "run").read_text()
    for check in ("ruff check .", "ruff format --check .", "mypy --strict"):
        assert f'"$venv"/bin/{check}\n' in script


def test_the_table_of_commands_is_complete():
    told = re.findall(r"^\| `([a-z]+)", section("Commands"), re.MULTILINE)
    assert sorted(told) == sorted(entry.name for entry in COMMANDS)


EXAMPLES = [
    line.partition(" #")[0]
    for page in PAGES
    for block in blocks((ROOT / page).read_text(encoding="utf-8"))
    for line in block
    if line.startswith("s3pull ")
]


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_use_commands_and_options_that_exist(line):
    words = shlex.split(line)[1:]
    command = find_command(words)
    assert command is not None
    assert {word for word in words if word.startswith("--")} <= options_of(command)


def test_options_in_running_text_exist():
    spoken = "\n".join(line for line in README.splitlines() if "venv" not in line and not line.startswith("```"))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", spoken)) <= options_of(CLI)


def exit_codes(error: type[S3pullError]) -> set[int]:
    """The codes of an error class and of all below it that the package defines."""
    own = {error.exit_code} if error.__module__.startswith("s3pull.") else set()
    return own.union(*(exit_codes(below) for below in error.__subclasses__()))


def test_the_table_of_exit_codes_is_complete():
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    assert told == exit_codes(S3pullError) | {0, SIGPIPE_EXIT}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        there = (ROOT / page).parent / path
        assert there.exists(), target
        if heading:
            headed = there.read_text(encoding="utf-8") if path else text
            assert re.search(rf"^#+ {heading.replace('-', '[ -]')}$", headed, re.MULTILINE | re.IGNORECASE), target


NAMED_TESTS = sorted(
    {
        name
        for page in PAGES
        for name in re.findall(r"tests/[\w/]+\.py(?:::\w+)?", (ROOT / page).read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("name", NAMED_TESTS)
def test_tests_that_claims_name_exist(name):
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not function or function in functions


def test_every_promise_names_a_test():
    """SEMANTICS.md: each item of a list is a claim."""
    text = (ROOT / "docs" / "SEMANTICS.md").read_text(encoding="utf-8")
    claims = re.findall(r"^- .*?(?=^- |^#|^$|\Z)", text, re.MULTILINE | re.DOTALL)
    assert claims
    assert [claim for claim in claims if "tests/" not in claim] == []
