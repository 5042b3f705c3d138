"""config.toml: what is read, what is refused by line, and that writing changes one share and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3pull.access import config
from s3pull.errors import DiskError, NothingThere, UsageError

ROLE = "arn:aws:iam::111122223333:role/acme-readers"
FULL = f"""\
# my sources
[shares.acme]   # the exports
bucket = "acme-exports"
prefix = "2026/"   # this year
role_arn = "{ROLE}"
external_id = "9f4c-1"
session_tag = {{ team = "climate" }}
duration = "1h30m"

# another
[shares.b2]
access_point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/b2"
narrow = false
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.toml"


def test_what_is_read(path):
    path.write_text(FULL)
    found = config.load(path)
    acme = found.share("acme")
    assert (acme.name, acme.bucket, acme.prefix, acme.role_arn) == ("acme", "acme-exports", "2026/", ROLE)
    assert (acme.duration, acme.session_tag, acme.narrow) == (5400, (("team", "climate"),), None)
    assert found.share("b2").narrow is False


def test_no_file_is_an_empty_configuration(path):
    found = config.load(path)
    assert found.shares == {}
    with pytest.raises(NothingThere, match="no share 'acme'"):
        found.share("acme")
    assert config.load(path / "below-a-file").shares == {}


def test_the_nearest_name_is_named(path):
    path.write_text(FULL)
    with pytest.raises(NothingThere) as refused:
        config.load(path).share("acmee")
    assert refused.value.hint == "did you mean acme?"
    assert refused.value.exit_code == 4


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[shares.acme]\nbucket = "abc"\nprefx = "x"\n', "line 3: share 'acme': prefx is unknown", "mean prefix"),
        ('[share.acme]\nbucket = "abc"\n', "line 1: share is unknown", "did you mean shares?"),
        ('[shares.acme]\nprefix = "x"\n', "line 1: share 'acme' has neither", "one of them"),
        (f'[shares.acme]\nbucket = "abc"\naccess_point = "{ROLE}"\n', "has both bucket and access_point", "one of"),
        ('\n[shares.acme]\nbucket = "abc"\nduration = "2d"\n', "line 4: share 'acme': duration is not", "15m"),
        ('[shares.acme]\nbucket = "abc"\nnarrow = "no"\n', "narrow is neither true nor false", "quotes"),
        ('[shares.acme]\nbucket = "abc"\nbucket_owner = 111122223333\n', "bucket_owner is not text", "quotes"),
        ('[shares.acme]\nbucket = 7\n', "line 2: share 'acme': bucket is not text", "quotes"),
        ('[shares.Acme]\nbucket = "abc"\n', "a name that cannot be: 'Acme'", "a-z"),
        ('[shares.c]\nbucket = "abc"\n', "a name that cannot be: 'c'", "2 or more"),
        ('[shares]\nacme = "x"\n', "line 2: acme is not a table", "[shares.NAME]"),
        ("shares = 1\n", "line 1: shares is not a table", "[shares.NAME]"),
        ('[shares.acme]\nbucket = "abc\n', "is not TOML", None),
        ('[shares.acme]\nbucket = "abc"\nrole_arn = "x"\n', "line 3: share 'acme': role_arn is not the ARN", "looks"),
        (f'[shares.acme]\nbucket = "abc"\nanonymous = true\nrole_arn = "{ROLE}"\n', "exclude each other", None),
        ('shares.acme.bucket = "abc"\nshares.acme.regoin = "x"\n', "line 2: share 'acme': regoin", "mean region"),
        ('["shares"."acme"]\nbucket = "abc"\n"prefx" = "x"\n', "line 3: share 'acme': prefx", "did you mean prefix?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_line(path, text, message, hint):
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        config.load(path)
    assert message in refused.value.message
    assert hint is None or hint in refused.value.hint


def test_an_external_id_is_not_quoted(path):
    path.write_text('[shares.acme]\nbucket = "abc"\nexternal_id = "very secret"\n')
    with pytest.raises(UsageError) as refused:
        config.load(path)
    assert "very secret" not in refused.value.message + refused.value.hint


def test_other_encodings(path):
    path.write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    assert set(config.load(path).shares) == {"acme", "b2"}
    path.write_bytes(b"# \xe9\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        config.load(path)


def test_comments_and_order_are_kept(path):
    path.write_text(FULL)
    config.save_share(path, config.share("new", {"bucket": "abc", "session_tag": ["a=1"], "narrow": True}))
    text = path.read_text()
    assert text.startswith(FULL)
    assert text[len(FULL) :].strip() == '[shares.new]\nbucket = "abc"\nsession_tag = {a = "1"}\nnarrow = true'
    config.remove_share(path, "new")
    assert path.read_text().rstrip("\n") == FULL.rstrip("\n")


def test_a_replaced_share_keeps_the_comments_of_its_lines(path):
    path.write_text(FULL)
    one = config.load(path).share("acme")
    with pytest.raises(UsageError, match="already"):
        config.save_share(path, one)
    changed = config.share("acme", {**one.settings(), "region": "eu-west-1", "prefix": "2027/"})
    config.save_share(path, changed, replace=True)
    assert config.load(path).share("acme") == changed
    assert "# this year" in path.read_text()
    assert "# another" in path.read_text()


def test_removing_what_is_not_there(path):
    path.write_text(FULL)
    with pytest.raises(NothingThere):
        config.remove_share(path, "gone")
    assert path.read_text() == FULL


def test_written_for_the_owner_alone(path):
    path.write_text(FULL)
    path.chmod(0o644)
    config.save_share(path, config.share("new", {"bucket": "abc"}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir() if entry.suffix == ".new"] == []


def test_a_symbolic_link_stays_one(path, tmp_path):
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "s3pull.toml"
    real.write_text(FULL)
    path.symlink_to("dotfiles/s3pull.toml")
    config.save_share(path, config.share("new", {"bucket": "abc"}))
    assert path.is_symlink()
    assert "new" in config.load(real).shares
    assert "new" in config.load(path).shares


def test_a_new_file_and_its_directory(tmp_path):
    path = tmp_path / "deep" / "er" / "config.toml"
    config.save_share(path, config.share("new", {"bucket": "abc"}))
    assert config.load(path).share("new").bucket == "abc"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "config.toml"
    with pytest.raises(DiskError, match="cannot write") as refused:
        config.save_share(path, config.share("new", {"bucket": "abc"}))
    assert refused.value.exit_code == 5
    assert config.load(path).shares == {}


def test_a_directory_in_its_place(path):
    path.mkdir()
    with pytest.raises(DiskError, match="cannot read"):
        config.load(path)


def test_tables_in_other_forms_can_be_edited(path):
    path.write_text('shares = { old = { bucket = "abc" } }\n')
    config.save_share(path, config.share("new", {"bucket": "abd"}))
    assert set(config.load(path).shares) == {"old", "new"}


def _add(path, name):
    config.save_share(path, config.share(name, {"bucket": "abc"}))


def test_writers_wait_for_each_other(path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(path, f"share-{number}")) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(config.load(path).shares) == 6


text = st.text(
    st.characters(min_codepoint=32, blacklist_characters="\x7f", blacklist_categories=("Cs", "Cc")), max_size=30
)
shares = st.fixed_dictionaries(
    {"bucket": st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)},
    optional={
        "prefix": text,
        "role_arn": st.just(ROLE),
        "external_id": st.from_regex(r"[\w+=,.@:/-]{2,40}", fullmatch=True).filter(str.isascii),
        "profile": text.filter(bool),
        "duration": st.integers(900, 43200),
        "session_tag": st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), text, max_size=3),
        "bucket_owner": st.sampled_from(["any", "111122223333"]),
        "request_payer": st.booleans(),
        "narrow": st.booleans(),
        "cache": st.sampled_from(["auto", "none"]),
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z0-9_-]{2,12}", fullmatch=True), shares, min_size=1, max_size=3))
def test_what_is_written_is_what_is_read(tmp_path, wanted):
    path = tmp_path / "round.toml"
    path.unlink(missing_ok=True)
    made = {name: config.share(name, said) for name, said in wanted.items()}
    for one in made.values():
        config.save_share(path, one)
    assert config.load(path).shares == made
    for name in made:
        config.remove_share(path, name)
    assert config.load(path).shares == {}


def test_where_it_is(monkeypatch, isolated):
    assert config.config_path("given.toml", {"S3PULL_CONFIG": "x"}).name == "given.toml"
    assert config.config_path(None, {"S3PULL_CONFIG": "/etc/x.toml"}).as_posix() == "/etc/x.toml"
    assert config.config_path(None, os.environ) == isolated / ".config" / "s3pull" / "config.toml"


def test_line_ends_are_kept(path):
    path.write_bytes(FULL.replace("\n", "\r\n").encode())
    config.save_share(path, config.share("new", {"bucket": "abc"}))
    assert path.read_bytes().startswith(FULL.replace("\n", "\r\n").encode())
    assert set(config.load(path).shares) == {"acme", "b2", "new"}
