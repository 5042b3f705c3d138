"""Hints for fingers that were trained on `aws s3`, `s5cmd`, `rclone` and `gsutil`: what is it called here.

Pure: command lines in, errors out. Every usage error that typer's parser raises gets its words here, too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise

from s3pull.errors import UsageError

#: commands elsewhere -> what to type here; None: it would write to S3
_COMMANDS: dict[str, str | None] = {
    "cp": "get",
    "copy": "get",
    "copyto": "get",
    "download": "get",
    "pull": "get",
    "fetch": "get",
    "dir": "ls",
    "list": "ls",
    "lsf": "ls -r",
    "lsd": "ls",
    "lsl": "ls -r -l",
    "lsjson": "ls -r --json",
    "tree": "ls -r",
    "list-objects": "ls -r",
    "list-objects-v2": "ls -r",
    "du": "ls -r --summarize",
    "size": "ls -r --summarize",
    "stat": "ls -l",
    "head": "ls -l",
    "head-object": "ls -l",
    "get-object": "get",
    "md5sum": "lock",
    "sha1sum": "lock",
    "hashsum": "lock",
    "configure": "share add",
    "config": "share add",
    "assume": "login",
    "check": "verify",
    "whoami": "status",
    "get-caller-identity": "status",
    "assume-role": "login",
    "version": "--version",
    "help": "--help",
    **dict.fromkeys(
        ("put", "upload", "mv", "move", "rm", "delete", "del", "purge", "mb", "rb", "mkdir", "rmdir", "touch", "rcat",
         "presign", "website", "restore", "put-object", "delete-object", "delete-objects", "bisync", "cleanup",
         "rmdirs", "copy-object", "restore-object")
    ),
}  # fmt: skip
_TOOLS = frozenset({"s3", "s3api", "sts", "aws", "s5cmd", "rclone", "gsutil"})
_WRITES = "s3pull only downloads: nothing is ever written to S3"
_PRIVATE_CA = "for a private CA set AWS_CA_BUNDLE; certificates are always checked"
_NOTHING = "nothing to say"

#: options elsewhere -> what to do here
_OPTIONS = {
    "--recursive": "a tree needs no option: end the source in / (NAME:path/)",
    "--no-sign-request": "--anonymous",
    "--unsigned": "--anonymous",
    "--dryrun": "--dry-run",
    "--only-show-errors": "--quiet",
    "--no-verify-ssl": _PRIVATE_CA,
    "--insecure": _PRIVATE_CA,
    "--no-check-certificate": _PRIVATE_CA,
    "--ca-bundle": "set AWS_CA_BUNDLE",
    "--ca-cert": "set AWS_CA_BUNDLE",
    "--debug": "--verbose",
    "--log-level": "--verbose",
    "--stats": "--progress",
    "--human-readable": "--long",
    "--output": "--json",
    "--no-check-bucket": f"{_NOTHING}: buckets are never made",
    "--s3-no-check-bucket": f"{_NOTHING}: buckets are never made",
    "--source-region": "--region",
    "--endpoint": "--endpoint-url",
    "--concurrency": "--jobs N",
    "--numworkers": "--jobs N",
    "--transfers": "--jobs N",
    "--checkers": "--jobs N",
    "--multi-thread-streams": f"{_NOTHING}: large objects come over several connections",
    "--part-size": f"{_NOTHING}: large objects come over several connections",
    "--fast-list": f"{_NOTHING}: long listings are read by several streams",
    "--page-size": f"{_NOTHING}: pages have 1,000 keys",
    "--bwlimit": "--limit-rate RATE",
    "--max-bandwidth": "--limit-rate RATE",
    "--no-progress-bar": "--no-progress",
    "--expected-bucket-owner": "--bucket-owner ID",
    "--role-session-name": "--session-name NAME",
    "--duration-seconds": "--duration 1h",
    "--serial-number": "--mfa-serial ARN",
    "--force": "--overwrite",
    "--no-overwrite": "--no-clobber",
    "--ignore-existing": "--no-clobber",
    "--files-from": "--from-file LIST",
    "--filter": "--include PATTERN, --exclude PATTERN",
    "--delete-before": "--delete",
    "--delete-after": "--delete",
    "--delete-during": "--delete",
    "--max-duration": "--deadline SPAN",
    "--retries": f"{_NOTHING}: what can be tried again is, for a while",
    "--retry-count": f"{_NOTHING}: what can be tried again is, for a while",
    "--low-level-retries": f"{_NOTHING}: what can be tried again is, for a while",
    "--resume": f"{_NOTHING}: a download that was cut off goes on by itself",
    "--continue": f"{_NOTHING}: a download that was cut off goes on by itself",
    **dict.fromkeys(
        ("--exact-timestamps", "--if-source-newer", "--update", "--ignore-times", "--modify-window"),
        f"{_NOTHING}: objects are told apart by ETag, not by time",
    ),
    **dict.fromkeys(
        ("--size-only", "--if-size-differ", "--checksum"), f"{_NOTHING}: objects are told apart by ETag, not by size"
    ),
    **dict.fromkeys(
        (
            "--acl",
            "--sse",
            "--storage-class",
            "--content-type",
            "--cache-control",
            "--metadata",
            "--metadata-directive",
        ),
        _WRITES,
    ),
}
_WITH_SYNC = frozenset({"cp", "copy"})


def no_such_command(path: str, name: str, args: Sequence[str], known: Iterable[str]) -> UsageError:
    """The error for a command that does not exist. `path` is what stands before it: `s3pull` or `s3pull share`."""
    known = list(known)
    message = f"there is no command {name!r}"
    if path == "s3pull":
        if name in _TOOLS and args:
            rest = args[1:] if name == "aws" and args[0] in _TOOLS else args
            inner, *tail = rest or ("ls",)
            return UsageError(message, hint=_here(inner, tail, known))
        if name in _COMMANDS:
            return UsageError(message, hint=_here(name, args, known))
        if name.startswith("s3://") or ":" in name:
            return UsageError(message, hint=f"to download: {_line('s3pull', 'get', name, *args)}")
    close = get_close_matches(name, known)
    return UsageError(message, hint=f"did you mean {path} {close[0]}?" if close else f"{path} --help lists them")


def _here(name: str, args: Sequence[str], known: Iterable[str]) -> str:
    """The line to type instead, without the options that are not needed here."""
    if name in known:
        return _line("s3pull", name, *_kept(args))
    command = _COMMANDS.get(name, "")
    if command is None:
        return _WRITES
    if not command:
        return "s3pull --help lists the commands"
    args = _without_api_form(args)
    places = [arg for arg in args if not arg.startswith("-")]
    if command == "get" and len(places) > 1 and places[-1].startswith("s3://"):
        return _WRITES
    kept = _kept(args)
    if name in _WITH_SYNC and "--recursive" in args and places and not places[0].endswith("/"):
        kept = [arg + "/" if arg == places[0] else arg for arg in kept]
    return _line("s3pull", *command.split(), *kept)


def _without_api_form(args: Sequence[str]) -> Sequence[str]:
    """`--bucket b --key k` of `aws s3api` as a source."""
    given = dict(pairwise(args))
    bucket = given.get("--bucket")
    if bucket is None:
        return args
    key = given.get("--key", given.get("--prefix", ""))
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word in ("--bucket", "--key", "--prefix"):
            next(words, None)
        else:
            rest.append(word)
    return [f"s3://{bucket}/{key}", *rest]


def _kept(args: Sequence[str]) -> list[str]:
    """`args` with the names that options have here; what needs no option here is left out, what is unknown stays."""
    kept = []
    for before, arg in zip(["", *args], args, strict=False):
        ours = _OPTIONS.get(arg, arg)
        if arg == "--recursive" or (before == "--request-payer" and arg == "requester"):
            continue
        kept.append(ours.split()[0] if ours.startswith("--") else arg)
    return kept


def _line(*words: str) -> str:
    return shlex.join(words)


def check_arguments(command: str, args: Sequence[str]) -> None:
    """Refuse what would parse and mean something else. `--request-payer requester` would name a file `requester`."""
    for option, value in pairwise(args):
        if option == "--":
            return
        if option == "--request-payer" and value == "requester":
            raise UsageError(
                "--request-payer takes no value",
                hint=_line("s3pull", command, *(arg for arg in args if arg != "requester")),
            )


def wrong_option(name: str, known: Iterable[str], command: str) -> UsageError:
    """The error for an option that `command` (`s3pull get`) does not have."""
    name = name.partition("=")[0]
    known = [option for option in known if option.startswith("--")]
    there = _OPTIONS.get(name)
    close = get_close_matches(name, known, n=1)
    if there is not None and there.startswith("--") and command == "s3pull":
        hint = f"here it is {there}, after the command"
    elif there is not None and (not there.startswith("--") or there.split()[0] in known):
        hint = there if not there.startswith("--") else f"here it is {there}"
    elif close:
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"{command} --help lists the options"
    return UsageError(f"{command} has no option {name}", hint=hint)


def misused_option(name: str, message: str, command: str) -> UsageError:
    """The error for an option with a value too many or too few. `message` is the parser's own."""
    if name == "--request-payer":
        return UsageError("--request-payer takes no value", hint=f"{command} --request-payer …")
    lacks = "requires" in message
    return UsageError(
        f"{name} needs a value" if lacks else f"{name} takes no value", hint=f"{command} --help lists the options"
    )
