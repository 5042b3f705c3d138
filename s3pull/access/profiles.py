"""Reads the AWS profiles of `~/.aws/config` and `~/.aws/credentials` without botocore (0.3 s of a warm start).

Follows botocore's `configloader`: `[profile NAME]`, `[default]`, `[sso-session NAME]`, `[services NAME]`, one level
of nesting, `credentials` over `config`. It does not resolve credentials: `own` does, with botocore.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from s3pull.access import values
from s3pull.errors import UsageError
from s3pull.objects import Access
from s3pull.records import Record

Section = Mapping[str, str | Mapping[str, str]]

#: what makes a profile one that has credentials of its own
CREDENTIAL_KEYS = (
    "role_arn",
    "aws_access_key_id",
    "sso_session",
    "sso_start_url",
    "login_session",
    "credential_process",
    "web_identity_token_file",
)


_DEFAULT_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


class Profiles(Record):
    """All profiles as read. Sections may hold secrets: `repr` shows names only."""

    profiles: Mapping[str, Section] = MappingProxyType({})
    #: the part of `profiles` that stands in the credentials file
    shared: Mapping[str, Section] = MappingProxyType({})
    sso_sessions: Mapping[str, Section] = MappingProxyType({})
    services: Mapping[str, Section] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Profiles({sorted(self.profiles)})"

    def section(self, name: str) -> Section:
        """The profile's settings; empty where there is no such profile."""
        return self.profiles.get(name, {})

    def value(self, name: str, key: str) -> str | None:
        """One plain setting of a profile; None where it is missing, empty or nested."""
        found = self.section(name).get(key)
        return found if isinstance(found, str) and found else None

    def require(self, name: str) -> None:
        """Raises UsageError where there is no such profile."""
        if name not in self.profiles:
            near = nearest(name, self.profiles)
            hint = f"did you mean {near}?" if near else f"profiles: {', '.join(sorted(self.profiles)) or 'none'}"
            raise UsageError(f"no AWS profile {name!r}", hint=hint)

    def assumes_role(self, name: str) -> bool:
        """True where the profile's role is to be assumed with other credentials (a web-identity one is not)."""
        return bool(self.value(name, "role_arn")) and not self.value(name, "web_identity_token_file")

    def has_credentials(self, name: str) -> bool:
        """True where the profile itself says where credentials come from."""
        return any(self.value(name, key) for key in CREDENTIAL_KEYS)

    def from_us(self, name: str) -> bool:
        """True where the profile's keys come from s3pull itself: those can never be what s3pull asks with."""
        try:
            words = shlex.split(self.value(name, "credential_process") or "", posix=os.name != "nt")
        except ValueError:
            return False
        return "credentials" in words and any(Path(word.strip('"')).stem.lower() == "s3pull" for word in words)

    def has_keys(self, name: str) -> bool:
        """True where keys stand in the profile itself."""
        return bool(self.value(name, "aws_access_key_id") or self.value(name, "aws_secret_access_key"))

    def chain(self, name: str) -> tuple[str, ...]:
        """`name` and the profiles that it takes credentials from, in order. A profile may name itself, as in botocore,
        and the keys of a source win over its role.

        Raises UsageError for a source_profile that does not exist, and for a circle.
        """
        names = [name]
        while self.assumes_role(names[-1]) and (len(names) == 1 or not self.has_keys(names[-1])):
            source = self.value(names[-1], "source_profile")
            if source is None or source == names[-1]:
                break
            self.require(source)
            if source in names:
                raise UsageError(
                    f"AWS profiles go round in a circle: {' -> '.join([*names, source])}",
                    hint="one of them needs keys, or a credential_source, of its own",
                )
            names.append(source)
        return tuple(names)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """What somebody who wrote `name` may have meant."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def chosen(environ: Mapping[str, str]) -> str:
    """The profile that the environment names, or `default`; botocore's order."""
    return environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE") or "default"


def effective(profile: str | None, environ: Mapping[str, str]) -> str:
    """The profile in force: the explicit one, else the environment's."""
    return profile or chosen(environ)


def load(environ: Mapping[str, str]) -> Profiles:
    """Read both files; one that is missing or may not be read is empty, a malformed one raises UsageError."""
    config = _sections(config_file(environ))
    shared = _sections(_path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"))
    profiles: dict[str, Section] = {}
    sso_sessions: dict[str, Section] = {}
    services: dict[str, Section] = {}
    for title, section in config.items():
        for kind, target in (("sso-session", sso_sessions), ("services", services)):
            if title.startswith(kind) and (name := _name(title)):
                target[name] = section
        if name := profile_of(title):
            profiles[name] = section
    for title, section in shared.items():
        profiles[title] = {**profiles.get(title, {}), **section}
    return Profiles(profiles, shared, sso_sessions, services)


def config_file(environ: Mapping[str, str]) -> Path:
    """Where profiles are: AWS_CONFIG_FILE or `~/.aws/config`."""
    return _path(environ.get("AWS_CONFIG_FILE") or "~/.aws/config")


def profile_of(title: str) -> str | None:
    """The profile that a section of the config file is; None for one that is something else."""
    return title if title == "default" else _name(title) if title.startswith("profile") else None


def sts_region(access: Access, environ: Mapping[str, str], profiles: Profiles) -> str:
    """The region whose STS is asked: AWS_REGION, the profile's, else the partition's first, which nobody can disable.

    The bucket's may be one that the caller's account has not enabled; only an STS of one's own goes by it.
    """
    profile = effective(access.profile, environ)
    named = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or profiles.value(profile, "region")
    if named:
        return named
    if access.region and access.sts_endpoint_url is not None:
        return access.region
    return _DEFAULT_REGIONS.get(values.partition(access.role_arn), "us-east-1")


def reload(environ: Mapping[str, str], last: Profiles) -> Profiles:
    """Read both files again; `last` where one is malformed at the moment (somebody is writing it)."""
    try:
        return load(environ)
    except UsageError:
        return last


def _path(text: str) -> Path:
    # os.path and not pathlib, whose expanduser raises where there is no home
    return Path(os.path.expanduser(os.path.expandvars(text)))  # noqa: PTH111


def _name(title: str) -> str | None:
    try:
        parts = shlex.split(title)
    except ValueError:
        return None
    return parts[1] if len(parts) == 2 else None


def _sections(path: Path) -> dict[str, dict[str, str | Mapping[str, str]]]:
    try:
        return parse(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError:
        return {}
    except UnicodeDecodeError:
        raise _malformed(str(path)) from None


def parse(text: str, place: str) -> dict[str, dict[str, str | Mapping[str, str]]]:
    """The sections of an AWS file, as botocore reads it. Raises UsageError that names the line of what is wrong."""
    import configparser  # not for those who have no profiles

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # configparser's own message quotes the line, which may be a secret key
        line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", ())), None)
        raise _malformed(f"{place}, line {line}" if line else place) from None
    return {
        title: {key: _nested(value) if value.startswith("\n") else value for key, value in parser.items(title)}
        for title in parser.sections()
    }


def _malformed(where: str) -> UsageError:
    return UsageError(
        f"cannot read the AWS configuration: {where} is malformed", hint="a line is [profile NAME] or NAME = VALUE"
    )


def _nested(value: str) -> Mapping[str, str]:
    pairs = (line.partition("=") for line in value.splitlines() if line.strip())
    return {key.strip(): inner.strip() for key, _, inner in pairs}
