import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import ForeignParameter, InvalidValue, LayerCollapsed, MissingEvidence, NotFinite, NothingToPrune
from budbreak.testing import mlp, residual_cnn, separable

X, Y = separable(32, noise=1.0)


def test_the_smallest_weights_go_and_nothing_else_changes():
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    mask = bb.prune(model, sparsity=0.75)
    weights = {n: t for n, t in before.items() if n.endswith("weight")}
    values = sorted((float(v) for t in weights.values() for v in t.abs().reshape(-1)), reverse=True)
    keep = round(0.25 * len(values))
    assert (mask.kept, mask.total) == (keep, len(values)) == (108, 432)  # 8*16 + 16*16 + 16*3 = 432
    threshold = values[keep - 1]
    assert values[keep] < threshold, "no tie here"
    for name, tensor in model.state_dict().items():
        expected = before[name] * (before[name].abs() >= threshold) if name in weights else before[name]
        assert torch.equal(tensor, expected), name
        if name in weights:
            assert torch.equal(mask[name], tensor != 0)


@given(st.floats(0, 0.995), st.sampled_from([bb.masks.Global(), bb.masks.Layer()]))
def test_exactly_the_promised_count_stays(sparsity, scope):
    model = mlp()
    mask = bb.prune(model, sparsity=sparsity, scope=scope, allow_collapse=True)
    assert mask.kept == round((1 - sparsity) * 432)
    assert sum(int((p != 0).sum()) for p in mask.parameters(model).values()) == mask.kept


def test_layer_scope_gives_every_layer_its_share():
    mask = bb.prune(mlp(), sparsity=0.5, scope=bb.masks.Layer())
    assert [mask.kept_in(n) for n in mask] == [64, 128, 24]


@pytest.mark.parametrize("dim", [0, 1])
def test_unit_granularity_removes_whole_units(dim):
    model = residual_cnn()
    scores = {
        n: p.detach().abs().movedim(dim, 0).flatten(1).mean(1) for n, p in model.named_parameters() if p.dim() > 1
    }
    ranked = sorted((float(s) for t in scores.values() for s in t), reverse=True)
    mask = bb.prune(model, sparsity=0.4, granularity=bb.Unit(dim, outputs=()), allow_collapse=True)
    keep = round(0.6 * len(ranked))
    kept = 0
    for name, entry in mask.items():
        units = entry.movedim(dim, 0).flatten(1)
        assert torch.equal(units.any(1), units.all(1)), "whole or gone"
        assert torch.equal(units.all(1), scores[name] >= ranked[keep - 1])
        kept += int(units.all(1).sum())
        assert torch.equal(model.get_parameter(name) != 0, entry)
    assert kept == keep


def test_a_second_call_goes_on_from_the_first():
    model = mlp()
    first = bb.prune(model, sparsity=0.5)
    second = bb.prune(model, sparsity=0.75)
    assert second.is_within(first)
    assert (first.kept, second.kept) == (216, 108)
    at_once = mlp()
    assert bb.prune(at_once, sparsity=0.75) == second


def test_zeros_stay_zeros_even_where_another_criterion_would_keep_them():
    model = mlp()
    first = bb.prune(model, sparsity=0.5)
    second = bb.prune(model, sparsity=0.75, criterion=bb.criteria.Random(seed=3))
    assert second.is_within(first)


def test_the_same_sparsity_again_changes_nothing():
    model = mlp()
    mask = bb.prune(model, sparsity=0.5)
    assert bb.prune(model, sparsity=0.5) == mask


def test_less_than_what_is_pruned_already_is_refused():
    model = mlp()
    bb.prune(model, sparsity=0.75)
    with pytest.raises(InvalidValue, match="216"):
        bb.prune(model, sparsity=0.5)


def test_a_given_mask_decides_what_is_alive():
    model = mlp()
    alive = bb.Mask({n: e.clone().fill_(n != "0.weight") for n, e in bb.Mask.dense(model).items()})
    with pytest.raises(LayerCollapsed, match="before the pruning already"):
        bb.prune(model, sparsity=0.5, mask=alive)
    mask = bb.prune(model, sparsity=0.5, mask=alive, allow_collapse=True)
    assert mask.is_within(alive)
    assert mask.kept == 216
    assert not model[0].weight.any()


