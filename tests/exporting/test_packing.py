"""Packed tensors come back bit for bit, and take hardly more than the entropy of where they are."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from budbreak.errors import InvalidValue
from budbreak.exporting import entropy_bound, write_packed
from budbreak.exporting.packing import rice
from budbreak.files import DTYPE_NAMES, read_exported, tensor_bytes


def back(tmp_path, **state):
    write_packed(tmp_path / "f", state)
    return read_exported(tmp_path / "f")


def same(one, other):
    return (one.dtype, one.shape) == (other.dtype, other.shape) and bytes(tensor_bytes(one)) == bytes(
        tensor_bytes(other)
    )


def sparse(n, sparsity, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(n, generator=generator) >= sparsity
    values = torch.randint(1, 100, (n,), generator=generator) + torch.rand(n, generator=generator)
    return (values * kept).to(dtype)


CASES = {
    "scalar": torch.tensor(3.5, dtype=torch.float64),
    "zero": torch.tensor(0.0),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "all zero": torch.zeros(5, 7),
    "all one": torch.ones(3, 4, dtype=torch.bfloat16),
    "dense": torch.arange(1.0, 41.0),
    "signed zeros": torch.tensor([0.0, -0.0, 1.0, 0.0, -0.0]),
    "all -0.0": torch.full((9,), -0.0),
    "nan": torch.tensor([0x7FC12345, 0x7F800001, 0, -1] * 5, dtype=torch.int32).view(torch.float32),
    "infinite": torch.tensor([0.0, math.inf, -math.inf, 5e-324], dtype=torch.float64),
    "bools": torch.tensor([[True, False], [False, True]]),
    "all true": torch.ones(77, dtype=torch.bool),
    "integers": torch.tensor([0, -(2**63), 2**63 - 1, 0]),
    "first": torch.eye(1, 1000)[0],
    "last": torch.eye(1, 1000)[0].flip(0),
    "one in many": torch.eye(1, 100_000)[0].roll(99_998),
    "rows": torch.ones(40, 30) * (torch.arange(40) % 5 == 2)[:, None] * torch.arange(1.0, 31),
    "channels last": sparse(120, 0.7).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "transposed": sparse(120, 0.7).reshape(10, 12).T,
    "strided": sparse(120, 0.5)[1::3],
    "expanded": sparse(6, 0.5).expand(4, 6),
    "parameter": torch.nn.Parameter(sparse(50, 0.8)),
    "complex": torch.tensor([0j, 1 + 2j, complex(0.0, -0.0)], dtype=torch.complex64),
}


@pytest.mark.parametrize("name", CASES)
def test_a_tensor_comes_back_bit_for_bit(tmp_path, name):
    assert same(CASES[name], back(tmp_path, x=CASES[name])["x"])


def test_all_together_come_back_in_order(tmp_path):
    read = back(tmp_path, **CASES)
    assert list(read) == list(CASES)
    assert all(same(CASES[name], read[name]) for name in CASES)
    assert not any(tensor.requires_grad for tensor in read.values())


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
@pytest.mark.parametrize("dtype", DTYPE_NAMES, ids=str)
def test_each_dtype_comes_back(tmp_path, dtype, sparsity):
    tensor = sparse(300, sparsity).to(dtype)
    read = back(tmp_path, x=tensor, y=sparse(7, 0.5), z=tensor[:10])
    assert same(tensor, read["x"])
    assert same(tensor[:10], read["z"])


@given(st.lists(st.integers(0, 2**16 - 1) | st.just(0), max_size=70), st.sampled_from([1, 7, 64, 1000]))
@settings(deadline=None, max_examples=60)
def test_whatever_the_bits_they_come_back(tmp_path_factory, numbers, apart):
    tensor = torch.zeros(len(numbers) * apart, dtype=torch.int32)
    tensor[::apart] = torch.tensor(numbers, dtype=torch.int32)
    tensor = tensor.to(torch.int16).view(torch.bfloat16)
    assert same(tensor, back(tmp_path_factory.mktemp("x"), x=tensor)["x"])


def decoded(k, unary, low, count):
    """Rice codes, bit by bit."""
    ones, bits = "".join(f"{byte:08b}" for byte in unary), "".join(f"{byte:08b}" for byte in low)
    places, place, at = [], -1, 0
    for number in range(count):
        quotient = 0
        while ones[at] == "0":
            quotient, at = quotient + 1, at + 1
        at += 1
        rest = bits[number * k : (number + 1) * k]
        place += 1 + (quotient << k) + (int(rest, 2) if rest else 0)
        places.append(place)
    return places


@pytest.mark.parametrize("places", [[], [0], [5], [0, 1, 2, 3], [3, 900, 901], list(range(4, 4000, 37)), [7, 7000]])
def test_rice_codes_are_what_the_layout_says(places):
    k, unary, low = rice(np.array(places, dtype=np.int64))
    assert decoded(k, unary, low, len(places)) == places
    assert low.size == math.ceil(k * len(places) / 8)


def test_at_a_half_the_index_is_a_bitmask(tmp_path):
    tensor = torch.tensor([0.0, 1, 2, 0, 0, 3, 0, 0, 4])
    k, unary, low = rice(np.flatnonzero(tensor.numpy()))
    assert (k, low.size, unary.tolist()) == (0, 0, [0b01100100, 0b10000000])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_file_is_near_the_entropy_bound(tmp_path, sparsity, dtype):
    tensor = sparse(1_000_000, sparsity, dtype)
    write_packed(tmp_path / "f", {"w": tensor})
    share = 1 - (tensor == 0).double().mean().item()
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    bound = 1e6 * (share * 8 * tensor.element_size() + entropy) / 8
    assert entropy_bound([tensor]) == pytest.approx(bound)
    assert bound < (tmp_path / "f").stat().st_size < 1.025 * bound


def test_a_small_network_is_near_it_too(tmp_path):
    state = {
        f"{n}.weight": sparse(rows * columns, 0.95, seed=n).reshape(rows, columns)
        for n, (rows, columns) in enumerate([(300, 784), (100, 300), (10, 100)])
    }
    write_packed(tmp_path / "f", state)
    assert (tmp_path / "f").stat().st_size < 1.05 * entropy_bound(state.values())


def test_the_bound_of_what_is_nothing_is_nothing():
    assert entropy_bound([torch.zeros(9), torch.zeros(0)]) == 0
    assert entropy_bound([torch.ones(9, dtype=torch.int16)]) == 18


def test_equal_elements_are_stored_once(tmp_path):
    write_packed(tmp_path / "f", {"norm": torch.ones(10_000), "mask": sparse(80_000, 0.5) != 0})
    assert (tmp_path / "f").stat().st_size < 80_000 / 8 + 1000


def test_tied_tensors_are_stored_once_and_views_are_not_mixed_up(tmp_path):
    tensor = sparse(10_000, 0.1).reshape(100, 100)
    state = {"a": tensor, "b": tensor, "turned": tensor.T, "part": tensor[:50], "bits": tensor.view(torch.int32)}
    read = back(tmp_path, **state)
    assert all(same(state[name], read[name]) for name in state)
    write_packed(tmp_path / "once", {"a": tensor})
    write_packed(tmp_path / "twice", {"a": tensor, "b": tensor})
    assert (tmp_path / "twice").stat().st_size < (tmp_path / "once").stat().st_size + 50


def test_what_the_same_memory_is_seen_as_is_not_mixed_up(tmp_path):
    numbers = torch.tensor([1 + 2j, 0j, 3 - 1j], dtype=torch.complex64)
    state = {"a": numbers, "conjugate": numbers.conj(), "i": numbers.imag, "negative": numbers.conj().imag}
    read = back(tmp_path, **state)
    assert all(same(state[name], read[name]) for name in state)


def test_empty_tensors_are_not_tied(tmp_path):
    read = back(tmp_path, a=torch.zeros(0, 2), b=torch.zeros(3, 0, dtype=torch.int8))
    assert (read["a"].shape, read["b"].shape, read["b"].dtype) == ((0, 2), (3, 0), torch.int8)


def test_equal_states_make_equal_files(tmp_path):
    for name in ("a", "b"):
        write_packed(tmp_path / name, CASES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_it_is_a_safetensors_file(tmp_path):
    write_packed(tmp_path / "f", {"w": sparse(1000, 0.9), "h": sparse(1000, 0.9, torch.float16), "n": torch.tensor(3)})
    with safe_open(tmp_path / "f", framework="pt") as opened:
        assert set(opened.keys()) == {"values.F32", "values.F16", "values.I64", "index"}
        assert opened.get_tensor("values.I64").tolist() == [3]
        assert opened.get_tensor("values.F32").tolist() == [x for x in sparse(1000, 0.9).tolist() if x]


def test_signed_zeros_are_kept_and_spoken_of(tmp_path):
    times = torch.tensor([-1.0, -2.0, 3.0, 4.0]) * torch.tensor([0.0, 0.0, 1.0, 1.0])
    notes = write_packed(tmp_path / "f", {"fc.weight": times, "fc.bias": times + 0.0})
    assert notes == ("'fc.weight': 2 elements are -0.0 and take their room; weight.add_(0.0) makes them 0.0",)


def test_a_dtype_without_a_name_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match=r"'x' is of torch\.complex128\na safetensors file holds bool, uint8"):
        write_packed(tmp_path / "f", {"x": torch.zeros(2, dtype=torch.complex128)})
