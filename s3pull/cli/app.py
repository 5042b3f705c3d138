"""The command line as a whole: which commands there are, what stands before them, and `main`.

To add a command: write a module with `app = new_app()` and functions under `@command(app)` (see `command`), and add
its line to COMMANDS. A module is imported when its command runs, and for nothing else: `s3pull --help` loads none.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.main import get_command

from s3pull import __version__
from s3pull.cli.command import Group, flat, new_app
from s3pull.cli.exits import guard
from s3pull.cli.options import Globals


class Entry(NamedTuple):
    """A command: its name, the module with its `app`, its panel and line in the help."""

    name: str
    module: str
    panel: str
    line: str


_PULL, _KNOW, _OTHER = "Download", "Sources and access", "Other"

COMMANDS = (
    Entry("get", "get", _PULL, "download an object, a tree or a glob; resumes by itself"),
    Entry("sync", "sync", _PULL, "make a folder mirror a source, fetching only what changed"),
    Entry("verify", "verify", _PULL, "check that files are what they were when they were fetched"),
    Entry("lock", "lock", _PULL, "write down exactly what a source has, for sync --locked"),
    Entry("ls", "ls", _PULL, "list shares and objects"),
    Entry("cat", "cat", _PULL, "write one object to stdout, verified"),
    Entry("schedule", "schedule", _PULL, "print what runs a sync regularly, for cron or systemd"),
    Entry("share", "shares", _KNOW, "remember sources: add, import, list, show, remove, export"),
    Entry("policy", "policy", _KNOW, "print or check the documents that grant a share"),
    Entry("login", "sessions", _KNOW, "assume a share's role now (asks for MFA once)"),
    Entry("logout", "sessions", _KNOW, "forget cached sessions"),
    Entry("status", "sessions", _KNOW, "who am I, and which sessions are cached"),
    Entry("doctor", "doctor", _KNOW, "which link of the chain is broken, who must fix it, what to paste"),
    Entry("credentials", "sessions", _OTHER, "print a share's session for other tools"),
    Entry("demo", "demo", _OTHER, "show all of it on this machine, without an AWS account"),
)


class Root(Group):
    """The commands of COMMANDS, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = next((entry for entry in COMMANDS if entry.name == cmd_name), None)
        if entry is None:
            return None
        found: Any = get_command(importlib.import_module(f"s3pull.cli.{entry.module}").app)
        if isinstance(found, Group) and found.name != cmd_name:
            return found.get_command(ctx, cmd_name)
        return found

    def summaries(self, ctx: Any) -> Iterable[tuple[str, str, str]]:  # noqa: ARG002
        return [(entry.panel, entry.name, entry.line) for entry in COMMANDS]


def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Configuration file [env: S3PULL_CONFIG]."),
        Path,
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
    if version:
        from s3pull.cli.about import about

        sys.stdout.write(about(config) if verbose else f"s3pull {__version__}\n")
        raise typer.Exit
    ctx.obj = Globals(config=config, verbose=verbose or 0)


app = new_app(cls=Root)
app.callback(cls=Root)(flat(root))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code, prints all there is to say. Arguments are never expanded here:
    on Windows, too, globs are ours."""
    args = list(sys.argv[1:] if argv is None else argv)
    return guard(args, lambda: _run(args))


def _run(args: list[str]) -> int | None:
    command: Any = get_command(app)
    with command.make_context("s3pull", args) as ctx:
        result: int | None = command.invoke(ctx)
        return result
