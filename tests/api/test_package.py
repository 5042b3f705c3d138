"""What `import s3pull` offers, what it costs, and what types it has."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import textwrap

import pytest

import s3pull
from s3pull.access.options import ACCESS_OPTIONS
from s3pull.api.caller import AccessOptions

HEAVY = {"boto3", "botocore", "anycrc", "awscrt", "tqdm", "keyring", "cryptography", "typer"}
HEAVY |= {"pandas", "tomlkit", "platformdirs"}


def loaded_by(code):
    """The modules that are there after `code`."""
    told = f"{code}\nimport sys; sys.stdout.write(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split())


def test_importing_it_loads_nothing_else():
    assert {name for name in loaded_by("import s3pull") if name.startswith("s3pull.")} == set()


def test_looking_at_its_functions_loads_nothing_slow():
    assert loaded_by("import s3pull; s3pull.pull, s3pull.sync, s3pull.ls, s3pull.open") & HEAVY == set()


def test_a_warm_call_imports_neither_boto3_nor_botocore(partner):
    partner.put_release()
    code = "import s3pull; s3pull.pull('acme:2026/', 'data/'); s3pull.open('acme:2026/report.csv').read()"
    assert "botocore" in loaded_by(code)
    assert loaded_by(code) & {"boto3", "botocore", "typer", "tqdm"} == set()


def test_it_brings_no_command_line():
    found = loaded_by("import s3pull; s3pull.pull, s3pull.open, s3pull.storage_options, s3pull.errors")
    assert {name for name in found if name.startswith("s3pull.cli")} == set()


def test_pull_is_the_function_whatever_was_imported():
    for found in pkgutil.walk_packages(s3pull.__path__, "s3pull."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    assert inspect.isfunction(s3pull.pull)
    from s3pull import pull

    assert pull is s3pull.pull
    assert importlib.import_module("s3pull.pull.get").Get.__module__ == "s3pull.pull.get"


def test_pull_is_the_function_also_where_its_package_was_there_first():
    code = "import s3pull.pull.globs, s3pull, sys; sys.stdout.write(type(s3pull.pull).__name__ + chr(10))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "function\n"


def test_tests_of_others_can_replace_it(monkeypatch):
    monkeypatch.setattr(s3pull, "pull", lambda source: source)
    assert s3pull.pull("acme:") == "acme:"


def test_all_that_it_names_is_there():
    for name in s3pull.__all__:
        assert getattr(s3pull, name) is not None
        assert name in dir(s3pull)
    assert s3pull.errors.UsageError.exit_code == 2
    with pytest.raises(AttributeError, match="has no attribute 'push'"):
        s3pull.push  # noqa: B018


def test_access_options_are_those_of_the_command_line():
    names = {option.name for option in ACCESS_OPTIONS}
    assert set(AccessOptions.__annotations__) == names | {"config", "ask_mfa"}


@pytest.mark.slow
def test_it_is_typed(tmp_path):
    """As a user's own mypy sees it."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import io
            import s3pull
            from s3pull import pull
            from s3pull.pull.globs import Filters

            done: s3pull.Summary = pull("acme:", "data/", role_arn="arn", progress=lambda status: status.done_bytes)
            s3pull.sync("acme:", "m", rolearn="arn")
            entry: s3pull.Entry = next(s3pull.ls("acme:", profile="p"))
            with s3pull.open(entry.source) as file:
                reader: io.BufferedReader = file
                size: str = file.size
            error: s3pull.errors.Incomplete
            reveal_type(s3pull.pull)
            """
        )
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(program)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=tmp_path).stdout
    problems = [line for line in said.splitlines() if "error:" in line]
    assert len(problems) == 2, said
    assert 'Unexpected keyword argument "rolearn"' in problems[0]
    assert 'expression has type "int", variable has type "str"' in problems[1]
    assert "def (source: str" in said
