"""Sessions, clocks, regions, hosts, TLS and proxies."""

import contextlib
import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from tests.fakes import FakeProxy, Keys
from tests.test_fakes.asking import (
    CLIENT,
    CONSUMER,
    OWNER,
    PUBLIC,
    refused,
)


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
        fake_aws.store.buckets["acme.data"].policy = PUBLIC
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


def test_a_container(fake_aws, monkeypatch):
    for name, value in fake_aws.container_env(CONSUMER, "task-role").items():
        monkeypatch.setenv(name, value)
    with contextlib.closing(boto3.session.Session().client("sts", region_name="us-east-1")) as sts:
        assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{CONSUMER}:assumed-role/task-role/task"
    assert fake_aws.count("ContainerCredentials") == 1