@pytest.mark.parametrize(
    ("sparsity", "words"),
    [
        (1.0, r"sparsity is 1\.0\nit must be a number in \[0, 1\)"),
        (-0.1, r"sparsity is -0\.1\nit must be a number in \[0, 1\)"),
        (90, r"sparsity is 90\n.*\na percentage\? write 0\.9"),
        (float("nan"), "sparsity is nan"),
        ("0.9", "sparsity is '0.9'"),
        (True, "sparsity is True"),
    ],
)
def test_sparsities_out_of_range_are_refused_with_words(sparsity, words):
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValue, match=words):
        bb.prune(model, sparsity=sparsity)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_data_driven_criteria_get_their_evidence():
    model = mlp()
    twin = copy.deepcopy(model).double()
    weights = {n: p for n, p in twin.named_parameters() if p.dim() > 1}
    grads = torch.autograd.grad(cross_entropy(twin(X.double()), Y), list(weights.values()))
    scores = torch.cat([(w * g).abs().reshape(-1) for w, g in zip(weights.values(), grads, strict=True)])
    kept = set(scores.argsort(descending=True)[:43].tolist())
    mask = bb.prune(model, sparsity=0.9, criterion=bb.criteria.Taylor(), batches=[(X, Y)], loss=cross_entropy)
    found = torch.cat([e.reshape(-1) for e in mask.values()]).nonzero().flatten().tolist()
    assert set(found) == kept
    with pytest.raises(MissingEvidence, match="no batches"):
        bb.prune(mlp(), sparsity=0.9, criterion=bb.criteria.Taylor())
    with pytest.raises(MissingEvidence, match="start of the level"):
        bb.prune(mlp(), sparsity=0.9, criterion=bb.criteria.Displacement())


def test_nan_weights_are_refused_with_the_layer_and_left():
    model = mlp()
    with torch.no_grad():
        model[2].weight[1, 1] = float("nan")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NotFinite, match=r"2\.weight"):
        bb.prune(model, sparsity=0.5)
    assert torch.equal(model[0].weight, before["0.weight"])


def test_a_stale_optimizer_is_refused():
    model = mlp()
    optimizer = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    with pytest.raises(ForeignParameter):
        bb.prune(model, sparsity=0.5, optimizer=optimizer)
    bb.prune(model, sparsity=0.5, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_model_without_prunable_weights_is_refused():
    with pytest.raises(NothingToPrune, match="give prunable="):
        bb.prune(nn.ReLU(), sparsity=0.5)


def test_prunable_chooses_the_weights():
    model = mlp()
    mask = bb.prune(model, sparsity=0.5, prunable=bb.excluding("4.*"))
    assert list(mask) == ["0.weight", "2.weight"]
    assert model[4].weight.all()


def narrow():
    """Magnitudes that leave the second layer nothing: 4 * 6 weights of size 1 and 6 * 2 of size 0.1."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    nn.init.constant_(model[0].weight, 1.0)
    nn.init.constant_(model[2].weight, 0.1)
    return model


@pytest.mark.parametrize("granularity", [bb.Element(), bb.Unit(outputs=()), bb.Unit(dim=1)])
def test_a_layer_is_not_emptied_without_being_asked(granularity):
    model = narrow()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(LayerCollapsed, match=r"'2\.weight' would lose all its weights at density") as caught:
        bb.prune(model, sparsity=0.7, granularity=granularity)
    assert "allow_collapse=True" in str(caught.value)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()), "nothing was set to zero"
    mask = bb.prune(model, sparsity=0.7, granularity=granularity, allow_collapse=True)
    assert mask.collapsed() == ["2.weight"]
    assert not model[2].weight.any()


def test_a_layer_that_was_empty_before_is_said_to_have_been():
    model = narrow()
    nn.init.zeros_(model[2].weight)
    with pytest.raises(LayerCollapsed, match=r"'2\.weight' has no living weight before") as caught:
        bb.prune(model, sparsity=0.5)
    assert "mask=bb.Mask.dense(model)" in str(caught.value)
    assert bb.prune(model, sparsity=0.5, mask=bb.Mask.dense(model), scope=bb.masks.Layer()).kept_in("2.weight") == 6


def test_the_sparsity_that_is_advised_where_too_few_are_alive_is_one_that_can_be_reached():
    model = nn.Linear(2000, 2000, bias=False)
    with torch.no_grad():
        model.weight.view(-1)[1_234_567:] = 0  # a density of 0.30864175
    with pytest.raises(InvalidValue, match="only 1234567 are alive") as caught:
        bb.prune(model, sparsity=0.5)
    assert bb.prune(model, sparsity=float(caught.value.fix.removeprefix("give at least "))).kept == 1_234_567
    with torch.no_grad():
        model.weight.zero_()
    with pytest.raises(InvalidValue, match=r"exact zeros count as pruned.*\ngive mask=bb\.Mask\.dense\(model\)"):
        bb.prune(model, sparsity=0.5)
