"""How a function becomes a command: typer underneath, options in groups, our own help and no start-up cost.

A command is a function whose parameters are `Annotated[T, typer.Option(...)]`, `Annotated[T, typer.Argument(...)]`
or a `Choice`: a record of options that several commands share (see `options`). A callable among the annotations
turns the text of the command line into T and raises ValueError or UsageError where it cannot:

    @command(app)
    def get(source: Source, dest: Dest = None, *, access: AccessChoice, output: OutputChoice) -> int:
        '''What `--help` says.'''

typer sees plain strings and flags only. Its newer versions send every value through pydantic, which costs each run
0.1 s and 15 MB: `Command` and `Group` take the parsed values as they are, by public methods alone.

This module knows no command and no option; it neither prints errors nor exits.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, Self, dataclass_transform, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo, ParameterInfo

from s3pull.cli import habits
from s3pull.errors import UsageError

Result = int | None
Function = Callable[..., Result]

#: where the order in which options were given is kept: `ctx.meta[ORDER]`, parameter names, one for each use
ORDER = "s3pull.order"
#: the base of the errors of the parser, in click itself and in typer's own copy of it (0.26 on)
ParserError: type[Exception] = typer.BadParameter.__mro__[2]
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_WIDEST_NAME = 30
#: panels whose names end so come last in the help: who is new has no need of them
ADVANCED = ", advanced"


class Parameter(NamedTuple):
    """One option or argument: its name in the function, what typer is told, and how its text becomes a value."""

    name: str
    info: ParameterInfo
    kind: type
    default: Any = inspect.Parameter.empty
    convert: Callable[[str], Any] | None = None

    @property
    def label(self) -> str:
        """What the user calls it."""
        if isinstance(self.info, OptionInfo):
            return max((decl.partition("/")[0] for decl in _declared(self.info)), key=len, default=self.name)
        return self.info.metavar or self.name.upper()

    @property
    def plain_type(self) -> Any:
        """The type that typer is told."""
        return list[str] if self.kind is list else self.kind

    @property
    def plain_default(self) -> Any:
        """The default that typer is told: a text that was not given stays None, and is not converted."""
        return self.default if self.kind in (bool, int) or self.default is inspect.Parameter.empty else None

    def value(self, given: Any) -> Any:
        """`given` as the function wants it. Raises UsageError."""
        if given is None or (self.kind is list and not given):
            return () if self.kind is list else None if self.default is inspect.Parameter.empty else self.default
        if self.kind is list:
            return tuple(self._converted(text) for text in given)
        return given if self.kind in (bool, int) else self._converted(given)

    def _converted(self, text: str) -> Any:
        if self.convert is None:
            return text
        try:
            return self.convert(text)
        except ValueError as error:
            raise UsageError(f"{self.label} {text!r}: {error}", hint=self._explained()) from None

    def _explained(self) -> str:
        """The option as its help has it, in one line."""
        what = (self.info.help or "").rstrip(".")
        if what[1:2].islower():
            what = what[0].lower() + what[1:]
        return f"{self.label} {self.info.metavar or ''}".rstrip() + f": {what}"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Choice:
    """Options that commands share, as one record: a subclass is a dataclass of annotated fields with defaults.

    None is shown, and none is changed: the type checker sees to that, so that no run waits for code that would.
    """

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(repr=False)(cls)

    @classmethod
    def parameters(cls) -> list[Parameter]:
        hints = get_type_hints(cls, include_extras=True)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        return [_parameter(field.name, hints[field.name], field.default) for field in fields]

    @classmethod
    def collect(cls, values: Mapping[str, Any], ctx: Any) -> Self:  # noqa: ARG003
        """The record, out of converted values by parameter name. `ctx` knows the order and the global options."""
        return cls(**values)


def new_app(**settings: Any) -> typer.Typer:
    """A typer app in our manners: no rich, no pretty tracebacks, no completion options, `-h` too."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        cls=settings.pop("cls", Group),
        **settings,
    )


