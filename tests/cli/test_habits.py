"""Fingers trained elsewhere get our form."""

from __future__ import annotations

import re

import pytest

from s3pull.cli import habits
from s3pull.cli.completions import tree

WRITES = "s3pull only downloads: nothing is ever written to S3"


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        ("cp s3://b/k .", "there is no command 'cp'", "s3pull get s3://b/k ."),
        ("cp --recursive s3://b/p .", "there is no command 'cp'", "s3pull get s3://b/p/ ."),
        ("cp s3://b/p/ . --recursive", "there is no command 'cp'", "s3pull get s3://b/p/ ."),
        ("cp file s3://b/k", "there is no command 'cp'", WRITES),
        ("s3 cp s3://b/k .", "there is no command 's3'", "s3pull get s3://b/k ."),
        ("aws s3 ls s3://b/", "there is no command 'aws'", "s3pull ls s3://b/"),
        ("aws", "there is no command 'aws'", "s3pull --help lists them"),
        ("s3 mb s3://b", "there is no command 's3'", WRITES),
        ("mb s3://b", "there is no command 'mb'", WRITES),
        ("rm s3://b/k", "there is no command 'rm'", WRITES),
        ("put f s3://b/k", "there is no command 'put'", WRITES),
        ("mv s3://b/k .", "there is no command 'mv'", WRITES),
        ("configure", "there is no command 'configure'", "s3pull share add"),
        ("acme:2026/", "there is no command 'acme:2026/'", "to download: s3pull get acme:2026/"),
        ("s3://b/k x", "there is no command 's3://b/k'", "to download: s3pull get s3://b/k x"),
        ("stauts", "there is no command 'stauts'", "did you mean s3pull status?"),
        ("xyzzy", "there is no command 'xyzzy'", "s3pull --help lists them"),
        ("share ad x", "there is no command 'ad'", "did you mean s3pull share add?"),
        ("share cp x", "there is no command 'cp'", "s3pull share --help lists them"),
        ("get a: --recursive", "s3pull get has no option --recursive",
         "a tree needs no option: end the source in / (NAME:path/)"),
        ("get s3://b/k --no-sign-request", "s3pull get has no option --no-sign-request", "here it is --anonymous"),
        ("get a: --dryrun", "s3pull get has no option --dryrun", "here it is --dry-run"),
        ("get a: --bwlimit 5M", "s3pull get has no option --bwlimit", "here it is --limit-rate RATE"),
        ("get a: --resume", "s3pull get has no option --resume",
         "nothing to say: a download that was cut off goes on by itself"),
        ("get s3://b/k --request-payer requester", "--request-payer takes no value",
         "s3pull get s3://b/k --request-payer"),
        ("get s3://b/k --request-payer=requester", "--request-payer takes no value", "s3pull get --request-payer …"),
        ("cp --no-sign-request --dryrun s3://b/k .", "there is no command 'cp'",
         "s3pull get --anonymous --dry-run s3://b/k ."),
        ("aws s3 cp s3://b/k . --request-payer requester", "there is no command 'aws'",
         "s3pull get s3://b/k . --request-payer"),
        ("rclone copy acme:2026/ data --bwlimit 5M", "there is no command 'rclone'",
         "s3pull get acme:2026/ data --limit-rate 5M"),
        ("rclone lsjson acme:", "there is no command 'rclone'", "s3pull ls -r --json acme:"),
        ("s5cmd du s3://b/", "there is no command 's5cmd'", "s3pull ls -r --summarize s3://b/"),
        ("aws s3api get-object --bucket b --key k/x.csv x.csv", "there is no command 'aws'",
         "s3pull get s3://b/k/x.csv x.csv"),
        ("s3api list-objects-v2 --bucket b --prefix k/", "there is no command 's3api'", "s3pull ls -r s3://b/k/"),
        ("s3api head-object --bucket b --key k", "there is no command 's3api'", "s3pull ls -l s3://b/k"),
        ("aws sts get-caller-identity", "there is no command 'aws'", "s3pull status"),
        ("s3api put-object --bucket b --key k", "there is no command 's3api'", WRITES),
        ("version", "there is no command 'version'", "s3pull --version"),
        ("--no-sign-request cp s3://b/k .", "s3pull has no option --no-sign-request",
         "here it is --anonymous, after the command"),
        ("get a: --fast-list", "s3pull get has no option --fast-list",
         "nothing to say: long listings are read by several streams"),
        ("get a: --size-only", "s3pull get has no option --size-only",
         "nothing to say: objects are told apart by ETag, not by size"),
        ("get a: --ignore-existing", "s3pull get has no option --ignore-existing", "here it is --no-clobber"),
        ("sync a: b --ignore-existing", "s3pull sync has no option --ignore-existing",
         "s3pull sync --help lists the options"),
        ("sync a: b --max-duration 1h", "s3pull sync has no option --max-duration", "here it is --deadline SPAN"),
        ("ls a: --human-readable", "s3pull ls has no option --human-readable", "here it is --long"),
        ("sync a: b --sse", "s3pull sync has no option --sse", WRITES),
        ("get a: --ext-id x", "s3pull get has no option --ext-id", "did you mean --external-id?"),
    ],
)  # fmt: skip
def test_hints(run, args, message, hint):
    ran = run(*args.split())
    assert ran.exit == 2
    assert ran.out == ""
    assert ran.err == f"s3pull: {message}\nhint: {hint}\n"


def test_after_two_dashes_a_file_may_be_called_requester(run):
    ran = run("get", "s3://b/k", "--", "--request-payer", "requester")
    assert "unexpected argument 'requester'" in ran.err


def test_a_hint_can_be_pasted(run):
    assert run("cp", "s3://b/a key", "it's").err.endswith("hint: s3pull get 's3://b/a key' 'it'\"'\"'s'\n")


def test_what_the_hints_name_exists():
    """A hint that names an option or a command that is none would be worse than none."""
    nodes = tree()
    options = {name for node in nodes for option in node.options for name in option.names}
    commands = {" ".join(node.path) for node in nodes}
    for there in habits._OPTIONS.values():
        for name in re.findall(r"--[a-z-]+", there):
            assert name in options, there
    for there in habits._COMMANDS.values():
        name = (there or "").partition(" -")[0]
        assert name.startswith("--") or name in commands, there
