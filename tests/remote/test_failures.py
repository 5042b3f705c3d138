"""Answers that are not 2xx, to errors: the shapes that S3 sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import (
    AccessDenied,
    Archived,
    CredentialsError,
    NothingThere,
    ObjectChanged,
    S3pullError,
    ServiceError,
    TokenExpired,
    Transient,
    Unsupported,
    WrongRegion,
)
from s3pull.objects import Credentials
from s3pull.remote.failures import from_response, parse_document


def document(code, message="words", more=""):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
        f"<RequestId>4442587FB7D0A2F9</RequestId><HostId>host+id=</HostId></Error>"
    ).encode()


def error(status, code=None, message="words", more="", headers=None, key="data/k", method="GET"):
    body = b"" if code is None else document(code, message, more)
    return from_response(method, key, "src", status, headers or {}, body)


WRONG_REGION = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
SSE_C = (
    "The object was stored using a form of Server Side Encryption. "
    "The correct parameters must be provided to retrieve the object."
)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (301, "PermanentRedirect", WrongRegion),
        (307, "TemporaryRedirect", WrongRegion),
        (301, None, WrongRegion),
        (302, None, WrongRegion),
        (400, "IllegalLocationConstraintException", WrongRegion),
        (404, "NoSuchKey", NothingThere),
        (404, "NoSuchBucket", NothingThere),
        (404, "NoSuchVersion", NothingThere),
        (404, None, NothingThere),
        (405, "MethodNotAllowed", NothingThere),
        (405, None, NothingThere),
        (400, "ExpiredToken", TokenExpired),
        (400, "InvalidToken", TokenExpired),
        (403, "ExpiredToken", TokenExpired),
        (400, "TokenRefreshRequired", TokenExpired),
        (403, "InvalidAccessKeyId", CredentialsError),
        (403, "SignatureDoesNotMatch", CredentialsError),
        (403, "RequestTimeTooSkewed", CredentialsError),
        (403, "InvalidObjectState", Archived),
        (400, "KMS.DisabledException", AccessDenied),
        (412, "PreconditionFailed", ObjectChanged),
        (412, None, ObjectChanged),
        (416, "InvalidRange", ObjectChanged),
        (416, None, ObjectChanged),
        (500, "InternalError", Transient),
        (500, None, Transient),
        (502, None, Transient),
        (503, "SlowDown", Transient),
        (429, None, Transient),
        (408, None, Transient),
        (400, "RequestTimeout", Transient),
        (200, "InternalError", Transient),
        (200, "SlowDown", Transient),
        (403, "AccessDenied", AccessDenied),
        (403, None, AccessDenied),
        (403, "AllAccessDisabled", AccessDenied),
        (401, None, AccessDenied),
        (400, "InvalidRequest", ServiceError),
        (400, None, ServiceError),
        (409, "Unheard", ServiceError),
        (204, None, ServiceError),
    ],
)
def test_the_table(status, code, kind):
    found = error(status, code)
    assert type(found) is kind
    assert found.status == status
    assert found.key == "data/k"
    if code is not None:
        assert (found.code, found.request_id, found.host_id) == (code, "4442587FB7D0A2F9", "host+id=")


def test_regions_are_taken_from_wherever_they_are_named():
    assert error(400, "AuthorizationHeaderMalformed", WRONG_REGION, "<Region>eu-west-1</Region>").region == "eu-west-1"
    assert error(301, None, headers={b"x-amz-bucket-region": b"ap-south-1"}).region == "ap-south-1"
    assert error(301, "PermanentRedirect", "the region 'a' is wrong; expecting 'b'").region == "b"
    nowhere = error(301, "PermanentRedirect", more="<Endpoint>evil.example.com</Endpoint>")
    assert nowhere.region is None and "--region" in nowhere.hint
    assert type(error(400, "AuthorizationHeaderMalformed", "no region named")) is ServiceError


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (503, None), (429, None), (400, "ThrottlingException")]
)
def test_throttling_slows_everyone(status, code):
    found = error(status, code, headers={b"retry-after": b"7"})
    assert isinstance(found, Transient) and found.throttled and found.retry_after == 7


def test_a_plain_failure_slows_nobody():
    assert not error(500, "InternalError").throttled


def test_retry_after_as_a_date():
    headers = {b"retry-after": b"Wed, 21 Oct 2015 07:28:10 GMT"}
    found = from_response("GET", "k", "b", 503, headers, b"", now=lambda: 1445412480.0)
    assert found.retry_after == 10
    assert from_response("GET", "k", "b", 503, {b"retry-after": b"soon"}, b"").retry_after is None


ANA = "User: arn:aws:sts::111111111111:assumed-role/s3pull-reader/ana is not authorized to perform: "
SCP = "arn:aws:organizations::999999999999:policy/o-q/service_control_policy/p-2"
DENIALS = [
    ANA + 's3:GetObject on resource: "arn:aws:s3:::src/data/k" because no identity-based policy allows '
    "the s3:GetObject action",
    ANA + 's3:ListBucket on resource: "arn:aws:s3:::src" because no session policy allows the s3:ListBucket action',
    "Access Denied",
]
CERTAIN_DENIALS = [
    ANA + 's3:GetObject on resource: "arn:aws:s3:::src/data/k" with an explicit deny in a resource-based policy',
    ANA
    + f's3:GetObject on resource: "arn:aws:s3:::src/data/k" with an explicit deny in a service control policy: {SCP}',
    ANA + "kms:Decrypt on resource: arn:aws:kms:eu-west-1:111111111111:key/k because no identity-based policy allows "
    "the kms:Decrypt action",
    ANA + "kms:Decrypt on the resource associated with this ciphertext because the resource does not exist in this "
    "Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are "
    "not allowed to access.",
]


@pytest.mark.parametrize("said", DENIALS)
def test_a_403_for_one_key_may_be_a_missing_key_and_says_so(said):
    found = error(403, "AccessDenied", said.replace('"', "&quot;"))
    assert found.message == f"no such key, or no permission: s3://src/data/k: {said}"


@pytest.mark.parametrize("said", CERTAIN_DENIALS)
def test_a_denial_that_is_certain_says_nothing_of_missing_keys(said):
    found = error(403, "AccessDenied", said.replace('"', "&quot;"))
    assert found.message == f"access denied to s3://src/data/k: {said}"


@pytest.mark.parametrize("said", DENIALS)
def test_a_denied_listing_keeps_what_aws_said(said):
    found = error(403, "AccessDenied", said.replace('"', "&quot;"), key=None)
    assert found.message == f"access denied to s3://src: {said}"


def test_the_clock():
    found = error(403, "RequestTimeTooSkewed", more="<ServerTime>2026-11-23T22:00:00Z</ServerTime>")
    assert "clock" in found.hint and "2026-11-23T22:00:00Z" in found.hint


def test_archives_are_named():
    assert "DEEP_ARCHIVE" in error(403, "InvalidObjectState", more="<StorageClass>DEEP_ARCHIVE</StorageClass>").message
    tier = "<StorageClass>INTELLIGENT_TIERING</StorageClass><AccessTier>ARCHIVE_ACCESS</AccessTier>"
    assert "ARCHIVE_ACCESS" in error(403, "InvalidObjectState", more=tier).message


def test_customer_keys_are_refused_by_name():
    assert type(error(400, "InvalidRequest", SSE_C)) is Unsupported
    assert type(error(400, headers={b"x-amz-server-side-encryption-customer-algorithm": b"AES256"})) is Unsupported


def test_request_ids_of_headers():
    found = error(403, None, headers={b"x-amz-request-id": b"R", b"x-amz-id-2": b"H"}, method="HEAD")
    assert (found.code, found.request_id, found.host_id) == ("403", "R", "H")
    assert error(404, None, headers={b"x-amzn-requestid": b"M"}).request_id == "M"


BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<Error><Code>NoSuchKey</Code><Message>&b;</Message></Error>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain words",
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"code": "NoSuchKey"}',
        b"<Error>",
        BOMB,
        b"<Error>" + b"<a>" * 100,
        b"<Error><Code>NoSuchKey</Code>" + b" " * 70_000 + b"</Error>",
    ],
)
def test_what_is_no_error_document_is_not_believed(body):
    assert parse_document(body) == {}


def test_a_document_that_breaks_off_after_its_code_still_tells_it():
    assert parse_document(document("NoSuchKey")[:-20])["Code"] == "NoSuchKey"


def test_sts_like_documents_are_read_too():
    body = b"<ErrorResponse><Error><Type>Sender</Type><Code>X</Code></Error><RequestId>R</RequestId></ErrorResponse>"
    assert parse_document(body)["Code"] == "X"


@given(
    st.integers(100, 999),
    st.binary(max_size=200)
    | st.text(max_size=60).map(lambda text: b"<Error><Code>" + text.encode() + b"</Code></Error>"),
    st.sampled_from(["GET", "HEAD"]),
    st.dictionaries(
        st.sampled_from([b"retry-after", b"x-amz-bucket-region", b"x-amz-request-id", b"date"]), st.binary(max_size=12)
    ),
)
def test_every_answer_is_some_error(status, body, method, headers):
    found = from_response(method, "k", "b", status, headers, body)
    assert isinstance(found, S3pullError) and found.status == status and found.code


def test_what_a_service_repeats_of_secrets_is_not_told():
    """S3 quotes in a refusal what it was to sign, and others quote it in their message."""
    token = "FwoGZXIvYXdz" + "t0ken" * 600  # longer than a message may be
    keys = Credentials("AKIA", "s3cr3t-key", token)
    body = f"<Error><Code>Odd</Code><Message>got {token} and s3cr3t-key</Message><RequestId>{token}</RequestId></Error>"
    found = from_response("GET", "k", "b", 400, {}, body.encode(), keys)
    assert found.message == "the service refused the request for s3://b/k: got … and …"
    assert found.request_id == "…"
