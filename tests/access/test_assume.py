"""AssumeRole against the fake: what is asked, which refusals earn a second question, what each answer becomes."""

from __future__ import annotations

import json
import os
import random
import time
import traceback

import pytest

from s3pull.access import assume, profiles
from s3pull.access.narrow import narrowing
from s3pull.errors import AccessDenied, CredentialsError, S3pullError, ServiceError, UsageError
from tests.access.conftest import CONSUMER, EXTERNAL_ID, OWNER
from tests.fakes import faults

SERIAL = f"arn:aws:iam::{CONSUMER}:mfa/ana"


def ask(reach, access=None, *, prompt=None, clock=time.time):
    return assume.assume(
        access or reach.access(), environ=os.environ, profiles=profiles.load(os.environ), prompt=prompt,
        note=reach.notes.append, clock=clock,
    )  # fmt: skip


def refused(reach, kind, access=None, **more) -> S3pullError:
    with pytest.raises(kind) as caught:
        ask(reach, access, **more)
    return caught.value


def test_what_is_asked_by_default(reach):
    made = ask(reach)
    (asked,) = reach.assumed
    assert asked["RoleArn"] == reach.role
    assert asked["ExternalId"] == EXTERNAL_ID
    assert asked["RoleSessionName"] == made.session_name == "ana"
    assert asked["DurationSeconds"] == "3600"
    assert asked["Policy"] == narrowing(reach.access()).policy
    assert not {"SourceIdentity", "SerialNumber", "TokenCode", "Tags.member.1.Key"} & set(asked)
    assert made.arn == f"arn:aws:sts::{OWNER}:assumed-role/reader/ana"
    assert (made.width, reach.notes) == ("prefix", [])
    assert 3500 < made.credentials.expires - time.time() <= 3601
    assert all(one.headers["user-agent"].startswith("s3pull/") for one in reach.aws.requests)


def test_everything_that_can_be_asked(reach):
    chosen = {
        "session_name": "pipeline-7",
        "duration": "15m",
        "source_identity": "ana@example.org",
        "session_tag": ["team=climate", "run=7"],
        "narrow": False,
    }
    made = ask(reach, reach.access(**chosen))
    (asked,) = reach.assumed
    assert asked["RoleSessionName"] == made.session_name == "pipeline-7"
    assert asked["DurationSeconds"] == "900"
    assert asked["SourceIdentity"] == "ana@example.org"
    assert [asked[f"Tags.member.{n}.{part}"] for n in (1, 2) for part in ("Key", "Value")] == [
        "team", "climate", "run", "7",
    ]  # fmt: skip
    assert "Policy" not in asked
    assert made.width == "role"
    assert reach.aws.count("GetCallerIdentity") == 0, "a name was given: nobody need ask who calls"


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::222222222222:user/ana", "ana"),
        ("arn:aws:iam::222222222222:user/division/ana@example.org", "ana@example.org"),
        ("arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_Data_ab12/ana@example.org", "ana@example.org"),
        ("arn:aws:sts::222222222222:assumed-role/worker/i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("arn:aws:sts::222222222222:assumed-role/worker/botocore-session-1700000000", "worker"),
        ("arn:aws:sts::222222222222:assumed-role/worker/1700000000", "worker"),
        ("arn:aws:sts::222222222222:federated-user/ana", "ana"),
        ("arn:aws:iam::222222222222:root", "root"),
        ("arn:aws:iam::222222222222:user/a", "s3pull"),
        ("arn:aws:iam::222222222222:user/ana müller", "ana-m-ller"),
        ("arn:aws:iam::222222222222:user/" + "x" * 80, "x" * 64),
    ],
)
def test_what_the_owner_calls_the_caller(arn, name):
    assert assume.session_name(arn) == name


def test_a_caller_that_may_not_ask_who_it_is(reach):
    reach.aws.fault("GetCallerIdentity", faults.status(403, "AccessDenied"), times=None)
    assert ask(reach).session_name == "s3pull"


# --- duration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True])
def test_a_role_may_lend_itself_for_an_hour(reach, named):
    reach.use(reach.aws.env(reach.aws.session(CONSUMER, "dev", "ana")))
    made = ask(reach, reach.access(duration="12h", **({"session_name": "ana"} if named else {})))
    assert made.credentials.expires - time.time() <= 3601
    assert [asked["DurationSeconds"] for asked in reach.assumed] == ["3600"]
    assert len(reach.notes) == 1
    assert "1 h" in reach.notes[0]


def test_chaining_that_only_sts_knows_of(reach):
    reach.use(reach.aws.env(reach.aws.session(CONSUMER, "dev", "ana")))
    reach.aws.fault("GetCallerIdentity", faults.status(403, "AccessDenied"), times=None)
    ask(reach, reach.access(duration="2h"))
    assert [asked["DurationSeconds"] for asked in reach.assumed] == ["7200", "3600"]
    assert "1 h" in reach.notes[0]


def test_a_user_may_have_twelve_hours(reach):
    made = ask(reach, reach.access(duration="12h"))
    assert made.credentials.expires - time.time() > 43_000
    assert reach.notes == []


