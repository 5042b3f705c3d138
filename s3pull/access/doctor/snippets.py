"""What is to be pasted against each cause: policies by `policies`, conditions, command lines and options. Pure.

The external ID is never in it: EXTERNAL-ID stands in its place, and `s3pull policy` prints the document with it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from s3pull.access import values
from s3pull.access.denials import Cause, Clause, Suspect, Who
from s3pull.access.doctor.report import Snippet
from s3pull.access.doctor.scene import Scene
from s3pull.access.narrow import escaped, resources
from s3pull.access.policies import documents
from s3pull.access.policies.grant import Grant, Place
from s3pull.errors import UsageError

#: stands where the external ID goes
EXTERNAL_ID = "EXTERNAL-ID"

_READS = ["s3:GetObject", "s3:ListBucket"]


@dataclass(frozen=True, slots=True)
class _Case:
    """What a remedy is chosen by."""

    suspect: Suspect
    clause: Clause
    scene: Scene


def against(suspects: Iterable[Suspect], clause: Clause, scene: Scene, service: str) -> tuple[Snippet, ...]:
    """The snippets against some suspects in their order, each once. There is none for what has no remedy to paste."""
    found: list[Snippet] = []
    for suspect in suspects:
        for snippet in _against(suspect, clause, scene, service):
            if snippet not in found:
                found.append(snippet)
    return tuple(found)


def _against(suspect: Suspect, clause: Clause, scene: Scene, service: str) -> list[Snippet]:
    make = _STS.get(suspect.cause) if service == "sts" else _S3.get(suspect.cause)
    make = make or _ANYWHERE.get(suspect.cause)
    if make is None:
        return []
    try:
        return make(_Case(suspect, clause, scene))
    except UsageError:
        # a document that cannot be written for this source (an alias, a directory bucket of unknown region)
        return []


def trust(scene: Scene) -> Snippet:
    """The role's whole trust policy."""
    access = scene.access
    by_user = scene.consumer is not None and ":user/" in scene.consumer
    grant = _grant(
        scene,
        external_ids=(EXTERNAL_ID,),
        tags=bool(access.session_tags),
        mfa=access.mfa_serial is not None and by_user,
    )
    place = f"the trust policy of {access.role_arn}, with the external ID that you agreed on in place of {EXTERNAL_ID}"
    return Snippet("trust", place, _pretty(documents.trust(grant)), Who.OWNER)


def filled_trust(scene: Scene) -> Snippet:
    """The command that prints the trust policy with the external ID: that is never doctor's to show."""
    access = scene.access
    if access.share is not None:
        words = ["s3pull", "policy", access.share]
    else:
        named = "--access-point" if access.bucket.startswith("arn:") else "--bucket"
        words = ["s3pull", "policy", named, access.bucket, *(["--prefix", scene.prefix] if scene.prefix else [])]
        words += ["--role-arn", access.role_arn or "", "--external-id", EXTERNAL_ID]
    words += ["--kind", "trust", *(["--consumer-role", scene.consumer] if scene.consumer else [])]
    return command(shlex.join(words), "your shell: it prints that trust policy with the external ID", Who.YOU)


def role(scene: Scene, *, versions: bool = False) -> Snippet:
    """A policy for the owner's role: read, list, decrypt."""
    text = _pretty(documents.role(_grant(scene, versions=versions)))
    return Snippet("role", f"the permissions of {scene.access.role_arn}", text, Who.OWNER)


def consumer(scene: Scene) -> Snippet:
    """A policy for your own role or user."""
    text = _pretty(documents.consumer(_grant(scene, tags=bool(scene.access.session_tags))))
    return Snippet("consumer", f"the permissions of {scene.consumer or 'your own role or user'}", text, Who.YOU)


def command(line: str, place: str, who: Who) -> Snippet:
    return Snippet("command", place, line, who)


def clock() -> Snippet:
    return command("sudo timedatectl set-ntp true", "this machine (Linux; elsewhere its settings of the time)", Who.YOU)


def option(text: str, place: str = "the command, or the share") -> Snippet:
    return Snippet("option", place, text, Who.YOU)


def _grant(scene: Scene, **more: Any) -> Grant:
    access = scene.access
    # the place that was asked about: an s3:// source has no prefix of its own, and least privilege is what is pasted
    place = Place(access.bucket, access.prefix or scene.prefix, scene.region or access.region, access.bucket_owner)
    facts: dict[str, Any] = {"places": (place,), "role_arn": access.role_arn, "consumer": scene.consumer}
    if scene.kms_key is not None and ":key/aws-" not in scene.kms_key:
        facts["kms_keys"] = (scene.kms_key,)
    return Grant(**{**facts, **more})


def _targets(scene: Scene) -> list[str]:
    """The bucket and the objects that are read, as ARNs."""
    access = scene.access
    bucket, objects = resources(access.bucket, values.partition(scene.reader))
    return [bucket, f"{objects}/{escaped(access.prefix or scene.prefix)}*"]


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2)


# --- one function for each kind of remedy -------------------------------------------------------------------


