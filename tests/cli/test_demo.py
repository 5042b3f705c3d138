"""`s3pull demo`: its stage, its emulator, and the whole of it as a user sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from s3pull.cli.demo import isolated
from s3pull.cli.emulator import BUCKET, ROLE_ARN, USER_ARN, Emulator
from s3pull.objects import Credentials

EXTERNAL_ID = "9f4c2d"


def environment(temporary: Path, **more: str) -> dict[str, str]:
    """A user's environment that would lead astray whoever believed it."""
    return {
        **os.environ,
        "TMPDIR": str(temporary),
        "AWS_PROFILE": "does-not-exist",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "AKIAWRONGWRONGWRONGX",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "S3PULL_ROLE_ARN": "arn:aws:iam::999999999999:role/other",
        **more,
    }


@pytest.fixture
def temporary(tmp_path):
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def aws(temporary):
    with isolated(temporary / "home"), Emulator(EXTERNAL_ID) as emulator:
        emulator.furnish([("2026/a/b.txt", b"hello"), ("2025/secret.txt", b"no")])
        yield emulator


def assume(aws, external_id: str | None) -> Credentials:
    given = {} if external_id is None else {"ExternalId": external_id}
    sts = aws.client("sts", aws.user)
    made = sts.assume_role(RoleArn=ROLE_ARN, RoleSessionName="ana", **given)["Credentials"]
    return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])


def test_the_user_is_who_the_demo_says(aws):
    assert aws.client("sts", aws.user).get_caller_identity()["Arn"] == USER_ARN


@pytest.mark.parametrize("external_id", [None, "other", EXTERNAL_ID.upper()])
def test_the_role_is_given_out_with_its_external_id_only(aws, external_id):
    with pytest.raises(ClientError) as refused:
        assume(aws, external_id)
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_role_reads_its_prefix_and_does_nothing_else(aws):
    s3 = aws.client("s3", assume(aws, EXTERNAL_ID))
    assert s3.get_object(Bucket=BUCKET, Key="2026/a/b.txt")["Body"].read() == b"hello"
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="2026/a/")["KeyCount"] == 1
    for denied in (
        lambda: s3.get_object(Bucket=BUCKET, Key="2025/secret.txt"),
        lambda: s3.put_object(Bucket=BUCKET, Key="2026/x", Body=b"x"),
        lambda: s3.delete_object(Bucket=BUCKET, Key="2026/a/b.txt"),
        lambda: aws.client("s3", aws.user).get_object(Bucket=BUCKET, Key="2026/a/b.txt"),
    ):
        with pytest.raises(ClientError) as refused:
            denied()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_isolation_hides_the_users_settings_and_gives_them_back(temporary, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    monkeypatch.setenv("S3PULL_CONFIG", "/home/ana/config.toml")
    before = dict(os.environ)
    with isolated(temporary / "home"):
        assert not {"AWS_PROFILE", "https_proxy", "S3PULL_CONFIG"} & set(os.environ)
        assert os.environ["HOME"] == str(temporary / "home")
    assert dict(os.environ) == before


@pytest.mark.slow
def test_the_whole_demo(temporary):
    """Every claim is checked by the demo itself; here, that it tells them all and leaves nothing behind."""
    done = subprocess.run(
        [sys.executable, "-m", "s3pull", "demo"],
        env=environment(temporary),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n$ kill -9 " in done.stdout
    assert '"action":"resumed"' in done.stdout.replace('": "', '":"')
    received, size = re.search(r"received ([\d.]+) of ([\d.]+) MiB", done.stdout).groups()
    assert 0 < float(received) < float(size)
    assert "\nPutObject: AccessDenied\n" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_serve_prints_lines_that_work_in_a_shell(temporary, tmp_path):
    """What it prints is pasted into a POSIX shell as it stands."""
    shell_home = tmp_path / "shell"
    shell_home.mkdir()
    command = [sys.executable, "-m", "s3pull", "demo", "--serve"]
    process = subprocess.Popen(command, env=environment(temporary), stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        pasted = "".join(line for line in lines if line.startswith("export "))
        script = f"{pasted}'{sys.executable}' -m s3pull get acme:tables/orders/ got/ && ls got | wc -l"
        clean = {"PATH": os.environ["PATH"], "HOME": str(shell_home)}
        done = subprocess.run(
            ["sh", "-c", script], cwd=shell_home, env=clean, capture_output=True, text=True, timeout=30
        )
        assert done.stdout.split() == ["30"], done.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.wait(20) == 130
    assert list(temporary.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(temporary, tmp_path):
    hidden = tmp_path / "hidden"
    (hidden / "moto").mkdir(parents=True)
    (hidden / "moto" / "__init__.py").write_text("raise ImportError('no moto here', name='moto')")
    done = subprocess.run(
        [sys.executable, "-m", "s3pull", "demo"],
        env={**os.environ, "PYTHONPATH": str(hidden), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "s3pull: the demo needs moto, which is not installed",
        "hint: pip install 's3pull[demo]'",
    ]
    assert list(temporary.iterdir()) == []


def test_temporary_files_go_where_the_demo_thinks(tmp_path):
    """TMPDIR is what the tests above rely on."""
    told = subprocess.run(
        [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert told == str(tmp_path) != tempfile.gettempdir()
