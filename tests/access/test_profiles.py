"""AWS profiles as botocore reads them, read without it."""

from __future__ import annotations

import os

import botocore.session
import pytest

from s3pull.access import profiles
from s3pull.errors import UsageError

CONFIG = """\
[default]
region = eu-west-1
s3 =
    addressing_style = path
    max_concurrent_requests = 20
[profile work]
role_arn = arn:aws:iam::222222222222:role/work
source_profile = base
ca_bundle = /etc/ca.pem
services = local
[profile "two words"]
region = us-west-2
[sso-session corp]
sso_start_url = https://corp.example.org/start
sso_region = eu-west-1
[services local]
s3 =
    endpoint_url = http://127.0.0.1:9000
[plugins]
cli = x
"""
CREDENTIALS = """\
[base]
aws_access_key_id = AKIAEXAMPLE
aws_secret_access_key = secret%value
[default]
region = from-credentials
"""


@pytest.fixture
def aws_home(isolated):
    folder = isolated / ".aws"
    folder.mkdir()

    def write(config="", credentials=""):
        (folder / "config").write_text(config)
        (folder / "credentials").write_text(credentials)
        return profiles.load(os.environ)

    return write


def test_as_botocore_reads_them(aws_home):
    ours = aws_home(CONFIG, CREDENTIALS)
    theirs = botocore.session.Session().full_config
    assert {name: dict(section) for name, section in ours.profiles.items()} == theirs["profiles"]
    assert ours.sso_sessions == theirs["sso_sessions"]
    assert ours.services == theirs["services"]


def test_files_that_the_environment_names(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").write_text("[profile x]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", "$PLACE/elsewhere")
    monkeypatch.setenv("PLACE", str(tmp_path))
    assert profiles.load(os.environ).value("x", "region") == "eu-north-1"


def test_missing_files_are_empty(isolated):
    assert profiles.load(os.environ).profiles == {}


@pytest.mark.parametrize("text", ["region = x\n", "[default\nsecret\n", "[default]\nleaked-secret\n", "[a]\n[a]\n"])
def test_a_malformed_file_is_named_and_not_quoted(aws_home, text):
    with pytest.raises(UsageError) as refused:
        aws_home(text)
    assert ".aws/config" in refused.value.message
    assert "secret" not in refused.value.message


def test_no_secret_in_repr(aws_home):
    assert "secret%value" not in repr(aws_home(CONFIG, CREDENTIALS))


def test_a_missing_profile_is_named_with_the_nearest(aws_home):
    with pytest.raises(UsageError, match="no AWS profile 'wrok'") as refused:
        aws_home(CONFIG, CREDENTIALS).require("wrok")
    assert refused.value.hint == "did you mean work?"


@pytest.mark.parametrize(
    ("environ", "name"),
    [({}, "default"), ({"AWS_PROFILE": "a"}, "a"), ({"AWS_PROFILE": "a", "AWS_DEFAULT_PROFILE": "b"}, "b")],
)
def test_the_profile_in_force_is_botocores(environ, name, monkeypatch):
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    assert profiles.effective(None, environ) == name
    assert (botocore.session.Session().get_config_variable("profile") or "default") == name
    assert profiles.effective("explicit", environ) == "explicit"


def test_the_chain_of_sources(aws_home):
    found = aws_home(
        "[profile a]\nrole_arn=x\nsource_profile=b\n[profile b]\nrole_arn=y\nsource_profile=c\n[profile c]\nregion=z\n"
    )
    assert found.chain("a") == ("a", "b", "c")


def test_the_keys_of_a_source_win_over_its_role(aws_home):
    found = aws_home(
        "[profile a]\nrole_arn=x\nsource_profile=b\n[profile b]\nrole_arn=y\nsource_profile=c\naws_access_key_id=k\n"
    )
    assert found.chain("a") == ("a", "b")


def test_a_profile_may_name_itself_and_not_go_round(aws_home):
    assert aws_home("[profile a]\nrole_arn=x\nsource_profile=a\n").chain("a") == ("a",)
    circle = aws_home("[profile a]\nrole_arn=x\nsource_profile=b\n[profile b]\nrole_arn=x\nsource_profile=a\n")
    with pytest.raises(UsageError, match="a -> b -> a"):
        circle.chain("a")
    with pytest.raises(UsageError, match="no AWS profile 'gone'"):
        aws_home("[profile a]\nrole_arn=x\nsource_profile=gone\n").chain("a")


def test_a_reload_keeps_the_last_good_reading(aws_home, isolated):
    good = aws_home(CONFIG)
    (isolated / ".aws" / "config").write_text("[half")
    assert profiles.reload(os.environ, good) is good
