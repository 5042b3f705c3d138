"""`s3pull share`, from the outside: stdout, stderr, exit code and what is on disk."""

from __future__ import annotations

import json
import os
import stat
import tomllib

import pytest

from tests.transcript import run_s3pull

ROLE = "arn:aws:iam::111122223333:role/acme-readers"
SECRET = "9f4c-very-secret"
FILE = f"""
[shares.acme]
bucket = "acme-exports"
prefix = "2026/"
role_arn = "{ROLE}"
external_id = "{SECRET}"
"""


@pytest.fixture
def acme(run, config):
    assert run("share", "add", "acme", "s3://acme-exports/2026/", "--role-arn", ROLE, "--external-id", SECRET).exit == 0
    return config


def shares(config):
    return tomllib.loads(config.read_text())["shares"]


# --- add ----------------------------------------------------------------------------------------------------


def test_add_says_where_and_what_next(run, config):
    ran = run("share", "add", "acme", "s3://acme-exports/2026/", "--role-arn", ROLE)
    assert (ran.exit, ran.out) == (0, "")
    assert ran.err == f"s3pull: acme is remembered in {config}\nhint: s3pull ls acme: shows what is there\n"
    assert shares(config) == {"acme": {"bucket": "acme-exports", "prefix": "2026/", "role_arn": ROLE}}
    assert os.name == "nt" or stat.S_IMODE(config.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        (["--bucket", "b-1", "--prefix", "x/"], {"bucket": "b-1", "prefix": "x/"}),
        (["s3://b-1"], {"bucket": "b-1"}),
        (["s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/ap/x/"],
         {"access_point": "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap", "prefix": "x/"}),
        (["s3://b-1/", "--session-tag", "team=climate", "--session-tag", "a=b", "--no-narrow", "--request-payer"],
         {"bucket": "b-1", "session_tag": {"team": "climate", "a": "b"}, "narrow": False, "request_payer": True}),
        (["s3://b-1/", "--duration", "30m", "--profile", "work", "--cache", "file", "--region", "eu-west-1"],
         {"bucket": "b-1", "duration": 1800, "profile": "work", "cache": "file", "region": "eu-west-1"}),
    ],
)  # fmt: skip
def test_add_writes_what_was_said(run, config, args, settings):
    assert run("share", "add", "acme", *args).exit == 0
    assert shares(config) == {"acme": settings}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["acme"], "the share has neither bucket nor access_point"),
        (["acme", "s3://b-1/", "--bucket", "b-2"],
         "SOURCE and --bucket, --access-point or --prefix contradict each other"),
        (["acme", "other:"], "'other:' is a share itself"),
        (["acme", "s3://b-1/*.csv"], "a share cannot be a glob: 's3://b-1/*.csv'"),
        (["ACME", "s3://b-1/"], "the share has a name that cannot be: 'ACME'"),
        (["acme", "s3://b-1/", "--role-arn", "acme-readers"], "--role-arn is not the ARN of a role: 'acme-readers'"),
        (["acme", "s3://b-1/", "--duration", "5m"],
         "--duration is shorter than 15 minutes, the shortest session that STS gives"),
        (["acme", "s3://b-1/", "--external-id", "has blanks "], "--external-id begins or ends with white space"),
    ],
)  # fmt: skip
def test_add_refuses_what_cannot_be(run, config, args, message):
    ran = run("share", "add", *args)
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == f"s3pull: {message}"
    assert not config.exists()


def test_add_leaves_a_share_of_that_name_alone(run, acme):
    before = acme.read_bytes()
    ran = run("share", "add", "acme", "s3://other/")
    assert (ran.exit, ran.err) == (2, "s3pull: there is a share 'acme' already\nhint: --replace replaces it\n")
    assert acme.read_bytes() == before
    assert run("share", "add", "acme", "s3://other/", "--replace").exit == 0
    assert shares(acme) == {"acme": {"bucket": "other"}}


