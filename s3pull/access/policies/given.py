"""Finds the policies in a file that somebody gives `policy --check`, and says what each of them is. Pure.

A file may hold a policy, a statement or a list of them, what `s3pull policy` printed, or what the AWS CLI answered to
get-role, get-role-policy, get-policy-version, get-bucket-policy or get-key-policy (a policy as text in JSON, too).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from s3pull.access.policies import reading
from s3pull.access.policies.kinds import KINDS
from s3pull.errors import UsageError

PODS = "pods"
#: where policies lie in what others print
_WITHIN = (
    "Role", "AssumeRolePolicyDocument", "PolicyDocument", "PolicyVersion", "Document", "Policy", "permissions",
)  # fmt: skip
#: a policy in the answer of get-role is nested a dozen deep
_DEEPEST = 64
_FORM = "give the policy alone, in JSON"
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, slots=True)
class Given:
    """A policy as it was found. `kind` is a word of `kinds.KINDS`, `pods`, or None where it cannot be told."""

    file: str
    document: Mapping[str, Any]
    kind: str | None


def parse(text: str, file: str, *, direct: bool, kind: str | None = None) -> list[Given]:
    """The policies in `text`. `kind` is taken for granted where it is given. Raises UsageError for what holds none."""
    try:
        policies = list(_policies(_loaded(text)))
    except RecursionError:
        raise UsageError(f"{file}: nested deeper than any policy is", hint=_FORM) from None
    except ValueError as error:
        raise UsageError(f"{file}: not JSON: {str(error)[:1].lower()}{str(error)[1:]}", hint=_FORM) from None
    found = [Given(file, document, named or kind or guess(document, direct=direct)) for document, named in policies]
    if not found:
        raise UsageError(f"{file} holds no policy", hint='a policy has a "Statement"')
    return found


def guess(document: Mapping[str, Any], *, direct: bool) -> str | None:
    """What a policy is, by whether it names principals and by the services that its actions belong to.

    | principals | sts | s3 | kms | nothing but denials |
    |---|---|---|---|---|
    | yes | trust (of pods: `pods`) | bucket | key | by its services |
    | no | consumer | role; read directly: consumer | as s3 | revoke |
    """
    statements = reading.statements(document)
    names = [name for one in statements for key in ("Action", "NotAction") for name in reading.listed(one, key)]
    services = {name.partition(":")[0].lower() for name in names}
    if any("Principal" in one or "NotPrincipal" in one for one in statements):
        if "pods.eks.amazonaws.com" in json.dumps(document):
            return PODS
        for service, kind in (("sts", "trust"), ("s3", "bucket"), ("s3express", "bucket"), ("kms", "key")):
            if service in services:
                return kind
        return None
    if services == {"sts"} or direct:
        return "consumer"
    if not statements:
        return None
    return "revoke" if all(one.get("Effect") == "Deny" for one in statements) else "role"


def _policies(value: Any) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    if isinstance(value, str):
        yield from _policies(_decoded(value))
    elif isinstance(value, list):
        if value and all(isinstance(one, Mapping) and "Effect" in one for one in value):
            yield {"Version": "2012-10-17", "Statement": value}, None
    elif isinstance(value, Mapping):
        if "Statement" in value:
            yield value, None
        elif "Effect" in value:
            yield {"Version": "2012-10-17", "Statement": [value]}, None
        else:
            yield from _inside(value)


def _inside(value: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """An object by kind, by bucket, or of the AWS CLI."""
    for name, inner in value.items():
        if name in KINDS:
            kind = None if name in {"consumer", "trust"} else name
            yield from ((document, kind) for document, _ in _policies(inner))
        elif name in _WITHIN:
            yield from _policies(inner)
        elif isinstance(inner, Mapping) and "Statement" in inner:
            yield inner, None


def _decoded(text: str) -> Any:
    """IAM's own API answers policies percent-encoded."""
    from urllib.parse import unquote

    try:
        return _loaded(unquote(text) if _ESCAPED.match(text) else text)
    except ValueError:
        return None


def _loaded(text: str) -> Any:
    """JSON. Raises RecursionError for what is nested so deep that whoever walks it by recursion could not."""
    value = json.loads(text)
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise RecursionError
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for several in inner for one in several]
    return value
