"""What STS answers: AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity, with AWS's checks and texts.

Shapes: ACCESS.md 1 and https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.fakes import sigv4
from tests.fakes.http import Request, Response
from tests.fakes.identities import Role, Session, User
from tests.fakes.policies import (
    ENDPOINT,
    IDENTITY,
    RCP,
    RESOURCE,
    SCP,
    TRUST,
    Ask,
    Document,
    InvalidPolicy,
    Principal,
    Values,
    Verdict,
    check_session,
    decide,
    matches,
)
from tests.fakes.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws, Recorded

ACTIONS = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity", "GetSessionToken"})
SKEW = 900.0
#: packed policies: what AWS's opaque limit comes to here, in bytes after compression
PACKED_BUDGET = 700


def form_of(request: Request) -> dict[str, str]:
    """The fields of an STS call; empty where the request is not one."""
    if request.path != "/":
        return {}
    text = request.body.decode() if request.method == "POST" else request.raw_query
    form = dict(parse_qsl(text, keep_blank_values=True))
    return form if form.get("Action") in ACTIONS else {}


def answer(aws: FakeAws, request: Request, record: Recorded) -> Response:
    form = record.form
    if form["Action"] == "AssumeRoleWithWebIdentity":
        return _web_identity(aws, form, record)
    holder = authenticate(aws, request)
    if form["Action"] == "GetCallerIdentity":
        _pass_endpoint(aws, holder)
        who = {"UserId": holder.user_id, "Account": holder.principal().account or "", "Arn": holder.arn}
        return _result("GetCallerIdentity", _xml(who), record)
    if form["Action"] == "AssumeRole":
        return _assume(aws, holder, form, request, record)
    raise Refusal(400, "InvalidAction", f"Could not find operation {form['Action']} for version 2011-06-15")


def _pass_endpoint(aws: FakeAws, holder: User | Session) -> None:
    """GetCallerIdentity needs no permission; a VPC endpoint may refuse it all the same."""
    who, ask = holder.principal(), Ask("sts:GetCallerIdentity", "*")
    for _, guard in aws.guards:
        if guard.kind == ENDPOINT and guard.applies_to("sts") and not matches(guard.document, ask, "Allow", who):
            verdict = Verdict(False, ENDPOINT)
            text = f"User: {who.arn} is not authorized to perform: {ask.action}{verdict.reason(ask.action)}"
            raise Refusal(403, "AccessDenied", text)


def authenticate(aws: FakeAws, request: Request) -> User | Session:
    """Who signed the request, or the refusal that STS answers with."""
    try:
        signature = sigv4.parse(request)
    except (ValueError, KeyError) as malformed:
        raise Refusal(400, "IncompleteSignature", str(malformed)) from None
    if signature is None:
        raise Refusal(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    holder = aws.directory.holder(signature.access_key)
    if holder is None or signature.token != holder.keys.token or signature.service != "sts":
        raise Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
    if isinstance(holder, Session) and holder.expires <= aws.clock.now():
        raise Refusal(403, "ExpiredToken", "The security token included in the request is expired")
    if not sigv4.fits(request, signature, holder.keys.secret_key):
        raise Refusal(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
    now = aws.clock.now()
    if signature.time < now - SKEW:
        limit, stamp = _stamp(now - SKEW), signature.stamp
        text = f"Signature expired: {stamp} is now earlier than {limit} ({_stamp(now)} - 15 min.)"
        raise Refusal(403, "SignatureDoesNotMatch", text)
    if signature.time > now + SKEW:
        limit, stamp = _stamp(now + SKEW), signature.stamp
        text = f"Signature not yet current: {stamp} is still later than {limit} ({_stamp(now)} + 15 min.)"
        raise Refusal(403, "SignatureDoesNotMatch", text)
    return holder


def _stamp(when: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(when))


# --- AssumeRole -----------------------------------------------------------------------------------------

#: field, name in messages, pattern, least and most characters
_FIELDS = [
    ("RoleArn", "roleArn", r"[\t\n\r\x20-\x7e\x85\xa0-\U0010ffff]+", 20, 2048),
    ("RoleSessionName", "roleSessionName", r"[\w+=,.@-]*", 2, 64),
    ("ExternalId", "externalId", r"[\w+=,.@:\/-]*", 2, 1224),
    ("SourceIdentity", "sourceIdentity", r"[\w+=,.@-]*", 2, 64),
    ("SerialNumber", "serialNumber", r"[\w+=/:,.@-]*", 9, 256),
    ("TokenCode", "tokenCode", r"[\d]*", 6, 6),
    ("Policy", "policy", r"[\t\n\r\x20-\xff]+", 1, 2048),
]


def _assume(aws: FakeAws, holder: User | Session, form: dict[str, str], request: Request, record: Recorded) -> Response:
    duration = _validated(form)
    tags = _tags(form)
    caller = holder.principal()
    with_code = _with_code(aws, form)
    context: dict[str, Values] = {
        "aws:SourceIp": "127.0.0.1",
        "aws:SecureTransport": str(request.secure).lower(),
        "aws:UserAgent": request.headers.get("user-agent", ""),
        "sts:RoleSessionName": form["RoleSessionName"],
        **{f"aws:RequestTag/{name}": value for name, value in tags.items()},
    }
    if with_code:
        context["aws:MultiFactorAuthPresent"] = "true"
    if "ExternalId" in form:
        context["sts:ExternalId"] = form["ExternalId"]
    identity = form.get("SourceIdentity") or (holder.source_identity if isinstance(holder, Session) else None)
    if identity:
        context["sts:SourceIdentity"] = identity
    if tags:
        context["aws:TagKeys"] = list(tags)
    role = aws.directory.roles.get(form["RoleArn"])
    _authorize(aws, caller, role, form, context, tagged=bool(tags), identified=bool(identity))
    assert role is not None
    _check_duration(role, duration, chained=isinstance(holder, Session))
    policy = _session_policy(form)
    session = aws.directory.add_session(
        role,
        form["RoleSessionName"],
        duration,
        policy=policy,
        source_identity=identity,
        tags=tags,
    )
    packed = _packed_size(role, form, tags)
    return _result("AssumeRole", _session_xml(session, packed), record)


def _validated(form: dict[str, str]) -> int:
    """The duration in seconds, all fields being well-formed. https://docs.aws.amazon.com/STS API_AssumeRole"""
    wrong = []
    for name, shown, pattern, least, most in _FIELDS:
        value = form.get(name)
        if value is None:
            if name in ("RoleArn", "RoleSessionName"):
                wrong.append(f"Value null at '{shown}' failed to satisfy constraint: Member must not be null")
        elif not re.fullmatch(pattern, value, re.ASCII):
            wrong.append(
                f"Value '{value}' at '{shown}' failed to satisfy constraint: Member must satisfy regular "
                f"expression pattern: {pattern}"
            )
        elif len(value) < least:
            wrong.append(
                f"Value '{value}' at '{shown}' failed to satisfy constraint: Member must have length "
                f"greater than or equal to {least}"
            )
        elif len(value) > most:
            wrong.append(
                f"Value '{value}' at '{shown}' failed to satisfy constraint: Member must have length "
                f"less than or equal to {most}"
            )
    duration = int(form.get("DurationSeconds", "3600"))
    if not 900 <= duration <= 43200:
        bound = "greater than or equal to 900" if duration < 900 else "less than or equal to 43200"
        wrong.append(
            f"Value '{duration}' at 'durationSeconds' failed to satisfy constraint: Member must have value {bound}"
        )
    if wrong:
        count = f"{len(wrong)} validation error{'s' * (len(wrong) > 1)} detected: "
        raise Refusal(400, "ValidationError", count + "; ".join(wrong))
    if not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", form["RoleArn"]):
        raise Refusal(400, "ValidationError", f"{form['RoleArn']} is invalid")
    if form.get("SourceIdentity", "").startswith("aws:"):
        raise Refusal(400, "ValidationError", "Source identity cannot begin with aws:")
    return duration


