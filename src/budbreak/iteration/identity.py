"""What makes two iterations the same: plan, model, optimizer, seed; and what they ran in."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from budbreak._version import __version__
from budbreak.iteration.describing import describe, describe_batches, full_name
from budbreak.iteration.live import Live
from budbreak.iteration.rates import is_scheduler, members_of
from budbreak.live import Stateful, model_digest, model_state
from budbreak.masks import unwrap


def identity(
    model: nn.Module, optimizer: Optimizer, plan: object, seed: int, resets: Sequence[object]
) -> dict[str, Any]:
    """What all ranks of an iteration have in common, and a store must agree on before it is used again."""
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
        "modules": {name: _module(module) for name, module in unwrap(model).named_modules()},
        "optimizer": {"class": _short_name(optimizer), "groups": groups},
        "resets": [_reset(item) for item in resets],
        "seed": seed,
    }


def start_identity(live: Live, also: Mapping[str, object] | None) -> dict[str, Any]:
    """What a store must agree on besides: the weights it starts from, what evidence is drawn from, the user's own."""
    return {
        "weights": model_digest(live.model),
        "batches": None if live.batches is None else describe_batches(live.batches),
        "loss": describe(live.loss),
        "forward": describe(live.forward),
        "samples": describe(live.samples),
        "mask_grads": live.mask_grads,
        "also": describe(dict(also or {})),
    }


def _module(module: nn.Module) -> str:
    return f"{_short_name(module)}({module.extra_repr()})"


def _short_name(value: object) -> str:
    """The class's name alone where it is torch's."""
    kind = type(value)
    return kind.__name__ if kind.__module__.startswith("torch.") else full_name(kind)


def _reset(item: object) -> Any:
    """A scheduler's settings and an average's weights; a generator is seeded at each level anyway."""
    if isinstance(item, torch.Generator) or not isinstance(item, Stateful):
        return _short_name(item)
    functions = [_functions(member) for member in members_of([item]) if is_scheduler(member)]
    return {"is": _short_name(item), "state": describe(item.state_dict()), "functions": functions}


def _functions(scheduler: object) -> dict[str, Any]:
    """What a scheduler computes the rate by: ``lr_lambdas``, ``scale_fn`` and the like, which its state leaves out."""
    attributes: dict[str, object] = getattr(scheduler, "__dict__", {})
    return {name: describe(value) for name, value in sorted(attributes.items()) if _is_function(value)}


def _is_function(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_function, cast("list[object]", value)))
    return callable(value) and not isinstance(value, nn.Module | weakref.ref)


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
    same = old == new or (old != old and new != new)  # NaN
    return [] if same else [f"{where}: {old!r} -> {new!r}"]
