"""Denials: the published grammar, who must act, and words that are not understood."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.access.denials import MUST_ACT, POLICIES, Cause, Clause, Who, diagnose, parse, remains

CALLER = "User: arn:aws:sts::111111111111:assumed-role/reader/ana is not authorized to perform: "
ME = "User: arn:aws:iam::222222222222:user/ana is not authorized to perform: "
ROLE = "arn:aws:iam::111111111111:role/reader"
SCP_ARN = "arn:aws:organizations::999999999999:policy/o-q/service_control_policy/p-2"


def s3(reason, action="s3:GetObject", resource='"arn:aws:s3:::src/data/k"'):
    return f"{CALLER}{action} on resource: {resource} {reason.format(action)}".rstrip()


def sts(reason, action="sts:AssumeRole"):
    return f"{ME}{action} on resource: {ROLE} {reason.format(action)}".rstrip()


NO = "because no {} allows the {{}} action"
DENY = "with an explicit deny in a {}"

#: policy type, then (who, cause) of AssumeRole, of S3 as the role, of S3 as yourself
TABLE = [
    ("identity-based policy", "you identity-policy", "owner identity-policy", "you identity-policy"),
    ("permissions boundary", "you boundary", "platform boundary", "you boundary"),
    ("session policy", "you session-policy", "you session-policy", "you session-policy"),
    ("service control policy", "you scp", "platform scp", "you scp"),
    ("resource control policy", "owner rcp", "platform rcp", "platform rcp"),
    ("role trust policy", "owner trust", "owner trust", "owner trust"),
    ("resource-based policy", "owner trust", "owner resource-policy", "owner resource-policy"),
    ("VPC endpoint policy", "network vpc-endpoint", "network vpc-endpoint", "network vpc-endpoint"),
]


@pytest.mark.parametrize("form", [NO, DENY])
@pytest.mark.parametrize(("policy", "assuming", "as_role", "as_self"), TABLE)
def test_the_table(policy, assuming, as_role, as_self, form):
    reason = form.format(policy)
    found = [
        diagnose("sts", 403, "AccessDenied", sts(reason)),
        diagnose("s3", 403, "AccessDenied", s3(reason)),
        diagnose("s3", 403, "AccessDenied", s3(reason), assumed=False),
    ]
    assert [f"{one.who} {one.causes[0].cause}" for one in found] == [assuming, as_role, as_self]
    assert all(one.told and one.clause.policy == policy for one in found)
    assert {one.clause.explicit for one in found} == {form is DENY}


def test_the_table_has_every_policy_type():
    assert {row[0] for row in TABLE} == set(POLICIES)


@pytest.mark.parametrize(
    ("message", "clause"),
    [
        (
            s3(f"with an explicit deny in a service control policy: {SCP_ARN}"),
            Clause(
                "arn:aws:sts::111111111111:assumed-role/reader/ana", "s3:GetObject", "arn:aws:s3:::src/data/k",
                "service control policy", True, SCP_ARN,
            ),
        ),
        (
            f"{ME}sts:AssumeRole because no role trust policy allows the sts:AssumeRole action",
            Clause("arn:aws:iam::222222222222:user/ana", "sts:AssumeRole", None, "role trust policy"),
        ),
        (
            f"{ME}sts:AssumeRole with an explicit deny in the role trust policy",
            Clause("arn:aws:iam::222222222222:user/ana", "sts:AssumeRole", None, "role trust policy", True),
        ),
        (
            s3("with an explicit deny in a VPC endpoint policy transitively through a service control policy"),
            Clause(
                "arn:aws:sts::111111111111:assumed-role/reader/ana", "s3:GetObject", "arn:aws:s3:::src/data/k",
                "VPC endpoint policy", True,
            ),
        ),
        (
            s3(NO.format("identity-based policy"), "kms:Decrypt", "arn:aws:kms:r:1:key/k"),
            Clause(
                "arn:aws:sts::111111111111:assumed-role/reader/ana", "kms:Decrypt", "arn:aws:kms:r:1:key/k",
                "identity-based policy",
            ),
        ),
        (sts(""), Clause("arn:aws:iam::222222222222:user/ana", "sts:AssumeRole", ROLE)),
        ("Access Denied", Clause()),
    ],
)  # fmt: skip
def test_the_grammar(message, clause):
    assert parse(message) == clause


@pytest.mark.parametrize(
    "message", ["Access Denied", *(s3(NO.format(f"{kind} policy")) for kind in ("identity-based", "session"))]
)
def test_nobody_has_no_policy_of_his_own(message):
    found = diagnose("s3", 403, "AccessDenied", message, assumed=False, anonymous=True)
    assert [str(one.cause) for one in found.causes] == ["resource-policy", "ownership"]
    assert {str(one.who) for one in found.causes} == {"owner"}
    listed = diagnose("s3", 403, "AccessDenied", message, assumed=False, anonymous=True, listing=True)
    assert [str(one.cause) for one in listed.causes] == ["resource-policy"]


def test_a_key_is_not_read_as_words_of_aws():
    """Keys are anybody's choice, and S3 quotes them in its messages."""
    key = "because no session policy allows the s3:GetObject action"
    hostile = s3("", resource=f'"arn:aws:s3:::src/{key}"')
    assert parse(hostile).policy is None
    assert not diagnose("s3", 403, "AccessDenied", hostile).told
    nested = s3(NO.format("identity-based policy"), resource=f'"arn:aws:s3:::src/x" {key} "y"')
    assert parse(nested).policy == "identity-based policy"


