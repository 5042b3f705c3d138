"""What a thief has of a cached session, what a tampered cache does, and who is talked to at all. Whole commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from s3pull.cli.app import main
from tests.access.ward import share_loader
from tests.fakes import ALLOW_ALL
from tests.transcript import run_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"
ROLE = "arn:aws:iam::111111111111:role/reader"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Acme:
    """A share below a prefix, of a role that may do everything: only the session's own policy holds it back."""

    def __init__(self, aws, home):
        self.aws, self.home = aws, home
        aws.role(OWNER, "reader", trust={CONSUMER: "external"}, policy=ALLOW_ALL)
        for bucket, key in (("acme", "2026/a"), ("acme", "2025/b"), ("acme", "2026-secret/c"), ("other", "2026/a")):
            if bucket not in aws.store.buckets:
                aws.bucket(bucket, owner=OWNER)
            aws.put(bucket, key, b"body")
        self.config = home / "config.toml"
        self.config.write_text(
            '[shares.acme]\nbucket = "acme"\nprefix = "2026/"\nregion = "us-east-1"\n'
            f'role_arn = "{ROLE}"\nexternal_id = "external"\n'
        )
        self.env = {**aws.env(aws.user(CONSUMER, "ana")), "S3PULL_CONFIG": str(self.config)}

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "s3pull"


@pytest.fixture
def acme(fake_aws, isolated, monkeypatch, tmp_path):
    made = Acme(fake_aws, isolated)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    share_loader(monkeypatch)
    return made


def test_a_stolen_session_reads_the_share_and_nothing_else(acme, capsys):
    assert main(["get", "acme:", "out"]) == 0
    entry = next(path for path in acme.cache.iterdir() if b'"secret_key"' in path.read_bytes())
    stolen = json.loads(entry.read_bytes().partition(b"\n")[2])
    s3 = boto3.client(
        "s3",
        endpoint_url=acme.aws.url,
        region_name="us-east-1",
        aws_access_key_id=stolen["access_key"],
        aws_secret_access_key=stolen["secret_key"],
        aws_session_token=stolen["token"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
    assert s3.get_object(Bucket="acme", Key="2026/a")["Body"].read() == b"body"
    assert s3.list_objects_v2(Bucket="acme", Prefix="2026/")["KeyCount"] == 1
    for forbidden in (
        lambda: s3.get_object(Bucket="acme", Key="2025/b"),
        lambda: s3.get_object(Bucket="acme", Key="2026-secret/c"),
        lambda: s3.get_object(Bucket="other", Key="2026/a"),
        lambda: s3.list_objects_v2(Bucket="acme"),
        lambda: s3.list_objects_v2(Bucket="acme", Prefix="2025/"),
        lambda: s3.list_objects_v2(Bucket="acme", Prefix="2026-secret/"),
        lambda: s3.list_objects_v2(Bucket="other", Prefix="2026/"),
        lambda: s3.put_object(Bucket="acme", Key="2026/new", Body=b"x"),
        lambda: s3.delete_object(Bucket="acme", Key="2026/a"),
    ):
        with pytest.raises(ClientError) as refused:
            forbidden()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
        assert "session policy" in refused.value.response["Error"]["Message"]


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def _changed(path):
    path.write_bytes(path.read_bytes().replace(b'"secret_key":"', b'"secret_kex":"'))


def _readable(path):
    path.chmod(0o644)


def _linked(path):
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


def _folder(path):
    path.unlink()
    path.mkdir()


def _pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def _nested(path):
    path.write_bytes(b"[" * 50_000)


def _elsewhere(path):
    """Another share's entry under this one's name would be another role's session: it is what it says it is."""
    path.write_bytes(b'{"s3pull":1,"kind":"session","expires":1e400,"sealed":true}\n' + path.read_bytes()[-100:])


@pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes are those of POSIX")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_truncated, "is damaged"),
        (_changed, ""),  # well-formed, and no session: silently a miss
        (_readable, "is open to others (mode 0644)"),
        (_linked, "is a symbolic link"),
        (_folder, ""),
        (_pipe, ""),
        (_nested, "is damaged"),
        (_elsewhere, "sealed"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)
def test_a_cache_that_was_tampered_with_is_refused_with_the_reason_and_the_run_goes_on(acme, capsys, spoil, reason):
    assert main(["login", "acme"]) == 0
    entry = next(path for path in acme.cache.iterdir() if b'"secret_key"' in path.read_bytes())
    spoil(entry)
    capsys.readouterr()
    code = main(["get", "acme:a", "one", "-v"])
    err = capsys.readouterr().err
    assert code == 0, err
    assert reason in err
    assert Path("one").read_bytes() == b"body"
    assert acme.aws.count("AssumeRole") == 2


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
def test_another_users_cache_file_is_refused(acme, capsys):
    assert main(["login", "acme"]) == 0
    entry = next(path for path in acme.cache.iterdir() if b'"secret_key"' in path.read_bytes())
    os.chown(entry, 12_345, 12_345)
    capsys.readouterr()
    assert main(["get", "acme:a", "one", "-v"]) == 0
    assert "belongs to" in capsys.readouterr().err
    assert acme.aws.count("AssumeRole") == 2


def test_a_certificate_that_nobody_vouches_for_ends_the_run_before_anything_is_sent(fake_aws_tls, isolated, tmp_path):
    env = fake_aws_tls.env(fake_aws_tls.user(CONSUMER, "ana"))
    del env["AWS_CA_BUNDLE"]
    fake_aws_tls.bucket("acme")
    for args in (["get", "s3://acme/k", "--no-assume", "--region", "us-east-1"], ["status"]):
        done = run_s3pull(args, env, tmp_path)
        assert done.code == 15, done.stderr
        assert "certificate" in done.stderr.lower()
        assert done.tree == {}
    assert fake_aws_tls.requests == []


@pytest.mark.parametrize("option", ["--endpoint-url", "--sts-endpoint-url"])
def test_plain_http_leaves_this_machine_only_where_it_is_allowed(acme, capsys, option):
    # 192.0.2.1 is for documentation: whoever tried it would wait
    code = main(["get", "acme:a", "one", option, "http://192.0.2.1:9"])
    assert code == 2
    assert "--allow-http" in capsys.readouterr().err
    assert acme.aws.requests == []
