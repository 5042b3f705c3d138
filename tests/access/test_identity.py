"""Whose credentials they are: what changes the fingerprint, and what may not."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest

from s3pull.access import identity, profiles
from s3pull.access.profiles import Profiles
from s3pull.objects import Access

SECTIONS = {
    "default": {},
    "static": {"aws_access_key_id": "AKIA1", "aws_secret_access_key": "s1"},
    "sso": {"sso_session": "corp", "sso_account_id": "1", "sso_role_name": "r"},
    "legacy": {"sso_start_url": "https://x.example.org", "sso_account_id": "1", "sso_role_name": "r"},
    "login": {"login_session": "arn:aws:sts::1:assumed-role/a/b"},
    "role": {"role_arn": "arn:aws:iam::1:role/x", "source_profile": "static"},
}


def found(sections=SECTIONS, sso=None) -> Profiles:
    return Profiles(sections, sections, sso or {"corp": {"sso_start_url": "https://corp.example.org"}})


def mark(environ=None, profile=None, profiles=None, origins=None) -> str:
    return identity.fingerprint(
        Access("b", profile=profile, origins=origins or {}), environ or {}, profiles or found()
    )  # fmt: skip


def changed(name: str, **values: str) -> Profiles:
    return found({**SECTIONS, name: {**SECTIONS[name], **values}})


def test_the_same_is_the_same():
    assert mark({"AWS_ACCESS_KEY_ID": "AKIA1"}) == mark({"AWS_ACCESS_KEY_ID": "AKIA1", "PATH": "/bin"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"environ": {"AWS_ACCESS_KEY_ID": "A"}}, {"environ": {"AWS_ACCESS_KEY_ID": "B"}}),
        ({"environ": {"AWS_ACCESS_KEY_ID": "A"}}, {}),
        ({"environ": {"AWS_PROFILE": "static"}}, {"environ": {"AWS_PROFILE": "sso"}}),
        ({"profile": "static"}, {"environ": {"AWS_PROFILE": "static"}}),
        ({"profile": "static"}, {"profile": "static", "profiles": changed("static", aws_access_key_id="AKIA2")}),
        ({"profile": "role"}, {"profile": "role", "profiles": changed("static", aws_access_key_id="AKIA2")}),
        ({"profile": "role"}, {"profile": "role", "origins": {"role_arn": "profile"}}),
        ({"profile": "sso"}, {"profile": "sso", "profiles": found(sso={"corp": {"sso_start_url": "https://z"}})}),
        ({"environ": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://a"}},
         {"environ": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://b"}}),
        ({"environ": {"AWS_WEB_IDENTITY_TOKEN_FILE": "/a", "AWS_ROLE_ARN": "x"}},
         {"environ": {"AWS_WEB_IDENTITY_TOKEN_FILE": "/a", "AWS_ROLE_ARN": "y"}}),
    ],
)  # fmt: skip
def test_another_identity_is_another_mark(one, other):
    assert mark(**one) != mark(**other)


@pytest.mark.parametrize(
    ("profile", "folder", "name"),
    [
        ("sso", ".aws/sso/cache", hashlib.sha1(b"corp").hexdigest()),
        ("legacy", ".aws/sso/cache", hashlib.sha1(b"https://x.example.org").hexdigest()),
        ("login", ".aws/login/cache", hashlib.sha256(SECTIONS["login"]["login_session"].encode()).hexdigest()),
    ],
)
def test_a_login_is_part_of_it(isolated, profile, folder, name):
    before = mark(profile=profile)
    (isolated / folder).mkdir(parents=True)
    token = isolated / folder / f"{name}.json"
    token.write_text('{"accessToken": "one"}')
    logged_in = mark(profile=profile)
    token.write_text('{"accessToken": "two"}')
    assert len({before, logged_in, mark(profile=profile)}) == 3
    token.unlink()
    assert mark(profile=profile) == before


def test_botocore_keeps_its_tokens_where_we_look():
    from botocore.utils import SSOTokenLoader, generate_login_cache_key

    assert SSOTokenLoader(cache={})._generate_cache_key("url", "corp") == hashlib.sha1(b"corp").hexdigest()
    assert SSOTokenLoader(cache={})._generate_cache_key("url", None) == hashlib.sha1(b"url").hexdigest()
    assert generate_login_cache_key("x") == hashlib.sha256(b"x").hexdigest()


def token(subject: str, salt: str = "") -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"iss": "i", "sub": subject, "x": salt}).encode()).decode().rstrip("=")
    return f"e30.{claims}.signature{salt}"


@pytest.mark.parametrize("variable", ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
def test_the_subject_of_a_token_counts_and_its_renewal_does_not(tmp_path, variable):
    path = tmp_path / "token"
    environ = {variable: str(path), "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
    path.write_text(token("pod-a"))
    first = mark(environ)
    path.write_text(token("pod-a", "renewed"))
    assert mark(environ) == first
    path.write_text(token("pod-b"))
    assert mark(environ) != first
    path.write_text("not.a.token")
    assert mark(environ) != first


def test_a_machines_own_role_is_the_machines(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "one")
    here, with_keys, with_profile = mark(), mark({"AWS_ACCESS_KEY_ID": "A"}), mark(profile="static")
    monkeypatch.setattr("platform.node", lambda: "two")
    assert mark() != here
    assert mark({"AWS_ACCESS_KEY_ID": "A"}) == with_keys
    assert mark(profile="static") == with_profile


def test_a_mark_reveals_nothing():
    assert "s1" not in mark(profile="static")
    assert len(mark(profile="static")) == 64


def test_a_broken_chain_does_not_raise():
    broken = found({"a": {"role_arn": "x", "source_profile": "gone"}})
    assert mark(profile="a", profiles=broken)


def test_no_home(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda text: text)
    assert mark(profile="sso")
    assert profiles.load(os.environ).profiles == {}
