"""The session policy: nothing outside the source ever matches, everything inside does."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3pull.access.narrow import MOST_CHARACTERS, escaped, narrowing
from s3pull.objects import Access
from tests.fakes.policies import Ask, Principal, check_session, decide

ROLE = "arn:aws:iam::111111111111:role/reader"
POINT = "arn:aws:s3:eu-west-1:111111111111:accesspoint/data"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def allowed(access: Access, action: str, resource: str, **context: str) -> bool:
    """Whether a session of a role that may do anything may do this under the narrowing of `access`."""
    policy = check_session(json.loads(narrowing(access).policy))
    session = "arn:aws:sts::111111111111:assumed-role/reader/ana"
    who = Principal("111111111111", session, (ROLE,), (EVERYTHING,), session=policy)
    asked = Ask(action, resource, {key.replace("_", ":", 1): value for key, value in context.items()})
    return decide(who, asked, resource_account="111111111111").allowed


def share(prefix: str, bucket: str = "acme", role: str = ROLE) -> Access:
    return Access(bucket, prefix, share="acme", role_arn=role)


@pytest.mark.parametrize(
    ("action", "resource", "context", "may"),
    [
        ("s3:GetObject", "arn:aws:s3:::acme/2026/a", {}, True),
        ("s3:GetObject", "arn:aws:s3:::acme/2026/", {}, True),
        ("s3:GetObjectVersion", "arn:aws:s3:::acme/2026/a/b", {}, True),
        ("s3:GetObject", "arn:aws:s3:::acme/2025/a", {}, False),
        ("s3:GetObject", "arn:aws:s3:::acme/2026", {}, False),
        ("s3:GetObject", "arn:aws:s3:::other/2026/a", {}, False),
        ("s3:PutObject", "arn:aws:s3:::acme/2026/a", {}, False),
        ("s3:DeleteObject", "arn:aws:s3:::acme/2026/a", {}, False),
        ("s3:GetObjectAcl", "arn:aws:s3:::acme/2026/a", {}, False),
        ("s3:ListBucket", "arn:aws:s3:::acme", {"s3_prefix": "2026/"}, True),
        ("s3:ListBucket", "arn:aws:s3:::acme", {"s3_prefix": "2026/a"}, True),
        ("s3:ListBucketVersions", "arn:aws:s3:::acme", {"s3_prefix": "2026/"}, True),
        ("s3:ListBucket", "arn:aws:s3:::acme", {"s3_prefix": "2025/"}, False),
        ("s3:ListBucket", "arn:aws:s3:::acme", {"s3_prefix": ""}, False),
        ("s3:ListBucket", "arn:aws:s3:::acme", {}, False),
        ("kms:Decrypt", "arn:aws:kms:eu-west-1:1:key/x", {"kms_ViaService": "s3.eu-west-1.amazonaws.com"}, True),
        ("kms:Decrypt", "arn:aws:kms:eu-west-1:1:key/x", {"kms_ViaService": "ec2.eu-west-1.amazonaws.com"}, False),
        ("kms:Decrypt", "arn:aws:kms:eu-west-1:1:key/x", {}, False),
        ("kms:Encrypt", "arn:aws:kms:eu-west-1:1:key/x", {"kms_ViaService": "s3.eu-west-1.amazonaws.com"}, False),
        ("sts:AssumeRole", "arn:aws:iam::1:role/x", {}, False),
    ],
)
def test_a_share_with_a_prefix(action, resource, context, may):
    assert allowed(share("2026/"), action, resource, **context) is may


@pytest.mark.parametrize("access", [share(""), Access("acme", "2026/", role_arn=ROLE)])
def test_the_bucket_where_there_is_no_prefix_and_for_s3_sources(access):
    assert narrowing(access).width == "bucket"
    assert allowed(access, "s3:GetObject", "arn:aws:s3:::acme/2025/a")
    assert allowed(access, "s3:ListBucket", "arn:aws:s3:::acme")
    assert not allowed(access, "s3:GetObject", "arn:aws:s3:::acme-2/2025/a")
    assert not allowed(access, "s3:ListBucket", "arn:aws:s3:::acme-2")
    assert not allowed(access, "s3:PutObject", "arn:aws:s3:::acme/2025/a")


def test_an_access_point_in_its_own_form():
    access = share("2026/", POINT)
    assert allowed(access, "s3:GetObject", f"{POINT}/object/2026/a")
    assert allowed(access, "s3:ListBucket", POINT, s3_prefix="2026/")
    assert not allowed(access, "s3:GetObject", f"{POINT}/object/2025/a")
    assert not allowed(access, "s3:GetObject", f"{POINT}-2/object/2026/a")
    assert not allowed(access, "s3:GetObject", "arn:aws:s3:::data/2026/a")


def test_an_access_points_alias():
    access = share("2026/", "data-x7k2m9-s3alias")
    assert allowed(access, "s3:GetObject", f"{POINT}/object/2026/a")
    assert not allowed(access, "s3:GetObject", f"{POINT}/object/2025/a")
    assert not allowed(access, "s3:GetObject", "arn:aws:s3:::anything/2026/a")


def test_a_directory_bucket_read_only():
    access = share("2026/", "acme--use1-az4--x-s3")
    statement = json.loads(narrowing(access).policy)["Statement"][0]
    assert statement["Action"] == "s3express:CreateSession"
    assert statement["Resource"].endswith(":bucket/acme--use1-az4--x-s3")
    assert statement["Condition"] == {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}


@pytest.mark.parametrize(
    ("role", "partition", "suffix"),
    [
        ("arn:aws-cn:iam::111111111111:role/r", "aws-cn", "amazonaws.com.cn"),
        ("arn:aws-us-gov:iam::111111111111:role/r", "aws-us-gov", "amazonaws.com"),
    ],
)
def test_other_partitions(role, partition, suffix):
    policy = narrowing(share("a/", role=role)).policy
    assert f"arn:{partition}:s3:::acme/a/*" in policy
    assert f'"s3.*.{suffix}"' in policy


def test_no_narrowing():
    assert narrowing(Access("acme", "a/", share="acme", role_arn=ROLE, narrow=False)) == (
        type(narrowing(share("a")))(None, "role", None)
    )


def test_a_prefix_that_is_too_long_is_said():
    longest = next(n for n in range(1024, 0, -1) if narrowing(share("p" * n)).width == "prefix")
    assert longest > 500
    assert len(narrowing(share("p" * longest)).policy) <= MOST_CHARACTERS
    wide = narrowing(share("p" * (longest + 1)))
    assert (wide.width, wide.policy) == ("bucket", narrowing(share("")).policy)
    assert "too long" in wide.note


def test_asked_for_the_bucket_at_most():
    assert narrowing(share("a/"), at_most="bucket") == narrowing(share(""))


def test_only_characters_that_sts_takes():
    policy = narrowing(share("данные/数据/")).policy
    assert policy.isascii()
    assert allowed(share("данные/"), "s3:GetObject", "arn:aws:s3:::acme/данные/x")


keys = st.text(st.sampled_from("ab*?$${}/.é\\\"'%[] "), max_size=12)


@settings(max_examples=300, deadline=None)
@given(keys.filter(bool), keys)
@example("*", "ab")
@example("a?", "ab")
@example("${aws:username}", "x")
@example("$*", "$x")
@example("data", "database")
def test_exactly_what_begins_with_the_prefix(prefix, key):
    access = share(prefix)
    inside = key.startswith(prefix)
    assert allowed(access, "s3:GetObject", f"arn:aws:s3:::acme/{key}") is inside
    assert allowed(access, "s3:ListBucket", "arn:aws:s3:::acme", s3_prefix=key) is inside
    assert allowed(access, "s3:GetObject", f"arn:aws:s3:::acme/{prefix}{key}")
    assert allowed(access, "s3:ListBucket", "arn:aws:s3:::acme", s3_prefix=prefix + key)
    assert not allowed(access, "s3:GetObject", f"arn:aws:s3:::acme2/{prefix}{key}")


@given(keys)
def test_escaping_is_undone_by_iams_own_rule(text):
    assert escaped(text).replace("${*}", "\x01").replace("${?}", "\x02").replace("${$}", "$").replace(
        "\x01", "*"
    ).replace("\x02", "?") == text  # fmt: skip
