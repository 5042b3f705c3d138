"""A listing by several streams is the listing by one, whatever the keys and whatever a stream meets."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import AccessDenied, Cancelled, NothingThere, ServiceError
from s3pull.pull import fanout
from tests.pull.memory_store import MemoryStore
from tests.waiting import wait_until


class Listed(MemoryStore):
    """`meet(start_after, number)` is asked before each page of each stream; what it raises is what the stream meets."""

    def __init__(self, keys, *, page=3, meet=lambda start_after, number: None):
        super().__init__(page=page)
        for key in keys:
            self.put(key, b"")
        self.meet = meet

    def list(self, prefix="", *, start_after=""):
        for number, page in enumerate(super().list(prefix, start_after=start_after)):
            self.meet(start_after, number)
            yield page
        self.meet(start_after, -1)


def flat(store, prefix=""):
    return [found.key for page in MemoryStore.list(store, prefix) for found in page]


def several(store, prefix="", **options):
    return [found.key for page in fanout.pages(store, prefix, **{"full": store.page, **options}) for found in page]


def numbered(count):
    return [f"data/part-{number:05}.parquet" for number in range(count)]


NAMES = st.one_of(
    st.text("ab/09\u00e9\U0001f600 ", min_size=1, max_size=6),
    st.integers(0, 3000).map("d/{:04}".format),
    st.integers(0, 3000).map("d/{}".format),
    st.integers(0, 3000).map(lambda number: f"y={number % 7}/m={number % 12:02}/{number}"),
    st.integers(0, 2**32).map("{:08x}".format),
)


@given(
    st.sets(NAMES, max_size=200), st.integers(1, 5), st.integers(2, 9), st.integers(1, 4), st.sampled_from(["", "d/"])
)
def test_it_is_the_listing(keys, page, hands, stretch, prefix):
    store = Listed(keys, page=page)
    assert several(store, prefix, hands=hands, stretch=stretch) == flat(store, prefix)
    assert {asked for asked, _ in store.lists} == {prefix}


def test_streams_overlap_and_few_requests_are_wasted():
    """What one stream would do in 200 steps is done in far fewer, with little beside."""
    under_way, most, count = set(), [0], [0]
    lock = threading.Lock()

    def meet(start_after, number):
        with lock:
            under_way.add(threading.get_ident())
            most[0] = max(most[0], len(under_way))
            count[0] += number >= 0
        time.sleep(0.001)
        with lock:
            under_way.discard(threading.get_ident())

    store = Listed(numbered(2000), page=10, meet=meet)
    assert several(store) == flat(store)
    assert most[0] >= 4
    assert count[0] < 300


def test_a_short_listing_takes_one_request():
    store = Listed(numbered(999), page=1000)
    assert several(store) == flat(store)
    assert store.lists[:1] == [("", "")]
    assert len(store.lists) == 2  # ours, and the test's own


def test_a_service_that_ignores_start_after():
    class Ignores(Listed):
        def list(self, prefix="", *, start_after=""):
            return super().list(prefix)

    store = Ignores(numbered(500))
    assert several(store) == flat(store)


def test_a_policy_that_denies_other_beginnings():
    def meet(start_after, number):
        if start_after:
            raise AccessDenied("no", code="AccessDenied", status=403)

    store = Listed(numbered(500), meet=meet)
    assert several(store) == flat(store)
    assert len({after for _, after in store.lists}) < 12


def test_a_refusal_that_comes_after_the_end_is_no_news():
    """The whole listing is here already: nothing lies where the stream ahead was to begin."""
    store = Listed(numbered(3), page=3)
    flat_list = store.list
    ended = threading.Event()

    def refusing(prefix="", *, start_after=""):
        if start_after:
            assert ended.wait(10)
            time.sleep(0.05)
            raise NothingThere("not found", code="NoSuchBucket", status=404)
        yield from flat_list(prefix)
        ended.set()

    store.list = refusing
    assert [found.key for page in fanout.pages(store, "", full=3) for found in page] == numbered(3)


def test_a_denial_of_the_first_page_is_raised():
    store = Listed(numbered(500))
    store.deny_list = True
    with pytest.raises(AccessDenied):
        several(store)


@pytest.mark.parametrize("at", [1, 3])
def test_what_the_first_stream_meets_is_raised_after_what_came_before(at):
    def meet(start_after, number):
        if not start_after and number == at:
            raise ServiceError("half way")

    store = Listed(numbered(500), meet=meet)
    came = []
    with pytest.raises(ServiceError, match="half way"):
        for page in fanout.pages(store, "", full=3):
            came += [found.key for found in page]
    assert came == flat(Listed(numbered(500)))[: 3 * at]


def test_what_a_stream_ahead_meets_in_its_middle_is_raised_in_its_place():
    def meet(start_after, number):
        if start_after and number == 1:
            raise ServiceError("half way")

    store = Listed(numbered(3000), meet=meet)
    came = []
    with pytest.raises(ServiceError, match="half way"):
        for page in fanout.pages(store, "", full=3):
            came += [found.key for found in page]
    assert came == flat(Listed(numbered(3000)))[: len(came)]
    assert came


class Shuffled(Listed):
    """In order for `calm` pages, then not, and with another word on `start-after`: as a directory bucket."""

    calm = 4
    knows = "refuses"

    def list(self, prefix="", *, start_after=""):
        if start_after and self.knows == "refuses":
            raise ServiceError("start-after is not supported", code="NotImplemented", status=501)
        pages = list(super().list(prefix, start_after=start_after if self.knows == "honours" else ""))
        yield from pages[: self.calm] + (pages[: self.calm - 1 : -1] if self.calm else pages[::-1])


@pytest.mark.parametrize("knows", ["refuses", "ignores"])
@pytest.mark.parametrize("calm", [0, 1, 2, 4, 20])
def test_a_service_in_another_order_is_listed_by_one_stream(calm, knows):
    store = Shuffled(numbered(120))
    store.calm, store.knows = calm, knows
    assert several(store) == [found.key for page in Shuffled.list(store) for found in page]


class Ordered(Listed):
    """Lists in an order of its own, and begins where that order says."""

    def __init__(self, keys, order, *, page=3):
        super().__init__(keys, page=page)
        self.order = order

    def list(self, prefix="", *, start_after=""):
        self.lists.append((prefix, start_after))
        keys = sorted((key for key in self.objects if key.startswith(prefix)), key=self.order)
        keys = [key for key in keys if not start_after or self.order(key) > self.order(start_after)]
        for at in range(0, len(keys), self.page):
            yield [self.objects[key][1] for key in keys[at : at + self.page]]


ORDERS = [str.casefold, lambda key: key.split("/"), lambda key: (len(key), key), lambda key: key[::-1]]


@pytest.mark.parametrize("order", ORDERS, ids=["any case", "folders first", "short ones first", "from behind"])
@given(keys=st.sets(st.one_of(NAMES, st.from_regex(r"[Aab](/|-)[0-9]{3}", fullmatch=True)), max_size=150))
def test_a_service_with_an_order_of_its_own(order, keys):
    store = Ordered(keys, lambda key: (order(key), key))
    assert several(store, hands=5, stretch=2) == [found.key for page in store.list() for found in page]


def test_whoever_stops_reading_stops_the_streams():
    store = Listed(numbered(3000))
    pages = fanout.pages(store, "", full=3)
    for _ in range(5):
        next(pages)
    pages.close()
    wait_until(lambda: all(thread.name != "listing" for thread in threading.enumerate()), seconds=20)


def test_an_interrupt_ends_it():
    def meet(start_after, number):
        if number > 2:
            store.interrupt()
        store._check()

    store = Listed(numbered(3000), meet=meet)
    with pytest.raises(Cancelled):
        several(store)


def test_little_waits_where_nobody_reads(monkeypatch):
    monkeypatch.setattr(fanout, "_WAITING", 10)
    monkeypatch.setattr(fanout, "_WAITING_FIRST", 4)
    listed = [0]

    def meet(start_after, number):
        listed[0] += number >= 0

    store = Listed(numbered(6000), meet=meet)
    pages = fanout.pages(store, "", full=3)
    next(pages)
    before = -1
    while before != listed[0]:
        before = listed[0]
        time.sleep(0.05)
    assert listed[0] <= 2 * 10 + 4 + fanout._HANDS
    assert [found.key for page in pages for found in page] == flat(Listed(numbered(6000)))[3:]
