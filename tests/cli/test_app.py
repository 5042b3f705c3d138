"""The command line as a whole: help, version, what is loaded when, and that everything is documented."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from s3pull import __version__
from s3pull.cli.app import COMMANDS
from s3pull.cli.completions import tree
from tests.transcript import run_s3pull

#: what must not be loaded to parse a command line and to print help
HEAVY = {
    "boto3",
    "botocore",
    "anycrc",
    "awscrt",
    "keyring",
    "cryptography",
    "tomlkit",
    "tqdm",
    "platformdirs",
    "rich",
    "pydantic",
}
HEAVY |= {"moto", "dask", "urllib3", "asyncio"}

NODES = tree()
PATHS = [node.path for node in NODES]


def test_bare_s3pull_shows_help_on_stderr_and_exits_2(run):
    ran = run()
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.startswith("Usage: s3pull [OPTIONS] COMMAND ...\n")


def test_help_is_data(run):
    ran = run("--help")
    assert (ran.exit, ran.err) == (0, "")
    assert ran.out == run("-h").out
    for entry in COMMANDS:
        assert re.search(rf"^  {entry.name} +{re.escape(entry.line)}$", ran.out, re.MULTILINE)


def test_version(run):
    assert run("--version").out == f"s3pull {__version__}\n"
    long = run("-v", "--version").out
    assert re.search(r"^Python 3\.\d+", long, re.MULTILINE)
    assert re.search(r"^(OpenSSL|LibreSSL|AWS-LC|BoringSSL)", long, re.MULTILINE)
    assert re.search(r"^boto3 \d", long, re.MULTILINE)
    assert re.search(r"^awscrt \d", long, re.MULTILINE)


def test_what_support_needs_and_no_secret(run, config, isolated):
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "HTTPS_PROXY": "http://ana:s3cr3t@proxy",
        "S3PULL_EXTERNAL_ID": "s3cr3t",
    }
    run("share", "add", "acme", "--bucket", "acme-exports", "--external-id", "s3cr3t")
    long = run("-v", "--version", env=secrets).out
    assert "s3cr3t" not in long
    assert f"configuration: {config} (1 share)\n" in long
    assert re.search(rf"^cache: {re.escape(str(isolated))}", long, re.MULTILINE)
    assert "keyring: no keyring is available\n" in long
    assert "variables that are set: " in long
    assert set(secrets) < set(re.findall(r"\w+", long))
    config.write_text("[[[")
    assert f"configuration: {config} (cannot be read: " in run("-v", "--version").out


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_help_fits_and_says_what_each_thing_is(run, path):
    ran = run(*path, "--help")
    assert (ran.exit, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(f"Usage: {' '.join(('s3pull', *path))} [OPTIONS]")
    assert lines[2].strip()
    node = NODES[PATHS.index(path)]
    for option in node.options:
        assert option.help, option.names
        for name in option.names:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", ran.out), name
    for name in node.arguments:
        assert re.search(rf"^  {re.escape(name)} +\S", ran.out, re.MULTILINE), name
    assert "TEXT" not in ran.out or "--prefix TEXT" in ran.out, "an option's value has no name"


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_what_is_advanced_comes_last(run, path):
    panels = re.findall(r"^(\w[^\n]*):$", run(*path, "--help").out, re.MULTILINE)
    advanced = [panel.endswith(", advanced") for panel in panels]
    assert advanced == sorted(advanced)
    if path in (("get",), ("sync",)):
        assert panels[-2:] == ["Transfer, advanced", "Access, advanced"]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_loads_nothing_heavy(path):
    code = (
        "import sys; from s3pull.cli.app import main\n"
        f"code = main({[*path, '--help']!r})\n"
        f"print(code, sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "0 []\n"


@pytest.mark.parametrize(
    "args", [["get", "nosuch:", "x", "-q"], ["sync", "nosuch:", "x", "--jobs", "4"], ["ls", "nosuch:"]]
)
def test_a_line_of_which_nothing_is_to_be_said_needs_no_typer(args, isolated):
    code = (
        "import sys; from s3pull.cli.app import main\n"
        f"code = main({args!r})\n"
        f"print(code, sorted({(HEAVY | {'typer', 'click'}) - {'platformdirs'}!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "no share" in done.stderr
    assert done.stdout == "4 []\n"


def test_commands_exist_where_the_table_says(run):
    assert [path[0] for path in PATHS if len(path) == 1] == [entry.name for entry in COMMANDS]
    assert {" ".join(path) for path in PATHS} >= {
        "share add", "share import", "share list", "share show", "share remove", "share export",
    }  # fmt: skip


def test_no_name_of_an_option_means_two_things():
    """A flag somewhere is a flag everywhere, and `-v` is always --verbose."""
    takes, short = {}, {}
    for node in NODES:
        for option in node.options:
            for name in option.names:
                assert takes.setdefault(name, bool(option.value)) == bool(option.value), name
                if len(name) == 2:
                    assert short.setdefault(name, option.names) == option.names, name


def test_as_a_process_a_usage_error_leaves_nothing_behind(tmp_path):
    result = run_s3pull(["get"], cwd=tmp_path)
    assert result == ("", "s3pull: SOURCE is missing\nhint: s3pull get [OPTIONS] SOURCE [DEST]\n", 2, {})


@pytest.mark.parametrize("dest", ["s3://other/", "acme:there"])
def test_uploads_are_refused(run, config, tmp_path, dest):
    ran = run("get", "s3://bucket/key", dest)
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.startswith("s3pull: s3pull only downloads\nhint: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("source", "dest"), [("s3://bucket/tree/", "file"), ("s3://bucket/key", "file/name")])
def test_a_file_is_no_folder(run, config, tmp_path, source, dest):
    (tmp_path / "file").write_text("mine")
    ran = run("get", source, dest)
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "s3pull: 'file' is not a folder",
        "hint: give a folder, or a name that is free",
    ]
    assert (tmp_path / "file").read_text() == "mine"
