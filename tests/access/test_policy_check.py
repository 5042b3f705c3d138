"""`policy --check`: our own documents are clean, a statement less is noticed, and foreign mistakes get their names."""

from __future__ import annotations

import copy
import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.access.narrow import MOST_CHARACTERS, narrowing
from s3pull.access.policies import check as checking
from s3pull.access.policies import given as giving
from s3pull.access.policies import reading
from s3pull.access.policies.grant import Grant, Place
from s3pull.access.policies.kinds import KINDS, as_json, unfit
from s3pull.errors import UsageError
from s3pull.objects import Access
from tests.fakes.policies import like

ROLE = "arn:aws:iam::111111111111:role/reader"
CONSUMER = "arn:aws:iam::222222222222:role/consumer"
KEY = "arn:aws:kms:eu-west-1:111111111111:key/0a1b"
NOW = "2026-11-25T14:00:00Z"
GRANT = Grant((Place("acme", "data/"),), ROLE, CONSUMER, ("id-1",))
OBJECTS, BUCKET = "arn:aws:s3:::acme/data/*", "arn:aws:s3:::acme"
PREFIX = {"StringLike": {"s3:prefix": ["data/", "data/*"]}}


def found(document, grant=GRANT, kind=None):
    """(level, problem, hint) of everything that is said about a document."""
    text = json.dumps(document)
    said = checking.check(giving.parse(text, "p.json", direct=grant.direct, kind=kind), grant, NOW)
    return [(str(one.level), one.problem, one.hint) for one in said]


def allow(action, resource=None, principal=None, condition=None, **more):
    parts = {"Action": action, "Resource": resource, "Principal": principal, "Condition": condition}
    return {"Effect": "Allow", **{name: value for name, value in parts.items() if value is not None}, **more}


def policy(*statements, version="2012-10-17"):
    return {"Version": version, "Statement": list(statements)}


# --- our own ----------------------------------------------------------------------------------------------

