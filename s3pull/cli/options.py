"""The options that commands share, as records, and the parsers of their values.

A command names the records in its signature and gets them filled (see `command`). Access options are generated from
`access.options.ACCESS_OPTIONS`, the one table that config keys and environment variables come from as well; their
values are judged there, not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self

from s3pull.cli.command import Argument, Choice, Option, Parameter, Said

TRANSFER = "Transfer"
TRANSFER_ADVANCED = f"{TRANSFER}, advanced"
FILTERS = "Filters"
OUTPUT = "Output"

# --- values -----------------------------------------------------------------------------------------------

_SIZE = r"(?ia)(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b)?(?:/s)?"
_SPAN = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def size(text: str) -> int:
    """Bytes. `50M` and `50MiB` are 50 x 2^20, as curl and rclone have it; `50MB` is 50 x 10^6. Raises ValueError."""
    match = re.fullmatch(_SIZE, text.strip())
    if match is None:
        raise ValueError("not a size like 50M, 1.5MiB or 200kB")
    number, unit, suffix = float(match[1]), match[2].lower(), (match[3] or "").lower()
    base = 1000 if suffix == "b" else 1024
    return round(number * float(base ** "_kmgtp".index(unit or "_")))


def rate(text: str) -> int:
    """Bytes a second, at least 1. Raises ValueError."""
    value = size(text)
    if value < 1:
        raise ValueError("a rate must be more than 0")
    return value


def span(text: str) -> float:
    """Seconds: `30m`, `1.5h`, `90`, `1h30m`. Raises ValueError."""
    text = text.strip().lower()
    if not re.fullmatch(rf"[0-9]+|(?:{_SPAN})+", text, re.ASCII):
        raise ValueError("not a duration like 30m, 1h or 90s")
    return (
        float(text)
        if text.isdecimal()
        else sum(float(n) * _SECONDS[unit] for n, unit in re.findall(_SPAN, text, re.ASCII))
    )


def number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`."""
    bounds = f"{least} or more" if most is None else f"{least} to {most}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least or (most is not None and int(text) > most):
            raise ValueError(f"not a whole number, {bounds}")
        return int(text)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """A parser that takes these words alone."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
        return text

    return parse


# --- arguments --------------------------------------------------------------------------------------------

Source = Annotated[str, Argument(metavar="SOURCE", help="NAME, NAME:path, NAME:2026/*.parquet, or s3://bucket/path.")]
OptionalSource = Annotated[
    str | None,
    Argument(metavar="SOURCE", help="NAME, NAME:path or s3://bucket/path; the shares where none is given."),
]
Dest = Annotated[
    str | None,
    Argument(metavar="DEST", help="A folder, a file name, or - for stdout; the name of the source if not given."),
]
ShareName = Annotated[str, Argument(metavar="NAME", help="The name of a share.")]


# --- records ----------------------------------------------------------------------------------------------


class ConfigChoice(Choice):
    """Which configuration file; None is the user's own."""

    config: Annotated[
        Path | None,
        Option("--config", metavar="FILE", help="Configuration file [env: S3PULL_CONFIG].", panel="Options"),
        Path,
    ] = None

    @classmethod
    def collect(cls, values: Mapping[str, Any], said: Said) -> Self:
        return cls(config=values["config"] or said.config)


class AccessChoice(Choice):
    """How to get at a source: what was given as options, by name of `ACCESS_OPTIONS`; the rest is found later."""

    values: Mapping[str, object] = MappingProxyType({})
    config: Path | None = None

    @classmethod
    def parameters(cls) -> list[Parameter]:
        return [*_access_parameters(), *ConfigChoice.parameters()]

    @classmethod
    def collect(cls, values: Mapping[str, Any], said: Said) -> Self:
        given = {name: value for name, value in values.items() if name != "config" and value not in (None, ())}
        return cls(values=given, config=values["config"] or said.config)


