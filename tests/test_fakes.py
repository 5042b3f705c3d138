"""The fake AWS held to boto3 as its client: signatures, sessions, objects, listings, denials, and its misbehaviour."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.request

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from tests.fakes import FakeAws, FakeProxy, Keys, Sparse, at, bodies, faults
from tests.fakes.policies import ENDPOINT, SCP

OWNER, CONSUMER = "111111111111", "222222222222"
READER = f"arn:aws:iam::{OWNER}:role/reader"
CLIENT = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


@pytest.fixture
def clients():
    """boto3 clients that are closed at the end: `clients(aws, "s3", keys)`; keys None is anonymous."""
    with contextlib.ExitStack() as stack:

        def make(aws, service, keys=None, region="us-east-1", config=CLIENT, **more):
            if keys is None:
                config = config.merge(Config(signature_version=botocore.UNSIGNED))
            client = boto3.client(
                service,
                endpoint_url=more.pop("endpoint_url", aws.url),
                region_name=region,
                aws_access_key_id=keys and keys.access_key,
                aws_secret_access_key=keys and keys.secret_key,
                aws_session_token=keys and keys.token,
                verify=aws.ca_file if aws.tls else None,
                config=config,
                **more,
            )
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def ana(fake_aws):
    return fake_aws.user(CONSUMER, "ana")


@pytest.fixture
def owner(fake_aws):
    """The bucket owner's own keys: everything is allowed."""
    return fake_aws.user(OWNER, "boss")


def assume(sts, role=READER, **more):
    answer = sts.assume_role(RoleArn=role, RoleSessionName="ana", **more)
    got = answer["Credentials"]
    return Keys(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])


