"""Role, session, bucket, key and guard policies as S3 applies them."""

import json

import botocore.exceptions
import pytest

from tests.fakes.policies import ENDPOINT, SCP
from tests.test_fakes.asking import CONSUMER, DECRYPT, KEY_ARN, OWNER, PUBLIC, READER, SCOPED, WHO, assume, refused


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
    fake_aws.bucket("paid", OWNER, policy=PUBLIC, requester_pays=True)
    fake_aws.put("paid", "k", b"x")
    theirs = clients(fake_aws, "s3", ana)
    assert refused(theirs.get_object, Bucket="paid", Key="k")[:2] == (403, "AccessDenied")
    assert theirs.get_object(Bucket="paid", Key="k", RequestPayer="requester")["RequestCharged"] == "requester"
    assert s3.get_object(Bucket="paid", Key="k")["Body"].read() == b"x"


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
