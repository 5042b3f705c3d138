"""What is timed: each scenario, what it needs, and what s3pull is held to in it.

Every ratio is to the fastest peer of the same run, unless it names one.
"""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """The most that s3pull may take: wall and CPU as multiples of a peer's, memory in bytes.

    `peer` '': the fastest one that did the work.
    """

    wall: float
    cpu: float | None = None
    peak: int = 150_000_000
    peer: str = ""


class Scenario(NamedTuple):
    """`work`: "get" (the objects below `source` into an empty folder), "list" (their names), "sync" (nothing to do).

    `first_byte` and `page` are seconds that the server waits before the first byte of an object, or of a page of a
    listing.
    """

    name: str
    work: str
    source: str
    tls: bool
    target: Target | None = None
    first_byte: float = 0.0
    page: float = 0.0


SCENARIOS = (
    Scenario("large-tls", "get", "large.bin", True, Target(1.0, 1.1)),
    Scenario("large-http", "get", "large.bin", False, Target(1.0, 1.1)),
    Scenario("large-far", "get", "large.bin", True, Target(1.0, 1.1), first_byte=0.03),
    Scenario("several-tls", "get", "several/", True, Target(1.0, 1.1)),
    Scenario("several-http", "get", "several/", False, Target(1.0, 1.1)),
    Scenario("small-tls", "get", "small/", True, Target(0.65)),
    Scenario("small-far", "get", "small/", True, Target(0.4), first_byte=0.03),
    Scenario("mixed-tls", "get", "mixed/", True, Target(0.9)),
    Scenario("list", "list", "many/", False, Target(0.3), page=0.04),
    Scenario("no-op", "sync", "many/", False, Target(0.35), page=0.04),
    Scenario("one", "get", "one.bin", False, Target(0.35, peer="aws-cli")),
)
