"""Doctor, from the bucket to the first byte: each link broken by itself, judged, and healed by what was printed.

Rows of ACCESS.md 2, branches 4 to 8 of its decision tree.
"""

from __future__ import annotations

import json

import pytest

from tests.access.test_doctor_sts import heal, name_of, own_role, sts_says, told, warned
from tests.access.ward import (
    ANA,
    BUCKET,
    CONSUMER,
    EXTERNAL_ID,
    LIST,
    OWNER,
    READ,
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


@pytest.fixture
def ward(fake_aws, monkeypatch, isolated, shared_loader):
    return Ward(fake_aws, monkeypatch)


def everybody(statement):
    return {**statement, "Principal": "*"}


# --- the bucket and its listing -------------------------------------------------------------------------------


def no_such_bucket(ward):
    ward.share["bucket"] = "acmee"


def no_such_bucket_and_no_right_to_list(ward):
    ward.share["bucket"] = "acmee"
    ward.role_may(READ)


def role_cannot_list(ward):
    ward.role_may(READ)


def list_on_the_objects_arn(ward):
    ward.role_may(READ, allow("s3:ListBucket", f"{BUCKET}/*"))


def prefix_without_slash(ward):
    ward.share["prefix"] = "2026"
    ward.role_may(
        allow("s3:GetObject", f"{BUCKET}/2026/*"),
        allow("s3:ListBucket", BUCKET, Condition={"StringLike": {"s3:prefix": "2026/*"}}),
    )


def nothing_there(ward):
    ward.share["prefix"] = "2025/"
    ward.role_may(allow("s3:*", "*"))


def role_denies_listing(ward):
    ward.denying = deny("s3:ListBucket")
    ward.role_may(READ, LIST, ward.denying)


def bucket_denies_from_here(ward):
    ward.denying = everybody(deny("s3:*", Condition={"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}))
    ward.bucket.policy = policy(ward.denying)


def bucket_denies_outside_its_vpc(ward):
    ward.denying = everybody(deny("s3:ListBucket", Condition={"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}))
    ward.bucket.policy = policy(ward.denying)


def bucket_denies_plain_http(ward):
    ward.denying = everybody(deny("s3:*", Condition={"Bool": {"aws:SecureTransport": "false"}}))
    ward.bucket.policy = policy(ward.denying)


def boundary_lacks_listing(ward):
    ward.limiting = policy(allow("s3:GetObject"))
    ward.role.boundary = ward.limiting


def boundary_denies(ward):
    ward.denying = deny("s3:ListBucket")
    ward.role.boundary = policy(allow("*"), ward.denying)


def scp_denies_listing(ward):
    ward.guard(SCP, allow("*"), deny("s3:ListBucket"), account=OWNER)


def scp_lacks_s3(ward):
    ward.guard(SCP, allow("sts:*"), account=OWNER)


def rcp_denies(ward):
    ward.guard(RCP, everybody(deny("s3:*")), account=OWNER)


def endpoint_lacks_the_bucket(ward):
    ward.guard(ENDPOINT, allow("s3:*", "arn:aws:s3:::own-bucket*"))


def endpoint_denies(ward):
    ward.guard(ENDPOINT, allow("*"), deny("s3:ListBucket"))


def another_accounts_bucket(ward):
    """The role lives apart from its bucket."""
    ward.bucket.owner = THIRD
    ward.bucket.policy = policy({**allow("s3:*", [BUCKET, f"{BUCKET}/*"]), "Principal": {"AWS": READER}})


# --- one object -----------------------------------------------------------------------------------------------


def role_cannot_get(ward):
    ward.role_may(LIST)


def get_on_another_prefix(ward):
    ward.role_may(LIST, allow("s3:GetObject", f"{BUCKET}/2025/*"))


def scp_denies_get(ward):
    ward.guard(SCP, allow("*"), deny("s3:GetObject"), account=OWNER)


def boundary_lacks_get(ward):
    ward.limiting = policy(allow("s3:ListBucket"))
    ward.role.boundary = ward.limiting


def bucket_denies_get(ward):
    ward.denying = everybody(deny("s3:GetObject"))
    ward.bucket.policy = policy(ward.denying)


def endpoint_lacks_get(ward):
    ward.guard(ENDPOINT, allow("s3:ListBucket"))


def uploaded_by_a_third_account(ward):
    ward.aws.put("acme", "2026/a.csv", b"theirs", owner=THIRD)
    ward.key = "2026/a.csv"
    ward.aws.put("acme", "2026/c.csv", b"ours")


def glacier(ward):
    for name in ("2026/a.csv", "2026/b.csv"):
        ward.aws.put("acme", name, b"old", storage_class="GLACIER")


def deep_archive(ward):
    ward.key = "2026/a.csv"
    ward.aws.put("acme", "2026/a.csv", b"old", storage_class="DEEP_ARCHIVE")


def tiered_archive(ward):
    ward.key = "2026/a.csv"
    ward.aws.put(
        "acme", "2026/a.csv", b"old", storage_class="INTELLIGENT_TIERING", archive_status="DEEP_ARCHIVE_ACCESS"
    )


def role_cannot_decrypt(ward):
    ward.encrypt(role_may=False)


def key_policy_knows_nobody(ward):
    ward.encrypt(key_policy=policy({**allow("kms:*"), "Principal": {"AWS": f"arn:aws:iam::{OWNER}:role/boss"}}))


def key_disabled(ward):
    ward.encrypt(state="Disabled")


def key_about_to_be_deleted(ward):
    ward.encrypt(state="PendingDeletion")


# --- with your own credentials --------------------------------------------------------------------------------


def directly(ward):
    ward.share |= {"role_arn": None, "external_id": None, "no_assume": True, "bucket_owner": OWNER}
    ward.user.policies = (policy(READ, LIST),)
    ward.bucket.policy = policy(*({**one, "Principal": {"AWS": ANA}} for one in (READ, LIST)))


def bucket_policy_knows_you_not(ward):
    directly(ward)
    ward.bucket.policy = None


def requester_pays(ward):
    directly(ward)
    ward.bucket.requester_pays = True


FAULTS = {
    role_cannot_list: ("list", "owner", "identity-policy", "role"),
    list_on_the_objects_arn: ("list", "owner", "identity-policy", "role"),
    prefix_without_slash: ("list", "owner", "prefix", "role"),
    role_denies_listing: ("list", "owner", "identity-policy", "except"),
    bucket_denies_from_here: ("list", "owner", "resource-policy", "except"),
    bucket_denies_outside_its_vpc: ("list", "owner", "resource-policy", "except"),
    bucket_denies_plain_http: ("list", "owner", "resource-policy", "except"),
    boundary_lacks_listing: ("list", "platform", "boundary", "allow"),
    boundary_denies: ("list", "platform", "boundary", "except"),
    scp_denies_listing: ("list", "platform", "scp", "except"),
    scp_lacks_s3: ("list", "platform", "scp", "allow"),
    rcp_denies: ("list", "platform", "rcp", "except"),
    endpoint_lacks_the_bucket: ("list", "network", "vpc-endpoint", "allow"),
    endpoint_denies: ("list", "network", "vpc-endpoint", "except"),
    another_accounts_bucket: ("list", "owner", "ownership", "option"),
    role_cannot_get: ("head", "owner", "identity-policy", "role"),
    get_on_another_prefix: ("head", "owner", "identity-policy", "role"),
    scp_denies_get: ("head", "platform", "scp", "except"),
    boundary_lacks_get: ("head", "platform", "boundary", "allow"),
    bucket_denies_get: ("head", "owner", "resource-policy", "except"),
    endpoint_lacks_get: ("head", "network", "vpc-endpoint", "allow"),
    uploaded_by_a_third_account: ("head", "owner", "ownership", "command"),
    glacier: ("get", "owner", "archived", "command"),
    deep_archive: ("get", "owner", "archived", "command"),
    tiered_archive: ("get", "owner", "archived", "command"),
    role_cannot_decrypt: ("get", "owner", "kms", "role"),
    key_policy_knows_nobody: ("get", "owner", "kms", "key"),
    key_disabled: ("get", "owner", "kms", "command"),
    key_about_to_be_deleted: ("get", "owner", "kms", "command"),
    bucket_policy_knows_you_not: ("list", "unknown", "resource-policy", "bucket"),
    requester_pays: ("list", "unknown", "resource-policy", "bucket"),
}


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


# --- what no snippet can put right ----------------------------------------------------------------------------


def s3_says(action, code, text="", status=403):
    def broken(ward):
        ward.aws.fault(faults.at(action), faults.status(status, code, text), None)

    return broken


def key_missing(ward):
    ward.key = "2026/none.csv"


def key_missing_and_no_right_to_list(ward):
    ward.key = "2026/none.csv"
    ward.role_may(READ)


def key_beside_the_right(ward):
    ward.key = "2026/a.csv"
    ward.role_may(allow("s3:GetObject", f"{BUCKET}/2025/*"))


def object_deleted(ward):
    ward.bucket.versioning = True
    ward.aws.put("acme", "2026/a.csv", b"new")
    ward.aws.delete("acme", "2026/a.csv")
    ward.key = "2026/a.csv"


def sse_c(ward):
    ward.aws.put("acme", "2026/a.csv", b"secret", sse_c=True)


def restore_under_way(ward):
    ward.key = "2026/a.csv"
    ward.aws.put("acme", "2026/a.csv", b"old", storage_class="GLACIER", restore='ongoing-request="true"')


def session_ends_underway(ward):
    ward.aws.fault(faults.at("ListObjectsV2"), faults.expire_tokens())


def directory_bucket(ward):
    ward.aws.bucket("acme--use1-az4--x-s3", owner=OWNER)
    ward.share["bucket"] = "acme--use1-az4--x-s3"
    ward.role_may(READ)


def aws_managed_key_directly(ward):
    directly(ward)
    ward.aws.put("acme", "2026/a.csv", b"-", encryption="aws:kms")


def not_public(ward):
    ward.share |= {"role_arn": None, "external_id": None, "anonymous": True}


OLD_KMS = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not "
    "allowed to access."
)

INCURABLE = {
    no_such_bucket: ("bucket", "you", "bucket-missing"),
    no_such_bucket_and_no_right_to_list: ("bucket", "you", "bucket-missing"),
    nothing_there: ("list", "you", "prefix"),
    key_missing: ("head", "you", "key-missing"),
    key_missing_and_no_right_to_list: ("head", "you", "key-missing"),
    key_beside_the_right: ("head", "owner", "identity-policy"),
    object_deleted: ("head", "owner", "version"),
    sse_c: ("head", "owner", "sse-c"),
    restore_under_way: ("get", "owner", "archived"),
    session_ends_underway: ("bucket", "you", "credentials"),
    directory_bucket: ("list", "owner", "directory-bucket"),
    aws_managed_key_directly: ("get", "owner", "kms"),
    not_public: ("list", "owner", "resource-policy"),
    s3_says("ListObjectsV2", "AccessDenied", "Access Denied"): ("list", "unknown", "vpc-endpoint"),
    s3_says("ListObjectsV2", "AccessDenied", "No, and no more."): ("list", "unknown", "unknown"),
    s3_says("ListObjectsV2", "RequestTimeTooSkewed", "The difference … is too large."): ("bucket", "you", "clock"),
    s3_says("ListObjectsV2", "InvalidAccessKeyId"): ("bucket", "you", "credentials"),
    s3_says("ListObjectsV2", "SignatureDoesNotMatch"): ("bucket", "you", "credentials"),
    s3_says("ListObjectsV2", "InvalidToken", "", 400): ("bucket", "you", "credentials"),
    s3_says("ListObjectsV2", "SlowDown", "", 503): ("bucket", "unknown", "service"),
    s3_says("ListObjectsV2", "IllegalLocationConstraintException", "", 400): ("bucket", "you", "region"),
    s3_says("GetObject", "InvalidObjectState"): ("get", "owner", "archived"),
    s3_says("GetObject", "AccessDenied", OLD_KMS): ("get", "owner", "kms"),
    s3_says("GetObject", "KMS.NotFoundException", "Key does not exist", 400): ("get", "owner", "kms"),
    s3_says("GetObject", "AccessDenied", "Access Denied"): ("get", "unknown", "vpc-endpoint"),
    s3_says("HeadObject", "503", "", 503): ("head", "unknown", "service"),
}


@pytest.mark.parametrize(("broken", "expected"), INCURABLE.items(), ids=name_of)
def test_a_broken_link_is_named(ward, broken, expected):
    broken(ward)
    report = ward.examine()
    assert told(report) == expected, report.json()
    assert report.broken.request_id


# --- what AWS does not say ------------------------------------------------------------------------------------


def test_head_is_good_and_get_is_bare_means_kms(ward):
    ward.encrypt()
    s3_says("GetObject", "AccessDenied", "Access Denied")(ward)
    report = ward.examine()
    assert told(report) == ("get", "owner", "kms")
    assert [one.kind for one in report.broken.snippets] == ["key", "role"] or [
        one.kind for one in report.broken.snippets
    ] == ["key"]


def test_a_bare_denial_is_compared_with_a_session_that_is_not_narrowed(ward):
    """Our own narrowing is to blame exactly where the same question is answered without it."""
    narrowed = faults.at("ListObjectsV2", where=lambda one: policy_of(ward, one) is not None)
    ward.aws.fault(narrowed, faults.status(403, "AccessDenied", "Access Denied"), None)
    report = ward.examine()
    assert told(report) == ("list", "you", "session-policy")
    heal(ward, report)
    assert ward.examine().sound


WHO = f"User: arn:aws:sts::{OWNER}:assumed-role/readers/ana is not authorized to perform: "


def policy_of(ward, record):
    return getattr(ward.aws.directory.holder(record.access_key), "policy", None)


def test_a_narrowing_that_aws_blames_is_ours_only_where_the_role_may(ward):
    """A key outside of the share: the session policy denies it, and so would the role."""
    ward.key = "secret/s"
    narrowed = faults.at("GetObject", where=lambda one: policy_of(ward, one) is not None)
    blamed = f"{WHO}s3:GetObject because no session policy allows the s3:GetObject action"
    ward.aws.fault(narrowed, faults.status(403, "AccessDenied", blamed), None)
    report = ward.examine()
    assert told(report) == ("head", "owner", "identity-policy")
    ward.role_may(LIST, READ, allow("s3:GetObject", f"{BUCKET}/secret/*"))
    report = ward.examine()
    assert told(report) == ("head", "you", "session-policy")
    heal(ward, report)
    assert ward.examine().sound


def test_with_mfa_nothing_is_compared_for_codes_are_single_use(ward):
    ward.role.trust = trust_policy({ANA: EXTERNAL_ID}, mfa=True)
    ward.share["mfa_serial"] = f"arn:aws:iam::{CONSUMER}:mfa/ana"
    ward.prompt = lambda question: "123456"
    s3_says("ListObjectsV2", "AccessDenied", "Access Denied")(ward)
    assert told(ward.examine()) == ("list", "unknown", "vpc-endpoint")
    assert ward.aws.count("AssumeRole") == 1


def test_a_bucket_of_another_account_that_lets_nobody_in(ward):
    ward.bucket.owner = THIRD
    report = ward.examine()
    assert told(report) == ("list", "unknown", "vpc-endpoint")
    assert [str(one.cause) for one in report.broken.causes] == ["vpc-endpoint", "ownership", "identity-policy"]
    assert report.broken.observed.startswith("cannot tell: ")


def test_requester_pays_is_among_what_remains(ward):
    requester_pays(ward)
    assert "--request-payer" in [one.text for one in ward.examine().broken.snippets]


# --- what is no fault -------------------------------------------------------------------------------------------


def test_a_refused_head_bucket_with_a_region_is_no_fault(ward):
    ward.role_may(READ)
    report = ward.examine()
    (head,) = ward.aws.asked("HeadBucket")
    assert head.status == 403
    assert [(one.step, one.ok) for one in report.steps[-2:]] == [("bucket", True), ("list", False)]


def test_listing_may_be_withheld_on_purpose(ward):
    ward.role_may(READ)
    report = ward.examine()
    assert "--key KEY" in report.broken.notes[0]
    ward.key = "2026/a.csv"
    report = ward.examine()
    assert report.sound
    assert [(one.step, one.ok) for one in report.steps[-3:]] == [("list", None), ("head", True), ("get", True)]


def test_the_region_is_put_right_and_said(ward):
    ward.bucket.region = "eu-west-1"
    for redirect in ("malformed", "redirect"):
        ward.aws.wrong_region = redirect
        report = ward.examine()
        assert report.sound
        step = next(one for one in report.steps if one.step == "bucket")
        assert "eu-west-1" in step.observed
        assert step.notes == (
            "put right: the bucket is in eu-west-1, not us-east-1; --region eu-west-1 saves the detour",
        )


def test_the_region_is_put_right_where_listing_is_denied(ward):
    ward.bucket.region = "eu-west-1"
    ward.role_may(READ)
    ward.key = "2026/a.csv"
    report = ward.examine()
    assert report.sound
    assert [(one.step, one.ok) for one in report.steps[-4:]] == [
        ("bucket", True), ("list", None), ("head", True), ("get", True),
    ]  # fmt: skip


def test_an_object_that_changes_meanwhile_is_a_warning(ward):
    ward.aws.fault(faults.at("GetObject"), faults.status(412, "PreconditionFailed", "…"))
    assert warned(ward.examine()) == {"changed": "unknown"}


def test_an_empty_object_is_asked_for_whole(ward):
    ward.key = "2026/empty"
    ward.aws.put("acme", "2026/empty", b"")
    assert ward.examine().sound
    (get,) = ward.aws.asked("GetObject")
    assert "range" not in get.headers


def test_one_byte_is_read_and_no_more(ward):
    ward.aws.put("acme", "2026/a.csv", b"-" * 1_000_000)
    assert ward.examine().sound
    (get,) = ward.aws.asked("GetObject")
    assert (get.bytes_sent, get.headers["range"]) == (1, "bytes=0-0")


def test_head_is_asked_without_checksum_mode(ward):
    key_policy_knows_nobody(ward)
    assert told(ward.examine()) == ("get", "owner", "kms")
    assert [one.headers.get("x-amz-checksum-mode") for one in ward.aws.asked("HeadObject")] == [None]


def test_of_many_objects_a_standard_one_is_read(ward):
    ward.bucket.versions.clear()
    ward.bucket._sorted = None
    ward.aws.put("acme", "2026/", b"")
    ward.aws.put("acme", "2026/a", b"-", storage_class="INTELLIGENT_TIERING")
    ward.aws.put("acme", "2026/b", b"-", storage_class="GLACIER")
    ward.aws.put("acme", "2026/c", b"-")
    assert ward.examine().sound
    assert [one.key for one in ward.aws.asked("GetObject")] == ["2026/c"]


def test_an_intelligent_tiering_object_is_not_moved(ward):
    for name in ("2026/a.csv", "2026/b.csv"):
        ward.aws.put("acme", name, b"-", storage_class="INTELLIGENT_TIERING")
    report = ward.examine()
    assert report.sound
    assert (report.steps[-1].step, report.steps[-1].ok) == ("get", None)
    assert ward.aws.count("GetObject") == 0
    ward.key = "2026/a.csv"
    assert ward.examine().sound
    assert ward.aws.count("GetObject") == 1


def test_an_archived_object_is_not_asked_for(ward):
    glacier(ward)
    assert told(ward.examine()) == ("get", "owner", "archived")
    assert ward.aws.count("GetObject") == 0


def test_directly_and_all_is_well(ward):
    directly(ward)
    report = ward.examine()
    assert report.sound
    assert [one.step for one in report.steps] == ["local", "caller", "bucket", "list", "head", "get"]


def test_anonymously_and_all_is_well(ward):
    not_public(ward)
    ward.bucket.policy = policy(*(everybody(one) for one in (READ, LIST)))
    report = ward.examine()
    assert report.sound
    assert [one.step for one in report.steps] == ["local", "bucket", "list", "head", "get"]
    assert ward.aws.count("GetCallerIdentity") == 0


@pytest.mark.parametrize("key", [None, "2026/a.csv", "2026/none.csv"])
@pytest.mark.parametrize("by", ["nothing", "a deny", "an endpoint", "an endpoint's deny"])
def test_nobody_is_not_told_to_change_anything(ward, key, by):
    """There is no ARN to name, nothing to paste into a policy of one's own, and nobody who could pay."""
    not_public(ward)
    ward.key = key
    if by == "a deny":
        ward.bucket.policy = policy(everybody(deny("s3:*")))
    elif by != "nothing":
        ward.bucket.policy = policy(*(everybody(one) for one in (READ, LIST)))
        ward.guard(ENDPOINT, allow("sts:*") if by == "an endpoint" else deny("s3:*"))
    report = ward.examine()
    step = report.broken
    told_ = json.dumps(report.json())
    assert "null" not in "".join(one.text for one in step.snippets)
    assert "--request-payer" not in told_
    assert "your own" not in told_
    assert {str(one.who) for one in step.causes if str(one.cause) != "key-missing"} <= {"owner", "network"}


def test_an_access_points_alias(ward):
    point = ward.aws.access_point("readers", "acme")
    ward.share["bucket"] = point.alias
    assert told(ward.examine()) == ("list", "owner", "identity-policy")
    ward.role_may(allow("s3:GetObject", f"{point.arn}/object/2026/*"), allow("s3:ListBucket", point.arn))
    assert ward.examine().sound


# --- what is tried with --probe alone ---------------------------------------------------------------------------


def test_a_role_that_is_broader_than_needed(ward):
    assert warned(ward.examine(probe=True)) == {}
    ward.role_may(allow("s3:*"))
    assert warned(ward.examine()) == {}
    report = ward.examine(probe=True)
    assert warned(report) == {"broad-role": "owner"}
    ward.role.policies = ()
    ward.paste(report.warnings[0].snippets[0])
    assert warned(ward.examine(probe=True)) == {}


def test_versions_are_tried_with_probe(ward):
    ward.bucket.versioning = True
    ward.aws.put("acme", "2026/a.csv", b"new")
    assert "version" not in [one.step for one in ward.examine().steps]
    report = ward.examine(probe=True)
    step = next(one for one in report.steps if one.step == "version")
    assert report.sound
    assert (step.ok, str(step.causes[0].cause)) == (None, "version")
    ward.paste(step.snippets[0])
    report = ward.examine(probe=True)
    assert [one.ok for one in report.steps if one.step == "version"] == [True]


def test_probing_sessions_are_not_kept(ward, isolated):
    assert ward.examine(probe=True).sound
    assert list(isolated.rglob("*")) == []


def test_what_the_tables_change_besides_breaking_breaks_nothing(ward):
    """Otherwise the tables would prove nothing."""
    assert ward.examine().sound
    own_role(ward)
    assert ward.examine().sound
    ward.encrypt()
    assert ward.examine().sound
    sts_says("Throttling", "")(ward)
    assert not ward.examine().sound
