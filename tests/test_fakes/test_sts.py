"""Who may assume what, and in which words STS says no."""

import json

import pytest

from tests.fakes import Keys
from tests.test_fakes.asking import BARE, CONSUMER, OWNER, READER, assume, refused


def test_who_am_i(fake_aws, clients, ana):
    sts = clients(fake_aws, "sts", ana)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{CONSUMER}:user/ana"
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    identity = clients(fake_aws, "sts", assume(sts)).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{OWNER}:assumed-role/reader/ana"
    assert identity["Account"] == OWNER


@pytest.mark.parametrize(
    ("trust", "asked", "answer"),
    [
        ({CONSUMER: "secret"}, {"ExternalId": "secret"}, None),
        ({CONSUMER: None}, {"ExternalId": "superfluous"}, None),
        ({CONSUMER: "secret"}, {}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({CONSUMER: "secret"}, {"ExternalId": "Secret"}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({"333333333333": None}, {}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({f"arn:aws:iam::{CONSUMER}:user/ana": None}, {}, None),
        ({f"arn:aws:iam::{CONSUMER}:user/bob": None}, {}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({CONSUMER: "secret"}, {"ExternalId": "secret", "SourceIdentity": "ana"}, None),
        ({CONSUMER: None}, {"Tags": [{"Key": "team", "Value": "x"}]}, None),
    ],
)
def test_trust(fake_aws, clients, ana, trust, asked, answer):
    fake_aws.role(OWNER, "reader", trust)
    sts = clients(fake_aws, "sts", ana)
    if answer is None:
        assert assume(sts, **asked)
    else:
        assert refused(assume, sts, **asked) == answer
    assert fake_aws.count("AssumeRole") == 1


def test_a_role_that_is_not_there_is_denied_like_any_other(fake_aws, clients, ana):
    assert refused(assume, clients(fake_aws, "sts", ana)) == (403, "AccessDenied", BARE.format("sts:AssumeRole"))


def test_tags_and_source_identity_need_their_own_allow(fake_aws, clients, ana):
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, tags=False)
    sts = clients(fake_aws, "sts", ana)
    denied = refused(assume, sts, SourceIdentity="ana")
    assert denied == (403, "AccessDenied", BARE.format("sts:SetSourceIdentity"))
    assert refused(assume, sts, Tags=[{"Key": "k", "Value": "v"}])[2] == BARE.format("sts:TagSession")


def test_whose_policy_is_missing(fake_aws, clients):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    eve = fake_aws.user(CONSUMER, "eve", policy=None)
    message = refused(assume, clients(fake_aws, "sts", eve))[2]
    assert message.endswith("because no identity-based policy allows the sts:AssumeRole action")
    fake_aws.role(OWNER, "reader", {"333333333333": None})
    fake_aws.trust_reasons = True
    message = refused(assume, clients(fake_aws, "sts", fake_aws.user(CONSUMER, "ana")))[2]
    assert message == (
        f"User: arn:aws:iam::{CONSUMER}:user/ana is not authorized to perform: sts:AssumeRole because no role trust "
        "policy allows the sts:AssumeRole action"
    )
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}
    fake_aws.role(OWNER, "reader", {"Statement": [deny]})
    message = refused(assume, clients(fake_aws, "sts", fake_aws.user(CONSUMER, "ana")))[2]
    assert message.endswith("perform: sts:AssumeRole with an explicit deny in the role trust policy")


@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        ({"RoleSessionName": "a b"}, 400, "ValidationError", "'roleSessionName' failed to satisfy constraint"),
        ({"DurationSeconds": 7200}, 400, "ValidationError", "exceeds the MaxSessionDuration set for this role."),
        ({"Policy": "{"}, 400, "MalformedPolicyDocument", "Json"),
        ({"Policy": json.dumps({"Statement": [{"Effect": "Maybe"}]})}, 400, "MalformedPolicyDocument", "Syntax"),
        (
            {"SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"},
            403,
            "AccessDenied",
            "unable to validate MFA",
        ),
        ({"SourceIdentity": "aws:x"}, 400, "ValidationError", "'sourceIdentity'"),
        ({"ExternalId": "a b"}, 400, "ValidationError", "'externalId'"),
    ],
)
def test_what_sts_will_not_take(fake_aws, clients, ana, asked, status, code, words):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    sts = clients(fake_aws, "sts", ana)
    got = refused(sts.assume_role, **{"RoleArn": READER, "RoleSessionName": "ana", **asked})
    assert got[:2] == (status, code)
    assert words in got[2]


def test_mfa(fake_aws, clients, ana):
    serial = f"arn:aws:iam::{CONSUMER}:mfa/ana"
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, mfa_serial=serial, mfa_code="123456")
    sts = clients(fake_aws, "sts", ana)
    assert refused(assume, sts)[1] == "AccessDenied"
    wrong = refused(assume, sts, SerialNumber=serial, TokenCode="000000")
    assert wrong == (403, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
    for _ in range(2):
        assert assume(sts, SerialNumber=serial, TokenCode="123456")
    fake_aws.single_use_codes = True
    assert assume(sts, SerialNumber=serial, TokenCode="123456")
    assert refused(assume, sts, SerialNumber=serial, TokenCode="123456") == wrong


def test_chained_sessions_last_an_hour_at_most(fake_aws, clients):
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, max_session=43200)
    sts = clients(fake_aws, "sts", fake_aws.session(CONSUMER, "dev"))
    assert "role chaining" in refused(assume, sts, DurationSeconds=3601)[2]
    assert assume(sts, DurationSeconds=3600)
    assert assume(clients(fake_aws, "sts", fake_aws.user(CONSUMER, "ana")), DurationSeconds=43200)


def test_packed_policies(fake_aws, clients, ana):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    sts = clients(fake_aws, "sts", ana)
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::acme/*"}]})
    answer = sts.assume_role(RoleArn=READER, RoleSessionName="ana", Policy=policy)
    assert 0 < answer["PackedPolicySize"] < 50
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, packed=99)
    status, code, message = refused(assume, sts, Policy=policy)
    assert (status, code) == (400, "PackedPolicyTooLarge")
    assert message.startswith("Packed policy consumes 1")


def test_bad_credentials(fake_aws, clients, ana):
    unknown = Keys("AKIAUNKNOWNUNKNOWN00", "x" * 40)
    assert refused(clients(fake_aws, "sts", unknown).get_caller_identity)[:2] == (403, "InvalidClientTokenId")
    forged = Keys(ana.access_key, "x" * 40)
    assert refused(clients(fake_aws, "sts", forged).get_caller_identity)[:2] == (403, "SignatureDoesNotMatch")
    session = fake_aws.session(CONSUMER, "dev")
    fake_aws.expire_sessions()
    assert refused(clients(fake_aws, "sts", session).get_caller_identity)[:2] == (403, "ExpiredToken")
    fake_aws.clock.offset = 3600
    status, code, message = refused(clients(fake_aws, "sts", ana).get_caller_identity)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message.startswith("Signature expired: ")


def test_web_identity(fake_aws, clients):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    fake_aws.directory.web_tokens["jwt1"] = "system:serviceaccount:default:puller"
    sts = clients(fake_aws, "sts")
    asked = {"RoleArn": READER, "RoleSessionName": "pod"}
    answer = sts.assume_role_with_web_identity(WebIdentityToken="jwt1", **asked)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{OWNER}:assumed-role/reader/pod"
    assert refused(sts.assume_role_with_web_identity, WebIdentityToken="jwt2", **asked)[1] == "InvalidIdentityToken"
