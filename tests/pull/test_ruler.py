"""Keys as numbers: order is kept, and what is reckoned lies where it should."""

from hypothesis import given
from hypothesis import strategies as st

from s3pull.pull.ruler import Ruler

KEYS = st.sets(st.text("abz019/-é", max_size=8).map("p/".__add__), min_size=2, max_size=30)


def ruler(*keys, prefix="p/"):
    made = Ruler(prefix)
    made.learn(keys)
    return made


@given(KEYS)
def test_the_order_of_numbers_is_that_of_the_keys_that_were_seen(keys):
    made = ruler(*keys)
    assert sorted(keys, key=made.number) == sorted(keys)
    assert [made.key(made.number(key)) for key in keys] == list(keys)


@given(KEYS, st.integers(0, 10**9))
def test_whatever_is_reckoned_begins_with_the_prefix(keys, number):
    assert ruler(*keys).key(number).startswith("p/")


def test_digits_carry():
    made = ruler("p/part-0098", "p/part-0099")
    step = made.number("p/part-0099") - made.number("p/part-0098")
    assert made.key(made.number("p/part-0099") + 2 * step) == "p/part-0101"


def test_hex_digits_carry():
    made = ruler("p/0af", "p/0b1")
    assert made.key(made.number("p/0af") + 1) == "p/0b0"


def test_a_folder_further_on():
    made = ruler("p/d000/f-999", "p/d001/f-999")
    folder = made.number("p/d001/f-999") - made.number("p/d000/f-999")
    assert made.key(made.number("p/d001/f-999") + 9 * folder) == "p/d010/f-999"


def test_past_the_last_number_is_the_last_key():
    made = ruler("p/a1", "p/a2")
    assert made.key(10**6) == "p/a9"
