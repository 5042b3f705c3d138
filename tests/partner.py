"""A share `acme` of a bucket in another account, and this process in the shoes of the consumer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes import FakeAws

OWNER, CONSUMER = "111111111111", "222222222222"
EXTERNAL_ID = "external-id-9f4c1d"
BUCKET, PREFIX = "acme-exports", "outgoing/"
REPORT = b"day,price\n1,7\n"


class Partner:
    """`acme:` is s3://acme-exports/outgoing/ by way of a role; ana's keys lie in the environment."""

    def __init__(self, aws: FakeAws, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.aws = aws
        self.home = home
        self.ana = aws.user(CONSUMER, "ana", mfa_code="123456")
        self.role = aws.role(OWNER, "reader", trust={CONSUMER: EXTERNAL_ID})
        aws.bucket(BUCKET, owner=OWNER)
        self.env = aws.env(self.ana)
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)
        self.config = home / "config.toml"
        monkeypatch.setenv("S3PULL_CONFIG", str(self.config))
        monkeypatch.setenv("S3PULL_CACHE_DIR", str(home / "cache"))
        self.share("acme")

    def share(self, name: str, **settings: str) -> None:
        """One more share of the same place, with settings of its own."""
        said = {
            "bucket": BUCKET,
            "prefix": PREFIX,
            "role_arn": self.role,
            "external_id": EXTERNAL_ID,
            "region": "us-east-1",
            **settings,
        }
        lines = [f"[shares.{name}]", *(f'{key} = "{value}"' for key, value in said.items())]
        before = self.config.read_text() if self.config.exists() else ""
        self.config.write_text(before + "\n".join(lines) + "\n\n")

    def put(self, name: str, body: bytes, **facts: object) -> str:
        """Put the object `acme:NAME`; its ETag."""
        return self.aws.put(BUCKET, PREFIX + name, body, **{"last_modified": 1_700_000_000, **facts})

    def put_release(self) -> None:
        """What the examples of docstrings and docs read."""
        self.put("2026/report.csv", REPORT)
        self.put("2026/deep/later.csv", b"day,price\n2,8\n3,9\n4,6\n")
        self.put("2026/prices.parquet", prices())

    @property
    def assumed(self) -> int:
        """AssumeRole calls so far."""
        return self.aws.count("AssumeRole")


def prices() -> bytes:
    """A small Parquet file: day 1 to 3, price 10, 20, 30."""
    return Path(__file__).parent.joinpath("api", "prices.parquet").read_bytes()


@pytest.fixture
def partner(fake_aws: FakeAws, isolated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Partner:
    monkeypatch.chdir(tmp_path)
    made = Partner(fake_aws, isolated, monkeypatch)
    assert os.environ["AWS_ACCESS_KEY_ID"] == made.ana.access_key
    return made
