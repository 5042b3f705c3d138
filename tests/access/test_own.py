"""Own credentials: which are found, in botocore's order, and whose role is assumed with them."""

from __future__ import annotations

import os
import sys

import pytest

from s3pull.access import own, profiles
from s3pull.errors import AccessDenied, CredentialsError, UsageError
from s3pull.objects import Access
from tests.access.conftest import CONSUMER, EXTERNAL_ID, OWNER

SERIAL = f"arn:aws:iam::{CONSUMER}:mfa/ana"


def find(access=None, **more):
    return own.find(access or Access("acme", **more), os.environ, profiles.load(os.environ), None).current()


def test_the_environments_keys(reach):
    found = find()
    assert (found.access_key, found.secret_key, found.token) == (reach.ana.access_key, reach.ana.secret_key, None)
    reach.patch.setenv("AWS_SESSION_TOKEN", "token")
    reach.patch.setenv("AWS_CREDENTIAL_EXPIRATION", "2030-01-01T00:00:00Z")
    assert (find().token, find().expires) == ("token", 1893456000.0)
    reach.patch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="AWS_SECRET_ACCESS_KEY is not"):
        find()


def test_static_keys_of_profiles_need_no_botocore(reach):
    reach.aws_files("[profile work]\nregion=eu-west-1\n", f"[work]\n{reach.keys_of(reach.ana)}[default]\n")
    plain = own.lying_open(Access("acme", profile="work"), os.environ, profiles.load(os.environ))
    assert plain.access_key == reach.ana.access_key
    assert find(profile="work") == plain


def test_an_explicit_profile_wins_over_the_environment(reach):
    other = reach.aws.user(CONSUMER, "bob")
    reach.aws_files("", f"[bob]\n{reach.keys_of(other)}")
    reach.patch.setenv("AWS_ACCESS_KEY_ID", reach.ana.access_key)
    reach.patch.setenv("AWS_SECRET_ACCESS_KEY", reach.ana.secret_key)
    assert find(profile="bob").access_key == other.access_key
    reach.patch.setenv("AWS_PROFILE", "bob")
    assert find().access_key == reach.ana.access_key


def test_half_a_pair(reach):
    reach.aws_files("", "[default]\naws_access_key_id = AKIA\n")
    with pytest.raises(CredentialsError, match="half a pair"):
        find()


def test_nothing_at_all(reach):
    reach.aws_files("")
    with pytest.raises(CredentialsError, match="no AWS credentials of your own") as refused:
        find()
    assert refused.value.exit_code == 11
    assert "aws configure" in refused.value.hint


def test_a_credential_process(reach, tmp_path):
    script = tmp_path / "give.py"
    script.write_text(
        'print(\'{"Version": 1, "AccessKeyId": "AKIAPROC", "SecretAccessKey": "s", "SessionToken": "t"}\')'
    )
    reach.aws_files(f"[default]\ncredential_process = {sys.executable} {script}\n")
    assert find().access_key == "AKIAPROC"
    script.write_text("raise SystemExit('sorry')")
    with pytest.raises(CredentialsError):
        find()


def test_sso_that_is_not_logged_in(reach):
    reach.aws_files(
        "[profile work]\nsso_session=corp\nsso_account_id=222222222222\nsso_role_name=dev\n"
        "[sso-session corp]\nsso_start_url=https://corp.example.org\nsso_region=eu-west-1\n"
    )
    with pytest.raises(CredentialsError) as refused:
        find(profile="work")
    assert refused.value.hint == "aws sso login --profile work"
    assert "has expired" in refused.value.message


def test_a_web_identity(reach, tmp_path):
    role = reach.aws.role(CONSUMER, "pod", trust={CONSUMER: None})
    reach.aws.directory.web_tokens["the-token"] = "system:serviceaccount:default:pod"
    (tmp_path / "token").write_text("the-token")
    reach.aws_files("")
    reach.patch.setenv("AWS_ROLE_ARN", role)
    reach.patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    found = find()
    assert found.token
    assert found.expires is not None
    (tmp_path / "token").write_text("another")
    with pytest.raises(CredentialsError):
        find()


# --- the profile's role as the role -------------------------------------------------------------------------


def test_a_profiles_role_is_assumed_with_its_source(reach):
    reach.aws_files(
        f"[profile data]\nrole_arn={reach.role}\nsource_profile=base\nexternal_id={EXTERNAL_ID}\n"
        "role_session_name=ana-from-profile\nduration_seconds=900\n",
        f"[base]\n{reach.keys_of(reach.ana)}",
    )
    access = reach.access(plain=True, profile="data")
    session = reach.open(access)
    assert session.session_arn == f"arn:aws:sts::{OWNER}:assumed-role/reader/ana-from-profile"
    (asked,) = reach.assumed
    assert asked["DurationSeconds"] == "900"
    assert "Policy" in asked, "cached and narrowed, unlike botocore's"
    assert reach.open(access).from_cache


def test_a_profile_that_names_itself(reach):
    reach.aws_files(
        f"[profile data]\nrole_arn={reach.role}\nsource_profile=data\nexternal_id={EXTERNAL_ID}\n",
        f"[data]\n{reach.keys_of(reach.ana)}",
    )
    assert reach.open(reach.access(plain=True, profile="data")).session_name == "ana"


