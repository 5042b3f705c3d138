"""A share as an AWS profile and back, as pure decisions."""

from __future__ import annotations

import os
import shlex

import pytest

from s3pull.access import awsprofile, config, options
from s3pull.access.profiles import Profiles
from s3pull.errors import UsageError

ROLE = "arn:aws:iam::111122223333:role/acme-readers"
WORDS = ["/usr/bin/s3pull"]


def settings_of(name="acme", environ=None, profiles=None, shared=None, **share):
    environ = environ or {}
    found = Profiles(profiles or {}, shared=shared or {})
    said = {"bucket": "acme-exports", "role_arn": ROLE, **share}
    access = options.resolve(
        share=config.share("acme", {key: value for key, value in said.items() if value is not None}),
        bucket=None,
        prefix="",
        options={},
        environ=environ,
        profiles=found,
    )
    return awsprofile.profile_settings(access, WORDS, name, found, environ)


def command(**facts):
    return settings_of(**facts)["credential_process"]


WORK = {"work": {"region": "eu-west-1"}, "default": {}}
OURS = {"acme": {"credential_process": "/x/s3pull credentials acme"}, "default": {}}


@pytest.mark.parametrize(
    ("facts", "tail"),
    [
        ({}, ""),
        ({"profile": "work", "profiles": WORK}, ""),
        ({"environ": {"AWS_PROFILE": "work"}, "profiles": WORK}, " --profile work"),
        ({"environ": {"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "AKIA"}, "profiles": WORK}, ""),
        ({"environ": {"S3PULL_PROFILE": "work"}, "profiles": WORK}, " --profile work"),
        ({"environ": {"AWS_PROFILE": "acme"}, "profiles": OURS, "name": "other"}, ""),
        ({"environ": {"AWS_PROFILE": "acme"}, "profiles": OURS}, ""),
    ],
)
def test_whose_keys_the_command_uses(facts, tail):
    """It runs with another AWS_PROFILE than now."""
    assert command(**facts) == f"/usr/bin/s3pull credentials acme{tail}"


def test_region_and_endpoint_are_the_share_s_own():
    assert list(settings_of(region="eu-west-1", endpoint_url="https://s3.example.org")) == [
        "credential_process", "region", "endpoint_url",
    ]  # fmt: skip
    assert list(settings_of(environ={"AWS_REGION": "eu-west-1"})) == ["credential_process"]


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"role_arn": None, "no_assume": True}, "read with your own credentials, directly"),
        ({"role_arn": None, "profile": "work", "profiles": WORK}, "read with AWS profile 'work', directly"),
        ({"role_arn": None, "anonymous": True}, "read anonymously"),
        ({"name": "default"}, "where your own credentials come from"),
        ({"name": "work", "profile": "work", "profiles": WORK}, "where your own credentials come from"),
        (
            {"name": "work", "environ": {"AWS_PROFILE": "work"}, "profiles": WORK},
            "where your own credentials come from",
        ),
    ],
)
def test_what_no_profile_can_hand_over(facts, complaint):
    with pytest.raises(UsageError, match=complaint):
        settings_of(**facts)


def test_default_can_lead_to_a_share_that_has_a_profile_of_its_own():
    assert command(name="default", profile="work", profiles=WORK)


def test_keys_in_the_credentials_file_would_win():
    keys = {"acme": {"aws_access_key_id": "AKIA"}}
    with pytest.raises(UsageError, match="would win"):
        settings_of(profiles=keys, shared=keys)


@pytest.mark.skipif(os.name == "nt", reason="Windows quotes otherwise")
@pytest.mark.parametrize("word", ["/a b/s3pull", "/it's/s3pull", "/$HOME/`x`/s3pull", '/"q"/s3pull', "C:\\x"])
def test_a_path_is_quoted_for_a_shell_and_for_shlex(word):
    import subprocess

    text = f"{awsprofile.quoted('printf')} %s {awsprofile.quoted(word)}"
    assert shlex.split(text)[-1] == word
    assert subprocess.run(text, shell=True, capture_output=True, text=True).stdout == word


def test_a_line_break_is_refused():
    with pytest.raises(UsageError):
        awsprofile.quoted("a\nb")


@pytest.mark.parametrize(
    ("process", "ours"),
    [
        ("/usr/bin/s3pull credentials acme", True),
        ("'/a b/s3pull' --config '/x y' credentials acme", True),
        ("/usr/bin/python3 -m s3pull credentials acme", True),
        ("s3pull status", False),
        ("/usr/bin/aws-vault exec credentials", False),
        ("broken 'quote", False),
        ("", False),
    ],
)
def test_which_profiles_get_their_keys_from_us(process, ours):
    assert Profiles({"p": {"credential_process": process}}).from_us("p") is ours


# --- back -------------------------------------------------------------------------------------------------


def share_of(profile, **others):
    return awsprofile.share_settings("p", Profiles({"p": profile, "s": {"aws_access_key_id": "AKIA"}, **others}))


WITH_ROLE = {"role_arn": ROLE, "source_profile": "s"}


@pytest.mark.parametrize(
    ("profile", "settings", "left_out"),
    [
        (WITH_ROLE, {"role_arn": ROLE, "profile": "s"}, ()),
        (
            {
                **WITH_ROLE, "external_id": "xyz", "region": "eu-west-1", "mfa_serial": "arn:aws:iam::1:mfa/a",
                "duration_seconds": "1800", "role_session_name": "ana", "endpoint_url": "https://s3.example.org",
                "output": "json", "ca_bundle": "/ca.pem",
            },
            {
                "role_arn": ROLE, "external_id": "xyz", "region": "eu-west-1", "mfa_serial": "arn:aws:iam::1:mfa/a",
                "duration": "1800", "session_name": "ana", "endpoint_url": "https://s3.example.org", "profile": "s",
            },
            ("output", "ca_bundle"),
        ),
        (
            {"role_arn": ROLE, "source_profile": "p", "aws_access_key_id": "AKIA"},
            {"role_arn": ROLE, "profile": "p"}, (),
        ),
        ({"role_arn": ROLE, "credential_source": "Environment"}, {"role_arn": ROLE, "profile": "p"}, ()),
    ],
)  # fmt: skip
def test_a_share_of_a_profile(profile, settings, left_out):
    assert share_of(profile) == (settings, left_out)


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        ({"region": "eu-west-1"}, "no role_arn"),
        ({"role_arn": ROLE}, "nothing to assume its role with"),
        ({**WITH_ROLE, "credential_source": "Environment"}, "both source_profile and credential_source"),
        ({"role_arn": ROLE, "web_identity_token_file": "/x"}, "web identity"),
        ({"role_arn": ROLE, "source_profile": "nowhere"}, "no AWS profile 'nowhere'"),
    ],
)
def test_profiles_that_are_no_share(profile, complaint):
    with pytest.raises(UsageError, match=complaint):
        share_of(profile)


def test_a_circle_of_profiles_is_none():
    with pytest.raises(UsageError, match="circle"):
        share_of({"role_arn": ROLE, "source_profile": "q"}, q={"role_arn": ROLE, "source_profile": "p"})
