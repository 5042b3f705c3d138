"""`s3pull.storage_options` and `s3pull.url`: a share for readers that bring their own S3 client."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any, Literal, Unpack

from s3pull.api.caller import AccessOptions, Caller
from s3pull.errors import UsageError
from s3pull.objects import Access, Credentials
from s3pull.pull.opening import find_access
from s3pull.pull.source import Kind, parse_source

Style = Literal["fsspec", "polars"]


def storage_options(share: str, style: Style = "fsspec", **access: Unpack[AccessOptions]) -> dict[str, Any]:
    """What another reader needs to read `share` itself (any source will do): keys of the narrowed, cached session.

    `fsspec` is for fsspec and s3fs, and so for `storage_options=` of pandas and Dask; `polars` is for
    `storage_options=` of Polars, of deltalake, and of what else is built on Rust's object_store.

    >>> options = s3pull.storage_options("acme", "polars")
    >>> polars.read_parquet(s3pull.url("acme:2026/prices.parquet"), storage_options=options)["price"].sum()
    60
    >>> sorted(s3pull.storage_options("acme"))
    ['client_kwargs', 'endpoint_url', 'key', 'secret', 'token']

    These are secrets, and they end with the session (an hour, unless `duration=` says otherwise): nothing renews them.
    What reads for longer takes a profile: `s3pull share export NAME --aws-profile`. What is read so is not verified.

    Raises UsageError, NothingThere (no such share), AccessDenied, CredentialsError, ServiceError.
    """
    if style not in ("fsspec", "polars"):
        raise UsageError(f"style={style!r} is unknown", hint="fsspec or polars")
    with closing(Caller(access, "storage_options").open(share)) as opened:
        keys = opened.session.credentials.current()
        endpoint = opened.session.endpoint
        region = opened.access.region or (endpoint.region if endpoint is not None else None)
        make = _fsspec if style == "fsspec" else _polars
        return make(opened.access, keys, region)


def url(source: str, **access: Unpack[AccessOptions]) -> str:
    """`source` as other tools write it; a glob stays one.

    >>> s3pull.url("acme:2026/report.csv")
    's3://acme-exports/outgoing/2026/report.csv'

    Raises UsageError, NothingThere (no such share).
    """
    spec = parse_source(source)
    found = find_access(Caller(access, "url"), spec)
    path = spec.path if spec.kind is Kind.GLOB else spec.key
    return f"s3://{found.bucket}/{found.prefix}{path}"


def _endpoint(access: Access) -> str | None:
    """The service's address where it is not AWS's. botocore knows the variables itself; others do not."""
    return access.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _fsspec(access: Access, keys: Credentials | None, region: str | None) -> dict[str, Any]:
    """https://s3fs.readthedocs.io/en/latest/api.html#s3fs.core.S3FileSystem"""
    found: dict[str, Any] = {"anon": True} if keys is None else {"key": keys.access_key, "secret": keys.secret_key}
    if keys is not None and keys.token is not None:
        found["token"] = keys.token
    if address := _endpoint(access):
        found["endpoint_url"] = address
    if region is not None:
        found["client_kwargs"] = {"region_name": region}
    if access.request_payer:
        found["requester_pays"] = True
    return found


def _polars(access: Access, keys: Credentials | None, region: str | None) -> dict[str, Any]:
    """https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html"""
    if keys is None:
        found = {"aws_skip_signature": "true"}
    else:
        found = {"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key}
        if keys.token is not None:
            found["aws_session_token"] = keys.token
    if address := _endpoint(access):
        found["aws_endpoint_url"] = address
        if address.startswith("http:"):
            found["aws_allow_http"] = "true"
    if region is not None:
        found["aws_region"] = region
    if access.request_payer:
        found["aws_request_payer"] = "true"
    return found
