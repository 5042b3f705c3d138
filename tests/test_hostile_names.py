"""Keys that want out of the destination or into the terminal: the Big List of Naughty Strings, and hypothesis' own.

The strings (tests/data/naughty.json) are Max Woolf's, under the MIT licence beside them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s3pull.errors import NameRefused
from s3pull.local.names import decode_path, local_path
from tests.fakes import FakeAws
from tests.mirrors import LONG_AGO
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror
from tests.transcript import run_s3pull

pytestmark = pytest.mark.slow

OWNER = "111111111111"
ESCAPES = [
    "\x1b[2J\x1b[H\x1b]0;title\x07gone",
    "\x1b]8;;http://evil/\x07click\x1b]8;;\x07",
    "\x9b31mred",
    "a\rb",
    "a\nb",
    "a\x08\x08b",
    "\u202etxt.exe",
    "\u2028line",
    "\u200bzero",
    "\ufeffmark",
    "\x1b[6n",
    "\x1bP1;2|\x1b\\",
    "\x7f",
    "\x0e\x0f",
    "\x00nul",
]
PATHS = [
    "../out",
    "../../out",
    "/etc/out",
    "a/../../out",
    "a/./b",
    "a//b",
    "..",
    ".",
    "/",
    "//",
    "~/out",
    "$HOME/out",
    "C:/out",
    "..\\out",
    "a\\..\\..\\out",
    "%2e%2e/out",
    "%2E%2E%2Fout",
    ".s3pull/lock",
    ".s3pull/receipts.db",
    ".s3pull-x",
    "-rf",
    "current",
    "con",
    "nul.txt",
    "a/",
    "..%00/out",
    "\uff0e\uff0e/out",
    "..;/out",
    "file:///etc/out",
    "`touch out`",
    "a'\"b",
]
NAUGHTY = json.loads((Path(__file__).parent / "data" / "naughty.json").read_text())
KEYS = sorted({key for key in [*NAUGHTY, *ESCAPES, *PATHS] if key and len(key.encode()) <= 1000})


def hostile(aws: FakeAws) -> dict[str, bytes]:
    """All of them as objects: by themselves, as a folder, and as a file in one."""
    aws.bucket("data", owner=OWNER)
    bodies = {}
    for number, key in enumerate(KEYS):
        for form in (key, f"d/{key}", f"{number}-{key}/x"):
            if len(form.encode()) <= 1000:
                bodies[form] = f"{number} {len(form)}".encode()
                aws.put("data", f"in/{form}", bodies[form], last_modified=LONG_AGO)
    return bodies


def files_in(folder: Path) -> dict[str, bytes]:
    """By `os.walk`, which follows no link."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            assert not path.is_symlink()
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return {name: data for name, data in found.items() if not name.startswith(".s3pull/")}


# --- the disk ---------------------------------------------------------------------------------------------------------

#: everything that is mounted becomes read-only for this process and its children, but for the one folder
CAGE = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cut -d' ' -f5 /proc/self/mountinfo | while read -r place; do
    case "$place" in
        "$1"|/proc*|/sys*|/dev|/dev/pts) ;;
        *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;;
    esac
