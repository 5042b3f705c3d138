"""The printed documents, put into the fake AWS: with them a file is fetched, without any one statement it is not."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

OWNER, CONSUMER = "111111111111", "222222222222"
READER = f"arn:aws:iam::{OWNER}:role/readers"
ETL = f"arn:aws:iam::{CONSUMER}:role/etl"
KEY = f"arn:aws:kms:us-east-1:{OWNER}:key/0a1b2c3d"
OTHER_KEY = f"arn:aws:kms:us-east-1:{OWNER}:key/other"
EXTERNAL_ID = "9f4c-external"
DENIED, SOME_FAILED = 10, 3


@dataclass
class Stage:
    """Two accounts with nothing granted yet; `put` grants what was printed, `etl` makes the consumer's environment."""

    aws: object
    run: object
    set_variable: object
    cache: Path
    turns: int = 0

    def printed(self, *args):
        ran = self.run("policy", *args)
        assert ran.exit == 0, ran.err
        return json.loads(ran.out)

    def put(self, documents, *, key_policy=True):
        """Put the owner's and the consumer's documents where they belong, and be the consumer from now on."""
        aws = self.aws
        if "role" in documents:
            aws.role(OWNER, "readers", trust=documents["trust"], policy=documents["role"])
        if "key" in documents and key_policy:
            # a key policy of its own that leaves nothing to IAM
            statements = [documents["key"]] if documents["key"] else []
            aws.kms_key(KEY, {"Version": "2012-10-17", "Statement": statements})
        for name, bucket in aws.store.buckets.items():
            bucket.policy = documents["bucket"].get(name, documents["bucket"])
        aws.role(CONSUMER, "etl", trust={CONSUMER: None}, policy=documents["consumer"])
        keys = aws.session(CONSUMER, "etl", "ana")
        self.turns += 1
        for name, value in aws.env(keys).items():
            self.set_variable(name, value)
        # nothing cached of the turn before
        self.set_variable("S3PULL_CACHE_DIR", str(self.cache / str(self.turns)))


@pytest.fixture
def stage(fake_aws_tls, config, monkeypatch, tmp_path, run):
    """A bucket with two prefixes, the granted one encrypted with a customer key; a share of it."""
    aws = fake_aws_tls
    for bucket in ("acme", "beta"):
        aws.bucket(bucket, owner=OWNER)
    aws.kms_key(KEY)
    aws.kms_key(OTHER_KEY)
    aws.put("acme", "2026/a.csv", b"a,b\n", encryption="aws:kms", kms_key=KEY)
    aws.put("acme", "2026/other-key.csv", b"x\n", encryption="aws:kms", kms_key=OTHER_KEY)
    aws.put("acme", "2025/secret.csv", b"secret\n")
    aws.put("beta", "b.csv", b"b\n")
    added = run("share", "add", "acme", "s3://acme/2026/", "--role-arn", READER, "--external-id", EXTERNAL_ID)
    assert added.exit == 0
    return Stage(aws, run, monkeypatch.setenv, tmp_path / "cache")


GRANTED = ("acme", "--consumer-role", ETL, "--kms-key", KEY)


def test_assumed_with_external_id_and_a_customer_key(stage, run, tmp_path):
    stage.put(stage.printed(*GRANTED))
    assert run("get", "acme:a.csv", "out/").exit == 0
    assert (tmp_path / "out" / "a.csv").read_bytes() == b"a,b\n"
    assert run("ls", "acme:").out.split() == ["a.csv", "other-key.csv"]
    (session,) = stage.aws.sessions(READER)
    assert session.policy is not None


@pytest.mark.parametrize("narrow", ["--narrow", "--no-narrow"])
def test_nothing_else_can_be_read_or_listed(stage, run, tmp_path, narrow):
    stage.put(stage.printed(*GRANTED))
    for command, codes in (
        (("get", "s3://acme/2025/secret.csv", "out/"), (SOME_FAILED, DENIED)),
        (("get", "s3://acme/2026/other-key.csv", "out/"), (SOME_FAILED, DENIED)),
        (("get", "s3://beta/b.csv", "out/"), (SOME_FAILED, DENIED)),
        (("ls", "s3://acme/2025/"), (DENIED,)),
        (("ls", "s3://beta/"), (DENIED,)),
    ):
        ran = run(*command, "--role-arn", READER, "--external-id", EXTERNAL_ID, narrow)
        assert ran.exit in codes, command
        assert ran.out == ""
    assert list((tmp_path / "out").glob("*.csv")) == []


