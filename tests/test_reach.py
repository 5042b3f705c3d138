"""The main job where networks are locked down: a proxy that wants a password, a private CA, both; real processes."""

from __future__ import annotations

import pytest

from tests.fakes import FakeProxy
from tests.transcript import run_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"
SECRET = "pr0xy p@ss"
BODY = bytes(range(256)) * 8192


class Reach:
    """A share behind a role, on a service that speaks TLS under a CA of its own."""

    def __init__(self, aws, home):
        self.aws, self.home = aws, home
        self.ana = aws.user(CONSUMER, "ana")
        self.role = aws.role(OWNER, "reader", trust={CONSUMER: "ext-id"})
        aws.bucket("acme-exports", owner=OWNER)
        aws.put("acme-exports", "big", BODY)
        aws.put("acme-exports", "small", b"x")
        self.env = aws.env(self.ana)

    def get(self, *args, **env):
        access = ["--role-arn", self.role, "--external-id", "ext-id"]
        environ = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        return run_s3pull(["get", "s3://acme-exports/", "out", *access, *args], environ, self.home)


@pytest.fixture
def reach(fake_aws_tls, tmp_path):
    return Reach(fake_aws_tls, tmp_path)


def arrived(reach):
    return {path.name: path.read_bytes() for path in (reach.home / "out").iterdir()}


def test_sts_and_s3_go_through_a_proxy_with_a_password_and_the_private_ca_is_trusted(reach):
    with FakeProxy(auth=("ana", SECRET)) as proxy:
        through = f"http://ana:pr0xy%20p%40ss@127.0.0.1:{proxy.port}"
        done = reach.get("-v", HTTPS_PROXY=through, HTTP_PROXY=through)
        assert done.code == 0, done.stderr
        assert arrived(reach) == {"big": BODY, "small": b"x"}
        assert {one.method for one in proxy.requests} == {"CONNECT"}
        assert all(one.admitted for one in proxy.requests)
        # STS is botocore's, objects are our own: both came this way, and nothing came another
        actions = [one.action for one in reach.aws.requests]
        assert "AssumeRole" in actions
        assert "GetObject" in actions
        assert len(proxy.requests) >= 2
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*"])
def test_what_is_not_for_the_proxy_goes_past_it(reach, no_proxy):
    with FakeProxy() as proxy:
        done = reach.get(HTTPS_PROXY=proxy.url, NO_PROXY=no_proxy)
        assert (done.code, proxy.requests) == (0, [])
        assert arrived(reach) == {"big": BODY, "small": b"x"}


def test_a_proxy_that_wants_another_password(reach):
    with FakeProxy(auth=("ana", "right")) as proxy:
        done = reach.get("-v", HTTPS_PROXY=f"http://ana:hunter2@127.0.0.1:{proxy.port}")
    assert done.code == 15
    assert "hint: check HTTPS_PROXY and NO_PROXY" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not any(reach.aws.requests)


def test_a_ca_that_nobody_named(reach):
    done = reach.get(AWS_CA_BUNDLE=None)
    assert done.code == 15
    assert "AWS_CA_BUNDLE" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(reach.aws.requests)


def test_the_ca_of_the_profile(reach, tmp_path):
    (tmp_path / "config").write_text(f"[profile work]\nca_bundle = {reach.aws.ca_file}\n")
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id = {reach.ana.access_key}\naws_secret_access_key = {reach.ana.secret_key}\n"
    )
    done = reach.get(
        "--profile", "work",
        AWS_CA_BUNDLE=None, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None,
        AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert arrived(reach) == {"big": BODY, "small": b"x"}
