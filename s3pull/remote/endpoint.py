"""Where requests for a bucket go and how they are signed, by asking botocore, which knows all the rules.

A presigned URL says it without private API: host, path style, signing region and algorithm come out of it, for
buckets, dotted buckets, access points and their aliases, FIPS, dual-stack, S3 Express, Multi-Region Access Points and
custom endpoints (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's services section,
AWS_IGNORE_CONFIGURED_ENDPOINT_URLS). Nothing is sent and no credential is read: the URL is signed with dummies.

This takes a third of a second of imports, so the result is remembered beside the credentials and a warm run does not
come here. botocore reads the profile and these variables from the process's own environment.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from s3pull.errors import UsageError
from s3pull.objects import Access, Endpoint

#: What S3 itself answers from for a bucket whose region is not known; the answer then names the region.
DEFAULT_REGION = "us-east-1"
_KEY = "k"
_ALGORITHMS = {"AWS4-HMAC-SHA256": "s3v4", "AWS4-ECDSA-P256-SHA256": "s3v4a"}


def resolve(access: Access, region: str | None) -> Endpoint:
    """The endpoint of `access.bucket`, signing for `region` (None: the access's, profile's or environment's, else
    us-east-1).

    Raises UsageError for a bucket, profile, region or endpoint URL that botocore cannot take, and for plain http.
    """
    import botocore.exceptions

    try:
        url = _presigned(access, region, {})
        host = urlsplit(url).hostname or ""
        if host.startswith(f"{access.bucket}.") and host.endswith(".amazonaws.com"):
            # presigned URLs get the global name or us-east-1's, unless botocore is told that virtual hosts are wanted
            url = _presigned(access, region, {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"})
    except botocore.exceptions.ProfileNotFound:
        raise UsageError(
            f"no such profile: {access.profile}", hint="`aws configure list-profiles` prints them"
        ) from None
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise UsageError(
            f"cannot find the endpoint of {access.bucket}: {' '.join(str(error).split())}",
            hint="check the bucket's name, the region and the endpoint URL",
        ) from None
    endpoint = parse_presigned(url)
    check_scheme(endpoint, access)
    return endpoint


def _presigned(access: Access, region: str | None, s3: Any) -> str:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session(profile=access.profile)
    if access.bucket.endswith("--x-s3"):
        # plain SigV4 for directory buckets too: they accept it, and there is no second session to keep
        s3 = {**s3, "disable_s3_express_session_auth": True}
    client: Any = session.create_client(
        "s3",
        region_name=region or access.region or _configured_region(session),
        endpoint_url=access.endpoint_url,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="not-a-secret",  # noqa: S106
        config=Config(
            # the algorithm of a Multi-Region Access Point must stay botocore's to choose
            signature_version=None if _is_multi_region(access.bucket) else "s3v4",
            s3=s3,
        ),
    )
    try:
        return str(client.generate_presigned_url("get_object", Params={"Bucket": access.bucket, "Key": _KEY}))
    finally:
        client.close()


def _configured_region(session: Any) -> str:
    import os

    # botocore itself reads only AWS_DEFAULT_REGION; the other SDKs and users know AWS_REGION
    return os.environ.get("AWS_REGION") or session.get_config_variable("region") or DEFAULT_REGION


def _is_multi_region(bucket: str) -> bool:
    return bucket.startswith("arn:") and bucket.endswith(".mrap")


def parse_presigned(url: str) -> Endpoint:
    """Read the endpoint off a presigned URL for the key `k`. Raises UsageError for a URL of an unknown kind."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    algorithm = _ALGORITHMS.get(query.get("X-Amz-Algorithm", [""])[0])
    scope = query.get("X-Amz-Credential", [""])[0].split("/")
    if algorithm is None or parts.hostname is None or not parts.path.endswith(f"/{_KEY}") or len(scope) < 4:
        raise UsageError("botocore signs for this bucket in a way that s3pull does not know", hint="update s3pull")
    service = scope[-2]
    region = "*" if algorithm == "s3v4a" else scope[-3]
    return Endpoint(
        scheme=parts.scheme,
        host=parts.hostname,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        path=parts.path[: -len(_KEY) - 1],
        region=region,
        service=service,
        algorithm="s3express" if service == "s3express" else algorithm,
    )


def check_scheme(endpoint: Endpoint, access: Access) -> None:
    """Refuse plain http to anything but this machine, unless it was allowed. Raises UsageError."""
    if endpoint.scheme == "https" or access.allow_http or is_loopback(endpoint.host):
        return
    raise UsageError(
        f"the endpoint http://{endpoint.host} is not encrypted: credentials and data could be read on the way",
        hint="use https://, or --allow-http",
    )


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