def refused(call, *args, **more):
    """(status, code, message) of a call that AWS refuses."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*args, **more)
    answer = caught.value.response
    error = answer["Error"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error.get("Message", "")


# --- STS ------------------------------------------------------------------------------------------------


def test_who_am_i(fake_aws, clients, ana):
    sts = clients(fake_aws, "sts", ana)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{CONSUMER}:user/ana"
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    identity = clients(fake_aws, "sts", assume(sts)).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{OWNER}:assumed-role/reader/ana"
    assert identity["Account"] == OWNER


BARE = f"User: arn:aws:iam::{CONSUMER}:user/ana is not authorized to perform: {{}} on resource: {READER}"


@pytest.mark.parametrize(
    ("trust", "asked", "answer"),
    [
        ({CONSUMER: "secret"}, {"ExternalId": "secret"}, None),
        ({CONSUMER: None}, {"ExternalId": "superfluous"}, None),
        ({CONSUMER: "secret"}, {}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({CONSUMER: "secret"}, {"ExternalId": "Secret"}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({"333333333333": None}, {}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({f"arn:aws:iam::{CONSUMER}:user/ana": None}, {}, None),
        ({f"arn:aws:iam::{CONSUMER}:user/bob": None}, {}, (403, "AccessDenied", BARE.format("sts:AssumeRole"))),
        ({CONSUMER: "secret"}, {"ExternalId": "secret", "SourceIdentity": "ana"}, None),
        ({CONSUMER: None}, {"Tags": [{"Key": "team", "Value": "x"}]}, None),
    ],
)
def test_trust(fake_aws, clients, ana, trust, asked, answer):
    fake_aws.role(OWNER, "reader", trust)
    sts = clients(fake_aws, "sts", ana)
    if answer is None:
        assert assume(sts, **asked)
    else:
        assert refused(assume, sts, **asked) == answer
    assert fake_aws.count("AssumeRole") == 1


def test_a_role_that_is_not_there_is_denied_like_any_other(fake_aws, clients, ana):
    assert refused(assume, clients(fake_aws, "sts", ana)) == (403, "AccessDenied", BARE.format("sts:AssumeRole"))


def test_tags_and_source_identity_need_their_own_allow(fake_aws, clients, ana):
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, tags=False)
    sts = clients(fake_aws, "sts", ana)
    denied = refused(assume, sts, SourceIdentity="ana")
    assert denied == (403, "AccessDenied", BARE.format("sts:SetSourceIdentity"))
    assert refused(assume, sts, Tags=[{"Key": "k", "Value": "v"}])[2] == BARE.format("sts:TagSession")


def test_whose_policy_is_missing(fake_aws, clients):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    eve = fake_aws.user(CONSUMER, "eve", policy=None)
    message = refused(assume, clients(fake_aws, "sts", eve))[2]
    assert message.endswith("because no identity-based policy allows the sts:AssumeRole action")
    fake_aws.role(OWNER, "reader", {"333333333333": None})
    fake_aws.trust_reasons = True
    message = refused(assume, clients(fake_aws, "sts", fake_aws.user(CONSUMER, "ana")))[2]
    assert message == (
        f"User: arn:aws:iam::{CONSUMER}:user/ana is not authorized to perform: sts:AssumeRole because no role trust "
        "policy allows the sts:AssumeRole action"
    )


@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        ({"RoleSessionName": "a b"}, 400, "ValidationError", "'roleSessionName' failed to satisfy constraint"),
        ({"DurationSeconds": 7200}, 400, "ValidationError", "exceeds the MaxSessionDuration set for this role."),
        ({"Policy": "{"}, 400, "MalformedPolicyDocument", "Json"),
        ({"Policy": json.dumps({"Statement": [{"Effect": "Maybe"}]})}, 400, "MalformedPolicyDocument", "Syntax"),
        (
            {"SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"},
            403,
            "AccessDenied",
            "unable to validate MFA",
        ),
        ({"SourceIdentity": "aws:x"}, 400, "ValidationError", "'sourceIdentity'"),
        ({"ExternalId": "a b"}, 400, "ValidationError", "'externalId'"),
    ],
)
def test_what_sts_will_not_take(fake_aws, clients, ana, asked, status, code, words):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    sts = clients(fake_aws, "sts", ana)
    got = refused(sts.assume_role, **{"RoleArn": READER, "RoleSessionName": "ana", **asked})
    assert got[:2] == (status, code)
    assert words in got[2]


def test_mfa(fake_aws, clients, ana):
    serial = f"arn:aws:iam::{CONSUMER}:mfa/ana"
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, mfa_serial=serial, mfa_code="123456")
    sts = clients(fake_aws, "sts", ana)
    assert refused(assume, sts)[1] == "AccessDenied"
    wrong = refused(assume, sts, SerialNumber=serial, TokenCode="000000")
    assert wrong == (403, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
    assert assume(sts, SerialNumber=serial, TokenCode="123456")


def test_chained_sessions_last_an_hour_at_most(fake_aws, clients):
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, max_session=43200)
    sts = clients(fake_aws, "sts", fake_aws.session(CONSUMER, "dev"))
    assert "role chaining" in refused(assume, sts, DurationSeconds=3601)[2]
    assert assume(sts, DurationSeconds=3600)
    assert assume(clients(fake_aws, "sts", fake_aws.user(CONSUMER, "ana")), DurationSeconds=43200)


def test_packed_policies(fake_aws, clients, ana):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    sts = clients(fake_aws, "sts", ana)
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::acme/*"}]})
    answer = sts.assume_role(RoleArn=READER, RoleSessionName="ana", Policy=policy)
    assert 0 < answer["PackedPolicySize"] < 50
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, packed=99)
    status, code, message = refused(assume, sts, Policy=policy)
    assert (status, code) == (400, "PackedPolicyTooLarge")
    assert message.startswith("Packed policy consumes 1")


def test_bad_credentials(fake_aws, clients, ana):
    unknown = Keys("AKIAUNKNOWNUNKNOWN00", "x" * 40)
    assert refused(clients(fake_aws, "sts", unknown).get_caller_identity)[:2] == (403, "InvalidClientTokenId")
    forged = Keys(ana.access_key, "x" * 40)
    assert refused(clients(fake_aws, "sts", forged).get_caller_identity)[:2] == (403, "SignatureDoesNotMatch")
    session = fake_aws.session(CONSUMER, "dev")
    fake_aws.expire_sessions()
    assert refused(clients(fake_aws, "sts", session).get_caller_identity)[:2] == (403, "ExpiredToken")
    fake_aws.clock.offset = 3600
    status, code, message = refused(clients(fake_aws, "sts", ana).get_caller_identity)
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message.startswith("Signature expired: ")


def test_web_identity(fake_aws, clients):
    fake_aws.role(OWNER, "reader", {CONSUMER: None})
    fake_aws.directory.web_tokens["jwt1"] = "system:serviceaccount:default:puller"
    sts = clients(fake_aws, "sts")
    asked = {"RoleArn": READER, "RoleSessionName": "pod"}
    answer = sts.assume_role_with_web_identity(WebIdentityToken="jwt1", **asked)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{OWNER}:assumed-role/reader/pod"
    assert refused(sts.assume_role_with_web_identity, WebIdentityToken="jwt2", **asked)[1] == "InvalidIdentityToken"


# --- objects --------------------------------------------------------------------------------------------


@pytest.fixture
def s3(fake_aws, clients, owner):
    fake_aws.bucket("acme", OWNER)
    return clients(fake_aws, "s3", owner)


KEYS = ["plain", "a/b c+d", "ünï/☃", "tilde~*'()!", "a//b/", "%41", "q?x=1&y", "#frag", " lead", "dot/../dot", "x\ty"]


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_signed_stored_listed_and_read(fake_aws, s3, key):
    etag = fake_aws.put("acme", key, key.encode(), last_modified=1_700_000_000)
    got = s3.get_object(Bucket="acme", Key=key, ChecksumMode="ENABLED")
    assert got["Body"].read() == key.encode()
    assert got["ETag"] == f'"{etag}"' == f'"{hashlib.md5(key.encode()).hexdigest()}"'
    assert got["LastModified"].timestamp() == 1_700_000_000
    assert got["ChecksumCRC64NVME"]
    (listed,) = s3.list_objects_v2(Bucket="acme")["Contents"]
    assert (listed["Key"], listed["Size"], listed["ETag"]) == (key, len(key.encode()), f'"{etag}"')
    assert s3.head_object(Bucket="acme", Key=key)["ContentLength"] == len(key.encode())


@pytest.mark.parametrize(
    ("span", "answer"),
    [
        ("bytes=0-3", (206, b"0123", "bytes 0-3/10")),
        ("bytes=8-", (206, b"89", "bytes 8-9/10")),
        ("bytes=-3", (206, b"789", "bytes 7-9/10")),
        ("bytes=5-99", (206, b"56789", "bytes 5-9/10")),
        ("bytes=3-1", (200, b"0123456789", None)),
    ],
)
def test_ranges(fake_aws, s3, span, answer):
    fake_aws.put("acme", "k", b"0123456789")
    got = s3.get_object(Bucket="acme", Key="k", Range=span)
    status = got["ResponseMetadata"]["HTTPStatusCode"]
    assert (status, got["Body"].read(), got.get("ContentRange")) == answer
    assert fake_aws.asked("GetObject")[0].bytes_sent == len(answer[1])


def test_ranges_that_are_not_there(fake_aws, s3):
    fake_aws.put("acme", "k", b"0123456789")
    fake_aws.put("acme", "empty", b"")
    assert refused(s3.get_object, Bucket="acme", Key="k", Range="bytes=10-")[:2] == (416, "InvalidRange")
    assert refused(s3.get_object, Bucket="acme", Key="empty", Range="bytes=0-0")[:2] == (416, "InvalidRange")


def test_conditions(fake_aws, s3):
    etag = fake_aws.put("acme", "k", b"one")
    assert s3.get_object(Bucket="acme", Key="k", IfMatch=f'"{etag}"')["Body"].read() == b"one"
    fake_aws.put("acme", "k", b"two")
    status, code, _ = refused(s3.get_object, Bucket="acme", Key="k", IfMatch=f'"{etag}"')
    assert (status, code) == (412, "PreconditionFailed")
    fake_aws.fault("GetObject", faults.ignore_if_match())
    assert s3.get_object(Bucket="acme", Key="k", IfMatch=f'"{etag}"')["Body"].read() == b"two"


def test_parts(fake_aws, s3):
    data = bytes(range(256)) * 40
    etag = fake_aws.put("acme", "k", data, parts=[5000, 5240], checksum="SHA256")
    digests = [hashlib.md5(data[:5000]), hashlib.md5(data[5000:])]
    assert etag == hashlib.md5(b"".join(d.digest() for d in digests)).hexdigest() + "-2"
    head = s3.head_object(Bucket="acme", Key="k", PartNumber=1)
    assert (head["PartsCount"], head["ContentLength"]) == (2, 5000)
    part = s3.get_object(Bucket="acme", Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert (part["Body"].read(), part["ContentRange"]) == (data[5000:], "bytes 5000-10239/10240")
    whole = s3.head_object(Bucket="acme", Key="k", ChecksumMode="ENABLED")
    assert (whole["ChecksumType"], whole["ChecksumSHA256"][-2:]) == ("COMPOSITE", "-2")
    assert refused(s3.get_object, Bucket="acme", Key="k", PartNumber=3)[:2] == (416, "InvalidPartNumber")


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("CRC32", "y/Q5Jg=="),
        ("CRC32C", "4waSgw=="),
        ("CRC64NVME", "rosUhgp5mIg="),
        ("SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ],
)
def test_checksums_are_the_published_ones(algorithm, value):
    """The check values of '123456789' (reveng's catalogue of CRCs)."""
    assert bodies.checksum(bodies.Held(b"123456789"), algorithm, "FULL_OBJECT", None) == value


def test_versions(fake_aws, clients, owner):
    fake_aws.bucket("kept", OWNER, versioning=True)
    s3 = clients(fake_aws, "s3", owner)
    for body in (b"one", b"two"):
        fake_aws.put("kept", "k", body)
    fake_aws.delete("kept", "k")
    listed = s3.list_object_versions(Bucket="kept")
    newest, oldest = (one["VersionId"] for one in listed["Versions"])
    (marker,) = listed["DeleteMarkers"]
    assert marker["IsLatest"]
    assert s3.get_object(Bucket="kept", Key="k", VersionId=oldest)["Body"].read() == b"one"
    assert s3.get_object(Bucket="kept", Key="k", VersionId=newest)["VersionId"] == newest
    assert refused(s3.get_object, Bucket="kept", Key="k")[:2] == (404, "NoSuchKey")
    assert refused(s3.get_object, Bucket="kept", Key="k", VersionId="none")[:2] == (404, "NoSuchVersion")
    gone = refused(s3.get_object, Bucket="kept", Key="k", VersionId=marker["VersionId"])
    assert gone[:2] == (405, "MethodNotAllowed")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="kept", PaginationConfig={"PageSize": 1})
    assert sum(len(p.get("Versions", [])) + len(p.get("DeleteMarkers", [])) for p in pages) == 3


