"""`s3pull share export --aws-profile` and `share import --aws-profile`, from the outside."""

from __future__ import annotations

import shlex
import sys
import tomllib

import pytest

from s3pull.access.awsconfig import MARK
from s3pull.cli import terminal

ROLE = "arn:aws:iam::111122223333:role/acme-readers"
WORK = f"""\
[default]
region = eu-west-1

[profile acme-reader]
role_arn = {ROLE}
external_id = 9f4c-very-secret
source_profile = default
output = json
"""


@pytest.fixture
def acme(run, config):
    assert run("share", "add", "acme", "s3://acme-exports/2026/", "--role-arn", ROLE, "--region", "eu-west-1").exit == 0
    return config


@pytest.fixture
def aws_config(isolated):
    path = isolated / ".aws" / "config"
    path.parent.mkdir()
    path.write_text(WORK)
    return path


def shares(config):
    return tomllib.loads(config.read_text())["shares"]


def profile(name, config):
    program = shlex.join([sys.executable, "-m", "s3pull"])
    return (
        f"[profile {name}]\n{MARK} acme --aws-profile\n"
        f"credential_process = {program} --config {config} credentials acme\nregion = eu-west-1\n"
    )


@pytest.fixture(autouse=True)
def started_as_a_module(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/x/s3pull/__main__.py"])


def test_it_is_printed_and_nothing_is_written(run, acme, aws_config):
    ran = run("share", "export", "acme", "--aws-profile")
    assert (ran.exit, ran.out) == (0, profile("acme", acme))
    assert ran.err == (
        f"s3pull: for {aws_config}: --write puts it there\nhint: aws s3 ls s3://acme-exports/2026/ --profile acme\n"
    )
    assert aws_config.read_text() == WORK


@pytest.mark.parametrize("args", [["--aws-profile", "other"], ["--aws-profile=other"]])
def test_it_may_be_called_otherwise(run, acme, args):
    assert run("share", "export", "acme", *args).out == profile("other", acme)


def test_an_option_after_it_is_no_name(run, acme):
    assert run("share", "export", "acme", "--aws-profile", "--config", str(acme)).out == profile("acme", acme)
    assert run("share", "export", "--aws-profile", "--", "acme").out == profile("acme", acme)


def test_written_again_and_taken_back_to_what_it_was(run, acme, aws_config):
    ran = run("share", "export", "acme", "--aws-profile", "--write")
    assert (ran.exit, ran.out) == (0, "")
    assert ran.err.startswith(f"s3pull: AWS profile acme in {aws_config} reads acme\n")
    assert aws_config.read_text() == f"{WORK}\n{profile('acme', acme)}"
    assert run("share", "export", "acme", "--aws-profile", "--write").exit == 0
    assert aws_config.read_text() == f"{WORK}\n{profile('acme', acme)}"


def test_a_profile_of_somebody_else_stays(run, acme, aws_config):
    ran = run("share", "export", "acme", "--aws-profile", "acme-reader", "--write")
    assert (ran.exit, aws_config.read_text()) == (2, WORK)
    assert ran.err == (
        "s3pull: there is an AWS profile 'acme-reader' that s3pull did not write\n"
        "hint: choose another name, or --replace replaces its settings\n"
    )
    assert run("share", "export", "acme", "--aws-profile", "acme-reader", "--write", "--replace").exit == 0
    assert aws_config.read_text().endswith(f"region = eu-west-1\n\n{profile('acme-reader', acme)}")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["acme", "--write"], "s3pull: --write and --replace go with --aws-profile\n"),
        (["acme", "--aws-profile", "default"], "s3pull: AWS profile 'default' is where your own credentials come from"),
        (["acme", "--aws-profile", "a b"], "s3pull: 'a b' cannot be the name of an AWS profile\n"),
        (["acme:x", "--aws-profile"], "s3pull: 'acme:x' is not the name of a share\n"),
        (["--aws-profile", "acme"], "s3pull: NAME is missing\n"),
    ],
)
def test_what_cannot_be_meant(run, acme, aws_config, args, said):
    ran = run("share", "export", *args)
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.startswith(said)
    assert aws_config.read_text() == WORK


