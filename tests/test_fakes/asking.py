"""What these tests share: the accounts, the denials' texts, and how to be refused."""

import botocore.exceptions
import pytest
from botocore.config import Config

from tests.fakes import Keys

OWNER, CONSUMER = "111111111111", "222222222222"
READER = f"arn:aws:iam::{OWNER}:role/reader"
CLIENT = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
PUBLIC = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}
BARE = f"User: arn:aws:iam::{CONSUMER}:user/ana is not authorized to perform: {{}} on resource: {READER}"
KEY_ARN = f"arn:aws:kms:us-east-1:{OWNER}:key/k"
DECRYPT = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": KEY_ARN}
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
