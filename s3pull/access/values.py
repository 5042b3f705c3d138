"""Reads the text of one access option into its value, held to STS's and S3's own limits.

Every reader takes what a command line, an environment variable or TOML can hold and returns the value, or raises
`Wrong` with half a sentence ("is longer than 12 hours") that the caller completes with where the value stood.
Readers know nothing of that place. None of them repeats an external ID.

Limits: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

SHORTEST_SESSION = 900
LONGEST_SESSION = 43_200
LONGEST_CHAINED_SESSION = 3_600

SHARE_NAME = r"[a-z0-9_-]{2,}"
_UNITS = {"h": 3600, "m": 60, "s": 1}
_DURATION = r"(?a)(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?"
_ROLE = r"(?a)arn:(aws[a-z-]*):iam::(\d{12}):role/([\w+=,.@/-]+)"
_SESSION_NAME = r"(?a)[\w+=,.@-]{2,64}"
_EXTERNAL_ID = r"(?a)[\w+=,.@:/-]{2,1224}"
_MFA_SERIAL = r"(?a)[\w+=/:,.@-]{9,256}"
_REGION = r"(?a)(?![0-9]+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_BUCKET = r"(?a)[a-zA-Z0-9][a-zA-Z0-9._-]{1,253}[a-zA-Z0-9]"
_ACCESS_POINT = r"(?a)arn:aws[a-z-]*:s3:([a-z0-9-]*):(\d{12}):accesspoint[/:]([a-zA-Z0-9.-]{1,63})"
_TAG_TEXT = r"[^\x00-\x1f\x7f]*"
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_CACHES = ("auto", "keyring", "file", "none")
_LOOPBACK = r"(?i)localhost|127(?:\.\d{1,3}){3}|::1|.*\.localhost"


class Wrong(ValueError):
    """A value that cannot be. The text follows the name of the place where it stood; `hint` says what to write."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


def text(value: object) -> str:
    """One line of text, not empty."""
    if not isinstance(value, str):
        raise Wrong("is not text", 'write it in quotes: "…"')
    if not value:
        raise Wrong("is empty")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise Wrong("contains a control character")
    return value


def flag(value: object) -> bool:
    """true or false; from the environment also yes, no, on, off, 1, 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise Wrong("is neither true nor false")


def duration(value: object) -> int:
    """Seconds from `3600`, `15m`, `1h`, `1h30m`: 900 (15 minutes) to 43,200 (12 hours).

    >>> duration("1h30m")
    5400
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Wrong("is not a duration", "write seconds or 15m, 1h, 1h30m")
    if isinstance(value, str):
        match = re.fullmatch(_DURATION, value.strip().lower())
        if match is None or not any(match.groups()):
            raise Wrong(f"is not a duration: {value!r}", "write seconds or 15m, 1h, 1h30m")
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        value = hours * _UNITS["h"] + minutes * _UNITS["m"] + seconds
    if value < SHORTEST_SESSION:
        raise Wrong("is shorter than 15 minutes, the shortest session that STS gives")
    if value > LONGEST_SESSION:
        raise Wrong("is longer than 12 hours, the longest session that STS gives")
    return value


def role_arn(value: object) -> str:
    """The IAM ARN of a role."""
    arn = text(value).strip()
    if re.fullmatch(_ROLE, arn) and 20 <= len(arn) <= 2048:
        return arn
    hint = "it looks like arn:aws:iam::111122223333:role/NAME"
    if ":assumed-role/" in arn:
        hint = "this is the ARN of a session; the role's own ARN looks like arn:aws:iam::111122223333:role/NAME"
    elif ":instance-profile/" in arn:
        hint = "this is an instance profile; ask for the ARN of the role in it"
    elif ":user/" in arn:
        hint = "this is a user; only roles can be assumed"
    raise Wrong(f"is not the ARN of a role: {arn!r}", hint)


def external_id(value: object) -> str:
    """What the data owner's trust policy asks for. Never repeated in a message."""
    secret = text(value)
    if re.fullmatch(_EXTERNAL_ID, secret):
        return secret
    if secret.strip() != secret:
        raise Wrong("begins or ends with white space", "copy it again: the match is exact")
    if not 2 <= len(secret) <= 1224:
        raise Wrong("must have 2 to 1,224 characters")
    raise Wrong("has a character that STS refuses", "letters, digits and +=,.@:/-_ are allowed")


def session_name(value: object) -> str:
    """A RoleSessionName, also the form of a SourceIdentity."""
    name = text(value)
    if re.fullmatch(_SESSION_NAME, name):
        return name
    raise Wrong(f"is not what STS takes: {name!r}", "2 to 64 letters, digits and +=,.@-_")


def mfa_serial(value: object) -> str:
    """The ARN of a virtual MFA device or the serial number of a hardware one."""
    serial = text(value)
    if re.fullmatch(_MFA_SERIAL, serial):
        return serial
    raise Wrong(f"is not an MFA device: {serial!r}", "it looks like arn:aws:iam::222222222222:mfa/NAME")


