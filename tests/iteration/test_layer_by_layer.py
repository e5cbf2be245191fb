"""One layer at each pruning, from the input on."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.iteration import AccuracyGates
from budbreak.masks import InOrder, Layer, Unit
from budbreak.schedules import LayerByLayer
from budbreak.testing import mlp  # 8 - 16 - 16 - 3


def local(share=0.8, **options):
    given = {"schedule": LayerByLayer(share, levels=2), "scope": Layer(), "allocation": InOrder(), "spare": ["4.*"]}
    return bb.Plan(**{**given, "rewind_to": None, **options})


def run(plan, accuracies=(0.81, 0.7, 0.82, 0.99)):
    """The masks of all levels, the epochs of each, and the last weights."""
    torch.manual_seed(0)
    model, masks, done = mlp(), [], 0
    x, y = torch.randn(32, 8), torch.arange(32) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(model, optimizer, plan) as levels:
        for level in levels:
            masks.append(level.mask)
            for _ in level.epochs(20, until=AccuracyGates(2, gates="regained", early_stop=None)):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                level.record(train_accuracy=accuracies[min(done, len(accuracies) - 1)])
                done += 1
    return masks, [record.epochs for record in levels.history]


def kept(mask):
    return [mask.kept_in(name) for name in mask]


@pytest.mark.parametrize("criterion", [bb.criteria.Magnitude(), bb.criteria.ActivationCount(weighted=True)], ids=str)
def test_each_pruning_takes_its_share_of_one_layer(criterion):
    masks, epochs = run(local(criterion=criterion))
    # floor(0.8 * 128) = 102, floor(0.8 * 256) = 204
    assert [kept(mask) for mask in masks] == [[128, 256, 48], [26, 256, 48], [26, 52, 48]]
    assert epochs == [1, 2, 1]  # 0.81 opens the first gate, 0.82 regains it, 0.99 ends


@pytest.mark.parametrize(
    ("spare", "expected"),
    [
        (["0.*"], [[128, 256, 48], [128, 52, 48], [128, 52, 10]]),  # floor(0.8 * 48) = 38
        (["2.*"], [[128, 256, 48], [26, 256, 48], [26, 256, 10]]),
    ],
    ids=str,
)
def test_whichever_layer_is_spared_is_passed_over(spare, expected):
    masks, _ = run(local(spare=spare))
    assert [kept(mask) for mask in masks] == expected


def test_spared_units_are_passed_over():
    masks, _ = run(local(spare=["0.*"], granularity=Unit(outputs=())))
    assert [kept(mask) for mask in masks] == [[128, 256, 48], [128, 4 * 16, 48], [128, 4 * 16, 1 * 16]]


def test_of_three_prunings_of_two_layers_the_last_goes_back_to_the_first():
    plan = local(schedule=bb.schedules.Decaying(0.5, levels=2))  # 120 of 432 go, then 96
    assert [kept(mask) for mask in run(plan)[0]] == [[128, 256, 48], [8, 256, 48], [8, 160, 48]]


def test_whole_units_of_one_layer():
    masks, _ = run(local(criterion=bb.criteria.ActivationCount(), granularity=Unit(budget="weights")))
    # 12.8 units of 8 weights: 103 weights at least, 13 units; then 12.8 of 16: 13 units
    assert [kept(mask) for mask in masks] == [[128, 256, 48], [24, 256, 48], [24, 48, 48]]
    for mask in masks:
        assert all(row.all() or not row.any() for name in ("0.weight", "2.weight") for row in mask[name])


def test_units_are_counted_where_the_plan_counts_units():
    masks, _ = run(local(granularity=Unit(), spare=[]))
    assert [kept(mask) for mask in masks] == [[128, 256, 48], [4 * 8, 256, 48], [4 * 8, 4 * 16, 48]]  # floor(0.8 * 16)


def test_a_preview_knows_the_sizes():
    rows = local().preview(mlp()).rows
    assert [row.keep for row in rows] == [432, 330, 126]


@pytest.mark.parametrize("options", [{"spare": []}, {"schedule": LayerByLayer(0.8, levels=4)}], ids=str)
def test_another_number_of_layers_is_refused(options):
    with pytest.raises(InvalidValue, match=r"layers from which something may go\n.*\nwrite levels="):
        run(local(**options))


def test_in_order_takes_from_whole_layers_first():
    shapes = {"a": torch.Size([4]), "b": torch.Size([6]), "c": torch.Size([5])}
    shares = [InOrder()(shapes, {"a": 2, "b": 6, "c": 5}, keep) for keep in (13, 10, 5, 1, 0)]
    assert [tuple(share.values()) for share in shares] == [(2, 6, 5), (2, 3, 5), (2, 0, 3), (1, 0, 0), (0, 0, 0)]