def _tags(form: dict[str, str]) -> dict[str, str]:
    found = {}
    for number in range(1, 52):
        name = form.get(f"Tags.member.{number}.Key")
        if name is None:
            break
        found[name] = form.get(f"Tags.member.{number}.Value", "")
    if len(found) > 50:
        raise Refusal(400, "ValidationError", "Member must have length less than or equal to 50")
    return found


def _with_code(aws: FakeAws, form: dict[str, str]) -> bool:
    """True where a right MFA code was given; a wrong one is refused whatever the trust policy wants."""
    if "SerialNumber" not in form and "TokenCode" not in form:
        return False
    expected = aws.directory.mfa_codes.get(form.get("SerialNumber", ""))
    if expected is None:
        raise Refusal(
            403,
            "AccessDenied",
            "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is "
            "valid and associated with this user.",
        )
    if form.get("TokenCode") != expected:
        text = "MultiFactorAuthentication failed with invalid MFA one time pass code."
        raise Refusal(403, "AccessDenied", text)
    if aws.single_use_codes:
        aws.directory.mfa_codes[form["SerialNumber"]] = ""
    return True


def _authorize(
    aws: FakeAws,
    caller: Principal,
    role: Role | None,
    form: dict[str, str],
    context: dict[str, Values],
    *,
    tagged: bool,
    identified: bool,
) -> None:
    """Trust and identity must both allow every action in play. AWS says why only where its own side withheld it."""
    arn = form["RoleArn"]
    actions = ["sts:AssumeRole"]
    actions += ["sts:TagSession"] * tagged + ["sts:SetSourceIdentity"] * identified
    for action in actions:
        ask = Ask(action, arn, context)
        denied = f"User: {caller.arn} is not authorized to perform: {action}"
        if role is None:
            raise Refusal(403, "AccessDenied", f"{denied} on resource: {arn}")
        applies = {SCP: (None, caller.account), RCP: (None, role.account), ENDPOINT: (None,)}
        guards = [guard for account, guard in aws.guards if account in applies[guard.kind] and guard.applies_to("sts")]
        verdict = decide(
            caller,
            ask,
            resource_policy=role.trust,
            resource_account=role.account,
            resource_rules=True,
            guards=guards,
        )
        if verdict.allowed:
            continue
        if verdict.kind != RESOURCE:
            shown = verdict.kind != IDENTITY or action == "sts:AssumeRole"
            reason = verdict.reason(action) if shown else ""
            raise Refusal(403, "AccessDenied", f"{denied} on resource: {arn}{reason}")
        if aws.trust_reasons:
            raise Refusal(403, "AccessDenied", denied + verdict._replace(kind=TRUST).reason(action))
        raise Refusal(403, "AccessDenied", f"{denied} on resource: {arn}")


