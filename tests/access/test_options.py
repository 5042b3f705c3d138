"""How options, share, environment and AWS profile become one Access."""

from __future__ import annotations

import pytest

from s3pull.access import options
from s3pull.access.config import SHARE_KEYS, Share, share
from s3pull.access.options import ACCESS_OPTIONS
from s3pull.access.profiles import Profiles
from s3pull.errors import UsageError

ROLE = "arn:aws:iam::111111111111:role/reader"
OTHER_ROLE = "arn:aws:iam::333333333333:role/other"
POINT = "arn:aws:s3:eu-central-1:444444444444:accesspoint/data"


def resolve(one: Share | None = None, *, bucket="acme", prefix="", environ=None, profiles=None, **chosen):
    found = {name: dict(section) for name, section in (profiles or {}).items()}
    return options.resolve(
        share=one, bucket=None if one else bucket, prefix=prefix, options=chosen, environ=environ or {},
        profiles=Profiles(found, found),
    )  # fmt: skip


def a_share(**settings) -> Share:
    return share("acme", {"bucket": "acme", **settings})


def test_every_option_is_a_share_key_and_every_share_key_a_field():
    names = [option.name for option in ACCESS_OPTIONS]
    assert set(SHARE_KEYS) == {"bucket", "access_point", "prefix", *names}
    assert len(set(names)) == len(names)
    assert set(Share.fields()) == {"name", *SHARE_KEYS}


def test_the_contract_of_the_command_line():
    """CLI.md, "Access options"."""
    assert {option.flag for option in ACCESS_OPTIONS} == {
        "--role-arn", "--external-id", "--profile", "--region", "--mfa-serial", "--duration", "--session-name",
        "--source-identity", "--session-tag", "--bucket-owner", "--no-assume", "--anonymous", "--request-payer",
        "--narrow", "--endpoint-url", "--sts-endpoint-url", "--cache", "--allow-http",
    }  # fmt: skip
    assert options.BY_NAME["external_id"].variable == "S3PULL_EXTERNAL_ID"


VALUES = {
    "role_arn": (ROLE, OTHER_ROLE, "role_arn"),
    "region": ("eu-west-1", "us-west-2", "region"),
    "duration": ("15m", "2h", "duration"),
    "session_name": ("ana", "bob", "session_name"),
    "source_identity": ("ana", "bob", "source_identity"),
    "session_tag": ("a=1", "b=2", "session_tags"),
    "bucket_owner": ("555555555555", "666666666666", "bucket_owner"),
    "request_payer": ("true", "false", "request_payer"),
    "narrow": ("false", "true", "narrow"),
    "endpoint_url": ("https://a.example", "https://b.example", "endpoint_url"),
    "sts_endpoint_url": ("https://a.example", "https://b.example", "sts_endpoint_url"),
    "cache": ("none", "file", "cache"),
    "allow_http": ("true", "false", "allow_http"),
}


@pytest.mark.parametrize("name", VALUES)
def test_option_over_share_over_environment(name):
    first, second, field = VALUES[name]
    option = options.BY_NAME[name]
    expected, other = option.parse(first), option.parse(second)
    environ = {option.variable: second}
    from_environment = resolve(a_share(), environ=environ)
    assert getattr(from_environment, field) == other
    assert from_environment.origins[name] == "environment"
    in_share = a_share(**{name: option.parse(first)})
    assert getattr(resolve(in_share, environ=environ), field) == expected
    assert resolve(in_share, environ=environ).origins[name] == "share"
    chosen = resolve(in_share, environ=environ, **{name: second})
    assert getattr(chosen, field) == other
    assert chosen.origins[name] == "option"


def test_the_defaults():
    found = resolve(a_share(role_arn=ROLE, external_id="xy-1", prefix="2026/"))
    assert (found.bucket, found.prefix, found.share) == ("acme", "2026/", "acme")
    assert (found.duration, found.narrow, found.cache, found.bucket_owner) == (3600, True, "auto", "111111111111")
    assert (found.region, found.anonymous, found.request_payer, found.session_name) == (None, False, False, None)


def test_an_s3_source():
    found = resolve(bucket="acme", prefix="a/", role_arn=ROLE)
    assert (found.bucket, found.prefix, found.share) == ("acme", "a/", None)


