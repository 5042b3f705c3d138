"""`s3pull schedule`: the line for cron, or the units for systemd, that run a `sync -q`.

It prints and installs nothing. What it prints names a share and no more: no role, no external ID, no secret.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from s3pull.cli import itself, timetable
from s3pull.cli.command import App, Argument, Choice, Option, command
from s3pull.cli.options import ConfigChoice, FilterChoice, Source, number, one_of, rate, span
from s3pull.errors import UsageError
from s3pull.pull.shards import parse_shard
from s3pull.pull.workers import parse_workers

if TYPE_CHECKING:
    from s3pull.pull.source import SourceSpec

app = App()
RUN = "Passed on to sync"
#: what access depends on and neither cron nor systemd will set: what s3pull reads itself, and what botocore does for it
_AMBIENT = re.compile(
    r"AWS_(PROFILE|DEFAULT_PROFILE|REGION|DEFAULT_REGION|CONFIG_FILE|SHARED_CREDENTIALS_FILE|LOGIN_CACHE_DIRECTORY"
    r"|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|CREDENTIAL_EXPIRATION|ROLE_ARN|ROLE_SESSION_NAME"
    r"|WEB_IDENTITY_TOKEN_FILE|CONTAINER_\w+|EC2_METADATA_\w+|METADATA_SERVICE_\w+|CA_BUNDLE|ENDPOINT_URL\w*"
    r"|IGNORE_CONFIGURED_ENDPOINT_URLS|USE_\w+|S3_\w+|STS_\w+|ACCOUNT_ID_ENDPOINT_MODE)"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|S3PULL_(?!CONFIG$)\w+"
)


def _every(text: str) -> int:
    return timetable.minutes(span(text))


def _as_typed(read: Callable[[str], object]) -> Callable[[str], str]:
    """A parser of what sync would read so: it is passed on as it was typed."""

    def parse(text: str) -> str:
        read(text)
        return text

    return parse


def _limit(text: str) -> object:
    from s3pull.pull.guard import parse_limit

    return parse_limit(text)


def _file(text: str) -> str:
    if not text:
        raise ValueError("names no file")
    return str(Path(text).absolute())


def _list(text: str) -> str:
    """A list of checksums: a file here from the root on, a key of the source as it is."""
    from s3pull.pull.sumfile import local_file

    here = local_file(text)
    return str(here.absolute()) if here is not None else text


class RunChoice(Choice):
    """What the scheduled sync is told beside source and destination, as text: the options of sync in their order."""

    delete: Annotated[bool, Option("--delete", help="Remove files whose objects are gone.", panel=RUN)] = False
    max_delete: Annotated[
        str | None,
        Option("--max-delete", metavar="N|P%", help="Delete no more than this.", panel=RUN),
        _as_typed(_limit),
    ] = None
    publish: Annotated[bool, Option("--publish", help="Whole releases: DEST/current is swapped.", panel=RUN)] = False
    keep: Annotated[
        str | None,
        Option("--keep", metavar="N", help="Releases to keep, at least 2.", panel=RUN),
        _as_typed(number(2)),
    ] = None
    grace: Annotated[
        str | None,
        Option("--grace", metavar="SPAN", help="Keep a release so long after its successor came.", panel=RUN),
        _as_typed(span),
    ] = None
    deadline: Annotated[
        str | None,
        Option("--deadline", metavar="SPAN", help="Stop after so long; the next run goes on.", panel=RUN),
        _as_typed(span),
    ] = None
    wait: Annotated[
        str | None,
        Option("--wait", metavar="SPAN", help="Wait so long for another run.", panel=RUN),
        _as_typed(span),
    ] = None
    locked: Annotated[
        str | None,
        Option("--locked", metavar="FILE", help="Pull exactly what this manifest of s3pull lock says.", panel=RUN),
        _file,
    ] = None
    metrics: Annotated[
        str | None,
        Option("--metrics", metavar="FILE", help="Write what the run came to for Prometheus.", panel=RUN),
        _file,
    ] = None
    shard: Annotated[
        str | None,
        Option("--shard", metavar="I/N", help="Only part I (from 0) of N.", panel=RUN),
        _as_typed(parse_shard),
    ] = None
    dask: Annotated[
        str | None,
        Option("--dask", metavar="URL", help="Let Dask workers fetch.", panel=RUN),
        _as_typed(parse_workers),
    ] = None
    jobs: Annotated[
        str | None,
        Option("--jobs", metavar="N", help="Connections at most.", panel=RUN),
        _as_typed(number(1, 1024)),
    ] = None
    limit_rate: Annotated[
        str | None,
        Option("--limit-rate", metavar="RATE", help="Bytes a second: 50M, 1.5MiB.", panel=RUN),
        _as_typed(rate),
    ] = None
    require_checksum: Annotated[
        bool,
        Option("--require-checksum", help="Refuse objects that cannot be proven right.", panel=RUN),
    ] = False
    checksums: Annotated[
        str | None,
        Option("--checksums", metavar="FILE", help="Hold every file to this SHA256SUMS.", panel=RUN),
        _list,
    ] = None
    encode_names: Annotated[
        bool,
        Option("--encode-names", help="Percent-encode what a file name cannot hold.", panel=RUN),
    ] = False
    fail_fast: Annotated[bool, Option("--fail-fast", help="Stop at the first object that fails.", panel=RUN)] = False
    durable: Annotated[
        bool,
        Option("--durable/--no-durable", help="Sync files to the disk before they get their names.", panel=RUN),
    ] = True

    def words(self) -> list[str]:
        """As options of sync. Raises UsageError where they contradict each other, as sync would."""
        from s3pull.pull.guard import EXCLUSIVE, check_options

        check_options(**{name: getattr(self, name) for name in EXCLUSIVE})
        found: list[str] = []
        for field in self.fields():
            value, name = getattr(self, field), field.replace("_", "-")
            if value == getattr(type(self), field):
                continue
            found += [f"--{name}", value] if isinstance(value, str) else [f"--{name}" if value else f"--no-{name}"]
        return found


def _filter_words(filters: FilterChoice) -> list[str]:
    """Filters in their order, which counts. Raises UsageError for a pattern that is none."""
    from s3pull.pull.globs import Filters

    Filters(filters.rules)
    names = {True: "--include", False: "--exclude"}
    return [word for included, pattern in filters.rules for word in (names[included], pattern)]


@command(app)
def schedule(
    source: Source,
    dest: Annotated[str, Argument(metavar="DEST", help="The folder that will mirror it.")],
    every: Annotated[int, Option("--every", metavar="SPAN", help="How often: 15m, 1h (default), 1d."), _every] = 60,
    format: Annotated[  # noqa: A002  (the option's name)
        str,
        Option("--format", metavar="cron|systemd", help="A crontab line (default), or two units."),
        one_of("cron", "systemd"),
    ] = "cron",
    *,
    run: RunChoice,
    filters: FilterChoice,
    config: ConfigChoice,
) -> None:
    """Print what runs a sync regularly: a line for cron, or two units for systemd. Installs nothing.

    SOURCE is a share, so that no role and no external ID stands in a crontab.

    \b
      s3pull schedule acme: /data/acme --every 6h --deadline 5h
      s3pull schedule acme:2026/ /data/2026 --every 1d --format systemd --delete
    """
    from s3pull.pull.opening import read_config
    from s3pull.pull.source import parse_source

    spec = parse_source(source)
    folder = _folder(dest)
    share = _share(spec)
    read_config(config.config).share(share)
    words = itself.words(config.config)
    words += ["sync", "-q", *run.words(), *_filter_words(filters), source, folder]
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
    names = [name for name, value in environ.items() if value and _AMBIENT.fullmatch(name)]
    if not names:
        return ""
    return (
        f"s3pull: set here, and not where it will run: {', '.join(sorted(names))}\n"
        "hint: what access needs belongs into the share, for example s3pull share add --profile; the rest into the\n"
        "hint: crontab (NAME=value above the line) or the unit (Environment=, EnvironmentFile=)\n"
    )