def test_a_configuration_that_cannot_be_written_is_exit_5(run, isolated):
    (isolated / "file").write_text("")
    ran = run("share", "add", "acme", "s3://b-1/", "--config", str(isolated / "file" / "config.toml"))
    assert (ran.exit, ran.out) == (5, "")
    assert ran.err.startswith(f"s3pull: cannot write {isolated / 'file' / 'config.toml'}: ")


def test_config_may_stand_before_or_after_the_command(run, isolated):
    other = isolated / "other.toml"
    assert run("--config", str(other), "share", "add", "aa", "s3://b-1/").exit == 0
    assert run("share", "add", "bb", "s3://b-2/", "--config", str(other)).exit == 0
    assert set(shares(other)) == {"aa", "bb"}


# --- list, show, remove, export -------------------------------------------------------------------------------


def test_list_and_ls_without_a_source_are_the_same(run, acme):
    run("share", "add", "public", "s3://open-data/", "--anonymous")
    run("share", "add", "mine", "s3://my-data/x/", "--profile", "work")
    run("share", "add", "plain", "s3://my-data/y/")
    ran = run("share", "list")
    assert (ran.exit, ran.err) == (0, "")
    assert ran.out == (
        f"acme:    s3://acme-exports/2026/  {ROLE}\n"
        "public:  s3://open-data/          anonymous\n"
        "mine:    s3://my-data/x/          profile work\n"
        "plain:   s3://my-data/y/          own credentials\n"
    )
    assert run("ls").out == ran.out


def test_without_shares_list_says_so_on_stderr(run, config):
    ran = run("share", "list")
    said = f"s3pull: no shares in {config}\nhint: s3pull share import FILE takes what the data owner sent\n"
    assert (ran.exit, ran.out, ran.err) == (0, "", said)
    assert run("share", "list", "--json") == type(ran)(0, "", "")


def test_the_external_id_is_masked_everywhere_but_in_export(run, acme):
    for args in (["share", "list"], ["share", "list", "--json"], ["share", "show", "acme"], ["ls", "-v"],
                 ["share", "show", "acme", "--json"]):  # fmt: skip
        ran = run(*args)
        assert ran.exit == 0
        assert SECRET not in ran.out + ran.err, args
    assert 'external_id = "****"' not in run("share", "show", "acme").out
    assert "external_id = ****\n" in run("share", "show", "acme").out
    assert json.loads(run("share", "list", "--json").out) == {
        "schema": 1, "share": "acme", "bucket": "acme-exports", "prefix": "2026/", "role_arn": ROLE,
        "external_id": "****",
    }  # fmt: skip
    assert tomllib.loads(run("share", "export", "acme").out)["shares"]["acme"]["external_id"] == SECRET


def test_export_is_what_import_takes_and_nothing_of_ones_own(run, config, tmp_path):
    run("share", "add", "acme", "s3://acme-exports/2026/", "--role-arn", ROLE, "--profile", "work", "--cache", "file")
    (tmp_path / "acme.toml").write_text(run("share", "export", "acme").out)
    assert run("share", "import", "acme.toml", "--name", "copy").exit == 0
    assert shares(config)["copy"] == {"bucket": "acme-exports", "prefix": "2026/", "role_arn": ROLE}


def test_remove(run, acme):
    ran = run("share", "remove", "acme")
    assert (ran.exit, ran.out, ran.err) == (0, "", f"s3pull: acme is forgotten in {acme}\n")
    assert run("share", "remove", "acme").exit == 4


@pytest.mark.parametrize("args", [["share", "show"], ["share", "export"], ["share", "remove"], ["ls"], ["get"]])
def test_a_share_that_is_not_there_is_exit_4_with_the_nearest(run, acme, args):
    name = "acne:" if args in (["ls"], ["get"]) else "acne"
    ran = run(*args, name)
    assert (ran.exit, ran.out) == (4, "")
    assert ran.err == f"s3pull: no share 'acne' in {acme}\nhint: did you mean acme?\n"


