"""The steps `local`, `caller` and `role`: what is configured here, who you are, and who you are as the role. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from s3pull.access import values
from s3pull.access.denials import Cause, Suspect, Who
from s3pull.access.doctor import snippets
from s3pull.access.doctor.asking import Answer
from s3pull.access.doctor.report import Snippet, Step, Warned, broken, you
from s3pull.access.doctor.scene import Scene
from s3pull.access.doctor.verdicts import CLOCK_NEAR, refused
from s3pull.access.profiles import Profiles, effective
from s3pull.access.status import identity_of
from s3pull.access.sts import Caller
from s3pull.errors import UsageError
from s3pull.objects import Access

ASKED_LOCAL = "what is configured here"
ASKED_CALLER = "sts:GetCallerIdentity with your own credentials"
ASKED_ROLE = "sts:GetCallerIdentity as the role"

_CHINA, _GOV = "cn-", "us-gov-"


def local(scene: Scene, environ: Mapping[str, str]) -> tuple[Step, list[Warned]]:
    """What can be seen without asking anybody.

    | seen                                            | then                             |
    |-------------------------------------------------|----------------------------------|
    | the role's partition is not the region's        | broken: configuration, you       |
    | --bucket-owner is not the role's account        | a note                           |
    | a prefix that starts with /, or does not end so | a note                           |
    | keys in the environment and a profile as well   | a warning                        |
    | --no-narrow                                     | a warning                        |
    """
    access = scene.access
    asked = ASKED_LOCAL
    if (wrong := _partition(access)) is not None:
        return broken("local", asked, wrong, you(Cause.CONFIGURATION, wrong)), []
    notes = []
    account = values.role_account(access.role_arn) if access.role_arn else None
    if account and access.bucket_owner not in (None, account):
        notes.append(f"the bucket must belong to {access.bucket_owner}, the role is {account}'s: a second account")
    if scene.prefix.startswith("/"):
        notes.append("the prefix starts with /: keys rarely do")
    elif scene.prefix and not scene.prefix.endswith("/"):
        notes.append(f"the prefix {scene.prefix!r} does not end in /: a policy for {scene.prefix}/* does not allow it")
    warnings = []
    if environ.get("AWS_ACCESS_KEY_ID") and not access.profile and _names_profile(environ):
        why = f"AWS_ACCESS_KEY_ID is set and wins over AWS profile {effective(None, environ)!r}"
        warnings.append(Warned("profile-ignored", why, Who.YOU, (_unset(),)))
    if access.role_arn and not access.narrow:
        why = "the session is not narrowed (--no-narrow): stolen, it reads all that the role may read"
        warnings.append(Warned("session-policy", why, Who.YOU, (snippets.option("--narrow"),)))
    if access.bucket_owner is None and not access.anonymous:
        why = "no account is named that must own the bucket: a squatted name would not be noticed"
        warnings.append(Warned("bucket-owner", why, Who.YOU, (snippets.option("--bucket-owner ACCOUNT-ID"),)))
    return Step("local", True, asked, _summary(access), notes=tuple(notes)), warnings


def misconfigured(error: UsageError) -> Step:
    """The step where an option, a share, a variable or an AWS profile cannot be taken as it is: nobody was asked."""
    cause = you(Cause.CONFIGURATION, "a setting here cannot be right: nobody was asked")
    step = broken("local", ASKED_LOCAL, error.message, cause)
    return replace(step, notes=(error.hint,) if error.hint else ())


def _unset() -> Snippet:
    return snippets.command("unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN", "your shell", Who.YOU)


def _names_profile(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE"))


def _partition(access: Access) -> str | None:
    """What is wrong where the role and the bucket's region cannot be of the same partition of AWS; else None."""
    region = access.region
    if region is None or access.role_arn is None or access.endpoint_url is not None:
        return None
    wanted = "aws-cn" if region.startswith(_CHINA) else "aws-us-gov" if region.startswith(_GOV) else "aws"
    had = values.partition(access.role_arn)
    if had in ("aws", "aws-cn", "aws-us-gov") and had != wanted:
        return f"the role is of partition {had}, the region {region} of {wanted}: no role reaches from one to the other"
    return None


