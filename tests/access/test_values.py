"""Readers of option values, by table: STS's limits on one side and the other."""

from __future__ import annotations

import pytest

from s3pull.access import values
from s3pull.access.values import Wrong

MULTI_REGION = "arn:aws:s3::111122223333:accesspoint/a.mrap"


@pytest.mark.parametrize(
    ("reader", "given", "value"),
    [
        (values.duration, "3600", 3600),
        (values.duration, 900, 900),
        (values.duration, "15m", 900),
        (values.duration, "12h", 43200),
        (values.duration, "1h30m", 5400),
        (values.duration, "1H", 3600),
        (values.duration, "900s", 900),
        (values.flag, "Yes", True),
        (values.flag, "0", False),
        (values.flag, True, True),
        (values.role_arn, "arn:aws-us-gov:iam::111122223333:role/a/b/c", "arn:aws-us-gov:iam::111122223333:role/a/b/c"),
        (values.external_id, "ab", "ab"),
        (values.external_id, "a" * 1224, "a" * 1224),
        (values.session_name, "ana@example.org", "ana@example.org"),
        (values.session_tags, "team=a,project=b=c", (("team", "a"), ("project", "b=c"))),
        (values.session_tags, {"team": "a"}, (("team", "a"),)),
        (values.session_tags, ["team=a", "x="], (("team", "a"), ("x", ""))),
        (values.bucket_owner, "any", "any"),
        (values.bucket_owner, "1111-2222-3333", "111122223333"),
        (values.bucket_owner, 111122223333, "111122223333"),
        (values.region, "eu-west-1", "eu-west-1"),
        (values.region, "garage", "garage"),
        (values.url, "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        (values.bucket, "my.bucket-1", "my.bucket-1"),
        (values.access_point, MULTI_REGION, MULTI_REGION),
        (values.prefix, "", ""),
    ],
)  # fmt: skip
def test_what_is_read(reader, given, value):
    assert reader(given) == value


@pytest.mark.parametrize(
    ("reader", "given", "problem"),
    [
        (values.duration, "14m", "shorter than 15 minutes"),
        (values.duration, "13h", "longer than 12 hours"),
        (values.duration, "1d", "not a duration"),
        (values.duration, "", "not a duration"),
        (values.duration, "h", "not a duration"),
        (values.duration, True, "not a duration"),
        (values.flag, "perhaps", "neither true nor false"),
        (values.flag, 1, "neither true nor false"),
        (values.role_arn, "reader", "not the ARN of a role"),
        (values.role_arn, "arn:aws:iam::1:role/x", "not the ARN of a role"),
        (values.role_arn, 7, "is not text"),
        (values.external_id, "a", "2 to 1,224"),
        (values.external_id, "a" * 1225, "2 to 1,224"),
        (values.external_id, "with space", "refuses"),
        (values.external_id, " padded", "white space"),
        (values.external_id, "naïve", "refuses"),
        (values.session_name, "a", "not what STS takes"),
        (values.session_name, "a" * 65, "not what STS takes"),
        (values.session_name, "ана", "not what STS takes"),
        (values.mfa_serial, "1234", "not an MFA device"),
        (values.session_tags, "team", "without a value"),
        (values.session_tags, "=x", "refuses"),
        (values.session_tags, {"team": "a", "TEAM": "b"}, "twice"),
        (values.session_tags, {f"k{number}": "v" for number in range(51)}, "more than 50"),
        (values.session_tags, {"k": 1}, "not text"),
        (values.session_tags, 7, "not a list"),
        (values.bucket_owner, "12345", "not an account ID"),
        (values.region, "eu_west", "not a region"),
        (values.region, "-", "not a region"),
        (values.url, "ftp://x", "not a URL"),
        (values.url, "https://", "not a URL"),
        (values.url, "https://x:port", "not a URL"),
        (values.url, "https://a:b@x", "user or password"),
        (values.cache, "disk", "none of auto"),
        (values.bucket, "s3://b", "not a bucket"),
        (values.bucket, "a", "not a bucket"),
        (values.bucket, "arn:aws:s3:::b", "is an ARN"),
        (values.access_point, "arn:aws:s3:::b", "not an access point"),
        (values.access_point, "arn:aws:s3-object-lambda:eu-west-1:111122223333:accesspoint/a", "cannot be verified"),
        (values.prefix, "é" * 513, "1,024 bytes"),
        (values.text, "a\nb", "control character"),
    ],
)
def test_what_is_refused(reader, given, problem):
    with pytest.raises(Wrong) as refused:
        reader(given)
    assert problem in refused.value.problem


@pytest.mark.parametrize("given", ["secret value", " secret", "se\x00cret", "s" * 2000, "sécret"])
def test_an_external_id_is_never_repeated(given):
    with pytest.raises(Wrong) as refused:
        values.external_id(given)
    assert given not in refused.value.problem + str(refused.value.hint)


@pytest.mark.parametrize(
    ("arn", "hint"),
    [
        ("arn:aws:sts::111122223333:assumed-role/reader/ana", "session"),
        ("arn:aws:iam::111122223333:instance-profile/x", "instance profile"),
        ("arn:aws:iam::111122223333:user/ana", "user"),
        ("nonsense", "looks like"),
    ],
)
def test_what_is_near_a_role_is_told_apart(arn, hint):
    with pytest.raises(Wrong) as refused:
        values.role_arn(arn)
    assert hint in str(refused.value.hint)


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("https://s3.example.org", False),
        ("http://s3.example.org", True),
        ("http://127.0.0.1:9000", False),
        ("http://localhost", False),
        ("http://[::1]:9000", False),
        ("http://127.0.0.1.example.org", True),
        ("http://10.0.0.1", True),
        ("http://minio.localhost:9000", False),
    ],
)
def test_plain_http_beyond_this_machine(address, plain):
    assert values.plain_http(address) is plain