def command(app: typer.Typer, name: str | None = None, *, epilog: str | None = None) -> Callable[[Function], Function]:
    """Register a function as a command of `app`. What it returns is the exit code; None is 0."""

    def register(function: Function) -> Function:
        app.command(name or function.__name__.replace("_", "-"), cls=Command, epilog=epilog, context_settings=CONTEXT)(
            flat(function)
        )
        return function

    return register


def flat(function: Function) -> Function:
    """`function` as typer wants to see it: one parameter for each option, all of them strings and flags."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, tuple[type[Choice] | None, list[Parameter]]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        if isinstance(hint, type) and issubclass(hint, Choice):
            groups[name] = (hint, hint.parameters())
        elif hint is not typer.Context:
            groups[name] = (None, [_parameter(name, hint, parameter.default)])

    def call(ctx: typer.Context, **given: Any) -> Result:
        arguments: dict[str, Any] = {}
        for name, (choice, parameters) in groups.items():
            values = {parameter.name: parameter.value(given[parameter.name]) for parameter in parameters}
            arguments[name] = choice.collect(values, ctx) if choice else values[name]
        if "ctx" in hints:
            arguments["ctx"] = ctx
        return function(**arguments)

    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter("ctx", keyword, annotation=typer.Context)]
    signature += [
        inspect.Parameter(p.name, keyword, default=p.plain_default, annotation=Annotated[p.plain_type, p.info])
        for _, parameters in groups.values()
        for p in parameters
    ]
    call.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    call.__annotations__ = {}
    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"parameter {name} has no typer.Option or typer.Argument")
    base, *notes = get_args(hint)
    info = next(note for note in notes if isinstance(note, ParameterInfo))
    convert = next((note for note in notes if callable(note) and not isinstance(note, ParameterInfo)), None)
    bases = {base, *get_args(base)}
    if bool in bases:
        kind: type = bool
    elif getattr(info, "count", False):
        kind = int
    else:
        kind = list if get_origin(base) in (tuple, list) else str
    return Parameter(name, info, kind, None if default == () else default, convert)


def _declared(info: OptionInfo) -> Iterable[str]:
    """The names of an option; inside `Annotated` typer keeps the first one as the default."""
    return [decl for decl in (info.default, *(info.param_decls or ())) if isinstance(decl, str)]


# --- what typer's own classes do, without coercion and in our voice ---------------------------------------


def _take(command: Any, ctx: Any, args: list[str]) -> list[str]:
    """Parse the options and arguments of `command` into `ctx.params`; what is left over is returned."""
    try:
        given, rest, order = command.make_parser(ctx).parse_args(args=_valued(command.get_params(ctx), args))
    except ParserError as error:
        raise _usage(error, command, ctx) from None
    if given.get("help") is True:
        sys.stdout.write(ctx.get_help() + "\n")
        raise typer.Exit
    for param in command.get_params(ctx):
        if param.name == "help":
            continue
        value = given.get(param.name)
        if not isinstance(value, (str, bool, int, list, tuple)):  # None, or the parser's mark for "not given"
            value = () if param.multiple or param.nargs == -1 else None if param.required else param.default
        if param.required and value in (None, (), []):
            raise UsageError(f"{placeholder(param)} is missing", hint=usage_line(command, ctx))
        ctx.params[param.name] = value
    ctx.meta[ORDER] = [param.name for param in order]
    return list(rest)


def _valued(params: Iterable[Any], args: list[str]) -> list[str]:
    """`args`, where an option whose value may be left out (its metavar is in brackets) and is has an empty one."""
    optional = {name for param in params if str(param.metavar or "").startswith("[") for name in param.opts}
    plain = args.index("--") if "--" in args else len(args)
    return [
        f"{arg}=" if at < plain and arg in optional and (args[at + 1 : at + 2] or ["-"])[0].startswith("-") else arg
        for at, arg in enumerate(args)
    ]


def _usage(error: Exception, command: Any, ctx: Any) -> UsageError:
    """What typer's parser says, in our words."""
    name = getattr(error, "option_name", None)
    if name is None:
        return UsageError(str(error), hint=usage_line(command, ctx))
    if hasattr(error, "possibilities"):
        known = [name for param in command.get_params(ctx) for name in (*param.opts, *param.secondary_opts)]
        return habits.wrong_option(name, known, ctx.command_path)
    return habits.misused_option(name, str(error), ctx.command_path)