def _except(case: _Case) -> list[Snippet]:
    """A condition for a statement that denies: it denies everybody but the reader. Nobody has no ARN to name."""
    if case.scene.reader is None:
        return []
    where = f": {case.clause.policy_arn}" if case.clause.policy_arn else ""
    place = f"the Condition of the statement that denies, in the {case.clause.policy or 'policy'}{where}"
    text = _pretty({"ArnNotEquals": {"aws:PrincipalArn": case.scene.reader}})
    return [Snippet("except", place, text, case.suspect.who)]


def _allow(case: _Case) -> list[Snippet]:
    """A statement for a policy that limits (a boundary, an SCP)."""
    statement = {
        "Sid": "S3pull",
        "Effect": "Allow",
        "Action": [*_READS, "kms:Decrypt"],
        "Resource": _limits(case.scene),
    }
    where = f" {case.clause.policy_arn}" if case.clause.policy_arn else ""
    return [
        Snippet("allow", f"the statements of the {case.clause.policy}{where}", _pretty(statement), case.suspect.who)
    ]


def _limits(scene: Scene) -> list[str]:
    return [*_targets(scene), *([scene.kms_key] if scene.kms_key else [])]


def _limit(case: _Case) -> list[Snippet]:
    return (_except if case.clause.explicit else _allow)(case)


def _endpoint(case: _Case) -> list[Snippet]:
    if case.clause.explicit:
        return _except(case)
    statement: dict[str, Any] = {
        "Sid": "S3pull",
        "Effect": "Allow",
        "Principal": "*",
        "Action": _READS,
        "Resource": _targets(case.scene),
    }
    if case.scene.reader is not None:
        statement["Condition"] = {"ArnEquals": {"aws:PrincipalArn": case.scene.reader}}
    place = "the statements of the policy of your VPC endpoint for S3"
    return [Snippet("allow", place, _pretty(statement), Who.NETWORK)]


def _sts_endpoint(case: _Case) -> list[Snippet]:
    if case.clause.explicit:
        return [_except_own(case)]
    statement = {
        "Sid": "S3pull",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession", "sts:GetCallerIdentity"],
        "Resource": "*",
    }
    place = "the statements of the policy of your VPC endpoint for STS"
    return [Snippet("allow", place, _pretty(statement), Who.NETWORK)]


def _sts_limit(case: _Case) -> list[Snippet]:
    if case.clause.explicit:
        return [_except_own(case)]
    actions = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]
    statement = {"Sid": "S3pull", "Effect": "Allow", "Action": actions, "Resource": case.scene.access.role_arn}
    return [Snippet("allow", f"the statements of the {case.clause.policy}", _pretty(statement), case.suspect.who)]


def _except_own(case: _Case) -> Snippet:
    place = f"the Condition of the statement that denies, in the {case.clause.policy or 'policy'}"
    text = _pretty({"ArnNotEquals": {"aws:PrincipalArn": case.scene.consumer}})
    return Snippet("except", place, text, case.suspect.who)


def _trusting(case: _Case) -> list[Snippet]:
    return [trust(case.scene), filled_trust(case.scene)]


def _own_policy(case: _Case) -> list[Snippet]:
    if case.clause.explicit:
        return [_except_own(case)]
    test = (
        f"aws iam simulate-principal-policy --policy-source-arn {shlex.quote(case.scene.consumer or 'YOUR-ARN')} "
        f"--action-names sts:AssumeRole --resource-arns {shlex.quote(case.scene.access.role_arn or '')} "
        "--query 'EvaluationResults[].EvalDecision'"
    )
    found = [consumer(case.scene)]
    if case.clause.policy is None:
        found.append(command(test, "a shell of yours, to learn whether this is it (allowed: it is not)", Who.YOU))
    return found


def _reader_policy(case: _Case) -> list[Snippet]:
    """What the policy of the reader itself lacks, or denies."""
    if case.clause.explicit:
        return _except(case)
    return [role(case.scene) if case.scene.assumed else consumer(case.scene)]


def _bucket_policy(case: _Case) -> list[Snippet]:
    if case.clause.explicit:
        return _except(case)
    # a role of the bucket's own account is named like any direct reader
    grant = _grant(case.scene, role_arn=None, consumer=case.scene.reader)
    place = grant.places[0]
    text = _pretty(documents.bucket(grant, place))
    if not place.is_access_point:
        return [Snippet("bucket", f"the policy of the bucket {place.bucket}", text, Who.OWNER)]
    hidden = f"the policy of the bucket behind it, whose name goes in place of {documents.hidden_bucket(place)}"
    return [
        Snippet("bucket", f"the policy of the access point {place.bucket}", text, Who.OWNER),
        Snippet("bucket", hidden, _pretty(documents.behind(grant, place)), Who.OWNER),
    ]