def without(documents, kind, sid):
    less = copy.deepcopy(documents)
    if kind == "key":
        less["key"] = None
        return less
    before = less[kind]["Statement"]
    less[kind]["Statement"] = [one for one in before if one["Sid"] != sid]
    assert len(less[kind]["Statement"]) == len(before) - 1
    return less


GET, LIST = ("get", "acme:a.csv", "out/"), ("ls", "acme:")
IDENTIFIED, TAGGED = (*GET, "--source-identity", "ana"), (*GET, "--session-tag", "team=climate")


def test_all_statements_together_are_enough(stage, run):
    stage.put(stage.printed(*GRANTED, "--session-tag", "team=climate"))
    for number, command in enumerate((GET, IDENTIFIED, TAGGED)):
        assert run(*command[:2], f"{number}/", *command[3:]).exit == 0, command


@pytest.mark.parametrize(
    ("kind", "sid", "command"),
    [
        ("trust", "S3pullAssume", GET),
        ("trust", "S3pullSourceIdentity", IDENTIFIED),
        ("trust", "S3pullTags", TAGGED),
        ("role", "Read", GET),
        ("role", "List", LIST),
        ("consumer", "S3pullAssume", GET),
        ("key", "Decrypt", GET),
    ],
)
def test_each_statement_is_needed(stage, run, tmp_path, kind, sid, command):
    documents = stage.printed(*GRANTED, "--session-tag", "team=climate")
    stage.put(without(documents, kind, sid))
    assert run(*command).exit in (DENIED, SOME_FAILED)
    assert list((tmp_path / "out").glob("*.csv")) == []


def test_the_role_decrypts_by_its_own_policy_where_the_key_leaves_it_to_iam(stage, run):
    documents = stage.printed(*GRANTED)
    stage.put(documents, key_policy=False)
    assert run(*GET).exit == 0
    stage.put(without(documents, "role", "Decrypt"), key_policy=False)
    assert run("get", "acme:a.csv", "again/").exit in (DENIED, SOME_FAILED)


def test_the_external_id_is_demanded(stage, run):
    stage.put(stage.printed(*GRANTED))
    ran = run("get", "s3://acme/2026/a.csv", "out/", "--role-arn", READER)
    assert ran.exit == DENIED
    assert run("get", "s3://acme/2026/a.csv", "out/", "--role-arn", READER, "--external-id", "another").exit == DENIED


def test_plain_http_is_refused(stage, run, fake_aws):
    stage.put(stage.printed(*GRANTED))
    plain = fake_aws
    plain.directory, plain.store = stage.aws.directory, stage.aws.store
    assert run(*GET, "--endpoint-url", plain.url).exit in (DENIED, SOME_FAILED)
    for bucket in plain.store.buckets.values():
        bucket.policy = None
    assert run(*GET, "--endpoint-url", plain.url).exit == 0


def test_while_the_external_id_is_rotated_both_do(stage, run):
    both = stage.printed(*GRANTED, "--external-id", EXTERNAL_ID, "--external-id", "new-id")
    stage.put(both)
    place = ("s3://acme/2026/a.csv", "--role-arn", READER)
    for number, one in enumerate((EXTERNAL_ID, "new-id")):
        assert run("get", place[0], f"{number}/", *place[1:], "--external-id", one).exit == 0
    stage.put(stage.printed(*GRANTED, "--external-id", "new-id"))
    assert run("get", place[0], "3/", *place[1:], "--external-id", EXTERNAL_ID).exit == DENIED


def test_a_new_external_id_is_accepted_beside_the_old_one(stage, run):
    documents = stage.printed(*GRANTED, "--new-external-id")
    old, new = documents["trust"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]
    assert old == EXTERNAL_ID
    stage.put(documents)
    place = ("s3://acme/2026/a.csv", "--role-arn", READER)
    assert run("get", place[0], "new/", *place[1:], "--external-id", new).exit == 0


