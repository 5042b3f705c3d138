"""Doctor, from this machine to the role's session: each link broken by itself, judged, and healed by what was printed.

Rows of ACCESS.md 1, branches 0 to 3 of its decision tree.
"""

from __future__ import annotations

import re

import pytest

from s3pull.access.doctor.report import Report
from tests.access.ward import (
    ANA,
    CONSUMER,
    EXTERNAL_ID,
    OWNER,
    READER,
    THIRD,
    Ward,
    allow,
    deny,
    policy,
)
from tests.fakes import faults
from tests.fakes.identities import trust_policy
from tests.fakes.policies import ENDPOINT, RCP, SCP

MFA = f"arn:aws:iam::{CONSUMER}:mfa/ana"


@pytest.fixture
def ward(fake_aws, monkeypatch, isolated, shared_loader):
    return Ward(fake_aws, monkeypatch)


def told(report: Report) -> tuple[str, str, str]:
    """(step, who, first cause) of the broken link."""
    step = report.broken
    assert step is not None, report.json()
    return step.step, str(step.who), str(step.causes[0].cause)


def heal(ward: Ward, report: Report) -> None:
    """Do all that was printed."""
    assert report.broken is not None
    assert report.broken.snippets
    for snippet in report.broken.snippets:
        ward.paste(snippet)


# --- what breaks: (step, who, first cause, kind of the first snippet) ---------------------------------------


def wrong_external_id(ward):
    ward.role.trust = trust_policy({ANA: "another"})


def external_id_in_another_case(ward):
    ward.role.trust = trust_policy({ANA: EXTERNAL_ID.upper()})


def principal_not_trusted(ward):
    ward.role.trust = trust_policy({f"arn:aws:iam::{CONSUMER}:user/bob": EXTERNAL_ID})


def role_missing(ward):
    del ward.aws.directory.roles[READER]


def own_user_recreated(ward):
    ward.role.trust = trust_policy({"arn:aws:iam::222222222222:user/AIDA00000000000000099": EXTERNAL_ID})


def trust_from_elsewhere_only(ward):
    (statement, *_rest) = ward.role.trust["Statement"]
    statement["Condition"]["IpAddress"] = {"aws:SourceIp": "203.0.113.0/24"}


def session_name_demanded(ward):
    (statement, *_rest) = ward.role.trust["Statement"]
    statement["Condition"]["StringLike"] = {"sts:RoleSessionName": "batch-*"}


def trust_says_so(ward):
    ward.aws.trust_reasons = True
    ward.role.trust = trust_policy({f"arn:aws:iam::{CONSUMER}:user/bob": EXTERNAL_ID})


