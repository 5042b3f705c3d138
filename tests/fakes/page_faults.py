"""What a listing can get wrong that an object cannot: pages repeated, out of order, endless, doubled, broken, hostile.

Each is an action for `aws.fault("ListObjectsV2", …)`. What a true page says is in listings.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.fakes.faults import Action
from tests.fakes.http import Request, Response

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws, Recorded

#: the token with which listings.py begins at the first key
BEGINNING = "MQ=="
_CONTENTS = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
_ETAG = re.compile(r"<ETag>(.*?)</ETag>")


def _page(name: str, change: Callable[[str], str]) -> Action:
    def after(aws: FakeAws, record: Recorded, response: Response) -> None:
        if response.status == 200 and isinstance(response.body, bytes):
            response.body = change(response.body.decode()).encode()

    return Action(name, after=after)


def first_page_again() -> Action:
    """Whatever the token asks for, the first page comes."""

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        record.query.pop("continuation-token", None)
        return None

    return Action("first_page_again", before=before)


def same_token() -> Action:
    """This page goes on with the token by which it was asked for, and is not the last."""

    def after(aws: FakeAws, record: Recorded, response: Response) -> None:
        if response.status == 200 and isinstance(response.body, bytes):
            token = record.query.get("continuation-token", BEGINNING)
            response.body = _going_on(response.body.decode(), token).encode()

    return Action("same_token", after=after)


def circle() -> Action:
    """The token of this page leads back to the beginning."""
    return _page("circle", lambda document: _going_on(document, BEGINNING))


def _going_on(document: str, token: str) -> str:
    document = re.sub(r"<NextContinuationToken>.*?</NextContinuationToken>", "", document)
    more = f"<NextContinuationToken>{token}</NextContinuationToken><IsTruncated>true</IsTruncated>"
    return re.sub(r"<IsTruncated>\w+</IsTruncated>", more, document)


def no_token() -> Action:
    """There is more, and no token to ask for it."""

    def change(document: str) -> str:
        return re.sub(r"<NextContinuationToken>.*?</NextContinuationToken>", "", _going_on(document, ""))

    return _page("no_token", change)


def out_of_order() -> Action:
    """The keys of a page backwards, as a service with an order of its own lists them."""
    return _page("out_of_order", lambda document: _objects(document, lambda entries: entries[::-1]))


def duplicate_keys() -> Action:
    """Each object of a page twice."""
    return _page("duplicate_keys", lambda document: _objects(document, lambda entries: [*entries, *entries]))


def _objects(document: str, change: Callable[[list[str]], list[str]]) -> str:
    entries = _CONTENTS.findall(document)
    if not entries:
        return document
    begin, end = document.index(entries[0]), document.rindex(entries[-1]) + len(entries[-1])
    return document[:begin] + "".join(change(entries)) + document[end:]


def cut_document(share: float = 0.5) -> Action:
    """The XML ends in the middle, under a Content-Length that agrees."""
    return _page(f"cut_document({share:g})", lambda document: document[: int(len(document) * share)])


def entity_bomb() -> Action:
    """A billion laughs in the first key (https://en.wikipedia.org/wiki/Billion_laughs_attack)."""
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))

    def change(document: str) -> str:
        declaration, end, rest = document.partition("?>")
        return f"{declaration}{end}<!DOCTYPE x [{entities}]>" + re.sub("<Key>", "<Key>&a9;", rest, count=1)

    return _page("entity_bomb", change)


def outside_entity(path: str) -> Action:
    """The first key asks the reader for a file of its own."""

    def change(document: str) -> str:
        declaration, end, rest = document.partition("?>")
        doctype = f'<!DOCTYPE x [<!ENTITY mine SYSTEM "file://{path}">]>'
        return f"{declaration}{end}{doctype}" + re.sub("<Key>", "<Key>&mine;", rest, count=1)

    return _page("outside_entity", change)


def huge_key(size: int = 10 << 20) -> Action:
    """The first key has `size` characters more."""
    return _page(f"huge_key({size})", lambda document: document.replace("</Key>", "k" * size + "</Key>", 1))


def listed_etag(form: str) -> Action:
    """The ETags of a page as some vendor writes them: weak, unquoted, huge-parts, missing, empty."""
    forms: dict[str, Callable[[str], str]] = {
        "weak": lambda etag: f'<ETag>W/"{etag}"</ETag>',
        "unquoted": lambda etag: f"<ETag>{etag}</ETag>",
        "huge-parts": lambda etag: f'<ETag>"{etag[:32]}-{"9" * 5000}"</ETag>',
        "missing": lambda _: "",
        "empty": lambda _: "<ETag></ETag>",
    }

    def change(document: str) -> str:
        return _ETAG.sub(lambda match: forms[form](match[1].replace("&quot;", "").replace('"', "")), document)

    return _page(f"listed_etag({form})", change)
