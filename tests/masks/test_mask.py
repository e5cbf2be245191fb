import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from budbreak.errors import CorruptFile, InvalidValue, MaskMismatch, UnknownName
from budbreak.files import write_tree
from budbreak.masks import Mask
from budbreak.testing import mlp, residual_cnn

SHAPES = {"a": (3, 5), "b": (), "c": (0, 2), "d": (2, 3, 1)}


@st.composite
def masks(draw, count=1):
    """Masks over the same odd shapes."""

    def entry(shape):
        size = math.prod(shape)
        bits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        return torch.tensor(bits, dtype=torch.bool).reshape(shape)

    made = [Mask({name: entry(shape) for name, shape in SHAPES.items()}) for _ in range(count)]
    return made if count > 1 else made[0]


def kept(mask):
    return {(name, i) for name, entry in mask.items() for i, bit in enumerate(entry.reshape(-1).tolist()) if bit}


# --- algebra: masks are sets -------------------------------------------------------------------------------


@given(masks(count=2))
def test_masks_are_the_sets_of_what_they_keep(pair):
    one, other = pair
    assert kept(one & other) == kept(one) & kept(other)
    assert kept(one | other) == kept(one) | kept(other)
    assert one.is_within(other) == (kept(one) <= kept(other))
    assert (one == other) == (kept(one) == kept(other))
    assert one.kept == len(kept(one))
    assert one.total == 3 * 5 + 1 + 0 + 6
    union = kept(one) | kept(other)
    assert one.agreement(other) == (len(kept(one) & kept(other)) / len(union) if union else 1.0)


@given(masks(count=3))
def test_and_and_or_are_a_lattice(three):
    a, b, c = three
    assert a & b == b & a
    assert (a & b) & c == a & (b & c)
    assert a & (b | c) == (a & b) | (a & c)
    assert a | (a & b) == a
    assert (a & b).is_within(a)
    assert a.is_within(a | b)


@given(masks())
def test_counts_agree_with_each_other(mask):
    assert mask.kept == sum(mask.kept_in(name) for name in mask)
    assert mask.density == mask.kept / 22
    assert mask.density + mask.sparsity == pytest.approx(1, abs=1e-15)  # one rounding
    assert mask.collapsed() == [name for name in mask if not mask[name].any()]
    assert "c" in mask.collapsed()  # nothing stays in an empty weight


def test_masks_of_other_models_do_not_mix():
    mask = Mask({"a": torch.ones(2, 3), "b": torch.ones(4)})
    for other in [{"a": torch.ones(3, 2), "b": torch.ones(4)}, {"a": torch.ones(2, 3)}]:
        for mix in [mask.__and__, mask.__or__, mask.is_within, mask.agreement]:
            with pytest.raises(MaskMismatch, match="differ at"):
                mix(Mask(other))
        assert mask != Mask(other)
    assert mask != "mask"


def test_order_belongs_to_a_mask():
    a, b = torch.ones(1), torch.zeros(1)
    assert list(Mask({"b": b, "a": a})) == ["b", "a"]
    assert Mask({"b": b, "a": a}) != Mask({"a": a, "b": b})  # ties are settled in this order
    assert list(Mask({"b": b, "a": a}) & Mask({"a": a, "b": b})) == ["b", "a"]


# --- where masks come from ---------------------------------------------------------------------------------


def test_a_mask_copies_what_it_is_made_of():
    bits = torch.tensor([True, False])
    mask = Mask({"w": bits})
    bits[1] = True
    assert mask["w"].tolist() == [True, False]
    assert mask["w"].dtype == torch.bool
    assert Mask({"w": torch.tensor([2.0, 0.0, math.nan])})["w"].tolist() == [True, False, True]


def test_entries_are_contiguous_in_logical_order():
    bits = (torch.arange(24).reshape(2, 3, 2, 2) % 5 == 0).to(memory_format=torch.channels_last)
    assert Mask({"w": bits})["w"].is_contiguous()
    assert torch.equal(Mask({"w": bits})["w"], bits)


def test_dense_and_from_zeros():
    model = mlp()
    names = ["0.weight", "2.weight", "4.weight"]
    assert list(Mask.dense(model)) == names
    assert Mask.dense(model).density == 1
    assert Mask.from_zeros(model) == Mask.dense(model)
    with torch.no_grad():
        model[2].weight[3, 4] = 0.0
        model[2].weight[3, 5] = -0.0
    mask = Mask.from_zeros(model)
    assert (mask.total - mask.kept, mask["2.weight"][3, 4], mask["2.weight"][3, 5]) == (2, False, False)
    only = Mask.dense(model, lambda name, module, parameter: name == "0.bias")
    assert list(only) == ["0.bias"]