def test_archives(fake_aws, s3):
    fake_aws.put("acme", "cold", b"x", storage_class="GLACIER")
    fake_aws.put("acme", "thawed", b"x", storage_class="GLACIER", restore='ongoing-request="false", expiry-date="x"')
    fake_aws.put("acme", "tiered", b"x", storage_class="INTELLIGENT_TIERING", archive_status="ARCHIVE_ACCESS")
    assert s3.head_object(Bucket="acme", Key="cold")["StorageClass"] == "GLACIER"
    assert refused(s3.get_object, Bucket="acme", Key="cold")[:2] == (403, "InvalidObjectState")
    assert refused(s3.get_object, Bucket="acme", Key="tiered")[:2] == (403, "InvalidObjectState")
    assert s3.get_object(Bucket="acme", Key="thawed")["Body"].read() == b"x"


def test_a_customers_key(fake_aws, s3):
    fake_aws.put("acme", "k", b"x", sse_c=True)
    assert refused(s3.get_object, Bucket="acme", Key="k")[:2] == (400, "InvalidRequest")
    assert refused(s3.head_object, Bucket="acme", Key="k")[:2] == (400, "400")


# --- listings -------------------------------------------------------------------------------------------


def test_listing_pages_in_byte_order(fake_aws, s3):
    keys = sorted([f"d{n % 7}/{n:05}" for n in range(2500)] + ["A", "é", "z", "￿", "😀"], key=str.encode)
    for key in keys:
        fake_aws.put("acme", key, b"", checksum=None)
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="acme"))
    assert [one["Key"] for page in pages for one in page["Contents"]] == keys
    assert [page["KeyCount"] for page in pages] == [1000, 1000, 505]
    after = s3.list_objects_v2(Bucket="acme", StartAfter="d6/02498", Prefix="d6/")
    assert [one["Key"] for one in after.get("Contents", [])] == [key for key in keys if "d6/02498" < key < "d6/3"]


