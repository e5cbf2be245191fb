"""The short names of optimizers and schedules, and live ones made of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from budbreak.checks import check_count, check_known, check_model, shown
from budbreak.errors import InvalidValue
from budbreak.training.optimizers import ALL, AdamW, OptimizerValue
from budbreak.training.rates import ALL as RATES
from budbreak.training.rates import RateSchedule, RateScheduler
from budbreak.training.tadam import TAdam
from budbreak.values import Family, decode

OPTIMIZER_FAMILY = Family.of(
    "optimizer",
    ALL,
    needs=("learning_rate", "build"),
    call=False,
    names={"adamw": AdamW, "tadam": TAdam},
    meant={"(?i)(robust|t).?adam": '"tadam"'},
)
RATE_FAMILY = Family.of(
    "learning-rate schedule",
    RATES,
    needs=("attach", "check"),
    call=False,
    example='"cosine"',
    meant={"(?i)cosine.*restarts?": '{is = "cosine", cycle = 10}'},
)
_KNOWN = ("optimizer", "schedule")


def equip(
    model: nn.Module, settings: Mapping[str, Any], *, steps_per_epoch: int, epochs: int
) -> tuple[torch.optim.Optimizer, RateScheduler]:
    """The optimizer and the scheduler that settings tell, live, for one training.

    Call ``scheduler.after_step()`` after each step, and ``scheduler.after_epoch(accuracy, train_loss=loss)`` after each
    epoch.

    Args:
        model: whose parameters are trained, on their device.
        settings: plain forms as ``[train]`` of a recipe holds them, and as ``budbreak.search.tune_training`` proposes
            them: ``{"optimizer": {"is": "sgd", "learning_rate": 0.01}, "schedule": "cosine"}``; without a schedule the
            rate is constant.
        steps_per_epoch: of the training.
        epochs: of the training.

    Raises:
        UnknownName: for other settings, and names that there are not.
        InvalidValue: for settings out of range, or that do not fit the training.
    """
    check_model(model)
    check_count("steps_per_epoch", steps_per_epoch)
    check_count("epochs", epochs)
    for name in settings:
        check_known(f"settings have {name!r}", name, _KNOWN)
    if "optimizer" not in settings:
        rule = "a training has an optimizer"
        raise InvalidValue(f"settings are {shown(dict(settings))}", rule, 'add "optimizer": "sgd"')
    value = cast("OptimizerValue", decode(settings["optimizer"], OPTIMIZER_FAMILY, field="optimizer"))
    rates = cast("RateSchedule", decode(settings.get("schedule", "constant"), RATE_FAMILY, field="schedule"))
    optimizer = value.build(model)
    return optimizer, rates.attach(optimizer, steps_per_epoch=steps_per_epoch, epochs=epochs)
