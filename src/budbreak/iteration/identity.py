"""What makes two iterations the same: plan, model, optimizer, seed; and what they ran in."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from budbreak._version import __version__
from budbreak.modelstate import model_state
from budbreak.prunable import unwrap


def describe(value: object) -> Any:
    """A JSON value that spells a plan's parts: objects by name and fields, functions by their full name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: describe(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__qualname__, **parts}
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in cast(Mapping[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in cast(Sequence[object], value)]
    if isinstance(value, type) or hasattr(value, "__code__"):
        return _full_name(value)
    parts = vars(value).items() if hasattr(value, "__dict__") else ()
    return {
        "is": _full_name(value),
        **{key: describe(part) if _spellable(part) else _full_name(part) for key, part in parts},
    }


def _spellable(part: object) -> bool:
    """Whether to look into a part: not into plain objects within plain objects, which may be endless."""
    return part is None or isinstance(part, bool | int | float | str | Mapping | list | tuple) or is_dataclass(part)


def _full_name(value: object) -> str:
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{getattr(value, '__module__', '')}:{name}"


def identity(
    model: nn.Module, optimizer: Optimizer, plan: object, seed: int, resets: Sequence[object]
) -> dict[str, Any]:
    """Everything a store must agree on before it is used again."""
    state = model_state(model)
    groups = [
        {
            **{key: describe(value) for key, value in group.items() if key not in ("params", "lr", "initial_lr")},
            "learning_rate": describe(group.get("initial_lr", group.get("lr"))),  # lr itself moves with a scheduler
            "size": len(group["params"]),
        }
        for group in optimizer.param_groups
    ]
    return {
        "plan": describe(plan),
        "model": {name: [list(tensor.shape), str(tensor.dtype)] for name, tensor in state.items()},
        "modules": {
            name: f"{type(module).__name__}({module.extra_repr()})" for name, module in unwrap(model).named_modules()
        },
        "optimizer": {
            "class": type(optimizer).__name__,
            "groups": groups,
        },
        "resets": [type(item).__name__ for item in resets],
        "seed": seed,
    }


def environment() -> dict[str, Any]:
    """What bit-equality depends on: versions, processor, threads, precision."""
    return {
        "budbreak": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def differences(old: object, new: object, where: str = "") -> list[str]:
    """The leaves at which two JSON values differ, as "path: old -> new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        return [
            line for key in keys for line in differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{where}[{index}]")]
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]
