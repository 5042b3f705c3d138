"""What several tests of the remote room share."""

import pytest

from s3pull.remote import tlsrecords
from tests.fakes.wire import tried


@pytest.fixture(params=[pytest.param(True, marks=tried), False], ids=["many at once", "one by one"])
def many(request, monkeypatch):
    """Whether records are read many at once."""
    if not request.param:
        monkeypatch.setattr(tlsrecords, "_library", lambda: None)
    return request.param
