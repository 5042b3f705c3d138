"""`s3pull share`: sources that are remembered under a name.

External IDs are masked here, but for `export`, which exists to hand one over, and `import`, which shows what it takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from s3pull.cli import handed
from s3pull.cli.command import App, Argument, Choice, Option, command
from s3pull.cli.options import AccessChoice, ConfigChoice, ReportChoice, ShareName
from s3pull.errors import UsageError

if TYPE_CHECKING:
    from s3pull.access.config import Share
    from s3pull.cli.render import Output


class ProfileChoice(Choice):
    """What `import` is told of an AWS profile, and of where that leads."""

    aws_profile: Annotated[
        str | None,
        Option("--aws-profile", metavar="PROFILE", help="Make the share from this AWS profile, not from a file."),
    ] = None
    bucket: Annotated[str | None, Option("--bucket", metavar="NAME", help="The bucket that the profile reads.")] = None
    access_point: Annotated[
        str | None, Option("--access-point", metavar="ARN", help="Or the access point that it reads.")
    ] = None
    prefix: Annotated[
        str | None, Option("--prefix", metavar="TEXT", help="What all keys begin with, usually ending in /.")
    ] = None

    def place(self) -> dict[str, object]:
        """Where the objects are, as share keys."""
        return {"bucket": self.bucket, "access_point": self.access_point, "prefix": self.prefix}


MASK = "****"
_LARGEST = 64 * 1024
_SENT = "give the file that the data owner sent"

app = App(name="share", help="Remember sources under a name: NAME:path is then all there is to type.")


@command(app)
def add(
    name: ShareName,
    source: Annotated[
        str | None, Argument(metavar="SOURCE", help="s3://bucket/prefix, or s3:// and an access point's ARN.")
    ] = None,
    bucket: Annotated[str | None, Option("--bucket", metavar="NAME", help="The bucket, instead of SOURCE.")] = None,
    access_point: Annotated[
        str | None, Option("--access-point", metavar="ARN", help="The access point, instead of SOURCE.")
    ] = None,
    prefix: Annotated[
        str | None, Option("--prefix", metavar="TEXT", help="What all keys begin with, usually ending in /.")
    ] = None,
    replace: Annotated[bool, Option("--replace", help="Replace the share of this name.")] = False,
    *,
    access: AccessChoice,
) -> None:
    """Remember a source and how to get at it.

    \b
      s3pull share add acme s3://acme-exports/2026/ \\
             --role-arn arn:aws:iam::111122223333:role/acme-readers --external-id 9f4c…
    """
    from s3pull.access import config

    place: dict[str, object] = {"bucket": bucket, "access_point": access_point, "prefix": prefix}
    if source is not None:
        if bucket or access_point or prefix:
            raise UsageError("SOURCE and --bucket, --access-point or --prefix contradict each other", hint="give one")
        place = place_named(source)
    settings = {key: value for key, value in {**place, **access.values}.items() if value is not None}
    path = config.config_path(access.config, os.environ)
    config.save_share(path, config.share(name, settings, _called), replace=replace)
    sys.stderr.write(f"s3pull: {name} is remembered in {path}\nhint: s3pull ls {name}: shows what is there\n")


def _called(key: str) -> str:
    """Where a setting stood, for messages."""
    return "--" + key.replace("_", "-") if key else "the share"


def place_named(source: str) -> dict[str, object]:
    """The place of a share, from an s3:// source."""
    from s3pull.pull.source import Kind, parse_source

    spec = parse_source(source)
    if spec.bucket is None:
        raise UsageError(f"{source!r} is a share itself", hint="give s3://bucket/prefix")
    if spec.kind is Kind.GLOB:
        raise UsageError(f"a share cannot be a glob: {source!r}", hint="end the prefix before the first wildcard")
    where = "access_point" if spec.bucket.startswith("arn:") else "bucket"
    return {where: spec.bucket, "prefix": spec.key or None}


@command(app, "import")
def import_(
    file: Annotated[str | None, Argument(metavar="FILE", help="What the data owner sent; - is stdin.")] = None,
    name: Annotated[str | None, Option("--name", metavar="NAME", help="Call it this.")] = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    *,
    profile: ProfileChoice,
    config: ConfigChoice,
) -> None:
    """Remember the source that a data owner describes in a file (TOML), or an AWS profile with a role.

    It is shown first. A file that names another service than AWS, or a name that is taken, needs a yes.

    \b
      s3pull share import acme.toml
      s3pull share import --aws-profile acme-reader --bucket acme-exports --prefix 2026/
    """
    from s3pull.access import sharefile
    from s3pull.access.config import config_path, load, save_share
    from s3pull.cli.render import printable
    from s3pull.cli.terminal import confirm

    path = config_path(config.config, os.environ)
    found = _found(file, name, profile)
    preview = sharefile.preview(found, load(path))
    sys.stderr.write("".join(printable(line) + "\n" for line in preview.lines))
    for reason in preview.needs_consent:
        sys.stderr.write(f"s3pull: {printable(reason)}\n")
    if preview.needs_consent and not yes and not confirm(f"remember {found.name}?", instead="--yes"):
        raise UsageError(f"{found.name} is not remembered", hint="nothing was changed; --yes agrees ahead")
    save_share(path, found, replace=True)
    sys.stderr.write(
        f"s3pull: {found.name} is remembered in {path}\nhint: s3pull ls {found.name}: shows what is there\n"
    )