def test_two_shares_with_one_role(stage, run, tmp_path):
    assert run("share", "add", "beta", "s3://beta/", "--role-arn", READER, "--external-id", EXTERNAL_ID).exit == 0
    stage.put(stage.printed("acme", "beta", "--consumer-role", ETL, "--kms-key", KEY))
    assert run("get", "acme:a.csv", "out/").exit == 0
    assert run("get", "beta:b.csv", "out/").exit == 0
    assert sorted(file.name for file in (tmp_path / "out").glob("*.csv")) == ["a.csv", "b.csv"]
    # narrowed, each share's session reads its own alone
    assert run("get", "s3://acme/2025/secret.csv", "out/", "--role-arn", READER, "--external-id", EXTERNAL_ID).exit != 0


def test_directly_by_the_bucket_policy(stage, run, tmp_path):
    documents = stage.printed("acme", "--direct", "--consumer-role", ETL, "--kms-key", KEY)
    assert sorted(documents) == ["bucket", "cloudtrail", "consumer", "key"]
    share = ("share", "add", "direct", "s3://acme/2026/", "--no-assume", "--bucket-owner", OWNER)
    assert run(*share).exit == 0
    stage.put(documents)
    assert run("get", "direct:a.csv", "out/").exit == 0
    assert run("ls", "direct:").exit == 0
    assert stage.aws.count("AssumeRole") == 0
    assert run("get", "s3://acme/2025/secret.csv", "out/", "--no-assume").exit in (DENIED, SOME_FAILED)
    assert run("get", "direct:other-key.csv", "out/").exit in (DENIED, SOME_FAILED)
    (tmp_path / "out" / "a.csv").unlink()
    for kind, sid in (("bucket", "Read"), ("consumer", "Read"), ("consumer", "Decrypt"), ("key", "Decrypt")):
        stage.put(without(documents, kind, sid))
        assert run("get", "direct:a.csv", "out/").exit in (DENIED, SOME_FAILED), (kind, sid)
    for kind in ("bucket", "consumer"):
        stage.put(without(documents, kind, "List"))
        assert run("ls", "direct:").exit == DENIED


def test_an_access_point_by_its_arn(stage, run, tmp_path):
    point = stage.aws.access_point("data", "beta", OWNER)
    share = ("share", "add", "point", "--access-point", point.arn, "--role-arn", READER, "--external-id", EXTERNAL_ID)
    assert run(*share).exit == 0
    documents = stage.printed("point", "--consumer-role", ETL)
    assert documents["role"]["Statement"][0]["Resource"] == f"{point.arn}/object/*"
    assert documents["role"]["Statement"][1]["Resource"] == point.arn
    own, behind = documents["bucket"].values()
    assert list(documents["bucket"]) == [point.arn, f"the bucket behind {point.arn}"]
    assert own["Statement"][0]["Resource"] == [point.arn, f"{point.arn}/object/*"]
    assert behind["Statement"][0]["Resource"] == "arn:aws:s3:::BUCKET-BEHIND-data/*"


def test_revoke_ends_the_sessions_so_far_and_lets_new_ones_in(stage, run):
    stage.put(stage.printed(*GRANTED))
    assert run(*GET).exit == 0
    time.sleep(1.1)  # the document's time has whole seconds
    revoked = stage.printed("acme", "--kind", "revoke")
    role = stage.aws.role_of(READER)
    role.policies = (*role.policies, revoked)
    assert run("get", "acme:a.csv", "again/").exit in (DENIED, SOME_FAILED)
    assert run("logout", "acme").exit == 0
    assert run("get", "acme:a.csv", "again/").exit == 0


def test_a_pod_brings_its_tags_along(stage, run):
    documents = stage.printed(*GRANTED, "--pod-identity")
    assert documents["consumer"]["trust"]["Statement"][0]["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    documents["consumer"] = documents["consumer"]["permissions"]
    stage.put(documents)
    assert run(*GET, "--session-tag", "eks-cluster-name=prod").exit == 0
    plain = stage.printed(*GRANTED)
    stage.put(plain)
    assert run("get", "acme:a.csv", "again/", "--session-tag", "eks-cluster-name=prod").exit == DENIED


def test_what_survives_the_consumers_role_being_made_again(stage, run):
    stage.put(stage.printed(*GRANTED, "--recreate-safe"))
    assert run(*GET).exit == 0
    # somebody else of that account, who may do anything there, is not trusted
    keys = stage.aws.session(CONSUMER, "somebody", "eve")
    for name, value in stage.aws.env(keys).items():
        stage.set_variable(name, value)
    assert run("get", "acme:a.csv", "again/").exit == DENIED