class Command(TyperCommand):
    """One command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        habits.check_arguments(self.name or "", args)
        rest = _take(self, ctx, args)
        if rest:
            raise UsageError(f"unexpected argument {rest[0]!r}", hint=usage_line(self, ctx))
        ctx.args = []
        return []

    def format_help(self, ctx: Any, formatter: Any) -> None:
        write_help(self, ctx, formatter, ())


class Group(TyperGroup):
    """Commands under a name. Subclasses may find theirs late: `list_commands`, `get_command`, `summaries`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = _take(self, ctx, args)
        return list(ctx.args)

    def invoke(self, ctx: Any) -> Any:
        if self.callback is not None:
            ctx.invoke(self.callback, **ctx.params)
        if not ctx.args:
            sys.stderr.write(ctx.get_help() + "\n")
            raise typer.Exit(2)
        name, *args = ctx.args
        found = self.get_command(ctx, name)
        if found is None:
            raise habits.no_such_command(ctx.command_path, name, args, self.list_commands(ctx))
        with found.make_context(name, args, parent=ctx) as child:
            return found.invoke(child)

    def summaries(self, ctx: Any) -> Iterable[tuple[str, str, str]]:
        """Panel, name and one line for each command."""
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            if found is not None and not found.hidden:
                yield "Commands", name, (found.help or "").partition("\n")[0].rstrip(".")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        write_help(self, ctx, formatter, self.summaries(ctx))


# --- help -------------------------------------------------------------------------------------------------


def placeholder(param: Any) -> str:
    """An argument as the usage line shows it, without its brackets."""
    return str(param.metavar or param.name.upper())


def usage_line(command: Any, ctx: Any) -> str:
    """`s3pull get [OPTIONS] SOURCE [DEST]`"""
    pieces = [ctx.command_path, "[OPTIONS]"]
    for param in command.get_params(ctx):
        if param.param_type_name == "argument":
            text = placeholder(param) + ("..." if param.nargs == -1 else "")
            pieces.append(text if param.required else f"[{text}]")
    if isinstance(command, TyperGroup):
        pieces.append("COMMAND ...")
    return " ".join(pieces)


def option_names(param: Any) -> str:
    """`-n, --dry-run`, `--jobs N`, `--progress / --no-progress`"""
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        names += " / " + ", ".join(param.secondary_opts)
    takes_value = not (param.is_flag or param.count)
    return f"{names} {param.metavar or 'TEXT'}" if takes_value else names


def write_help(command: Any, ctx: Any, formatter: Any, commands: Iterable[tuple[str, str, str]]) -> None:
    """The whole help of a command or group, options in their panels in order of appearance."""
    formatter.write(f"Usage: {usage_line(command, ctx)}\n")
    command.format_help_text(ctx, formatter)
    panels: dict[str, list[tuple[str, str]]] = {}
    for panel, name, line in commands:
        panels.setdefault(panel, []).append((name, line))
    for param in sorted(command.get_params(ctx), key=lambda param: param.name == "help"):
        if param.hidden:
            continue
        if param.param_type_name == "argument":
            panels.setdefault("Arguments", []).append((placeholder(param), param.help or ""))
        else:
            panel = getattr(param, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append((option_names(param), param.help or ""))
    for panel, rows in sorted(panels.items(), key=lambda named: named[0].endswith(ADVANCED)):
        with formatter.section(panel):
            formatter.write_dl(rows, col_max=_WIDEST_NAME)
    command.format_epilog(ctx, formatter)
