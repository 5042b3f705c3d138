"""`s3pull doctor`, and the one line that `get`, `ls`, `cat` and `login` say of a denial."""

from __future__ import annotations

import json
import re
import shlex
import socket
from types import SimpleNamespace

import pytest

from s3pull.access.denials import Cause, Who
from s3pull.access.doctor import asking
from s3pull.errors import AccessDenied, NothingThere
from s3pull.objects import Access
from s3pull.pull.advice import advise, words_of
from tests.access.ward import share_loader
from tests.fakes import faults
from tests.transcript import run_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"
ANA = f"arn:aws:iam::{CONSUMER}:user/ana"
EXTERNAL_ID = "9f4c-external"
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme/2026/*"}
LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::acme"}


@pytest.fixture
def acme(fake_aws, config, monkeypatch, tmp_path):
    """Two accounts, a bucket, a role with an external ID, a share for it."""
    ana = fake_aws.user(CONSUMER, "ana", mfa_code="123456")
    role = fake_aws.role(OWNER, "readers", trust={ANA: EXTERNAL_ID}, policy={"Statement": [READ, LIST]})
    fake_aws.bucket("acme", owner=OWNER)
    fake_aws.put("acme", "2026/a.csv", b"a,b\n")
    for name, value in fake_aws.env(ana).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3PULL_CACHE_DIR", str(tmp_path / "cache"))
    share_loader(monkeypatch)
    # a busy machine is no dead network
    monkeypatch.setattr(asking, "LIMITS", asking.Limits(50, 50, 100))
    text = f'[shares.acme]\nbucket = "acme"\nprefix = "2026/"\nrole_arn = "{role}"\nexternal_id = "{EXTERNAL_ID}"\n'
    config.write_text(text)
    return SimpleNamespace(aws=fake_aws, role=fake_aws.role_of(role), arn=role, config=config, ana=ana)


def share(acme, **settings):
    """Write the share anew with other settings."""
    settings = {"bucket": "acme", "prefix": "2026/", "role_arn": acme.arn, "external_id": EXTERNAL_ID, **settings}
    settings = {name: value for name, value in settings.items() if value is not None}
    acme.config.write_text("[shares.acme]\n" + "".join(f"{name} = {json.dumps(v)}\n" for name, v in settings.items()))


def ids_hidden(text):
    return re.sub(r"ID: \S+", "ID: …", text)


SOUND = f"""\
ok       local        s3://acme/2026/ as arn:aws:iam::{OWNER}:role/readers; an external ID is given (role_arn from share, external_id from share, region from environment)
                      asked: what is configured here
ok       caller       you are {ANA}
                      asked: sts:GetCallerIdentity with your own credentials
                      request ID: …
                      give the data owner: {ANA}
ok       assume-role  the session arn:aws:sts::{OWNER}:assumed-role/readers/ana, narrowed to the prefix
                      asked: sts:AssumeRole on arn:aws:iam::{OWNER}:role/readers with the external ID
                      request ID: …
                      31% of the packed policy's budget are used
ok       role         you are arn:aws:sts::{OWNER}:assumed-role/readers/ana
                      asked: sts:GetCallerIdentity as the role
                      request ID: …
ok       bucket       the bucket is there in us-east-1
                      asked: s3:ListObjectsV2 of s3://acme
                      request ID: …
ok       list         keys can be listed
                      asked: s3:ListObjectsV2 of s3://acme, prefix '2026/'
                      request ID: …
ok       head         4 bytes, encrypted with AES256, STANDARD
                      asked: s3:HeadObject of '2026/a.csv'
                      request ID: …
ok       get          206: it can be read
                      asked: s3:GetObject of '2026/a.csv', its first byte
                      request ID: …

acme: sound
"""  # noqa: E501

REFUSED = f"""\
broken   head         403 AccessDenied: User: arn:aws:sts::{OWNER}:assumed-role/readers/ana is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::acme/2026/a.csv" because no identity-based policy allows the s3:GetObject action
                      asked: s3:HeadObject of '2026/a.csv'
                      request ID: …
                      host ID: …

the data owner must act:
  1. identity-policy: the role's policy does not allow s3:GetObject here

send to the data owner (the permissions of arn:aws:iam::{OWNER}:role/readers):
{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Sid": "Read",
      "Effect": "Allow",
      "Action": "s3:GetObject",
      "Resource": "arn:aws:s3:::acme/2026/*"
    }},
    {{
      "Sid": "List",
      "Effect": "Allow",
      "Action": "s3:ListBucket",
      "Resource": "arn:aws:s3:::acme",
      "Condition": {{
        "StringLike": {{
          "s3:prefix": [
            "2026/",
            "2026/*"
          ]
        }}
      }}
    }}
  ]
}}

more: docs/TROUBLESHOOTING.md, identity-policy

acme: broken at head
"""  # noqa: E501


# --- text -----------------------------------------------------------------------------------------------------


def test_a_sound_chain(acme, run):
    ran = run("doctor", "acme")
    assert (ran.exit, ids_hidden(ran.out), ran.err) == (0, SOUND, "")


def test_a_broken_link(acme, run):
    acme.role.policies = ({"Statement": [LIST]},)
    ran = run("doctor", "acme")
    assert (ran.exit, ran.err) == (10, "")
    assert ids_hidden(ran.out).endswith("\n" + REFUSED)
    assert "\nok       list " in ran.out


def test_what_is_printed_can_be_pasted_as_it_stands(acme, run):
    acme.role.policies = ({"Statement": [LIST]},)
    out = run("doctor", "acme").out
    document = out[out.index("\n{\n") : out.index("\n}\n") + 2]
    acme.role.policies += (json.loads(document),)
    assert run("doctor", "acme").exit == 0


def test_nobody_can_tell(acme, run):
    share(acme, external_id="wrong")
    ran = run("doctor", "acme")
    assert ran.exit == 10
    assert "broken   assume-role  cannot tell: AWS says no and not why (403 AccessDenied: User: " in ran.out
    assert "\nnobody can tell who must act; it may be, most likely first:\n  1. external-id: " in ran.out
    assert "\n  6. trust-condition: " in ran.out
    assert ran.out.endswith("\n\nacme: broken at assume-role\n")


def test_warnings(acme, run):
    acme.role.policies = ({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]},)
    ran = run("doctor", "acme", "--probe")
    assert ran.exit == 0
    assert "\nwarning (broad-role): the role is broader than needed: it may list prefix '', too\n" in ran.out
    assert ran.out.endswith("\n\nacme: sound, with 1 to mind\n")


def test_control_characters_of_a_key_do_not_reach_the_terminal(acme, run):
    ran = run("doctor", "acme", "--key", "a\x1b[2J.csv")
    assert ran.exit == 10
    assert "\x1b" not in ran.out
    assert r"a\x1b[2J.csv" in ran.out


# --- json -----------------------------------------------------------------------------------------------------


def breakages(acme):
    """Ways to break it, for what must hold of every report."""
    yield lambda: share(acme, external_id="wrong")
    yield lambda: setattr(acme.role, "policies", ({"Statement": [LIST]},))
    yield lambda: acme.aws.fault("GetObject", faults.status(403, "AccessDenied", "Access Denied"), None)
    yield lambda: acme.aws.fault("ListObjectsV2", faults.status(403, "AccessDenied", "What?"), None)
    yield lambda: acme.aws.fault("AssumeRole", faults.status(403, "AccessDenied", f"no {EXTERNAL_ID}"), None)


def test_the_json_contract(acme, run):
    ran = run("doctor", "acme", "--json")
    reports = [(ran, 0)]
    for broken in breakages(acme):
        broken()
        reports.append((run("doctor", "acme", "--json", "--probe"), 10))
        share(acme)
    for ran, code in reports:
        assert (ran.exit, ran.err) == (code, "")
        (line,) = ran.out.splitlines()
        report = json.loads(line)
        assert list(report) == ["schema", "sound", "steps", "warnings"]
        assert (report["schema"], report["sound"]) == (1, code == 0)
        assert [step["step"] for step in report["steps"] if step["ok"] is False] == [
            step["step"] for step in report["steps"][-1:] if code
        ]
        for step in report["steps"]:
            assert {"step", "ok", "observed", "who", "causes", "snippet", "request_id"} <= set(step)
            assert step["who"] in set(Who)
            assert step["ok"] is False or step["who"] == "unknown"
            for cause in step["causes"]:
                assert cause["cause"] in set(Cause)
                assert cause["why"]
        if code:
            assert report["steps"][-1]["causes"]
            assert report["steps"][-1]["request_id"]


def test_no_secret_in_anything_that_it_says(acme, run):
    said = ""
    for broken, more in zip([lambda: None, *breakages(acme)], [["-v"], ["--json"]] * 3, strict=True):
        broken()
        ran = run("doctor", "acme", *more)
        said += ran.out + ran.err
        share(acme)
    assert "assumed-role/readers/ana" in said
    secrets = [text for one in acme.aws.sessions() for text in (one.keys.secret_key, one.keys.token)]
    for secret in [*secrets, acme.ana.secret_key, EXTERNAL_ID]:
        assert secret not in said


# --- sources and options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "listed", "key"),
    [
        (["acme"], "2026/", "2026/a.csv"),
        (["acme:"], "2026/", "2026/a.csv"),
        (["acme:b/"], "2026/b/", "2026/b/c.csv"),
        (["acme:b/*.csv"], "2026/b/", "2026/b/c.csv"),
        (["acme:b/c.csv"], "2026/", "2026/b/c.csv"),
        (["acme", "--key", "b/c.csv"], "2026/", "2026/b/c.csv"),
        (["s3://acme/2026/b/"], "2026/b/", "2026/b/c.csv"),
        (["s3://acme/2026/b/c.csv"], "2026/b/", "2026/b/c.csv"),
    ],
)
def test_what_is_looked_at(acme, run, args, listed, key):
    acme.aws.put("acme", "2026/b/c.csv", b"-")
    access = ["--role-arn", acme.arn, "--external-id", EXTERNAL_ID] if args[0].startswith("s3:") else []
    assert run("doctor", *args, *access).exit == 0
    assert [one.query["prefix"] for one in acme.aws.asked("ListObjectsV2")] == [listed]
    assert [one.key for one in acme.aws.asked("HeadObject")] == [key]


def test_a_share_that_is_not_there(acme, run):
    assert run("doctor", "nowhere").exit == 4


WRONG_INPUTS = [
    (["--external-id", "two words"], {}, "--external-id has a character that STS refuses"),
    (["--profile", "nowhere"], {}, "no AWS profile 'nowhere'"),
    ([], {"AWS_PROFILE": "nowhere"}, "no AWS profile 'nowhere'"),
    ([], {"AWS_CONFIG_FILE": __file__}, f"cannot read the AWS configuration: {__file__}, line 1 is malformed"),
    ([], {"S3PULL_ROLE_ARN": "readers"}, "S3PULL_ROLE_ARN is not"),
]


@pytest.mark.parametrize(("args", "environ", "said"), WRONG_INPUTS)
def test_what_is_wrong_before_anybody_is_asked_is_a_broken_link(acme, run, args, environ, said):
    before = len(acme.aws.requests)
    share(acme, **({"role_arn": None} if "S3PULL_ROLE_ARN" in environ else {}))
    ran = run("doctor", "acme", *args, env=environ)
    assert (ran.exit, ran.err) == (10, "")
    assert ran.out.endswith("\nacme: broken at local\n")
    report = json.loads(run("doctor", "acme", "--json", *args, env=environ).out)
    (step,) = report["steps"]
    assert (report["schema"], report["sound"]) == (1, False)
    assert (step["step"], step["ok"], step["who"]) == ("local", False, "you")
    assert step["observed"].startswith(said)
    assert [one["cause"] for one in step["causes"]] == ["configuration"]
    assert len(acme.aws.requests) == before
    assert "two words" not in ran.out


def test_a_configuration_of_ours_that_cannot_be_read_is_a_broken_link(acme, run):
    acme.config.write_text('[shares.acme]\nbukket = "acme"\n')
    ran = run("doctor", "acme", "--json")
    assert (ran.exit, json.loads(ran.out)["steps"][0]["step"]) == (10, "local")


@pytest.mark.parametrize("args", [["https://acme/"], ["acme", "--wrong"], ["acme", "beta"]])
def test_a_command_line_that_is_wrong_is_none(acme, run, args):
    assert run("doctor", *args).exit == 2


@pytest.mark.parametrize("environ", [{"AWS_PROFILE": "nowhere"}, {"AWS_CONFIG_FILE": __file__}])
def test_what_is_wrong_with_the_aws_configuration_here(acme, run, environ):
    ran = run("doctor", "--json", env=environ)
    assert (ran.exit, ran.err) == (10, "")
    steps = json.loads(ran.out)["steps"]
    assert [(one["step"], one["ok"]) for one in steps] == [("python", True), ("local", False)]


@pytest.mark.parametrize("args", [["--key", "a"], ["--probe"]])
def test_options_that_go_with_a_source(acme, run, args):
    ran = run("doctor", *args)
    assert (ran.exit, ran.err) == (2, "s3pull: --key and --probe go with a source\nhint: s3pull doctor NAME\n")


def test_nothing_is_cached(acme, run, tmp_path):
    assert run("doctor", "acme").exit == 0
    assert not (tmp_path / "cache").exists()


def test_an_mfa_code_is_asked_for_on_the_terminal(acme, tmp_path):
    share(acme, mfa_serial=f"arn:aws:iam::{CONSUMER}:mfa/ana")
    done = run_s3pull(["doctor", "acme"], cwd=tmp_path, tty=True, answers={"MFA code of": "123456"})
    assert done.code == 0, done
    assert done.stdout.endswith("acme: sound\n")


def test_without_a_terminal_an_mfa_code_cannot_be_asked_for(acme, headless):
    share(acme, mfa_serial=f"arn:aws:iam::{CONSUMER}:mfa/ana")
    ran = headless("doctor", "acme")
    assert ran.exit == 10
    assert "  1. mfa: " in ran.out


# --- this machine ---------------------------------------------------------------------------------------------


def steps(ran):
    return {step["step"]: step["ok"] for step in json.loads(ran.out)["steps"]}


def test_this_machine(acme, run):
    ran = run("doctor", "--json")
    assert ran.exit == 0
    assert steps(ran) == {"python": True, "ca": True, "proxy": True, "keyring": None, "caller": True, "clock": True}
    assert acme.aws.count("AssumeRole") == 0
    text = run("doctor").out
    assert f"you are {ANA}" in text
    assert text.endswith("\n\nthis machine: sound\n")


@pytest.mark.parametrize(
    ("name", "value", "step"),
    [
        ("AWS_CA_BUNDLE", "/nowhere/ca.pem", "ca"),
        ("HTTPS_PROXY", "socks5://proxy", "proxy"),
        ("S3PULL_CACHE", "keyring", "keyring"),
        ("AWS_ACCESS_KEY_ID", "AKIA9999999999999999", "caller"),
    ],
)
def test_what_is_wrong_with_this_machine(acme, run, name, value, step):
    ran = run("doctor", "--json", env={name: value})
    assert ran.exit == 10
    assert steps(ran)[step] is False


def test_no_password_of_a_proxy_is_said(acme, run):
    for url in ("http://ana:hunter2@127.0.0.1:1", "socks5://ana:hunter2@127.0.0.1:1"):
        ran = run("doctor", env={"HTTPS_PROXY": url})
        assert "hunter2" not in ran.out + ran.err


def test_no_credentials_at_all(run, config):
    ran = run("doctor", "--json")
    assert ran.exit == 10
    broken = next(step for step in json.loads(ran.out)["steps"] if step["ok"] is False)
    assert (broken["step"], broken["who"], broken["causes"][0]["cause"]) == ("caller", "you", "credentials")


# --- a dead network -------------------------------------------------------------------------------------------


def test_a_network_that_refuses(acme, run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = run("doctor", "acme", env={"AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{port}"})
    assert ran.exit == 10
    assert "\nyour network administrator must act:\n  1. network: STS cannot be reached" in ran.out
    assert ran.out.endswith("\n\nacme: broken at caller\n")


@pytest.mark.slow
@pytest.mark.parametrize("args", [["doctor", "acme"], ["doctor"]])
def test_a_network_that_swallows_ends_it_too(acme, args, tmp_path):
    """The real process with its real limits, to its very end: no thread keeps it alive."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = run_s3pull(args, env={"AWS_ENDPOINT_URL_STS": url}, cwd=tmp_path)
    assert done.code == 10
    assert "network: STS cannot be reached" in done.stdout


# --- one line of diagnosis ----------------------------------------------------------------------------------------

DIAGNOSIS = (
    "s3pull: the data owner must act: the role's policy does not allow s3:GetObject here\nhint: s3pull doctor acme\n"
)


@pytest.mark.parametrize("args", [["cat", "acme:a.csv"], ["get", "acme:a.csv", "-"], ["get", "acme:"]])
def test_a_denial_says_what_it_means(acme, run, args):
    acme.role.policies = ({"Statement": [LIST]},)
    ran = run(*args)
    assert ran.exit == 10
    assert DIAGNOSIS in ran.err


@pytest.mark.parametrize("args", [["cat", "acme:none.csv"], ["get", "acme:none.csv"]])
@pytest.mark.parametrize("denying", [[], [{**LIST, "Effect": "Deny"}]])
def test_a_key_that_is_not_there_is_no_denied_listing(acme, run, args, denying):
    """Without s3:ListBucket S3 answers 403 to it, and names the listing."""
    acme.role.policies = ({"Statement": [READ, *denying]},)
    ran = run(*args)
    assert ran.exit == 10
    assert ran.err.startswith("s3pull: no such key, or no permission: s3://acme/2026/none.csv: User: ")
    diagnosis = "\ns3pull: you must act: there is most likely no such object: who may not list hears 403 instead of 404"
    assert f"{diagnosis}\nhint: s3pull doctor acme\n" in ran.err
    assert "the data owner must act" not in ran.err


def test_keys_of_a_list_may_not_be_there(acme, run, tmp_path):
    acme.role.policies = ({"Statement": [READ]},)
    (tmp_path / "keys").write_text("a.csv\nnone.csv\n")
    ran = run("get", "acme:", "out/", "--from-file", str(tmp_path / "keys"))
    assert "no such key, or no permission: s3://acme/2026/none.csv" in ran.err
    assert "the data owner must act" not in ran.err


@pytest.mark.parametrize("command", ["get", "sync"])
def test_what_was_just_listed_is_there(acme, run, command):
    acme.role.policies = ({"Statement": [LIST]},)
    ran = run(command, "acme:", "out/")
    assert "s3pull: access denied to s3://acme/2026/a.csv: User: " in ran.err
    assert "no such key" not in ran.err


def test_nobody_has_no_policy_of_his_own(acme, run):
    ran = run("get", "s3://acme/2026/a.csv", "--anonymous")
    assert ran.exit == 10
    assert "s3pull: the data owner must act: the bucket's policy does not let everybody do this, or Block" in ran.err


def test_a_denied_listing_says_what_it_means(acme, run):
    acme.role.policies = ({"Statement": [READ]},)
    ran = run("ls", "acme:")
    assert ran.exit == 10
    assert ran.err.endswith(
        "\ns3pull: the data owner must act: the role's policy does not allow s3:ListBucket here\n"
        "hint: s3pull doctor acme\n"
    )


@pytest.mark.parametrize("args", [["ls", "acme:"], ["get", "acme:"], ["login", "acme"]])
def test_a_denied_role_says_what_it_may_be(acme, run, args):
    share(acme, external_id="wrong")
    ran = run(*args)
    assert ran.exit == 10
    assert "\ns3pull: AWS does not say why; most likely first: the external ID is missing, or is not " in ran.err
    assert "\nhint: s3pull doctor acme\n" in ran.err


def test_many_denials_give_the_hint_once(acme, run):
    acme.role.policies = ({"Statement": [LIST]},)
    for name in "bcd":
        acme.aws.put("acme", f"2026/{name}.csv", b"-")
    ran = run("get", "acme:")
    assert ran.err.count("hint: s3pull doctor acme\n") == 1
    assert ran.err.count("access denied to s3://acme/2026/") == 4
    assert "no such key" not in ran.err


def test_an_s3_source_is_named_as_it_was_typed(acme, run):
    acme.role.policies = ({"Statement": [LIST]},)
    ran = run("cat", "s3://acme/2026/a.csv", "--role-arn", acme.arn, "--external-id", EXTERNAL_ID)
    assert "\nhint: s3pull doctor s3://acme/2026/a.csv\n" in ran.err


def test_the_hint_is_in_the_json_too(acme, run):
    acme.role.policies = ({"Statement": [LIST]},)
    line = json.loads(run("get", "acme:", "--json").out.splitlines()[0])
    assert line["error"]["hint"] == "s3pull doctor acme"
    share(acme, external_id="wrong")
    line = json.loads(run("ls", "acme:", "--json").out)
    assert (line["exit"], line["hint"]) == (10, "s3pull doctor acme")


def test_other_errors_are_left_alone(acme, run):
    ran = run("cat", "acme:none.csv")
    assert ran.exit == 4
    assert "doctor" not in ran.err


ACCESS = Access("acme", role_arn=f"arn:aws:iam::{OWNER}:role/readers")


def test_a_refused_head_has_no_words_and_no_diagnosis():
    error = AccessDenied("no such key, or no permission: s3://acme/k (403)", hint="…", code="403", status=403, key="k")
    advise(error, ACCESS, "acme")
    assert (error.diagnosis, error.hint) == (None, "s3pull doctor acme")


def test_a_key_is_not_read_as_words_of_aws():
    key = "x: because no session policy allows the s3:GetObject action"
    error = AccessDenied(f"access denied to s3://acme/{key}: Access Denied", code="AccessDenied", status=403, key=key)
    assert words_of(error, "acme") == ("s3", "Access Denied")
    advise(error, ACCESS, "s3://acme/it's")
    assert error.diagnosis is not None
    assert error.diagnosis.startswith("AWS does not say why")
    assert error.hint == """s3pull doctor 's3://acme/it'"'"'s'"""


def test_advice_is_given_once_and_for_denials_alone():
    error = AccessDenied("cannot assume arn:x: MultiFactorAuthentication failed", code="AccessDenied", status=403)
    advise(error, ACCESS, "acme")
    assert error.diagnosis == "you must act: the MFA code is wrong, or was used before"
    advise(error, ACCESS, "another")
    assert error.hint == "s3pull doctor acme"
    other = NothingThere("no such key", hint="look")
    advise(other, ACCESS, "acme")
    assert (other.diagnosis, other.hint) == (None, "look")


@pytest.mark.parametrize("source", ["acme", "s3://acme/2026/"])
def test_the_command_against_a_bare_denial_prints_the_trust_policy_with_the_external_id(acme, run, source):
    """What doctor may not show, `policy` does; the owner pastes it, and all is well."""
    acme.role.trust = {"Statement": []}
    access = ["--role-arn", acme.arn, "--external-id", EXTERNAL_ID] if source.startswith("s3:") else []
    report = json.loads(run("doctor", source, *access, "--json").out)
    told = next(one["text"] for one in report["steps"][-1]["snippets"] if one["text"].startswith("s3pull policy "))
    words = [EXTERNAL_ID if word == "EXTERNAL-ID" else word for word in shlex.split(told)]
    printed = run(*words[1:])
    assert printed.exit == 0
    acme.role.trust = json.loads(printed.out)
    assert EXTERNAL_ID in printed.out
    assert run("doctor", source, *access).exit == 0