def _found(file: str | None, name: str | None, profile: ProfileChoice) -> Share:
    """The share that the file or the AWS profile describes."""
    from s3pull.access import sharefile

    if (file is None) == (profile.aws_profile is None):
        raise UsageError("share import needs a FILE or --aws-profile", hint="one of them")
    place = {key: value for key, value in profile.place().items() if value is not None}
    if file is not None:
        if place:
            raise UsageError("--bucket, --access-point and --prefix go with --aws-profile", hint="the file says where")
        return sharefile.read(_text(file), name=name)
    from s3pull.cli.awsprofiles import found_share

    return found_share(profile.aws_profile or "", name, place)


def _text(file: str) -> str:
    """The text of a share file, which is a stranger's: no more of it is read than one can need."""
    data = handed.read(file, _LARGEST, hint=_SENT)
    if len(data) > _LARGEST:
        raise UsageError(f"{file!r} is no share file: it is larger than {_LARGEST // 1024} KiB", hint=_SENT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file!r} is no share file: it is not UTF-8 text", hint=_SENT) from None


@command(app, "list")
def list_(*, config: ConfigChoice, output: ReportChoice) -> None:
    """List the shares."""
    from s3pull.cli.render import Output

    list_shares(config.config, Output(output))


def list_shares(config: Path | None, out: Output) -> None:
    """Print all shares: name, place and role, or one JSON object each."""
    from s3pull.cli.render import printable
    from s3pull.pull.opening import read_config

    found = read_config(config)
    if out.json:
        for share in found.shares.values():
            out.record(record(share))
        return
    if not found.shares:
        out.say(f"no shares in {found.path}", hint="s3pull share import FILE takes what the data owner sent")
        return
    rows = [(f"{one.name}:", place_of(one), one.role_arn or way_of(one)) for one in found.shares.values()]
    out.table([[printable(cell) for cell in row] for row in rows])


def place_of(share: Share) -> str:
    """`s3://bucket/prefix`"""
    return f"s3://{share.bucket or share.access_point}/{share.prefix or ''}"


def way_of(share: Share) -> str:
    """How a share without a role is reached."""
    if share.anonymous:
        return "anonymous"
    return f"profile {share.profile}" if share.profile else "own credentials"


def record(share: Share) -> dict[str, Any]:
    """A share as a line of JSON, its external ID masked."""
    from s3pull.events import SCHEMA

    return {"schema": SCHEMA, "share": share.name, **masked(share)}


def masked(share: Share) -> dict[str, Any]:
    """The settings of a share, its external ID masked."""
    return {key: MASK if key == "external_id" else value for key, value in share.settings().items()}


@command(app)
def show(name: ShareName, *, config: ConfigChoice, output: ReportChoice) -> None:
    """Show what is remembered of a share, its external ID masked."""
    from s3pull.cli.render import Output, printable
    from s3pull.pull.opening import read_config

    out = Output(output)
    share = read_config(config.config).share(name)
    if out.json:
        out.record(record(share))
        return
    for key, value in masked(share).items():
        out.line(printable(f"{key} = {value}"))


@command(app)
def remove(name: ShareName, *, config: ConfigChoice) -> None:
    """Forget a share. What was downloaded and what is cached stays (see logout)."""
    from s3pull.access.config import config_path, remove_share

    path = config_path(config.config, os.environ)
    remove_share(path, name)
    sys.stderr.write(f"s3pull: {name} is forgotten in {path}\n")


@command(app)
def export(
    name: ShareName,
    aws_profile: Annotated[
        str | None,
        Option(
            "--aws-profile", metavar="[PROFILE]", help="Print an AWS profile that reads it; called as it is, or this."
        ),
    ] = None,
    write: Annotated[bool, Option("--write", help="Put the AWS profile into ~/.aws/config (AWS_CONFIG_FILE).")] = False,
    replace: Annotated[
        bool, Option("--replace", help="Replace an AWS profile that s3pull did not write, too.")
    ] = False,
    *,
    config: ConfigChoice,
) -> None:
    """Print a share for somebody else, or as an AWS profile for other tools of yours.

    As a file for `share import` it has the source and its role, the external ID too, and nothing of your own. As an
    AWS profile it gives aws-cli, boto3, DuckDB, Polars, rclone and what else knows profiles the same narrowed, cached
    session that s3pull uses (by credential_process).

    \b
      s3pull share export acme > acme.toml
      s3pull share export acme --aws-profile            print the profile "acme"
      s3pull share export acme --aws-profile --write    put it into ~/.aws/config
    """
    if aws_profile is not None:
        from s3pull.cli import awsprofiles

        awsprofiles.export(name, aws_profile, config.config, write=write, replace=replace)
        return
    if write or replace:
        raise UsageError("--write and --replace go with --aws-profile", hint="a file for others is printed: > FILE")
    from s3pull.access import sharefile
    from s3pull.pull.opening import read_config

    sys.stdout.write(sharefile.export(read_config(config.config).share(name)))
