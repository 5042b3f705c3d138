"""Share files come from strangers."""

from __future__ import annotations

import pytest

from s3pull.access import config, sharefile
from s3pull.errors import UsageError

ROLE = "arn:aws:iam::111122223333:role/acme-readers"
FILE = f"""\
[shares.acme]
bucket = "acme-exports"
prefix = "2026/"
role_arn = "{ROLE}"
external_id = "9f4c-1"
"""


def empty(tmp_path, **shares):
    return config.Config(tmp_path / "config.toml", shares)


def test_one_share_is_read():
    found = sharefile.read(FILE)
    assert (found.name, found.bucket, found.external_id) == ("acme", "acme-exports", "9f4c-1")
    assert sharefile.read(FILE, name="other").name == "other"
    assert sharefile.read('bucket = "abc"\n', name="plain").bucket == "abc"


@pytest.mark.parametrize("key", sorted(set(config.SHARE_KEYS) - set(sharefile.ALLOWED)))
def test_what_is_the_readers_to_say_is_refused(key):
    with pytest.raises(UsageError, match=f"line 6: {key} is not allowed in a share file"):
        sharefile.read(FILE + f'{key} = "x"\n')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[shares", "is not TOML"),
        ('bucket = "abc"\n', "does not say what the share is called"),
        ("", "does not say what the share is called"),
        (FILE + '[shares.two]\nbucket = "abc"\n', "one share and nothing else"),
        ('other = 1\n[shares.two]\nbucket = "abc"\n', "one share and nothing else"),
        ("shares = 1\n", "one share and nothing else"),
        ("[shares]\nacme = 1\n", "acme is not a table"),
        ('[shares.acme]\nbuckt = "x"\n', "line 2: buckt is unknown"),
        ('[shares.acme]\nbucket = "abc"\nregion = "x\\u001b[31m"\n', "control character"),
        ('[shares."../x"]\nbucket = "abc"\n', "a name that cannot be"),
        ('[shares.acme]\nbucket = "abc"\nrole_arn = 1\n', "line 3: role_arn is not text"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(UsageError) as refused:
        sharefile.read(text)
    assert message in refused.value.message


def test_a_harmless_import_needs_no_yes(tmp_path):
    seen = sharefile.preview(sharefile.read(FILE), empty(tmp_path))
    assert seen.needs_consent == ()
    assert "  external_id = 9f4c-1" in seen.lines
    assert seen.lines[0] == "share acme (new)"
    assert seen.lines[-1] == "  reads acme-exports by assuming a role in account 111122223333"


def test_a_taken_name_needs_a_yes(tmp_path):
    old = config.share("acme", {"bucket": "abc"})
    seen = sharefile.preview(sharefile.read(FILE), empty(tmp_path, acme=old))
    assert len(seen.needs_consent) == 1
    assert "already" in seen.needs_consent[0]
    assert "replaces" in seen.lines[0]


@pytest.mark.parametrize(
    ("url", "foreign"),
    [
        ("https://s3.eu-west-1.amazonaws.com", False),
        ("https://s3.cn-north-1.amazonaws.com.cn", False),
        ("https://s3.example.org", True),
        ("https://amazonaws.com.example.org", True),
        ("https://evilamazonaws.com", True),
        ("https://s3.amazonaws.com.", True),
        ("http://127.0.0.1:9000", True),
        ("http://s3.eu-west-1.amazonaws.com", False),
    ],
)
def test_a_foreign_service_needs_a_yes(tmp_path, url, foreign):
    new = sharefile.read(FILE + f'endpoint_url = "{url}"\n')
    assert bool(sharefile.preview(new, empty(tmp_path)).needs_consent) is foreign


def test_own_credentials_are_named(tmp_path):
    new = sharefile.read('bucket = "abc"\nendpoint_url = "https://s3.example.org"\n', name="direct")
    seen = sharefile.preview(new, empty(tmp_path))
    assert "with your own credentials, directly" in seen.lines[-1]
    assert "signed with your own credentials would go to s3.example.org" in seen.needs_consent[0]


def test_an_export_is_an_import_without_what_is_ones_own():
    mine = {"bucket": "abc", "role_arn": ROLE, "external_id": "9f4c-1", "profile": "work", "cache": "none"}
    text = sharefile.export(config.share("acme", mine))
    assert "profile" not in text
    assert "cache" not in text
    assert sharefile.read(text) == config.share(
        "acme", {key: mine[key] for key in ("bucket", "role_arn", "external_id")}
    )