def test_a_credential_source(reach):
    reach.aws_files(
        f"[profile data]\nrole_arn={reach.role}\ncredential_source=Environment\nexternal_id={EXTERNAL_ID}\n"
    )
    with pytest.raises(CredentialsError, match="no credentials in Environment"):
        reach.open(reach.access(plain=True, profile="data"))
    reach.patch.setenv("AWS_ACCESS_KEY_ID", reach.ana.access_key)
    reach.patch.setenv("AWS_SECRET_ACCESS_KEY", reach.ana.secret_key)
    assert reach.open(reach.access(plain=True, profile="data")).session_name == "ana"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", UsageError, "nothing to assume it with"),
        ("source_profile=base\ncredential_source=Environment\n", UsageError, "both source_profile and"),
        ("credential_source=Moon\n", UsageError, "credential_source 'Moon' is unknown"),
        ("source_profile=gone\n", UsageError, "no AWS profile 'gone'"),
        ("source_profile=data\n", CredentialsError, "'data' is a source_profile and has no credentials"),
        ("source_profile=empty\n", CredentialsError, "'empty' is a source_profile and has no credentials"),
    ],
)
def test_a_profile_that_cannot_assume_its_role(reach, text, kind, message):
    reach.aws_files(f"[profile data]\nrole_arn={reach.role}\n{text}[profile empty]\nregion=eu-west-1\n")
    with pytest.raises(kind, match=message):
        reach.open(reach.access(plain=True, profile="data"))
    assert reach.aws.requests == []


# --- a role on the way --------------------------------------------------------------------------------------


def on_the_way(reach, more=""):
    hop = reach.aws.role(CONSUMER, "hop", trust={CONSUMER: "hop-id"}, policy=ALLOW)
    reach.aws_files(
        f"[profile hop]\nrole_arn={hop}\nsource_profile=base\nexternal_id=hop-id\n{more}",
        f"[base]\n{reach.keys_of(reach.ana)}",
    )
    return hop


ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def test_a_profile_with_another_role_is_the_own_credentials_as_a_whole(reach):
    hop = on_the_way(reach, "role_session_name=ana-hop\n")
    session = reach.open(reach.access(profile="hop", duration="2h"))
    first, second = reach.assumed
    assert (first["RoleArn"], second["RoleArn"]) == (hop, reach.role)
    assert first["ExternalId"] == "hop-id"
    assert "Policy" not in first
    assert session.session_arn == f"arn:aws:sts::{OWNER}:assumed-role/reader/ana-hop"
    assert "1 h" in reach.notes[0]
    assert reach.open(reach.access(profile="hop", duration="2h")).from_cache
    assert len(reach.assumed) == 2


def test_without_a_role_of_ours_the_profile_is_used_directly(reach):
    on_the_way(reach, "role_session_name=ana-hop\n")
    session = reach.open(reach.access(share={"role_arn": None}, profile="hop", no_assume=True))
    assert session.credentials.current().token
    assert session.session_name is None
    assert session.role_arn is None


def test_an_mfa_code_on_the_way_is_asked_for_by_us(reach):
    on_the_way(reach, f"mfa_serial={SERIAL}\n")
    with pytest.raises(CredentialsError, match="no terminal"):
        reach.open(reach.access(profile="hop"))
    assert reach.aws.requests == []
    session = reach.open(reach.access(profile="hop"), prompt=lambda _: "123456")
    assert session.session_arn.endswith("/hop"), "the session's own name was made up, so the role's is used"
    assert "SerialNumber" in reach.assumed[0]
    assert "SerialNumber" not in reach.assumed[1]


def test_a_denial_on_the_way_names_its_role(reach):
    hop = on_the_way(reach)
    reach.aws.role_of(hop).trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"] = "another"
    with pytest.raises(AccessDenied, match=f"cannot assume {hop}"):
        reach.open(reach.access(profile="hop"))


def test_a_bad_value_on_the_way_is_refused_before_anything_is_asked(reach):
    on_the_way(reach, "duration_seconds=12\n")
    with pytest.raises(UsageError, match="AWS profile 'hop': duration_seconds is shorter"):
        reach.open(reach.access(profile="hop"))
    assert reach.aws.requests == []


# --- as botocore ---------------------------------------------------------------------------------------------

KEYS = "aws_access_key_id = {0}\naws_secret_access_key = secret-{0}\n"


@pytest.mark.parametrize("explicit", [None, "one", "two"])
@pytest.mark.parametrize(
    "environment", [{}, {"AWS_PROFILE": "one"}, {"AWS_PROFILE": "one", "AWS_DEFAULT_PROFILE": "two"}]
)
@pytest.mark.parametrize("with_keys", [False, True])
@pytest.mark.parametrize("files", ["credentials", "config", "both", "process"])
def test_the_same_keys_as_botocore_would_use(reach, tmp_path, explicit, environment, with_keys, files):
    import botocore.session

    names = ("default", "one", "two")
    in_config = "".join(f"[{'' if n == 'default' else 'profile '}{n}]\n{KEYS.format('CONFIG' + n)}" for n in names)
    in_credentials = "".join(f"[{n}]\n{KEYS.format('SHARED' + n)}" for n in names)
    if files == "process":
        script = tmp_path / "give"
        script.write_text('#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s"}\'\n')
        script.chmod(0o700)
        in_config = in_config.replace("]\n", f"]\ncredential_process = {script}\n")
    reach.aws_files(
        in_config if files != "credentials" else "", in_credentials if files in {"credentials", "both"} else ""
    )
    for name, value in environment.items():
        reach.patch.setenv(name, value)
    if with_keys:
        reach.patch.setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
        reach.patch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    theirs = botocore.session.Session(profile=explicit).get_credentials()
    assert find(profile=explicit).access_key == theirs.access_key
