"""Other programs read a share through a profile that `share export --aws-profile --write` wrote: with the narrowed,
cached session, and with nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

import s3pull
from tests.apart import apart
from tests.partner import BUCKET, PREFIX, REPORT
from tests.servers import tool
from tests.transcript import run_s3pull

URL = f"s3://{BUCKET}/{PREFIX}2026/"
#: a bucket of the same owner that the role could read, too, and the share does not
BESIDE = f"s3://{BUCKET}/other/secret.csv"


class Tools:
    """Programs with ana's own keys in the default profile, and the share as profile `acme`."""

    def __init__(self, partner, monkeypatch):
        self.partner = partner
        aws = partner.home / ".aws"
        aws.mkdir()
        self.config = aws / "config"
        self.config.write_text("[default]\nregion = us-east-1\n")
        (aws / "credentials").write_text(
            f"[default]\naws_access_key_id = {partner.ana.access_key}\n"
            f"aws_secret_access_key = {partner.ana.secret_key}\n"
        )
        for name in list(os.environ):
            if name.startswith("AWS_") and ("KEY" in name or "FILE" in name):
                monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", partner.aws.url)
        partner.put_release()
        partner.aws.put(BUCKET, "other/secret.csv", b"secret")
        partner.share("over", endpoint_url=partner.aws.url)
        done = run_s3pull(["share", "export", "acme", "--aws-profile", "--write"], {}, partner.home)
        assert done.code == 0, done.stderr

    def run(self, *command, **env):
        return subprocess.run(
            command, env={**os.environ, **env}, cwd=self.partner.home, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def tools(partner, monkeypatch):
    return Tools(partner, monkeypatch)


def aws_clis():
    """Every aws-cli here: the first on PATH, and the system's own."""
    found = {
        os.path.realpath(path): path for path in (shutil.which("aws"), "/usr/bin/aws") if path and os.path.exists(path)
    }
    return sorted(found.values()) or [pytest.param("aws", marks=pytest.mark.skip(reason="there is no aws-cli here"))]


@pytest.mark.slow
@pytest.mark.parametrize("aws", aws_clis())
def test_aws_cli(tools, aws):
    here = ("--endpoint-url", tools.partner.aws.url)  # older ones know no AWS_ENDPOINT_URL_S3
    listed = tools.run(aws, *here, "s3", "ls", URL, "--profile", "acme")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {line.split()[-1] for line in listed.stdout.splitlines()} == {"deep/", "prices.parquet", "report.csv"}
    got = tools.run(aws, *here, "s3", "cp", URL + "report.csv", "-", AWS_PROFILE="acme")
    assert (got.returncode, got.stdout) == (0, REPORT.decode())
    refused = tools.run(aws, *here, "s3", "cp", BESIDE, "-", "--profile", "acme")
    assert (refused.returncode != 0, refused.stdout, "403" in refused.stderr) == (True, "", True)
    assert tools.partner.assumed == 1


@pytest.mark.slow
def test_aws_cli_with_the_variables_of_credentials(tools):
    """The other way: no profile, a shell's environment."""
    aws = aws_clis()[-1]
    if not isinstance(aws, str):
        pytest.skip("there is no aws-cli here")
    said = run_s3pull(["credentials", "acme", "--format", "env"], {}, tools.partner.home).stdout
    keys = dict(line.removeprefix("export ").split("=", 1) for line in said.splitlines())
    got = tools.run(aws, "--endpoint-url", tools.partner.aws.url, "s3", "cp", URL + "report.csv", "-", **keys)
    assert (got.returncode, got.stdout) == (0, REPORT.decode())


@pytest.mark.slow
def test_s5cmd(tools):
    here = (tool("s5cmd"), "--endpoint-url", tools.partner.aws.url)
    env = {"AWS_PROFILE": "acme"}
    got = tools.run(*here, "cat", URL + "report.csv", **env)
    assert (got.returncode, got.stdout) == (0, REPORT.decode())
    refused = tools.run(*here, "cat", BESIDE, **env)
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert tools.partner.assumed == 1


@pytest.mark.slow
def test_rclone(tools):
    remote = f":s3,provider=Other,list_version=2,env_auth,force_path_style,endpoint='{tools.partner.aws.url}':"
    here = (tool("rclone"), "--config", os.devnull, "--s3-no-check-bucket")
    got = tools.run(*here, "cat", f"{remote}{BUCKET}/{PREFIX}2026/report.csv", AWS_PROFILE="acme")
    assert (got.returncode, got.stdout) == (0, REPORT.decode()), got.stderr
    refused = tools.run(*here, "--retries", "1", "cat", f"{remote}{BUCKET}/other/secret.csv", AWS_PROFILE="acme")
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert tools.partner.assumed == 1


@pytest.mark.slow
def test_boto3_and_polars(tools):
    import boto3

    session = boto3.Session(profile_name="acme")
    client = session.client("s3", endpoint_url=tools.partner.aws.url)
    try:
        assert client.get_object(Bucket=BUCKET, Key=f"{PREFIX}2026/report.csv")["Body"].read() == REPORT
    finally:
        client.close()
    read = """
import polars
options = {"aws_endpoint_url": sys.argv[2], "aws_allow_http": "true", "aws_region": "us-east-1"}
keys = polars.CredentialProviderAWS(profile_name="acme")
print(polars.scan_parquet(sys.argv[1], storage_options=options, credential_provider=keys).collect()["price"].sum())
"""
    assert apart(read, URL + "*.parquet", tools.partner.aws.url) == "60\n"
    assert tools.partner.assumed == 1


@pytest.mark.slow
def test_a_profile_keeps_the_endpoint_of_its_share(tools, monkeypatch):
    """Newer botocore reads endpoint_url from the profile; nothing else says where the service is."""
    import boto3

    done = run_s3pull(["share", "export", "over", "--aws-profile", "--write"], {}, tools.partner.home)
    assert done.code == 0, done.stderr
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    client = boto3.Session(profile_name="over").client("s3")
    try:
        assert client.get_object(Bucket=BUCKET, Key=f"{PREFIX}2026/report.csv")["Body"].read() == REPORT
    finally:
        client.close()


def test_the_profile_of_a_tool_is_not_s3pull_s_own(tools):
    """`export AWS_PROFILE=acme` is how tools are used: the command behind the profile must not ask itself for keys."""
    done = run_s3pull(["credentials", "acme"], {"AWS_PROFILE": "acme"}, tools.partner.home)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["Version"] == 1
    for args, env in ((["ls", "acme:"], {"AWS_PROFILE": "acme"}), (["ls", "acme:", "--profile", "acme"], {})):
        done = run_s3pull(args, env, tools.partner.home)
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr == (
            "s3pull: AWS profile 'acme' gets its keys from s3pull: s3pull itself needs other ones\n"
            "hint: unset AWS_PROFILE, or --profile NAME with your own credentials\n"
        )
    with pytest.raises(s3pull.errors.UsageError, match="needs other ones"):
        s3pull.pull("acme:2026/", profile="acme")
    assert tools.partner.aws.sessions()[0].role.arn == tools.partner.role


def test_a_share_of_an_aws_profile_reads(tools):
    """And back: a profile with a role, made for the AWS CLI, becomes a share that works."""
    with tools.config.open("a") as file:
        file.write(
            f"\n[profile reader]\nrole_arn = {tools.partner.role}\nexternal_id = external-id-9f4c1d\n"
            "source_profile = default\nregion = us-east-1\n"
        )
    args = ["share", "import", "--aws-profile", "reader", "--bucket", BUCKET, "--prefix", PREFIX]
    assert run_s3pull(args, {}, tools.partner.home).code == 0
    done = run_s3pull(["cat", "reader:2026/report.csv"], {}, tools.partner.home)
    assert (done.code, done.stdout) == (0, REPORT.decode())
    assert tools.partner.assumed == 1


def test_the_consumer_is_who_the_owner_thinks(tools):
    """One session name wherever the share is read: the owner's CloudTrail tells one person, not one tool each."""
    run_s3pull(["credentials", "acme"], {"AWS_PROFILE": "acme"}, tools.partner.home)
    (session,) = tools.partner.aws.sessions()
    assert session.name == "ana"
