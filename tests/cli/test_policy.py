"""`s3pull policy` as a command: what goes to stdout, what to stderr, what is refused, exit codes of `--check`."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

READER = "arn:aws:iam::111111111111:role/readers"
ETL = "arn:aws:iam::222222222222:role/etl"
SECRET = "9f4c-external"
NETWORK = ("--consumer-role", ETL, "--source-ip", "203.0.113.0/24")
OWNERS = Path(__file__).resolve().parents[2] / "docs" / "OWNERS.md"


@pytest.fixture
def acme(run, config):
    """Two shares of one role, one of another, one without a role; no AWS credentials anywhere."""
    for name, *more in (
        ("acme", "s3://acme/2026/", "--role-arn", READER, "--external-id", SECRET),
        ("beta", "s3://beta/", "--role-arn", READER, "--external-id", SECRET),
        ("gamma", "s3://gamma/", "--role-arn", READER.replace("readers", "others")),
        ("plain", "s3://plain/a/", "--no-assume", "--bucket-owner", "111111111111"),
        (
            "inside",
            "s3://acme/",
            "--role-arn",
            READER,
            "--endpoint-url",
            "https://vpce-0a1b.s3.eu-west-1.vpce.amazonaws.com",
        ),
    ):
        assert run("share", "add", name, *more).exit == 0
    return run


def test_stdout_is_the_document_and_nothing_else(acme):
    ran = acme("policy", "acme", "--consumer-role", ETL, "--kind", "trust")
    assert ran.exit == 0
    assert [one["Action"] for one in json.loads(ran.out)["Statement"]] == ["sts:AssumeRole", "sts:SetSourceIdentity"]
    assert "--recreate-safe" in ran.err
    assert SECRET in ran.out
    assert SECRET not in ran.err


def test_all_is_an_object_by_kind(acme):
    found = json.loads(acme("policy", "acme:", "--consumer-role", ETL).out)
    assert list(found) == ["trust", "role", "bucket", "consumer", "session", "cloudtrail"]
    assert list(found["cloudtrail"]) == ["AdvancedEventSelectors", "AthenaQuery"]
    several = json.loads(acme("policy", "acme", "beta", "--consumer-role", ETL).out)
    assert list(several) == ["trust", "role", "bucket", "consumer", "cloudtrail"]
    assert list(several["bucket"]) == ["acme", "beta"]


def test_without_a_share(acme):
    place = ("--bucket", "acme", "--prefix", "2026/", "--role-arn", READER, "--external-id", SECRET)
    assert acme("policy", *place, "--consumer-role", ETL).out == acme("policy", "acme", "--consumer-role", ETL).out


def test_a_new_external_id_each_time(acme):
    def made():
        ran = acme("policy", "gamma", "--consumer-role", ETL, "--kind", "trust", "--new-external-id")
        return json.loads(ran.out)["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]

    first, second = made(), made()
    assert re.fullmatch(r"[0-9a-f]{40}", first)
    assert first != second


def test_the_bare_query(acme):
    ran = acme("policy", "acme", "--kind", "cloudtrail", "--format", "sql")
    assert ran.out.startswith("SELECT ")
    assert READER in ran.out


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        ((), "what is granted", "share"),
        (("nobody",), "no share", "lists them"),
        (("acme", "--bucket", "x-1"), "contradict", "give one"),
        (("acme", "gamma"), "different roles", "each role"),
        (("plain", "--kind", "trust"), "no role", "--kind bucket"),
        (("--bucket", "x-1"), "no role", "--direct"),
        (("acme",), "who the consumer is", "s3pull status"),
        (("acme", "--consumer-role", ETL, "--kind", "key"), "no key", "--kms-key"),
        (("acme", "beta", "--kind", "session"), "of its own", "one share"),
        (("acme", *NETWORK, "--source-vpce", "vpce-0a1b2c3d"), "absent", "alone"),
        (("inside", *NETWORK), "through a VPC endpoint", "--source-vpce"),
        (("acme", "--consumer-role", "arn:aws:sts::222222222222:assumed-role/etl/ana"), "a session", ETL),
        (("acme", "--external-id", "spaces are not allowed"), "--external-id", "letters"),
        (("acme", "--consumer-role", ETL, "--format", "sql"), "cloudtrail", ""),
        (("acme", "--consumer-role", ETL, "--kind", "session", "--format", "terraform"), "no resource", "json"),
        (("acme", "--kind", "everything"), "--kind", ""),
    ],
)  # fmt: skip
def test_what_is_refused(acme, args, message, hint):
    ran = acme("policy", *args)
    assert ran.exit in (2, 4)
    assert ran.out == ""
    assert message in ran.err
    assert hint in ran.err
    assert "spaces are not" not in ran.err


def test_no_assume_means_direct(acme):
    found = json.loads(acme("policy", "plain", "--consumer-role", ETL).out)
    assert list(found) == ["bucket", "consumer", "cloudtrail"]
    assert [one["Sid"] for one in found["bucket"]["Statement"]] == ["Read", "List", "DenyInsecureTransport"]


# --- check ------------------------------------------------------------------------------------------------


def test_what_is_printed_checks_clean(acme, tmp_path):
    for name in ("acme", "plain"):
        (tmp_path / "all.json").write_text(acme("policy", name, "--consumer-role", ETL).out)
        ran = acme("policy", name, "--consumer-role", ETL, "--check", "all.json")
        assert (ran.exit, ran.out) == (0, "")
        assert "nothing is missing" in ran.err


def test_findings_and_their_exit_code(acme, tmp_path):
    document = json.loads(acme("policy", "acme", "--consumer-role", ETL, "--kind", "role").out)
    document["Version"] = "2012 - 10 - 17"
    (tmp_path / "role.json").write_text(json.dumps(document))
    wide = json.loads(acme("policy", "acme", "--consumer-role", ETL, "--kind", "trust").out)
    wide["Statement"][0].pop("Condition")
    (tmp_path / "trust.json").write_text(json.dumps(wide))
    check = ("policy", "acme", "--consumer-role", ETL, "--check")

    ran = acme(*check, "role.json", "trust.json")
    assert ran.exit == 6
    first, hint, second, *_ = ran.out.splitlines()
    assert first == 'missing: role.json (role): AWS refuses the version "2012 - 10 - 17"'
    assert '"2012-10-17"' in hint
    assert second.startswith("wide: trust.json (trust): the role can be assumed without an external ID")
    assert ran.err == "s3pull: 2 policies checked (role, trust): 1 missing, 1 wide\n"

    assert acme(*check, "trust.json").exit == 0
    lines = [json.loads(line) for line in acme(*check, "role.json", "--check", "trust.json", "--json").out.splitlines()]
    assert [(one["event"], one.get("level")) for one in lines] == [
        ("finding", "missing"),
        ("finding", "wide"),
        ("summary", None),
    ]
    assert (lines[-1]["missing"], lines[-1]["wide"], lines[-1]["exit"]) == (1, 1, 6)


def test_what_is_missing_is_shown_as_it_should_be(acme, tmp_path):
    document = json.loads(acme("policy", "acme", "--consumer-role", ETL, "--kind", "role").out)
    gone = document["Statement"].pop()
    (tmp_path / "role.json").write_text(json.dumps(document))
    lines = acme("policy", "acme", "--consumer-role", ETL, "--check", "role.json").out.splitlines()
    shown = next(line for line in lines if line.startswith("  statement: "))
    assert json.loads(shown.removeprefix("  statement: ")) == gone


def test_what_is_no_policy_cannot_be_checked(acme, tmp_path):
    (tmp_path / "trust.json").write_text(acme("policy", "acme", "--consumer-role", ETL, "--kind", "trust").out)
    ran = acme("policy", "acme", "--consumer-role", ETL, "--check", "trust.json", "--kind", "cloudtrail")
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.startswith("s3pull: --kind cloudtrail is no policy that could be checked\nhint: ")
    as_role = acme("policy", "acme", "--consumer-role", ETL, "--check", "trust.json", "--kind", "role")
    assert as_role.exit == 6
    assert "has a Principal: AWS refuses it" in as_role.out


@pytest.mark.parametrize(("content", "code"), [(None, 2), ("{", 2), ("{}", 2)])
def test_files_that_are_none(acme, tmp_path, content, code):
    if content is not None:
        (tmp_path / "p.json").write_text(content)
    assert acme("policy", "acme", "--consumer-role", ETL, "--check", "p.json").exit == code


# --- the owner's side needs no credentials ----------------------------------------------------------------


def test_the_lines_of_the_owners_page_work_without_credentials(run, config, tmp_path, monkeypatch):
    """In order, with what they write to files; status, get and import are the consumer's."""
    text = OWNERS.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("s3pull ")]
    done = 0
    for line in lines:
        words, _, file = line.partition(" > ")
        args = shlex.split(words)[1:]
        if args[0] in {"status", "get"} or args[:2] == ["share", "import"]:
            continue
        ran = run(*args)
        assert ran.exit == 0, (line, ran.err)
        if file:
            (tmp_path / file).write_text(ran.out)
        done += 1
    assert done >= 15
    assert "9f4c" not in (tmp_path / "acme.toml").read_text()
    assert 'external_id = "77ab"' in (tmp_path / "acme.toml").read_text()
