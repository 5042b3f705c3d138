"""`login`, `logout`, `status`, `credentials` and opening a source, against the fake services."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from s3pull.cli.sessions import as_environment, as_process, lasting, utc
from s3pull.objects import Credentials
from tests.transcript import run_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"
EXTERNAL_ID = "9f4c-external"
#: what a run with a cached session has no use for
COLD = {"boto3", "botocore", "keyring", "cryptography", "tomlkit", "tqdm", "pydantic", "rich"}


@pytest.fixture
def acme(fake_aws, config, monkeypatch, tmp_path, run):
    """Two accounts, a bucket, a role with an external ID, a share for it."""
    ana = fake_aws.user(CONSUMER, "ana")
    role = fake_aws.role(OWNER, "readers", trust={CONSUMER: EXTERNAL_ID})
    fake_aws.bucket("acme", owner=OWNER)
    fake_aws.put("acme", "2026/a.csv", b"a,b\n")
    for name, value in fake_aws.env(ana).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3PULL_CACHE_DIR", str(tmp_path / "cache"))
    added = run("share", "add", "acme", "s3://acme/2026/", "--role-arn", role, "--external-id", EXTERNAL_ID)
    assert added.exit == 0
    return SimpleNamespace(aws=fake_aws, role=role, ana=ana)


def secrets_of(aws):
    return [text for one in aws.sessions() for text in (one.keys.secret_key, one.keys.token)] + [EXTERNAL_ID]


# --- login, status, logout: one story -------------------------------------------------------------------------


def test_login_status_logout(acme, run, tmp_path):
    ran = run("login", "acme")
    assert (ran.exit, ran.out) == (0, "")
    assert re.fullmatch(
        r"s3pull: acme: session ana until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \((59 min \d+ s|1 h 0 min)\), "
        r"kept in files of mode 0600 \(.+\)\n",
        ran.err,
    )
    assert acme.aws.count("AssumeRole") == 1

    ran = run("status")
    assert (ran.exit, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == f"you are: arn:aws:iam::{CONSUMER}:user/ana"
    assert lines[1] == f"give the data owner: arn:aws:iam::{CONSUMER}:user/ana"
    assert lines[2].startswith("sessions are kept in: files of mode 0600 (")
    assert lines[3] == f"  {tmp_path / 'cache'}"
    assert lines[4] == "1 cached session"
    assert re.fullmatch(rf"  acme: until \S+Z \(.+\), as ana \({re.escape(acme.role)}\)", lines[5])

    ran = run("logout", "acme")
    assert (ran.exit, ran.out) == (0, "")
    assert re.fullmatch(r"s3pull: forgot acme: AWS honours it until \S+Z \(.+\)\n", ran.err)
    assert run("logout", "acme").err == "s3pull: no session of acme was cached\n"
    assert "0 cached sessions" in run("status").out
    assert acme.aws.count("AssumeRole") == 1


def test_the_same_as_json(acme, run):
    line = json.loads(run("login", "acme", "--json").out)
    assert (line["share"], line["role_arn"], line["session_name"], line["kept"]) == ("acme", acme.role, "ana", "file")
    status = json.loads(run("status", "--json").out)
    assert status["schema"] == 1
    assert status["error"] is None
    assert status["caller"]["give_the_data_owner"] == f"arn:aws:iam::{CONSUMER}:user/ana"
    assert status["cache"]["where"] == "file"
    assert status["cache"]["why"]
    assert [(one["share"], one["expires"], one["sealed"]) for one in status["sessions"]] == [
        ("acme", line["expires"], False)
    ]
    gone = json.loads(run("logout", "--all", "--json").out)
    assert (gone["share"], gone["expires"]) == ("acme", line["expires"])


def test_nothing_of_it_says_a_secret(acme, run):
    said = ""
    for args in (["login", "acme"], ["login", "-vv", "acme", "--json"], ["status", "-v"], ["status", "--json"],
                 ["ls", "-v", "acme:"], ["logout", "acme", "-v"]):  # fmt: skip
        ran = run(*args)
        assert ran.exit == 0, ran
        said += ran.out + ran.err
    for secret in secrets_of(acme.aws):
        assert secret not in said


def test_login_to_many_goes_on_after_one_that_fails(acme, run):
    run("share", "add", "direct", "s3://acme/")
    ran = run("login", "nowhere", "direct", "acme")
    assert ran.exit == 4
    assert ran.err.startswith("s3pull: no share 'nowhere' in ")
    assert "s3pull: direct assumes no role: there is nothing to log in to\n" in ran.err
    assert "s3pull: acme: session ana until " in ran.err


def test_a_refused_login_is_exit_10(acme, run):
    run("share", "add", "acme", "s3://acme/2026/", "--role-arn", acme.role, "--external-id", "wrong", "--replace")
    ran = run("login", "acme")
    assert (ran.exit, ran.out) == (10, "")
    assert "sts:AssumeRole" in ran.err
    assert "\nhint: " in ran.err


def test_logout_of_a_bucket(acme, run):
    assert run("login", "s3://acme/", "--role-arn", acme.role, "--external-id", EXTERNAL_ID).exit == 0
    assert run("login", "acme").exit == 0
    assert run("logout", "s3://acme").err.startswith("s3pull: forgot s3://acme/: AWS honours it until ")
    assert "1 cached session\n  acme: " in run("status").out


@pytest.mark.parametrize("args", [[], ["acme", "--all"]])
def test_logout_needs_one_thing_said(run, config, args):
    ran = run("logout", *args)
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err == "s3pull: logout needs a NAME or --all\nhint: s3pull status lists the sessions\n"


# --- status without anything ------------------------------------------------------------------------------------


def test_status_without_credentials_still_tells_the_rest(run, config, monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    ran = run("status")
    assert ran.exit == 11
    assert ran.out.splitlines()[0].startswith("sessions are kept in: ")
    assert ran.err.startswith("s3pull: ")
    assert "\nhint: " in ran.err
    ran = run("status", "--json")
    assert (ran.exit, ran.err) == (11, "")
    assert json.loads(ran.out)["caller"] is None
    assert json.loads(ran.out)["error"]["message"]


def test_status_of_a_role_says_what_to_hand_over(fake_aws, run, config, monkeypatch):
    keys = fake_aws.session(CONSUMER, "builder", "ana@example.org")
    for name, value in fake_aws.env(keys).items():
        monkeypatch.setenv(name, value)
    out = run("status").out.splitlines()
    assert out[0] == f"you are: arn:aws:sts::{CONSUMER}:assumed-role/builder/ana@example.org"
    assert out[1] == f"give the data owner: arn:aws:iam::{CONSUMER}:role/builder"
    assert out[2].startswith("  (if the role has a path")


# --- credentials --------------------------------------------------------------------------------------------------


def test_credentials_for_other_tools(acme, run):
    ran = run("credentials", "acme")
    assert (ran.exit, ran.err) == (0, "")
    (session,) = acme.aws.sessions(acme.role)
    record = json.loads(ran.out)
    assert set(record) == {"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert (record["Version"], record["AccessKeyId"]) == (1, session.keys.access_key)
    assert (record["SecretAccessKey"], record["SessionToken"]) == (session.keys.secret_key, session.keys.token)
    assert record["Expiration"].endswith("Z")
    again = run("credentials", "acme", "--format", "env").out
    assert f"export AWS_ACCESS_KEY_ID={session.keys.access_key}\n" in again
    assert acme.aws.count("AssumeRole") == 1


def test_credentials_of_nobody(run, config):
    run("share", "add", "public", "s3://open-data/", "--anonymous")
    ran = run("credentials", "public")
    assert (ran.exit, ran.out) == (11, "")


def test_an_unknown_format(run, config):
    assert run("credentials", "acme", "--format", "yaml").err == (
        "s3pull: --format 'yaml': must be process or env\n"
        "hint: --format process|env: for credential_process in ~/.aws/config, or for a shell\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize("token", ["t'o k$en\\", None])
def test_environment_lines_survive_a_shell(token):
    keys = Credentials("AKIA", "se'cret $HOME `x`", token)
    script = (
        as_environment(keys) + 'printf "%s|%s|%s" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$AWS_SESSION_TOKEN"'
    )
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, env={"AWS_SESSION_TOKEN": "old"}, timeout=9
    )
    assert done.stdout == f"AKIA|se'cret $HOME `x`|{token or ''}"


def test_long_term_keys_have_no_token_and_no_end():
    assert json.loads(as_process(Credentials("AKIA", "s"))) == {
        "Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "s",
    }  # fmt: skip


def test_times():
    assert utc(0) == "1970-01-01T00:00:00Z"
    assert utc(None) is None
    assert lasting(None) == "without end"
    assert re.fullmatch(r"until \S+Z \(1 min \d+ s\)", lasting(time.time() + 90))


# --- MFA --------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_mfa(acme, run):
    serial = f"arn:aws:iam::{CONSUMER}:mfa/ana"
    role = acme.aws.role(OWNER, "careful", trust={CONSUMER: None}, mfa_serial=serial, mfa_code="123456")
    run("share", "add", "careful", "s3://acme/", "--role-arn", role, "--mfa-serial", serial)


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
def test_mfa_is_asked_at_the_terminal_once(acme, with_mfa, tmp_path):
    result = run_s3pull(["login", "careful"], cwd=tmp_path, tty=True, answers={"MFA": "123456"}, timeout=30)
    assert (result.code, result.stdout) == (0, "")
    assert "careful: session ana until" in result.stderr
    assert run_s3pull(["ls", "careful:"], cwd=tmp_path).stdout == "2026/\n"
    (asked,) = acme.aws.asked("AssumeRole", status=200)
    assert asked.form["TokenCode"] == "123456"


def test_mfa_without_a_terminal_is_exit_11_at_once(acme, with_mfa, headless):
    ran = headless("ls", "careful:")
    assert (ran.exit, ran.out) == (11, "")
    assert "MFA" in ran.err
    assert "hint: `s3pull login NAME` on a terminal first" in ran.err


# --- opening a source -------------------------------------------------------------------------------------------


def test_a_warm_ls_asks_nobody_but_s3_and_loads_no_boto3(acme, headless, tmp_path):
    assert headless("ls", "acme:").out == "a.csv\n"
    calls = acme.aws.count("AssumeRole"), acme.aws.count("GetCallerIdentity")
    code = (
        "import sys; from s3pull.cli.app import main\n"
        "main(['ls', 'acme:'])\n"
        f"print(sorted({COLD!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "a.csv\n[]\n"
    assert (acme.aws.count("AssumeRole"), acme.aws.count("GetCallerIdentity")) == calls


def test_options_win_over_the_share_and_the_environment(acme, run):
    assert run("ls", "acme:", "--external-id", "wrong").exit == 10
    assert run("ls", "s3://acme/2026/", "--role-arn", acme.role, env={"S3PULL_EXTERNAL_ID": EXTERNAL_ID}).exit == 0


@pytest.mark.parametrize("source", ["s3://arn:aws:s3:x", "C:\\data", "ACME:", ""])
def test_sources_that_cannot_be_are_exit_2(run, config, source):
    for name in ("ls", "cat", "get", "login", "credentials"):
        ran = run(name, source)
        assert (ran.exit, ran.out) == (2, ""), name
        assert ran.err.startswith("s3pull: ")
