"""The command line as a whole: which commands there are, what stands before them, and `main`.

To add a command: write a module with `app = App()` and functions under `@command(app)` (see `command`), and add its
line to COMMANDS. A module is imported when its command runs, and for nothing else: `s3pull --help` loads none.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from s3pull.cli import plain
from s3pull.cli.command import App, Said
from s3pull.cli.exits import guard
from s3pull.records import NamedTuple


class Entry(NamedTuple):
    """A command: its name, the module with its `app`, its panel and line in the help."""

    name: str
    module: str
    panel: str
    line: str

    @classmethod
    def called(cls, name: str) -> Entry | None:
        """The command of this name."""
        return next((entry for entry in COMMANDS if entry.name == name), None)

    def app(self) -> App:
        """What its module has; imports it."""
        found: App = importlib.import_module(f"s3pull.cli.{self.module}").app
        return found


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code, prints all there is to say. Arguments are never expanded here:
    on Windows, too, globs are ours."""
    args = list(sys.argv[1:] if argv is None else argv)
    return guard(args, lambda: _run(args))


def _run(args: list[str]) -> int | None:
    entry = Entry.called(args[0]) if args else None
    found = entry.app().find(args) if entry is not None else None
    if found is not None:
        command, words = found
        given = plain.read(command, words)
        if given is not None:
            return command.call(given.values, Said(order=given.order))
    from s3pull.cli.root import run

    return run(args)
