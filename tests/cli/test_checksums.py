"""`--checksums` as people and scripts meet it: real processes, real lists, what is said and what is left."""

import hashlib
import shutil
import subprocess

import pytest

from s3pull.local.receipts import Receipts
from tests.mirrors import Mirrored, lines, summary, told
from tests.transcript import run_s3pull

BIG = bytes(range(256)) * 8192


def listed(bodies):
    return "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in bodies.items()).encode()


@pytest.fixture
def release(here):
    """A release, its list and its signature."""
    bodies = {"tool.tar.gz": BIG, "notes.txt": b"notes"}
    for name, body in bodies.items():
        here.put(f"1.2/{name}", body)
    here.put("1.2/SHA256SUMS", listed(bodies))
    here.put("1.2/SHA256SUMS.minisig", b"signature")
    return here


SOURCE = "s3://data/in/1.2/"
SUMS = ("--checksums", "SHA256SUMS")


def test_a_release_that_is_right(release, tmp_path):
    done = release.get(SOURCE, "out", *SUMS)
    assert (done.exit, done.out) == (0, "")
    assert "4 files" in done.err
    assert "not in the list" not in done.err
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "out", check=True, timeout=60)


def test_one_that_is_not(release, tmp_path):
    release.put("1.2/tool.tar.gz", BIG[:-1] + b"!")
    release.put("1.2/extra.txt", b"nobody listed me")
    done = release.get(SOURCE, "out", *SUMS)
    assert done.exit == 6
    assert done.err.splitlines()[:2] == [
        "s3pull: tool.tar.gz is not what SHA256SUMS says",
        "hint: nothing was kept; ask its owner which of the two is right",
    ]
    assert done.err.splitlines()[-1].endswith(", 1 failed, 1 not in the list of checksums")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("SHA256SUMS", "SHA256SUMS.minisig", "extra.txt", "notes.txt")
    ]


def test_json_says_what_was_proven(release):
    release.put("1.2/gone-by-then", b"x")
    done = release.get(SOURCE, "out", *SUMS, "--json")
    assert done.exit == 0
    checks = {line["path"]: line["checksum"] for line in lines(done.out) if line["event"] == "object"}
    assert checks["tool.tar.gz"]["algorithm"] == "SHA256"
    assert checks["tool.tar.gz"]["verified"] is True
    assert checks["gone-by-then"]["algorithm"] != "SHA256"
    assert summary(done.out)["unlisted"] == 1
    assert "unlisted" in summary(release.get(SOURCE, "out", "--json").out)


def test_a_name_without_an_object(release):
    release.delete("1.2/notes.txt")
    done = release.get(SOURCE, "out", *SUMS, "--json")
    assert done.exit == 6
    assert told(done.out)["in/1.2/notes.txt"] == ("failed", "listed-missing")


def test_a_mirror_and_its_verify(release, tmp_path):
    assert release("sync", SOURCE, "m", *SUMS).exit == 0
    with Receipts.open(tmp_path / "m/.s3pull/receipts.db", read_only=True) as receipts:
        assert receipts.find("tool.tar.gz").algorithm == "SHA256"
    assert release("verify", "m").exit == 0
    (tmp_path / "m/notes.txt").write_bytes(b"nodes")
    assert release("verify", "m").exit == 6
    assert release("sync", SOURCE, "m", *SUMS).exit == 0
    assert (tmp_path / "m/notes.txt").read_bytes() == b"notes"


@pytest.mark.parametrize(
    ("file", "exit", "message", "hint"),
    [
        ("SUMS", 4, "there is no SUMS beside the objects (in/1.2/SUMS)",
         "--checksums takes a key below the source; a file here is given as ./SUMS"),
        ("./SUMS", 4, "no such file: SUMS", "--checksums takes a list of SHA-256"),
        ("notes.txt", 6, "line 1 of notes.txt is no checksum of a file",
         "lines are `<sha256>  NAME` or `SHA256 (NAME) = <sha256>`, as sha256sum writes them"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["get", "sync"])
def test_a_list_that_is_none(release, tmp_path, command, file, exit, message, hint):
    done = release(command, SOURCE, "out", "--checksums", file)
    assert (done.exit, done.out) == (exit, "")
    assert done.err.startswith(f"s3pull: {message}\nhint: {hint}\n")
    assert not list((tmp_path / "out").glob("*.*")) if (tmp_path / "out").exists() else True


def test_a_dry_run_reads_the_list(release, tmp_path):
    release.delete("1.2/notes.txt")
    done = release.get(SOURCE, "out", *SUMS, "-n")
    assert done.exit == 6
    assert "notes.txt is in SHA256SUMS and not in the source" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("right", [True, False])
def test_to_a_pipe_the_verdict_comes_afterwards(fake_aws, tmp_path, right):
    made = Mirrored(fake_aws, tmp_path)
    made.put("a", BIG)
    made.put("SHA256SUMS", listed({"a": BIG if right else b"other"}))
    done = run_s3pull(["get", "s3://data/in/a", "-", *SUMS], made.env, tmp_path)
    assert done.code == (0 if right else 6)
    assert len(done.stdout) > 0
    if not right:
        assert done.stderr == "s3pull: a is not what SHA256SUMS says\nhint: do not use what was written\n"


def test_a_schedule_names_a_list_here_from_the_root_on(run, config, tmp_path):
    assert run("share", "add", "acme", "--bucket", "acme-exports").exit == 0
    here = run("schedule", "acme:", "/data", "--checksums", "./SUMS").out
    assert f"--checksums {tmp_path}/SUMS" in here
    assert "--checksums SUMS " in run("schedule", "acme:", "/data", "--checksums", "SUMS").out
