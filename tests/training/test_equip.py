"""Live optimizers and schedules of plain settings."""

import random

import pytest
import torch

from budbreak.errors import InvalidValue, UnknownName
from budbreak.recipes import families
from budbreak.search import TuningSpace, drawn
from budbreak.testing import mlp, separable
from budbreak.training import OPTIMIZER_FAMILY, RATE_FAMILY, TAdamOptimizer, equip


def test_recipes_know_the_same_names():
    assert families.OPTIMIZERS == OPTIMIZER_FAMILY
    assert families.RATES == RATE_FAMILY


def test_settings_become_an_optimizer_and_its_schedule():
    settings = {
        "optimizer": {"is": "sgd", "learning_rate": 0.5, "momentum": 0.3},
        "schedule": {"is": "steps", "every": 1, "gamma": 0.1},
    }
    optimizer, rates = equip(mlp(), settings, steps_per_epoch=2, epochs=3)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (0.5, 0.3)
    rates.after_step()
    rates.after_step()
    assert group["lr"] == pytest.approx(0.05)
    optimizer, rates = equip(mlp(), {"optimizer": "tadam"}, steps_per_epoch=2, epochs=3)
    assert isinstance(optimizer, TAdamOptimizer)
    assert rates.share == 1


def test_whatever_a_named_space_chooses_trains():
    space, (x, y) = TuningSpace.of("safs", epochs=8), separable(20)
    for seed in range(25):
        model = mlp()
        optimizer, rates = equip(model, space.settings(drawn(space, random.Random(seed))), steps_per_epoch=2, epochs=8)
        before = model[0].weight.clone()
        for _ in range(8):
            for _ in range(2):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                rates.after_step()
            rates.after_epoch(0.5, train_loss=1.0)
        assert not torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "a training has an optimizer"),
        ({"optimizer": "sgb"}, "did you mean 'sgd'"),
        ({"optimizer": {"is": "sgd", "lr": 0.1}}, "learning_rate"),
        ({"optimizer": {"is": "sgd", "learning_rate": -1.0}}, "learning_rate is -1"),
        ({"optimizer": "sgd", "schedule": "cosinus"}, "did you mean 'cosine'"),
        ({"optimizer": "sgd", "schedule": {"is": "constant", "warmup": 9.0}}, "the training has 3"),
        ({"optimizer": "sgd", "batch_size": 3}, "settings have 'batch_size'"),
    ],
    ids=range(7),
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises((InvalidValue, UnknownName), match=words):
        equip(mlp(), settings, steps_per_epoch=2, epochs=3)


@pytest.mark.parametrize("changes", [{"steps_per_epoch": 0}, {"epochs": 0}, {"epochs": 2.5}], ids=range(3))
def test_wrong_lengths_are_refused(changes):
    with pytest.raises(InvalidValue, match="whole number"):
        equip(mlp(), {"optimizer": "sgd"}, **{"steps_per_epoch": 2, "epochs": 3, **changes})
