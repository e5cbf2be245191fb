"""Weights that a plan spares: counted, and never removed, by whatever criterion."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, TooManySpared, UnknownName
from budbreak.testing import mlp

ONCE = bb.schedules.OneShot(0.5)


def pruned(schedule=ONCE, **options):
    """The mask after all prunings of a small network, and the last record."""
    model = mlp()
    x, y = torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bb.iterate(
        model, optimizer, bb.Plan(schedule=schedule, rewind_to=None, **options), batches=[(x, y)]
    ) as levels:
        for level in levels:
            for _ in level.epochs(1):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    return levels.mask, levels.history[-1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"criterion": bb.criteria.Random()},
        {"criterion": bb.criteria.ActivationCount(weighted=True)},
        {"then": [bb.ActivateWhilePruning(q=0.1)]},
        {"then": [bb.iteration.Remove(bb.criteria.Magnitude(), 0.2)]},
        {"rounds": 3},
        {"granularity": bb.masks.Unit(outputs=(), budget="weights")},
    ],
    ids=str,
)
def test_what_is_spared_stays_whole_and_is_counted(options):
    mask, record = pruned(spare=["4.*"], **options)
    assert mask["4.weight"].all()
    assert record.total == 8 * 16 + 16 * 16 + 16 * 3
    if "granularity" not in options:
        assert record.kept == record.total // 2


def test_without_it_the_outputs_compete():
    assert not pruned()[0]["4.weight"].all()


@pytest.mark.parametrize("allocation", [bb.masks.Uniform(), bb.masks.ERK(), bb.masks.InOrder()], ids=str)
def test_where_layers_have_shares_the_others_divide_what_is_left(allocation):
    mask, _ = pruned(spare=["4.*"], scope=bb.masks.Layer(), allocation=allocation, floor=1)
    assert mask["4.weight"].all()
    assert mask.kept == mask.total // 2
    if allocation == bb.masks.Uniform():  # 216 stay, 48 of them spared: 168 of 384
        assert [mask.kept_in(name) for name in ("0.weight", "2.weight")] == [56, 112]


def test_a_last_level_that_spares_too_much_is_refused_at_the_first():
    schedule = bb.schedules.Decaying(0.95, levels=3)
    with pytest.raises(TooManySpared, match=r"level 3 of .*: 22 of 432 weights stay, but Magnitude\(\) with spare"):
        pruned(schedule, spare=["4.*"])


def test_left_out_is_another_thing():
    _, record = pruned(prunable=bb.excluding("4.*"))
    assert record.total == 8 * 16 + 16 * 16


@pytest.mark.parametrize(
    ("spare", "kind", "words"),
    [
        ("4.*", InvalidValue, r"spare is '4.\*'\n.*\nwrite spare=\['4.\*'\]"),
        ([4], InvalidValue, "spare is"),
        (["5.*"], UnknownName, r"no weight named '5.\*' to spare\n.*0.weight"),
        (["2.*"], TooManySpared, r"Magnitude\(\) with spare=\['2.\*'\] spares 256: all of '2.weight'"),
    ],
    ids=str,
)
def test_what_cannot_be_spared(spare, kind, words):
    with pytest.raises(kind, match=words):
        pruned(spare=spare)
