"""What stands before the commands, and the whole command line as typer has it: help, mistakes, `--version`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from s3pull import __version__
from s3pull.cli.app import COMMANDS, Entry
from s3pull.cli.command import Said
from s3pull.cli.exits import Ended
from s3pull.cli.parser import CommandGroup, group_of, single, typer_app


class Root(CommandGroup):
    """The commands of COMMANDS, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        entry = Entry.called(cmd_name)
        if entry is None:
            return None
        app = entry.app()
        return group_of(app) if app.name == cmd_name else single(app.commands[cmd_name])

    def summaries(self, ctx: Any) -> Iterable[tuple[str, str, str]]:  # noqa: ARG002
        return [(entry.panel, entry.name, entry.line) for entry in COMMANDS]


def _root(
    ctx: typer.Context,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Configuration file [env: S3PULL_CONFIG].")
    ] = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more.")] = 0,
    version: Annotated[bool, typer.Option("--version", help="Print the version; with -v what it runs on.")] = False,
) -> None:
    """Download from S3 buckets that belong to somebody else.

    The data owner gives you a role (and often an external ID); s3pull assumes it, downloads, resumes what was cut off
    and checks every byte. It never writes to S3.

    \b
      s3pull share import acme.toml     what the data owner sent you
      s3pull ls acme:                   what is there
      s3pull get acme:2026/             download it; run it again to go on
    """
    file = Path(config) if config is not None else None
    if version:
        from s3pull.cli.about import about

        sys.stdout.write(about(file) if verbose else f"s3pull {__version__}\n")
        raise Ended
    ctx.obj = Said(config=file, verbose=verbose or 0)


def root() -> Any:
    """typer's own view of all commands."""
    app = typer_app(cls=Root)
    app.callback(cls=Root)(_root)
    return get_command(app)


def run(args: list[str]) -> int | None:
    """Run one command line; returns the exit code, None for 0."""
    command = root()
    with command.make_context("s3pull", args) as ctx:
        result: int | None = command.invoke(ctx)
        return result
