"""Our SigV4 against botocore's, over random keys, queries, headers and times."""

import datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from s3pull.errors import UsageError
from s3pull.objects import Credentials
from s3pull.remote.signing import Hmac, Plan, anonymous_lines, encode_key, encode_query

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
HEADERS = st.dictionaries(
    st.from_regex(r"x-amz-[a-z][a-z0-9-]{0,12}[a-z]", fullmatch=True).filter(
        lambda name: name not in ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token")
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
    max_size=4,
)


def parsed(lines: bytes) -> dict[str, str]:
    assert lines.endswith(b"\r\n")
    return dict(line.decode("utf-8").split(": ", 1) for line in lines[:-2].split(b"\r\n"))


@given(
    key=KEYS,
    query=st.lists(st.tuples(KEYS, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)), max_size=3),
    headers=HEADERS,
    method=st.sampled_from(["GET", "HEAD"]),
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80),
    now=st.integers(0, 4_000_000_000),
    host=st.sampled_from(["bucket.s3.eu-west-1.amazonaws.com", "127.0.0.1:9000", "localhost:18443"]),
    prefix=st.sampled_from(["", "/bucket"]),
)
@example("a//b/../c/./ü~+ %", [], {}, "GET", None, "s", 0, "127.0.0.1:9000", "")
@example("\n\r\x00\x7f", [("a b", "ü/~")], {}, "GET", "t", "s" * 80, 1795475677, "127.0.0.1:9000", "/bucket")
def test_the_same_signature_as_botocore(key, query, headers, method, token, secret, now, host, prefix):
    path = prefix.encode() + b"/" + encode_key(key)
    encoded = encode_query(query)
    pairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
    plan = Plan(Credentials("AKID", secret, token), "eu-west-1", "s3", host, pairs)
    ours = parsed(plan.lines(method.encode(), path, encoded, float(now) + 0.7))

    url = f"https://{host}{path.decode()}" + (f"?{encoded.decode()}" if encoded else "")
    request = AWSRequest(method, url, headers={"host": host, **headers})
    signer = botocore.auth.S3SigV4Auth(BotoCredentials("AKID", secret, token), "s3", "eu-west-1")
    at = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(tzinfo=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: at)
        signer.add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    assert ours == theirs


def test_the_day_and_the_second_are_cached_and_renewed():
    shared = Plan(Credentials("A", "s"), "r", "s3", "h", ())
    for now in (0.0, 0.9, 1.0, 86399.0, 86400.0, 86401.0, 0.0):
        alone = Plan(Credentials("A", "s"), "r", "s3", "h", ())
        assert shared.lines(b"GET", b"/k", b"", now) == alone.lines(b"GET", b"/k", b"", now)


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=300), st.binary(max_size=300))
def test_our_hmac_is_hmac(key, before, text):
    import hmac

    alone = Hmac(key)
    begun = alone.begun(before)
    for _ in range(2):
        assert begun.hexdigest(text) == hmac.digest(key, before + text, "sha256").hex()
        assert alone.hexdigest(text) == hmac.digest(key, text, "sha256").hex()


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a/b", b"a/b"),
        ("~-._", b"~-._"),
        ("a b+c%", b"a%20b%2Bc%25"),
        ("//a/../b/./", b"//a/../b/./"),
        ("ü\n", b"%C3%BC%0A"),
        ("?#&=", b"%3F%23%26%3D"),
        ("A-Z/a_z.0~9", b"A-Z/a_z.0~9"),
    ],
)
def test_keys_are_encoded_once_and_never_normalised(key, encoded):
    assert encode_key(key) == encoded


def test_a_key_that_is_no_unicode_is_refused():
    with pytest.raises(UsageError):
        encode_key("a\udcff")


def test_anonymous_requests_carry_no_signature():
    assert (
        anonymous_lines("h", ((b"x-amz-checksum-mode", b"ENABLED"),)) == b"host: h\r\nx-amz-checksum-mode: ENABLED\r\n"
    )


def test_no_secret_in_a_plans_repr():
    plan = Plan(Credentials("A", "very-secret", "very-token"), "r", "s3", "h", ())
    assert "very" not in repr(plan)


def test_sigv4a_is_signed_by_awscrt():
    from s3pull.remote.sigv4a import AsymmetricPlan

    plan = AsymmetricPlan(Credentials("AKID", "secret", "t"), "s3", "m.accesspoint.s3-global.amazonaws.com", ())
    lines = parsed(plan.lines(b"GET", b"/a%20b", b"versionId=1", 0.0).lower())
    assert lines["authorization"].startswith("aws4-ecdsa-p256-sha256 credential=akid/")
    assert lines["x-amz-region-set"] == "*"
    assert lines["x-amz-security-token"] == "t"
    assert lines["host"] == "m.accesspoint.s3-global.amazonaws.com"
