"""The spaces of settings that have a name. Source: arXiv 2305.10964, whose code has their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_RATE = {"low": 1e-4, "high": 1e-1, "log": True}
_SCHEDULES: list[Any] = [
    "constant",
    "cosine",
    {"is": "plateau", "patience": 2, "gamma": 0.05},
]


def _space(decay: Mapping[str, Any]) -> Mapping[str, Any]:
    """Four optimizers, each with a rate of its own; the schedule is that of SGD alone, as in the paper."""
    adaptive = {"betas": [0.9, 0.99], "learning_rate": _RATE, "weight_decay": decay}
    optimizers = [
        {"is": "sgd", "learning_rate": _RATE, "momentum": {"low": 0.1, "high": 0.999}, "weight_decay": decay},
        {"is": "adam", **adaptive},
        {"is": "robust-adam", **adaptive},
        {"is": "fromage", "learning_rate": _RATE},
    ]
    schedule = {"choose": _SCHEDULES, "when": {"optimizer": "sgd"}, "otherwise": "constant"}
    return MappingProxyType({"optimizer": {"choose": optimizers}, "schedule": schedule})


TUNING_SPACES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": _space({"low": 1e-5, "high": 1e-1}),
        "safs": _space({"low": 1e-5, "high": 1e-1, "log": True}),
    }
)
"""Name -> plain form. "paper" is the table of SAFS; "safs" differs in that weight decay is logarithmic: of the draws of
the other one half are above 0.05, where hardly anything learns."""