def test_parameters_are_the_live_ones():
    model = residual_cnn()
    mask = Mask.dense(model)
    found = mask.parameters(model)
    assert list(found) == ["stem.weight", "conv1.weight", "conv2.weight", "fc.weight"]
    assert found["conv1.weight"] is model.conv1.weight
    with pytest.raises(MaskMismatch, match=r"stem\.weight"):
        mask.parameters(residual_cnn(channels=5))
    with pytest.raises(UnknownName, match="no parameter named"):
        mask.parameters(mlp())


def test_an_unknown_entry_is_refused_with_the_nearest_name():
    mask = Mask({"fc1.weight": torch.ones(2)})
    with pytest.raises(UnknownName, match=r"fc9\.weight'\n.*\ndid you mean 'fc1\.weight'"):
        mask["fc9.weight"]
    assert "fc9.weight" not in mask
    assert mask.get("fc9.weight") is None


def test_a_mask_has_no_hash_and_a_short_repr():
    mask = Mask({"w": torch.tensor([True, False, False, False])})
    with pytest.raises(TypeError):
        hash(mask)
    assert repr(mask) == "Mask(1 entries, 1 of 4 kept, density 0.2500)"


# --- files -------------------------------------------------------------------------------------------------


@given(mask=masks())
def test_a_file_gives_the_mask_back(tmp_path_factory, mask):
    path = tmp_path_factory.getbasetemp() / "mask"
    mask.save(path)
    read = Mask.load(path)
    assert read == mask
    assert [read.kept_in(name) for name in mask] == [mask.kept_in(name) for name in mask]
    assert {name: entry.shape for name, entry in read.items()} == {name: entry.shape for name, entry in mask.items()}


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 1001])
def test_odd_sizes_keep_their_last_bits(tmp_path, size):
    mask = Mask({"w": torch.arange(size) % 3 == 0, "v": torch.ones(size, 1)})
    mask.save(str(tmp_path / "mask"))
    assert Mask.load(str(tmp_path / "mask")) == mask


def test_a_file_holds_one_bit_per_weight(tmp_path):
    generator = torch.Generator().manual_seed(0)
    mask = Mask({"w": torch.rand(400_003, generator=generator) < 0.5})
    mask.save(tmp_path / "mask")
    size = (tmp_path / "mask").stat().st_size
    assert 50_001 <= size < 50_001 + 600  # 400003 / 8 rounded up; the header of one entry takes under 600 bytes


def test_every_flipped_byte_of_a_mask_file_is_refused_or_harmless(tmp_path):
    path = tmp_path / "mask"
    mask = Mask({"w": torch.arange(40).reshape(5, 8) % 3 == 0, "v": torch.ones(3)})
    mask.save(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for flip in (0x01, 0x10, 0x80):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                assert Mask.load(path) == mask, (position, flip)
            except CorruptFile:
                continue


def test_a_file_of_something_else_is_refused(tmp_path):
    save_file({"w": torch.ones(3)}, tmp_path / "foreign")
    for name, tree in {"tree": {"w": torch.ones(3)}, "list": [1], "odd": {"entries": {"w": 3}}}.items():
        write_tree(tmp_path / name, tree, "mask 1" if name == "odd" else "tree 1")
    for name in ["foreign", "tree", "list", "odd"]:
        with pytest.raises(CorruptFile, match=name):
            Mask.load(tmp_path / name)


def test_a_mask_fits_only_its_model():
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert list(Mask.dense(tied)) == ["0.weight"]
    assert Mask({"1.weight": torch.ones(2, 2)}).parameters(tied)["1.weight"] is tied[0].weight


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda mask: mask & {"w": torch.ones(2)}, InvalidValue, r"the other mask is .*a dict\nit must be a .*Mask"),
        (lambda mask: mask.is_within([1]), InvalidValue, r"the other mask is \[1\], a list"),
        (lambda mask: mask.agreement(None), InvalidValue, "the other mask is None"),
        (lambda mask: mask.table([1]), InvalidValue, r"model is \[1\], a list"),
        (lambda mask: mask.parameters(None), InvalidValue, "model is None"),
        (lambda mask: mask.kept_in("v"), UnknownName, r"no entry 'v'\nit is 'w'"),
        (lambda mask: mask[0], UnknownName, r"no entry 0\nit is 'w'"),
    ],
    ids=["and", "within", "agreement", "table", "parameters", "kept_in", "index"],
)
def test_what_is_no_mask_no_model_and_no_name_is_refused_in_words(use, error, words):
    with pytest.raises(error, match=words):
        use(Mask({"w": torch.ones(2)}))