def _decrypting(case: _Case) -> list[Snippet]:
    """By the words of the denial: the reader's policy, the key's policy, or the key's state."""
    key = case.scene.kms_key
    if "it is disabled" in case.suspect.why:
        named = shlex.quote(key or "KEY-ARN")
        return [
            command(f"aws kms enable-key --key-id {named}", "a shell of the owner's, if it is disabled", Who.OWNER),
            command(
                f"aws kms cancel-key-deletion --key-id {named} && aws kms enable-key --key-id {named}",
                "a shell of the owner's, if it is about to be deleted",
                Who.OWNER,
            ),
        ]
    if case.clause.policy == "identity-based policy":
        return _reader_policy(case)
    if "no longer exists" in case.suspect.why or key is None or "aws/s3" in case.suspect.why:
        return []
    text = _pretty(documents.key(_grant(case.scene)))
    return [Snippet("key", f"the statements of the policy of {key}", text, Who.OWNER)]


def _session(case: _Case) -> list[Snippet]:
    return [option("--no-narrow")] if case.scene.assumed else []


def _own_session(case: _Case) -> list[Snippet]:
    """An own session that is narrowed by its maker, or a session policy of ours that STS does not take."""
    return [consumer(case.scene)] if case.clause.policy is not None else [option("--no-narrow")]


def _archive(case: _Case) -> list[Snippet]:
    bucket, key = shlex.quote(case.scene.access.bucket), shlex.quote(case.scene.key or "KEY")
    line = (
        f"aws s3api restore-object --bucket {bucket} --key {key} "
        '--restore-request \'{"Days":7,"GlacierJobParameters":{"Tier":"Bulk"}}\''
    )
    return [command(line, "a shell of the owner's; it takes hours", Who.OWNER)]


def _ownership(case: _Case) -> list[Snippet]:
    if case.suspect.why.startswith("the object"):
        line = (
            f"aws s3api put-bucket-ownership-controls --bucket {shlex.quote(case.scene.access.bucket)} "
            "--ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
        )
        return [command(line, "a shell of the owner's", Who.OWNER)]
    return [option("--bucket-owner ACCOUNT-ID", "the command or the share, with the account that the owner confirms")]


def _region(case: _Case) -> list[Snippet]:
    return [option(f"--region {case.scene.region}")] if case.scene.region else []


def _sts_region(case: _Case) -> list[Snippet]:
    home = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
    region = home.get(values.partition(case.scene.access.role_arn), "us-east-1")
    return [command(f"export AWS_REGION={region}", "your shell", Who.YOU)]


def _duration(case: _Case) -> list[Snippet]:
    found = [option("--duration 1h")]
    if "chaining" not in case.suspect.why and "one hour" not in case.suspect.why:
        name = (case.scene.access.role_arn or "").rpartition("/")[2]
        line = f"aws iam update-role --role-name {name} --max-session-duration {case.scene.access.duration}"
        found.append(command(line, "a shell of the owner's, where longer sessions are agreed on", Who.OWNER))
    return found


def _mfa(case: _Case) -> list[Snippet]:
    return [command(f"s3pull login {shlex.quote(case.scene.source)}", "a terminal of yours", Who.YOU)]


def _log_in(case: _Case) -> list[Snippet]:
    profile = f" --profile {shlex.quote(case.scene.access.profile)}" if case.scene.access.profile else ""
    verb = "sso login" if "expired" in case.suspect.why else "configure"
    return [command(f"aws {verb}{profile}", "a shell of yours", Who.YOU)]


_Make = Callable[[_Case], list[Snippet]]

_STS: dict[Cause, _Make] = {
    Cause.EXTERNAL_ID: _trusting,
    Cause.TRUST: _trusting,
    Cause.TRUST_RECREATED: _trusting,
    Cause.TRUST_CONDITION: _trusting,
    Cause.ROLE_MISSING: _trusting,
    Cause.IDENTITY_POLICY: _own_policy,
    Cause.SESSION_POLICY: _own_session,
    Cause.BOUNDARY: _sts_limit,
    Cause.SCP: _sts_limit,
    Cause.RCP: _sts_limit,
    Cause.VPC_ENDPOINT: _sts_endpoint,
    Cause.REGION: _sts_region,
}
_S3: dict[Cause, _Make] = {
    Cause.IDENTITY_POLICY: _reader_policy,
    Cause.PREFIX: _reader_policy,
    Cause.SESSION_POLICY: _session,
    Cause.RESOURCE_POLICY: _bucket_policy,
    Cause.BOUNDARY: _limit,
    Cause.SCP: _limit,
    Cause.RCP: _limit,
    Cause.VPC_ENDPOINT: _endpoint,
    Cause.REGION: _region,
}
_ANYWHERE: dict[Cause, _Make] = {
    Cause.KMS: _decrypting,
    Cause.ARCHIVED: _archive,
    Cause.OWNERSHIP: _ownership,
    Cause.REQUESTER_PAYS: lambda _: [option("--request-payer")],
    Cause.MFA: _mfa,
    Cause.DURATION: _duration,
    Cause.CREDENTIALS: _log_in,
    Cause.CLOCK: lambda _: [clock()],
    Cause.TLS: lambda _: [
        command("export AWS_CA_BUNDLE=/path/to/ca.pem", "your shell, with your network's CA", Who.YOU)
    ],
    Cause.PROXY: lambda _: [command("export HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT", "your shell", Who.YOU)],
}
