"""`s3pull schedule`: the line for cron, or the units for systemd, that run a `sync -q`.

It prints and installs nothing. What it prints names a share and no more: no role, no external ID, no secret.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s3pull.cli import timetable
from s3pull.cli.command import Choice, command, new_app
from s3pull.cli.options import ConfigChoice, Source, number, one_of, span
from s3pull.errors import UsageError

if TYPE_CHECKING:
    from s3pull.pull.source import SourceSpec

app = new_app()
RUN = "Passed on to sync"
#: what access depends on and neither cron nor systemd will set
_AMBIENT = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE")


def _every(text: str) -> int:
    return timetable.minutes(span(text))


def _span_text(text: str) -> str:
    """Passed on as it was typed."""
    span(text)
    return text


@dataclass(frozen=True, slots=True)
class RunChoice(Choice):
    """What the scheduled sync is told beside source and destination."""

    delete: Annotated[
        bool, typer.Option("--delete", help="Remove files whose objects are gone.", rich_help_panel=RUN)
    ] = False
    publish: Annotated[
        bool, typer.Option("--publish", help="Whole releases: DEST/current is swapped.", rich_help_panel=RUN)
    ] = False
    keep: Annotated[
        int | None,
        typer.Option("--keep", metavar="N", help="Releases to keep, at least 2.", rich_help_panel=RUN),
        number(2),
    ] = None
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline", metavar="SPAN", help="Stop after so long; the next run goes on.", rich_help_panel=RUN
        ),
        _span_text,
    ] = None
    wait: Annotated[
        str | None,
        typer.Option("--wait", metavar="SPAN", help="Wait so long for another run.", rich_help_panel=RUN),
        _span_text,
    ] = None

    def words(self) -> list[str]:
        """As options of sync. Raises UsageError where they contradict each other."""
        if self.keep is not None and not self.publish:
            raise UsageError("--keep goes with --publish", hint="give --publish, too")
        flags = [flag for flag, on in (("--delete", self.delete), ("--publish", self.publish)) if on]
        values = (("--keep", self.keep), ("--deadline", self.deadline), ("--wait", self.wait))
        return flags + [word for flag, value in values if value is not None for word in (flag, str(value))]


@command(app)
def schedule(
    source: Source,
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The folder that will mirror it.")],
    every: Annotated[
        int, typer.Option("--every", metavar="SPAN", help="How often: 15m, 1h (default), 1d."), _every
    ] = 60,
    format: Annotated[  # noqa: A002  (the option's name)
        str,
        typer.Option("--format", metavar="cron|systemd", help="A crontab line (default), or two units."),
        one_of("cron", "systemd"),
    ] = "cron",
    *,
    run: RunChoice,
    config: ConfigChoice,
) -> None:
    """Print what runs a sync regularly: a line for cron, or two units for systemd. Installs nothing.

    SOURCE is a share, so that no role and no external ID stands in a crontab.

    \b
      s3pull schedule acme: /data/acme --every 6h --deadline 5h
      s3pull schedule acme:2026/ /data/2026 --every 1d --format systemd --delete
    """
    from s3pull.cli.wiring import read_config
    from s3pull.pull.source import parse_source

    spec = parse_source(source)
    folder = _folder(dest)
    share = _share(spec)
    read_config(config.config).share(share)
    words = [*program(sys.argv[0], shutil.which("s3pull"), sys.executable), *_config_words(config.config, os.environ)]
    words += ["sync", "-q", *run.words(), source, folder]
    at = timetable.offset(every, source, folder)
    if format == "cron":
        text = timetable.cron_line(words, every, at) + "\n"
        said = "this line is for your crontab; nothing was installed\nhint: crontab -e opens it\n"
    else:
        name = f"s3pull-{share}-{timetable.offset(1 << 24, source, folder):06x}"
        text = _units(name, words, every, at, share)
        said = _how_to_install(name)
    sys.stdout.write(text)
    sys.stderr.write(f"s3pull: {said}{_missing(os.environ)}")


def _share(spec: SourceSpec) -> str:
    if spec.share is None:
        raise UsageError(
            f"only a share can be scheduled, not {spec.text!r}",
            hint=f"s3pull share add NAME {spec.text} remembers it with its role; then schedule NAME:",
        )
    return spec.share


def _folder(dest: str) -> str:
    """DEST from the root on, links in it not resolved."""
    from s3pull.pull.source import is_remote

    if is_remote(dest):
        raise UsageError("s3pull only downloads", hint="DEST is a local folder (./name:x for a name with a colon)")
    if dest in ("", "-"):
        raise UsageError("DEST must be a folder", hint="a sync mirrors SOURCE into a folder")
    return str(Path(dest).absolute())


def program(started_as: str, found: str | None, python: str) -> list[str]:
    """The words that start s3pull from anywhere: the command that is running, else the one on PATH, else a module."""
    if Path(started_as).stem == "s3pull" and Path(started_as).is_file():
        return [str(Path(started_as).absolute())]
    if Path(started_as).name != "__main__.py" and found is not None:
        return [str(Path(found).absolute())]
    return [python, "-m", "s3pull"]


def _config_words(given: Path | None, environ: Mapping[str, str]) -> list[str]:
    """`--config FILE`, unless it is the one that is found where nothing is set."""
    from s3pull.access.config import config_path

    if given is None and not any(environ.get(name) for name in ("S3PULL_CONFIG", "XDG_CONFIG_HOME")):
        return []
    return ["--config", str(config_path(given, environ).absolute())]


def _units(name: str, words: list[str], every: int, at: int, share: str) -> str:
    what = f"s3pull sync of the share {share}"
    service = timetable.service(words, what)
    timer = timetable.timer(every, at, f"{what}, every {timetable.human(every)}")
    return f"# {name}.service\n{service}\n# {name}.timer\n{timer}"


def _how_to_install(name: str) -> str:
    return (
        f"these are two files, {name}.service and {name}.timer; nothing was installed\n"
        "hint: for yourself, put them into ~/.config/systemd/user; then\n"
        f"hint:   systemctl --user daemon-reload && systemctl --user enable --now {name}.timer\n"
        "hint:   (loginctl enable-linger lets it run while you are logged out)\n"
        "hint: for the system, put them into /etc/systemd/system, with User=NAME below [Service]; then\n"
        f"hint:   systemctl daemon-reload && systemctl enable --now {name}.timer\n"
    )


def _missing(environ: Mapping[str, str]) -> str:
    """What is set here and will not be set there. The values stay where they are."""
    names = [name for name in environ if name in _AMBIENT or (name.startswith("S3PULL_") and name != "S3PULL_CONFIG")]
    if not names:
        return ""
    return (
        f"s3pull: set here, and not where it will run: {', '.join(sorted(names))}\n"
        "hint: what access needs belongs into the share, for example s3pull share add --profile\n"
    )
