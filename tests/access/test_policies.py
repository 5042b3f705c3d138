"""The builders of documents: least privilege word for word, the refusals, and what the validators of others say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from moto.iam.policy_validation import IAMPolicyDocumentValidator, IAMTrustPolicyDocumentValidator

from s3pull.access.narrow import narrowing
from s3pull.access.policies import cloudformation, deploy, documents, grant, kinds, terraform, trail
from s3pull.access.policies.grant import Grant, Place
from s3pull.access.policies.remarks import remarks
from s3pull.access.values import Wrong
from s3pull.errors import UsageError
from s3pull.objects import Access

ROLE = "arn:aws:iam::111111111111:role/data/readers"
CONSUMER = "arn:aws:iam::222222222222:role/etl"
SSO = "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Read_0123456789abcdef"
KEY = "arn:aws:kms:eu-west-1:111111111111:key/0a1b"
POINT = "arn:aws:s3:eu-west-1:111111111111:accesspoint/data"
NOW = "2026-11-25T14:00:00Z"
ACCESS = Access("acme", "data/", share="acme", role_arn=ROLE, external_id="id-1", bucket_owner="111111111111")
GRANT = Grant((Place("acme", "data/"),), ROLE, CONSUMER, ("id-1",))
DIRECT = replace(GRANT, role_arn=None, external_ids=())


def by_sid(document):
    return {one["Sid"]: one for one in document["Statement"]}


# --- word for word ----------------------------------------------------------------------------------------


def test_trust():
    assert documents.trust(GRANT) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "S3pullAssume",
                "Effect": "Allow",
                "Principal": {"AWS": CONSUMER},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": "id-1"}},
            },
            {
                "Sid": "S3pullSourceIdentity",
                "Effect": "Allow",
                "Principal": {"AWS": CONSUMER},
                "Action": "sts:SetSourceIdentity",
            },
        ],
    }


def test_conditions_stand_on_assume_role_alone():
    wide = replace(GRANT, external_ids=("a1", "b2"), source_ips=("203.0.113.0/24",), org_id="o-a1b2c3d4e5", tags=True)
    found = by_sid(documents.trust(wide))
    assert found["S3pullAssume"]["Condition"] == {
        "IpAddress": {"aws:SourceIp": ["203.0.113.0/24"]},
        "StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5", "sts:ExternalId": ["a1", "b2"]},
    }
    assert [name for name, one in found.items() if "Condition" in one] == ["S3pullAssume"]
    assert found["S3pullTags"]["Action"] == "sts:TagSession"


def test_role():
    with_key = replace(GRANT, kms_keys=(KEY,))
    assert documents.role(with_key) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme/data/*"},
            {
                "Sid": "List",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::acme",
                "Condition": {"StringLike": {"s3:prefix": ["data/", "data/*"]}},
            },
            {
                "Sid": "Decrypt",
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": KEY,
                "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
            },
        ],
    }


def test_versions_are_asked_for():
    found = by_sid(documents.role(replace(GRANT, versions=True)))
    assert found["Read"]["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert found["List"]["Action"] == ["s3:ListBucket", "s3:ListBucketVersions"]


def test_several_places_are_one_roles():
    several = replace(GRANT, places=(Place("acme", "a/"), Place("beta"), Place("acme", "b/")))
    found = by_sid(documents.role(several))
    assert found["Read"]["Resource"] == ["arn:aws:s3:::acme/a/*", "arn:aws:s3:::beta/*", "arn:aws:s3:::acme/b/*"]
    assert found["List"]["Condition"] == {"StringLike": {"s3:prefix": ["a/", "a/*", "b/", "b/*"]}}
    assert "Condition" not in found["List2"]
    assert found["List2"]["Resource"] == "arn:aws:s3:::beta"


def test_a_prefix_is_no_pattern():
    found = by_sid(documents.role(replace(GRANT, places=(Place("acme", "a*/$?"),))))
    assert found["Read"]["Resource"] == "arn:aws:s3:::acme/a${*}/${$}${?}*"
    assert found["List"]["Condition"]["StringLike"]["s3:prefix"] == ["a${*}/${$}${?}", "a${*}/${$}${?}*"]


def test_the_bucket_of_a_role_only_refuses_plain_http():
    (statement,) = documents.bucket(GRANT, GRANT.places[0])["Statement"]
    assert statement == {
        "Sid": "DenyInsecureTransport",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::acme", "arn:aws:s3:::acme/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_direct_conditions_stand_on_what_is_allowed_and_never_on_the_key():
    limited = replace(DIRECT, source_ips=("203.0.113.0/24",), kms_keys=(KEY,), org_id="o-a1b2c3d4e5")
    found = by_sid(documents.bucket(limited, limited.places[0]))
    assert found["Read"]["Principal"] == {"AWS": CONSUMER}
    assert found["List"]["Condition"] == {
        "IpAddress": {"aws:SourceIp": ["203.0.113.0/24"]},
        "StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"},
        "StringLike": {"s3:prefix": ["data/", "data/*"]},
    }
    assert documents.key(limited)["Principal"] == {"AWS": CONSUMER}
    assert "SourceIp" not in json.dumps(documents.key(limited))
    assert [one["Sid"] for one in documents.consumer(limited)["Statement"]] == ["Read", "List", "Decrypt"]


@pytest.mark.parametrize(
    ("partition", "suffix"),
    [("aws", "amazonaws.com"), ("aws-cn", "amazonaws.com.cn"), ("aws-us-gov", "amazonaws.com")],
)
def test_partitions_follow_the_role(partition, suffix):
    text = json.dumps([GRANT.places[0].bucket, ROLE, CONSUMER, KEY]).replace("arn:aws:", f"arn:{partition}:")
    bucket, role, consumer, key = json.loads(text)
    there = Grant((Place(bucket, "d/"),), role, consumer, ("x1",), kms_keys=(key,))
    found = json.dumps([documents.role(there), documents.bucket(there, there.places[0]), trail.selectors(there)])
    assert "arn:aws:" not in found.replace(f"arn:{partition}:", "")
    assert f'"kms:ViaService": "s3.eu-west-1.{suffix}"' in found


def test_what_outlives_a_role():
    condition = by_sid(documents.trust(replace(GRANT, survives=True)))["S3pullSourceIdentity"]["Condition"]
    assert condition == {"ArnEquals": {"aws:PrincipalArn": CONSUMER}}
    statement = by_sid(documents.trust(replace(GRANT, survives=True, consumer=SSO)))["S3pullAssume"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::222222222222:root"}
    pattern = "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com*/AWSReservedSSO_Read_*"
    assert statement["Condition"]["ArnLike"] == {"aws:PrincipalArn": pattern}


@pytest.mark.parametrize("grant_", [GRANT, DIRECT])
def test_an_access_point_has_its_policy_and_so_has_the_bucket_behind_it(grant_):
    point = replace(grant_, places=(Place(POINT, "data/"), Place("acme")))
    found = kinds.as_json("bucket", point, (ACCESS,), NOW)
    assert list(found) == [POINT, f"the bucket behind {POINT}", "acme"]
    delegated = by_sid(found[f"the bucket behind {POINT}"])
    assert list(delegated) == ["Read", "List", "DenyInsecureTransport"]
    assert delegated["Read"]["Resource"] == "arn:aws:s3:::BUCKET-BEHIND-data/data/*"
    for sid in ("Read", "List"):
        assert delegated[sid]["Principal"] == {"AWS": point.reader}
        assert delegated[sid]["Condition"]["StringEquals"] == {"s3:DataAccessPointAccount": "111111111111"}
    assert ("Read" in by_sid(found[POINT])) == (grant_ is DIRECT)


def test_access_points_and_directory_buckets_in_their_own_forms():
    point = replace(GRANT, places=(Place(POINT, "data/"),))
    assert by_sid(documents.role(point))["Read"]["Resource"] == f"{POINT}/object/data/*"
    of_type, of_arn = trail.selectors(point)[0]["FieldSelectors"][1:3]
    assert of_type["Equals"] == ["AWS::S3::AccessPoint"]
    # data2 is another access point
    assert of_arn == {"Field": "resources.ARN", "Equals": [POINT], "StartsWith": [f"{POINT}/"]}
    express = replace(GRANT, places=(Place("acme--use1-az4--x-s3", "", "us-east-1", "111111111111"),))
    (statement,) = documents.role(express)["Statement"]
    assert statement["Action"] == "s3express:CreateSession"
    assert statement["Resource"] == "arn:aws:s3express:us-east-1:111111111111:bucket/acme--use1-az4--x-s3"
    assert statement["Condition"] == {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}


def test_the_session_policy_is_the_one_that_is_sent():
    assert documents.session(ACCESS) == json.loads(narrowing(ACCESS).policy)
    assert documents.session(ACCESS.but(narrow=False)) is None


def test_the_trail():
    (selector,) = trail.selectors(GRANT)
    fields = {one["Field"]: one for one in selector["FieldSelectors"]}
    assert fields["eventCategory"]["Equals"] == ["Data"]
    assert fields["resources.ARN"]["StartsWith"] == ["arn:aws:s3:::acme/"]
    assert fields["readOnly"]["Equals"] == ["true"]
    query = trail.query(GRANT)
    assert f"sessionissuer.arn = '{ROLE}'" in query
    for column in ("session_name", "source_identity", "useragent", "requestid"):
        assert column in query
    assert "useridentity.accountid = '222222222222'" in trail.query(DIRECT)


# --- what could not work ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "value", "problem", "hint"),
    [
        (grant.principal, "*", "everybody", "status"),
        (grant.principal, "arn:aws:sts::222222222222:assumed-role/etl/ana", "session", f"is {CONSUMER}"),
        (
            grant.principal,
            "arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_Read_0123456789abcdef/ana@example.org",
            "session",
            "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Read_0123456789abcdef",
        ),
        (grant.principal, "arn:aws:iam::222222222222:group/all", "group", "role"),
        (grant.principal, "arn:aws:iam::222222222222:instance-profile/etl", "instance profile", "role"),
        (grant.principal, "etl", "not an IAM principal", "arn:aws:iam::"),
        (grant.kms_key, "arn:aws:kms:eu-west-1:111111111111:alias/data", "alias", "describe-key"),
        (grant.kms_key, "arn:aws:kms:eu-west-1:111111111111:alias/aws/s3", "AWS-managed", "leave it out"),
        (grant.kms_key, "0a1b", "not the ARN of a key", "arn:aws:kms:"),
        (grant.source_ip, "10.0.0.0/8", "not a public network", "--source-vpce"),
        (grant.source_ip, "203.0.113.7/24", "not a network", "203.0.113.0/24"),
        (grant.source_ip, "0.0.0.0/0", "everywhere", "own network"),
        (grant.source_ip, "example.org", "not a network", "it looks like"),
        (grant.source_vpce, "vpc-0a1b2c3d", "not a VPC endpoint", "vpce-"),
        (grant.org_id, "acme", "not an organization", "o-"),
    ],
)
def test_values_that_are_refused(reader, value, problem, hint):
    with pytest.raises(Wrong) as caught:
        reader(value)
    assert problem in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("reader", "value", "read"),
    [
        (grant.principal, "222222222222", "arn:aws:iam::222222222222:root"),
        (grant.principal, SSO, SSO),
        (grant.principal, "arn:aws:iam::222222222222:user/a/ana", "arn:aws:iam::222222222222:user/a/ana"),
        (grant.source_ip, "8.8.8.0/24", "8.8.8.0/24"),
        (grant.source_ip, "2600:1f00::/24", "2600:1f00::/24"),
        (grant.source_ip, "8.8.8.8", "8.8.8.8"),
    ],
)
def test_values_that_are_taken(reader, value, read):
    assert reader(value) == read


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"source_ips": ("203.0.113.0/24",), "source_vpces": ("vpce-0a1b2c3d",)}, "aws:SourceIp is absent"),
        ({"mfa": True}, "carry no MFA"),
        ({"consumer": CONSUMER.replace("arn:aws:", "arn:aws-cn:")}, "different partitions"),
        ({"consumer": ROLE}, "the role itself"),
        ({"places": ()}, "no bucket"),
        ({"places": (Place("a--use1-az4--x-s3"),), "kms_keys": (KEY,)}, "customer key of a directory bucket"),
    ],
)
def test_grants_that_are_refused(facts, problem):
    with pytest.raises(UsageError) as caught:
        replace(GRANT, **facts)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: documents.trust(DIRECT), "no role"),
        (lambda: documents.trust(replace(GRANT, consumer=None)), "who the consumer is"),
        (lambda: documents.bucket(replace(DIRECT, consumer=None), DIRECT.places[0]), "who the consumer is"),
        (lambda: documents.key(GRANT), "no key"),
        (lambda: documents.role(replace(GRANT, places=(Place("x-s3alias"),))), "alias"),
        (lambda: documents.role(replace(GRANT, places=(Place("a--use1-az4--x-s3"),))), "region and account"),
        (lambda: kinds.as_json("revoke", DIRECT, (ACCESS,), NOW), "no role"),
        (lambda: kinds.as_json("session", GRANT, (ACCESS, ACCESS), NOW), "of its own"),
        (lambda: deploy.deployed("key", replace(GRANT, kms_keys=(KEY,)), (ACCESS,), NOW), "no resource"),
        (lambda: deploy.deployed("session", GRANT, (ACCESS,), NOW), "no resource"),
        (lambda: deploy.deployed("consumer", replace(GRANT, consumer=SSO), (ACCESS,), NOW), "permission set"),
    ],
)
def test_documents_that_are_refused(build, problem):
    with pytest.raises(UsageError) as caught:
        build()
    assert problem in caught.value.message


def test_a_revocation_is_never_printed_unasked():
    assert "revoke" not in kinds.as_json("all", GRANT, (ACCESS,), NOW)
    (statement,) = kinds.as_json("revoke", GRANT, (ACCESS,), NOW)["Statement"]
    assert statement["Condition"] == {"DateLessThan": {"aws:TokenIssueTime": NOW}}


# --- remarks ----------------------------------------------------------------------------------------------


def test_remarks_say_what_a_document_cannot():
    def told(kind, one=GRANT, form="json", **more):
        return " ".join(remarks(kind, form, one, (ACCESS,), made=False, **more))

    assert "no external ID" in told("trust", replace(GRANT, external_ids=()))
    assert "take the old one out" in told("trust", replace(GRANT, external_ids=("a1", "b2")))
    two = (ACCESS.but(external_id="a1"), ACCESS.but(external_id="b2"))
    (each,) = remarks("trust", "json", replace(GRANT, external_ids=("a1", "b2"), survives=True), two, made=False)
    assert each.startswith("trust: 2 external IDs are accepted, one of each share: ")
    assert "a1" not in each
    assert "whole account" in told("trust", replace(GRANT, consumer="arn:aws:iam::222222222222:root"))
    assert "--max-session-duration 43200" in told("trust", replace(GRANT, duration=43200))
    assert "permission set" in told("consumer", replace(GRANT, consumer=SSO))
    assert "replaces" in told("bucket")
    assert "BucketOwnerEnforced" in told("bucket", DIRECT)
    assert "replaces the selectors" in told("cloudtrail")
    assert "may assume it again" in told("revoke")
    many = replace(GRANT, places=tuple(Place("acme", f"{number}/" * 30) for number in range(100)))
    assert "longer than 10,240" in told("role", many)
    assert told("role") == ""


# --- the validators of others -----------------------------------------------------------------------------

GRANTS = {
    "role": replace(GRANT, kms_keys=(KEY,), versions=True, tags=True, source_ips=("203.0.113.0/24",)),
    "several": replace(GRANT, places=(Place("acme", "a*/${x}/"), Place("beta")), duration=43200),
    "sso": replace(GRANT, consumer=SSO, survives=True),
    "user": replace(GRANT, consumer="arn:aws:iam::222222222222:user/ana", mfa=True),
    "pod": replace(GRANT, pod_identity=True),
    "direct": replace(DIRECT, kms_keys=(KEY,), org_id="o-a1b2c3d4e5"),
    "unicode": replace(GRANT, places=(Place("acme", "данные/%{x}/"),)),
    "express": replace(GRANT, places=(Place("acme--use1-az4--x-s3", "", "us-east-1", "111111111111"),)),
    "point": replace(GRANT, places=(Place(POINT, "data/"),)),
}
#: every type of resource, and every kind of trouble in a text
FORMS = [
    ("role", "all"),
    ("several", "trust"),
    ("unicode", "role"),
    ("user", "consumer"),
    ("pod", "consumer"),
    ("direct", "all"),
    ("direct", "consumer"),
    ("express", "bucket"),
    ("role", "cloudtrail"),
    ("point", "cloudtrail"),
    ("role", "revoke"),
]


@pytest.mark.parametrize("name", GRANTS)
def test_motos_validator_takes_the_policies(name):
    found = {**kinds.as_json("all", GRANTS[name], (ACCESS,), NOW)}
    if "revoke" not in found and GRANTS[name].role_arn:
        found["revoke"] = kinds.as_json("revoke", GRANTS[name], (ACCESS,), NOW)
    for kind in ("role", "session", "revoke", "consumer"):
        if kind in found:
            policy = found[kind].get("permissions", found[kind])
            IAMPolicyDocumentValidator(json.dumps(policy)).validate()
    if "trust" in found:
        IAMTrustPolicyDocumentValidator(json.dumps(found["trust"])).validate()
    assert json.dumps(found).isascii()


LINT = "import sys; from cfnlint.runner import main; sys.exit(main())"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cfn_lint_takes_the_templates(tmp_path):
    """One process for all of them: the linter takes long to begin, and little for each template."""
    for name, kind in FORMS:
        template = cloudformation.template(deploy.deployed(kind, GRANTS[name], (ACCESS,), NOW), "Read access")
        (tmp_path / f"{name}-{kind}.json").write_text(json.dumps(template))
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {"RoleNome": "x"}}}}))
    templates = sorted(map(str, tmp_path.glob("*.json")))
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--regions", "us-east-1", "--format", "json", "--", *templates],
        capture_output=True,
        text=True,
        timeout=550,
    )
    found = json.loads(done.stdout or "[]")
    assert {Path(one["Filename"]).name for one in found} == {"wrong.json"}, done.stdout + done.stderr


def test_cloudformation_has_no_policy_of_an_access_point():
    with pytest.raises(UsageError, match="access point"):
        cloudformation.template(deploy.deployed("bucket", GRANTS["point"], (ACCESS,), NOW), "x")


def configured(name, kind):
    return terraform.configuration(deploy.deployed(kind, GRANTS[name], (ACCESS,), NOW), "Read access")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_terraform_parses():
    """One test for all of them: making the parser takes long, and each parse little."""
    import hcl2

    for name, kind in [*FORMS, ("point", "bucket")]:
        assert hcl2.loads(configured(name, kind))["resource"], (name, kind)
    with pytest.raises(Exception, match="Unexpected"):
        hcl2.loads(configured("role", "role").removesuffix("}\n"))


@pytest.mark.parametrize(("name", "kind"), [*FORMS, ("point", "bucket")])
def test_terraform_says_the_same(name, kind):
    one, text = GRANTS[name], configured(name, kind)
    policies = [block.partition("\nPOLICY")[0] for block in text.split("<<POLICY\n")[1:]]
    assert ("${var.bucket_policy_behind}/" in text) == ((name, kind) == ("point", "bucket"))
    policies = [policy.replace("${var.bucket_policy_behind}", "BUCKET-BEHIND-data") for policy in policies]
    told = [json.loads(policy.replace("$${", "${").replace("%%{", "%{")) for policy in policies]
    behind = [documents.behind(one, place) for place in one.places if place.is_access_point]
    expected = {
        "trust": lambda: [documents.trust(one)],
        "role": lambda: [documents.role(one)],
        "revoke": lambda: [documents.revoke(NOW)],
        "bucket": lambda: [documents.bucket(one, place) for place in kinds.buckets(one)] + behind,
        "consumer": lambda: [documents.pods()] * one.pod_identity + [documents.consumer(one)],
        "cloudtrail": list,
        "all": lambda: (
            [documents.bucket(one, place) for place in kinds.buckets(one)]
            if one.direct
            else [documents.trust(one), documents.role(one)]
        ),
    }
    assert told == expected[kind]()


def test_a_role_has_its_path_and_its_longest_session():
    template = cloudformation.template(deploy.deployed("all", GRANTS["several"], (ACCESS,), NOW), "x")
    facts = template["Resources"]["ReaderRole"]["Properties"]
    assert (facts["RoleName"], facts["Path"], facts["MaxSessionDuration"]) == ("readers", "/data/", 43200)
    text = terraform.configuration(deploy.deployed("all", GRANTS["several"], (ACCESS,), NOW), "x")
    assert '  path = "/data/"\n' in text
    assert "  max_session_duration = 43200\n" in text
