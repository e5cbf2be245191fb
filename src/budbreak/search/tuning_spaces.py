"""The spaces of settings that have a name. Source: arXiv 2305.10964, whose code has their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budbreak.checks import check_count, check_known

TUNING_SPACES = ("paper", "safs")
"""The names. "paper" is the table of SAFS; "safs" differs in that weight decay is logarithmic: of the draws of the
other one half are above 0.05, where hardly anything learns."""

_RATE = {"low": 1e-4, "high": 1e-1, "log": True}
_DECAYS = {"paper": {"low": 1e-5, "high": 1e-1}, "safs": {"low": 1e-5, "high": 1e-1, "log": True}}


def named_form(name: str, epochs: int) -> dict[str, Any]:
    """The plain form of a space for trainings of so many epochs.

    Four optimizers, each with a rate of its own; a schedule is chosen for SGD alone, as in the paper. Schedules that do
    not fit into the epochs are left out; what the others are called does not depend on them, so that a candidate means
    the same in a space of more epochs. The end of the restarts is 5e-5 in the paper, here the share of the rate that
    this is of its default, 0.01.

    Raises:
        UnknownName: for a name that there is not.
        InvalidValue: for what is no number of epochs.
    """
    check_known(f"no space of settings named {name!r}", name, TUNING_SPACES)
    check_count("epochs", epochs)
    decay = _DECAYS[name]
    adaptive = {"betas": [0.9, 0.99], "learning_rate": _RATE, "weight_decay": decay}
    optimizers = [
        {"is": "sgd", "learning_rate": _RATE, "momentum": {"low": 0.1, "high": 0.999}, "weight_decay": decay},
        {"is": "adam", **adaptive},
        {"is": "tadam", **adaptive},
        {"is": "fromage", "learning_rate": _RATE},
    ]
    schedule = {"choose": _schedules(epochs), "when": {"optimizer": "sgd"}, "otherwise": "constant"}
    return {"optimizer": {"choose": optimizers}, "schedule": schedule}


def _schedules(epochs: int) -> Mapping[str, Any]:
    quarter = float(epochs // 4)
    least_and_form: Mapping[str, tuple[int, Any]] = {
        "constant": (1, "constant"),
        "cosine": (1, "cosine"),
        "restarts": (4, {"is": "cosine", "cycle": quarter, "end": 5e-3}),
        "steps": (4, {"is": "steps", "every": quarter, "gamma": 0.1}),
        "plateau": (5, {"is": "plateau", "patience": 2, "gamma": 0.05, "threshold": 1e-4, "watches": "train_loss"}),
        "warmup": (6, {"is": "constant", "warmup": 5.0, "start": 0.1}),
        "halving": (21, {"is": "steps", "every": 20.0, "gamma": 0.5}),
    }
    return {name: form for name, (least, form) in least_and_form.items() if epochs >= least}