class TransferChoice(Choice):
    """How bytes are moved and files are written. `limit_rate` is bytes a second for the whole process."""

    jobs: Annotated[
        int | None,
        Option(
            "--jobs", metavar="N", help="Connections at most; found by measuring if not given.",
            panel=TRANSFER,
        ),
        number(1, 1024),
    ] = None  # fmt: skip
    limit_rate: Annotated[
        int | None,
        Option(
            "--limit-rate", metavar="RATE", help="Bytes a second, all connections together: 50M, 1.5MiB.",
            panel=TRANSFER,
        ),
        rate,
    ] = None  # fmt: skip
    require_checksum: Annotated[
        bool,
        Option(
            "--require-checksum", help="Refuse objects whose bytes cannot be proven right (exit 6).",
            panel=TRANSFER,
        ),
    ] = False  # fmt: skip
    checksums: Annotated[
        str | None,
        Option(
            "--checksums", metavar="FILE",
            help="Hold every file to this SHA256SUMS, a key below SOURCE or ./FILE here (exit 6).",
            panel=TRANSFER,
        ),
    ] = None  # fmt: skip
    encode_names: Annotated[
        bool,
        Option(
            "--encode-names", help="Percent-encode what a file name here cannot hold, instead of refusing it.",
            panel=TRANSFER_ADVANCED,
        ),
    ] = False  # fmt: skip
    fail_fast: Annotated[
        bool,
        Option(
            "--fail-fast", help="Stop at the first object that fails.", panel=TRANSFER_ADVANCED
        ),
    ] = False  # fmt: skip
    durable: Annotated[
        bool,
        Option(
            "--durable/--no-durable", help="Sync files to the disk before they get their names (default: yes).",
            panel=TRANSFER_ADVANCED,
        ),
    ] = True  # fmt: skip


class FilterChoice(Choice):
    """`--include` and `--exclude` in the order in which they were given: (is an include, pattern)."""

    rules: tuple[tuple[bool, str], ...] = ()

    @classmethod
    def parameters(cls) -> list[Parameter]:
        return [
            Parameter(name, _filter_option(name, text), list, None)
            for name, text in (
                ("include", "Take what matches; the last match wins. Without a / it is the file's name. Repeatable."),
                ("exclude", "Leave out what matches. Repeatable."),
            )
        ]

    @classmethod
    def collect(cls, values: Mapping[str, Any], said: Said) -> Self:
        waiting = {name: iter(values[name]) for name in ("include", "exclude")}
        order = [name for name in said.order if name in waiting]
        return cls(rules=tuple((name == "include", next(waiting[name])) for name in order))


def _filter_option(name: str, text: str) -> Any:
    return Option(f"--{name}", metavar="PATTERN", help=text, panel=FILTERS)


class ReportChoice(Choice):
    """What a command that prints a report says, and how."""

    json: Annotated[bool, Option("--json", help="JSON on stdout, one object a line.", panel=OUTPUT)] = False
    verbose: Annotated[
        int,
        Option("-v", "--verbose", count=True, help="Say more: notes, skipped objects, request IDs.", panel=OUTPUT),
    ] = 0

    @classmethod
    def collect(cls, values: Mapping[str, Any], said: Said) -> Self:
        return cls(**{**values, "verbose": (values["verbose"] or 0) + said.verbose})


class QuietChoice(ReportChoice):
    """The same of a command that may be told to say nothing else."""

    quiet: Annotated[bool, Option("-q", "--quiet", help="Say nothing unless something fails.", panel=OUTPUT)] = False


class OutputChoice(QuietChoice):
    """What a run says, and how. `progress` None: bars where stderr is a terminal, nothing elsewhere."""

    progress: Annotated[
        bool | None,
        Option(
            "--progress/--no-progress", help="Bars on a terminal (default), a line every 30 s elsewhere.",
            panel=OUTPUT,
        ),
    ] = None  # fmt: skip
    no_color: Annotated[bool, Option("--no-color", help="No colours [env: NO_COLOR].", panel=OUTPUT)] = False


def _access_parameters() -> list[Parameter]:
    """One option for each row of `ACCESS_OPTIONS`; its text goes to `access.options.resolve` as it is."""
    from s3pull.access.options import ACCESS_OPTIONS

    kinds: dict[str, type] = {"flag": bool, "switch": bool, "pairs": list}
    return [
        Parameter(
            row.name,
            Option(
                f"{row.flag}/{row.off}" if row.off else row.flag,
                metavar=row.metavar,
                help=row.help,
                panel=row.panel,
            ),
            kinds.get(row.kind, str),
            None,
        )
        for row in ACCESS_OPTIONS
    ]
