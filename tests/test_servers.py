"""The servers of others, as their fixtures hand them out, and the isolation of every test."""

import os
from pathlib import Path

import keyring.errors
import pytest

from tests.servers import tool


@pytest.mark.parametrize("turn", [1, 2])
def test_moto_starts_empty(moto_server, turn):
    s3 = moto_server.client
    assert s3.list_buckets()["Buckets"] == []
    s3.create_bucket(Bucket="acme")
    s3.put_object(Bucket="acme", Key="a/b", Body=b"x")
    assert s3.get_object(Bucket="acme", Key="a/b")["Body"].read() == b"x"


@pytest.mark.parametrize("turn", [1, 2])
def test_rclone_starts_empty_and_serves_files(rclone_server, turn):
    assert rclone_server.client.list_buckets()["Buckets"] == []
    rclone_server.bucket("acme").joinpath("k").write_bytes(b"x")
    assert rclone_server.client.get_object(Bucket="acme", Key="k")["Body"].read() == b"x"


def test_nothing_of_the_user_is_seen(isolated):
    assert Path.home() == isolated
    assert list(isolated.iterdir()) == []
    assert [name for name in os.environ if name.startswith(("AWS_", "S3PULL_"))] == ["AWS_EC2_METADATA_DISABLED"]
    with pytest.raises(keyring.errors.NoKeyringError):
        keyring.get_password("s3pull", "any")


def test_tools_are_found():
    assert Path(tool("rclone")).name.startswith("rclone")
    with pytest.raises(FileNotFoundError, match="no-such-tool"):
        tool("no-such-tool")
