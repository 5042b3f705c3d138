"""The own credentials: those of the account that asks, before any role of a data owner is assumed.

Keys that lie open (environment, credentials file) are read without botocore; everything else (SSO, web identity,
containers, instances, credential processes) is botocore's chain. A role that an AWS profile assumes on the way is
assumed here, so that an MFA code is asked for in one place. The data owner's role is `assume`'s.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from s3pull.access import sts, values
from s3pull.access.profiles import Profiles, effective
from s3pull.access.values import Wrong
from s3pull.errors import AccessDenied, CredentialsError, UsageError
from s3pull.objects import Access, Credentials
from s3pull.records import NamedTuple

Prompt = Callable[[str], str]

_WRONG_CODE = "MultiFactorAuthentication failed"
_TRIES = 3
_PROVIDERS = {"Environment": "env", "Ec2InstanceMetadata": "iam-role", "EcsContainer": "container-role"}
#: seconds before its end at which a role on the way is assumed again
_MARGIN = 60


class Own(Protocol):
    """Own credentials, renewed by themselves where they can be."""

    def current(self) -> Credentials: ...


class Plain:
    """Keys that lie open."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def current(self) -> Credentials:
        return self._credentials


class Chain:
    """What botocore's chain found; botocore renews it."""

    def __init__(self, found: Any, profile: str) -> None:
        self._found = found
        self._profile = profile

    def current(self) -> Credentials:
        with sts.translated("cannot renew your own credentials", profile=self._profile):
            frozen = self._found.get_frozen_credentials()
        ends = getattr(self._found, "_expiry_time", None)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, ends.timestamp() if ends else None)


class ProfileRole:
    """The role of an AWS profile, assumed with the profile's source. Not narrowed: it is there to assume another."""

    def __init__(self, name: str, source: Own, finder: Finder) -> None:
        self._name, self._source, self._finder = name, source, finder
        self._held: Credentials | None = None
        self._guard = threading.Lock()

    def current(self) -> Credentials:
        with self._guard:
            if self._held is None or (self._held.expires or 0) - _MARGIN < time.time():
                profiles = self._finder.profiles
                serial = profiles.value(self._name, "mfa_serial")
                require_person(serial, self._finder.prompt)
                client = sts.Sts(self._finder.access, self._source.current(), self._finder.environ, profiles)
                parameters = profile_role_parameters(self._name, profiles)
                self._held = with_code(client.assume_role, parameters, serial, self._finder.prompt).credentials
            return self._held


class Finder(NamedTuple):
    """Looks for own credentials: what is asked for, where to look, and whom to ask for MFA codes."""

    access: Access
    environ: Mapping[str, str]
    profiles: Profiles
    prompt: Prompt | None = None

    def find(self) -> Own:
        """The own credentials. Where the role to assume is the profile's own, the profile's source, else all of it."""
        name = effective(self.access.profile, self.environ)
        if self.access.role_arn and self.access.origins.get("role_arn") == "profile":
            return self.source_of(name)
        self._refuse_ours(name)
        keys_win = not self.access.profile and self.environ.get("AWS_ACCESS_KEY_ID")
        if self.profiles.assumes_role(name) and not keys_win:
            return ProfileRole(name, self.source_of(name), self)
        open_keys = lying_open(self.access, self.environ, self.profiles)
        return Plain(open_keys) if open_keys else _chain(self.access.profile, name)

    def source_of(self, name: str) -> Own:
        """What a profile's role is assumed with: source_profile, credential_source, or its own keys (named itself)."""
        source = self.profiles.value(name, "source_profile")
        kind = self.profiles.value(name, "credential_source")
        if source and kind:
            raise UsageError(
                f"AWS profile {name!r} has both source_profile and credential_source", hint="keep one of them"
            )
        if source:
            # a missing source or a circle is named here
            self.profiles.chain(name)
            return self._as_source(source, itself=source == name)
        if kind:
            return _by_source(name, kind)
        raise UsageError(
            f"AWS profile {name!r} has a role_arn and nothing to assume it with",
            hint="give it a source_profile or a credential_source",
        )

    def _refuse_ours(self, name: str) -> None:
        """A profile whose keys come from s3pull would start one s3pull after the other, without end."""
        if self.profiles.from_us(name) and (self.access.profile or not self.environ.get("AWS_ACCESS_KEY_ID")):
            raise UsageError(
                f"AWS profile {name!r} gets its keys from s3pull: s3pull itself needs other ones",
                hint="unset AWS_PROFILE, or --profile NAME with your own credentials",
            )

    def _as_source(self, name: str, *, itself: bool) -> Own:
        if (static := _static(name, self.profiles)) is not None:
            return Plain(static)
        self._refuse_ours(name)
        if self.profiles.assumes_role(name) and not itself:
            return ProfileRole(name, self.source_of(name), self)
        if itself or not self.profiles.has_credentials(name):
            raise CredentialsError(
                f"AWS profile {name!r} is a source_profile and has no credentials", hint="aws configure"
            )
        return _chain(name, name)


def lying_open(access: Access, environ: Mapping[str, str], profiles: Profiles) -> Credentials | None:
    """Own keys that need no botocore: the environment's, or a profile's static ones. None where there are none.

    botocore's order: an explicit profile, else the environment's keys, else what the profile in force says. Raises
    CredentialsError for half a pair.
    """
    if not access.profile and environ.get("AWS_ACCESS_KEY_ID"):
        return _from_environment(environ)
    name = effective(access.profile, environ)
    others = ["role_arn", "sso_session", "sso_start_url", "sso_account_id", "web_identity_token_file"]
    if "aws_access_key_id" not in profiles.shared.get(name, {}):
        # keys in the config file come after these two, keys in the credentials file before
        others += ["login_session", "credential_process"]
    web_identity = not access.profile and environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN")
    if web_identity or any(profiles.value(name, key) for key in others):
        return None
    return _static(name, profiles)