def trust_denies(ward):
    ward.aws.trust_reasons = True
    ward.role.trust["Statement"].append(
        {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole", "Condition": {"Null": {"aws:a": "true"}}}
    )


def own_policy_lacks_it(ward):
    ward.user.policies = ()


def own_policy_denies(ward):
    ward.denying = deny("sts:AssumeRole")
    ward.user.policies += (policy(ward.denying),)


def own_scp_denies(ward):
    ward.guard(SCP, allow("*"), deny("sts:AssumeRole", READER), account=CONSUMER)


def own_scp_lacks_it(ward):
    ward.guard(SCP, allow("s3:*"), account=CONSUMER)


def owners_rcp_denies(ward):
    ward.guard(RCP, deny("sts:AssumeRole", Principal="*"), account=OWNER)


def sts_endpoint_lacks_it(ward):
    ward.guard(ENDPOINT, allow("sts:GetCallerIdentity"), service="sts")


def sts_endpoint_denies(ward):
    ward.guard(ENDPOINT, allow("*"), deny("sts:AssumeRole"), service="sts")


def own_role(ward, **more):
    """The consumer is a role itself."""
    ward.aws.role(CONSUMER, "batch", trust={CONSUMER: None}, policy=policy(allow("sts:*", READER)), **more)
    ward.keys = ward.aws.session(CONSUMER, "batch")
    ward.role.trust = trust_policy({f"arn:aws:iam::{CONSUMER}:role/batch": EXTERNAL_ID})


def own_boundary_lacks_it(ward):
    ward.limiting = policy(allow("s3:*"))
    own_role(ward, boundary=ward.limiting)


def own_session_is_narrowed(ward):
    own_role(ward)
    ward.aws.directory.holder(ward.keys.access_key).policy = policy(allow("s3:*"))


def tags_not_allowed(ward):
    ward.share["session_tag"] = {"team": "climate"}
    ward.role.trust = trust_policy({ANA: EXTERNAL_ID}, tags=False)


def source_identity_not_allowed(ward):
    ward.share["source_identity"] = "ana"
    ward.role.trust = trust_policy({ANA: EXTERNAL_ID}, tags=False)


def own_policy_lacks_source_identity(ward):
    ward.share["source_identity"] = "ana"
    ward.user.policies = (policy(allow("sts:AssumeRole", READER)),)


def mfa_and_nobody_there(ward):
    ward.share["mfa_serial"] = MFA


def mfa_code_wrong(ward):
    ward.share["mfa_serial"] = MFA
    ward.prompt = lambda question: "999999"


def mfa_device_unknown(ward):
    ward.share["mfa_serial"] = f"arn:aws:iam::{CONSUMER}:mfa/old-phone"
    ward.prompt = lambda question: "123456"


def session_too_long(ward):
    ward.share["duration"] = "4h"


def sts_says(code, text, status=400):
    def broken(ward):
        ward.aws.fault(faults.at("AssumeRole"), faults.status(status, code, text), None)

    return broken


def session_policy_does_not_fit(ward):
    ward.role.packed = 100


def keys_expired(ward):
    own_role(ward)
    ward.aws.expire_sessions()


def keys_deleted(ward):
    ward.aws.directory.forget(ward.ana)


def secret_wrong(ward):
    ward.keys = type(ward.ana)(ward.ana.access_key, "x" * 40)


def no_keys(ward):
    ward.keys = None


def half_a_pair(ward):
    ward.keys = None
    ward.environment["AWS_ACCESS_KEY_ID"] = "AKIA0000000000000001"


def clock_slow(ward):
    ward.aws.clock.offset = 1000.0


def clock_fast(ward):
    ward.aws.clock.offset = -1000.0


def another_accounts_keys(ward):
    ward.share["mfa_serial"] = f"arn:aws:iam::{THIRD}:mfa/ana"


def another_partition(ward):
    ward.share["region"] = "cn-north-1"


BARE = ("assume-role", "unknown", "external-id", "trust")
UNTRUSTED = ("assume-role", "owner", "trust", "trust")
CHAINED = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
REGION_OFF = f"STS is not activated in this region for account:{OWNER}. Your account administrator can activate it."

FAULTS = {
    wrong_external_id: BARE,
    external_id_in_another_case: BARE,
    principal_not_trusted: BARE,
    role_missing: BARE,
    own_user_recreated: BARE,
    trust_from_elsewhere_only: BARE,
    session_name_demanded: BARE,
    trust_says_so: UNTRUSTED,
    trust_denies: UNTRUSTED,
    own_policy_lacks_it: ("assume-role", "you", "identity-policy", "consumer"),
    own_policy_denies: ("assume-role", "you", "identity-policy", "except"),
    own_scp_denies: ("assume-role", "you", "scp", "except"),
    own_scp_lacks_it: ("assume-role", "you", "scp", "allow"),
    owners_rcp_denies: ("assume-role", "owner", "rcp", "except"),
    sts_endpoint_lacks_it: ("assume-role", "network", "vpc-endpoint", "allow"),
    sts_endpoint_denies: ("assume-role", "network", "vpc-endpoint", "except"),
    own_boundary_lacks_it: ("assume-role", "you", "boundary", "allow"),
    own_session_is_narrowed: ("assume-role", "you", "session-policy", "consumer"),
    tags_not_allowed: UNTRUSTED,
    source_identity_not_allowed: UNTRUSTED,
    own_policy_lacks_source_identity: UNTRUSTED,
    mfa_and_nobody_there: ("assume-role", "you", "mfa", "command"),
    mfa_code_wrong: ("assume-role", "you", "mfa", "command"),
    session_too_long: ("assume-role", "you", "duration", "option"),
    session_policy_does_not_fit: ("assume-role", "you", "session-policy", "option"),
    sts_says("RegionDisabledException", REGION_OFF, 403): ("assume-role", "you", "region", "command"),
    keys_expired: ("caller", "you", "credentials", "command"),
    keys_deleted: ("caller", "you", "credentials", "command"),
    secret_wrong: ("caller", "you", "credentials", "command"),
    no_keys: ("caller", "you", "credentials", "command"),
    clock_slow: ("caller", "you", "clock", "command"),
    clock_fast: ("caller", "you", "clock", "command"),
}
#: what no snippet can put right, or none that the fake can follow: (step, who, first cause)
INCURABLE = {
    mfa_device_unknown: ("assume-role", "you", "mfa"),
    sts_says("ValidationError", CHAINED): ("assume-role", "you", "duration"),
    sts_says("ValidationError", "1 validation error detected: Value 'é' at 'roleSessionName' failed"): (
        "assume-role", "you", "configuration",
    ),
    sts_says("MalformedPolicyDocument", "Syntax errors in policy."): ("assume-role", "you", "session-policy"),
    sts_says("Throttling", "Rate exceeded"): ("assume-role", "unknown", "service"),
    sts_says("InternalFailure", "", 500): ("assume-role", "unknown", "service"),
    sts_says("AccessDenied", "The moon is in the wrong house.", 403): ("assume-role", "unknown", "unknown"),
    half_a_pair: ("caller", "you", "credentials"),
    another_accounts_keys: ("caller", "you", "credentials"),
    another_partition: ("local", "you", "configuration"),
}  # fmt: skip


def name_of(value):
    return getattr(value, "__name__", None)


def test_nothing_is_wrong(ward):
    report = ward.examine()
    assert report.sound
    assert [step.step for step in report.steps] == [
        "local", "caller", "assume-role", "role", "bucket", "list", "head", "get",
    ]  # fmt: skip
    assert report.warnings == []


def test_a_sound_chain_leaves_no_denial_in_the_owners_logs(ward):
    assert ward.examine().sound
    assert [(one.action, one.code) for one in ward.aws.requests if one.status >= 400] == [
        ("AssumeRole", "AccessDenied")  # the second try, without the external ID: logged at the caller's
    ]


@pytest.mark.parametrize(("broken", "expected"), FAULTS.items(), ids=name_of)
def test_a_broken_link_is_named_and_what_is_printed_heals_it(ward, broken, expected):
    broken(ward)
    report = ward.examine()
    assert told(report) == expected[:3]
    assert report.broken.snippets[0].kind == expected[3]
    assert report.broken is report.steps[-1]
    heal(ward, report)
    healed = ward.examine()
    assert healed.sound, healed.json()


@pytest.mark.parametrize(("broken", "expected"), INCURABLE.items(), ids=name_of)
def test_a_broken_link_is_named(ward, broken, expected):
    broken(ward)
    assert told(ward.examine()) == expected


# --- the bare denial ----------------------------------------------------------------------------------------


def test_a_bare_denial_is_not_judged_and_lists_what_remains(ward):
    wrong_external_id(ward)
    step = ward.examine().broken
    assert step.observed.startswith("cannot tell: ")
    assert "sts:AssumeRole" in step.observed
    assert [str(one.cause) for one in step.causes] == [
        "external-id", "trust", "role-missing", "identity-policy", "trust-recreated", "trust-condition",
    ]  # fmt: skip
    assert [one.kind for one in step.snippets] == ["trust", "command", "consumer", "command"]
    assert ANA in step.snippets[0].text
    assert f"the principal to trust: {ANA}" in step.notes
    assert any("CloudTrail does not show" in note for note in step.notes)
    assert step.request_id == ward.aws.asked("AssumeRole")[0].request_id


def test_where_no_external_id_is_given_that_is_said(ward):
    ward.share["external_id"] = None
    step = ward.examine().broken
    assert told(ward.examine())[2] == "external-id"
    assert step.notes[0] == "no external ID is given: ask the data owner whether there is one"


def test_words_that_nobody_knows_are_shown(ward):
    sts_says("AccessDenied", "The moon is in the wrong house.", 403)(ward)
    step = ward.examine().broken
    assert step.observed.startswith("cannot tell: ")
    assert "The moon is in the wrong house." in step.observed
    assert [str(one.cause) for one in step.causes[:2]] == ["unknown", "external-id"]


def test_no_external_id_in_anything_that_is_said(ward):
    for broken in (wrong_external_id, trust_says_so):
        broken(ward)
        assert EXTERNAL_ID not in str(ward.examine().json())
    sts_says("ValidationError", f"Value '{EXTERNAL_ID}' at 'externalId' failed to satisfy constraint")(ward)
    said = str(ward.examine().json())
    assert EXTERNAL_ID not in said
    assert "Value '…' at 'externalId'" in said


# --- what it asks -------------------------------------------------------------------------------------------


def test_sessions_are_short_and_narrowed(ward):
    assert ward.examine().sound
    for one in ward.aws.asked("AssumeRole"):
        assert one.form["DurationSeconds"] == "900"
        assert "acme/2026/*" in one.form["Policy"]


def test_a_long_session_is_tried_as_long_as_it_is_wanted(ward):
    ward.role.max_session = 43200
    ward.share["duration"] = "4h"
    assert ward.examine().sound
    assert ward.aws.asked("AssumeRole")[0].form["DurationSeconds"] == "14400"


def test_a_chained_session_is_lowered_as_get_does(ward):
    own_role(ward)
    ward.share["duration"] = "4h"
    report = ward.examine()
    assert report.sound
    assert [one.warning for one in report.warnings] == ["duration"]


def test_an_mfa_code_is_asked_for_once(ward):
    ward.role.trust = trust_policy({ANA: EXTERNAL_ID}, mfa=True)
    ward.share["mfa_serial"] = MFA
    ward.aws.single_use_codes = True
    asked = []
    ward.prompt = lambda question: asked.append(question) or "123456"
    assert ward.examine(probe=True).sound
    assert asked == [f"MFA code of {MFA}: "]


def test_a_session_policy_that_fits_only_without_the_prefix(ward):
    ward.role.packed = 70
    report = ward.examine()
    assert report.sound
    assert [one.warning for one in report.warnings] == ["session-policy"]
    assert len(ward.aws.asked("AssumeRole", status=400)) == 1


# --- what works and should not --------------------------------------------------------------------------------


def warned(report: Report) -> dict[str, str]:
    assert report.sound, report.json()
    return {one.warning: str(one.who) for one in report.warnings}


def test_an_external_id_that_is_not_enforced(ward):
    ward.role.trust = trust_policy({ANA: None})
    report = ward.examine()
    assert warned(report) == {"external-id": "owner"}
    ward.paste(report.warnings[0].snippets[0])
    assert warned(ward.examine()) == {}


def test_a_role_without_an_external_id(ward):
    ward.role.trust = trust_policy({ANA: None})
    ward.share["external_id"] = None
    assert warned(ward.examine()) == {"external-id": "owner"}


def test_a_session_that_is_not_narrowed(ward):
    ward.share["narrow"] = False
    report = ward.examine()
    assert warned(report) == {"session-policy": "you"}
    ward.share["narrow"] = None
    ward.paste(report.warnings[0].snippets[0])
    assert warned(ward.examine()) == {}


def test_a_session_policy_of_which_sts_says_nothing(ward):
    ward.aws.fault(faults.at("AssumeRole"), without_packed_size(), None)
    assert warned(ward.examine()) == {"session-policy": "unknown"}


def without_packed_size():
    def after(aws, record, response):
        if isinstance(response.body, bytes):
            response.body = re.sub(rb"<PackedPolicySize>\d+</PackedPolicySize>", b"", response.body)

    return faults.Action("without_packed_size", after=after)


@pytest.mark.parametrize("offset", [600.0, -600.0])
def test_a_clock_near_the_limit(ward, offset):
    ward.aws.clock.offset = offset
    report = ward.examine()
    assert warned(report) == {"clock": "you"}
    ward.paste(report.warnings[0].snippets[0])
    assert warned(ward.examine()) == {}


def test_credentials_of_the_owners_own_account(ward):
    ward.keys = ward.aws.user(OWNER, "boss", policy(allow("*")))
    ward.role.trust = trust_policy({OWNER: EXTERNAL_ID})
    assert warned(ward.examine()) == {"same-account": "you"}


def test_keys_in_the_environment_that_win_over_a_profile(ward, isolated):
    (isolated / "config").write_text("[profile work]\nregion = us-east-1\n")
    ward.environment |= {"AWS_PROFILE": "work", "AWS_CONFIG_FILE": str(isolated / "config")}
    assert warned(ward.examine()) == {"profile-ignored": "you"}


def test_no_account_that_must_own_the_bucket(ward):
    ward.share["bucket_owner"] = "any"
    assert warned(ward.examine()) == {"bucket-owner": "you"}


def test_a_profile_of_another_account_is_the_wrong_one(ward, isolated):
    (isolated / "config").write_text(f"[profile work]\nsso_account_id = {THIRD}\n")
    ward.environment |= {"AWS_PROFILE": "work", "AWS_CONFIG_FILE": str(isolated / "config")}
    report = ward.examine()
    assert told(report) == ("caller", "you", "credentials")
    assert THIRD in report.broken.observed
    assert CONSUMER in report.broken.observed


def test_sts_that_will_not_say_who_one_is(ward):
    """A VPC endpoint may refuse GetCallerIdentity; the download does not hang on it, and neither does doctor."""
    ward.guard(ENDPOINT, allow("sts:AssumeRole"), service="sts")
    report = ward.examine()
    assert report.sound
    assert [(one.step, one.ok) for one in report.steps[1:4]] == [
        ("caller", None),
        ("assume-role", True),
        ("role", None),
    ]
    assert str(report.steps[1].causes[0].cause) == "vpc-endpoint"


def test_a_role_on_the_way_is_not_the_data_owners(ward, isolated):
    """A profile's own role is refused: nothing that would go to the data owner is printed."""
    hop = ward.aws.role(CONSUMER, "hop", trust={f"arn:aws:iam::{CONSUMER}:user/bob": None})
    lines = f"[profile work]\nrole_arn = {hop}\nsource_profile = base\n[profile base]\n"
    keys = f"aws_access_key_id = {ward.ana.access_key}\naws_secret_access_key = {ward.ana.secret_key}\n"
    (isolated / "config").write_text(lines + keys)
    ward.keys = None
    ward.environment["AWS_CONFIG_FILE"] = str(isolated / "config")
    ward.share["profile"] = "work"
    report = ward.examine()
    assert told(report) == ("caller", "unknown", "external-id")
    assert hop in report.broken.observed
    assert report.broken.snippets == ()
    assert report.broken.request_id
