"""The one pickle that is read: what the official files hold comes in, everything else stays out."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from budbreak.errors import CorruptFile
from budbreak.training.unpickling import read_pickle

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