def at_hand(access: Access, environ: Mapping[str, str], profiles: Profiles) -> Credentials | None:
    """What `find` would find, where nobody has to be asked for it; else None."""
    keys_win = not access.profile and environ.get("AWS_ACCESS_KEY_ID")
    if profiles.assumes_role(effective(access.profile, environ)) and not keys_win:
        return None
    return lying_open(access, environ, profiles)


def find(access: Access, environ: Mapping[str, str], profiles: Profiles, prompt: Prompt | None) -> Own:
    """The own credentials that `access` is had with. Raises CredentialsError where there are none."""
    return Finder(access, environ, profiles, prompt).find()


def profile_role_parameters(name: str, profiles: Profiles) -> dict[str, Any]:
    """What AssumeRole is asked for an AWS profile's role. Raises UsageError for a value that STS would refuse."""
    parameters: dict[str, Any] = {"RoleSessionName": "s3pull"}
    for key, parameter, parse in (
        ("role_arn", "RoleArn", values.role_arn),
        ("external_id", "ExternalId", values.external_id),
        ("role_session_name", "RoleSessionName", values.session_name),
        ("duration_seconds", "DurationSeconds", values.duration),
    ):
        if (value := profiles.value(name, key)) is not None:
            try:
                parameters[parameter] = parse(value)
            except Wrong as wrong:
                raise UsageError(f"AWS profile {name!r}: {key} {wrong.problem}", hint=wrong.hint) from None
    return parameters


def with_code(
    assume: Callable[[Mapping[str, Any]], sts.Answer],
    parameters: Mapping[str, Any],
    serial: str | None,
    prompt: Prompt | None,
) -> sts.Answer:
    """Call `assume`, with an MFA code where a device is named; a code that AWS refuses is asked for again, twice.

    Raises CredentialsError where a code is needed and nobody can be asked.
    """
    if serial is None:
        return assume(parameters)
    for _ in range(_TRIES - 1):
        try:
            return assume({**parameters, "SerialNumber": serial, "TokenCode": _code(serial, prompt)})
        except AccessDenied as denied:
            if _WRONG_CODE not in denied.message:
                raise
    return assume({**parameters, "SerialNumber": serial, "TokenCode": _code(serial, prompt)})


def require_person(serial: str | None, prompt: Prompt | None) -> None:
    """Raises CredentialsError where an MFA device is named and there is nobody to ask for its code."""
    if serial is not None and prompt is None:
        raise CredentialsError(
            f"an MFA code of {serial} is needed and there is no terminal to ask on",
            hint="`s3pull login NAME` on a terminal first: the session is kept",
        )


def _code(serial: str, prompt: Prompt | None) -> str:
    require_person(serial, prompt)
    assert prompt is not None
    for attempt in range(_TRIES):
        code = prompt(f"{'6 digits, please: ' if attempt else ''}MFA code of {serial}: ").replace(" ", "")
        if re.fullmatch(r"\d{6}", code, re.ASCII):
            return code
    raise CredentialsError(f"that is no MFA code of {serial}", hint="6 digits, as the device shows them")


def _by_source(name: str, kind: str) -> Own:
    if kind not in _PROVIDERS:
        raise UsageError(
            f"AWS profile {name!r}: credential_source {kind!r} is unknown", hint=f"one of {', '.join(_PROVIDERS)}"
        )
    with sts.translated(f"cannot get the credentials of {kind}", profile=name):
        chain = sts.session(None).get_component("credential_provider")
        found = chain.get_provider(_PROVIDERS[kind]).load()
    if found is None:
        raise CredentialsError(f"AWS profile {name!r}: there are no credentials in {kind}", hint=sts.NO_CREDENTIALS)
    return Chain(found, name)


def _chain(explicit: str | None, name: str) -> Own:
    with sts.translated("cannot get your own credentials", profile=name):
        found = sts.session(explicit).get_credentials()
    if found is None:
        where = f"in AWS profile {explicit!r}" if explicit else "in the environment, a profile or this machine"
        raise CredentialsError(f"no AWS credentials of your own were found {where}", hint=sts.NO_CREDENTIALS)
    return Chain(found, name)


def _from_environment(environ: Mapping[str, str]) -> Credentials:
    secret = environ.get("AWS_SECRET_ACCESS_KEY")
    if not secret:
        raise CredentialsError("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not", hint=sts.NO_CREDENTIALS)
    token = environ.get("AWS_SECURITY_TOKEN") or environ.get("AWS_SESSION_TOKEN") or None
    return Credentials(environ["AWS_ACCESS_KEY_ID"], secret, token, _moment(environ.get("AWS_CREDENTIAL_EXPIRATION")))


def _static(name: str, profiles: Profiles) -> Credentials | None:
    key = profiles.value(name, "aws_access_key_id")
    if key is None:
        return None
    secret = profiles.value(name, "aws_secret_access_key")
    if secret is None:
        raise CredentialsError(f"AWS profile {name!r} has half a pair of keys", hint="aws configure")
    token = profiles.value(name, "aws_security_token") or profiles.value(name, "aws_session_token")
    return Credentials(key, secret, token)


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
