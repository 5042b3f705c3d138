"""`s3pull.storage_options` and `s3pull.url`: what other clients are given works, and reads the share alone."""

from __future__ import annotations

from importlib.util import find_spec

import boto3
import pytest
from botocore.exceptions import ClientError

import s3pull
from s3pull import errors
from s3pull.api.handover import _fsspec, _polars
from s3pull.objects import Access, Credentials
from tests.apart import apart
from tests.partner import BUCKET, PREFIX, REPORT

KEYS = Credentials("AKIA", "secret", "token")
LONG_TERM = Credentials("AKIA", "secret")


@pytest.mark.parametrize(
    ("make", "access", "keys", "options"),
    [
        (
            _fsspec, {}, KEYS,
            {"key": "AKIA", "secret": "secret", "token": "token", "client_kwargs": {"region_name": "r"}},
        ),
        (_fsspec, {}, LONG_TERM, {"key": "AKIA", "secret": "secret", "client_kwargs": {"region_name": "r"}}),
        (_fsspec, {}, None, {"anon": True, "client_kwargs": {"region_name": "r"}}),
        (
            _fsspec, {"endpoint_url": "https://s3.example.org", "request_payer": True}, None,
            {
                "anon": True, "client_kwargs": {"region_name": "r"}, "endpoint_url": "https://s3.example.org",
                "requester_pays": True,
            },
        ),
        (
            _polars, {}, KEYS,
            {
                "aws_access_key_id": "AKIA", "aws_secret_access_key": "secret", "aws_session_token": "token",
                "aws_region": "r",
            },
        ),
        (_polars, {}, None, {"aws_skip_signature": "true", "aws_region": "r"}),
        (
            _polars, {"endpoint_url": "https://s3.example.org", "request_payer": True}, None,
            {
                "aws_skip_signature": "true", "aws_region": "r", "aws_endpoint_url": "https://s3.example.org",
                "aws_request_payer": "true",
            },
        ),
        (
            _polars, {"endpoint_url": "http://127.0.0.1:9000"}, None,
            {
                "aws_skip_signature": "true", "aws_region": "r", "aws_endpoint_url": "http://127.0.0.1:9000",
                "aws_allow_http": "true",
            },
        ),
    ],
)  # fmt: skip
def test_what_they_say(make, access, keys, options):
    assert make(Access("acme", **access), keys, "r") == options


def test_the_keys_read_the_share_and_nothing_beside_it(partner):
    partner.put_release()
    partner.aws.put(BUCKET, "other/secret.csv", b"secret")
    options = s3pull.storage_options("acme")
    client = boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=options["key"],
        aws_secret_access_key=options["secret"],
        aws_session_token=options["token"],
        **options["client_kwargs"],
    )
    try:
        assert client.get_object(Bucket=BUCKET, Key=f"{PREFIX}2026/report.csv")["Body"].read() == REPORT
        with pytest.raises(ClientError, match="AccessDenied"):
            client.get_object(Bucket=BUCKET, Key="other/secret.csv")
    finally:
        client.close()
    assert s3pull.storage_options("acme:2026/x") == options
    assert partner.assumed == 1


def test_polars_scans_a_share(partner):
    partner.put_release()
    scan = """
import polars, s3pull
options = s3pull.storage_options("acme", "polars")
print(polars.scan_csv(s3pull.url("acme:**/*.csv"), storage_options=options).collect()["price"].to_list())
"""
    assert apart(scan) == "[8, 9, 6, 7]\n"


def test_pandas_reads_by_s3fs(partner):
    """Only where somebody installed it: it wants a botocore of its own choice."""
    if find_spec("s3fs") is None:
        pytest.skip("s3fs is not installed")
    partner.put_release()
    read = """
import pandas, s3pull
table = pandas.read_parquet(s3pull.url("acme:2026/prices.parquet"), storage_options=s3pull.storage_options("acme"))
print(list(table["price"]))
"""
    assert apart(read) == "[10, 20, 30]\n"


def test_what_cannot_be(partner):
    with pytest.raises(errors.UsageError, match="style='duckdb'"):
        s3pull.storage_options("acme", "duckdb")
    with pytest.raises(errors.NothingThere):
        s3pull.storage_options("acne")
    with pytest.raises(errors.NothingThere):
        s3pull.url("acne:x")


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("acme", "s3://acme-exports/outgoing/"),
        ("acme:2026/*.csv", "s3://acme-exports/outgoing/2026/*.csv"),
        ("s3://other/x y", "s3://other/x y"),
        (r"acme:odd \[1\]", "s3://acme-exports/outgoing/odd [1]"),
    ],
)
def test_urls(partner, source, url):
    assert s3pull.url(source) == url
    assert partner.aws.requests == []
