"""The one pickle that is read: what the official files hold comes in, everything else stays out."""

from __future__ import annotations

import collections
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budbreak.data.unpickling import read_pickle
from budbreak.errors import CorruptFile

HERE = Path("data_batch_1")

# As Python 2 and numpy 1 wrote the official files: numpy.core, byte strings (opcode U), protocol 2.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
    b"q\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff"
    b"\xff\xffK\x00tb\x89U\x06\x01\x02\x03\xfe\xff\x00tbU\x06labelsq\x08]q\t(K\x07K\x09eu."
)


def test_the_official_form_is_read_without_warnings() -> None:
    content = read_pickle(PYTHON_2, HERE)
    np.testing.assert_array_equal(content[b"data"], np.array([[1, 2, 3], [254, 255, 0]], np.uint8))
    assert content[b"data"].dtype == np.uint8
    assert content[b"labels"] == [7, 9]


@pytest.mark.parametrize("protocol", [3, 4])
def test_what_today_s_numpy_writes_is_read(protocol: int) -> None:
    content = {b"a": np.arange(6).reshape(2, 3), b"s": "text", b"d": {b"n": [1, b"x"]}}
    got = read_pickle(pickle.dumps(content, protocol=protocol), HERE)
    np.testing.assert_array_equal(got[b"a"], content[b"a"])
    assert (got[b"s"], got[b"d"]) == ("text", {b"n": [1, b"x"]})


class Call:
    """Pickles to a call of ``function``."""

    def __init__(self, function: object, *args: object) -> None:
        self.function, self.args = function, args

    def __repr__(self) -> str:
        """Without an address: test names are the same in every process."""
        return f"Call{(getattr(self.function, '__name__', ''), *self.args)}"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.args


def test_a_command_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "was-run"
    bad = pickle.dumps({b"data": Call(os.system, f"touch {proof}")}, protocol=4)
    with pytest.raises(CorruptFile, match=r"asks for \w+\.system"):
        read_pickle(bad, HERE)
    assert not proof.exists()
    pickle.loads(bad)  # the same bytes do run elsewhere: the test can fail
    assert proof.exists()


@pytest.mark.parametrize(
    "content",
    [
        Call(eval, "1+1"),
        Call(getattr, "", "join"),
        Call(np.load, "x.npy"),
        Call(np.ndarray, (10,)),
        Call(np.dtype, "O"),
        Call(np.dtype, [("a", "u1")]),
        collections.OrderedDict(),
        np.array([{}], dtype=object),
        np.zeros(1, dtype=[("a", "u1")]),
        np.float64(3),
        1.5,
        None,
        (1, 2),
        {1, 2},
        True,
    ],
    ids=repr,
)
def test_anything_else_is_refused(content: object) -> None:
    with pytest.raises(CorruptFile, match="data_batch_1 was refused"):
        read_pickle(pickle.dumps({b"data": content}, protocol=4), HERE)


@pytest.mark.parametrize(
    "content", [b"", PYTHON_2[:-1], PYTHON_2[:60], b"junk", pickle.dumps([1]), b"\x80\x02P1\n.", b"\x80\x02\x82\x01."]
)
def test_what_is_no_whole_dictionary_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptFile, match="was refused"):
        read_pickle(content, HERE)


def build(state: bytes, of: bytes) -> bytes:
    """A pickle that sets the state of an object."""
    return b"\x80\x02}U\x01d" + of + state + b"bs."


DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
MANY = b"(K\x03U\x01|" + DTYPE + b"M\x10\x27\x85\x86NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
HOSTILE = {
    # 4 bytes as one element of 10,000 bytes: numpy would read behind them
    "a dtype of many": build(b"(K\x01K\x04\x85" + DTYPE + MANY + b"b\x89U\x04abcdt", ARRAY),
    "a dtype with fields": build(b"(K\x03U\x01|NU\x01aU\x01bK\x08K\x08K\x00t", DTYPE),
    "a shape beyond the data": build(b"(K\x01K\x64\x85" + DTYPE + b"\x89U\x04abcdt", ARRAY),
    "a negative shape": build(b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE + b"\x89U\x04abcdt", ARRAY),
    "a shape of floats": build(b"(K\x01G?\xf0\0\0\0\0\0\0\x85" + DTYPE + b"\x89U\x01at", ARRAY),
    "an array without state": b"\x80\x02}U\x01d" + ARRAY + b"s.",
    "a state of a function": build(b"}U\x08__code__K\x01s", b"cnumpy.core.multiarray\n_reconstruct\n"),
    "a slot of a class": build(b"N}U\x07__doc__K\x01s\x86", b"cnumpy\nndarray\n"),
    "a list within itself": b"\x80\x02}U\x01d]q\x00h\x00as.",
    "a dict within itself": b"\x80\x02}q\x00U\x01dh\x00s.",
    "lists of lists of lists": b"\x80\x02}U\x01d" + b"]" * 50_000 + b"a" * 49_999 + b"s.",
    "as many lists as atoms": b"\x80\x02}U\x01d]q\x000" + b"".join(
        b"](" + b"h%c" % i * 10 + b"eq%c0" % (i + 1) for i in range(60)
    ) + b"h\x3cs.",
    "a key that is hashed for ever": b"\x80\x02}K\x00q\x000" + b"".join(
        b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60)
    ) + b"h\x3cK\x01s.",
    "a place in the memory": b"\x80\x02}r\xff\xff\xff\x7fU\x01dK\x01s",
    "a text of four gigabytes": b"\x80\x02}X\xff\xff\xff\xffabc",
    "a number of 100,000 digits": b"\x80\x02}U\x01dI" + b"9" * 100_000 + b"\ns.",
    "an extension": b"\x80\x02}U\x01d\x82\x01s.",
    "a persistent object": b"\x80\x02}U\x01dPmine\ns.",
    "nothing on the stack": b"\x80\x02s.",
    "a mark that is not there": b"\x80\x02}u.",
    "something behind": b"\x80\x02}.\x80\x02}.",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pickle_is_refused_at_once(what: str) -> None:
    began = time.perf_counter()
    with pytest.raises(CorruptFile, match="was refused"):
        read_pickle(HOSTILE[what], HERE)
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i4", "<f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_pickle_has_them(dtype: str, order: Any) -> None:
    array = np.asarray(np.arange(6).reshape(2, 3), dtype, order=order)
    got = read_pickle(pickle.dumps({b"a": array, b"again": [array, array]}, protocol=4), HERE)
    for found in (got[b"a"], *got[b"again"]):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


plain = st.recursive(
    st.binary(max_size=300) | st.text(max_size=20).filter(str.isprintable) | st.integers(-(2**70), 2**70),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=9) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(content=st.dictionaries(st.binary(max_size=9), plain, max_size=5), protocol=st.sampled_from([2, 3, 4, 5]))
def test_whatever_is_plain_comes_back(content: dict[bytes, Any], protocol: int) -> None:
    if protocol == 2:  # there, Python 3 writes bytes by a call
        content = {1: [4, {5: "text"}, -(2**70)]}  # pyright: ignore
    assert read_pickle(pickle.dumps(content, protocol=protocol), HERE) == content