# --- codes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "status", "code", "message", "who", "cause"),
    [
        ("sts", 403, "ExpiredToken", "The security token included in the request is expired", "you", "credentials"),
        ("sts", 403, "InvalidClientTokenId", "The security token … is invalid.", "you", "credentials"),
        ("sts", 403, "SignatureDoesNotMatch", "The request signature we calculated …", "you", "credentials"),
        ("sts", 403, "SignatureDoesNotMatch", "Signature expired: … is now earlier than …", "you", "clock"),
        ("sts", 403, "SignatureDoesNotMatch", "Signature not yet current: …", "you", "clock"),
        ("sts", 403, "RegionDisabledException", "STS is not activated in this region", "you", "region"),
        ("sts", 400, "PackedPolicyTooLarge", "Packed policy consumes 118%", "you", "session-policy"),
        ("sts", 400, "MalformedPolicyDocument", "Syntax errors in policy.", "you", "session-policy"),
        ("sts", 400, "ValidationError", "The requested DurationSeconds exceeds the Max…", "you", "duration"),
        ("sts", 400, "ValidationError", "1 validation error detected", "you", "configuration"),
        ("sts", 403, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA …", "you", "mfa"),
        ("sts", 403, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code.", "you", "mfa"),
        ("sts", 403, "AccessDenied", sts("", "sts:TagSession"), "owner", "trust"),
        ("sts", 403, "AccessDenied", sts("", "sts:SetSourceIdentity"), "owner", "trust"),
        ("s3", 301, "PermanentRedirect", "…", "you", "region"),
        ("s3", 307, "TemporaryRedirect", "…", "you", "region"),
        ("s3", 400, "AuthorizationHeaderMalformed", "…; the region 'A' is wrong; expecting 'B'", "you", "region"),
        ("s3", 400, "IllegalLocationConstraintException", "…", "you", "region"),
        ("s3", 400, "ExpiredToken", "The provided token has expired.", "you", "credentials"),
        ("s3", 400, "InvalidToken", "…", "you", "credentials"),
        ("s3", 403, "InvalidAccessKeyId", "…", "you", "credentials"),
        ("s3", 403, "RequestTimeTooSkewed", "…", "you", "clock"),
        ("s3", 403, "InvalidObjectState", "…", "owner", "archived"),
        ("s3", 404, "NoSuchBucket", "…", "you", "bucket-missing"),
        ("s3", 404, "NoSuchKey", "…", "you", "key-missing"),
        ("s3", 404, "NoSuchVersion", "…", "you", "version"),
        ("s3", 405, "MethodNotAllowed", "…", "owner", "version"),
        ("s3", 412, "PreconditionFailed", "…", "you", "changed"),
        ("s3", 416, "InvalidRange", "…", "you", "changed"),
        ("s3", 503, "SlowDown", "…", "unknown", "service"),
        ("s3", 500, "Whatever", "…", "unknown", "service"),
        ("s3", 400, "KMS.DisabledException", "… is disabled.", "owner", "kms"),
        ("s3", 400, "KMS.KMSInvalidStateException", "… is pending deletion.", "owner", "kms"),
        ("s3", 400, "KMS.NotFoundException", "Key … does not exist", "owner", "kms"),
        ("s3", 400, "InvalidRequest", "… stored using a form of Server Side Encryption. …", "owner", "sse-c"),
    ],
)  # fmt: skip
def test_codes(service, status, code, message, who, cause):
    found = diagnose(service, status, code, message)
    assert (str(found.who), str(found.causes[0].cause), found.told) == (who, cause, True)


CIPHERTEXT = (
    f"{CALLER}kms:Decrypt on the resource associated with this ciphertext because the resource does not exist in this "
    "Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (s3(NO.format("identity-based policy"), "kms:Decrypt", "arn:aws:kms:r:1:key/k"), "the role's policy"),
        (s3(NO.format("resource-based policy"), "kms:Decrypt", "arn:aws:kms:r:1:key/k"), "the policy of the object"),
        (CIPHERTEXT, "the policy of the object's KMS key"),
        ("The ciphertext refers to a customer master key that does not exist, …", "the policy of the object's KMS key"),
    ],
)  # fmt: skip
def test_kms_is_the_role_or_the_key(message, why):
    found = diagnose("s3", 403, "AccessDenied", message)
    assert (found.who, found.causes[0].cause, found.told) == (Who.OWNER, Cause.KMS, True)
    assert found.causes[0].why.startswith(why)


