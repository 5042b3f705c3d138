"""Editing ~/.aws/config: one profile in, every other byte as it was."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.access import awsconfig
from s3pull.access.awsconfig import MARK, section_text, with_profile, write_profile
from s3pull.access.profiles import parse
from s3pull.errors import DiskError, UsageError

OURS = {"credential_process": "/usr/bin/s3pull credentials acme", "region": "eu-west-1"}
SECTION = f"""\
[profile acme]
{MARK} acme --aws-profile
credential_process = /usr/bin/s3pull credentials acme
region = eu-west-1
"""
OTHERS = """\
# my profiles
[default]
region=us-east-1   # not a comment, says AWS
output = json

; work
[profile work]
role_arn = arn:aws:iam::111122223333:role/x
source_profile = default
s3 =
  max_concurrent_requests = 20
  addressing_style = path

[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
"""


def put(text, **more):
    return with_profile(text, "acme", "acme", OURS, **more)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", SECTION),
        (OTHERS, f"{OTHERS}\n{SECTION}"),
        (OTHERS.rstrip("\n"), f"{OTHERS}\n{SECTION}"),
        (f"{OTHERS}\n", f"{OTHERS}\n{SECTION}"),
        (SECTION, SECTION),
        (f"{SECTION}\n{OTHERS}", f"{SECTION}\n{OTHERS}"),
    ],
    ids=["empty", "added", "no line end", "blank line", "the same", "the same, first"],
)
def test_where_it_goes(before, after):
    assert put(before) == after
    assert put(after) == after


def test_a_profile_of_ours_is_set_anew_and_what_was_added_to_it_stays():
    before = (
        f"{OTHERS}\n[profile acme]\n# for the reports\n{MARK} older --aws-profile\ncredential_process = /old/s3pull\n"
        "endpoint_url = http://old\noutput = json\ns3 =\n  addressing_style = path\n# the end of it\n\n"
        "[profile z]\nregion = b\n"
    )
    assert put(before) == (
        f"{OTHERS}\n{SECTION}# for the reports\noutput = json\ns3 =\n  addressing_style = path\n# the end of it\n\n"
        "[profile z]\nregion = b\n"
    )


def test_a_region_that_was_added_by_hand_stays_where_we_say_none():
    only = {"credential_process": "s3pull credentials acme"}
    before = with_profile("", "acme", "acme", only) + "region = eu-north-1\n"
    assert with_profile(before, "acme", "acme", only) == before


FOREIGN = """\
[profile acme]
# by hand
role_arn = x
source_profile = y
s3 =
  addressing_style = path

[profile z]
region = b
"""


def test_a_profile_of_somebody_else_is_not_replaced_unless_told():
    with pytest.raises(UsageError, match="did not write") as refused:
        put(FOREIGN)
    assert "--replace" in refused.value.hint
    assert put(FOREIGN, replace=True) == f"{SECTION}# by hand\n\n[profile z]\nregion = b\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[profile 'acme']\nregion = a\n", "acme"),
        ('[profile "acme"]\nregion = a\n', "acme"),
        ("[profile   acme]\nregion = a\n", "acme"),
        ("[default]\nregion = a\n", "default"),
        ("[profile default]\nregion = a\n", "default"),
    ],
)
def test_however_its_header_is_written_it_is_that_profile(text, name):
    with pytest.raises(UsageError, match="did not write"):
        with_profile(text, name, "acme", OURS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[profile acme]\nregion = a\n[profile 'acme']\nregion = b\n", "there twice"),
        ("[profile a]\nregion = a\n[profile a]\nregion = b\n", "line 3 is malformed"),
        ("secret without a section\n", "line 1 is malformed"),
        ("[profile a]\nno equals sign\n", "malformed"),
        ("[profile a]\rregion = a\r", "malformed|line ends"),
    ],
)
def test_what_cannot_be_edited(text, complaint):
    with pytest.raises(UsageError, match=complaint) as refused:
        put(text)
    assert "secret" not in str(refused.value)


def test_a_header_that_is_the_value_of_another_setting_is_no_header():
    text = "[profile a]\nsomething =\n  [profile acme]\n"
    assert put(text) == f"{text}\n{SECTION}"


def test_lines_end_as_they_did():
    before = OTHERS.replace("\n", "\r\n")
    assert put(before) == before + f"\n{SECTION}".replace("\n", "\r\n")


@pytest.mark.parametrize("name", ["", "a b", "a]", "a#b", 'a"b', "a\nb", "ä"])
def test_names_that_cannot_be(name):
    with pytest.raises(UsageError):
        awsconfig.check_name(name)


LINES = st.sampled_from(
    [
        "[default]", "[profile acme]", "[profile b]", "[profile 'c d']", "[sso-session s]", "[plugins]",
        "region = a", "output=json", "s3 =", "  x = y", "\tz = 1", "# comment", "; comment", "", "key:value",
        "[x", " [profile acme]",
        f"{MARK} acme --aws-profile", "credential_process = old", "endpoint_url = old", "junk",
    ]
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=14), end=st.sampled_from(["\n", "", "\n\n", "\r\n"]), replace=st.booleans())
def test_no_other_section_ever_changes(lines, end, replace):
    before = ("\r\n" if end == "\r\n" else "\n").join(lines) + end
    try:
        after = put(before, replace=replace)
    except UsageError:
        return
    mine = {"profile acme"}
    old, new = parse(before, "before"), parse(after, "after")
    assert {title: old[title] for title in old.keys() - mine} == {title: new[title] for title in new.keys() - mine}
    assert list(new)[: len(old)] == list(old)
    assert new["profile acme"].items() >= OURS.items()
    missing = [line for line in before.splitlines() if line.lstrip().startswith(("#", ";")) and MARK not in line]
    assert [line for line in after.splitlines() if line in missing] == missing
    assert put(after) == after


# --- the file ---------------------------------------------------------------------------------------------


@pytest.fixture
def environ(tmp_path, monkeypatch):
    return {"S3PULL_CACHE_DIR": str(tmp_path / "cache"), "AWS_CONFIG_FILE": str(tmp_path / "aws" / "config")}


def write(environ, **more):
    return write_profile("acme", "acme", OURS, environ, **more)


def test_a_file_that_is_not_there_is_made_for_the_owner_alone(environ, tmp_path):
    path = write(environ)
    assert path == tmp_path / "aws" / "config"
    assert path.read_text() == SECTION
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["config"]


def test_by_default_it_is_the_one_in_the_home_folder(isolated, tmp_path):
    assert write({"S3PULL_CACHE_DIR": str(tmp_path / "cache")}) == isolated / ".aws" / "config"


@pytest.mark.skipif(os.name == "nt", reason="modes and links")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o640])
def test_the_mode_stays_and_a_link_is_followed(environ, tmp_path, mode):
    real = tmp_path / "dotfiles" / "aws-config"
    real.parent.mkdir()
    real.write_bytes(OTHERS.encode())
    real.chmod(mode)
    link = tmp_path / "aws" / "config"
    link.parent.mkdir()
    link.symlink_to("../dotfiles/aws-config")
    umask = os.umask(0o077)
    try:
        write(environ)
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert real.read_text() == f"{OTHERS}\n{SECTION}"
    assert stat.S_IMODE(real.stat().st_mode) == mode
    assert sorted(found.name for found in real.parent.iterdir()) == ["aws-config"]


def test_what_is_right_already_is_not_written(environ):
    path = write(environ)
    before = path.stat()
    write(environ)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("content", [b"[profile acme]\nrole_arn = x\n", b"junk", b"\xff\xfe["])
def test_what_is_refused_leaves_the_file_alone(environ, tmp_path, content):
    path = tmp_path / "aws" / "config"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UsageError):
        write(environ)
    assert path.read_bytes() == content
    assert [found.name for found in path.parent.iterdir()] == ["config"]


def test_a_byte_order_mark_stays(environ, tmp_path):
    path = tmp_path / "aws" / "config"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf[default]\nregion = a\n")
    write(environ)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf[default]\nregion = a\n\n[profile acme]\n")


def test_no_regular_file_is_no_place(environ):
    with pytest.raises(UsageError, match="not a regular file"):
        write(environ | {"AWS_CONFIG_FILE": os.devnull})


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_the_disk(environ, tmp_path):
    (tmp_path / "aws").mkdir(mode=0o500)
    with pytest.raises(DiskError):
        write(environ)


def test_a_full_disk_leaves_the_file_as_it_was(environ, tmp_path, monkeypatch):
    path = tmp_path / "aws" / "config"
    path.parent.mkdir()
    path.write_text(OTHERS)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="no space left"):
        write(environ)
    assert path.read_text() == OTHERS
    assert [found.name for found in path.parent.iterdir()] == ["config"]


def test_default_is_a_section_of_its_own_form():
    assert section_text("default", "acme", OURS).startswith("[default]\n")
