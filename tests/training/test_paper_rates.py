"""Every schedule of SAFS's second stage, against torch's own: the same rate in each epoch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torchs

from budbreak.errors import InvalidValue, NotFinite, UnknownName
from budbreak.training import Constant, Cosine, Plateau, RateSchedule, Steps

EPOCHS = (50, 80, 200)  # of LeNet, of a trial, of the final training
RATES = (1e-4, 1e-3, 0.1)


def little(rate: float) -> torch.optim.Optimizer:
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.zeros_like(weight)
    return torch.optim.SGD([weight], lr=rate)


def rates_of_torch(make: Callable[[torch.optim.Optimizer], Any], rate: float, steps: int) -> list[float]:
    optimizer = little(rate)
    scheduler, seen = make(optimizer), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def our_rates(schedule: RateSchedule, rate: float, *, epochs: int, steps_per_epoch: int = 1) -> list[float]:
    optimizer = little(rate)
    scheduler, seen = schedule.attach(optimizer, steps_per_epoch=steps_per_epoch, epochs=epochs), []
    for _ in range(epochs * steps_per_epoch):
        seen.append(optimizer.param_groups[0]["lr"])
        scheduler.after_step()
    return seen


def close(ours: list[float], theirs: list[float]) -> None:
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("rate", RATES)
def test_each_row_of_the_table_is_torchs(epochs: int, steps: int, rate: float) -> None:
    """What moves within an epoch is compared step by step; the paper's code moves it once in each epoch."""
    quarter, total = epochs // 4, epochs * steps
    lowest = 5e-5
    rows: dict[str, tuple[RateSchedule, Callable[[torch.optim.Optimizer], Any]]] = {
        "VGG": (
            Steps(every=20.0, gamma=0.5),
            lambda o: torchs.LambdaLR(o, lambda step: 0.5 ** (step // steps // 20)),
        ),
        "CosineWR": (
            Cosine(cycle=float(quarter), end=lowest / rate),
            lambda o: torchs.CosineAnnealingWarmRestarts(o, T_0=quarter * steps, eta_min=lowest),
        ),
        "Constant": (Constant(), lambda o: torchs.ConstantLR(o, factor=1.0)),
        "Cosine": (Cosine(), lambda o: torchs.CosineAnnealingLR(o, T_max=total)),
        "Step": (Steps(every=float(quarter), gamma=0.1), lambda o: torchs.StepLR(o, quarter * steps, gamma=0.1)),
        "Linear": (  # of 5 epochs, whose last step is at the full rate
            Constant(warmup=5.0, start=0.1),
            lambda o: torchs.LinearLR(o, 0.1 + 0.9 / (5 * steps), 1.0, total_iters=5 * steps - 1),
        ),
    }
    for schedule, make in rows.values():
        ours = our_rates(schedule, rate, epochs=epochs, steps_per_epoch=steps)
        close(ours, rates_of_torch(make, rate, total))
        assert len(set(ours)) > 1 or schedule == Constant()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.2])
def test_a_plateau_of_the_training_loss_is_torchs(seed: int, threshold: float) -> None:
    """The last row of the table, with the numbers of ResNet-18's own training."""
    draw = random.Random(seed)
    losses = [draw.choice([2.3, 2.2, 2.19999, 1.5, 1.4, draw.random()]) for _ in range(60)]
    theirs = little(0.1)
    plateau = torchs.ReduceLROnPlateau(theirs, factor=0.05, patience=2, threshold=threshold, eps=0.0)
    ours = little(0.1)
    schedule = Plateau(patience=2, gamma=0.05, threshold=threshold, watches="train_loss")
    scheduler = schedule.attach(ours, steps_per_epoch=1, epochs=60)
    for loss in losses:
        scheduler.after_step()
        scheduler.after_epoch(0.5, train_loss=loss)
        plateau.step(loss)
        close([ours.param_groups[0]["lr"]], [theirs.param_groups[0]["lr"]])
    state = scheduler.state_dict()
    again = schedule.attach(little(0.1), steps_per_epoch=1, epochs=60)
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert again.optimizer.param_groups[0]["lr"] == ours.param_groups[0]["lr"]


def test_a_plateau_of_the_training_loss_does_not_look_at_the_accuracy() -> None:
    scheduler = Plateau(patience=0, watches="train_loss").attach(little(1.0), steps_per_epoch=1, epochs=9)
    for loss, accuracy in [(2.0, 0.9), (1.0, 0.1), (0.5, 0.0)]:
        scheduler.after_epoch(accuracy, train_loss=loss)
    assert scheduler.share == 1.0
    scheduler.after_epoch(1.0, train_loss=0.5)
    assert scheduler.share == pytest.approx(0.1)


def test_a_negative_loss_gains_by_falling_alone() -> None:
    """Torch takes one that has risen by less than the threshold for a gain."""
    scheduler = Plateau(patience=0, threshold=0.1, watches="train_loss").attach(
        little(1.0), steps_per_epoch=1, epochs=9
    )
    for loss, share in [(-1.0, 1.0), (-1.2, 1.0), (-1.25, 0.1), (-1.1, 0.01), (-1.4, 0.01)]:
        scheduler.after_epoch(train_loss=loss)
        assert scheduler.share == pytest.approx(share)


def test_what_a_plateau_watches_must_be_given() -> None:
    loss = Plateau(patience=0, watches="train_loss").attach(little(1.0), steps_per_epoch=1, epochs=9)
    with pytest.raises(InvalidValue, match=r"train_loss is None\n.*\nwrite after_epoch\(train_loss=\.\.\.\)"):
        loss.after_epoch(0.5)
    with pytest.raises(NotFinite, match=r"the train loss is nan\n.*\nlower the learning rate"):
        loss.after_epoch(0.5, train_loss=math.nan)
    loss.after_epoch(97.5, train_loss=3.0)  # whatever the accuracy is
    accuracy = Plateau(patience=0).attach(little(1.0), steps_per_epoch=1, epochs=9)
    with pytest.raises(InvalidValue, match=r"validation_accuracy is None"):
        accuracy.after_epoch(train_loss=0.5)


def test_unknown_numbers_are_not_watched() -> None:
    with pytest.raises(UnknownName, match=r"watches is 'train_los'\n.*\ndid you mean 'train_loss'"):
        Plateau(patience=1, watches="train_los")  # type: ignore[arg-type]


def test_a_rate_that_grows_without_end_is_refused() -> None:
    Steps(every=1.0, gamma=1000.0).check(101, 1)
    with pytest.raises(InvalidValue, match=r"gamma is 1000, and there are 101 drops\n.*at most 100 times"):
        Steps(every=1.0, gamma=1000.0).check(102, 1)
    Steps(every=1.0, gamma=0.1).check(5000, 1)
    assert Steps(every=1.0, gamma=0.1).factor(4999, steps_per_epoch=1, epochs=5000) == 0.0


def test_all_parameter_groups_follow_a_plateau() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.3, 0.02)]
    optimizer = torch.optim.SGD(groups)
    scheduler = Plateau(patience=0, watches="train_loss").attach(optimizer, steps_per_epoch=1, epochs=9)
    for _ in range(2):
        scheduler.after_epoch(train_loss=1.0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.03, 0.002])
