"""`s3pull policy`: the documents that grant a share, and what is wrong with those that an owner has.

It asks AWS nothing and needs no credentials. Documents go to stdout and nothing else does; remarks and pitfalls go to
stderr. External IDs are shown, as by `share export`: documents are of no use without.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from s3pull.access.values import SHARE_NAME
from s3pull.cli import handed
from s3pull.cli.command import App, Argument, Choice, Option, command
from s3pull.cli.options import ConfigChoice, ReportChoice, one_of
from s3pull.errors import UsageError

if TYPE_CHECKING:
    from s3pull.access.policies.check import Finding
    from s3pull.access.policies.given import Given
    from s3pull.access.policies.grant import Grant
    from s3pull.cli.render import Output
    from s3pull.objects import Access

WHAT = "What is granted"
WHO = "To whom"
_KINDS = "trust|role|bucket|key|consumer|session|cloudtrail|revoke|all"
_LARGEST = 1024 * 1024
_GIVE = "give a file with a policy in JSON, or - for what comes through a pipe"
#: what can be a share; after --check anything else is one more file
_SHARE = rf"{SHARE_NAME}:?"

app = App()


class GrantChoice(Choice):
    """The options that say what is granted, and to whom; what is not given comes from the shares."""

    bucket: Annotated[
        str | None, Option("--bucket", metavar="NAME", help="The bucket, where no share is named.",
                                 panel=WHAT)
    ] = None  # fmt: skip
    access_point: Annotated[
        str | None, Option("--access-point", metavar="ARN", help="The access point, instead of --bucket.",
                                 panel=WHAT)
    ] = None  # fmt: skip
    prefix: Annotated[
        str | None, Option("--prefix", metavar="TEXT", help="What all keys begin with, usually ending in /.",
                                 panel=WHAT)
    ] = None  # fmt: skip
    role_arn: Annotated[
        str | None, Option("--role-arn", metavar="ARN", help="The owner's role; it need not exist yet.",
                                 panel=WHAT)
    ] = None  # fmt: skip
    direct: Annotated[
        bool, Option("--direct", help="No role: the bucket policy lets the consumer read.", panel=WHAT)
    ] = False
    kms_key: Annotated[
        tuple[str, ...], Option("--kms-key", metavar="ARN", help="Customer key of the objects. Repeatable.",
                                      panel=WHAT)
    ] = ()  # fmt: skip
    versions: Annotated[
        bool, Option("--versions", help="Old versions, too (for --version-id, lock --as-of).",
                           panel=WHAT)
    ] = False  # fmt: skip
    region: Annotated[
        str | None, Option("--region", metavar="REGION", help="The bucket's region; directory buckets need it.",
                                 panel=WHAT)
    ] = None  # fmt: skip
    bucket_owner: Annotated[
        str | None, Option("--bucket-owner", metavar="ID", help="The bucket's account. Default: the role's.",
                                 panel=WHAT)
    ] = None  # fmt: skip
    consumer_role: Annotated[
        str | None, Option("--consumer-role", metavar="ARN", help="Who is trusted: the ARN that the consumer's "
                                 "s3pull status prints.", panel=WHO)
    ] = None  # fmt: skip
    external_id: Annotated[
        tuple[str, ...], Option("--external-id", metavar="ID", help="The external ID, instead of the share's. "
                                      "Twice while it is rotated.", panel=WHO)
    ] = ()  # fmt: skip
    new_external_id: Annotated[
        bool, Option("--new-external-id", help="Make one of 160 random bits, accepted beside the others.",
                           panel=WHO)
    ] = False  # fmt: skip
    source_ip: Annotated[
        tuple[str, ...], Option("--source-ip", metavar="CIDR", help="Only from this public network. Repeatable.",
                                      panel=WHO)
    ] = ()  # fmt: skip
    source_vpce: Annotated[
        tuple[str, ...], Option("--source-vpce", metavar="ID", help="Only through this VPC endpoint. Repeatable.",
                                      panel=WHO)
    ] = ()  # fmt: skip
    org_id: Annotated[
        str | None, Option("--org-id", metavar="ID", help="Only from accounts of this AWS Organization.",
                                 panel=WHO)
    ] = None  # fmt: skip
    mfa_serial: Annotated[
        str | None, Option("--mfa-serial", metavar="ARN", help="Ask for an MFA code (IAM users alone can).",
                                 panel=WHO)
    ] = None  # fmt: skip
    source_identity: Annotated[
        str | None, Option("--source-identity", metavar="NAME", help="The consumer sets a source identity.",
                                 panel=WHO)
    ] = None  # fmt: skip
    session_tag: Annotated[
        tuple[str, ...], Option("--session-tag", metavar="K=V", help="The consumer sets session tags.",
                                      panel=WHO)
    ] = ()  # fmt: skip
    recreate_safe: Annotated[
        bool, Option("--recreate-safe", help="Trust the consumer's role also after it was deleted and made "
                           "again (as IAM Identity Center does).", panel=WHO)
    ] = False  # fmt: skip
    pod_identity: Annotated[
        bool, Option("--pod-identity", help="The consumer is an EKS pod: its tags come along, and its own role "
                           "trusts pods.eks.amazonaws.com.", panel=WHO)
    ] = False  # fmt: skip


@command(app)
def policy(
    names: Annotated[tuple[str, ...], Argument(metavar="NAME", help="A share; several are one role's.")] = (),
    kind: Annotated[
        str,
        Option("--kind", metavar=_KINDS, help="Which document. Default: all but revoke."),
        one_of(*_KINDS.split("|")),
    ] = "all",
    form: Annotated[
        str,
        Option("--format", metavar="json|cloudformation|terraform|sql", help="sql: the query of cloudtrail."),
        one_of("json", "cloudformation", "terraform", "sql"),
    ] = "json",
    check: Annotated[
        tuple[str, ...],
        Option(
            "--check", metavar="FILE", help="Say what is missing or too wide in this policy. Repeatable; - is stdin."
        ),
    ] = (),
    *,
    grant: GrantChoice,
    config: ConfigChoice,
    output: ReportChoice,
) -> int:
    """Print the documents that let a consumer read a share, and nothing more. Asks AWS nothing.

    \b
      s3pull policy acme --consumer-role arn:aws:iam::222222222222:role/etl --kind trust > trust.json
      s3pull policy --bucket acme-exports --prefix 2026/ --new-external-id \\
             --role-arn arn:aws:iam::111122223333:role/acme-readers \\
             --consumer-role arn:aws:iam::222222222222:role/etl
      s3pull policy acme --consumer-role arn:aws:iam::222222222222:role/etl --check trust.json

    As JSON --kind all is one object: each kind and its document. As cloudformation or terraform it is what the owner
    needs: the role, or with --direct the bucket policy. --check exits 6 where something is missing or AWS would refuse
    the document; what is too wide, or cannot be told, is said and is no failure.
    """
    from s3pull.cli.render import Output

    out = Output(output)
    files = (*check, *(name for name in names if check and not re.fullmatch(_SHARE, name)))
    names = tuple(name for name in names if name not in files)
    if check and form != "json":
        raise UsageError("--check and --format exclude each other", hint="--json prints findings as JSON lines")
    accesses = _accesses(names, grant, config.config)
    granted = _granted(grant, accesses)
    if check:
        return _check(files, None if kind == "all" else kind, granted, out)
    sys.stdout.write(_document(kind, form, granted, accesses))
    sys.stdout.flush()
    for remark in _remarks(kind, form, granted, accesses, made=grant.new_external_id):
        out.say(remark)
    return 0


# --- what is granted --------------------------------------------------------------------------------------


def _accesses(names: tuple[str, ...], choice: GrantChoice, path: Path | None) -> tuple[Access, ...]:
    """How each share is reached, or the one place that the options name."""
    from s3pull.access import profiles
    from s3pull.access.config import share
    from s3pull.access.options import resolve
    from s3pull.pull.opening import read_config

    place = {key: getattr(choice, key) for key in ("bucket", "access_point", "prefix") if getattr(choice, key)}
    if names and place:
        raise UsageError("a share and --bucket, --access-point or --prefix contradict each other", hint="give one")
    if names:
        config = read_config(path)
        shares = [config.share(name.removesuffix(":")) for name in dict.fromkeys(names)]
    else:
        if not {"bucket", "access_point"} & set(place):
            raise UsageError("it is not said what is granted", hint="a share's name, or --bucket and --role-arn")
        shares = [share("options", place, lambda key: f"--{key.replace('_', '-')}" if key else "the grant")]
    given = {
        "role_arn": choice.role_arn,
        "region": choice.region,
        "bucket_owner": choice.bucket_owner,
        "mfa_serial": choice.mfa_serial,
        "source_identity": choice.source_identity,
        "session_tag": choice.session_tag or None,
    }
    known = profiles.load(os.environ)
    return tuple(
        resolve(share=one, bucket=None, prefix="", options=given, environ=os.environ, profiles=known) for one in shares
    )


def _granted(choice: GrantChoice, accesses: tuple[Access, ...]) -> Grant:
    """The grant of all these accesses together. Raises UsageError for what could not work."""
    from s3pull.access import values
    from s3pull.access.policies import grant as granting

    roles = {access.role_arn for access in accesses}
    direct = choice.direct or all(access.origins.get("no_assume") for access in accesses)
    if len(roles) > 1 and not direct:
        raise UsageError("these shares have different roles", hint="one command line for each role")
    role = None if direct else accesses[0].role_arn
    if role is None and not direct:
        raise UsageError("there is no role", hint="--role-arn ARN, or --direct for a bucket policy without one")
    partition = values.partition(accesses[0].role_arn)
    own = [access.external_id for access in accesses if access.external_id]
    ids = [_read("--external-id", values.external_id, one) for one in choice.external_id] or own
    if choice.new_external_id:
        ids.append(new_external_id())
    networks = tuple(_read("--source-ip", granting.source_ip, one) for one in choice.source_ip)
    if networks and any(map(granting.through_endpoint, accesses)):
        raise UsageError(
            "--source-ip cannot work: the share goes through a VPC endpoint, where aws:SourceIp is absent",
            hint="--source-vpce ID",
        )
    consumer = choice.consumer_role
    return granting.Grant(
        places=tuple(map(granting.place_of, accesses)),
        role_arn=role,
        consumer=consumer and _read("--consumer-role", lambda value: granting.principal(value, partition), consumer),
        external_ids=() if direct else tuple(dict.fromkeys(ids)),
        source_ips=networks,
        source_vpces=tuple(_read("--source-vpce", granting.source_vpce, one) for one in choice.source_vpce),
        org_id=choice.org_id and _read("--org-id", granting.org_id, choice.org_id),
        kms_keys=tuple(_read("--kms-key", granting.kms_key, one) for one in choice.kms_key),
        versions=choice.versions,
        tags=any(access.session_tags for access in accesses),
        identified=any(access.source_identity for access in accesses),
        mfa=any(access.mfa_serial for access in accesses),
        duration=max(access.duration for access in accesses),
        survives=choice.recreate_safe,
        pod_identity=choice.pod_identity,
    )


def _read(place: str, reader: Callable[[object], str], value: str) -> str:
    from s3pull.access.values import Wrong

    try:
        return reader(value)
    except Wrong as wrong:
        raise UsageError(f"{place} {wrong.problem}", hint=wrong.hint) from None


def new_external_id() -> str:
    """160 random bits as 40 characters that STS takes and that no shell reads as an option."""
    import secrets

    return secrets.token_hex(20)


# --- documents --------------------------------------------------------------------------------------------


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(kind: str, form: str, grant: Grant, accesses: tuple[Access, ...]) -> str:
    from s3pull.access.policies import cloudformation, deploy, kinds, terraform, trail

    if form == "sql":
        if kind != "cloudtrail":
            raise UsageError("--format sql is for --kind cloudtrail", hint="--kind cloudtrail --format sql")
        return trail.query(grant)
    if form == "json":
        return json.dumps(kinds.as_json(kind, grant, accesses, _now()), indent=2) + "\n"
    resources = deploy.deployed(kind, grant, accesses, _now())
    title = f"Read access by s3pull to {', '.join(dict.fromkeys(one.bucket for one in grant.places))}"
    if form == "terraform":
        return terraform.configuration(resources, title)
    return json.dumps(cloudformation.template(resources, title), indent=2) + "\n"


def _remarks(kind: str, form: str, grant: Grant, accesses: tuple[Access, ...], *, made: bool) -> list[str]:
    from s3pull.access.policies.remarks import remarks

    return remarks(kind, form, grant, accesses, made=made)


# --- check ------------------------------------------------------------------------------------------------


def _check(files: tuple[str, ...], kind: str | None, grant: Grant, out: Output) -> int:
    from s3pull.access.policies.check import Level, check
    from s3pull.access.policies.given import parse
    from s3pull.cli.render import counted
    from s3pull.errors import CheckFailed
    from s3pull.events import SCHEMA

    if kind == "cloudtrail":
        raise UsageError(
            "--kind cloudtrail is no policy that could be checked",
            hint="trust, role, bucket, key, consumer, session and revoke can",
        )
    given: list[Given] = []
    for file in files:
        given += parse(_text(file), file, direct=grant.direct, kind=kind)
    found = check(given, grant, _now())
    failed = any(one.level is Level.MISSING for one in found)
    code = CheckFailed.exit_code if failed else 0
    for one in found:
        if out.json:
            out.record(_record(one))
        else:
            for line in _lines(one):
                out.line(line)
    counts = {str(level): sum(one.level is level for one in found) for level in Level}
    seen = sorted({one.kind or "?" for one in given})
    if out.json:
        out.record({"schema": SCHEMA, "event": "summary", "checked": seen, **counts, "exit": code})
    else:
        told = ", ".join(f"{count} {level}" for level, count in counts.items() if count) or "nothing is missing"
        out.say(f"{counted(len(given), 'policy', 'policies')} checked ({', '.join(seen)}): {told}")
    return code


def _lines(one: Finding) -> list[str]:
    from s3pull.cli.render import printable

    kind = "" if one.kind == "?" else f" ({one.kind})"
    lines = [printable(f"{one.level}: {one.file}{kind}: {one.problem}")]
    if one.hint:
        lines.append(printable(f"  hint: {one.hint}"))
    if one.statement:
        lines.append(f"  statement: {json.dumps(one.statement)}")
    return lines


def _record(one: Finding) -> dict[str, Any]:
    from s3pull.events import SCHEMA

    return {
        "schema": SCHEMA,
        "event": "finding",
        "level": str(one.level),
        "kind": None if one.kind == "?" else one.kind,
        "file": one.file,
        "problem": one.problem,
        "hint": one.hint,
        "statement": one.statement,
    }


def _text(file: str) -> str:
    """The text of a policy. Blog posts and mails are read to the end, too: a mebibyte is more than AWS takes."""
    data = handed.read(file, _LARGEST, hint=_GIVE)
    if len(data) > _LARGEST:
        raise UsageError(f"{file}: larger than any policy can be", hint=_GIVE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file}: not UTF-8 text", hint=_GIVE) from None
