"""Listing pages: what they say, what is refused, and that no server can make them endless."""

import datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import ServiceError, Transient
from s3pull.objects import RemoteObject
from s3pull.remote import listing
from s3pull.remote.listing import Page, Progress, page_query, parse_page

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(contents="", *, truncated="false", token=None, encoding=None, more=""):
    tail = f"<NextContinuationToken>{token}</NextContinuationToken>" if token is not None else ""
    coded = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {XMLNS}><Name>b</Name><Prefix>p</Prefix>{coded}'
        f"<KeyCount>1</KeyCount><IsTruncated>{truncated}</IsTruncated>{tail}{contents}{more}</ListBucketResult>"
    ).encode()


def item(key="k", size="3", etag='"e"', modified="2026-11-23T22:54:56.000Z", more=""):
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified><ETag>{escape(etag)}</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass>{more}</Contents>"
    )


def test_a_page():
    owner = "<Owner><ID>KEY</ID><DisplayName>Size</DisplayName></Owner>"
    sums = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    found = parse_page(page(item("a", more=owner + sums) + "\n  " + item("b&lt;", size="0", etag="&quot;x-2&quot;")))
    epoch = datetime.datetime(2026, 11, 23, 22, 54, 56, tzinfo=datetime.UTC).timestamp()
    assert found == Page(
        [
            RemoteObject("a", 3, "e", epoch, storage_class="STANDARD"),
            RemoteObject("b&lt;", 0, "&quot;x-2&quot;", epoch, storage_class="STANDARD"),
        ],
        None,
    )


@pytest.mark.parametrize(
    ("status", "restored", "archived"),
    [
        ("", None, True),
        ("<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>", False, True),
        ("<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>", True, False),
        (
            "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
            "<RestoreExpiryDate>2026-12-01T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>",
            True,
            False,
        ),
    ],
)
def test_archived_objects(status, restored, archived):
    text = item(more=status).replace("STANDARD", "DEEP_ARCHIVE")
    (obj,) = parse_page(page(text)).objects
    assert (obj.restored, obj.archived) == (restored, archived)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), min_size=1, max_size=5))
def test_every_key_survives_the_encoding(keys):
    texts = "".join(item(quote(key, safe="/").replace("%20", "+")) for key in keys)
    assert [obj.key for obj in parse_page(page(texts, encoding="url")).objects] == keys


def test_keys_are_decoded_only_where_the_answer_says_so():
    assert parse_page(page(item("a%20b+c"))).objects[0].key == "a%20b+c"
    assert parse_page(page(item("a%20b+c"), encoding="url")).objects[0].key == "a b c"


def test_a_weak_etag_stays_weak():
    assert parse_page(page(item(etag='W/"e"'))).objects[0].etag == 'W/"e"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "yesterday",
        "2026-13-41T00:00:00Z",
        "2026-11-23 22:54:56.000Z",
        # found by the fault server: what no file, receipt or calendar can hold is no time
        "2026-11-23T22:54:1e999Z",
        "2026-11-23T22:54:infinityZ",
        "2026-11-23T22:54:  nanZ",
        "2026-11-23T22:54:-9.000Z",
        "0001-01-01T00:00:00.000Z",
        "2400-01-01T00:00:00.000Z",
        "9999-12-31T23:59:60.000Z",
    ],
)
def test_an_odd_date_is_unknown(text):
    assert parse_page(page(item(modified=text))).objects[0].last_modified is None


@pytest.mark.parametrize("between", ["", "<!-- read by the parser -->"])
def test_a_key_that_is_longer_than_any_is_refused(between):
    assert len(parse_page(page(between + item(key="k" * 16_384))).objects[0].key) == 16_384
    with pytest.raises(ServiceError, match=r"a key of 10000000 characters, which begins with 'kkk") as caught:
        parse_page(page(between + item(key="k" * 10_000_000)))
    assert len(str(caught.value)) < 200


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2100, 1, 1)))
def test_dates(moment):
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    exact = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=datetime.UTC).timestamp()
    assert parse_page(page(item(modified=text))).objects[0].last_modified == pytest.approx(exact, abs=1e-6)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><ListBucketResult>&b;</ListBucketResult>'
XXE = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ListBucketResult>&a;</ListBucketResult>'


