"""The completion scripts: up to date, sound, and of use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from s3pull.cli.completions import SHELLS, write

KEPT = Path(__file__).resolve().parents[2] / "completions"
CHECKS = {"s3pull.bash": "bash", "_s3pull": "zsh", "s3pull.fish": "fish"}
PRESENT = [
    pytest.param(name, shell, id=shell) for name, shell in CHECKS.items() if shell == "bash" or shutil.which(shell)
]


def test_they_are_what_the_command_line_is(tmp_path):
    write(tmp_path)
    assert sorted(path.name for path in KEPT.iterdir()) == sorted(SHELLS)
    for name in SHELLS:
        assert (KEPT / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8"), (
            "run: python -m s3pull.cli.completions completions"
        )


@pytest.mark.parametrize(("name", "shell"), PRESENT)
def test_the_shell_can_read_them(name, shell):
    done = subprocess.run([shell, "-n", str(KEPT / name)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def complete_bash(*words):
    script = f"""
        source {KEPT / "s3pull.bash"}
        s3pull() {{ [ "$1 $2" = "__complete source" ] && echo acme: || echo acme; }}
        compopt() {{ :; }}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=1000
        _s3pull && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def complete_fish(*words):
    if not shutil.which("fish"):
        return None
    script = (
        "function s3pull; test $argv[2] = source; and echo acme:; or echo acme; end;"
        f"source {KEPT / 's3pull.fish'}; complete -C $argv[1]"
    )
    done = subprocess.run(["fish", "-N", "-c", script, " ".join(words)], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    return {line.partition("\t")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("complete", [complete_bash, complete_fish])
@pytest.mark.parametrize(
    ("words", "offered", "not_offered"),
    [
        (["s3pull", "s"], {"share", "status"}, {"get"}),
        (["s3pull", "share", "e"], {"export"}, {"get", "share"}),
        (["s3pull", "share", "--config", "x", "sh"], {"show"}, {"share"}),
        (["s3pull", "get", "--no-"], {"--no-assume", "--no-clobber", "--no-durable", "--no-narrow"}, {"--json"}),
        (["s3pull", "credentials", "x", "--format", ""], {"process", "env"}, {"--format", "acme:"}),
        (["s3pull", "get", "--cache", "k"], {"keyring"}, {"file"}),
        (["s3pull", "get", "a"], {"acme:"}, {"acme"}),
        (["s3pull", "login", "a"], {"acme"}, {"acme:"}),
        (["s3pull", "get", "acme:", "a"], set(), {"acme", "acme:"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_offered(complete, words, offered, not_offered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = complete(*words)
    if found is not None:
        assert offered <= found
        assert not not_offered & found