texts = st.text(st.sampled_from("ab*?${}/.é "), max_size=8)
arns = st.sampled_from(
    [
        CONSUMER,
        "arn:aws:iam::222222222222:user/ana",
        "arn:aws:iam::222222222222:root",
        "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Read_0123456789abcdef",
    ]
)
places = st.lists(
    st.builds(
        Place,
        st.sampled_from(
            ["acme", "acme-2", "arn:aws:s3:eu-west-1:111111111111:accesspoint/data", "acme--use1-az4--x-s3"]
        ),
        texts,
        st.just("us-east-1"),
        st.just("111111111111"),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda place: (place.bucket, place.prefix),
)


@st.composite
def grants(draw):
    ips, vpces = draw(
        st.sampled_from([((), ()), (("203.0.113.0/24", "198.51.100.7"), ()), ((), ("vpce-0a1b2c3d4e5f6a7b8",))])
    )
    consumer, where = draw(arns), tuple(draw(places))
    keys = draw(st.sampled_from([(), (KEY,), (KEY, KEY.replace("eu-west-1", "eu-west-2"))]))
    return Grant(
        where,
        draw(st.sampled_from([ROLE, None])),
        consumer,
        draw(st.sampled_from([(), ("one",), ("one", "two*")])),
        ips,
        vpces,
        draw(st.sampled_from([None, "o-a1b2c3d4e5"])),
        () if any(place.is_directory for place in where) else keys,
        versions=draw(st.booleans()),
        tags=draw(st.booleans()),
        identified=draw(st.booleans()),
        mfa=":user/" in consumer and draw(st.booleans()),
        survives=draw(st.booleans()),
    )


def access_of(grant):
    place = grant.places[0]
    return Access(place.bucket, place.prefix, share="acme", role_arn=grant.role_arn)


def said_about(kind, document, grant):
    return checking.check(giving.parse(json.dumps(document), "p", direct=grant.direct, kind=kind), grant, NOW)


@settings(max_examples=40, deadline=None)
@given(grants())
def test_what_we_print_is_clean(grant):
    accesses = (access_of(grant),) * len(grant.places)
    for kind in KINDS:
        if kind in {"cloudtrail", "revoke"} or unfit(kind, grant, accesses):
            continue
        if kind == "session" and len(narrowing(accesses[0]).policy) > MOST_CHARACTERS - 100:
            continue
        assert said_about(None if kind != "session" else kind, as_json(kind, grant, accesses, NOW), grant) == [], kind


@settings(max_examples=40, deadline=None)
@given(grants())
def test_each_statement_that_is_dropped_is_noticed(grant):
    accesses = (access_of(grant),) * len(grant.places)
    for kind in ("trust", "role", "bucket", "consumer"):
        if unfit(kind, grant, accesses):
            continue
        document = as_json(kind, grant, accesses, NOW)
        whole = document if "Statement" in document else next(iter(document.values()))
        for number in range(len(whole["Statement"])):
            less = copy.deepcopy(document)
            del (less if "Statement" in less else next(iter(less.values())))["Statement"][number]
            assert said_about(kind, less, grant) != [], (kind, whole["Statement"][number])


# --- what others write ------------------------------------------------------------------------------------


def assume(condition=None, action="sts:AssumeRole"):
    return allow(action, None, {"AWS": CONSUMER}, condition)


def trusting(principal):
    return allow("sts:AssumeRole", None, {"AWS": principal})


def external_id(value, operator="StringEquals"):
    return {operator: {"sts:ExternalId": value}}


def listing(operator, value):
    return allow("s3:ListBucket", BUCKET, None, {operator: {"s3:prefix": value}})


def deny(action, resource, **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


BOTH = ["sts:AssumeRole", "sts:SetSourceIdentity"]
IN_2030 = {"DateLessThan": {"aws:TokenIssueTime": "2030-01-01T00:00:00Z"}}
OF_A_TEAM = {"StringEquals": {"aws:PrincipalTag/team": "a"}}
FROM_A_NETWORK = {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
WITH_MFA = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
TRUST = [
    assume(external_id("id-1")),
    allow("sts:SetSourceIdentity", None, {"AWS": CONSUMER}),
]
READ, LIST = allow("s3:GetObject", OBJECTS), allow("s3:ListBucket", BUCKET, None, PREFIX)


@pytest.mark.parametrize(
    ("document", "level", "words"),
    [
        # the version that blog posts carry
        (policy(READ, LIST, version="2012 - 10 - 17"), "missing", "refuses the version"),
        (policy(READ, LIST, version="2012–10–17"), "missing", "refuses the version"),
        ({"Statement": [READ, LIST]}, "optional", "no version"),
        # resources
        (policy(allow("s3:GetObject", BUCKET), LIST), "missing", "is asked of objects"),
        (policy(READ, allow("s3:ListBucket", f"{BUCKET}/*", None, PREFIX)), "missing", "of the bucket itself"),
        (policy(allow("s3:GetObject", f"{BUCKET}/data/*.csv"), LIST), "missing", "only a part of"),
        (policy(allow("s3:GetObject", f"{BUCKET}/other/*"), LIST), "missing", "objects cannot be read"),
        # conditions
        (policy(allow("s3:GetObject", OBJECTS, None, PREFIX), LIST), "missing", "never holds"),
        (policy(READ, listing("StringEquals", "data")), "missing", "let in 'data/'"),
        (policy(READ, listing("StringLike", "data/2024/*")), "missing", "only a part"),
        # a Deny wins
        (policy(READ, LIST, deny("s3:*", f"{BUCKET}/data/raw/*", Sid="No")), "missing", "a Deny (No)"),
        (policy(READ, LIST, deny("*", "*", Condition=IN_2030)), "missing", "a Deny"),
        # too wide
        (policy(allow("s3:Get*", OBJECTS), LIST), "wide", "s3:Get* is more than reading needs"),
        (policy(allow("*", "*")), "wide", "* is more than what is granted"),
        (policy(allow("s3:GetObject", f"{BUCKET}/*"), LIST), "wide", "/* is more than what is granted"),
        (policy(READ, allow("s3:ListBucket", BUCKET)), "wide", "can be listed"),
        (policy(READ, LIST, listing("StringLike", "other/*")), "wide", "'other/*'"),
        (policy(READ, LIST, allow("s3:PutObject", OBJECTS)), "wide", "s3:PutObject"),
        (policy(LIST, {"Effect": "Allow", "NotAction": "iam:*", "Resource": OBJECTS}), "wide", "NotAction"),
        # what cannot be told
        (policy(allow("s3:GetObject", OBJECTS, None, OF_A_TEAM), LIST), "unknown", "aws:PrincipalTag/team"),
        (policy(allow("s3:GetObject", OBJECTS, None, FROM_A_NETWORK), LIST), "unknown", "aws:SourceIp"),
        (policy(allow("s3:GetObject", f"{BUCKET}/${{aws:username}}/*"), LIST), "unknown", "policy variable"),
        # forms
        (policy({"Action": "s3:GetObject", "Resource": OBJECTS}, LIST), "missing", "neither Allow nor Deny"),
    ],
)  # fmt: skip
def test_roles(document, level, words):
    said = found(document)
    assert any(one[0] == level and words in f"{one[1]} {one[2]}" for one in said), said


@pytest.mark.parametrize(
    ("document", "level", "words"),
    [
        (policy(TRUST[1]), "missing", "cannot assume"),
        (policy(TRUST[0]), "optional", "source identity"),
        (policy(allow("sts:AssumeRole", None, {"AWS": CONSUMER}), TRUST[1]), "wide", "confused deputy"),
        (policy(assume(external_id("ID-1"))), "missing", "case and white space"),
        (policy(assume(external_id("*", "StringLike")), TRUST[1]), "wide", "any external ID"),
        (policy(assume(external_id(["id-1", "old"])), TRUST[1]), "wide", "another external ID"),
        (policy(assume(external_id("id-1"), BOTH)), "optional", "statement of its own"),
        (policy(trusting("arn:aws:sts::222222222222:assumed-role/consumer/ana")), "missing", "is a session"),
        (policy(trusting("AROAABCDEFGHIJKLMNOP")), "missing", "deleted"),
        (policy(trusting("arn:aws:iam::222222222222:role/other")), "missing", f"must be {CONSUMER}"),
        (policy(trusting("222222222222")), "wide", "everyone in account 222222222222"),
        (policy(trusting("*")), "wide", "every AWS account"),
        (policy(*TRUST, trusting("arn:aws:iam::333333333333:role/x")), "wide", "333333333333:role/x may"),
        (policy(allow("sts:*", None, {"AWS": CONSUMER})), "wide", "sts:*"),
        (policy(allow("sts:AssumeRole", "*", {"AWS": CONSUMER})), "missing", "refuses it in a trust policy"),
        (policy(assume(WITH_MFA)), "missing", "carry no MFA"),
        (policy(assume(FROM_A_NETWORK)), "unknown", "aws:SourceIp"),
    ],
)  # fmt: skip
def test_trust_policies(document, level, words):
    said = found(document)
    assert any(one[0] == level and words in f"{one[1]} {one[2]}" for one in said), said
    assert "id-1" not in json.dumps(said)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (external_id("*", "StringLike"), "any external ID is accepted: it protects nothing"),
        (external_id(["id-1", "*"], "StringLike"), "any external ID is accepted: it protects nothing"),
        (external_id("?*", "StringLikeIfExists"), "the role can be assumed without an external ID"),
        (external_id("another", "StringNotEquals"), "the role can be assumed without an external ID"),
        (external_id("id-*", "StringLike"), "every external ID of a pattern is accepted"),
        (external_id(["id-1", "id-0"]), "another external ID is accepted, too"),
    ],
)
def test_external_ids_that_are_too_many(condition, problem):
    """And nobody is told that a rotation goes on where it does not."""
    said = found(policy(assume(condition), assume(action="sts:SetSourceIdentity")))
    assert [level for level, _, _ in said] == ["wide"]
    assert said[0][1].startswith(problem)
    assert ("rotation" in str(said)) == ("another" in problem)
    assert "id-" not in str(said)


def test_a_source_ip_never_holds_through_a_vpc_endpoint():
    there = Grant(GRANT.places, ROLE, CONSUMER, ("id-1",), source_vpces=("vpce-0a1b2c3d",))
    said = found(policy(assume(FROM_A_NETWORK)), there)
    assert any(level == "missing" and "aws:SourceVpce" in hint for level, _, hint in said if hint)


def test_keys():
    there = Grant(GRANT.places, ROLE, CONSUMER, ("id-1",), kms_keys=(KEY,))
    root = allow("kms:*", "*", {"AWS": "arn:aws:iam::111111111111:root"})
    assert found(policy(root), there) == []
    mine = {"AWS": ROLE}
    service = {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}
    assert found(policy(allow("kms:Decrypt", "*", mine, service)), there) == []
    assert [one[0] for one in found(policy(allow("kms:Decrypt", "*", mine)), there)] == ["wide"]
    elsewhere = {"StringEquals": {"kms:ViaService": "s3.eu-west-2.amazonaws.com"}}
    assert [one[0] for one in found(policy(allow("kms:Decrypt", "*", mine, elsewhere)), there)] == ["missing"]
    by_address = {**service, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    ((level, _, hint),) = found(policy(allow("kms:Decrypt", "*", mine, by_address)), there)
    assert (level, "address of its own" in hint) == ("missing", True)
    assert [one[0] for one in found(policy(root))] == ["unknown"]


def test_buckets():
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    plain = deny("s3:*", [BUCKET, f"{BUCKET}/*"], Principal="*", Condition=insecure)
    assert found(policy(plain)) == []
    assert [one[0] for one in found(policy({**plain, "Resource": f"{BUCKET}/*"}))] == ["optional"]
    by_network = {"StringNotEquals": {"aws:SourceVpce": "vpce-0a1b2c3d"}}
    elsewhere = deny("s3:*", f"{BUCKET}/*", Principal="*", Condition=by_network)
    assert [one[0] for one in found(policy(plain, elsewhere))] == ["unknown"]
    admins = {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111111111111:role/admin"}}
    others = deny("s3:*", f"{BUCKET}/*", Principal="*", Condition=admins)
    assert [one[0] for one in found(policy(plain, others))] == ["missing"]
    public = allow("s3:GetObject", f"{BUCKET}/*", "*")
    assert [one[0] for one in found(policy(plain, public))] == ["wide"]


def test_a_revocation_lets_todays_sessions_in():
    before = {"DateLessThan": {"aws:TokenIssueTime": "2026-11-01T00:00:00Z"}}
    revoked = policy({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": before})
    assert found(policy(READ, LIST, *revoked["Statement"])) == []
    assert found(revoked) == []


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (policy(), "the policy has no statement: AWS refuses it"),
        ({"Version": "2012-10-17", "Statement": None}, "the policy has no statement: AWS refuses it"),
        (policy(5), "statement 1 is no object: AWS refuses it"),
        (policy("s3:GetObject"), "statement 1 is no object: AWS refuses it"),
        (policy({"Effect": "Allow", "Action": None, "Resource": OBJECTS}), "statement has no Action"),
        (policy({"Effect": "Allow", "Action": [], "Resource": OBJECTS}), "statement has no Action"),
        (policy({"Effect": "Allow", "Action": {}, "Resource": OBJECTS}), "statement has no Action"),
        (policy({"Effect": "allow", "Action": "s3:GetObject", "Resource": OBJECTS}),
         "statement has neither Allow nor Deny as its Effect"),
        (policy({"Action": "s3:GetObject", "Resource": OBJECTS, "Sid": "R"}),
         "statement R has neither Allow nor Deny as its Effect"),
        (policy(allow("s3:GetObject")), "statement has no Resource"),
        (policy(allow("sts:AssumeRole", None, {"AWS": CONSUMER}), allow("sts:AssumeRole")),
         "statement has no Principal"),
    ],
)  # fmt: skip
def test_what_aws_refuses_is_missing(document, problem):
    assert ("missing", problem, None) in found(document)


def test_a_policy_that_denies_nothing_is_no_revocation():
    """It would be held to nothing, and so would pass."""
    kinds = {one.kind for one in giving.parse(json.dumps(policy({"Action": "s3:GetObject"})), "p", direct=False)}
    assert kinds == {"role"}
    assert [one.kind for one in giving.parse(json.dumps(policy()), "p", direct=False)] == [None]


def test_a_principal_in_a_policy_of_a_role():
    named = policy(allow("s3:GetObject", OBJECTS, {"AWS": ROLE}))
    assert any("has a Principal" in problem for _, problem, _ in found(named, kind="role"))


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(policy(READ, LIST)),
        json.dumps([READ, LIST]),
        json.dumps({"RoleName": "reader", "PolicyName": "p", "PolicyDocument": policy(READ, LIST)}),
        json.dumps({"PolicyVersion": {"VersionId": "v1", "Document": policy(READ, LIST)}}),
        json.dumps({"Policy": json.dumps(policy(READ, LIST))}),
        json.dumps({"role": policy(READ, LIST), "cloudtrail": {"AdvancedEventSelectors": []}}),
    ],
)
def test_the_forms_in_which_policies_come(text):
    (one,) = giving.parse(text, "f", direct=False)
    assert (one.kind, len(one.document["Statement"])) == ("role", 2)


def test_the_answer_of_get_role_is_percent_encoded_at_times():
    (one,) = giving.parse(
        json.dumps({"Role": {"RoleName": "r", "AssumeRolePolicyDocument": quote(json.dumps(policy(*TRUST)))}}),
        "f",
        direct=False,
    )
    assert one.kind == "trust"


@pytest.mark.parametrize(("text", "problem"), [("{", "not JSON"), ("{}", "no policy"), ("[1]", "no policy")])
def test_what_is_no_policy(text, problem):
    with pytest.raises(UsageError) as caught:
        giving.parse(text, "f.json", direct=False)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"Role":' * 900 + "1" + "}" * 900, '{"Statement":[{"Action":' + "[" * 500 + "]" * 500 + "}]}",
     json.dumps({"Policy": "[" * 100_000})],
)  # fmt: skip
def test_what_is_nested_too_deep(text):
    with pytest.raises(UsageError, match="nested deeper than any policy is"):
        giving.parse(text, "p.json", direct=False)


# --- the reader -------------------------------------------------------------------------------------------

small = st.text(st.sampled_from("ab*?"), max_size=8)
letters = st.text(st.sampled_from("ab"), max_size=4)


@settings(max_examples=120, deadline=None)
@given(small, letters, st.lists(letters, min_size=1, max_size=4))
def test_patterns_as_the_fakes_iam_has_them(pattern, start, ends):
    closed = reading.pattern_extent(pattern, reading.Span(start))
    assert closed is (reading.ALL if like(pattern, start, {}) else reading.NONE)
    extent = reading.pattern_extent(pattern, reading.Span(start, True))
    hits = [like(pattern, start + end, {}) for end in ends]
    assert not (extent is reading.ALL and not all(hits))
    assert not (extent is reading.NONE and any(hits))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "*", "?", "$", "{", "}", "${a}", "${*}", "${?}", "${$}"]), max_size=9).map("".join)
)
def test_a_pattern_is_taken_apart_as_one_expression_would(parts):
    pattern = "".join(parts)
    naive = re.compile(r"\$\{([*?$])\}|(\$\{[^}]*\})|([*?])|(.)", re.DOTALL)
    assert list(reading._pieces(pattern)) == naive.findall(pattern)


