"""Whatever a file holds, reading it ends soon, in a value or in one of our errors that can be printed."""

import datetime
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pluggable import CRITERIA, EVERYTHING, FAMILIES, NESTS, OUTERS, Nest

from budbreak.errors import BudbreakError, InvalidValue, UnknownName
from budbreak.values import decode, encode, identity, shown_plain


def refused(plain, family=CRITERIA):
    with pytest.raises(BudbreakError) as caught:
        decode(plain, family, field="it")
    assert len(str(caught.value)) < 3000
    return caught.value


@pytest.mark.parametrize(
    "plain",
    [None, 5, True, 0.5, [], ["magnitude"], ("magnitude",), {}, {"seed": 1}, b"magnitude", {1, 2}, datetime.date.min],
)
def test_what_is_neither_name_nor_table_is_refused(plain):
    assert isinstance(refused(plain), InvalidValue)


@pytest.mark.parametrize("name", [None, 5, True, ["magnitude"], {"is": "magnitude"}])
def test_a_name_that_is_no_string_is_refused(name):
    error = refused({"is": name})
    assert error.value.startswith("it.is is ")
    assert error.fix == 'write "magnitude"'


@pytest.mark.parametrize("key", [1, None, ("a",), b"is"])
def test_keys_that_are_no_strings_are_refused(key):
    assert refused({"is": "random", key: 1}).rule == "a key is a string"


@pytest.mark.parametrize("value", ["random", 3, {"is": "random"}], ids=repr)
def test_a_class_or_value_in_the_place_of_a_plain_form_is_refused(value):
    error = refused({"is": "outer", "inner": [value, object()]}, OUTERS)
    assert error.fix == "budbreak.values.encode gives that of a value"


def nested(depth, wrap, core):
    for _ in range(depth):
        core = wrap(core)
    return core


@pytest.mark.parametrize("depth", [51, 1000, 100_000])
@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: {"is": "nest", "inner": x}, lambda x: (x, x)], ids=["list", "table", "twice"]
)
def test_deep_nesting_is_refused(depth, wrap):
    error = refused({"is": "everything", "anything": nested(depth, wrap, 1)}, EVERYTHING)
    assert "is nested" in error.value


def test_a_list_that_contains_itself_is_refused():
    endless = []
    endless += [endless, endless]
    assert "is nested" in refused({"is": "everything", "anything": endless}, EVERYTHING).value


def test_nested_values_within_reason_are_read_written_and_told():
    plain = nested(40, lambda x: {"is": "nest", "inner": x}, "nest")
    value = decode(plain, NESTS, field="f")
    assert encode(value, NESTS) == plain
    assert len({identity(value), identity(Nest(value))}) == 2


def test_long_lists_are_read_soon():
    began = time.process_time()
    assert len(decode({"is": "everything", "numbers": [1] * 100_000}, EVERYTHING, field="f").numbers) == 100_000
    refused({"is": "everything", "numbers": [1] * 100_000 + ["x"]}, EVERYTHING)
    refused({"is": "everything", "number": [1] * 100_000}, EVERYTHING)
    refused({"is": "everything", **{f"a{i}": i for i in range(100_000)}}, EVERYTHING)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "a\0b", "\ud800", "x" * 1_000_000, "\n" * 1000, "mine:\x1b[2J", "\ud800:Mine", "a\0b:Mine", "a..b:C"],
)
def test_strange_names_are_refused_and_can_be_printed(text):
    for plain in (text, {"is": text}, {"is": "random", text: 1}, {"is": "random", "seed": text}):
        message = str(refused(plain))
        assert "\x1b" not in message
        assert "\0" not in message
        assert message.encode()


def test_strings_are_taken_as_they_are():
    text = "\x1b[2J\0\ud800"
    value = decode({"is": "everything", "text": text}, EVERYTHING, field="f")
    assert value.text == text
    assert len(identity(value)) == 64


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["is", "seed", "rate", "inner"]), inner)
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from([*FAMILIES, EVERYTHING, OUTERS, NESTS]), st.data())
def test_anything_is_a_value_or_refused(plain, family, data):
    name = data.draw(st.sampled_from(list(family.names)))
    for form in (plain, {**plain, "is": name} if isinstance(plain, dict) else {"is": plain}):
        try:
            value = decode(form, family, field="f")
        except (InvalidValue, UnknownName):
            continue
        assert decode(encode(value, family), family, field="f") == value


def test_what_is_nested_too_deeply_to_be_spelt_is_said_to_be():
    deep: list[object] = []
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    assert shown_plain(deep) == "nested too deeply"
