"""Multiply-accumulates, worked out by hand and against torch's own counter."""

import contextlib
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

import budbreak as bb
from budbreak.errors import InvalidValue, UnknownName
from budbreak.graph import count_macs


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attn(x, x, x)[0]


class Tied(nn.Module):
    """A language model: its head is its embedding."""

    def __init__(self):
        super().__init__()
        self.emb, self.fc, self.head = nn.Embedding(11, 4), nn.Linear(4, 4), nn.Linear(4, 11, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, tokens):
        return self.head(self.fc(self.emb(tokens)))


class Raw(nn.Module):
    """Products that no module owns: F.linear, a transposed weight, one matrix used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(5, 5))

    def forward(self, x):
        return nn.functional.linear(x @ self.b @ self.b.t(), self.a)


def test_a_perceptron_and_a_convolutional_net_by_hand():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    assert count_macs(model, torch.rand(3, 6)).by_weight == {"0.weight": 24, "2.weight": 8}
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.ConvTranspose2d(6, 2, 2, stride=2)
    )
    found = count_macs(model, torch.rand(2, 3, 8, 8))
    # 4*3*9 at 8x8; 6*2*9 at 3x3; a transposed kernel 6*2*4 once for each of 3x3 inputs
    assert found.by_weight == {"0.weight": 108 * 64, "1.weight": 108 * 9, "2.weight": 48 * 9}
    assert found.total == 108 * 64 + 108 * 9 + 48 * 9


def test_tied_weights_are_counted_under_the_name_of_the_mask():
    found = count_macs(Tied(), torch.randint(11, (3, 7)))
    assert found.of(["head.weight", "fc.weight"]) == 7 * (44 + 16)
    assert found.of(["emb.weight"]) == 7 * 44
    assert found.total == 7 * (44 + 16)


def test_attention_counts_its_projections_and_its_products():
    found = count_macs(Attention(), torch.rand(2, 5, 8))
    assert found.by_weight == {"attn.in_proj_weight": 5 * 8 * 24, "attn.out_proj.weight": 5 * 64}
    assert found.total == 5 * 8 * 24 + 5 * 64 + 2 * 5 * 5 * 8  # scores and values: 5 x 5 of 8 each, over both heads


@pytest.mark.parametrize("mask", [None, torch.ones(5, 7).bool()], ids=["flash", "masked"])
def test_functional_attention_by_hand_without_a_weight(mask):
    """The kernel of CPUs, of which torch's counter knows nothing, and the one that a mask asks for."""

    class Attend(nn.Module):
        def forward(self, q, k):
            return nn.functional.scaled_dot_product_attention(q, k, k, mask)

    found = count_macs(Attend(), (torch.rand(2, 3, 5, 8), torch.rand(2, 3, 7, 8)))
    assert (found.total, dict(found.by_weight)) == (2 * 3 * 5 * 7 * 8, {})


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_by_hand(kind, gates):
    model = kind(4, 6, num_layers=2, bidirectional=True, batch_first=True)
    found = count_macs(model, torch.rand(3, 5, 4))
    inputs = {0: 4, 1: 12}
    wanted = {}
    for layer in (0, 1):
        for suffix in ("", "_reverse"):
            wanted[f"weight_ih_l{layer}{suffix}"] = 5 * gates * 6 * inputs[layer]
            wanted[f"weight_hh_l{layer}{suffix}"] = 5 * gates * 6 * 6
    assert found.by_weight == wanted
    assert found.total == sum(wanted.values())


def test_a_product_of_weights_counts_for_one_of_them_and_its_result_for_none():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return x @ (self.a @ self.b)

    found = count_macs(LowRank(), torch.rand(1, 4))
    assert (found.total, dict(found.by_weight)) == (64 + 16, {"b": 64})


def test_products_that_no_module_owns_are_seen():
    found = count_macs(Raw(), torch.rand(2, 5))
    assert found.by_weight == {"b": 50, "a": 15}


