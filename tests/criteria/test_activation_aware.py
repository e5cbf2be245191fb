"""Wanda, RIA and APoZ against double loops in plain Python, and on networks."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import X, images, scores_of
from torch import nn

import budbreak as bb
from budbreak.criteria import RIA, APoZ, LeastMovedNegative, Wanda
from budbreak.errors import InvalidValue, MissingEvidence, NoSites, TooManySpared
from budbreak.evidence import ColumnNorms, Evidence, InputNorms, Weights
from budbreak.masks import Scores
from budbreak.testing import mlp, residual_cnn, toy_evidence

COLUMNS = [Wanda(), RIA(), RIA(alpha=0.0), RIA(alpha=1.7)]


def wide(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def total(numbers):
    return math.fsum(abs(number) for number in numbers)


def by_hand(criterion, w, norms):
    """The scores of a matrix [outputs, columns], as lists of lists."""
    scores = []
    for row in w:
        scores.append([])
        for j, weight in enumerate(row):
            if isinstance(criterion, Wanda):
                scores[-1].append(abs(weight) * norms[j])
                continue
            of_row, of_column = total(row), total(other[j] for other in w)
            share = abs(weight) / of_row + abs(weight) / of_column if weight else 0.0
            scores[-1].append(share * norms[j] ** criterion.alpha)
    return scores


@pytest.mark.parametrize("criterion", COLUMNS, ids=str)
@given(seed=st.integers(0, 2**32 - 1), pruned=st.sampled_from([0.0, 0.5, 0.95]))
def test_each_score_is_its_formula_in_float64(criterion, seed, pruned):
    evidence = toy_evidence(mlp(inputs=3, hidden=4), probes=criterion.needs, dtype=torch.float64, seed=seed)
    for weight in evidence[Weights()].values():
        weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) < pruned] = 0.0
    scores = criterion(evidence)
    for name, weight in evidence[Weights()].items():
        expected = by_hand(criterion, weight.tolist(), evidence[InputNorms()][name].norms[0].tolist())
        # sums of sixteen numbers and a power, in float64
        torch.testing.assert_close(scores[name].tensor(), wide(expected), rtol=1e-13, atol=0)


def grouped_evidence(transposed):
    """A weight of two groups with two outputs of three columns each, and its parts as plain matrices."""
    parts = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    norms = ColumnNorms(torch.rand(2, 3, dtype=torch.float64), transposed)
    weight = parts.movedim(1, 2).reshape(6, 2, 1) if transposed else parts.reshape(4, 3, 1)
    return Evidence({Weights(): {"w": weight}, InputNorms(): {"w": norms}}), parts, norms


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("criterion", COLUMNS, ids=str)
def test_groups_are_matrices_of_their_own(criterion, transposed):
    evidence, parts, norms = grouped_evidence(transposed)
    found = norms.arranged(criterion(evidence)["w"].tensor())
    for group in range(2):
        expected = by_hand(criterion, parts[group].tolist(), norms.norms[group].tolist())
        torch.testing.assert_close(found[group], wide(expected), rtol=1e-13, atol=0)


def test_golden_numbers():
    evidence = Evidence(
        {
            Weights(): {"w": torch.tensor([[3.0, -1.0], [1.0, 0.0]])},
            InputNorms(): {"w": ColumnNorms(torch.tensor([[4.0, 9.0]]))},
        }
    )
    assert Wanda()(evidence)["w"].tensor().tolist() == [[12, 9], [4, 0]]
    # rows sum to 4 and 1, columns to 4 and 1; roots of the norms are 2 and 3
    # (3/4 + 3/4) * 2, (1/4 + 1/1) * 3; (1/1 + 1/4) * 2, 0
    assert RIA()(evidence)["w"].tensor().tolist() == [[3, 3.75], [2.5, 0]]


def test_a_row_without_living_weights_scores_zero():
    weight = torch.tensor([[0.0, 0.0], [1e-44, 0.0]])  # a sum whose inverse is no float32
    evidence = Evidence({Weights(): {"w": weight}, InputNorms(): {"w": ColumnNorms(torch.ones(1, 2))}})
    scores = RIA()(evidence)["w"].tensor()
    assert scores[0].tolist() == [0, 0]
    assert 0 < float(scores[1, 0]) <= 2


@pytest.mark.parametrize("criterion", [Wanda(), RIA()], ids=str)
def test_scores_of_a_network_are_those_of_its_inputs(criterion):
    model = residual_cnn().double()
    x = images(5, 3, 8, 8)
    found = scores_of(criterion, model, [x[:2], x[2:]], loss=None)
    seen = {}
    for name in ("conv1", "fc"):
        layer = model.get_submodule(name)
        layer.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    with torch.no_grad():
        model.eval()(x)
    columns = nn.functional.unfold(seen["conv1"], 3, padding=1).transpose(0, 1).flatten(1)
    for name, inputs in (("conv1", columns.T), ("fc", seen["fc"])):
        weight = model.get_submodule(name).weight.detach()
        norms = inputs.norm(dim=0).tolist()
        expected = wide(by_hand(criterion, weight.flatten(1).tolist(), norms))
        torch.testing.assert_close(found[f"{name}.weight"], expected.reshape(weight.shape), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("criterion", [Wanda(), RIA()], ids=str)
def test_in_one_line(criterion):
    model = mlp().double()
    mask = bb.prune(model, sparsity=0.9, criterion=criterion, batches=[X], scope=bb.masks.Layer())
    assert mask.kept == 43
    with pytest.raises(MissingEvidence, match="no batches were given, and InputNorms looks at them"):
        bb.prune(mlp(), sparsity=0.9, criterion=criterion)


def test_alpha_is_a_number():
    for alpha in (-0.1, math.nan, "0.5", True):
        with pytest.raises(InvalidValue, match="alpha is"):
            RIA(alpha)


# --- APoZ --------------------------------------------------------------------------------------------------


def test_apoz_is_the_share_of_outputs_that_are_not_zero():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 2))
    model.double()
    x = images(7, 3, 6, 6)
    found = scores_of(APoZ(), model, [x[:3], x[3:]], loss=None)
    with torch.no_grad():
        maps, hidden = model[:2](x), model[:5](x)
    for name, outputs in (("0.weight", maps.movedim(1, 0).flatten(1)), ("3.weight", hidden.T)):
        for unit, values in zip(found[name], outputs.tolist(), strict=True):
            zeros = sum(value == 0 for value in values) / len(values)
            torch.testing.assert_close(unit, torch.full_like(unit, 1 - zeros), rtol=1e-15, atol=0)
    assert (found["5.weight"] == math.inf).all(), "the classifier feeds no site"


class Twice(nn.Module):
    """One layer and its ReLU called twice, a residual sum, and a smooth output."""

    def __init__(self):
        super().__init__()
        self.fc, self.relu = nn.Linear(4, 4), nn.ReLU()
        self.branch, self.relu2 = nn.Linear(4, 4), nn.ReLU()
        self.last, self.out = nn.Linear(4, 2), nn.Sigmoid()

    def forward(self, x):
        x = self.relu(self.fc(self.relu(self.fc(x))))
        return self.out(self.last(self.relu2(x + self.branch(x))))


def test_apoz_counts_all_sites_of_a_weight_and_spares_those_of_none():
    model, x = Twice().double(), images(9, 4)
    found = scores_of(APoZ(), model, [x], loss=None)
    with torch.no_grad():
        first = model.relu(model.fc(x))
        second = model.relu(model.fc(first))
    expected = ((first != 0).double().sum(0) + (second != 0).double().sum(0)) / 18
    torch.testing.assert_close(found["fc.weight"], expected.unsqueeze(1).expand(4, 4), rtol=1e-15, atol=0)
    assert (found["branch.weight"] == math.inf).all()
    assert (found["last.weight"] == math.inf).all()
    smooth = scores_of(APoZ(threshold=0.5), model, [x], loss=None)["last.weight"]
    with torch.no_grad():
        fires = (model(x) > 0.5).double().mean(0)
    assert torch.equal(smooth, fires.unsqueeze(1).expand(2, 4))


def test_apoz_where_nothing_gives_zeros():
    model = nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 2))
    with pytest.raises(NoSites, match="gives exact zeros") as caught:
        bb.prune(model, sparsity=0.5, criterion=APoZ(), batches=[X.float()])
    assert "APoZ(threshold=0.01)" in str(caught.value)


def test_apoz_prunes_the_units_that_fire_least():
    model = mlp()
    with torch.no_grad():
        model[0].bias[:5] = -100.0  # these never fire
    mask = bb.prune(model, sparsity=5 / 32, criterion=APoZ(), granularity=bb.Unit(), batches=[X.float()])
    assert mask["0.weight"].any(1).tolist() == [False] * 5 + [True] * 11
    assert mask["2.weight"].all()
    with pytest.raises(MissingEvidence, match="no batches were given, and UnitCounts looks at them"):
        bb.prune(mlp(), sparsity=0.1, criterion=APoZ())


def test_a_formula_may_take_a_number_for_each_row_or_column():
    w, rows, columns = torch.randn(5, 7), torch.randn(5), torch.randn(7)
    operands = {"w": w}, {"w": rows.unsqueeze(1).expand(5, 7)}, {"w": columns.expand(5, 7)}
    score = Scores.elementwise(lambda w, row, column: w * row + column, *operands)["w"]
    expected = w * rows.unsqueeze(1) + columns
    assert torch.equal(score.tensor(), expected)
    read = score.open()
    for lo, hi in [(0, 1), (6, 8), (3, 30), (34, 35), (7, 14), (0, 0), (35, 35)]:
        assert torch.equal(read(lo, hi), expected.reshape(-1)[lo:hi])


CHOICES = {
    "all": ({}, r"sparsity is 0\.9: 43 of 432 weights stay, but APoZ\(.*\) spares 48: all of '4\.weight'"),
    "rounds": ({"rounds": 4}, r"43 of 432 weights stay, but APoZ\(.*\) spares 48"),
    "layer": ({"scope": bb.masks.Layer()}, r"sparsity is 0\.9: 5 of '4\.weight' stay, but APoZ\(.*\) spares 48 of it"),
    "rows": ({"scope": bb.masks.Rows()}, r"5 of '4\.weight' stay, but APoZ\(.*\) spares 48 of it"),
    "blocks": ({"granularity": bb.Block(1, 4)}, r"11 of 108 blocks stay, but APoZ\(.*\) spares 12"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_more_that_is_spared_than_may_stay_is_refused_in_the_words_of_what_was_asked(choice):
    options, words = dict(CHOICES[choice][0]), CHOICES[choice][1]
    model, passes = mlp(), []
    model.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(TooManySpared, match=words) as caught:
        bb.prune(model, sparsity=0.9, criterion=APoZ(), batches=[X.float()], **options)
    assert "bb.excluding('4.weight')" in caught.value.fix
    assert len(passes) == 1, "and not after all rounds"
    options |= {"prunable": bb.excluding("4.weight"), "allow_collapse": True}
    assert bb.prune(mlp(), sparsity=0.9, criterion=APoZ(), batches=[X.float()], **options).kept in (38, 40)


def test_the_sparsity_that_is_named_can_be_reached():
    with pytest.raises(TooManySpared) as caught:
        bb.prune(residual_cnn(), sparsity=0.9, criterion=APoZ(), batches=[images(4, 3, 6, 6).float()])
    assert "all of 'conv2.weight', all of 'fc.weight'" in caught.value.value
    most = float(caught.value.fix.split("at most ")[1].split(",")[0])
    mask = bb.prune(
        residual_cnn(), sparsity=most, criterion=APoZ(), batches=[images(4, 3, 6, 6).float()], allow_collapse=True
    )
    assert mask.kept == mask.kept_in("conv2.weight") + mask.kept_in("fc.weight")


def test_what_is_spared_in_part_is_counted():
    start = {name: 0 * tensor for name, tensor in mlp().state_dict().items()}
    criterion = LeastMovedNegative()
    evidence = bb.probe(mlp(), criterion.needs, start=start)
    asked = bb.masks.Asked("sparsity is 0.9", criterion, bb.masks.Global(), bb.Element())
    with pytest.raises(TooManySpared) as caught:
        asked.select(criterion(evidence), 43, bb.Mask.dense(mlp()))
    counts = [int((weight >= 0).sum()) for weight in evidence[Weights()].values()]
    places = [f"{count} of '{2 * i}.weight'" for i, count in enumerate(counts)]
    assert caught.value.value.endswith(f"spares {sum(counts)}: {', '.join(places)}")
    assert "excluding" not in caught.value.fix