def test_listing_with_a_delimiter(fake_aws, s3):
    for key in ["a", "b/1", "b/2", "b/c/3", "d/4", "e"]:
        fake_aws.put("acme", key, b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="acme", Delimiter="/", PaginationConfig={"PageSize": 2})
    found = [
        ([o["Key"] for o in p.get("Contents", [])], [c["Prefix"] for c in p.get("CommonPrefixes", [])]) for p in pages
    ]
    assert found == [(["a"], ["b/"]), (["e"], ["d/"])]


def test_listing_facts(fake_aws, s3):
    fake_aws.put("acme", "k", b"xyz", parts=[2, 1], checksum="CRC32", owner="333333333333")
    (listed,) = s3.list_objects_v2(Bucket="acme", FetchOwner=True)["Contents"]
    assert listed["ChecksumAlgorithm"] == ["CRC32"]
    assert (listed["ChecksumType"], listed["StorageClass"]) == ("COMPOSITE", "STANDARD")
    assert listed["Owner"]["ID"].startswith("333333333333")


# --- permissions ----------------------------------------------------------------------------------------

SCOPED = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme/data/*"},
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::acme",
            "Condition": {"StringLike": {"s3:prefix": ["data/", "data/*"]}},
        },
    ],
}
WHO = f"User: arn:aws:sts::{OWNER}:assumed-role/reader/ana is not authorized to perform: "


@pytest.fixture
def reader(fake_aws, clients, ana):
    """S3 as the scoped role sees it; `session` narrows."""
    fake_aws.bucket("acme", OWNER)
    fake_aws.put("acme", "data/k", b"data")
    fake_aws.put("acme", "other/k", b"other")
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, SCOPED)

    def make(**asked):
        return clients(fake_aws, "s3", assume(clients(fake_aws, "sts", ana), **asked))

    return make


def test_a_scoped_role(fake_aws, reader):
    s3 = reader()
    assert s3.get_object(Bucket="acme", Key="data/k")["Body"].read() == b"data"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="acme", Prefix="data/")["Contents"]] == ["data/k"]
    because = "because no identity-based policy allows the {} action"
    assert refused(s3.get_object, Bucket="acme", Key="other/k") == (
        403,
        "AccessDenied",
        f'{WHO}s3:GetObject on resource: "arn:aws:s3:::acme/other/k" {because.format("s3:GetObject")}',
    )
    denied = f'{WHO}s3:ListBucket on resource: "arn:aws:s3:::acme" {because.format("s3:ListBucket")}'
    assert refused(s3.list_objects_v2, Bucket="acme", Prefix="data")[2] == denied
    assert refused(s3.get_object, Bucket="acme", Key="data/none")[:2] == (404, "NoSuchKey")
    assert refused(s3.put_object, Bucket="acme", Key="data/new", Body=b"x")[:2] == (403, "AccessDenied")
    assert refused(s3.delete_object, Bucket="acme", Key="data/k")[:2] == (403, "AccessDenied")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.head_bucket(Bucket="acme")
    answer = caught.value.response["ResponseMetadata"]
    assert (answer["HTTPStatusCode"], answer["HTTPHeaders"]["x-amz-bucket-region"]) == (403, "us-east-1")


def test_a_missing_key_is_a_403_without_the_right_to_list(fake_aws, reader):
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, {"Statement": SCOPED["Statement"][:1]})
    assert refused(reader().get_object, Bucket="acme", Key="data/none") == (
        403,
        "AccessDenied",
        f'{WHO}s3:ListBucket on resource: "arn:aws:s3:::acme" because no identity-based policy allows the '
        "s3:ListBucket action",
    )


def test_a_session_policy_takes_away_and_adds_nothing(fake_aws, reader):
    narrow = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme/other/*"}]}
    s3 = reader(Policy=json.dumps(narrow))
    assert "no session policy allows" in refused(s3.get_object, Bucket="acme", Key="data/k")[2]
    assert "no identity-based policy allows" in refused(s3.get_object, Bucket="acme", Key="other/k")[2]


def test_guards(fake_aws, reader):
    deny = {"Statement": [{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}]}
    fake_aws.guard(SCP, deny, account=OWNER, arn="arn:aws:organizations::9:policy/p")
    said = refused(reader().get_object, Bucket="acme", Key="data/k")[2]
    assert said.endswith("with an explicit deny in a service control policy: arn:aws:organizations::9:policy/p")
    fake_aws.guards.clear()
    fake_aws.guard(ENDPOINT, {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::own/*"}]})
    said = refused(reader().get_object, Bucket="acme", Key="data/k")[2]
    assert said.endswith("because no VPC endpoint policy allows the s3:GetObject action")


def test_direct_bucket_policies(fake_aws, clients, ana):
    fake_aws.bucket("acme", OWNER)
    fake_aws.put("acme", "k", b"x")
    fake_aws.put("acme", "foreign", b"x", owner="333333333333")
    s3 = clients(fake_aws, "s3", ana)
    assert refused(s3.get_object, Bucket="acme", Key="k") == (403, "AccessDenied", "Access Denied")
    statement = {"Effect": "Allow", "Principal": {"AWS": CONSUMER}, "Action": "s3:*", "Resource": "*"}
    fake_aws.store.buckets["acme"].policy = {"Statement": [statement]}
    assert s3.get_object(Bucket="acme", Key="k")["Body"].read() == b"x"
    assert refused(s3.get_object, Bucket="acme", Key="foreign") == (403, "AccessDenied", "Access Denied")
    anonymous = clients(fake_aws, "s3")
    assert refused(anonymous.get_object, Bucket="acme", Key="k")[1] == "AccessDenied"
    statement["Principal"] = "*"
    assert anonymous.get_object(Bucket="acme", Key="k")["Body"].read() == b"x"


def test_the_expected_owner_and_the_payer(fake_aws, clients, ana, s3):
    fake_aws.put("acme", "k", b"x")
    assert s3.get_object(Bucket="acme", Key="k", ExpectedBucketOwner=OWNER)
    refusal = refused(s3.get_object, Bucket="acme", Key="k", ExpectedBucketOwner=CONSUMER)
    assert refusal == (403, "AccessDenied", "Access Denied")
    everyone = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}
    fake_aws.bucket("paid", OWNER, policy=everyone, requester_pays=True)
    fake_aws.put("paid", "k", b"x")
    theirs = clients(fake_aws, "s3", ana)
    assert refused(theirs.get_object, Bucket="paid", Key="k")[:2] == (403, "AccessDenied")
    assert theirs.get_object(Bucket="paid", Key="k", RequestPayer="requester")["RequestCharged"] == "requester"
    assert s3.get_object(Bucket="paid", Key="k")["Body"].read() == b"x"


KEY_ARN = f"arn:aws:kms:us-east-1:{OWNER}:key/k"
DECRYPT = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": KEY_ARN}


@pytest.mark.parametrize(
    ("role_may", "key_policy", "state", "answer"),
    [
        (True, None, "Enabled", None),
        (
            False,
            None,
            "Enabled",
            (
                403,
                "AccessDenied",
                f"{WHO}kms:Decrypt on resource: {KEY_ARN} because no identity-based policy allows the kms:Decrypt "
                "action",
            ),
        ),
        (
            True,
            {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:x"}, "Action": "kms:*", "Resource": "*"}]},
            "Enabled",
            (
                403,
                "AccessDenied",
                f"{WHO}kms:Decrypt on the resource associated with this ciphertext because the resource does not exist "
                "in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies "
                "access",
            ),
        ),
        (
            False,
            {"Statement": [{"Effect": "Allow", "Principal": {"AWS": READER}, "Action": "kms:*", "Resource": "*"}]},
            "Enabled",
            None,
        ),
        (True, None, "Disabled", (400, "KMS.DisabledException", f"{KEY_ARN} is disabled.")),
    ],
)
def test_kms(fake_aws, reader, role_may, key_policy, state, answer):
    fake_aws.kms_key(KEY_ARN, key_policy, state=state)
    fake_aws.put("acme", "data/k", b"x", encryption="aws:kms", kms_key=KEY_ARN)
    statements = [*SCOPED["Statement"], *[DECRYPT] * role_may]
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, {"Statement": statements})
    s3 = reader()
    assert s3.head_object(Bucket="acme", Key="data/k")["ServerSideEncryption"] == "aws:kms"
    if answer:
        assert refused(s3.get_object, Bucket="acme", Key="data/k") == answer
        assert refused(s3.head_object, Bucket="acme", Key="data/k", ChecksumMode="ENABLED")[0] == answer[0]
    else:
        assert s3.get_object(Bucket="acme", Key="data/k")["Body"].read() == b"x"


def test_access_points(fake_aws, clients, ana):
    fake_aws.bucket("acme", OWNER)
    fake_aws.put("acme", "k", b"x")
    point = fake_aws.access_point("readers", "acme")
    allowed = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [f"{point.arn}/object/*"]}]}
    fake_aws.role(OWNER, "reader", {CONSUMER: None}, allowed)
    s3 = clients(fake_aws, "s3", assume(clients(fake_aws, "sts", ana)))
    assert s3.get_object(Bucket=point.alias, Key="k")["Body"].read() == b"x"
    assert refused(s3.get_object, Bucket="acme", Key="k")[0] == 403
    assert fake_aws.asked("GetObject")[0].access_point == point.arn


# --- sessions, regions, clocks --------------------------------------------------------------------------


def test_sessions_end(fake_aws, reader):
    s3 = reader(DurationSeconds=900)
    assert s3.get_object(Bucket="acme", Key="data/k")
    fake_aws.expire_sessions()
    assert refused(s3.get_object, Bucket="acme", Key="data/k") == (
        400,
        "ExpiredToken",
        "The provided token has expired.",
    )
    assert refused(s3.head_object, Bucket="acme", Key="data/k")[:2] == (400, "400")


def test_sessions_end_by_the_clock(fake_aws, reader):
    s3 = reader(DurationSeconds=900)
    fake_aws.clock.offset = 899 - 5
    assert s3.get_object(Bucket="acme", Key="data/k")
    fake_aws.clock.offset = 901
    assert refused(s3.get_object, Bucket="acme", Key="data/k")[1] in ("ExpiredToken", "RequestTimeTooSkewed")


def test_bad_keys_and_clocks(fake_aws, clients, owner, s3):
    fake_aws.put("acme", "k", b"x")
    read = {"Bucket": "acme", "Key": "k"}
    unknown = clients(fake_aws, "s3", Keys("AKIAUNKNOWNUNKNOWN00", "x" * 40))
    assert refused(unknown.get_object, **read)[:2] == (403, "InvalidAccessKeyId")
    forged = clients(fake_aws, "s3", Keys(owner.access_key, "x" * 40))
    assert refused(forged.get_object, **read)[:2] == (403, "SignatureDoesNotMatch")
    session = fake_aws.session(OWNER, "dev")
    mixed = clients(fake_aws, "s3", Keys(session.access_key, session.secret_key, "token"))
    assert refused(mixed.get_object, **read)[:2] == (400, "InvalidToken")
    fake_aws.clock.offset = -1000
    status, code, message = refused(s3.get_object, **read)
    assert (status, code) == (403, "RequestTimeTooSkewed")
    assert message == "The difference between the request time and the current time is too large."


def test_regions(fake_aws, clients, owner):
    fake_aws.bucket("paris", OWNER, region="eu-west-3")
    fake_aws.put("paris", "k", b"x")
    s3 = clients(fake_aws, "s3", owner, config=Config(s3={"addressing_style": "path"}))
    # botocore's redirector finds the region and tries again, as with AWS
    assert s3.get_object(Bucket="paris", Key="k")["Body"].read() == b"x"
    first = fake_aws.asked("GetObject")[0]
    assert (first.status, first.code) == (400, "AuthorizationHeaderMalformed")
    head = fake_aws.asked("HeadBucket")
    assert not head or head[0].status == 301
    assert refused(s3.get_object, Bucket="nowhere", Key="k")[:2] == (404, "NoSuchBucket")


def test_presigned_urls(fake_aws, clients, owner):
    fake_aws.bucket("acme", OWNER)
    fake_aws.put("acme", "a b", b"x")
    s3 = clients(fake_aws, "s3", owner, config=CLIENT.merge(Config(signature_version="s3v4")))
    url = s3.generate_presigned_url("get_object", {"Bucket": "acme", "Key": "a b"}, ExpiresIn=60)
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() == b"x"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("a%20b", "a%20c"), timeout=5)
    with caught.value as error:
        assert b"SignatureDoesNotMatch" in error.read()
    fake_aws.clock.offset = 61
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=5)
    with caught.value as error:
        assert b"Request has expired" in error.read()


def test_virtual_hosts(fake_aws, clients, owner):
    fake_aws.bucket("acme.data", OWNER)
    fake_aws.put("acme.data", "dir/k", b"x")
    connection = http.client.HTTPConnection("127.0.0.1", fake_aws.server.port, timeout=5)
    with contextlib.closing(connection):
        everyone = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}
        fake_aws.store.buckets["acme.data"].policy = everyone
        connection.request("GET", "/dir/k", headers={"Host": "acme.data.s3.us-east-1.amazonaws.com"})
        assert connection.getresponse().read() == b"x"


def test_the_environment(fake_aws, ana, monkeypatch):
    for name, value in fake_aws.env(ana, region="eu-west-1").items():
        monkeypatch.setenv(name, value)
    with contextlib.closing(boto3.session.Session().client("sts", region_name=os.environ["AWS_REGION"])) as sts:
        assert sts.get_caller_identity()["Account"] == CONSUMER
    assert fake_aws.requests[0].headers["authorization"].split("/")[2] == "eu-west-1"


def test_tls(fake_aws_tls, clients):
    keys = fake_aws_tls.user(OWNER, "boss")
    fake_aws_tls.bucket("acme", OWNER)
    fake_aws_tls.put("acme", "k", b"x" * 3_000_000)
    s3 = clients(fake_aws_tls, "s3", keys)
    assert s3.get_object(Bucket="acme", Key="k")["Body"].read() == b"x" * 3_000_000
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", fake_aws_tls.server.port)) as sock,
    ):
        ssl.create_default_context().wrap_socket(sock, server_hostname="127.0.0.1")


def test_proxies(fake_aws, clients, owner, s3):
    fake_aws.put("acme", "k", b"x")
    with FakeProxy(auth=("ana", "p w")) as proxy:
        open_url = f"http://ana:p%20w@127.0.0.1:{proxy.port}"
        through = clients(fake_aws, "s3", owner, config=CLIENT.merge(Config(proxies={"http": open_url})))
        assert through.get_object(Bucket="acme", Key="k")["Body"].read() == b"x"
        shut = clients(fake_aws, "s3", owner, config=CLIENT.merge(Config(proxies={"http": proxy.url})))
        with pytest.raises(botocore.exceptions.ClientError, match="407"):
            shut.get_object(Bucket="acme", Key="k")
        assert [one.admitted for one in proxy.requests] == [True, False]


def test_tunnels(fake_aws_tls, clients):
    keys = fake_aws_tls.user(OWNER, "boss")
    fake_aws_tls.bucket("acme", OWNER)
    fake_aws_tls.put("acme", "k", b"x")
    with FakeProxy() as proxy:
        config = CLIENT.merge(Config(proxies={"https": proxy.url}))
        s3 = clients(fake_aws_tls, "s3", keys, config=config)
        assert s3.get_object(Bucket="acme", Key="k")["Body"].read() == b"x"
        s3.close()
        assert proxy.requests[0].method == "CONNECT"


# --- misbehaviour ---------------------------------------------------------------------------------------


@pytest.fixture
def public(fake_aws):
    """A bucket that plain HTTP can read, so that faults are seen byte by byte; returns a GET."""
    everyone = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}
    fake_aws.bucket("open", OWNER, policy=everyone)
    fake_aws.put("open", "k", bytes(range(200)) * 5000)

    def get(**headers):
        with socket.create_connection(("127.0.0.1", fake_aws.server.port), timeout=5) as sock:
            lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            sock.sendall(f"GET /open/k HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{lines}\r\n".encode())
            got, end = b"", "closed"
            try:
                while data := sock.recv(1 << 16):
                    got += data
            except ConnectionResetError:
                end = "reset"
            head, _, body = got.partition(b"\r\n\r\n")
            return head.decode("latin-1"), body, end

    return get


BODY = bytes(range(200)) * 5000
FLIPPED = BODY[:777_777] + bytes([BODY[777_777] ^ 1]) + BODY[777_778:]


@pytest.mark.parametrize(
    ("action", "status", "body", "end"),
    [
        (faults.reset_after(0), 200, b"", "reset"),
        (faults.reset_after(300_001), 200, BODY[:300_001], "reset"),
        (faults.truncate_at(0), 200, b"", "closed"),
        (faults.truncate_at(999_999), 200, BODY[:999_999], "closed"),
        (faults.flip_bit(777_777), 200, FLIPPED, "closed"),
        (faults.overlong(3), 200, BODY + b"\xee\xee\xee", "closed"),
        (faults.stall_after(500_000, 0.05), 200, BODY, "closed"),
        (faults.slow_head(0.05), 200, BODY, "closed"),
        (faults.no_content_length(), 200, BODY, "closed"),
        (faults.wrong_etag(), 200, BODY, "closed"),
        (faults.redirect("127.0.0.1:1"), 307, None, "closed"),
        (faults.status(503, retry_after=2), 503, None, "closed"),
        (faults.ok_with_error_body(), 200, None, "closed"),
        (faults.raw(b"HTTP/1.1 299 Odd\r\n\r\nx"), 299, b"x", "closed"),
    ],
)
def test_each_fault_does_what_it_says(fake_aws, public, action, status, body, end):
    fault = fake_aws.fault(at("GetObject", key="k"), action)
    head, got, how = public()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert how == end
    if body is not None:
        assert got == body
        assert fake_aws.requests[0].bytes_sent == (0 if "raw" in action.name else len(body))
    assert fake_aws.requests[0].faults == (action.name,)
    assert fault.fired == 1
    assert public()[1] == BODY  # once is once


def test_what_faulty_heads_say(fake_aws, public):
    fake_aws.fault("GetObject", faults.status(503, retry_after=2))
    assert "\r\nRetry-After: 2\r\n" in public()[0] + "\r\n"
    fake_aws.fault("GetObject", faults.redirect("evil.example:80"))
    assert "Location: http://evil.example:80/open/k" in public()[0]
    fake_aws.fault("GetObject", faults.wrong_content_range())
    assert "Content-Range: bytes 6-10/1000000" in public(Range="bytes=5-9")[0]
    fake_aws.fault("GetObject", faults.ignore_range())
    head, body, _ = public(Range="bytes=5-9")
    assert head.startswith("HTTP/1.1 200 ")
    assert body == BODY
    fake_aws.fault("GetObject", faults.informational())
    head, rest, _ = public()
    assert head.startswith("HTTP/1.1 103 ")
    assert rest.startswith(b"HTTP/1.1 200 ")
    fake_aws.fault("GetObject", faults.header("ETag", None))
    assert "ETag" not in public()[0]
    fake_aws.fault("GetObject", faults.drop())
    assert public() == ("", b"", "closed")
    fake_aws.fault("GetObject", faults.drop(reset=True))
    assert public() == ("", b"", "reset")


def test_chunks(fake_aws, public):
    fake_aws.fault("GetObject", faults.chunked())
    connection = http.client.HTTPConnection("127.0.0.1", fake_aws.server.port, timeout=5)
    with contextlib.closing(connection):
        for _ in range(2):  # and the connection lives on
            connection.request("GET", "/open/k")
            assert connection.getresponse().read() == BODY
    assert fake_aws.server.connections == 1


def test_matching(fake_aws, public):
    fake_aws.fault(at(range=500), faults.status(500))
    fake_aws.fault(at("GetObject", nth=2, range=False), faults.status(503), times=2)
    seen = [public(**more)[0].split()[1] for more in ({"Range": "bytes=0-99"}, {"Range": "bytes=400-"}, *[{}] * 4)]
    assert seen == ["206", "500", "200", "503", "503", "200"]


def test_the_object_is_replaced_under_a_get(fake_aws, public):
    fake_aws.fault("GetObject", faults.replace_object(b"new", at=100_000))
    assert public()[1] == BODY
    assert public()[1] == b"new"


def test_an_expiry_in_mid_run(fake_aws, reader):
    s3 = reader()
    fake_aws.fault(at("GetObject", nth=2), faults.expire_tokens())
    assert s3.get_object(Bucket="acme", Key="data/k")
    assert refused(s3.get_object, Bucket="acme", Key="data/k")[1] == "ExpiredToken"


def test_throttling(fake_aws, public):
    fake_aws.throttle = 3
    assert [public()[0].split()[1] for _ in range(5)] == ["200"] * 3 + ["503"] * 2


def test_seeded_faults_repeat(public, fake_aws):
    def run():
        fake_aws.requests.clear()
        fake_aws.seeded_faults(seed=7, rate=0.5)
        for n in range(20):
            public(Range=f"bytes={n}-{n}")
        return [one.faults for one in fake_aws.requests]

    first = run()
    assert first == run()
    assert 3 < sum(bool(one) for one in first) < 17
    fake_aws.seeded_faults(0, 0)
    assert public()[1] == BODY


def test_stopping_ends_a_stall():
    aws = FakeAws()
    aws.bucket("open", policy={"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})
    aws.put("open", "k", b"abc")
    aws.fault("GetObject", faults.stall_after(1))
    with socket.create_connection(("127.0.0.1", aws.server.port), timeout=5) as sock:
        sock.sendall(b"GET /open/k HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while not got.endswith(b"a"):
            got += sock.recv(4096)
        start = time.monotonic()
        aws.stop()
        assert time.monotonic() - start < 10


# --- size and number ------------------------------------------------------------------------------------


def test_sparse_bodies_differ_everywhere():
    body = Sparse(5 << 20, seed=3)
    data = b"".join(bodies.chunks(body, 0, body.size, 99_991))
    assert len(data) == body.size
    assert data == b"".join(bodies.chunks(body, 0, body.size))
    assert bytes(body.read(3 << 20, 10)) == data[3 << 20 : (3 << 20) + 10]
    pages = {data[start : start + 4096] for start in range(0, len(data), 4096)}
    assert len(pages) == body.size // 4096
    assert bytes(Sparse(1000).read(990, 100)) == bytes(Sparse(2000).read(990, 10))
    assert len(bytes(Sparse(1000).read(1000, 1))) == 0


def test_a_huge_object_costs_no_memory(fake_aws, s3):
    size = 1 << 40
    fake_aws.put("acme", "huge", Sparse(size), etag="huge-1", checksum=None)
    assert s3.head_object(Bucket="acme", Key="huge")["ContentLength"] == size
    tail = s3.get_object(Bucket="acme", Key="huge", Range=f"bytes={size - 5}-")["Body"].read()
    assert tail == bytes(Sparse(size).read(size - 5, 5))


def test_many_connections_at_once(fake_aws):
    everyone = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}
    fake_aws.bucket("open", OWNER, policy=everyone)
    for n in range(400):
        fake_aws.put("open", f"{n}", b"%d" % n)

    def fetch(numbers):
        connection = http.client.HTTPConnection("127.0.0.1", fake_aws.server.port, timeout=10)
        with contextlib.closing(connection):
            for n in numbers:
                connection.request("GET", f"/open/{n}")
                assert connection.getresponse().read() == b"%d" % n

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(fetch, [range(start, 400, 20) for start in range(20)]))
    assert fake_aws.count("GetObject", status=200) == 400
    assert fake_aws.server.connections == 20
