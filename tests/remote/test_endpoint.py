"""Endpoints as botocore resolves them, and what is refused."""

import pytest

from s3pull.errors import UsageError
from s3pull.objects import Access, Endpoint
from s3pull.remote.endpoint import is_loopback, parse_presigned, resolve

AP = "arn:aws:s3:us-west-2:111122223333:accesspoint/ap"
MRAP = "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap"
EXPRESS = "data--use1-az4--x-s3"


def https(host, region, path="", **more):
    return Endpoint("https", host, 443, path, region, **more)


@pytest.mark.parametrize(
    ("bucket", "region", "url", "endpoint"),
    [
        ("acme", "eu-west-1", None, https("acme.s3.eu-west-1.amazonaws.com", "eu-west-1")),
        ("acme", "us-east-1", None, https("acme.s3.us-east-1.amazonaws.com", "us-east-1")),
        ("acme", None, None, https("acme.s3.us-east-1.amazonaws.com", "us-east-1")),
        ("acme", "cn-north-1", None, https("acme.s3.cn-north-1.amazonaws.com.cn", "cn-north-1")),
        ("acme", "us-gov-west-1", None, https("acme.s3.us-gov-west-1.amazonaws.com", "us-gov-west-1")),
        ("a.dotted.name", "eu-west-1", None, https("s3.eu-west-1.amazonaws.com", "eu-west-1", "/a.dotted.name")),
        ("ap-x-s3alias", "eu-west-1", None, https("ap-x-s3alias.s3.eu-west-1.amazonaws.com", "eu-west-1")),
        (AP, "eu-west-1", None, https("ap-111122223333.s3-accesspoint.us-west-2.amazonaws.com", "us-west-2")),
        (MRAP, None, None, https("mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com", "*", algorithm="s3v4a")),
        (
            EXPRESS,
            "us-east-1",
            None,
            https(
                f"{EXPRESS}.s3express-use1-az4.us-east-1.amazonaws.com",
                "us-east-1",
                service="s3express",
                algorithm="s3express",
            ),
        ),
        ("acme", "x", "https://s3.example.com", https("s3.example.com", "x", "/acme")),
        ("acme", "x", "https://s3.example.com/base/", https("s3.example.com", "x", "/base/acme")),
        ("acme", "x", "http://127.0.0.1:9000", Endpoint("http", "127.0.0.1", 9000, "/acme", "x")),
        ("acme", "x", "http://[::1]:9000", Endpoint("http", "::1", 9000, "/acme", "x")),
        ("acme", "x", "http://localhost", Endpoint("http", "localhost", 80, "/acme", "x")),
    ],
)
def test_resolve(bucket, region, url, endpoint):
    assert resolve(Access(bucket, endpoint_url=url), region) == endpoint


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "acme.s3-fips.us-west-2.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "acme.s3.dualstack.us-west-2.amazonaws.com"),
        ({"AWS_ENDPOINT_URL_S3": "https://one.example", "AWS_ENDPOINT_URL": "https://two.example"}, "one.example"),
        ({"AWS_ENDPOINT_URL": "https://two.example"}, "two.example"),
        (
            {"AWS_ENDPOINT_URL": "https://two.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "acme.s3.us-west-2.amazonaws.com",
        ),
    ],
)
def test_the_environment(monkeypatch, environ, host):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert resolve(Access("acme", region="us-west-2"), None).host == host


@pytest.mark.parametrize(
    ("environ", "region", "signing"),
    [
        ({"AWS_REGION": "eu-west-1"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "ap-south-1", "ap-south-1"),
    ],
)
def test_the_region(monkeypatch, environ, region, signing):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert resolve(Access("acme", region=region), None).region == signing


def test_a_profile(monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        "[profile work]\nregion = eu-north-1\nservices = mine\n"
        "[profile path]\nregion = eu-north-1\ns3 =\n    addressing_style = path\n"
        "[services mine]\ns3 =\n    endpoint_url = https://minio.example:9000\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    found = resolve(Access("acme", profile="work"), None)
    assert found == Endpoint("https", "minio.example", 9000, "/acme", "eu-north-1")
    assert resolve(Access("acme", profile="path"), None) == https("s3.eu-north-1.amazonaws.com", "eu-north-1", "/acme")
    with pytest.raises(UsageError, match="no such profile: nobody"):
        resolve(Access("acme", profile="nobody"), None)


@pytest.mark.parametrize(
    ("bucket", "region", "url", "message"),
    [
        ("no/bucket", "eu-west-1", None, "cannot find the endpoint of no/bucket"),
        ("acme", "no region", None, "cannot find the endpoint"),
        ("acme", "evil.example/#", None, "cannot find the endpoint"),
        ("acme", "eu-west-1", "nonsense", "cannot find the endpoint"),
        ("acme", "eu-west-1", "http://s3.example.com", "is not encrypted"),
        ("acme", "eu-west-1", "http://127.0.0.1.example.com", "is not encrypted"),
    ],
)
def test_refused(bucket, region, url, message):
    with pytest.raises(UsageError, match=message):
        resolve(Access(bucket, endpoint_url=url), region)


def test_plain_http_may_be_allowed():
    access = Access("acme", endpoint_url="http://s3.example.com", allow_http=True)
    assert resolve(access, "x").scheme == "http"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.1.2", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("127.0.0.1.nip.io", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("example.com", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_no_credentials_are_looked_for(monkeypatch):
    """A machine without any still finds its endpoint, and a broken credential_process is not run."""
    import botocore.credentials

    def refuse(*_):
        raise AssertionError("credentials were looked for")

    monkeypatch.setattr(botocore.credentials.CredentialResolver, "load_credentials", refuse)
    assert resolve(Access("acme"), "eu-west-1").region == "eu-west-1"


@pytest.mark.parametrize(
    "url",
    [
        "https://h/k?X-Amz-Algorithm=AWS9&X-Amz-Credential=a/b/c/s3/aws4_request",
        "https://h/k?AWSAccessKeyId=x&Signature=y",
        "https://h/other?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20260101/r/s3/aws4_request",
    ],
)
def test_an_unknown_way_of_signing_is_refused(url):
    with pytest.raises(UsageError):
        parse_presigned(url)
