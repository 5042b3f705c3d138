"""A share as an AWS profile, and an AWS profile as a share. Pure: files are `awsconfig`'s and `config`'s."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from s3pull.access.profiles import Profiles, chosen
from s3pull.errors import UsageError
from s3pull.objects import Access
from s3pull.records import NamedTuple

#: what a share calls the settings of a profile that has a role
_TAKEN = {
    "role_arn": "role_arn",
    "external_id": "external_id",
    "region": "region",
    "mfa_serial": "mfa_serial",
    "duration": "duration_seconds",
    "session_name": "role_session_name",
    "endpoint_url": "endpoint_url",
}
#: what says whose credentials assume the role: the share names the profile that has them
_SOURCES = (
    "source_profile",
    "credential_source",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)


def profile_settings(
    access: Access, words: Sequence[str], name: str, profiles: Profiles, environ: Mapping[str, str]
) -> dict[str, str]:
    """The settings of an AWS profile `name` that reads the share of `access`.

    `words` start s3pull from anywhere. Tools run it with their own AWS_PROFILE, which may be this very profile: whose
    keys s3pull itself is to use is therefore said in the command, where it is not the default profile.

    Raises UsageError where there is no session to hand over, or s3pull's own keys come from the profile itself.
    """
    share = access.share or ""
    if access.role_arn is None:
        whose = f"AWS profile {access.profile!r}" if access.profile else "your own credentials"
        how = "read anonymously" if access.anonymous else f"read with {whose}, directly"
        raise UsageError(
            f"{share} is {how}: there is no session for a profile to hand over",
            hint="tools can read it the same way themselves",
        )
    own = access.profile or ("default" if profiles.from_us(chosen(environ)) else chosen(environ))
    if name == own:
        raise UsageError(
            f"AWS profile {name!r} is where your own credentials come from: it cannot be what they lead to",
            hint="give another name: --aws-profile NAME",
        )
    if name in profiles.shared:
        raise UsageError(
            f"there is a profile {name!r} in the AWS credentials file, whose keys would win over s3pull's",
            hint="give another name: --aws-profile NAME",
        )
    command = [*words, "credentials", share]
    keys_win = not access.profile and environ.get("AWS_ACCESS_KEY_ID")
    if own != "default" and not keys_win and access.origins.get("profile") != "share":
        command += ["--profile", own]
    found = {"credential_process": " ".join(map(quoted, command))}
    if access.region is not None and access.origins.get("region") == "share":
        found["region"] = access.region
    if access.endpoint_url is not None and access.origins.get("endpoint_url") == "share":
        found["endpoint_url"] = access.endpoint_url
    return found


def quoted(word: str) -> str:
    """One word of a `credential_process`, which some tools split as a shell does and others give to one.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """
    if any(character in word for character in "\r\n\0"):
        raise UsageError(f"{word!r} cannot stand in the AWS config file", hint="it has a line break")
    if os.name == "nt":
        return f'"{word}"' if " " in word or "\t" in word else word
    return shlex.quote(word)


class Found(NamedTuple):
    """The settings of a share that an AWS profile comes to, and what of the profile has no place in one."""

    settings: dict[str, object]
    left_out: tuple[str, ...]


def share_settings(name: str, profiles: Profiles) -> Found:
    """What the AWS profile `name`, which has a role_arn, says of a share. Where the objects are it does not say.

    | the role is assumed with         | the share's profile  |
    |----------------------------------|----------------------|
    | another profile (source_profile) | that one             |
    | its own keys                     | the profile itself   |
    | credential_source                | the profile itself   |

    Raises UsageError for no such profile, and one whose role is not assumed with other credentials.
    """
    profiles.require(name)
    add = f"s3pull share add NAME s3://bucket/prefix --profile {shlex.quote(name)}"
    if profiles.value(name, "role_arn") is None:
        raise UsageError(f"AWS profile {name!r} has no role_arn", hint=f"its own credentials are used by {add}")
    if not profiles.assumes_role(name):
        raise UsageError(
            f"AWS profile {name!r} gets its role with a web identity, not with credentials",
            hint=f"{add} uses it as it is",
        )
    profiles.chain(name)
    source = profiles.value(name, "source_profile")
    kind = profiles.value(name, "credential_source")
    if bool(source) == bool(kind):
        problem = "both source_profile and credential_source" if source else "nothing to assume its role with"
        raise UsageError(f"AWS profile {name!r} has {problem}", hint="give it one of the two")
    settings: dict[str, object] = {
        ours: value for ours, theirs in _TAKEN.items() if (value := profiles.value(name, theirs)) is not None
    }
    settings["profile"] = source or name
    known = {*_TAKEN.values(), *_SOURCES}
    return Found(settings, tuple(key for key in profiles.section(name) if key not in known))
