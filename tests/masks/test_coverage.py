"""What a mask covers: weights that stay dense are named, and covered where asked."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import budbreak as bb
from budbreak.errors import InvalidValue, NothingToPrune, UncoveredWeights, UnknownName
from budbreak.masks import coverage, prunable_parameters


class Conv1D(nn.Module):
    """As transformers': the weight is [inputs, outputs]."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


class Odd(nn.Module):
    """One of each kind, to be named."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 4)
        self.gru = nn.GRU(4, 6)
        self.attn = nn.MultiheadAttention(4, 2)
        self.h = nn.ModuleList([Conv1D(4, 3), Conv1D(4, 3)])
        self.norm = nn.LayerNorm((3, 4))
        self.fc = nn.Linear(4, 2)


def test_what_stays_dense_is_counted_and_named_the_largest_first():
    model = Odd()
    found = coverage(model, prunable_parameters(model))
    # by hand: fc 8 and out_proj 16 are covered; gru 18*4 + 18*6, in_proj 12*4, emb 20, Conv1D 2*12
    assert (found.prunable, found.total) == (24, 24 + 72 + 108 + 48 + 20 + 24)
    assert str(found) == (
        "24 of 296 weights prunable; uncovered: gru.weight_hh_l0 (GRU, 108), gru.weight_ih_l0 (GRU, 72), "
        "attn.in_proj_weight (MultiheadAttention, 48), h.*.weight (Conv1D of test_coverage, 24), "
        "emb.weight (Embedding, 20)"
    )


def test_many_kinds_are_cut_short_and_full_coverage_says_so():
    model = nn.ModuleDict({f"{chr(97 + n)}": nn.GRU(1 + n, 2) for n in range(8)})
    # weight_ih: 6, 12, ..., 48; weight_hh: 12 each, 312 in all; shown are 48, 42, 36, 30, 24 and 18
    assert str(coverage(model, ())).endswith("e.weight_ih_l0 (GRU, 30), d.weight_ih_l0 (GRU, 24), "
                                             "c.weight_ih_l0 (GRU, 18), and 10 more (114)")  # fmt: skip
    plain = nn.Linear(3, 2)
    assert str(coverage(plain, ["weight"])) == "6 weights prunable"


def test_tied_weights_count_once():
    model = nn.ModuleDict({"emb": nn.Embedding(5, 4), "head": nn.Linear(4, 5)})
    model["head"].weight = model["emb"].weight
    assert str(coverage(model, prunable_parameters(model))) == "20 weights prunable"
    assert coverage(model, ()).total == 20


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("gru.*", ["gru.weight_ih_l0", "gru.weight_hh_l0"]),
        ("*.in_proj_weight", ["attn.in_proj_weight"]),
        ("h.?.weight", ["h.0.weight", "h.1.weight"]),
        ("emb.weight", ["emb.weight"]),
    ],
)
def test_including_covers_weights_but_neither_bias_nor_gain(pattern, names):
    model = Odd()
    default = {"attn.out_proj.weight", "fc.weight"}
    assert set(prunable_parameters(model, bb.including(pattern))) == default | set(names)
    assert list(prunable_parameters(model, bb.including(pattern, of=lambda *_: False))) == names


def test_including_and_excluding_nest_and_refuse_what_matches_nothing():
    model = Odd()
    rule = bb.excluding("gru.weight_hh*", "fc.*", of=bb.including("gru.*"))
    assert list(prunable_parameters(model, rule)) == ["gru.weight_ih_l0", "attn.out_proj.weight"]
    with pytest.raises(UnknownName, match=r"'norm\.\*' matches no weight\n.*it is one of 'emb\.weight'"):
        prunable_parameters(model, bb.including("norm.*"))
    with pytest.raises(UnknownName, match=r"'gruu\.weight_hh_l0' matches no weight\n.*\n.*'gru\.weight_hh_l0'"):
        prunable_parameters(model, bb.excluding("fc.*", of=bb.including("gruu.weight_hh_l0")))
    with pytest.raises(InvalidValue, match=r"a pattern is \['gru"):
        bb.including(["gru.*"])


def test_a_tied_weight_is_left_out_by_each_of_its_names():
    model = nn.ModuleDict({"emb": nn.Embedding(5, 4), "head": nn.Linear(4, 5), "fc": nn.Linear(2, 2)})
    model["head"].weight = model["emb"].weight
    for name in ("emb.weight", "head.weight"):
        assert list(prunable_parameters(model, bb.excluding(name))) == ["fc.weight"]


WRAPPERS = {
    "weight_norm": (parametrizations.weight_norm, "parametrizations.weight.original1", "remove_parametrizations"),
    "spectral_norm": (parametrizations.spectral_norm, "parametrizations.weight.original", "remove_parametrizations"),
    "old weight_norm": (nn.utils.weight_norm, "weight_v", "remove_weight_norm"),
    "old spectral_norm": (nn.utils.spectral_norm, "weight_orig", "remove_spectral_norm"),
    "torch.nn.utils.prune": (
        lambda layer: prune.random_unstructured(layer, "weight", 0.5), "weight_orig", "prune.remove"
    ),
}  # fmt: skip


@pytest.fixture(params=WRAPPERS)
def wrapped(request):
    """(kind, wrapped layer, name of the parameter that stands for the weight, call that folds it)."""
    wrap, name, fold = WRAPPERS[request.param]
    torch.manual_seed(0)
    with pytest.warns(FutureWarning) if request.param == "old weight_norm" else _quiet():
        layer = wrap(nn.Linear(4, 3))
    return request.param.removeprefix("old "), layer, name, fold


class _quiet:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_a_weight_behind_something_is_named_with_what_is_in_the_way(wrapped):
    kind, layer, name, _ = wrapped
    model = nn.Sequential(layer, nn.Linear(3, 2))
    found = coverage(model, prunable_parameters(model))
    assert str(found) == f"6 of 18 weights prunable; uncovered: 0.{name} (Linear under {kind}, 12)"


def test_a_model_with_nothing_else_is_refused_with_the_call_that_folds_it(wrapped):
    kind, layer, name, fold = wrapped
    with pytest.raises(NothingToPrune) as caught:
        bb.prune(layer, sparsity=0.5)
    assert f"{name} (Linear under {kind}, 12)" in caught.value.value
    assert caught.value.fix.startswith("fold it first: torch.nn.utils.")
    assert fold in caught.value.fix


def test_zeros_of_an_included_parameter_are_zeros_of_the_effective_weight_through_training(wrapped):
    _, layer, name, _ = wrapped
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 2))
    rule = bb.including(f"0.{name}", of=lambda *_: False)
    entry = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=torch.bool)
    mask = bb.Mask({f"0.{name}": entry})
    assert list(bb.Mask.dense(model, rule)) == list(mask)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    x, y = torch.randn(16, 4), torch.randint(2, (16,))
    with bb.hold(model, optimizer, mask):
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    model(x)  # old-style hooks compute the weight in the forward pass
    effective = model[0].weight.detach()
    assert bool((effective[~entry] == 0).all())
    assert bool(torch.isfinite(effective).all())


def test_the_weight_behind_feeds_its_site(wrapped):
    """A unit whose incoming weights are all pruned is static, whatever normalises or masks them."""
    kind, layer, name, _ = wrapped
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 2))
    rule = bb.including(f"0.{name}")
    keep = kind == "weight_norm"  # a slice of weight_norm cannot go whole
    entry = torch.tensor([[1, 0, 0, 1], [keep, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    mask = bb.Mask({f"0.{name}": entry, "2.weight": torch.ones(2, 3)})
    found = bb.dead_neurons(model, [torch.randn(8, 4)], mask=mask, prunable=rule)
    assert f"0.{name}" in str(found)
    assert found.static == pytest.approx(0 if keep else 1 / 3)


@pytest.mark.parametrize("kind", ["weight_norm", "old weight_norm"])
def test_a_mask_that_empties_a_slice_of_weight_norm_is_refused_before_anything_changes(kind):
    wrap, name, _ = WRAPPERS[kind]
    with pytest.warns(FutureWarning) if kind.startswith("old") else _quiet():
        model = nn.Sequential(wrap(nn.Linear(4, 3)))
    before = copy.deepcopy(model.state_dict())
    mask = bb.Mask({f"0.{name}": torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])})
    with pytest.raises(InvalidValue, match=r"1 of 3 slices of '0\..*' would lose all weights, the first is 1\n.*NaN"):
        bb.hold(model, torch.optim.SGD(model.parameters(), lr=0.1), mask)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["weight_norm", "old weight_norm"])
def test_whole_units_of_weight_norm_are_refused_before_anything_is_trained(kind):
    wrap, name, fold = WRAPPERS[kind]
    with pytest.warns(FutureWarning) if kind.startswith("old") else _quiet():
        model = nn.Sequential(wrap(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 2))
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5), granularity=bb.Unit(), prunable=bb.including(f"0.{name}"))
    with pytest.raises(InvalidValue, match=rf"'0\..*' is the direction of weight_norm\n.*NaN\nfold it first.*{fold}"):
        plan.preview(model)
    with pytest.raises(InvalidValue, match="is the direction of weight_norm"):
        bb.iterate(model, torch.optim.SGD(model.parameters(), lr=0.1), plan)


class Doubled(nn.Module):
    def forward(self, weight):
        return weight.exp()


def test_a_parametrization_that_undoes_zeros_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    parametrize.register_parametrization(model[0], "weight", Doubled())
    assert "Linear under Doubled" in str(coverage(model, prunable_parameters(model)))
    with pytest.raises(InvalidValue, match=r"'0\.parametrizations\.weight\.original' is behind .* Doubled"):
        prunable_parameters(model, bb.including("0.*"))
    with pytest.raises(InvalidValue, match="is behind"):
        prunable_parameters(model, lambda *_: True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.bool])
def test_weights_that_are_whole_numbers_are_refused_by_name(dtype):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    weight = torch.zeros(3, 4, dtype=dtype)
    model[0].weight = nn.Parameter(weight, requires_grad=False)
    with pytest.raises(
        InvalidValue, match=r"'0\.weight' is torch\..*\n.*floating point or complex\b.*\n.*excluding\('0\.weight'\)"
    ):
        bb.prune(model, sparsity=0.5)
    assert list(prunable_parameters(model, bb.excluding("0.weight"))) == ["1.weight"]


def test_the_table_of_a_mask_names_its_entries_and_what_it_leaves_dense():
    model = Odd()
    mask = bb.Mask({"attn.out_proj.weight": torch.ones(4, 4), "fc.weight": torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0]])})
    lines = mask.table().splitlines()
    assert lines[0].split() == ["weight", "shape", "kept", "of", "density"]
    assert lines[1].split() == ["attn.out_proj.weight", "4x4", "16", "16", "100.00%"]
    assert lines[2].split() == ["fc.weight", "2x4", "3", "8", "37.50%"]
    assert lines[3].split() == ["all", "19", "24", "79.17%"]
    assert len(lines) == 4
    assert "24 of 296 weights prunable; uncovered: gru.weight_hh_l0 (GRU, 108)" in " ".join(
        mask.table(model).splitlines()[4:]
    )
    assert max(map(len, mask.table(model).splitlines())) <= 80
    with pytest.raises(UnknownName):
        mask.table(nn.Linear(2, 2))


def test_a_large_uncovered_part_is_said_once_and_named_away():
    torch.manual_seed(0)
    model = Odd()
    with pytest.warns(UncoveredWeights, match=r"24 of 296 weights prunable; uncovered: gru\.weight_hh_l0") as caught:
        bb.prune(model, sparsity=0.5)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    rest = ("gru.*", "attn.in_proj_weight", "h.*")
    bb.prune(model, sparsity=0.6, prunable=bb.including(*rest))  # embeddings stay dense without a word
    bb.prune(Odd(), sparsity=0.5, prunable=bb.excluding(*rest))
    bb.prune(Odd(), sparsity=0.5, prunable=lambda name, module, parameter: name == "fc.weight")


def test_iterate_says_it_as_well_at_the_line_of_the_caller():
    model = Odd()
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5))
    with pytest.warns(UserWarning, match=r"bb\.including\('gru\.weight_ih_l0', \.\.\.\)") as caught:
        bb.iterate(model, torch.optim.SGD(model.parameters(), lr=0.1), plan)
    assert [one.filename for one in caught] == [__file__]


def test_a_model_whose_weights_are_all_of_size_zero_has_nothing_to_prune():
    with pytest.warns(UserWarning, match="zero-element"):
        model = nn.Sequential(nn.Linear(8, 0), nn.Linear(0, 3))
    with pytest.raises(NothingToPrune, match=r"Sequential has no prunable weight.*\n.*\ngive a model with weights"):
        bb.prune(model, sparsity=0.5)
