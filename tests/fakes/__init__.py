"""A small STS and S3 of the tests' own, which can misbehave at any byte. Start with `FakeAws` (aws.py)."""

from tests.fakes import faults
from tests.fakes.aws import FakeAws, Recorded
from tests.fakes.bodies import Held, Sparse, chunks
from tests.fakes.faults import at
from tests.fakes.identities import READ_ONLY, Keys
from tests.fakes.policies import ALLOW_ALL
from tests.fakes.proxy import FakeProxy

__all__ = [
    "ALLOW_ALL",
    "READ_ONLY",
    "FakeAws",
    "FakeProxy",
    "Held",
    "Keys",
    "Recorded",
    "Sparse",
    "at",
    "chunks",
    "faults",
]
