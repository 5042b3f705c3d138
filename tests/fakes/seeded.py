"""Faults by chance, the same for the same seed: `Seeded` picks from a menu, which may be all that this server can do.

Nothing here decides whether a client coped.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tests.fakes import faults, page_faults
from tests.fakes.faults import Action

if TYPE_CHECKING:
    from tests.fakes.aws import Recorded

Dish = Callable[[random.Random], Action]
Menu = Mapping[str, Mapping[str, Dish]]


def _at(dice: random.Random, most: int) -> int:
    return dice.choice([0, 1, dice.randrange(most)])


#: what passes: a client that tries again comes through
PASSING: dict[str, Dish] = {
    "reset": lambda dice: faults.reset_after(_at(dice, 1 << 22)),
    "short body": lambda dice: faults.truncate_at(_at(dice, 1 << 22)),
    "500": lambda _: faults.status(500),
    "503": lambda _: faults.status(503, "SlowDown"),
    "dropped": lambda dice: faults.drop(reset=dice.random() < 0.5),
    "stall": lambda dice: faults.stall_after(dice.randrange(1 << 20), 0.2),
    "long body": lambda dice: faults.overlong(dice.choice([1, 1000])),
}
# nothing could tell a listing with another digit from a true one
FLIPPED: dict[str, Dish] = {"flipped bit": lambda dice: faults.flip_bit(_at(dice, 1 << 20))}

MILD: Menu = {"GetObject": PASSING | FLIPPED, "HeadObject": PASSING, "ListObjectsV2": PASSING}


def everything(elsewhere: str) -> Menu:
    """All faults by operation and name; redirects lead to `elsewhere`."""
    answers: dict[str, Dish] = {
        **PASSING,
        "429": lambda _: faults.status(429),
        "request timeout": lambda _: faults.status(400, "RequestTimeout", "Your socket connection was idle too long."),
        "redirect": lambda dice: faults.redirect(elsewhere, dice.choice([301, 302, 303, 307, 308])),
        "expired token": lambda _: faults.expire_tokens(),
        "invalid token": lambda _: faults.status(400, "InvalidToken", "The provided token is malformed."),
        "chunked": lambda _: faults.chunked(),
        "no Content-Length": lambda _: faults.no_content_length(),
        "interim answer": lambda _: faults.informational(),
        "garbage": lambda dice: faults.raw(dice.randbytes(200)),
        "date off a day": lambda dice: faults.header("Date", dice.choice([_YESTERDAY, _NONSENSE])),
    }
    objects = {
        **answers,
        **FLIPPED,
        "slow drip": lambda dice: faults.drip(4e6, 2000),
        "200 with an error": lambda _: faults.ok_with_error_body(),
        "wrong Content-Range": lambda dice: faults.wrong_content_range(dice.choice([-1, 1, 4096])),
        "no Content-Range": lambda _: faults.header("Content-Range", None),
        "Range ignored": lambda _: faults.ignore_range(),
        "If-Match ignored": lambda _: faults.ignore_if_match(),
        "wrong ETag": lambda _: faults.wrong_etag(),
        **{f"ETag {form}": _etag(form) for form in ("weak", "unquoted", "huge-parts", "missing")},
    }
    heads = {name: dish for name, dish in objects.items() if name not in ("flipped bit", "slow drip")}
    pages: dict[str, Dish] = {
        **answers,
        "200 with an error": lambda _: faults.ok_with_error_body(),
        "first page again": lambda _: page_faults.first_page_again(),
        "same token": lambda _: page_faults.same_token(),
        "circle": lambda _: page_faults.circle(),
        "no token": lambda _: page_faults.no_token(),
        "out of order": lambda _: page_faults.out_of_order(),
        "duplicate keys": lambda _: page_faults.duplicate_keys(),
        "cut document": lambda dice: page_faults.cut_document(dice.random()),
        "entity bomb": lambda _: page_faults.entity_bomb(),
        "huge key": lambda _: page_faults.huge_key(),
        **{
            f"listed ETag {form}": _listed_etag(form) for form in ("weak", "unquoted", "huge-parts", "missing", "empty")
        },
    }
    return {"GetObject": objects, "HeadObject": heads, "ListObjectsV2": pages}


_YESTERDAY, _NONSENSE = "Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"


def _etag(form: str) -> Dish:
    return lambda _: faults.etag_form(form)


def _listed_etag(form: str) -> Dish:
    return lambda _: page_faults.listed_etag(form)


class Seeded:
    """Random faults on S3 reads: the same seed gives the same requests the same fate, whatever the threads do.

    A request that is repeated gets a new fate each time, and after three bad ones in a row is left alone, so that
    a client which retries comes through. `menu` is what there is to choose from, by operation; `served` counts.
    `listings` is the rate of listings, which otherwise are the end of many a run.
    """

    def __init__(self, seed: int, rate: float, menu: Menu = MILD, listings: float | None = None) -> None:
        self._seed = seed
        self._rate = rate
        self._rates = {} if listings is None else {"ListObjectsV2": listings}
        self._menu = menu
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._streak: dict[str, int] = {}
        self.served: dict[str, int] = {}

    def take(self, record: Recorded) -> Action | None:
        menu = self._menu.get(record.action)
        if not menu:
            return None
        who = (
            f"{record.action} {record.bucket}/{record.key} {record.headers.get('range')} {sorted(record.query.items())}"
        )
        with self._lock:
            nth = self._seen[who] = self._seen.get(who, 0) + 1
            dice = random.Random(f"{self._seed}/{nth}/{who}")
            if dice.random() >= self._rates.get(record.action, self._rate) or self._streak.get(who, 0) >= 3:
                self._streak[who] = 0
                return None
            self._streak[who] = self._streak.get(who, 0) + 1
            name = dice.choice(sorted(menu))
            self.served[f"{record.action}: {name}"] = self.served.get(f"{record.action}: {name}", 0) + 1
        return menu[name](dice)
