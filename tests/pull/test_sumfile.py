"""Reading a SHA256SUMS: every form that tools write, held to those tools where they are here."""

import hashlib
import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import CheckFailed
from s3pull.pull import sumfile
from s3pull.pull.sumfile import local_file, parse

A, B = "a" * 64, "b" * 64
RAW_A, RAW_B = bytes.fromhex(A), bytes.fromhex(B)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{A}  x\n{B} *y\n", {"x": RAW_A, "y": RAW_B}),
        (f"{A}  x", {"x": RAW_A}),
        (f"{A} x", {"x": RAW_A}),
        (f"{A.upper()}  x\r\n{B}  y\r\n", {"x": RAW_A, "y": RAW_B}),
        (f"{A}  ./a/b c.txt\n", {"a/b c.txt": RAW_A}),
        (f"{A}   leading\n{A} **star\n", {" leading": RAW_A, "*star": RAW_A}),
        (f"SHA256 (x) = {A}\n", {"x": RAW_A}),
        (f"SHA256 (a (1) = b) = {A}\n", {"a (1) = b": RAW_A}),
        (f"SHA256(x)= {A}\n", {"x": RAW_A}),
        (f"MD5 (x) = {'0' * 32}\nSHA512 (x) = {'0' * 128}\nSHA256 (x) = {A}\n", {"x": RAW_A}),
        (f"\\{A}  a\\\\b\\nc\\rd\n", {"a\\b\nc\rd": RAW_A}),
        (f"\\SHA256 (a\\nb) = {A}\n", {"a\nb": RAW_A}),
        (f"{A}  a\\nb\n", {"a\\nb": RAW_A}),
        (f"# of july\n\n{A}  x\n{A}  x\n", {"x": RAW_A}),
        (f"\ufeff{A}  é\n", {"é": RAW_A}),
        (f"{A}  ..x/y...\n", {"..x/y...": RAW_A}),
    ],
)  # fmt: skip
def test_forms(text, found):
    assert parse(text.encode(), "SUMS") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "SUMS names no file"),
        ("# nothing\n", "SUMS names no file"),
        ("<html>not found</html>", "line 1 of SUMS is no checksum of a file"),
        (f"{A}  x\n{'c' * 63}  y\n", "line 2 of SUMS is no checksum of a file"),
        (f"{A}  \n", "line 1 of SUMS is no checksum of a file"),
        (f"{A}\tx\n", "line 1 of SUMS is no checksum of a file"),
        (f"{A}  x\n-----BEGIN PGP SIGNATURE-----\n", "line 2 of SUMS is no checksum of a file"),
        (f"SHA256 (x) = {A[:-1]}\n", "line 1 of SUMS has a SHA-256 of 63 digits, not 64"),
        (f"{A}  x\n\n{B}  ./x\n", "lines 1 and 3 of SUMS give x two different SHA-256"),
        (f"{A}  ../x\n", "line 1 of SUMS names ../x, which is not below the list"),
        (f"{A}  a/../../x\n", "line 1 of SUMS names a/../../x, which is not below the list"),
        (f"{A}  /etc/passwd\n", "line 1 of SUMS names /etc/passwd, which is not below the list"),
        (f"\\{A}  ..\n", "line 1 of SUMS names .., which is not below the list"),
        (f"{A}  a//b\n", "line 1 of SUMS names 'a//b', which is no file"),
        (f"{A}  a/\n", "line 1 of SUMS names 'a/', which is no file"),
        (f"{A}  a/./b\n", "line 1 of SUMS names 'a/./b', which is no file"),
        (f"{A}  ./\n", "line 1 of SUMS names '', which is no file"),
        (f"\\{A}  a\\tb\n", "line 1 of SUMS has an escape that is none: \\t"),
        (f"\\{A}  a\\\n", "line 1 of SUMS has an escape that is none: \\"),
    ],
)  # fmt: skip
def test_what_is_no_list(text, message):
    with pytest.raises(CheckFailed) as raised:
        parse(text.encode(), "SUMS")
    assert raised.value.message == message
    assert raised.value.hint
    assert raised.value.exit_code == 6


def test_bytes_that_are_no_text():
    with pytest.raises(CheckFailed, match="SUMS is not UTF-8"):
        parse(A.encode() + b"  \xff\n", "SUMS")


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and not name.endswith("\r")
)


@given(st.dictionaries(NAMES, st.binary(min_size=32, max_size=32), min_size=1, max_size=5), st.booleans())
def test_whatever_coreutils_would_write_is_read_back(names, tagged):
    """https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html: the escaping of names."""
    text = ""
    for name, digest in names.items():
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        mark = "\\" if escaped != name else ""
        text += f"{mark}SHA256 ({escaped}) = {digest.hex()}\n" if tagged else f"{mark}{digest.hex()}  {escaped}\n"
    assert parse(text.encode(), "SUMS") == names


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_a_clear_error(data):
    try:
        found = parse(data, "SUMS")
    except CheckFailed as error:
        assert error.hint
    else:
        assert all(len(digest) == 32 and name for name, digest in found.items())


@pytest.mark.parametrize(
    "command", [["sha256sum"], ["sha256sum", "--binary"], ["sha256sum", "--tag"], ["shasum", "-a", "256"],
                ["openssl", "dgst", "-sha256"]], ids=lambda command: " ".join(command)
)  # fmt: skip
def test_what_the_tools_write(command, tmp_path):
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    names = ["a.txt", "with space", "sub/b", "paren (1).csv"]
    if command[0] == "sha256sum":
        names += ["back\\slash", "new\nline"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    done = subprocess.run([*command, *names], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert parse(done.stdout, "SUMS") == {name: hashlib.sha256(name.encode()).digest() for name in names}


@pytest.mark.parametrize(
    ("text", "system", "local"),
    [
        ("SHA256SUMS", "posix", False),
        ("meta/SHA256SUMS", "posix", False),
        ("...", "posix", False),
        ("./SHA256SUMS", "posix", True),
        ("../SHA256SUMS", "posix", True),
        ("/tmp/SHA256SUMS", "posix", True),
        (".\\SHA256SUMS", "posix", False),
        (".\\SHA256SUMS", "nt", True),
        ("..\\SHA256SUMS", "nt", True),
    ],
)
def test_which_list_is_here_and_which_is_a_key(text, system, local, monkeypatch):
    class System:
        name = system

    monkeypatch.setattr(sumfile, "os", System)
    assert (local_file(text) is not None) == local
    assert os.name in ("posix", "nt")