def test_longer_than_the_role_allows(reach):
    reach.aws.role_of(reach.role).max_session = 3600
    error = refused(reach, UsageError, reach.access(duration="2h"))
    assert (error.exit_code, error.code, error.status) == (2, "ValidationError", 400)
    assert "MaxSessionDuration" in error.message
    assert "--duration 1h" in error.hint


# --- the session policy -------------------------------------------------------------------------------------


def test_a_policy_that_does_not_fit_is_widened_to_the_bucket_and_said(reach):
    prefix = random.Random(1).randbytes(110).hex() + "/"
    access = reach.access(share={"prefix": prefix})
    reach.aws.role_of(reach.role).packed = 60
    made = ask(reach, access)
    first, second = reach.assumed
    assert prefix in first["Policy"]
    assert prefix not in second["Policy"]
    assert json.loads(second["Policy"])["Statement"][0]["Resource"] == "arn:aws:s3:::acme/*"
    assert made.width == "bucket"
    assert reach.notes == [
        "the session policy is too large for this session: it is narrowed to the bucket, not to the prefix"
    ]


def test_never_silently_wider_than_the_bucket(reach):
    reach.aws.role_of(reach.role).packed = 99
    error = refused(reach, UsageError)
    assert (error.code, error.exit_code) == ("PackedPolicyTooLarge", 2)
    assert "--no-narrow" in error.hint
    assert [("Policy" in asked) for asked in reach.assumed] == [True, True]
    ask(reach, reach.access(narrow=False))
    assert "Policy" not in reach.assumed[-1]


def test_a_prefix_too_long_for_any_policy_is_said(reach):
    assert ask(reach, reach.access(share={"prefix": "p" * 1000})).width == "bucket"
    assert "too long" in reach.notes[0]


# --- MFA ----------------------------------------------------------------------------------------------------


def codes(*given):
    waiting = list(given)
    questions = []

    def prompt(question):
        questions.append(question)
        return waiting.pop(0)

    prompt.questions = questions
    return prompt


def test_the_code_is_asked_for(reach):
    prompt = codes("123 456")
    ask(reach, reach.access(mfa_serial=SERIAL), prompt=prompt)
    assert (reach.assumed[0]["SerialNumber"], reach.assumed[0]["TokenCode"]) == (SERIAL, "123456")
    assert prompt.questions == [f"MFA code of {SERIAL}: "]


def test_a_wrong_code_may_be_given_again_twice(reach):
    prompt = codes("12345", "000000", "111111", "123456")
    ask(reach, reach.access(mfa_serial=SERIAL), prompt=prompt)
    assert prompt.questions[1] == f"6 digits, please: MFA code of {SERIAL}: "
    assert [asked["TokenCode"] for asked in reach.assumed] == ["000000", "111111", "123456"]
    error = refused(reach, AccessDenied, reach.access(mfa_serial=SERIAL), prompt=codes("0" * 6, "1" * 6, "2" * 6))
    assert "clock of the device" in error.hint


def test_nobody_to_ask(reach):
    error = refused(reach, CredentialsError, reach.access(mfa_serial=SERIAL))
    assert error.exit_code == 11
    assert "no terminal" in error.message
    assert "s3pull login" in error.hint
    assert reach.aws.requests == []


def test_what_is_no_code(reach):
    error = refused(reach, CredentialsError, reach.access(mfa_serial=SERIAL), prompt=codes("", "abcdef", "12345"))
    assert "no MFA code" in error.message
    assert reach.aws.count("AssumeRole") == 0


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_bare_denial(reach):
    error = refused(reach, AccessDenied, reach.access(share={"external_id": "wrong-external-id"}))
    assert (error.exit_code, error.code, error.status) == (10, "AccessDenied", 403)
    assert error.request_id == reach.aws.requests[-1].request_id
    assert error.message.startswith(f"cannot assume {reach.role}: User: arn:aws:iam::{CONSUMER}:user/ana is not")
    assert "external ID" in error.hint


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("… is not authorized to perform: sts:AssumeRole because no identity-based policy allows", "your own account"),
        ("… is not authorized to perform: sts:AssumeRole because no role trust policy allows", "ask the data owner"),
        ("… is not authorized to perform: sts:TagSession on resource: …", "--session-tag"),
        ("… is not authorized to perform: sts:SetSourceIdentity on resource: …", "--source-identity"),
        ("… with an explicit deny in a service control policy", "your organization"),
        ("… because no permissions boundary allows", "permissions boundary"),
        ("… because no VPC endpoint policy allows", "VPC endpoint"),
        ("… because no session policy allows", "your own session is narrowed"),
    ],
)
def test_who_must_act(reach, message, hint):
    reach.aws.fault("AssumeRole", refusing(403, "AccessDenied", message), times=None)
    assert hint in refused(reach, AccessDenied).hint