def test_no_such_share(run, acme):
    assert run("share", "export", "acne", "--aws-profile").exit == 4


# --- import -----------------------------------------------------------------------------------------------


def test_a_share_of_an_aws_profile(run, config, aws_config):
    ran = run("share", "import", "--aws-profile", "acme-reader", "--bucket", "acme-exports", "--prefix", "2026/")
    assert ran.exit == 0
    assert shares(config) == {
        "acme-reader": {
            "bucket": "acme-exports",
            "prefix": "2026/",
            "role_arn": ROLE,
            "external_id": "9f4c-very-secret",
            "profile": "default",
        }
    }
    assert ran.err.splitlines()[0] == (
        "s3pull: not taken from AWS profile 'acme-reader', a share has no place for it: output"
    )
    assert f"share acme-reader (new)\n  bucket = acme-exports\n  prefix = 2026/\n  role_arn = {ROLE}\n" in ran.err


def test_it_is_asked_where_it_is(run, config, aws_config, monkeypatch):
    asked = []

    def answer(question):
        asked.append(question)
        return "s3://acme-exports/2026/"

    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", answer)
    assert run("share", "import", "--aws-profile", "acme-reader", "--name", "acme").exit == 0
    assert shares(config)["acme"]["bucket"] == "acme-exports"
    assert shares(config)["acme"]["prefix"] == "2026/"
    assert asked == ["which bucket and prefix does AWS profile 'acme-reader' read (s3://bucket/prefix/)?"]


def test_a_name_that_is_taken_needs_a_yes(headless, config, aws_config):
    wanted = ["share", "import", "--aws-profile", "acme-reader", "--bucket", "acme-exports", "--name", "acme"]
    assert headless(*wanted).exit == 0
    again = headless(*wanted)
    assert (again.exit, "--yes says yes" in again.err) == (2, True)
    assert headless(*wanted, "--yes").exit == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "s3pull: share import needs a FILE or --aws-profile\n"),
        (["x.toml", "--aws-profile", "acme-reader"], "s3pull: share import needs a FILE or --aws-profile\n"),
        (["x.toml", "--bucket", "b-1"], "s3pull: --bucket, --access-point and --prefix go with --aws-profile\n"),
        (
            ["--aws-profile", "acme-reader"],
            "s3pull: AWS profile 'acme-reader' does not say which bucket\nhint: --bucket NAME and --prefix TEXT do\n",
        ),
        (
            ["--aws-profile", "acme-raeder", "--bucket", "b-1"],
            "s3pull: no AWS profile 'acme-raeder'\nhint: did you mean acme-reader?\n",
        ),
        (["--aws-profile", "default", "--bucket", "b-1"], "s3pull: AWS profile 'default' has no role_arn\n"),
        (["--aws-profile", "acme-reader", "--bucket", "B!"], "s3pull: --bucket "),
        (["--aws-profile", "acme-reader", "--bucket", "b-1", "--access-point", "arn:x"], "s3pull: the share has both"),
        (["--aws-profile", "acme-reader", "--bucket", "b-1", "--name", "A"], "s3pull: the share has a name"),
    ],
)
def test_what_is_no_import(headless, config, aws_config, args, said):
    ran = headless("share", "import", *args)
    assert ran.exit == 2
    assert ran.err.startswith(said), ran.err
    assert not config.exists()


def test_an_aws_profile_that_says_nonsense_is_named(headless, config, aws_config):
    aws_config.write_text(WORK.replace(ROLE, "arn:nonsense"))
    ran = headless("share", "import", "--aws-profile", "acme-reader", "--bucket", "b-1")
    assert ran.err.splitlines()[0].startswith("s3pull: AWS profile 'acme-reader': role_arn ")
