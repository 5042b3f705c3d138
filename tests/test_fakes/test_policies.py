"""The fake's IAM against AWS's published rules: statements, conditions, variables, and the order of evaluation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.policies import (
    ALLOW_ALL,
    BOUNDARY,
    ENDPOINT,
    IDENTITY,
    RCP,
    RESOURCE,
    SCP,
    SESSION,
    Ask,
    Guard,
    InvalidPolicy,
    Principal,
    Verdict,
    check,
    check_session,
    conditions_hold,
    decide,
    like,
)

OWNER, OTHER = "111111111111", "222222222222"
ROLE = f"arn:aws:iam::{OWNER}:role/reader"
SESSION_ARN = f"arn:aws:sts::{OWNER}:assumed-role/reader/ana"
OBJECT = "arn:aws:s3:::acme/data/k"


def policy(effect="Allow", action="s3:GetObject", resource="arn:aws:s3:::acme/data/*", principal=None, **condition):
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    if principal:
        statement["Principal"] = principal
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def reader(*identity, boundary=None, session=None):
    return Principal(OWNER, SESSION_ARN, (ROLE,), identity, boundary, session)


FOREIGN = Principal(OTHER, f"arn:aws:iam::{OTHER}:user/ana", (), (ALLOW_ALL,))
ANYONE = Principal(None, "anonymous")
DENY = policy("Deny", "s3:*", "*")
PUBLIC = policy(principal="*")


@pytest.mark.parametrize(
    ("who", "resource_policy", "guards", "verdict"),
    [
        (reader(), None, [], Verdict(False, IDENTITY)),
        (reader(policy()), None, [], Verdict(True)),
        (reader(policy(), DENY), None, [], Verdict(False, IDENTITY, True)),
        (reader(policy()), policy("Deny", principal="*"), [], Verdict(False, RESOURCE, True)),
        # the same account: the bucket's policy is enough where it names the principal, not where it names the account
        (reader(), policy(principal={"AWS": ROLE}), [], Verdict(True)),
        (reader(), policy(principal={"AWS": f"arn:aws:iam::{OWNER}:root"}), [], Verdict(False, IDENTITY)),
        (reader(policy(), boundary=policy(resource="arn:aws:s3:::x/*")), None, [], Verdict(False, BOUNDARY)),
        (reader(policy(), session=policy(resource="arn:aws:s3:::x/*")), None, [], Verdict(False, SESSION)),
        (reader(session=policy()), None, [], Verdict(False, IDENTITY)),  # a session policy adds nothing
        (reader(policy(), session=policy()), None, [], Verdict(True)),
        (reader(session=policy(resource="x")), policy(principal={"AWS": ROLE}), [], Verdict(False, SESSION)),
        (reader(session=policy(resource="x")), policy(principal={"AWS": SESSION_ARN}), [], Verdict(True)),
        # another account: both sides
        (FOREIGN, None, [], Verdict(False, RESOURCE)),
        (FOREIGN, policy(principal={"AWS": OTHER}), [], Verdict(True)),
        (FOREIGN, policy(principal={"AWS": FOREIGN.arn}), [], Verdict(True)),
        (Principal(OTHER, FOREIGN.arn), policy(principal={"AWS": FOREIGN.arn}), [], Verdict(False, IDENTITY)),
        (ANYONE, None, [], Verdict(False, RESOURCE)),
        (ANYONE, PUBLIC, [], Verdict(True)),
        # what can only take away
        (reader(policy()), None, [Guard(SCP, DENY, "arn:p")], Verdict(False, SCP, True, "arn:p")),
        (reader(policy()), None, [Guard(SCP, policy(action="s3:ListBucket"))], Verdict(False, SCP)),
        (reader(policy()), None, [Guard(RCP, policy(action="s3:ListBucket"))], Verdict(True)),
        (reader(policy()), None, [Guard(RCP, DENY)], Verdict(False, RCP, True)),
        (reader(policy()), None, [Guard(ENDPOINT, policy(resource="arn:aws:s3:::own/*"))], Verdict(False, ENDPOINT)),
        (reader(), None, [Guard(SCP, ALLOW_ALL)], Verdict(False, IDENTITY)),
    ],
)
def test_the_order_of_evaluation(who, resource_policy, guards, verdict):
    ask = Ask("s3:GetObject", OBJECT)
    assert decide(who, ask, resource_policy=resource_policy, resource_account=OWNER, guards=guards) == verdict


@pytest.mark.parametrize(
    ("who", "trust", "verdict"),
    [
        (FOREIGN, {"AWS": f"arn:aws:iam::{OTHER}:root"}, Verdict(True)),
        (FOREIGN, {"AWS": f"arn:aws:iam::{OTHER}:user/bob"}, Verdict(False, RESOURCE)),
        (Principal(OTHER, FOREIGN.arn), {"AWS": FOREIGN.arn}, Verdict(False, IDENTITY)),
        (Principal(OWNER, "arn:aws:iam::111111111111:user/o"), {"AWS": OWNER}, Verdict(False, IDENTITY)),
        (Principal(OWNER, "arn:aws:iam::111111111111:user/o"), {"AWS": "*"}, Verdict(True)),
        (reader(ALLOW_ALL), {"AWS": OTHER}, Verdict(False, RESOURCE)),  # own account, yet not trusted
    ],
)
def test_a_trust_policy_rules(who, trust, verdict):
    document = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trust}}
    ask = Ask("sts:AssumeRole", ROLE)
    assert decide(who, ask, resource_policy=document, resource_account=OWNER, resource_rules=True) == verdict


@pytest.mark.parametrize(
    ("verdict", "quoted", "tail"),
    [
        (Verdict(False), True, ""),
        (Verdict(False, IDENTITY), True, " because no identity-based policy allows the s3:GetObject action"),
        (Verdict(False, IDENTITY, True), False, " with an explicit deny in an identity-based policy"),
        (Verdict(False, RESOURCE, True), True, " with an explicit deny in a resource-based policy"),
        (Verdict(False, SCP, True, "arn:p"), True, " with an explicit deny in a service control policy: arn:p"),
    ],
)
def test_the_denial_grammar(verdict, quoted, tail):
    resource = f'"{OBJECT}"' if quoted else OBJECT
    said = verdict.message(SESSION_ARN, Ask("s3:GetObject", OBJECT), quoted=quoted)
    assert said == f"User: {SESSION_ARN} is not authorized to perform: s3:GetObject on resource: {resource}{tail}"


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"sts:ExternalId": "x"}}, {"sts:ExternalId": "x"}, True),
        ({"StringEquals": {"sts:ExternalId": "x"}}, {"sts:ExternalId": "X"}, False),
        ({"StringEquals": {"sts:ExternalId": ["w", "x"]}}, {"sts:ExternalId": "x"}, True),
        ({"StringEquals": {"sts:ExternalId": "x"}}, {}, False),
        ({"StringEquals": {"STS:externalid": "x"}}, {"sts:ExternalId": "x"}, True),
        ({"StringEqualsIfExists": {"sts:ExternalId": "x"}}, {}, True),
        ({"StringNotEquals": {"k": ["x", "y"]}}, {"k": "y"}, False),
        ({"StringNotEquals": {"k": "x"}}, {}, True),
        ({"StringEqualsIgnoreCase": {"k": "ab"}}, {"k": "AB"}, True),
        ({"StringLike": {"s3:prefix": ["data/", "data/*"]}}, {"s3:prefix": "data/2026"}, True),
        ({"StringLike": {"s3:prefix": ["data/", "data/*"]}}, {"s3:prefix": "data"}, False),
        ({"StringLike": {"s3:prefix": "${aws:username}/*"}}, {"s3:prefix": "ana/x", "aws:username": "ana"}, True),
        ({"StringLike": {"s3:prefix": "${aws:username}/*"}}, {"s3:prefix": "*/x", "aws:username": "*"}, True),
        ({"StringLike": {"s3:prefix": "${aws:username}/*"}}, {"s3:prefix": "a/x", "aws:username": "*"}, False),
        ({"StringLike": {"k": "${aws:username, 'none'}"}}, {"k": "none"}, True),
        ({"StringLike": {"k": "${aws:username}"}}, {"k": ""}, False),
        ({"StringLike": {"k": "a${*}b${?}${$}"}}, {"k": "a*b?$"}, True),
        ({"StringLike": {"k": "a${*}b"}}, {"k": "axb"}, False),
        ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "false"}, True),
        ({"Bool": {"aws:MultiFactorAuthPresent": True}}, {}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}, {}, True),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"Null": {"s3:prefix": "true"}}, {"s3:prefix": ""}, False),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.1"]}}, {"aws:SourceIp": "127.0.0.1"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {"aws:SourceIp": "127.0.0.1"}, False),
        ({"ArnLike": {"k": "arn:aws:iam::*:role/r*"}}, {"k": "arn:aws:iam::1:role/reader"}, True),
        ({"ArnLike": {"k": "arn:*"}}, {"k": "arn:aws:iam::1:role/reader"}, False),
        ({"ArnNotEquals": {"k": "arn:aws:iam::1:role/x"}}, {"k": "arn:aws:iam::1:role/reader"}, True),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "10"}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}, {"aws:CurrentTime": "0"}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ["a", "b"]}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, {}, True),
        ({"StringEquals": {"a": "1", "b": "2"}}, {"a": "1", "b": "3"}, False),
        ({"StringEquals": {"a": "1"}, "StringLike": {"b": "x*"}}, {"a": "1", "b": "y"}, False),
    ],
)
def test_conditions(condition, context, holds):
    assert conditions_hold(condition, context) is holds


@given(st.text(st.sampled_from("a*?$/"), max_size=8), st.text(st.sampled_from("a*?$/"), max_size=8))
def test_an_escaped_pattern_matches_itself_alone(key, other):
    escaped = "".join(f"${{{c}}}" if c in "*?$" else c for c in key)
    assert like(escaped, key, {})
    assert like(escaped, other, {}) == (key == other)


@pytest.mark.parametrize(
    ("action", "asked", "fits"),
    [
        ("s3:Get*", "s3:GetObjectVersion", True),
        ("S3:getobject", "s3:GetObject", True),
        ("s3:GetObject", "s3:GetObjectVersion", False),
        (["kms:Decrypt", "s3:*"], "s3:PutObject", True),
    ],
)
def test_actions(action, asked, fits):
    who = reader(policy(action=action))
    assert decide(who, Ask(asked, OBJECT), resource_account=OWNER).allowed is fits


def test_not_action_and_not_resource():
    who = reader({"Statement": [{"Effect": "Allow", "NotAction": "s3:Put*", "NotResource": "arn:aws:s3:::secret/*"}]})
    assert decide(who, Ask("s3:GetObject", OBJECT), resource_account=OWNER).allowed
    assert not decide(who, Ask("s3:PutObject", OBJECT), resource_account=OWNER).allowed
    assert not decide(who, Ask("s3:GetObject", "arn:aws:s3:::secret/k"), resource_account=OWNER).allowed


def test_documents_that_aws_would_not_take():
    with pytest.raises(InvalidPolicy):
        check({"Version": "2012 - 10 - 17", "Statement": []})
    with pytest.raises(InvalidPolicy):
        check(policy(StringSorta={"k": "v"}))
    with pytest.raises(InvalidPolicy):
        check(policy(), trust=True)
    with pytest.raises(InvalidPolicy):
        check_session(policy(principal="*"))
    with pytest.raises(InvalidPolicy):
        check_session({"Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]})