def _summary(access: Access) -> str:
    way = (
        "unsigned" if access.anonymous else f"as {access.role_arn}" if access.role_arn else "with your own credentials"
    )
    given = [f"{name} from {origin}" for name, origin in access.origins.items() if origin != "default"]
    external = "; an external ID is given" if access.external_id else ""
    return f"s3://{access.bucket}/{access.prefix} {way}{external}" + (f" ({', '.join(given)})" if given else "")


def who_of(answer: Answer) -> Caller:
    """Who a good answer of GetCallerIdentity names."""
    return Caller(answer.data.get("Arn", ""), answer.data.get("Account", ""), answer.data.get("UserId", ""))


def expected_account(access: Access, environ: Mapping[str, str], profiles: Profiles) -> tuple[str, str] | None:
    """(account, what says so) that your own credentials should be of; None where nothing says it."""
    if access.mfa_serial and access.mfa_serial.startswith("arn:"):
        fields = access.mfa_serial.split(":")
        if len(fields) > 4 and fields[4]:
            return fields[4], "the MFA device"
    name = effective(access.profile, environ)
    if account := profiles.value(name, "sso_account_id"):
        return account, f"AWS profile {name!r}"
    return None


def caller(answer: Answer, scene: Scene, expected: tuple[str, str] | None) -> tuple[Step, list[Warned]]:
    """GetCallerIdentity with your own credentials.

    | answer                          | then                                                      |
    |---------------------------------|-----------------------------------------------------------|
    | an account other than expected  | broken: credentials, you: another profile's               |
    | the role's own account          | a warning: no cross-account access at all                 |
    | denied                          | ok unknown: nothing but a VPC endpoint's policy denies it |
    | bad credentials, clock, silence | broken, by `verdicts`                                     |
    """
    if answer.denied:
        why = "the policy of your VPC endpoint for STS does not allow sts:GetCallerIdentity, which needs no permission"
        suspects = (Suspect(Cause.VPC_ENDPOINT, why, Who.NETWORK),)
        step = refused("caller", ASKED_CALLER, answer, scene, "sts", instead=suspects)
        return replace(step, ok=None), []
    if not answer.ok:
        return refused("caller", ASKED_CALLER, answer, scene, "sts"), []
    who = who_of(answer)
    if expected is not None and expected[0] != who.account:
        said = f"you are {who.arn}, of account {who.account}; {expected[1]} is of account {expected[0]}"
        hint = snippets.option("--profile NAME", "the command or the share, with the profile of the right account")
        cause = you(Cause.CREDENTIALS, "these are another account's credentials: the wrong profile, or keys in the way")
        step = broken("caller", ASKED_CALLER, said, cause, snippets=(hint,), request_id=answer.request_id)
        return step, []
    warnings = [*clock(answer)]
    if scene.assumed and who.account == scene.account:
        why = f"you are already in the data owner's account {who.account}: the role may not be needed"
        warnings.append(Warned("same-account", why, Who.YOU))
    identity = identity_of(who)
    notes = (f"give the data owner: {identity.iam_arn}", *([identity.caveat] if identity.caveat else []))
    return Step("caller", True, ASKED_CALLER, f"you are {who.arn}", request_id=answer.request_id, notes=notes), warnings


def clock(answer: Answer) -> list[Warned]:
    """A warning for a clock that AWS still takes and not for long."""
    if answer.ahead is None or abs(answer.ahead) < CLOCK_NEAR:
        return []
    way = "behind" if answer.ahead > 0 else "ahead"
    why = f"this machine's clock is {abs(answer.ahead):.0f} s {way}: AWS refuses from 900 s on"
    return [Warned("clock", why, Who.YOU, (snippets.clock(),))]


def role(answer: Answer, scene: Scene) -> Step:
    """GetCallerIdentity as the role: its account must be the one that the role's ARN names."""
    if answer.denied:
        # it needs no permission, so this is no news of the role
        return Step("role", None, ASKED_ROLE, answer.said, request_id=answer.request_id)
    if not answer.ok:
        return refused("role", ASKED_ROLE, answer, scene, "sts")
    who = who_of(answer)
    if scene.account is not None and who.account != scene.account and scene.access.role_arn:
        said = f"the session is {who.arn}, and not of account {scene.account}"
        cause = you(Cause.CONFIGURATION, "what answers as STS is not AWS, or not the account that it should be")
        return broken("role", ASKED_ROLE, said, cause, request_id=answer.request_id)
    return Step("role", True, ASKED_ROLE, f"you are {who.arn}", request_id=answer.request_id)