done
if touch "$2/probe" 2>/dev/null; then exit 77; fi
shift 2
exec "$@"
"""


@pytest.mark.parametrize("command", ["get", "sync"])
@pytest.mark.parametrize("encode", [True, False], ids=["encoded", "refused"])
def test_nothing_is_written_outside(fake_aws: FakeAws, tmp_path: Path, command: str, encode: bool) -> None:
    """Where the kernel lets us, it forbids every write but below the destination; and the parent is swept always."""
    bodies = hostile(fake_aws)
    env = {**os.environ, **fake_aws.env(fake_aws.user(OWNER, "ana"))}
    dest = tmp_path / "place" / "dest"
    dest.mkdir(parents=True)
    args = [
        sys.executable,
        "-m",
        "s3pull",
        command,
        "s3://data/in/",
        str(dest),
        *(["--encode-names"] * encode),
        "--json",
    ]
    cage = ["unshare", "-m", "sh", "-c", CAGE, "sh", str(dest), str(tmp_path)]
    caged = os.geteuid() == 0 and shutil.which("unshare") is not None and sys.platform == "linux"
    done = subprocess.run([*(cage if caged else []), *args], env=env, capture_output=True, text=True, timeout=200)
    if done.returncode in (1, 32, 77) and not done.stdout:  # a container that may not mount
        done = subprocess.run(args, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 3 or (encode and done.returncode == 0), done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    had = {one["key"]: one["path"] for one in told if one["event"] == "object" and one["action"] == "downloaded"}
    here = files_in(dest)
    assert {key: here[path] for key, path in had.items()} == {key: bodies[key.removeprefix("in/")] for key in had}
    assert set(here) == set(had.values())
    assert len(set(had.values())) == len(had)
    if encode:
        assert {decode_path(path) for path in had.values()} == {key.removeprefix("in/") for key in had}
        refused = {one["key"].removeprefix("in/"): one for one in told if one.get("action") == "refused"}
        long = {key for key in refused if any(len(part.encode()) > 80 for part in key.split("/"))}
        assert all(key in long or "folder" in str(refused[key]) or "file" in str(refused[key]) for key in refused)
    assert [path.name for path in tmp_path.rglob("*") if dest not in path.parents and path.is_file()] == []
    assert not Path("/etc/out").exists()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
pieces = st.sampled_from(
    ["..", ".", "/", "\\", "%2e", "%2F", "%", "\x00", "\x1b[0m", "~", "a", "A", "\u00e9", "e\u0301", ".s3pull", " "]
)
keys = st.one_of(texts, st.lists(st.one_of(pieces, texts), max_size=8).map("".join)).filter(bool)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(keys, min_size=1, max_size=12, unique=True), st.booleans())
@example(["../x", "..%2Fx", "%2E%2E/x", "a", "a/b", "A"], True)
def test_any_keys(found: list[str], encode: bool) -> None:
    store = MemoryStore()
    for key in found:
        store.put(key, key.encode())
    with tempfile.TemporaryDirectory() as place:
        dest = Path(place) / "in" / "dest"
        done = mirror(store, dest, encode_names=encode)
        here = files_in(dest) if dest.exists() else {}
        for path, data in here.items():
            assert (decode_path(path) if encode else path) == data.decode()
        assert all(key in done.refused or key.endswith("/") or key.encode() in here.values() for key in found)
        assert os.listdir(place) in ([], ["in"])
        assert not (Path(place) / "in").exists() or os.listdir(Path(place) / "in") in ([], ["dest"])


@given(keys, keys)
def test_encoding_is_injective_and_reversible(one: str, two: str) -> None:
    paths = []
    for key in (one, two):
        try:
            paths.append(local_path(key, encode=True))
        except NameRefused as error:
            assert "long" in str(error)
            return
        assert decode_path(paths[-1]) == key
    assert (paths[0] == paths[1]) == (one == two)


def test_each_naughty_string_comes_back() -> None:
    paths = {}
    for key in KEYS:
        try:
            path = local_path(key, encode=True)
        except NameRefused:
            assert any(len(part.encode()) > 80 for part in key.split("/"))
            continue
        assert decode_path(path) == key
        assert paths.setdefault(path, key) == key
    assert len(paths) > 450


# --- the terminal -----------------------------------------------------------------------------------------------------

#: what our own progress bars move the cursor with
OURS = re.compile(r"\x1b\[A|\x1b\[K|\r|\n")


def moves_nothing(text: str) -> None:
    for character in OURS.sub("", text):
        kind = unicodedata.category(character)
        assert kind not in ("Cc", "Cf", "Zl", "Zp", "Cs"), f"{character!r} in {text[:2000]!r}"


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    "args",
    [
        ("ls", "s3://data/in/"),
        ("ls", "-r", "-l", "s3://data/in/"),
        ("ls", "-r", "--json", "s3://data/in/"),
        ("get", "s3://data/in/", "out", "--progress", "-v"),
        ("get", "s3://data/in/", "out2", "--json"),
        ("sync", "s3://data/in/", "m", "-n"),
        ("sync", "s3://data/in/", "m", "--encode-names", "--progress"),
        ("get", "s3://data/in/\x1b[2Jno\x07such", "x"),
        ("cat", "s3://data/in/\x1b[2Jno\x07such"),
        ("get", "s3://data/in/", "out\x1b[31m/x"),
        ("lock", "s3://data/in/"),
    ],
    ids=lambda args: " ".join(args[:3]).encode("unicode_escape").decode(),
)
def test_no_escape_reaches_the_terminal(fake_aws: FakeAws, tmp_path: Path, args: tuple[str, ...]) -> None:
    fake_aws.bucket("data", owner=OWNER)
    for key in [key for key in KEYS if not key.isprintable() or not key.isascii()] + PATHS:
        fake_aws.put("data", f"in/{key}", b"x", last_modified=LONG_AGO)
    fake_aws.put("data", "in/large\x1b[2J\x07\u202e", bytes(1_500_000), last_modified=LONG_AGO)
    fake_aws.put("data", "in/broken\x1b[2J", b"x", etag="0" * 32, last_modified=LONG_AGO)
    env = {**fake_aws.env(fake_aws.user(OWNER, "ana")), "NO_COLOR": "1"}
    done = run_s3pull(args, env, tmp_path, tty=True)
    assert done.code in (0, 2, 3, 4), done.stderr
    moves_nothing(done.stdout)
    moves_nothing(done.stderr)
