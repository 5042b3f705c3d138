"""What several tests of the remote room share."""

import pytest

from s3pull.remote import openssl
from tests.fakes.wire import tried


@pytest.fixture(params=[pytest.param(True, marks=tried), False], ids=["OpenSSL's way", "Python's way"])
def native(request, monkeypatch):
    """Whether OpenSSL is asked past Python."""
    if not request.param:
        monkeypatch.setattr(openssl, "_library", lambda: None)
    return request.param
