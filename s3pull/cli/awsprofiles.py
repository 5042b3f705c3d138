"""The AWS side of `s3pull share`: `export --aws-profile` and `import --aws-profile`."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from s3pull.errors import UsageError

if TYPE_CHECKING:
    from s3pull.access.config import Share
    from s3pull.objects import Access


def export(share: str, called: str, config: Path | None, *, write: bool, replace: bool) -> None:
    """Print an AWS profile that reads a share, or `write` it into the AWS config file; '' is called as the share is."""
    from s3pull.access import awsconfig, profiles
    from s3pull.access.awsprofile import profile_settings
    from s3pull.cli import itself
    from s3pull.cli.options import AccessChoice
    from s3pull.pull.opening import find_access
    from s3pull.pull.source import parse_source

    spec = parse_source(share)
    if spec.share is None or spec.path:
        raise UsageError(f"{share!r} is not the name of a share", hint="s3pull share add remembers a source")
    name = called or spec.share
    awsconfig.check_name(name)
    access = find_access(AccessChoice(config=config), spec)
    settings = profile_settings(access, itself.words(config), name, profiles.load(os.environ), os.environ)
    if not write:
        sys.stdout.write(awsconfig.section_text(name, spec.share, settings))
        sys.stderr.write(
            f"s3pull: for {profiles.config_file(os.environ)}: --write puts it there\n{_hint(access, name)}"
        )
        return
    path = awsconfig.write_profile(name, spec.share, settings, os.environ, replace=replace)
    sys.stderr.write(f"s3pull: AWS profile {name} in {path} reads {spec.share}\n{_hint(access, name)}")


def _hint(access: Access, name: str) -> str:
    place = shlex.quote(f"s3://{access.bucket}/{access.prefix}")
    return f"hint: aws s3 ls {place} --profile {shlex.quote(name)}\n"


def found_share(profile: str, called: str | None, place: Mapping[str, object]) -> Share:
    """The share that an AWS profile with a role comes to. Where it is the profile does not say: `place` does, or a
    person is asked.

    Raises UsageError, CredentialsError (the terminal went away).
    """
    from s3pull.access import profiles
    from s3pull.access.awsprofile import share_settings
    from s3pull.access.config import share

    found = share_settings(profile, profiles.load(os.environ))
    name = called or re.sub(r"[^a-z0-9_-]", "-", profile.lower())
    made = share(
        name, {**(place or _asked_place(profile)), **found.settings}, lambda key: _place_of(key, profile, place)
    )
    if found.left_out:
        words = ", ".join(sorted(found.left_out))
        sys.stderr.write(f"s3pull: not taken from AWS profile {profile!r}, a share has no place for it: {words}\n")
    return made


def _place_of(key: str, profile: str, place: Mapping[str, object]) -> str:
    if not key:
        return "the share"
    return f"--{key.replace('_', '-')}" if key in place else f"AWS profile {profile!r}: {key}"


def _asked_place(profile: str) -> Mapping[str, object]:
    from s3pull.cli.shares import place_named
    from s3pull.cli.terminal import ask, can_ask

    if not can_ask():
        raise UsageError(
            f"AWS profile {profile!r} does not say which bucket", hint="--bucket NAME and --prefix TEXT do"
        )
    answer = ask(f"which bucket and prefix does AWS profile {profile!r} read (s3://bucket/prefix/)?")
    return {key: value for key, value in place_named(answer).items() if value is not None}