P = {"default": {}, "work": {"role_arn": OTHER_ROLE, "source_profile": "default"}}
ENV_KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("chosen", "settings", "environ", "role", "anonymous", "origin"),
    [
        ({}, {}, {}, None, False, None),
        ({}, {"role_arn": ROLE}, {}, ROLE, False, "share"),
        ({"no_assume": True}, {"role_arn": ROLE}, {}, None, False, None),
        ({"anonymous": True}, {"role_arn": ROLE}, {}, None, True, None),
        ({"role_arn": ROLE}, {"no_assume": True}, {}, ROLE, False, "option"),
        ({"role_arn": ROLE}, {"anonymous": True}, {}, ROLE, False, "option"),
        ({"anonymous": False}, {"anonymous": True}, {}, None, False, None),
        ({}, {"role_arn": ROLE}, {"S3PULL_NO_ASSUME": "1"}, ROLE, False, "share"),
        ({}, {}, {"S3PULL_NO_ASSUME": "1", "AWS_PROFILE": "work"}, None, False, None),
        ({}, {}, {"S3PULL_ROLE_ARN": ROLE}, ROLE, False, "environment"),
        ({}, {}, {"AWS_PROFILE": "work"}, OTHER_ROLE, False, "profile"),
        ({"profile": "work"}, {}, {}, OTHER_ROLE, False, "profile"),
        ({}, {}, {"S3PULL_PROFILE": "work", **ENV_KEYS}, OTHER_ROLE, False, "profile"),
        ({}, {}, {"AWS_PROFILE": "work", **ENV_KEYS}, None, False, None),
        ({"no_assume": True}, {"profile": "work"}, {}, None, False, None),
        ({"anonymous": True}, {"profile": "gone"}, {}, None, True, None),
        # a role from elsewhere: the profile as a whole is the own credentials
        ({"profile": "work"}, {"role_arn": ROLE}, {}, ROLE, False, "share"),
        # the profile's own role, said twice
        ({"profile": "work", "role_arn": OTHER_ROLE}, {}, {}, OTHER_ROLE, False, "profile"),
        # empty variables say nothing
        ({}, {}, {"S3PULL_ROLE_ARN": "", "AWS_PROFILE": ""}, None, False, None),
    ],
)
def test_how_access_is_had(chosen, settings, environ, role, anonymous, origin):
    found = resolve(a_share(**settings), environ=environ, profiles=P, **chosen)
    assert (found.role_arn, found.anonymous, found.origins.get("role_arn") if role else None) == (
        role, anonymous, origin,
    )  # fmt: skip


def test_a_profiles_role_brings_its_settings():
    profiles = {
        "default": {},
        "work": {
            "role_arn": ROLE,
            "source_profile": "default",
            "external_id": "from-profile",
            "role_session_name": "ana",
            "mfa_serial": "arn:aws:iam::222222222222:mfa/ana",
            "duration_seconds": "7200",
            "region": "eu-west-3",
            "ca_bundle": "/ca.pem",
        },
    }
    found = resolve(profile="work", profiles=profiles)
    assert (found.external_id, found.session_name, found.duration) == ("from-profile", "ana", 7200)
    assert (found.mfa_serial, found.region, found.ca_bundle) == (
        "arn:aws:iam::222222222222:mfa/ana", "eu-west-3", "/ca.pem",
    )  # fmt: skip
    nearer = resolve(a_share(external_id="from-share"), profile="work", duration="1h", profiles=profiles)
    assert (nearer.external_id, nearer.duration) == ("from-share", 3600)
    elsewhere = resolve(profile="work", role_arn=OTHER_ROLE, profiles=profiles)
    assert (elsewhere.external_id, elsewhere.session_name, elsewhere.mfa_serial) == (None, None, None)


def test_a_web_identity_profile_is_own_credentials():
    profiles = {"web": {"role_arn": ROLE, "web_identity_token_file": "/token"}}
    assert resolve(profile="web", profiles=profiles).role_arn is None


@pytest.mark.parametrize(
    ("bucket", "chosen", "owner"),
    [
        ("acme", {}, None),
        ("acme", {"role_arn": ROLE}, "111111111111"),
        ("acme", {"role_arn": ROLE, "bucket_owner": "any"}, None),
        ("acme", {"role_arn": ROLE, "bucket_owner": "777777777777"}, "777777777777"),
        ("acme", {"no_assume": True, "bucket_owner": "777777777777"}, "777777777777"),
        (POINT, {}, "444444444444"),
        (POINT, {"role_arn": ROLE}, "111111111111"),
        (POINT, {"anonymous": True}, None),
    ],
)
def test_who_must_own_the_bucket(bucket, chosen, owner):
    assert resolve(bucket=bucket, **chosen).bucket_owner == owner


