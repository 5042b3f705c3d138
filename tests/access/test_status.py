"""Which sessions are cached, forgetting them, and who one is."""

from __future__ import annotations

import os
import time

import pytest

from s3pull.access import profiles, status
from s3pull.access.sts import Caller
from s3pull.errors import CredentialsError
from s3pull.objects import Endpoint
from tests.access.conftest import CONSUMER, EXTERNAL_ID


def test_the_cached_sessions(reach):
    reach.open(reach.access(duration="12h", session_name="late"))
    session = reach.open(reach.access(duration="15m"))
    session.remember(Endpoint("https", "h", 443, "", "r"))
    soon, late = status.cached_sessions(reach.cache())
    assert (soon.share, soon.bucket, soon.prefix, soon.role_arn) == ("acme", "acme", "2026/", reach.role)
    assert (soon.session_name, soon.sealed, soon.width, soon.problem) == ("ana", False, "prefix", None)
    assert soon.expires == session.expires
    assert late.session_name == "late"
    assert status.cached_sessions(reach.cache(), clock=lambda: time.time() + 1000) == [late]
    text = repr([soon, late])
    assert session.credentials.current().secret_key not in text
    assert EXTERNAL_ID not in text


def test_one_that_cannot_be_opened_is_named(reach):
    reach.open()
    path = reach.cache().directory / status.cached_sessions(reach.cache())[0].name
    path.chmod(0o644)
    (found,) = status.cached_sessions(reach.cache())
    assert found.problem == "is open to others (mode 0644)"
    assert status.forget(reach.cache(), everything=True) == [found]


def test_forgetting(reach):
    session = reach.open()
    session.remember(Endpoint("https", "h", 443, "", "r"))
    other = reach.open(reach.access(plain=True, role_arn=reach.role, external_id=EXTERNAL_ID))
    assert status.forget(reach.cache(), share="gone") == []
    (gone,) = status.forget(reach.cache(), share="acme")
    assert gone.expires == session.expires
    (left,) = status.cached_sessions(reach.cache())
    assert left.share is None
    assert status.forget(reach.cache(), name=left.name) == [left]
    assert reach.open().endpoint is not None
    status.forget(reach.cache(), everything=True)
    assert reach.cache().entries() == []
    assert other.credentials.current() is not None, "a session in use is not taken away"


def whoami(reach, **chosen):
    return status.whoami(reach.access(**chosen), environ=os.environ, profiles=profiles.load(os.environ))


def test_who_a_user_is(reach):
    found = whoami(reach)
    assert found.arn == found.iam_arn == f"arn:aws:iam::{CONSUMER}:user/ana"
    assert (found.account, found.caveat) == (CONSUMER, None)


def test_who_a_role_is(reach):
    reach.use(reach.aws.env(reach.aws.session(CONSUMER, "dev", "ana")))
    found = whoami(reach)
    assert found.arn == f"arn:aws:sts::{CONSUMER}:assumed-role/dev/ana"
    assert found.iam_arn == f"arn:aws:iam::{CONSUMER}:role/dev"
    assert "path" in found.caveat


@pytest.mark.parametrize(
    ("arn", "iam_arn", "caveat"),
    [
        ("arn:aws:iam::1:root", "arn:aws:iam::1:root", None),
        ("arn:aws:iam::1:user/a/b", "arn:aws:iam::1:user/a/b", None),
        ("arn:aws-cn:sts::1:assumed-role/r/s", "arn:aws-cn:iam::1:role/r", "path"),
        (
            "arn:aws:sts::1:assumed-role/AWSReservedSSO_Data_ab12/ana@example.org",
            "arn:aws:iam::1:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Data_ab12",
            "region",
        ),
        ("arn:aws:sts::1:federated-user/ana", "arn:aws:sts::1:federated-user/ana", None),
    ],
)
def test_what_to_hand_to_the_data_owner(arn, iam_arn, caveat):
    found = status.identity_of(Caller(arn, "1", "AIDA"))
    assert found.iam_arn == iam_arn
    assert (found.caveat is None) if caveat is None else (caveat in found.caveat)


def test_nobody(reach):
    reach.aws_files("")
    with pytest.raises(CredentialsError):
        whoami(reach)