def _check_duration(role: Role, duration: int, *, chained: bool) -> None:
    if chained and duration > 3600:
        raise Refusal(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        )
    if duration > role.max_session:
        text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise Refusal(400, "ValidationError", text)


def _session_policy(form: dict[str, str]) -> Document | None:
    if "Policy" not in form:
        return None
    try:
        return check_session(json.loads(form["Policy"]))
    except InvalidPolicy as invalid:
        raise Refusal(400, "MalformedPolicyDocument", str(invalid)) from None
    except ValueError:
        raise Refusal(400, "MalformedPolicyDocument", "This policy contains invalid Json") from None


def _packed_size(role: Role, form: dict[str, str], tags: dict[str, str]) -> int:
    """Percent of the packed budget. AWS's format is not published; here it is zlib's."""
    plain = form.get("Policy", "") + "".join(name + value for name, value in tags.items())
    percent = role.packed + (len(zlib.compress(plain.encode(), 9)) * 100 // PACKED_BUDGET if plain else 0)
    if percent > 100:
        text = f"Packed policy consumes {percent}% of allotted space, please use smaller policy."
        raise Refusal(400, "PackedPolicyTooLarge", text)
    return percent


def _web_identity(aws: FakeAws, form: dict[str, str], record: Recorded) -> Response:
    """AssumeRoleWithWebIdentity, unsigned: the token is the proof. The role's trust is not evaluated for it."""
    subject = aws.directory.web_tokens.get(form.get("WebIdentityToken", ""))
    role = aws.directory.roles.get(form.get("RoleArn", ""))
    if subject is None:
        raise Refusal(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account")
    if role is None:
        raise Refusal(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    session = aws.directory.add_session(role, form["RoleSessionName"], int(form.get("DurationSeconds", "3600")))
    extra = f"<SubjectFromWebIdentityToken>{escape(subject)}</SubjectFromWebIdentityToken>"
    return _result("AssumeRoleWithWebIdentity", _session_xml(session, 0) + extra, record)


# --- XML ------------------------------------------------------------------------------------------------


def _session_xml(session: Session, packed: int) -> str:
    keys = session.keys
    credentials = {
        "AccessKeyId": keys.access_key,
        "SecretAccessKey": keys.secret_key,
        "SessionToken": keys.token or "",
        "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.expires)),
    }
    who = {"AssumedRoleId": session.user_id, "Arn": session.arn}
    text = f"<AssumedRoleUser>{_xml(who)}</AssumedRoleUser><Credentials>{_xml(credentials)}</Credentials>"
    if session.policy is not None or packed:
        text += f"<PackedPolicySize>{packed}</PackedPolicySize>"
    if session.source_identity:
        text += _xml({"SourceIdentity": session.source_identity})
    return text


def _xml(fields: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())


def _result(action: str, inner: str, record: Recorded) -> Response:
    body = (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<{action}Result>{inner}</{action}Result>"
        f"<ResponseMetadata><RequestId>{record.request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return Response(200, {"Content-Type": "text/xml"}, body.encode())