@pytest.mark.parametrize(
    ("pattern", "extent"),
    [
        ("*" * 3_000, reading.ALL),
        ("*" * 300_000, reading.ALL),
        ("*a" * 150_000, reading.SOME),
        ("*?" * 150_000, reading.SOME),
        ("?" * 300_000, reading.SOME),
        ("${" * 150_000, reading.NONE),
        ("arn:aws:s3:::acme/" + "*?" * 3_000 + "*", reading.SOME),
    ],
)
def test_nobody_waits_for_a_pattern(pattern, extent):
    """24 s of 3,000 stars, once; a policy may be a mebibyte."""
    began = time.process_time()
    assert found(policy(allow("s3:GetObject", pattern), allow("s3:ListBucket", BUCKET, condition=PREFIX)))
    span = reading.Span("arn:aws:s3:::acme/data/", True)
    assert reading.pattern_extent(pattern, span) is extent
    assert time.process_time() - began < 5


def test_nobody_waits_for_a_long_list_within_another():
    began = time.process_time()
    many = {"StringLike": {"s3:prefix": [f"a{number}*" for number in range(8_000)]}}
    listed = allow("s3:ListBucket", [f"b{number}" for number in range(8_000)], condition=many)
    assert found(policy(listed, allow("s3:GetObject", OBJECTS)))
    assert time.process_time() - began < 10


@settings(max_examples=80, deadline=None)
@given(small, letters, letters)
def test_what_lies_within(pattern, prefix, text):
    if reading.within(pattern, [reading.Span(prefix, True)]) is reading.ALL and like(pattern, text, {}):
        assert text.startswith(prefix)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | small | st.sampled_from(["Allow", "Deny", "sts:AssumeRole", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Version",
                    "Statement",
                    "Effect",
                    "Action",
                    "Resource",
                    "Principal",
                    "AWS",
                    "Condition",
                    "StringEquals",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(anything, st.sampled_from(["trust", "role", "bucket", "consumer"]))
def test_a_strangers_json_is_judged_or_refused_and_never_a_crash(value, kind):
    try:
        given_ = giving.parse(json.dumps(value), "f", direct=False, kind=kind)
    except UsageError:
        return
    for one in checking.check(given_, GRANT, NOW):
        assert one.problem
