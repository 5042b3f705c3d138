"""`policy --check`: our own documents are clean, a statement less is noticed, and foreign mistakes get their names."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.access.narrow import MOST_CHARACTERS, narrowing
from s3pull.access.policies import check as checking
from s3pull.access.policies import given as giving
from s3pull.access.policies.check import Level
from s3pull.access.policies.grant import Grant, Place
from s3pull.access.policies.kinds import KINDS, as_json, unfit
from s3pull.objects import Access

ROLE = "arn:aws:iam::111111111111:role/reader"
CONSUMER = "arn:aws:iam::222222222222:role/consumer"
KEY = "arn:aws:kms:eu-west-1:111111111111:key/0a1b"
NOW = "2026-11-25T14:00:00Z"
GRANT = Grant((Place("acme", "data/"),), ROLE, CONSUMER, ("id-1",))
OBJECTS, BUCKET = "arn:aws:s3:::acme/data/*", "arn:aws:s3:::acme"
PREFIX = {"StringLike": {"s3:prefix": ["data/", "data/*"]}}


def found(document, grant=GRANT, kind=None):
    """(level, problem, hint) of everything that is said about a document."""
    text = json.dumps(document)
    said = checking.check(giving.parse(text, "p.json", direct=grant.direct, kind=kind), grant, NOW)
    return [(str(one.level), one.problem, one.hint) for one in said]


def allow(action, resource=None, principal=None, condition=None, **more):
    parts = {"Action": action, "Resource": resource, "Principal": principal, "Condition": condition}
    return {"Effect": "Allow", **{name: value for name, value in parts.items() if value is not None}, **more}


def policy(*statements, version="2012-10-17"):
    return {"Version": version, "Statement": list(statements)}


# --- our own ----------------------------------------------------------------------------------------------

texts = st.text(st.sampled_from("ab*?${}/.é "), max_size=8)
arns = st.sampled_from(
    [
        CONSUMER,
        "arn:aws:iam::222222222222:user/ana",
        "arn:aws:iam::222222222222:root",
        "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Read_0123456789abcdef",
    ]
)
places = st.lists(
    st.builds(
        Place,
        st.sampled_from(
            ["acme", "acme-2", "arn:aws:s3:eu-west-1:111111111111:accesspoint/data", "acme--use1-az4--x-s3"]
        ),
        texts,
        st.just("us-east-1"),
        st.just("111111111111"),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda place: (place.bucket, place.prefix),
)


@st.composite
def grants(draw):
    ips, vpces = draw(
        st.sampled_from([((), ()), (("203.0.113.0/24", "198.51.100.7"), ()), ((), ("vpce-0a1b2c3d4e5f6a7b8",))])
    )
    consumer, where = draw(arns), tuple(draw(places))
    keys = draw(st.sampled_from([(), (KEY,), (KEY, KEY.replace("eu-west-1", "eu-west-2"))]))
    return Grant(
        where,
        draw(st.sampled_from([ROLE, None])),
        consumer,
        draw(st.sampled_from([(), ("one",), ("one", "two*")])),
        ips,
        vpces,
        draw(st.sampled_from([None, "o-a1b2c3d4e5"])),
        () if any(place.is_directory for place in where) else keys,
        versions=draw(st.booleans()),
        tags=draw(st.booleans()),
        identified=draw(st.booleans()),
        mfa=":user/" in consumer and draw(st.booleans()),
        survives=draw(st.booleans()),
    )


def access_of(grant):
    place = grant.places[0]
    return Access(place.bucket, place.prefix, share="acme", role_arn=grant.role_arn)


def said_about(kind, document, grant):
    return checking.check(giving.parse(json.dumps(document), "p", direct=grant.direct, kind=kind), grant, NOW)


@settings(max_examples=60, deadline=None)
@given(grants())
def test_what_we_print_is_clean(grant):
    accesses = (access_of(grant),) * len(grant.places)
    for kind in KINDS:
        if kind in {"cloudtrail", "revoke"} or unfit(kind, grant, accesses):
            continue
        if kind == "session" and len(narrowing(accesses[0]).policy) > MOST_CHARACTERS - 100:
            continue
        assert said_about(None if kind != "session" else kind, as_json(kind, grant, accesses, NOW), grant) == [], kind


@settings(max_examples=60, deadline=None)
@given(grants())
def test_each_statement_that_is_dropped_is_noticed(grant):
    accesses = (access_of(grant),) * len(grant.places)
    for kind in ("trust", "role", "bucket", "consumer"):
        if unfit(kind, grant, accesses):
            continue
        document = as_json(kind, grant, accesses, NOW)
        whole = document if "Statement" in document else next(iter(document.values()))
        for number in range(len(whole["Statement"])):
            less = copy.deepcopy(document)
            del (less if "Statement" in less else next(iter(less.values())))["Statement"][number]
            assert said_about(kind, less, grant) != [], (kind, whole["Statement"][number])