def refusing(status, code, message):
    from tests.fakes.refusals import Refusal

    def before(aws, record, request):
        raise Refusal(status, code, message)

    return faults.Action("refusing", before=before)


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (403, "ExpiredToken", CredentialsError, "log in again"),
        (403, "InvalidClientTokenId", CredentialsError, "aws configure"),
        (403, "SignatureDoesNotMatch", CredentialsError, "clock"),
        (403, "RegionDisabledException", UsageError, "AWS_REGION=us-east-1"),
        (400, "MalformedPolicyDocument", UsageError, "--no-narrow"),
        (400, "ValidationError", UsageError, None),
        (403, "SomethingNew", AccessDenied, "external ID"),
        (418, "SomethingElse", ServiceError, None),
    ],
)
def test_what_each_answer_becomes(reach, status, code, kind, hint):
    reach.aws.fault("AssumeRole", refusing(status, code, "Because of that."), times=None)
    error = refused(reach, kind)
    assert type(error) is kind
    assert (error.code, error.status) == (code, status)
    assert error.message == f"cannot assume {reach.role}: Because of that"
    assert (error.hint is None) if hint is None else (hint in error.hint)


def test_a_service_that_fails_is_asked_three_times(reach):
    reach.aws.fault("AssumeRole", refusing(500, "InternalFailure", "Oh"), times=None)
    error = refused(reach, ServiceError)
    assert (error.exit_code, error.status) == (15, 500)
    assert reach.aws.count("AssumeRole") == 3


def test_a_hiccup_is_nothing(reach):
    reach.aws.fault("AssumeRole", refusing(503, "ServiceUnavailable", "Oh"), times=1)
    assert ask(reach).session_name == "ana"


def test_no_secret_in_any_error(reach):
    reach.aws.fault(
        "AssumeRole", refusing(400, "ValidationError", f"Value '{EXTERNAL_ID}' at 'externalId' failed"), times=None
    )
    error = refused(reach, UsageError)
    text = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    assert EXTERNAL_ID not in text
    assert reach.ana.secret_key not in text
    assert "Value '…' at 'externalId'" in error.message


# --- the way there ------------------------------------------------------------------------------------------


def test_nobody_listens(reach, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    error = refused(reach, ServiceError, reach.access(session_name="ana"))
    assert "127.0.0.1:1" in error.message
    assert error.exit_code == 15


@pytest.mark.parametrize("named", ["option", "environment"])
def test_plain_http_to_another_machine_is_refused(reach, named):
    away = "http://sts.example.org"
    if named == "environment":
        reach.patch.setenv("AWS_ENDPOINT_URL_STS", away)
    with pytest.raises(UsageError, match="plain HTTP"):
        ask(reach, reach.access(sts_endpoint_url=away) if named == "option" else reach.access())
    assert reach.aws.requests == []


def test_the_sts_endpoint_of_the_share_wins(reach):
    reach.patch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert ask(reach, reach.access(sts_endpoint_url=reach.aws.url)).session_name == "ana"


def test_a_private_ca(fake_aws_tls, monkeypatch, tmp_path):
    ana = fake_aws_tls.user(CONSUMER, "ana")
    role = fake_aws_tls.role(OWNER, "reader", trust={CONSUMER: None})
    for name, value in fake_aws_tls.env(ana).items():
        monkeypatch.setenv(name, value)
    from s3pull.access import options

    def go():
        found = profiles.load(os.environ)
        access = options.resolve(
            share=None, bucket="acme", prefix="", options={"role_arn": role}, environ=os.environ, profiles=found
        )
        return assume.assume(access, environ=os.environ, profiles=found, prompt=None, note=lambda _: None)

    assert go().session_name == "ana"
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(UsageError, match=r"the CA bundle .*gone\.pem cannot be read: no such file"):
        go()
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(ServiceError) as caught:
        go()
    assert "AWS_CA_BUNDLE" in caught.value.hint


def test_expiry_is_by_our_clock(reach):
    reach.aws.clock.offset = 240
    made = ask(reach)
    assert abs(made.credentials.expires - (time.time() + 3600)) < 10


@pytest.mark.parametrize(
    ("environ", "chosen", "region"),
    [
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, {}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, {"region": "af-south-1"}, "eu-west-2"),
        ({}, {"region": "af-south-1"}, "us-east-1"),
        ({}, {"profile": "here"}, "eu-north-1"),
        ({}, {"region": "garage", "sts_endpoint_url": "https://sts.example.org"}, "garage"),
        ({}, {"role_arn": "arn:aws-cn:iam::111111111111:role/reader"}, "cn-north-1"),
        ({}, {"role_arn": "arn:aws-us-gov:iam::111111111111:role/reader"}, "us-gov-west-1"),
    ],
)
def test_which_sts_is_asked(reach, environ, chosen, region):
    from s3pull.access.profiles import sts_region

    reach.aws_files("[profile here]\nregion=eu-north-1\n")
    reach.patch.delenv("AWS_REGION")
    for name, value in environ.items():
        reach.patch.setenv(name, value)
    assert sts_region(reach.access(**chosen), os.environ, profiles.load(os.environ)) == region