def test_kms_of_a_direct_reader_begins_with_the_key_that_no_other_account_can_use():
    found = diagnose("s3", 403, "AccessDenied", CIPHERTEXT, assumed=False)
    assert "aws/s3" in found.causes[0].why


# --- nobody can tell ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "message", "assumed", "first"),
    [
        ("sts", sts(""), True, "external-id"),
        ("s3", "Access Denied", True, "vpc-endpoint"),
        ("s3", "", True, "vpc-endpoint"),
        ("s3", "Forbidden", True, "vpc-endpoint"),
        ("s3", s3(""), True, "vpc-endpoint"),
        ("s3", "Access Denied", False, "resource-policy"),
    ],
)
def test_a_denial_that_says_nothing(service, message, assumed, first):
    found = diagnose(service, 403, "AccessDenied", message, assumed=assumed)
    assert (found.who, found.told) == (Who.UNKNOWN, False)
    assert found.causes[0].cause == first
    assert found.line.startswith("AWS does not say why; most likely first: ")


@pytest.mark.parametrize("service", ["sts", "s3"])
@pytest.mark.parametrize(
    "message",
    [
        "The moon is in the wrong house.",
        s3("because of a permissions guardrail in the account"),
        s3("because an identity-based policy does not allow the {} action"),
        s3("with an explicit deny in a network perimeter policy"),
        s3(NO.format("identity-based policy") + " unless you ask nicely"),
        s3("because no identity-based policy, and no session policy, allows the {} action"),
    ],
)
def test_unseen_words_are_shown_and_not_guessed_at(service, message):
    found = diagnose(service, 403, "AccessDenied", message)
    assert (found.who, found.told, found.causes[0].cause) == (Who.UNKNOWN, False, Cause.UNKNOWN)
    assert message in found.causes[0].why
    assert found.causes[1:] == remains(service)


def test_an_unknown_code_is_shown():
    found = diagnose("s3", 409, "OperationAborted", "A conflicting operation is in progress.")
    assert (found.who, found.told) == (Who.UNKNOWN, False)
    assert "A conflicting operation" in found.causes[0].why


WORDS = st.sampled_from(
    [*POLICIES, "because no", "allows the", "action", "with an explicit deny in a", "User: x", "on resource:", '"',
     "kms:Decrypt", "s3:ListBucket", "not authorized to perform:", "is", "arn:aws:s3:::b/k", "Access Denied", "403"]
)  # fmt: skip
MESSAGES = st.text(max_size=200) | st.lists(WORDS, max_size=12).map(" ".join)


@settings(deadline=None)
@given(
    service=st.sampled_from(["sts", "s3"]) | st.text(max_size=5),
    status=st.none() | st.integers(-1, 700),
    code=st.sampled_from(["AccessDenied", "403", "SignatureDoesNotMatch", "KMS.X", "400"]) | st.text(max_size=20),
    message=MESSAGES,
    assumed=st.booleans(),
)
def test_it_never_raises_and_always_says_something(service, status, code, message, assumed):
    found = diagnose(service, status, code, message, assumed=assumed)
    assert found.causes
    assert found.line
    assert found.told or found.who is Who.UNKNOWN
    assert found.who == found.causes[0].who or not found.told


@settings(deadline=None)
@given(key=st.text(max_size=100), policy=st.sampled_from(POLICIES), explicit=st.booleans())
def test_whatever_the_key_the_policy_is_the_one_that_aws_names(key, policy, explicit):
    reason = (DENY if explicit else NO).format(policy)
    clause = parse(s3(reason, resource=f'"arn:aws:s3:::src/{key}"'))
    assert (clause.policy, clause.explicit, clause.resource) == (policy, explicit, f"arn:aws:s3:::src/{key}")


def test_everybody_who_must_act_has_a_sentence():
    assert set(MUST_ACT) == set(Who)
