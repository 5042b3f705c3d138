"""Another host is never told anything: no redirect, region or token exchange leads a credential of ours there."""

from __future__ import annotations

import pytest

from tests.fakes import at, faults
from tests.fakes.refusals import Refusal
from tests.fakes.witness import Witness
from tests.faulty import Bucket, hurry, watched

# botocore leaves its clients' sockets to the collector
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=[True], ids=["tls"])
def bucket(request, monkeypatch, tmp_path):
    hurry(monkeypatch)
    monkeypatch.chdir(tmp_path)
    made = Bucket(tls=request.param)
    for name, value in made.env().items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


def test_the_witness_would_notice():
    """A test that can never fail proves nothing: a signed request that does come is a leak."""
    import urllib.request

    with Witness() as witness:
        request = urllib.request.Request(witness.url + "/k", headers={"Authorization": "AWS4-HMAC-SHA256"})
        urllib.request.urlopen(request).close()
        urllib.request.urlopen(witness.url + "/k?X-Amz-Signature=abc").close()
        urllib.request.urlopen(witness.url + "/k").close()
        assert len(witness.requests) == 3
        assert len(witness.leaks) == 2


@pytest.mark.parametrize(
    ("bucket", "status"),
    [(False, 301), (True, 302), (False, 303), (True, 307), (True, 308)],
    ids=["http-301", "tls-302", "http-303", "tls-307", "tls-308"],
    indirect=["bucket"],
)
@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("GetObject", "get s3://acme/d/b/ out"),
        ("GetObject", "cat s3://acme/d/a/006"),
        ("HeadObject", "get s3://acme/d/a/006 one"),
        ("ListObjectsV2", "ls -r s3://acme/d/"),
        ("ListObjectsV2", "sync s3://acme/d/ m"),
        ("ListObjectsV2", "doctor s3://acme/d/"),
        ("AssumeRole", "login s3://acme/d/"),
        ("GetCallerIdentity", "status"),
    ],
)
def test_no_redirect_is_followed(bucket, capsysbinary, action, command, status):
    if action != "AssumeRole":
        assert watched(["login", "s3://acme/d/"]) == 0
    fault = bucket.aws.fault(at(action), faults.redirect(bucket.elsewhere.url, status), times=None)
    code = watched(command.split())
    said = capsysbinary.readouterr()
    assert fault.fired
    assert code not in (0, 1), said
    assert b"Traceback" not in said.err
    assert bucket.elsewhere.requests == []


@pytest.mark.parametrize("region", ["evil.example/", "x@127.0.0.1:1", "a b", "..", "eu-west-1.evil.example"])
def test_no_answer_makes_a_region_a_host(bucket, capsys, monkeypatch, region):
    """The region of a redirect goes into the name of the next host: what is none is refused, and nobody is asked."""
    name = bucket.elsewhere.host if region == "x@127.0.0.1:1" else region

    def before(aws, record, request):
        headers = {"x-amz-bucket-region": name}
        raise Refusal(301, "PermanentRedirect", "elsewhere", extra={"Region": name}, headers=headers)

    bucket.aws.fault(at("ListObjectsV2"), faults.Action("region", before=before), times=None)
    code = watched(["ls", "-r", "s3://acme/d/"])
    said = capsys.readouterr()
    assert code in (2, 15), said
    assert "Traceback" not in said.err
    assert "internal error:" not in said.err
    assert bucket.elsewhere.requests == []
