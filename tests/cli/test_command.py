"""How functions become commands, on a small app of its own."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.main import get_command

from s3pull.cli.command import Choice, command, new_app
from s3pull.cli.options import FilterChoice, number
from s3pull.errors import UsageError


class Speed(Choice):
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", help="How many."), number(1, 9)] = 4
    fast: Annotated[bool, typer.Option("--fast/--no-fast", help="Hurry.")] = True


seen = []
app = new_app()


@command(app)
def take(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="From where.")],
    more: Annotated[tuple[str, ...], typer.Argument(metavar="MORE", help="And from where.")] = (),
    tags: Annotated[tuple[int, ...], typer.Option("--tag", metavar="N", help="Repeatable."), number(0)] = (),
    level: Annotated[int, typer.Option("-v", count=True, help="Louder.")] = 0,
    maybe: Annotated[bool | None, typer.Option("--maybe/--never", help="Or not said.")] = None,
    *,
    speed: Speed,
    filters: FilterChoice,
) -> int:
    """Take things."""
    seen.append((source, more, tags, level, maybe, speed, filters.rules))
    return 7


@command(app)
def leave() -> None:
    """Leave things."""


def invoke(*args):
    seen.clear()
    group = get_command(app)
    with group.make_context("tool", list(args)) as ctx:
        return group.invoke(ctx), seen[0] if seen else None


def test_defaults():
    assert invoke("take", "a") == (7, ("a", (), (), 0, None, Speed(4, True), ()))
    assert invoke("leave") == (None, None)


def test_everything_given_and_converted():
    code, got = invoke("take", "-vv", "a", "--tag", "1", "--never", "b", "-j9", "--tag=2", "--no-fast", "--", "-c")
    assert code == 7
    assert got == ("a", ("b", "-c"), (1, 2), 2, False, Speed(9, False), ())


def test_filters_keep_the_order_in_which_they_were_given():
    _, got = invoke("take", "a", "--exclude", "*", "--include=b", "--exclude", "c", "--include", "d")
    assert got[-1] == ((False, "*"), (True, "b"), (False, "c"), (True, "d"))


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["take"], "SOURCE is missing", "tool take [OPTIONS] SOURCE [MORE...]"),
        (["take", "a", "--jobs", "x"], "--jobs 'x': not a whole number, 1 to 9", "--jobs N: how many"),
        (["take", "a", "--jobs", "10"], "--jobs '10': not a whole number, 1 to 9", "--jobs N: how many"),
        (
            ["take", "a", "--tag", "1", "--tag", "-1"],
            "--tag '-1': not a whole number, 0 or more",
            "--tag N: repeatable",
        ),
        (["take", "a", "--jobs"], "--jobs needs a value", "tool take --help lists the options"),
        (["take", "a", "--fast=yes"], "--fast takes no value", "tool take --help lists the options"),
        (["take", "a", "--jbos", "1"], "tool take has no option --jbos", "did you mean --jobs?"),
        (["take", "a", "--jbos=1"], "tool take has no option --jbos", "did you mean --jobs?"),
        (["take", "a", "-x"], "tool take has no option -x", "tool take --help lists the options"),
        (["leave", "now"], "unexpected argument 'now'", "tool leave [OPTIONS]"),
        (["tkae"], "there is no command 'tkae'", "did you mean tool take?"),
        (["--jobs", "1"], "tool has no option --jobs", "tool --help lists the options"),
    ],
)
def test_usage_errors_are_in_our_words(args, message, hint):
    with pytest.raises(UsageError) as caught:
        invoke(*args)
    assert caught.value.message == message
    assert caught.value.hint == hint


def test_a_group_alone_shows_its_help_and_exits_2(capsys):
    with pytest.raises(typer.Exit) as caught:
        invoke()
    assert caught.value.exit_code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "take   Take things" in said.err


def test_help_shows_every_option_once_in_its_panel(capsys):
    with pytest.raises(typer.Exit) as caught:
        invoke("take", "--help")
    assert caught.value.exit_code == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: tool take [OPTIONS] SOURCE [MORE...]\n\n  Take things.\n")
    for line in (
        "  SOURCE  From where.",
        "  MORE    And from where.",
        "  --tag N            Repeatable.",
        "  -j, --jobs N       How many.",
        "  --fast / --no-fast  Hurry.",
        "  --include PATTERN",
    ):
        assert " ".join(line.split()) in " ".join(text.split())
    assert text.index("Arguments:") < text.index("Options:") < text.index("Filters:")


def test_an_option_without_typer_is_refused_when_the_command_is_made():
    def wrong(plain: str) -> None:
        """Wrong."""

    with pytest.raises(TypeError, match="plain"):
        command(new_app())(wrong)
