"""`s3pull demo`: the main job, shown on two emulated accounts; needs no AWS account and no network.

Every step that it shows is an `s3pull` command in a process of its own, as a user would type it, and what it claims
is checked: a step that goes otherwise ends the demo with an error. All files lie in one temporary folder, which goes
when the demo ends; the user's own configuration, credentials, keyring and proxies are neither read nor written.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

from s3pull.cli.command import App, Option, command
from s3pull.cli.emulator import BUCKET, CONSUMER, OWNER, REGION, ROLE_ARN, USER_ARN, Emulator
from s3pull.errors import S3pullError
from s3pull.objects import Credentials

app = App()

MIB = 1 << 20
LARGE, LARGE_SIZE = "2026/model.bin", 64 * MIB
SMALL_COUNT = 90
#: bytes a second of the attempt that is killed: without a limit it would be over before anybody could kill it
RATE = 16 * MIB
PATIENCE = 30.0


@command(app)
def demo(
    serve: Annotated[
        bool, Option("--serve", help="Keep the two accounts up, and print the lines to paste into a shell.")
    ] = False,
) -> int:
    """Show a cross-account download on this machine: assume, pull, kill, resume, verify.

    Runs a small AWS emulator with two accounts in a temporary folder. Needs the extra `demo`, and no AWS account.
    """
    external_id = secrets.token_hex(16)
    temporary = tempfile.TemporaryDirectory(prefix="s3pull-demo-", ignore_cleanup_errors=os.name == "nt")
    with temporary as folder, isolated(Path(folder) / "home"), Emulator(external_id) as aws:
        objects = dict(_objects())
        aws.furnish(objects.items())
        stage = Stage(Path(folder), aws)
        stage.write_share_file(external_id)
        if serve:
            _serve(stage)
        _show(stage, objects)
    return 0


@contextmanager
def isolated(home: Path) -> Iterator[None]:
    """This process and its children, with `home` for a home and no variable of AWS, s3pull or a proxy."""
    before = dict(os.environ)
    home.mkdir()
    for name in before:
        if name.upper().startswith(("AWS_", "S3PULL_", "XDG_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(home)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Stage:
    """The consumer's machine: a working folder, settings, and `s3pull` run with them."""

    def __init__(self, folder: Path, aws: Emulator) -> None:
        self.aws = aws
        home = folder / "home"
        self.work = folder / "work"
        self.work.mkdir()
        self.share_file = self.work / "acme.toml"
        assert aws.user is not None
        self.settings = {
            "AWS_ACCESS_KEY_ID": aws.user.access_key,
            "AWS_SECRET_ACCESS_KEY": aws.user.secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_CONFIG_FILE": str(home / "no-aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-aws-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3PULL_CONFIG": str(home / "config.toml"),
            "S3PULL_CACHE_DIR": str(home / "cache"),
            "S3PULL_CACHE": "file",
        }

    def write_share_file(self, external_id: str) -> None:
        """What a data owner sends."""
        lines = {"bucket": BUCKET, "prefix": "2026/", "role_arn": ROLE_ARN, "external_id": external_id}
        text = "".join(f'{name} = "{value}"\n' for name, value in {**lines, "region": REGION}.items())
        self.share_file.write_text(f"[shares.acme]\n{text}", encoding="utf-8")

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Run `s3pull` with these arguments; what it says goes where we say ours."""
        say(f"\n$ s3pull {' '.join(arguments)}")
        argv = [sys.executable, "-m", "s3pull", *arguments]
        return subprocess.Popen(argv, cwd=self.work, env=os.environ | self.settings, text=True, **options)

    def run(self, *arguments: str, exits: int = 0, capture: bool = False) -> str:
        """Run `s3pull` to its end, which must be `exits`; returns its stdout where that is captured."""
        with self.start(*arguments, stdout=subprocess.PIPE if capture else None) as process:
            printed = process.communicate()[0]
        if process.returncode != exits:
            fail(f"s3pull {arguments[0]} ended with {process.returncode} instead of {exits}")
        return printed or ""

    def left_by_killed_run(self) -> list[Path]:
        """The part files in the working folder."""
        return sorted(self.work.glob(".s3pull-*"))


def _show(stage: Stage, objects: dict[str, bytes]) -> None:
    """The tour."""
    say(f"two accounts on this machine, emulated at {stage.aws.url}")
    say(f"  {OWNER} owns s3://{BUCKET} and a role that may read it: {ROLE_ARN}")
    say(f"  {CONSUMER} is yours: {USER_ARN}, who may assume that role and nothing else")

    say("\n# the data owner sent a share file: bucket, role and external ID")
    stage.run("share", "import", stage.share_file.name)
    stage.run("ls", "acme:")

    say("\n# with another external ID the role is not given out")
    stage.run("ls", "acme:", "--external-id", "somebody-elses", exits=10)

    say("\n# a tree: all objects at once, each verified with the checksum that S3 stored")
    stage.run("get", "acme:tables/")
    _compare(stage, objects, "2026/tables/")

    say(f"\n# an object of {LARGE_SIZE // MIB} MiB, slowed down to {RATE // MIB} MiB/s and killed half way")
    _kill_half_way(stage)

    say("\n# the same command again: it goes on from what is there")
    _resume(stage)
    _compare(stage, objects, LARGE)

    say("\n# the session is read-only: the same credentials cannot upload")
    _try_to_upload(stage)
    say("\nall of it went as it should; nothing is left behind")


def _kill_half_way(stage: Stage) -> None:
    begun = time.monotonic()
    with stage.start("get", "--limit-rate", f"{RATE // MIB}M", "acme:model.bin") as process:
        while not stage.left_by_killed_run():
            if process.poll() is not None or time.monotonic() - begun > PATIENCE:
                process.kill()
                fail("the download did not begin")
            time.sleep(0.02)
        time.sleep(LARGE_SIZE / RATE / 2)
        process.kill()
    say(f"$ kill -9 {process.pid}")
    if (stage.work / "model.bin").exists():
        fail("model.bin is there although it was not complete")
    names = [path.name for path in stage.left_by_killed_run()]
    if not names:
        fail("the killed run left no part file")
    say("there is no model.bin, only what the run had under way:\n" + "\n".join(f"  {name}" for name in names))


def _resume(stage: Stage) -> None:
    printed = stage.run("get", "--json", "acme:model.bin", capture=True)
    say(printed.rstrip())
    lines = [json.loads(line) for line in printed.splitlines()]
    done = next((line for line in lines if line["event"] == "object"), None)
    if done is None or done["action"] != "resumed" or not done["received"] < done["size"]:
        fail("the download was not resumed")
    if not (done["checksum"] or {}).get("verified"):
        fail("the resumed object was not verified")
    say(
        f"received {done['received'] / MIB:.1f} of {done['size'] / MIB:.1f} MiB in this run, the rest was on the disk; "
        f"{done['checksum']['algorithm']} of the whole file verified"
    )
    if stage.left_by_killed_run():
        fail("part files are left after the resume")


def _compare(stage: Stage, objects: dict[str, bytes], prefix: str) -> None:
    """Compare what was downloaded with what was uploaded, by SHA-256, outside all code that downloads."""
    wanted = {key.removeprefix("2026/"): body for key, body in objects.items() if key.startswith(prefix)}
    for name, body in wanted.items():
        path = stage.work / name
        if not path.is_file() or _sha256(path.read_bytes()) != _sha256(body):
            fail(f"{name} is not what was uploaded")
    files = "1 file" if len(wanted) == 1 else f"{len(wanted)} files"
    say(f"compared with what the owner uploaded: {files}, the same by SHA-256")


def _try_to_upload(stage: Stage) -> None:
    from botocore.exceptions import ClientError

    made = json.loads(stage.run("credentials", "acme", "--format", "process", capture=True))
    session = Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    say(f"  (a session until {made['Expiration']})")
    say(f"\n$ aws s3 cp notes.txt s3://{BUCKET}/2026/notes.txt    # with that session; here by botocore")
    try:
        stage.aws.client("s3", session).put_object(Bucket=BUCKET, Key="2026/notes.txt", Body=b"hello")
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
        if code != "AccessDenied":
            fail(f"the upload ended in {code} instead of AccessDenied")
        say(f"PutObject: {code}")
    else:
        fail("the upload was accepted")


def _serve(stage: Stage) -> NoReturn:
    """Print what makes a shell part of the stage, and stay up until Ctrl-C."""
    stage.run("share", "import", stage.share_file.name)
    export = "$env:{}='{}'" if os.name == "nt" else "export {}='{}'"
    say("\npaste this into another shell:\n")
    say("\n".join(export.format(name, value) for name, value in stage.settings.items()))
    say("\nand try:\n")
    say("s3pull status\ns3pull ls -l acme:\ns3pull get acme:tables/ tables/\ns3pull get acme:model.bin")
    say("\nCtrl-C ends it; what you downloaded stays where you put it")
    while True:
        time.sleep(60)


def _objects() -> Iterator[tuple[str, bytes]]:
    """What the owner has: a tree of small tables and one large file, the same in each demo."""
    seeded = random.Random(2026)  # noqa: S311
    for number in range(SMALL_COUNT):
        key = f"2026/tables/{('orders', 'prices', 'weather')[number % 3]}/part-{number // 3:04}.parquet"
        yield key, seeded.randbytes(1000 + 311 * number)
    yield LARGE, b"".join(seeded.randbytes(MIB) for _ in range(LARGE_SIZE // MIB))


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def say(text: str) -> None:
    """One line of the story; flushed, since the commands write to the same place."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fail(what: str) -> NoReturn:
    """End the demo: it showed something else than it claims."""
    raise S3pullError(f"the demo went wrong: {what}", hint="please report it, with what `s3pull --version -v` prints")
