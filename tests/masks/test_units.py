"""Units: scored over living weights, found by the kind of layer, and the classifier's stay."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import InvalidValue, NothingToPrune, UnknownName
from budbreak.testing import mlp, separable


def test_a_pruned_weight_does_not_speak_for_its_unit():
    """[10 pruned, 0.1] has mean 0.1 over what lives, [1, 1] has 1; over all it would be 5.05 against 1."""
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[10.0, 0.1], [1.0, 1.0]]))
    alive = bb.Mask({"weight": torch.tensor([[False, True], [True, True]])})
    mask = bb.prune(model, sparsity=0.5, mask=alive, granularity=bb.Unit(outputs=()))
    assert mask["weight"].tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("worthless", [float("inf"), float("nan")])
def test_scores_of_pruned_weights_are_not_looked_at(worthless):
    scores = bb.Scores.of({"w": torch.tensor([[worthless, 0.1], [1.0, 1.0]])})
    alive = bb.Mask({"w": torch.tensor([[False, True], [True, True]])})
    mask = bb.select(scores, 1, granularity=bb.Unit(dim=0), within=alive)
    assert mask["w"].tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.ConvTranspose2d(6, 4, 3), (2, 6, 5, 5)),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
        (nn.ConvTranspose1d(4, 8, 2, groups=4), (2, 4, 5)),
        (nn.ConvTranspose3d(2, 3, 2), (1, 2, 3, 3, 3)),
        (nn.Conv2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
        (nn.Conv1d(3, 4, 2), (2, 3, 5)),
        (nn.Linear(3, 4), (5, 3)),
    ],
    ids=str,
)
def test_a_removed_unit_is_an_output_that_no_input_reaches(layer, inputs):
    """What a unit is, asked of the network itself: the gradient of channel c touches the weights of unit c alone."""
    x = torch.randn(inputs)
    units = layer(x).shape[1]
    importance = []
    for unit in range(units):
        (reached,) = torch.autograd.grad(layer(x)[:, unit].sum(), layer.weight)
        importance.append(float(layer.weight.detach()[reached != 0].abs().mean()))
    keep = units // 2
    mask = bb.prune(layer, sparsity=1 - keep / units, granularity=bb.Unit(outputs=()))
    constant = [
        bool((channel == bias).all()) for channel, bias in zip(layer(x).transpose(0, 1), layer.bias, strict=True)
    ]
    kept = sorted(range(units), key=lambda unit: -importance[unit])[:keep]
    assert constant == [unit not in kept for unit in range(units)]
    assert mask.kept == keep * layer.weight.numel() // units


def test_the_classifier_stays_and_is_not_counted():
    model = mlp()  # 16 + 16 hidden units, 3 classes
    with torch.no_grad():
        model[4].weight.mul_(1e-3)  # its units would be the first to go
    mask = bb.prune(model, sparsity=0.5, granularity=bb.Unit())
    assert mask["4.weight"].all()
    assert sum(int(mask[n].any(1).sum()) for n in ("0.weight", "2.weight")) == 16
    asked = bb.prune(mlp(), sparsity=0.5, granularity=bb.Unit(outputs=()))
    assert sum(int(entry.any(1).sum()) for entry in asked.values()) == round(0.5 * 35)


def test_what_the_classifier_lost_before_stays_pruned():
    model = mlp()
    before = bb.prune(model, sparsity=0.5)
    after = bb.prune(model, sparsity=0.75, granularity=bb.Unit(), allow_collapse=True)
    assert after.is_within(before)
    assert torch.equal(after["4.weight"], before["4.weight"])


class Heads(nn.Module):
    """Its classifiers are defined first, and there are two."""

    def __init__(self):
        super().__init__()
        self.policy, self.value = nn.Linear(6, 4), nn.Linear(6, 1)
        self.body = nn.Linear(8, 6)

    def forward(self, x):
        hidden = self.body(x).relu()
        return self.policy(hidden), self.value(hidden)


@pytest.mark.parametrize(
    ("granularity", "spared"),
    [
        (bb.Unit(), ("body.weight",)),  # wrong, said in the preview, and mended by naming them
        (bb.Unit(outputs=["policy.weight", "value.weight"]), ("policy.weight", "value.weight")),
        (bb.Unit(outputs=()), ()),
        (bb.Unit(dim=0, outputs=["value.weight"]), ("value.weight",)),
        (bb.Unit(dim=1), ()),  # input units: the classifier's are hidden units
    ],
)
def test_what_is_spared_is_said(granularity, spared):
    assert granularity.fit(Heads()).spared == spared
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5), granularity=granularity)
    preview = plan.preview(Heads())
    total = {"policy.weight": 4, "value.weight": 1, "body.weight": 6}
    inputs = {"policy.weight": 6, "value.weight": 6, "body.weight": 8}
    sizes = inputs if granularity.dim == 1 else total
    units = sum(size for name, size in sizes.items() if name not in spared)
    assert preview.spared == spared
    assert preview.rows[0].keep == units
    assert "lambda and counts are of units" in str(preview)
    assert (f"outputs stay: units of {', '.join(spared)}" in str(preview)) == bool(spared)


def test_a_budget_of_weights_spares_weights():
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.3), granularity=bb.Unit(budget="weights"))
    assert "outputs stay: weights of body.weight" in str(plan.preview(Heads()))


def test_macs_of_spared_layers_stay():
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5), granularity=bb.Unit())
    rows = plan.preview(mlp(), example=torch.zeros(1, 8)).rows
    assert [row.macs for row in rows] == [432, 48 + 384 // 2]  # 8*16 + 16*16 = 384 shrink, 16*3 = 48 stay


def test_a_classifier_that_is_not_prunable_spares_nothing_else():
    fitted = bb.Unit().fit(mlp(), bb.excluding("4.*"))
    assert fitted.spared == ()


def test_a_classifier_tied_to_the_embedding_is_found_by_either_name():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    model[2].weight = model[0].weight
    assert bb.Unit().fit(model).spared == ("2.weight",)
    assert bb.Unit(outputs=["0.weight"]).fit(model).spared == ("2.weight",)


@pytest.mark.parametrize(
    ("model", "granularity", "error", "words"),
    [
        (nn.Linear(3, 4), bb.Unit(), NothingToPrune, r"every unit of \['weight'\] is an output"),
        (mlp(), bb.Unit(outputs=["4.wieght"]), UnknownName, r"did you mean '4\.weight'"),
    ],
)
def test_what_cannot_be_spared_is_refused(model, granularity, error, words):
    with pytest.raises(error, match=words):
        bb.prune(model, sparsity=0.5, granularity=granularity)


def test_layers_whose_units_nobody_knows_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 3))
    rule = bb.including("1.weight_ih_l0", of=bb.excluding("1.weight_hh_l0"))
    with pytest.raises(InvalidValue, match=r"'1\.weight_ih_l0' belongs to GRU, shape \(9, 4\)\nwhere the units"):
        bb.prune(model, sparsity=0.5, granularity=bb.Unit(), prunable=rule)
    mask = bb.prune(model, sparsity=0.5, granularity=bb.Unit(0, outputs=()), prunable=rule, allow_collapse=True)
    assert (mask.total, sum(int(entry.any(1).sum()) for entry in mask.values())) == (52, round(0.5 * 13))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bb.Unit(outputs="fc.weight"), r"outputs is 'fc\.weight'.*\n.*\nwrite outputs=\['fc\.weight'\]"),
        (lambda: bb.Unit("rows"), r"Unit\(dim='rows'\)"),
        (lambda: bb.select(bb.Scores.of({"w": torch.rand(2, 3)}), 1, granularity=bb.Unit()), r"Unit\(\)\.fit\(model\)"),
    ],
)
def test_what_a_unit_needs_is_said(make, words):
    with pytest.raises(InvalidValue, match=words):
        make()


def test_select_takes_fitted_units():
    model = mlp()
    scores = bb.criteria.Magnitude()(bb.probe(model, [bb.evidence.Weights()]))
    fitted = bb.Unit().fit(model)
    assert bb.select(scores, 16, granularity=fitted) == bb.prune(model, sparsity=0.5, granularity=bb.Unit())
    assert pickle.loads(pickle.dumps(fitted)) == fitted
    with pytest.raises(UnknownName, match="no units known of 'w'"):
        bb.select(bb.Scores.of({"w": torch.rand(2, 3)}), 1, granularity=fitted)


@pytest.mark.parametrize("scope", [bb.masks.Global(), bb.masks.Layer()])
def test_records_say_how_many_units_and_how_many_weights(scope):
    torch.manual_seed(0)
    model, (x, y) = mlp(), separable(64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(
        schedule=bb.schedules.Geometric(rate=0.5, levels=2), granularity=bb.Unit(), scope=scope, allow_collapse=True
    )
    with bb.iterate(model, optimizer, plan) as levels:
        for level in levels:
            cross_entropy(model(x), y).backward()
            optimizer.step()
            assert level.mask["4.weight"].all()
    assert [(r.counted, r.counted_kept, r.counted_total) for r in levels.history] == [
        ("units", 32, 32), ("units", 16, 32), ("units", 8, 32),
    ]  # fmt: skip
    assert all(r.spared == ("4.weight",) for r in levels.history)
    alive = [levels.mask[name].any(1).sum() for name in ("0.weight", "2.weight")]
    assert levels.history[-1].kept == 8 * alive[0] + 16 * alive[1] + 48