# --- import ---------------------------------------------------------------------------------------------------


def test_import_shows_everything_first(run, config, tmp_path):
    (tmp_path / "acme.toml").write_text(FILE)
    ran = run("share", "import", "acme.toml")
    assert (ran.exit, ran.out) == (0, "")
    assert ran.err.splitlines()[0] == "share acme (new)"
    assert f"  external_id = {SECRET}" in ran.err.splitlines()
    assert ran.err.endswith(f"s3pull: acme is remembered in {config}\nhint: s3pull ls acme: shows what is there\n")
    assert shares(config)["acme"]["external_id"] == SECRET


@pytest.mark.parametrize(
    ("text", "exit_code", "said"),
    [
        ('bucket = "b-1"\n', 2, "the share file does not say what the share is called"),
        ('[shares.acme]\nbucket = "b-1"\nprofile = "work"\n', 2,
         "the share file, line 3: profile is not allowed in a share file"),
        ('[shares.acme]\nbucket = "b-1"\nallow_http = true\n', 2,
         "the share file, line 3: allow_http is not allowed in a share file"),
        ('[shares.acme]\nbucket = "b-1"\nbukcet = "b-2"\n', 2, "the share file, line 3: bukcet is unknown"),
        ("not toml", 2, "the share file is not TOML"),
        ("[shares]\n", 2, "a share file holds one share and nothing else"),
    ],
)  # fmt: skip
def test_import_refuses(run, config, tmp_path, text, exit_code, said):
    (tmp_path / "x.toml").write_text(text)
    ran = run("share", "import", "x.toml")
    assert (ran.exit, ran.out) == (exit_code, "")
    assert ran.err.startswith(f"s3pull: {said}")
    assert not config.exists()


def test_import_of_what_is_no_file(run, config, tmp_path):
    assert run("share", "import", "none.toml").err.startswith("s3pull: there is no file 'none.toml'\n")
    assert run("share", "import", ".").exit == 2
    (tmp_path / "big").write_bytes(b"#" * 70_000)
    hint = "hint: give the file that the data owner sent\n"
    assert run("share", "import", "big").err == f"s3pull: 'big' is no share file: it is larger than 64 KiB\n{hint}"
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert run("share", "import", "bytes").err == f"s3pull: 'bytes' is no share file: it is not UTF-8 text\n{hint}"


FOREIGN = FILE + 'endpoint_url = "https://s3.example.org"\n'


def test_import_of_a_foreign_endpoint_needs_a_yes(headless, config, tmp_path):
    result = headless("share", "import", "-", stdin=FOREIGN)
    assert (result.exit, result.out) == (2, "")
    assert "it names a service that is not AWS" in result.err
    assert result.err.endswith("s3pull: remember acme: there is nobody to ask\nhint: --yes says yes\n")
    assert not config.exists()
    assert headless("share", "import", "-", "--yes", stdin=FOREIGN).exit == 0
    assert shares(config)["acme"]["endpoint_url"] == "https://s3.example.org"


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 2), ("", 2)])
def test_at_a_terminal_it_asks(acme, tmp_path, answer, code):
    (tmp_path / "acme.toml").write_text(FILE.replace("2026/", "2027/"))
    result = run_s3pull(["share", "import", "acme.toml"], cwd=tmp_path, tty=True, answers={"[y/N]": answer})
    assert result.code == code
    assert result.stdout == ""
    assert "there is a share acme already" in result.stderr
    assert shares(acme)["acme"]["prefix"] == ("2027/" if code == 0 else "2026/")


def test_what_a_stranger_wrote_cannot_move_the_cursor(run, config, tmp_path):
    (tmp_path / "x.toml").write_text('[shares.acme]\nbucket = "b-1"\nprefix = "a\\u009b2Jb\\u202e/"\n')
    ran = run("share", "import", "x.toml")
    assert "\x9b" not in ran.err
    assert "\u202e" not in ran.err
