"""Command lines by typer: all that `plain` leaves, with our own help, and errors in our words.

typer sees plain strings and flags only. Its newer versions send every value through pydantic, which costs each run
0.1 s and 15 MB: `OneCommand` and `CommandGroup` take the parsed values as they are, by public methods alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from s3pull.cli import habits
from s3pull.cli.command import REQUIRED, App, Argument, Command, Function, Option, Result, Said
from s3pull.cli.exits import Ended
from s3pull.cli.plain import with_empty_values
from s3pull.errors import UsageError

#: where the order in which options were given is kept: `ctx.meta[ORDER]`, parameter names, one for each use
ORDER = "s3pull.order"
#: the base of the errors of the parser, in click itself and in typer's own copy of it (0.26 on)
ParserError: type[Exception] = typer.BadParameter.__mro__[2]
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_WIDEST_NAME = 30
#: panels whose names end so come last in the help: who is new has no need of them
ADVANCED = ", advanced"


def typer_app(**settings: Any) -> typer.Typer:
    """A typer app in our manners: no rich, no pretty tracebacks, no completion options, `-h` too."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        cls=settings.pop("cls", CommandGroup),
        **settings,
    )


def group_of(app: App) -> Any:
    """`app` as a group of typer's."""
    made = typer_app(name=app.name, help=app.help or None)
    for command in app.commands.values():
        _add(made, command)
    return get_command(made)


def single(command: Command) -> Any:
    """`command` as one of typer's."""
    made = typer_app()
    _add(made, command)
    return get_command(made)


def _add(made: typer.Typer, command: Command) -> None:
    made.command(command.name, cls=OneCommand, epilog=command.epilog, context_settings=CONTEXT)(_flat(command))


def _flat(command: Command) -> Function:
    """`command` as typer wants to see a function: one parameter for each option, all of them strings and flags."""

    def call(ctx: typer.Context, **given: Any) -> Result:
        before = ctx.find_object(Said) or Said()
        return command.call(given, before._replace(order=tuple(ctx.meta.get(ORDER, ()))))

    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter("ctx", keyword, annotation=typer.Context)]
    for parameter in command.parameters:
        default = inspect.Parameter.empty if parameter.plain_default is REQUIRED else parameter.plain_default
        kind: Any = list[str] if parameter.kind is list else parameter.kind
        hint = Annotated[kind, _info(parameter.info)]
        signature.append(inspect.Parameter(parameter.name, keyword, default=default, annotation=hint))
    call.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    call.__annotations__ = {}
    call.__name__, call.__doc__ = command.function.__name__, command.help
    return call


def _info(info: Option | Argument) -> Any:
    if isinstance(info, Argument):
        return typer.Argument(metavar=info.metavar, help=info.help)
    return typer.Option(*info.names, metavar=info.metavar, help=info.help, rich_help_panel=info.panel, count=info.count)


# --- what typer's own classes do, without coercion and in our voice ---------------------------------------


def _take(command: Any, ctx: Any, args: list[str]) -> list[str]:
    """Parse the options and arguments of `command` into `ctx.params`; what is left over is returned."""
    try:
        metavars = {name: param.metavar for param in command.get_params(ctx) for name in param.opts}
        given, rest, order = command.make_parser(ctx).parse_args(args=with_empty_values(metavars, args))
    except ParserError as error:
        raise _usage(error, command, ctx) from None
    if given.get("help") is True:
        sys.stdout.write(ctx.get_help() + "\n")
        raise Ended
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


def _usage(error: Exception, command: Any, ctx: Any) -> UsageError:
    """What typer's parser says, in our words."""
    name = getattr(error, "option_name", None)
    if name is None:
        return UsageError(str(error), hint=usage_line(command, ctx))
    if hasattr(error, "possibilities"):
        known = [name for param in command.get_params(ctx) for name in (*param.opts, *param.secondary_opts)]
        return habits.wrong_option(name, known, ctx.command_path)
    return habits.misused_option(name, str(error), ctx.command_path)


class OneCommand(TyperCommand):
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


class CommandGroup(TyperGroup):
    """Commands under a name. Subclasses may find theirs late: `list_commands`, `get_command`, `summaries`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = _take(self, ctx, args)
        return list(ctx.args)

    def invoke(self, ctx: Any) -> Any:
        if self.callback is not None:
            ctx.invoke(self.callback, **ctx.params)
        if not ctx.args:
            sys.stderr.write(ctx.get_help() + "\n")
            raise Ended(2)
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
