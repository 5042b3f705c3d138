"""Assumes the data owner's role: what AssumeRole is asked, and which refusals earn a second, humbler question.

Never silently wider: a session policy that does not fit is widened to the bucket once, and said; leaving it out is the
user's decision. Keeping and renewing sessions is `session`'s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from s3pull.access import own, values
from s3pull.access.narrow import Narrowing, narrowing
from s3pull.access.own import Prompt
from s3pull.access.profiles import Profiles
from s3pull.access.sts import Answer, Caller, Sts
from s3pull.errors import AccessDenied, UsageError
from s3pull.objects import Access, Credentials

#: who cannot be told from an ARN is called this
NAMELESS = "s3pull"
_REFUSED_LETTERS = re.compile(r"[^\w+=,.@-]+", re.ASCII)
#: session names that software makes up: the role's name says more
_MADE_UP = re.compile(r"(botocore-session|aws-sdk|aws-cli|aws-go-sdk|boto3|s3pull)\b.*|\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Assumed:
    """A session of the data owner's role. `width` is how far it is narrowed (see `narrow`)."""

    credentials: Credentials
    session_name: str
    arn: str
    width: str
    request_id: str | None


def assume(
    access: Access,
    *,
    environ: Mapping[str, str],
    profiles: Profiles,
    prompt: Prompt | None,
    note: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> Assumed:
    """Assume `access.role_arn` now. What is not quite as asked is told to `note`.

    Raises AccessDenied, CredentialsError (own ones missing or expired, or an MFA code and no terminal), UsageError
    (what STS refuses as asked) and ServiceError, each with AWS's code, status and request ID.
    """
    own.require_person(access.mfa_serial, prompt)
    client = Sts(access, own.find(access, environ, profiles, prompt).current(), environ, profiles)
    name, duration = access.session_name, access.duration
    if name is None or duration > values.LONGEST_CHAINED_SESSION:
        caller = _caller(client)
        name = name or (session_name(caller.arn) if caller else NAMELESS)
        if caller and ":assumed-role/" in caller.arn and duration > values.LONGEST_CHAINED_SESSION:
            duration = values.LONGEST_CHAINED_SESSION
            note(_CHAINED)
    narrowed = narrowing(access)
    if narrowed.note:
        note(narrowed.note)

    def ask(parameters: Mapping[str, Any]) -> Answer:
        return client.assume_role(parameters, clock)

    for _ in range(2):
        try:
            answer = own.with_code(ask, parameters(access, name, duration, narrowed), access.mfa_serial, prompt)
            break
        except UsageError as error:
            again = _humbler(access, error, duration, narrowed, note)
            if again is None:
                raise
            duration, narrowed = again
    else:
        answer = own.with_code(ask, parameters(access, name, duration, narrowed), access.mfa_serial, prompt)
    return Assumed(answer.credentials, name, answer.arn, narrowed.width, answer.request_id)


_CHAINED = "the session lasts 1 h: your own credentials are themselves a role, and AWS gives such sessions no more"


def parameters(access: Access, name: str, duration: int, narrowed: Narrowing) -> dict[str, Any]:
    """What AssumeRole is asked, the MFA code apart."""
    asked: dict[str, Any] = {"RoleArn": access.role_arn, "RoleSessionName": name, "DurationSeconds": duration}
    if access.external_id:
        asked["ExternalId"] = access.external_id
    if narrowed.policy:
        asked["Policy"] = narrowed.policy
    if access.source_identity:
        asked["SourceIdentity"] = access.source_identity
    if access.session_tags:
        asked["Tags"] = [{"Key": key, "Value": value} for key, value in access.session_tags]
    return asked


def session_name(arn: str) -> str:
    """What the owner's CloudTrail is to call the caller: the user, the SSO e-mail, or the role where a session's name
    was made up by software.

    >>> session_name("arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_Data_ab12/ana@example.org")
    'ana@example.org'
    """
    kind, *names = arn.split(":", 5)[-1].split("/")
    name = names[-1] if names else kind
    if kind == "assumed-role" and len(names) >= 2 and _MADE_UP.fullmatch(name):
        name = names[-2]
    name = _REFUSED_LETTERS.sub("-", name)[:64]
    return name if len(name) >= 2 else NAMELESS


def _caller(client: Sts) -> Caller | None:
    """Who asks; None where an endpoint's policy forbids the question, which must not forbid the download."""
    try:
        return client.caller()
    except AccessDenied:
        return None


def _humbler(
    access: Access, refused: UsageError, duration: int, narrowed: Narrowing, note: Callable[[str], None]
) -> tuple[int, Narrowing] | None:
    """(duration, narrowing) to ask with once more, or None where the refusal stands.

    PackedPolicyTooLarge, narrowed to the prefix     the bucket, said
    over the hour of role chaining                   one hour, said
    else                                             it stands
    """
    if refused.code == "PackedPolicyTooLarge" and narrowed.width == "prefix":
        note("the session policy is too large for this session: it is narrowed to the bucket, not to the prefix")
        return duration, narrowing(access, at_most="bucket")
    if "role chaining" in refused.message and duration > values.LONGEST_CHAINED_SESSION:
        note(_CHAINED)
        return values.LONGEST_CHAINED_SESSION, narrowed
    return None
