"""The one table of access options, and how options, share, environment and AWS profile become an `Access`.

The command line generates its options from `ACCESS_OPTIONS`, config.toml its keys, the environment its variables.
`resolve` is pure: it reads nothing but its arguments and asks nobody. Whether AWS agrees is `assume`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from s3pull.access import values
from s3pull.access.profiles import Profiles, effective
from s3pull.access.values import Wrong
from s3pull.errors import UsageError
from s3pull.objects import Access
from s3pull.records import NamedTuple

if TYPE_CHECKING:
    from s3pull.access.config import Share

MAIN = "Access"
ADVANCED = "Access, advanced"

OPTION, SHARE, ENVIRONMENT, PROFILE, DEFAULT = "option", "share", "environment", "profile", "default"


class AccessOption(NamedTuple):
    """One access option in its three forms. `name` is the share key and what `resolve` calls it.

    `kind` says how a command line takes it: `text` (one value), `flag` (on), `switch` (on or off, `off` names the
    other), `pairs` (K=V, repeatable). `parse` is one of `values`' readers and raises `values.Wrong`.
    """

    name: str
    parse: Callable[[object], Any]
    help: str
    panel: str = ADVANCED
    kind: str = "text"
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    off: str | None = None
    secret: bool = False

    @property
    def flag(self) -> str:
        """`--role-arn`"""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """`S3PULL_ROLE_ARN`"""
        return "S3PULL_" + self.name.upper()


ACCESS_OPTIONS: tuple[AccessOption, ...] = (
    AccessOption("role_arn", values.role_arn, "The data owner's role to assume.", MAIN, metavar="ARN"),
    AccessOption(
        "external_id", values.external_id, "The external ID that the role asks for.", MAIN, metavar="ID", secret=True
    ),
    AccessOption("profile", values.text, "AWS profile with your own credentials.", MAIN, metavar="NAME"),
    AccessOption("region", values.region, "The bucket's region. Default: found by itself.", MAIN, metavar="REGION"),
    AccessOption("mfa_serial", values.mfa_serial, "MFA device whose code the role asks for.", metavar="ARN"),
    AccessOption("duration", values.duration, "How long a session lasts: 15m to 12h. Default: 1h.", metavar="TIME"),
    AccessOption(
        "session_name",
        values.session_name,
        "What the owner's CloudTrail calls you. Default: your name.",
        metavar="NAME",
    ),
    AccessOption("source_identity", values.session_name, "Source identity to set in the session.", metavar="NAME"),
    AccessOption("session_tag", values.session_tags, "Session tag. Repeatable.", kind="pairs", metavar="K=V"),
    AccessOption(
        "bucket_owner",
        values.bucket_owner,
        "Account that must own the bucket, or any. Default: the role's.",
        metavar="ID",
    ),
    AccessOption("no_assume", values.flag, "Use your own credentials directly.", kind="flag"),
    AccessOption("anonymous", values.flag, "Sign nothing: a public bucket.", kind="flag"),
    AccessOption("request_payer", values.flag, "Pay for requests and traffic.", kind="flag"),
    AccessOption(
        "narrow",
        values.flag,
        "Ask for a session that can read this source and nothing else. Default: yes.",
        kind="switch",
        off="--no-narrow",
    ),
    AccessOption("endpoint_url", values.url, "S3 endpoint other than AWS's.", metavar="URL"),
    AccessOption("sts_endpoint_url", values.url, "STS endpoint other than AWS's.", metavar="URL"),
    AccessOption(
        "cache",
        values.cache,
        "Where sessions are kept. Default: auto.",
        metavar="auto|keyring|file|none",
        choices=("auto", "keyring", "file", "none"),
    ),
    AccessOption("allow_http", values.flag, "Allow plain HTTP to other machines.", kind="flag"),
)

BY_NAME: Mapping[str, AccessOption] = {option.name: option for option in ACCESS_OPTIONS}

#: what a profile calls our options, where its role is the role
_PROFILE_KEYS = {
    "external_id": "external_id",
    "session_name": "role_session_name",
    "mfa_serial": "mfa_serial",
    "duration": "duration_seconds",
}


class _Choice(NamedTuple):
    """What was chosen so far, and from where."""

    found: dict[str, Any]
    origins: dict[str, str]
    places: dict[str, str]

    def take(self, name: str, value: object, origin: str, place: str) -> None:
        if name in self.found:
            return
        try:
            self.found[name] = BY_NAME[name].parse(value)
        except Wrong as wrong:
            raise UsageError(f"{place} {wrong.problem}", hint=wrong.hint) from None
        self.origins[name] = origin
        self.places[name] = place


def resolve(
    *,
    share: Share | None,
    bucket: str | None,
    prefix: str,
    options: Mapping[str, object],
    environ: Mapping[str, str],
    profiles: Profiles,
) -> Access:
    """Join everything that says how to reach one source. Precedence: option, share, `S3PULL_*`, AWS profile.

    `bucket` (a name or an access point's ARN) and `prefix` are an s3:// source's and are for use without a share; with
    one, its own bucket and prefix stand. `options` maps option names to text or values, None for what was not given.

    How access is had, the first of these that says anything:

        option, share, S3PULL_*      anonymous    nobody signs
                                     no_assume    own credentials, directly
                                     role_arn     that role is assumed with the own credentials
        AWS profile in force         role_arn     that role is assumed with the profile's source
        otherwise                                 own credentials, directly

    A role ARN that is given and is not the profile's makes the whole profile the own credentials (role chaining).
    Raises UsageError that names the option, key or variable at fault.
    """
    choice = _Choice({}, {}, {})
    way = _gather(choice, share, options, environ)
    profile = effective(choice.found.get("profile"), environ)
    if way != "anonymous" and (choice.found.get("profile") or _names_profile(environ)):
        profiles.require(profile)
    role = choice.found.get("role_arn") if way == "role_arn" else None
    if way in {None, "role_arn"} and _profile_role_counts(choice.found.get("profile"), profile, environ, profiles):
        own_role = profiles.value(profile, "role_arn")
        if role in {None, own_role}:
            choice.found.pop("role_arn", None)
            choice.take("role_arn", own_role, PROFILE, f"AWS profile {profile!r}: role_arn")
            role = choice.found["role_arn"]
            for name, key in _PROFILE_KEYS.items():
                if (value := profiles.value(profile, key)) is not None:
                    choice.take(name, value, PROFILE, f"AWS profile {profile!r}: {key}")
    _general_settings(choice, profile, environ, profiles)
    return _access(choice, share, bucket, prefix, role, way, environ, profiles.value(profile, "ca_bundle"))


def _gather(
    choice: _Choice, share: Share | None, options: Mapping[str, object], environ: Mapping[str, str]
) -> str | None:
    """Take what options, share and S3PULL_* say, in this order; return which of the three ways was named first."""
    unknown = set(options) - set(BY_NAME)
    if unknown:
        raise UsageError(f"unknown access option: {', '.join(sorted(unknown))}", hint=f"there are {', '.join(BY_NAME)}")
    layers: list[tuple[str, Callable[[AccessOption], object], Callable[[AccessOption], str]]] = [
        (OPTION, lambda option: options.get(option.name), lambda option: option.flag),
        (SHARE, lambda option: getattr(share, option.name, None), lambda o: f"share {_name(share)}: {o.name}"),
        (ENVIRONMENT, lambda option: environ.get(option.variable) or None, lambda option: option.variable),
    ]
    way: str | None = None
    for origin, look, place in layers:
        ways = []
        for option in ACCESS_OPTIONS:
            value = look(option)
            if value is None or value in ((), []):
                continue
            choice.take(option.name, value, origin, place(option))
            says = choice.origins[option.name] == origin and choice.found[option.name]
            if option.name in {"anonymous", "no_assume", "role_arn"} and says:
                ways.append(option)
        if len(ways) > 1:
            raise UsageError(f"{place(ways[0])} and {place(ways[1])} exclude each other", hint="keep one of them")
        if ways and way is None:
            way = ways[0].name
    return way


def _name(share: Share | None) -> str:
    return repr(share.name) if share is not None else "?"


def _names_profile(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE"))


def _profile_role_counts(explicit: str | None, profile: str, environ: Mapping[str, str], profiles: Profiles) -> bool:
    """Keys in the environment win over a profile that was not named for this run, as everywhere in AWS."""
    return profiles.assumes_role(profile) and bool(explicit or not environ.get("AWS_ACCESS_KEY_ID"))


def _general_settings(choice: _Choice, profile: str, environ: Mapping[str, str], profiles: Profiles) -> None:
    """AWS's own region is the first guess at the bucket's; a wrong guess is put right by the first answer."""
    for origin, value, place in (
        (ENVIRONMENT, environ.get("AWS_REGION"), "AWS_REGION"),
        (ENVIRONMENT, environ.get("AWS_DEFAULT_REGION"), "AWS_DEFAULT_REGION"),
        (PROFILE, profiles.value(profile, "region"), f"AWS profile {profile!r}: region"),
    ):
        if value:
            choice.take("region", value, origin, place)


def _access(
    choice: _Choice,
    share: Share | None,
    bucket: str | None,
    prefix: str,
    role: str | None,
    way: str | None,
    environ: Mapping[str, str],
    profile_ca: str | None,
) -> Access:
    found, origins = choice.found, choice.origins
    target = (share.access_point or share.bucket) if share is not None else bucket
    if not target:
        if share is None:
            raise UsageError("no bucket", hint="name a share, or s3://bucket/prefix")
        raise UsageError(
            f"share {share.name!r} has neither bucket nor access_point",
            hint="s3pull share add --replace gives it one",
        )
    try:
        values.access_point(target) if target.startswith("arn:") else values.bucket(target)
    except Wrong as wrong:
        raise UsageError(f"the source {wrong.problem}", hint=wrong.hint) from None
    _access_point_region(choice, target)
    owner = found.get("bucket_owner")
    if owner is None and way != "anonymous":
        point = values.access_point_parts(target)
        owner = values.role_account(role) if role else point[1] if point else None
    allow_http = bool(found.get("allow_http"))
    for name in ("endpoint_url", "sts_endpoint_url"):
        if name in found and not allow_http:
            refuse_plain_http(found[name], choice.places[name])
    names = {name for name, value in found.items() if value is not None}
    return Access(
        bucket=target,
        prefix=(share.prefix or "") if share is not None else prefix,
        share=share.name if share is not None else None,
        role_arn=role,
        external_id=found.get("external_id") if role else None,
        profile=found.get("profile"),
        region=found.get("region"),
        mfa_serial=found.get("mfa_serial") if role else None,
        duration=found.get("duration", 3600),
        session_name=found.get("session_name"),
        source_identity=found.get("source_identity"),
        session_tags=found.get("session_tag", ()),
        bucket_owner=None if owner == "any" else owner,
        anonymous=way == "anonymous",
        request_payer=bool(found.get("request_payer")),
        narrow=found.get("narrow", True),
        endpoint_url=found.get("endpoint_url"),
        sts_endpoint_url=found.get("sts_endpoint_url"),
        ca_bundle=environ.get("AWS_CA_BUNDLE") or profile_ca,
        cache=found.get("cache", "auto"),
        allow_http=allow_http,
        origins={option.name: origins.get(option.name, DEFAULT) for option in ACCESS_OPTIONS if option.name in names},
    )


def _access_point_region(choice: _Choice, target: str) -> None:
    """An access point's ARN names its region (a Multi-Region one has none): that is the region."""
    point = values.access_point_parts(target)
    if point is None or not point[0]:
        return
    given = choice.found.get("region")
    if given and given != point[0] and choice.origins["region"] in {OPTION, SHARE}:
        raise UsageError(
            f"{choice.places['region']} is {given}, the access point is in {point[0]}", hint="leave the region out"
        )
    choice.found["region"] = point[0]
    choice.origins["region"] = DEFAULT


def refuse_plain_http(address: str, place: str) -> None:
    """Raises UsageError where `address` would send signed requests over plain HTTP to another machine."""
    if values.plain_http(address):
        raise UsageError(
            f"{place} is plain HTTP: {address}", hint="use https, or --allow-http where you trust the line"
        )
