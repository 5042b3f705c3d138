"""How functions become commands, on a small app of its own."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.cli import plain
from s3pull.cli.app import COMMANDS, Entry
from s3pull.cli.command import App, Argument, Choice, Command, Option, Said, command
from s3pull.cli.exits import Ended
from s3pull.cli.options import FilterChoice, number
from s3pull.cli.parser import group_of, single
from s3pull.errors import UsageError


class Speed(Choice):
    jobs: Annotated[int, Option("--jobs", "-j", metavar="N", help="How many."), number(1, 9)] = 4
    fast: Annotated[bool, Option("--fast/--no-fast", help="Hurry.")] = True


seen = []
app = App()


@command(app)
def take(
    source: Annotated[str, Argument(metavar="SOURCE", help="From where.")],
    more: Annotated[tuple[str, ...], Argument(metavar="MORE", help="And from where.")] = (),
    tags: Annotated[tuple[int, ...], Option("--tag", metavar="N", help="Repeatable."), number(0)] = (),
    level: Annotated[int, Option("-v", count=True, help="Louder.")] = 0,
    maybe: Annotated[bool | None, Option("--maybe/--never", help="Or not said.")] = None,
    say: Annotated[str | None, Option("--say", "-s", metavar="[WORD]", help="A word, or none.")] = None,
    *,
    speed: Speed,
    filters: FilterChoice,
) -> int:
    """Take things."""
    seen.append((source, more, tags, level, maybe, say, (speed.jobs, speed.fast), filters.rules))
    return 7


@command(app)
def leave() -> None:
    """Leave things."""


def invoke(*args):
    seen.clear()
    group = group_of(app)
    with group.make_context("tool", list(args)) as ctx:
        return group.invoke(ctx), seen[0] if seen else None


def test_defaults():
    assert invoke("take", "a") == (7, ("a", (), (), 0, None, None, (4, True), ()))
    assert invoke("leave") == (None, None)


def test_everything_given_and_converted():
    code, got = invoke("take", "-vv", "a", "--tag", "1", "--never", "b", "-j9", "--tag=2", "--no-fast", "--", "-c")
    assert code == 7
    assert got == ("a", ("b", "-c"), (1, 2), 2, False, None, (9, False), ())


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
    with pytest.raises(Ended) as caught:
        invoke()
    assert caught.value.exit_code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "take   Take things" in said.err


def test_help_shows_every_option_once_in_its_panel(capsys):
    with pytest.raises(Ended) as caught:
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
        command(App())(wrong)


# --- what is read without typer is read as typer does -------------------------------------------------------

#: what a line may be made of: names of the app above, their beginnings, clusters, values that look like options
WORDS = (
    *("a", "b", "1", "7", "-", "--", "", "-1", "a=b", "--include", "--include=", "--exclude=*", "--exclude", "--tag"),
    *("--tag=1", "--tag=", "-v", "-vv", "-j", "-j9", "-vj", "-vj3", "--jobs", "--jobs=2", "--job", "--jobs=", "--fast"),
    *("--no-fast", "--fast=1", "--maybe", "--never", "--ne", "--help", "-h", "-x", "--unknown", "--say", "--say="),
    *("--say=x", "-s"),
)


def by_typer(one, args):
    """What typer makes of `args`: values by name and the order of options; None for help and mistakes."""
    got = []
    one.call = lambda values, said: got.append((values, said.order))
    typed = single(one)
    try:
        with typed.make_context(one.name, list(args)) as ctx:
            typed.invoke(ctx)
    except (UsageError, Ended):
        return None
    finally:
        del one.call
    return got[0]


def as_function_gets_it(one, read):
    """The arguments of the function, records as dictionaries; the error where a value is none."""
    if read is None:
        return None
    got = []
    told = Command(one.name, lambda **values: got.append(values))
    told._groups = one._groups
    try:
        told.call(read[0], Said(order=tuple(read[1])))
    except UsageError as error:
        return error.message
    return {name: vars(value) if isinstance(value, Choice) else value for name, value in got[0].items()}


@given(st.lists(st.sampled_from(WORDS), max_size=7))
def test_a_plain_line_is_read_as_typer_reads_it(args):
    one = app.commands["take"]
    mine = plain.read(one, args)
    if mine is not None:
        assert as_function_gets_it(one, mine) == as_function_gets_it(one, by_typer(one, args)) != None  # noqa: E711


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
@given(data=st.data())
@settings(max_examples=30)
def test_so_is_one_of_every_command(name, data):
    apps = Entry.called(name).app().commands
    one = apps[data.draw(st.sampled_from(sorted(apps)))] if name == "share" else apps[name]
    names = sorted(plain.by_name(one.parameters))
    words = st.sampled_from([*names, *(name + "=1h" for name in names), "x", "acme:y", "-", "2", "--", "s3://b/"])
    args = data.draw(st.lists(words, max_size=6))
    mine = plain.read(one, args)
    if mine is not None:
        assert as_function_gets_it(one, mine) == as_function_gets_it(one, by_typer(one, args)) != None  # noqa: E711


@pytest.mark.parametrize(
    "args",
    [
        ["acme:2026/", "data/"],
        ["acme:2026/*.csv", "-", "-qvn", "--jobs", "4", "--limit-rate=50M", "--no-durable", "--include", "*.csv"],
        ["--exclude=*", "--include", "a", "acme:", "--role-arn", "arn:aws:iam::1:role/r", "--session-tag", "a=b"],
        ["acme:", "--", "-odd"],
        ["acme:", "--config", "", "--no-narrow", "--progress", "--json"],
    ],
)
def test_usual_lines_need_no_typer(args):
    one = Entry.called("get").app().commands["get"]
    mine = plain.read(one, args)
    assert mine is not None
    assert as_function_gets_it(one, mine) == as_function_gets_it(one, by_typer(one, args))


@pytest.mark.parametrize(
    "args",
    [
        *([], ["a", "b", "c"], ["a", "--help"], ["a", "-h"], ["a", "--no-such"], ["a", "--jobs"], ["a", "-z"]),
        *(["acme:", "--include", "--", "--jso"], ["a", *["--include", "x"] * 500], ["a", "--", "--odd"]),
        *(["a", "--job", "4"], ["a", "--json=yes"], ["a", "--include", "--odd"], [""]),
    ],
)
def test_all_others_are_left_to_it(args):
    assert plain.read(Entry.called("get").app().commands["get"], args) is None


def test_where_getopt_would_stop_at_the_first_argument_it_is_not_asked(monkeypatch):
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert plain.read(Entry.called("get").app().commands["get"], ["acme:", "data/", "--json"]) is None
