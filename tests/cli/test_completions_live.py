"""Completion as people meet it: the real bash, zsh and fish on a terminal, TAB, and the words that then stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3pull.cli import candidates
from tests.fakes import FakeAws, faults
from tests.fakes.faults import at
from tests.transcript import run_s3pull

pexpect = pytest.importorskip("pexpect")

SCRIPTS = Path(__file__).resolve().parents[2] / "completions"
OWNER, CONSUMER = "111111111111", "222222222222"
KEYS = ("2026/report.csv", "2026/june.parquet", "2026/july.parquet", "2027/x", "a b/c", "star*.txt", "notes.txt")
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "source {}/s3pull.bash"),
    "zsh": (["-f", "-i"], "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D"),
    "fish": (["--no-config", "-i"], "source {}/s3pull.fish"),
}


@pytest.fixture(scope="module")
def aws():
    with FakeAws() as made:
        yield made


@pytest.fixture(scope="module")
def acme(aws, tmp_path_factory):
    """The shares `acme` and `archive`, behind a role, read once so that session and endpoint are cached; what a process
    of their user has in its environment. Of all tests here: they read."""
    home = tmp_path_factory.mktemp("home")
    ana = aws.user(CONSUMER, "ana")
    role = aws.role(OWNER, "readers", trust={CONSUMER: "ext-id"})
    aws.bucket("acme-exports", owner=OWNER)
    for key in (*KEYS, *(f"many/{number:04}" for number in range(1500))):
        aws.put("acme-exports", f"in/{key}", b"x")
    (home / "aws-config").write_text("[profile work]\nregion=eu-west-1\n[profile workshop]\n[default]\n")
    env = {
        **aws.env(ana),
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "S3PULL_COMPLETE_SECONDS": "60",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    for name in ("acme", "archive"):
        add = ["share", "add", name, "s3://acme-exports/in/", "--role-arn", role, "--external-id", "ext-id"]
        done = run_s3pull(add, env, home)
        assert done.code == 0, done.stderr
    assert run_s3pull(["ls", "acme:"], env, home).code == 0
    return env


@pytest.fixture
def asked(aws):
    """What the service is asked from here on."""
    aws.requests.clear()
    return lambda: {one.action for one in aws.requests}


class Terminal:
    """An interactive shell on a terminal."""

    def __init__(self, shell, env, cwd):
        options, load = SHELLS[shell]
        self._shell = pexpect.spawn(
            shell, options, env={**os.environ, **env}, cwd=str(cwd), dimensions=(50, 300), timeout=60
        )
        self._count = 0
        self._shell.send(load.format(SCRIPTS) + "\r")
        self.says("echo")

    def says(self, line, tabs=0):
        """Type `line`, TAB, and run with `printf` before it what then stands there; the words that the shell saw."""
        self._count += 1
        mark = f"end{self._count}"
        self._shell.send(line)
        for _ in range(tabs):
            self._shell.send("\t")
        self._shell.send("\x01printf '\\n<%s>' \x05")
        self._shell.send(f"\rprintf '\\n{mark[:3]}%s\\n' {mark[3:]}\r")
        self._shell.expect_exact(f"\n{mark}\r\n")
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r", "", self._shell.before.decode())
        return re.findall(r"\n<([^\n]*)>", text)

    def close(self):
        self._shell.close(force=True)


@pytest.fixture(params=list(SHELLS))
def terminal(request, acme, tmp_path):
    if shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param} here")
    made = Terminal(request.param, acme, tmp_path)
    yield made
    made.close()


LINES = {
    "s3pull ge": ["s3pull", "get"],
    "s3pull get acm": ["s3pull", "get", "acme:"],
    "s3pull get acme:2026/r": ["s3pull", "get", "acme:2026/report.csv"],
    "s3pull get acme:2026/ju": ["s3pull", "get", "acme:2026/ju"],
    "s3pull get acme:2027": ["s3pull", "get", "acme:2027/"],
    "s3pull get acme:man": ["s3pull", "get", "acme:many/"],
    "s3pull get acme:a": ["s3pull", "get", "acme:a b/"],
    "s3pull get 'acme:2026/re": ["s3pull", "get", "acme:2026/report.csv"],
    "s3pull get acme:nothing": ["s3pull", "get", "acme:nothing"],
    "s3pull get --limit-rate 5M acme:2026/rep": ["s3pull", "get", "--limit-rate", "5M", "acme:2026/report.csv"],
    "s3pull ls -l acme:2026/rep": ["s3pull", "ls", "-l", "acme:2026/report.csv"],
    "s3pull get acme:2026/ dat": ["s3pull", "get", "acme:2026/", "data.txt"],
    "s3pull login acm": ["s3pull", "login", "acme"],
    "s3pull get --profile works": ["s3pull", "get", "--profile", "workshop"],
    "s3pull get --cache keyr": ["s3pull", "get", "--cache", "keyring"],
    "s3pull policy acme --kind cloudt": ["s3pull", "policy", "acme", "--kind", "cloudtrail"],
    "s3pull policy acme --format cloudf": ["s3pull", "policy", "acme", "--format", "cloudformation"],
    "s3pull schedule acme: /data --format sys": ["s3pull", "schedule", "acme:", "/data", "--format", "systemd"],
}


@pytest.mark.slow
def test_what_tab_makes_of_a_line(terminal, tmp_path, asked):
    (tmp_path / "data.txt").touch()
    found = {line: [word.rstrip(" ") for word in terminal.says(line, tabs=1)] for line in LINES}
    assert found == LINES
    assert asked() == {"ListObjectsV2"}


# --- s3pull's own answer ------------------------------------------------------------------------------------


def ask(env, *args, cwd="."):
    done = subprocess.run(
        [sys.executable, "-m", "s3pull", "__complete", *args],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=120, cwd=cwd, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["source", "a"], ["acme:", "archive:"]),
        (["share", "arc"], ["archive"]),
        (["profile", ""], ["default", "work", "workshop"]),
        (["source", "acme:"], ["acme:2026/", "acme:2027/", "acme:a b/", "acme:many/", "acme:notes.txt",
                               "acme:star\\*.txt"]),
        (["source", "acme:star\\*"], ["acme:star\\*.txt"]),
        (["source", "acme:notes.txt"], ["acme:notes.txt"]),
        (["source", "acme:2026/*.pa"], []),
        (["source", "acme:2026/ju"], ["acme:2026/july.parquet", "acme:2026/june.parquet"]),
        (["source", "nobody:x"], []),
        (["source", "s3://acme"], []),
        (["nonsense", "x"], []),
        ([], []),
    ],
)  # fmt: skip
def test_candidates(acme, args, found):
    assert ask(acme, *args) == found


def test_without_a_cached_session_there_is_nothing_and_nobody_is_asked(acme, asked, tmp_path):
    nothing = {**acme, "S3PULL_CACHE_DIR": str(tmp_path)}
    assert ask(nothing, "source", "acme:") == []
    assert asked() == set()
    assert ask(nothing, "source", "ac") == ["acme:"]


def test_a_session_that_has_ended_is_not_renewed(acme, aws, asked, tmp_path):
    aws.expire_sessions()
    try:
        assert ask(acme, "source", "acme:") == []
        assert asked() == {"ListObjectsV2"}
    finally:
        assert run_s3pull(["login", "acme"], acme, tmp_path).code == 0


def test_own_keys_that_lie_open_are_used_where_there_is_no_role(acme, aws, asked, tmp_path):
    aws.bucket("own-bucket", owner=CONSUMER)
    aws.put("own-bucket", "x/y", b"")
    assert run_s3pull(["share", "add", "mine", "s3://own-bucket/x/"], acme, tmp_path).code == 0
    assert run_s3pull(["ls", "mine:"], acme, tmp_path).code == 0
    assert ask(acme, "source", "mine:") == ["mine:y"]
    assert run_s3pull(["share", "remove", "mine"], acme, tmp_path).code == 0


def test_options_on_the_line_count(acme, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('[shares.zulu]\nbucket = "acme-exports"\n')
    assert ask(acme, "source", "z", "get", "--config", str(other)) == ["zulu:"]
    assert ask(acme, "source", "z", "get", f"--config={other}") == ["zulu:"]
    assert ask(acme, "source", "acme:", "get", "--session-name", "someone-else") == []


def test_a_broken_configuration_is_silence(acme, tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[[[")
    assert ask({**acme, "S3PULL_CONFIG": str(broken)}, "source", "a") == []


def test_it_is_silent_when_the_service_is_slow(acme, aws):
    """The bound is generous here, and still far below what the service takes."""
    aws.fault(at("ListObjectsV2"), faults.slow_head(300), times=None)
    began = time.monotonic()
    try:
        assert ask({**acme, "S3PULL_COMPLETE_SECONDS": "2"}, "source", "acme:") == []
        assert time.monotonic() - began < 60
    finally:
        aws.faults.clear()


def test_the_bound_is_a_third_of_a_second(monkeypatch):
    assert candidates.PATIENCE == 0.3


def test_neither_the_parser_nor_boto_is_loaded(acme):
    code = (
        "import sys; sys.argv = ['s3pull', '__complete', 'source', 'acme:2026/r'];"
        "from s3pull.__main__ import command; command();"
        "sys.stderr.write(' '.join(sorted({'typer', 'click', 'boto3', 'botocore', 'tqdm'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **acme}, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("acme:2026/report.csv\n", "")
