"""boto3 as the client: of the owner (`s3`), of the assumed role (`reader`), of nobody (`public`, raw)."""

import contextlib
import socket

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from tests.test_fakes.asking import CLIENT, CONSUMER, OWNER, PUBLIC, SCOPED, assume


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


@pytest.fixture
def s3(fake_aws, clients, owner):
    fake_aws.bucket("acme", OWNER)
    return clients(fake_aws, "s3", owner)


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


@pytest.fixture
def public(fake_aws):
    """A bucket that plain HTTP can read, so that faults are seen byte by byte; returns a GET."""
    fake_aws.bucket("open", OWNER, policy=PUBLIC)
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