def session_tags(value: object) -> tuple[tuple[str, str], ...]:
    """Session tags from `K=V` (several: a list, a table, or `K=V,K=V` in the environment). Order is kept."""
    if isinstance(value, Mapping):
        pairs = [(key, tag) for key, tag in value.items()]
    else:
        lines = value.split(",") if isinstance(value, str) else value
        if not isinstance(lines, list | tuple):
            raise Wrong("is not a list of tags", 'write { team = "climate" } or ["team=climate"]')
        pairs = [line if isinstance(line, tuple) else _pair(line) for line in lines]
    seen = set()
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise Wrong("has a tag that is not text")
        key, tag = pair
        if not 1 <= len(key) <= 128 or len(tag) > 256 or not re.fullmatch(_TAG_TEXT, key + tag):
            raise Wrong(f"has a tag that STS refuses: {key!r}", "a key has 1 to 128 characters, a value up to 256")
        if key.lower() in seen:
            raise Wrong(f"has the tag {key!r} twice", "STS does not tell upper from lower case in tag keys")
        seen.add(key.lower())
    if len(pairs) > 50:
        raise Wrong("has more than 50 tags")
    return tuple(pairs)


def _pair(line: object) -> tuple[str, str]:
    key, equals, tag = line.partition("=") if isinstance(line, str) else ("", "", "")
    if not equals:
        raise Wrong(f"has a tag without a value: {line!r}", "write K=V")
    return key.strip(), tag.strip()


def region(value: object) -> str:
    """An AWS region, or whatever a custom endpoint calls its own."""
    name = text(value)
    if re.fullmatch(_REGION, name):
        return name
    raise Wrong(f"is not a region: {name!r}", "it looks like eu-west-1")


def bucket_owner(value: object) -> str:
    """A 12-digit account ID, or `any` for no expectation."""
    owner = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)
    owner = owner.replace("-", "") if re.fullmatch(r"\d{4}-\d{4}-\d{4}", owner) else owner
    if owner == "any" or re.fullmatch(r"\d{12}", owner, re.ASCII):
        return owner
    raise Wrong(f"is not an account ID: {owner!r}", "12 digits in quotes, or any")


def url(value: object) -> str:
    """An http or https URL of a service."""
    address = text(value).strip()
    try:
        parts = urlsplit(address)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port
    except ValueError:
        sound = False
    if not sound:
        raise Wrong(f"is not a URL: {address!r}", "it looks like https://s3.example.org")
    if parts.username or parts.password:
        raise Wrong("is a URL with a user or password in it", "credentials come from AWS profiles and the environment")
    return address


def plain_http(address: str) -> bool:
    """True where `address` would send signed requests unencrypted to another machine."""
    parts = urlsplit(address)
    return parts.scheme != "https" and not re.fullmatch(_LOOPBACK, parts.hostname or "")


def cache(value: object) -> str:
    """Where sessions are kept."""
    name = text(value)
    if name in _CACHES:
        return name
    raise Wrong(f"is none of {', '.join(_CACHES)}: {name!r}")


def bucket(value: object) -> str:
    """A bucket's name or an access point's alias."""
    name = text(value)
    if re.fullmatch(_BUCKET, name):
        return name
    if name.startswith("arn:"):
        raise Wrong("is an ARN", "an access point goes into access_point")
    raise Wrong(f"is not a bucket's name: {name!r}", "the name alone, without s3:// and without a key")


def access_point(value: object) -> str:
    """The ARN of an S3 access point, Multi-Region ones included."""
    arn = text(value)
    if re.fullmatch(_ACCESS_POINT, arn):
        return arn
    if ":s3-object-lambda:" in arn:
        raise Wrong("is an Object Lambda access point: what it answers cannot be verified", "ask for a plain one")
    raise Wrong(f"is not an access point: {arn!r}", "arn:aws:s3:eu-west-1:111122223333:accesspoint/NAME")


def prefix(value: object) -> str:
    """What all keys of a source begin with; may be empty."""
    if not isinstance(value, str):
        raise Wrong("is not text", 'write it in quotes: "…"')
    if len(value.encode("utf-8", "surrogatepass")) > 1024:
        raise Wrong("is longer than 1,024 bytes, the longest key")
    return value


def role_account(arn: str) -> str | None:
    """The account ID in a role's ARN."""
    match = re.fullmatch(_ROLE, arn)
    return match.group(2) if match else None


def access_point_parts(arn: str) -> tuple[str, str, str] | None:
    """(region, account, name) of an access point's ARN; a Multi-Region one has no region. None for a bucket."""
    match = re.fullmatch(_ACCESS_POINT, arn)
    return (match.group(1), match.group(2), match.group(3)) if match else None


def partition(arn: str | None) -> str:
    """`aws`, `aws-cn`, `aws-us-gov`…: the second field of an ARN; `aws` where there is none."""
    fields = (arn or "").split(":")
    return fields[1] if len(fields) > 2 and fields[1].startswith("aws") else "aws"
