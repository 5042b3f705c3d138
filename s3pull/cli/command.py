"""How a function becomes a command: what it takes is written at its parameters, in records where commands share it.

A command is a function whose parameters are `Annotated[T, Option(...)]`, `Annotated[T, Argument(...)]` or a `Choice`:
a record of options that several commands share (see `options`). A callable among the annotations turns the text of
the command line into T and raises ValueError or UsageError where it cannot:

    @command(app)
    def get(source: Source, dest: Dest = None, *, access: AccessChoice, output: OutputChoice) -> int:
        '''What `--help` says.'''

Who reads command lines gives plain strings and flags to `Command.call`: `plain`, and where there is something to say,
`parser`. This module knows no command and no option; it neither prints errors nor exits. Every run waits for it, so it
needs nothing that takes long to load: neither typer nor dataclasses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

from s3pull.errors import UsageError
from s3pull.records import NamedTuple, Record

Result = int | None
Function = Callable[..., Result]

#: a parameter without it has to be given
REQUIRED: Any = object()


class Option:
    """An option by all its names; a flag's that has an opposite are `--yes/--no`.

    A metavar in brackets says that its value may be left out. `count`: each use adds one. `panel` is its heading in
    the help.
    """

    __slots__ = ("count", "help", "metavar", "names", "panel")

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002
        metavar: str | None = None,
        panel: str | None = None,
        count: bool = False,
    ) -> None:
        self.names = names
        self.help = help
        self.metavar = metavar
        self.panel = panel
        self.count = count

    @property
    def on(self) -> tuple[str, ...]:
        """The names that give or set it."""
        return tuple(name.partition("/")[0] for name in self.names)

    @property
    def off(self) -> tuple[str, ...]:
        """The names that unset it."""
        return tuple(name.partition("/")[2] for name in self.names if "/" in name)


class Argument(Record):
    """What stands in its place on the command line."""

    metavar: str
    help: str


class Said(NamedTuple):
    """What the options of a command are beside: what was said before its name, and the order in which options were
    given (parameter names, one for each use).
    """

    config: Path | None = None
    verbose: int = 0
    order: tuple[str, ...] = ()


class Parameter(NamedTuple):
    """One option or argument: its name in the function, how it is given, and how its text becomes a value."""

    name: str
    info: Option | Argument
    kind: type
    default: Any = REQUIRED
    convert: Callable[[str], Any] | None = None

    @property
    def label(self) -> str:
        """What the user calls it."""
        return max(self.info.on, key=len) if isinstance(self.info, Option) else self.info.metavar

    @property
    def takes_value(self) -> bool:
        return self.kind not in (bool, int)

    @property
    def plain_default(self) -> Any:
        """The default as the command line has it: a text that was not given is None, and is not converted."""
        return self.default if self.default is REQUIRED or not self.takes_value else None

    def value(self, given: Any) -> Any:
        """`given` as the function wants it. Raises UsageError."""
        if given is None or (self.kind is list and not given):
            return () if self.kind is list else None if self.default is REQUIRED else self.default
        if self.kind is list:
            return tuple(self._converted(text) for text in given)
        return self._converted(given) if self.takes_value else given

    def _converted(self, text: str) -> Any:
        if self.convert is None:
            return text
        try:
            return self.convert(text)
        except ValueError as error:
            raise UsageError(f"{self.label} {text!r}: {error}", hint=self._explained()) from None

    def _explained(self) -> str:
        """The option as its help has it, in one line."""
        what = self.info.help.rstrip(".")
        if what[1:2].islower():
            what = what[0].lower() + what[1:]
        return f"{self.label} {self.info.metavar or ''}".rstrip() + f": {what}"


class Choice(Record):
    """Options that commands share, as one record of annotated fields with defaults."""

    @classmethod
    def parameters(cls) -> list[Parameter]:
        hints = get_type_hints(cls, include_extras=True)
        return [_parameter(name, hints[name], getattr(cls, name)) for name in cls.fields()]

    @classmethod
    def collect(cls, values: Mapping[str, Any], said: Said) -> Self:  # noqa: ARG003
        """The record, out of converted values by parameter name."""
        return cls(**values)


class Command:
    """A function as a command: what it takes, by the names of its parameters."""

    def __init__(self, name: str, function: Function, epilog: str | None = None) -> None:
        self.name = name
        self.function = function
        self.epilog = epilog
        self._groups = _groups(function)
        self.parameters = [parameter for _, of in self._groups.values() for parameter in of]

    @property
    def help(self) -> str:
        return self.function.__doc__ or ""

    def call(self, given: Mapping[str, Any], said: Said) -> Result:
        """Run it with what was `given`: text, lists of text, flags and counts; what was not is not there, or None."""
        arguments: dict[str, Any] = {}
        for name, (choice, parameters) in self._groups.items():
            values = {parameter.name: parameter.value(given.get(parameter.name)) for parameter in parameters}
            arguments[name] = choice.collect(values, said) if choice else values[name]
        return self.function(**arguments)


class App:
    """Commands that a module has; with a name they stand below it: `s3pull share add`."""

    def __init__(self, name: str | None = None, help: str = "") -> None:  # noqa: A002
        self.name = name
        self.help = help
        self.commands: dict[str, Command] = {}

    def find(self, words: list[str]) -> tuple[Command, list[str]] | None:
        """The command that `words` begin with, and what comes after it."""
        at = 1 if self.name is not None else 0
        found = self.commands.get(words[at]) if len(words) > at else None
        return (found, words[at + 1 :]) if found is not None else None


def command(app: App, name: str | None = None, *, epilog: str | None = None) -> Callable[[Function], Function]:
    """Register a function as a command of `app`. What it returns is the exit code; None is 0."""

    def register(function: Function) -> Function:
        called = name or function.__name__.replace("_", "-")
        app.commands[called] = Command(called, function, epilog)
        return function

    return register


def _groups(function: Function) -> dict[str, tuple[type[Choice] | None, list[Parameter]]]:
    """The parameters of `function` as one sees them on a command line: for a record all that are in it."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    defaults = _defaults(function)
    groups: dict[str, tuple[type[Choice] | None, list[Parameter]]] = {}
    for name, hint in hints.items():
        if isinstance(hint, type) and issubclass(hint, Choice):
            groups[name] = (hint, hint.parameters())
        else:
            groups[name] = (None, [_parameter(name, hint, defaults.get(name, REQUIRED))])
    return groups


def _defaults(function: Function) -> dict[str, Any]:
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    found = dict(zip(positional[len(positional) - len(values) :], values, strict=True))
    return {**found, **(function.__kwdefaults__ or {})}


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    info = next((note for note in notes if isinstance(note, Option | Argument)), None)
    if info is None:
        raise TypeError(f"parameter {name} has no Option or Argument")
    convert = next((note for note in notes if callable(note)), None)
    if bool in {base, *get_args(base)}:
        kind: type = bool
    elif isinstance(info, Option) and info.count:
        kind = int
    else:
        kind = list if get_origin(base) in (tuple, list) else str
    return Parameter(name, info, kind, None if default == () else default, convert)