class Derived(nn.Module):
    """Weights that are cast, permuted into a copy and masked before they multiply."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(*shape)) for shape in [(4, 3, 5), (3, 5), (2, 4)])
        self.register_buffer("mask", torch.ones(2, 4))

    def forward(self, x):
        y = torch.einsum("bi,hij->bhj", x, self.a) + (x.double() @ self.b.double()).float()[:, None]
        return nn.functional.linear(y.transpose(1, 2), self.c * self.mask)


def test_a_weight_is_followed_through_casts_copies_and_masks():
    # a: 4*3*5 once; b: 3*5 once; c: 2*4 at each of 5 positions
    assert count_macs(Derived(), torch.rand(2, 3)).by_weight == {"a": 60, "b": 15, "c": 40}


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (parametrizations.weight_norm, "parametrizations.weight.original1"),
        (parametrizations.spectral_norm, "parametrizations.weight.original"),
        (nn.utils.spectral_norm, "weight_orig"),
        (lambda layer: prune.random_unstructured(layer, "weight", 0.5), "weight_orig"),
    ],
)
def test_a_parametrized_weight_is_counted_for_its_original(wrap, name):
    model = nn.Sequential(wrap(nn.Conv1d(4, 3, 2)), nn.Conv1d(3, 2, 1))
    found = count_macs(model, torch.rand(2, 4, 6))
    assert found.by_weight == {f"0.{name}": 24 * 5, "1.weight": 6 * 5}
    assert found.total == 24 * 5 + 6 * 5


def test_a_learned_query_of_the_size_of_the_input_owns_no_product():
    """Positions that are added to a single sample have as many elements as the sample itself."""

    class Positioned(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.randn(1, 5, 4))

        def forward(self, x):
            x = x + self.positions
            return x @ x.transpose(1, 2)

    found = count_macs(Positioned(), torch.rand(1, 5, 4))
    assert (found.total, dict(found.by_weight)) == (5 * 5 * 4, {})


MODELS = {
    "mlp": (lambda: bb_mlp(), lambda: torch.rand(4, 20)),
    "tied": (Tied, lambda: torch.randint(11, (4, 7))),
    "attention": (Attention, lambda: torch.rand(4, 5, 8)),
    "transformer": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
        lambda: torch.rand(4, 5, 8),
    ),
    "gru": (lambda: nn.GRU(4, 6, batch_first=True), lambda: torch.rand(4, 5, 4)),
    "cnn": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)),
            lambda: torch.rand(4, 3, 8, 8)),
}  # fmt: skip


def bb_mlp():
    return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("name", MODELS)
def test_the_total_is_half_the_flops_of_torchs_counter(name):
    make, example = MODELS[name]
    model, x = make(), example()
    found = count_macs(model, x)
    model.train()  # in eval mode the fused path hides a transformer's products from the counter
    with torch.enable_grad(), FlopCounterMode(display=False) as counter, nn.attention.sdpa_kernel(_MATH):
        model(x)
    assert 2 * found.total * len(x) == counter.get_total_flops()
    assert found.total >= found.of(found.by_weight) > 0


_MATH = nn.attention.SDPBackend.MATH


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.noise = nn.Linear(4, 2), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, left, *, right=None):
        self.calls += 1
        random.random(), np.random.rand(), torch.rand(1)
        return self.fc(left if right is None else left + right)


@pytest.mark.parametrize(
    "example",
    [
        torch.rand(2, 4),
        (torch.rand(2, 4),),
        {"left": torch.rand(2, 4), "right": torch.rand(2, 4)},
    ],
    ids=["tensor", "tuple", "mapping"],
)
def test_an_example_is_a_tensor_positional_or_by_keyword_and_nothing_is_disturbed(example):
    model = Keywords().train()
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5))
    preview = plan.preview(model, example=example)
    assert preview.dense_macs == 8
    assert [row.macs for row in preview.rows] == [8, 4]
    assert model.training
    assert float(model.calls) == 0
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("right", [torch.rand(2, 4), torch.rand(2, 5)], ids=["counted", "refused"])
def test_fused_kernels_are_on_or_off_as_before(on, right, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", on)
    monkeypatch.setattr(torch.backends.cudnn, "enabled", on)
    torch.backends.mha.set_fastpath_enabled(on)
    try:
        with contextlib.suppress(InvalidValue):
            count_macs(Keywords(), right)
        fast = torch.backends.mha.get_fastpath_enabled()
        assert [fast, torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled] == [on, on, on]
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (torch.rand(2, 5), "mat1 and mat2"),
        ({"wrong": torch.rand(2, 4)}, "unexpected keyword"),
        ("text", "holds no tensor"),
        ({}, "holds no tensor"),
        (torch.rand(0, 4), "no sample"),
    ],
    ids=["shape", "keyword", "text", "empty", "no sample"],
)
def test_an_example_that_the_model_does_not_take_is_refused_in_words(example, words):
    model = Keywords().train()
    with pytest.raises(InvalidValue, match=words) as caught:
        bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5)).preview(model, example=example)
    assert "a tensor, a tuple (positional) or a mapping (by keyword)" in caught.value.rule
    assert model.training


def test_the_preview_says_what_is_covered_and_keeps_uncovered_macs():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5))
    preview = plan.preview(model, example=torch.rand(1, 5, 8))
    covered, fixed = 5 * (64 + 128 + 128), 5 * 8 * 24 + 2 * 5 * 5 * 8
    assert preview.dense_macs == covered + fixed
    assert [row.macs for row in preview.rows] == [covered + fixed, covered // 2 + fixed]
    said = " ".join(str(preview).splitlines())
    assert "320 of 512 weights prunable; uncovered: self_attn.in_proj_weight (MultiheadAttention, 192)" in said
    assert max(map(len, str(preview).splitlines())) <= 80
    whole = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5), prunable=bb.including("*.in_proj_weight"))
    macs = whole.preview(model, example=torch.rand(1, 5, 8)).rows[1].macs
    assert macs == (covered + 5 * 8 * 24) // 2 + 2 * 5 * 5 * 8


def test_names_that_are_no_parameters_are_refused():
    found = count_macs(nn.Sequential(nn.Linear(3, 2)), torch.rand(1, 3))
    with pytest.raises(UnknownName, match=r"no parameter is named '0.wight'\n.*\ndid you mean '0.weight'"):
        found.of(["0.wight"])
    with pytest.raises(InvalidValue, match=r"names is '0\.weight'"):
        found.of("0.weight")