@pytest.mark.parametrize(
    "document",
    [
        page(truncated="true"),  # more, but no token
        page(truncated="true", token=""),
        page(truncated="maybe"),
        page(item(size="-1")),
        page(item(size="many")),
        page(item(size="³")),
        page(item(size="9" * 30)),
        page("<Contents><Key>k</Key><Size>1</Size></Contents>"),
        page("<Contents><Key>k</Key><ETag>e</ETag></Contents>"),
        page("<Contents><ETag>e</ETag><Size>1</Size></Contents>"),
        page(item("%FF"), encoding="url"),
        b"<Other/>",
        b"<ListBucketResult/>",
        BOMB.encode(),
        XXE.encode(),
        b"<ListBucketResult>" + b"<a>" * 50 + b"</a>" * 50 + b"</ListBucketResult>",
    ],
)
def test_refused(document):
    with pytest.raises(ServiceError) as caught:
        parse_page(document)
    assert not isinstance(caught.value, Transient)


@given(st.integers(0, 400))
def test_a_page_that_breaks_off_is_asked_for_again(cut):
    document = page(item())
    with pytest.raises(Transient):
        parse_page(document[: min(cut, len(document) - 1)])


@given(st.binary(max_size=200))
def test_garbage_never_passes(document):
    with pytest.raises(ServiceError):
        parse_page(document)


AWS_ITEM = (
    "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag>"
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    "<Size>{}</Size><StorageClass>{}</StorageClass></Contents>"
)
FIELDS = st.tuples(
    st.one_of(
        st.sampled_from(["a/b.txt", "a%2Fb+c", "%C3%A9", "%ff", "", "a&amp;b", "\x01", "\ufffe", "a>b"]), st.text()
    ),
    st.sampled_from(["2026-11-23T22:54:56.000Z", "yesterday", ""]),
    st.sampled_from(
        ["&quot;e-2&quot;", '"e"', "&#34;e&#34;", "W/&quot;e&quot;", "e", "", '"a"b"', "&quot;a&quot;&quot;"]
    ),
    st.sampled_from(["0", "12", "9" * 18, "9" * 19, "-1", "", "\u0661"]),
    st.sampled_from(["STANDARD", "GLACIER", "", "&lt;"]),
)


def outcome(document):
    try:
        return parse_page(document)
    except (ServiceError, Transient) as error:
        return type(error)


@given(
    st.lists(FIELDS, min_size=1, max_size=3),
    st.sampled_from(["url", None]),
    st.sampled_from(["", " ", "<!-- -->", "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>", "<Contents>", "]]>"]),
    st.one_of(st.none(), st.tuples(st.integers(0, 700), st.binary(max_size=3))),
)
def test_plain_pages_are_read_as_the_parser_reads_them(found, encoding, between, change):
    document = page(between.join(AWS_ITEM.format(*fields) for fields in found), encoding=encoding)
    if change is not None:
        document = document[: change[0]] + change[1] + document[change[0] + len(change[1]) :]
    quick = outcome(document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_plain", lambda document: (document, []))
        assert outcome(document) == quick


def test_what_aws_writes_is_read_the_quick_way():
    document = page(AWS_ITEM.format("a%2Fb", "2026-11-23T22:54:56.000Z", "&quot;e&quot;", 3, "STANDARD") * 3)
    assert len(listing._plain(document)[1]) == 3


def test_queries():
    assert page_query("", "", None) == b"encoding-type=url&list-type=2&prefix="
    assert page_query("a b/ü", "x+", None) == b"encoding-type=url&list-type=2&prefix=a%20b%2F%C3%BC&start-after=x%2B"
    assert page_query("p", "x", "t/=") == b"continuation-token=t%2F%3D&encoding-type=url&list-type=2&prefix=p"


def objects(*keys):
    return [RemoteObject(key, 1, "e") for key in keys]


def test_a_repeated_token_is_an_error():
    progress = Progress()
    progress.check(Page(objects("a"), "1"))
    progress.check(Page(objects("b"), "2"))
    with pytest.raises(ServiceError, match="repeats a continuation token"):
        progress.check(Page(objects("c"), "1"))


def test_a_listing_that_goes_in_circles_with_new_tokens_is_an_error():
    progress = Progress()
    with pytest.raises(ServiceError, match="repeats itself at a"):
        for n in range(10):
            progress.check(Page(objects("c" if n % 3 == 2 else "ab"[n % 3]), str(n)))


def test_pages_out_of_order_are_fine():
    progress = Progress()
    for n, key in enumerate("zebra"):
        progress.check(Page(objects(key), str(n)))


def test_empty_pages_end_somewhere():
    progress = Progress()
    with pytest.raises(ServiceError, match="without an object"):
        for n in range(5000):
            progress.check(Page([], str(n)))
