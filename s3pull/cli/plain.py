"""Reads a command line where nothing is to be said about it, as nearly all that scripts and timers run.

Who loads typer waits for it longer than for any other package. What it would do with a line of known options and
the right number of arguments, the standard library's getopt does as well; of any other line `read` makes nothing, and
`parser` shows the help, or says what is wrong. A test holds both to the same answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any

from s3pull.cli.command import REQUIRED, Argument, Command, Option, Parameter
from s3pull.records import NamedTuple

_MOST_WORDS = 1000


class Given(NamedTuple):
    """What a command line says: texts, lists of text, flags and counts by parameter name, and the order of options."""

    values: Mapping[str, Any]
    order: tuple[str, ...]


def read(command: Command, args: Sequence[str]) -> Given | None:
    """What `args` say to `command`; None where the parser has to look."""
    if len(args) > _MOST_WORDS:  # getopt copies all that is left at each word
        return None
    if "POSIXLY_CORRECT" in os.environ:  # getopt would take all that follows the first argument as arguments
        return None
    if "--request-payer" in args:  # which may be meant as the AWS CLI has it
        return None
    options = by_name(command.parameters)
    args = with_empty_values({name: of.info.metavar for name, of in options.items()}, args)
    # getopt takes the beginning of a name for the name, where there is but one, and `--` may be an option's value
    if any(word.startswith("--") and word != "--" and word.partition("=")[0] not in options for word in args):
        return None
    try:
        pairs, rest = gnu_getopt(args, _short(options), _long(options))
    except GetoptError:
        return None
    values = _placed([p for p in command.parameters if isinstance(p.info, Argument)], rest)
    if values is None:
        return None
    for name, text in pairs:
        parameter = options[name]
        if parameter.kind is list:
            values.setdefault(parameter.name, []).append(text)
        elif parameter.kind is int:
            values[parameter.name] = values.get(parameter.name, 0) + 1
        else:
            values[parameter.name] = text if parameter.takes_value else name not in _off(parameter)
    return Given(values, tuple(options[name].name for name, _ in pairs))


def by_name(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """The options among them, by each of their names."""
    return {
        name: parameter
        for parameter in parameters
        if isinstance(parameter.info, Option)
        for name in (*parameter.info.on, *parameter.info.off)
    }


def _off(parameter: Parameter) -> tuple[str, ...]:
    return parameter.info.off if isinstance(parameter.info, Option) else ()


def _short(options: Mapping[str, Parameter]) -> str:
    """As getopt wants the names of one letter."""
    return "".join(name[1:] + (":" if of.takes_value else "") for name, of in options.items() if name[1] != "-")


def _long(options: Mapping[str, Parameter]) -> list[str]:
    return [name[2:] + ("=" if of.takes_value else "") for name, of in options.items() if name[1] == "-"]


def _placed(arguments: Sequence[Parameter], words: list[str]) -> dict[str, Any] | None:
    """The arguments by name; None for too few or too many. Only the last may take more than one word."""
    values: dict[str, Any] = {}
    for argument in arguments:
        if argument.kind is list:
            values[argument.name], words = words, []
        elif words:
            values[argument.name], *words = words
        if argument.default is REQUIRED and not values.get(argument.name):
            return None
    return None if words else values


def with_empty_values(metavars: Mapping[str, str | None], args: Sequence[str]) -> list[str]:
    """`args`, where an option whose value may be left out (its metavar is in brackets) and is has an empty one."""
    optional = {name for name, metavar in metavars.items() if (metavar or "").startswith("[")}
    plain = args.index("--") if "--" in args else len(args)
    return [
        f"{arg}=" if at < plain and arg in optional and (args[at + 1 : at + 2] or ["-"])[0].startswith("-") else arg
        for at, arg in enumerate(args)
    ]