def test_an_access_point_is_where_its_arn_says():
    environ = {"AWS_REGION": "us-east-1"}
    assert resolve(bucket=POINT, environ=environ).region == "eu-central-1"
    assert resolve(bucket=POINT, region="eu-central-1").region == "eu-central-1"
    with pytest.raises(UsageError, match="--region is us-east-1, the access point is in eu-central-1"):
        resolve(bucket=POINT, region="us-east-1")
    multi = "arn:aws:s3::444444444444:accesspoint/m.mrap"
    assert resolve(bucket=multi, environ=environ).region == "us-east-1"


@pytest.mark.parametrize(
    ("environ", "profiles", "region"),
    [
        ({"AWS_REGION": "a-1", "AWS_DEFAULT_REGION": "b-1"}, {}, "a-1"),
        ({"AWS_DEFAULT_REGION": "b-1"}, {"default": {"region": "c-1"}}, "b-1"),
        ({}, {"default": {"region": "c-1"}}, "c-1"),
        ({"S3PULL_REGION": "d-1", "AWS_REGION": "a-1"}, {}, "d-1"),
    ],
)
def test_the_first_guess_at_the_region(environ, profiles, region):
    assert resolve(environ=environ, profiles=profiles).region == region


def test_the_ca_bundle():
    profiles = {"default": {"ca_bundle": "/profile.pem"}}
    assert resolve(profiles=profiles).ca_bundle == "/profile.pem"
    assert resolve(environ={"AWS_CA_BUNDLE": "/env.pem"}, profiles=profiles).ca_bundle == "/env.pem"


@pytest.mark.parametrize(
    ("settings", "environ", "chosen", "message"),
    [
        ({}, {}, {"duration": "13h"}, "--duration is longer than 12 hours"),
        ({}, {"S3PULL_DURATION": "soon"}, {}, "S3PULL_DURATION is not a duration"),
        ({}, {}, {"role_arn": ROLE, "anonymous": True}, "--role-arn and --anonymous exclude each other"),
        ({}, {"S3PULL_NO_ASSUME": "1", "S3PULL_ANONYMOUS": "1"}, {}, "S3PULL_NO_ASSUME and S3PULL_ANONYMOUS"),
        ({}, {}, {"profile": "wrok"}, "no AWS profile 'wrok'"),
        ({}, {"AWS_PROFILE": "wrok"}, {}, "no AWS profile 'wrok'"),
        ({}, {}, {"endpoint_url": "http://s3.example.org"}, "--endpoint-url is plain HTTP"),
        ({}, {"S3PULL_STS_ENDPOINT_URL": "http://sts.example.org"}, {}, "S3PULL_STS_ENDPOINT_URL is plain HTTP"),
        ({"endpoint_url": "http://s3.example.org"}, {}, {}, "share 'acme': endpoint_url is plain HTTP"),
        ({}, {}, {"nonsense": "1"}, "unknown access option: nonsense"),
    ],
)
def test_what_is_refused_names_its_place(settings, environ, chosen, message):
    with pytest.raises(UsageError) as refused:
        resolve(a_share(**settings), environ=environ, profiles=P, **chosen)
    assert message in refused.value.message


def test_plain_http_with_leave():
    found = resolve(endpoint_url="http://s3.example.org", allow_http=True)
    assert found.endpoint_url == "http://s3.example.org"
    assert found.allow_http


def test_a_bad_profile_names_the_profile():
    profiles = {"default": {}, "work": {"role_arn": ROLE, "source_profile": "default", "duration_seconds": "60"}}
    with pytest.raises(UsageError, match="AWS profile 'work': duration_seconds is shorter than 15 minutes"):
        resolve(profile="work", profiles=profiles)


@pytest.mark.parametrize("bucket", [None, "", "s3://x", "arn:aws:sns:eu-west-1:1:x"])
def test_no_bucket_is_an_error(bucket):
    with pytest.raises(UsageError):
        resolve(bucket=bucket)


def test_the_external_id_is_not_shown():
    found = resolve(a_share(role_arn=ROLE, external_id="very-secret-id"))
    assert found.external_id == "very-secret-id"
    assert "very-secret-id" not in repr(found) + repr(a_share(external_id="very-secret-id"))
    with pytest.raises(UsageError) as refused:
        resolve(role_arn=ROLE, external_id="very secret id")
    assert "very secret id" not in refused.value.message + str(refused.value.hint)


def test_an_option_that_may_be_repeated_and_was_not_given_says_nothing():
    tagged = a_share(session_tag=["a=1"])
    assert resolve(tagged, session_tag=[]).session_tags == resolve(tagged, session_tag=()).session_tags == (("a", "1"),)
