"""What an iteration is given, what makes two of them the same, and what they ran in."""

from __future__ import annotations

import platform
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from budbreak._version import __version__
from budbreak.evidence import Samples
from budbreak.graph import Batches, Forward, Loss
from budbreak.iteration.describing import describe, describe_batches, full_name
from budbreak.iteration.plan import Plan
from budbreak.iteration.rates import is_scheduler, members_of
from budbreak.live import Resettable, Stateful, model_digest, model_state, state_digest
from budbreak.masks import Mask, unwrap
from budbreak.processes import Processes

Keep = Literal["last", "all"]
"""Of which levels a store keeps the weights: of the one where it stands, or of every one that is over."""


@dataclass(frozen=True)
class Setup:
    """What the user gave to `budbreak.iterate`, unchanged throughout; the plan is fitted to the model.

    No optimizers: they are attached in each training.
    """

    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    plan: Plan
    batches: Batches | None
    loss: Loss | None
    forward: Forward | None
    samples: Samples | None
    resets: tuple[Resettable, ...]
    seed: int
    also: Mapping[str, object] | None
    mask: Mask | None
    mask_grads: bool | None
    keep_holding: bool
    keep: Keep
    processes: Processes

    @property
    def first_mask(self) -> Mask:
        """What is alive at the start."""
        return Mask.dense(self.model, self.plan.prunable) if self.mask is None else self.mask


def identity(setup: Setup) -> dict[str, Any]:
    """What all ranks of an iteration have in common, and a store must agree on before it is used again."""
    state = model_state(setup.model)
    return {
        "plan": describe(setup.plan),
        "model": {name: [list(tensor.shape), str(tensor.dtype)] for name, tensor in state.items()},
        "modules": {name: _module(module) for name, module in unwrap(setup.model).named_modules()},
        "optimizer": _describe_given(setup),
        "resets": [describe_reset(item) for item in setup.resets],
        "seed": setup.seed,
        "mask": None if setup.mask is None else mask_digest(setup.mask),
        "prunable": list(setup.first_mask),
        "processes": setup.processes.size,
    }


def describe_optimizer(optimizer: Optimizer, names: Mapping[int, str] | None = None) -> dict[str, Any]:
    """What an optimizer is: its class, and of each group the settings and how many parameters it has.

    Args:
        optimizer: a live one.
        names: of parameters, by their ids: where they are to be told as well.
    """
    groups = [
        {
            **{key: describe(value) for key, value in group.items() if key not in ("params", "lr", "initial_lr")},
            "learning_rate": describe(group.get("initial_lr", group.get("lr"))),  # lr itself moves with a scheduler
            "size": len(group["params"]),
            **({} if names is None else {"parameters": [names[id(parameter)] for parameter in group["params"]]}),
        }
        for group in optimizer.param_groups
    ]
    return {"class": short_name(optimizer), "groups": groups}


def names_of(model: nn.Module, resets: Sequence[object]) -> dict[int, str]:
    """Ids of all parameters of a model, and of the modules in ``resets``, each with a name."""
    modules = [item for item in resets if isinstance(item, nn.Module)]
    named = [pair for module in (*modules, unwrap(model)) for pair in module.named_parameters()]
    return {id(parameter): name for name, parameter in named}


def _describe_given(setup: Setup) -> Any:
    """One optimizer as it was described when there was no other number of them; None for none yet."""
    if len(setup.optimizers) == 1:
        return describe_optimizer(setup.optimizers[0])
    names = names_of(setup.model, setup.resets)
    return [describe_optimizer(optimizer, names) for optimizer in setup.optimizers] or None


def start_identity(setup: Setup) -> dict[str, Any]:
    """What a store must agree on besides: the weights it starts from, what evidence is drawn from, the user's own."""
    return {
        "weights": model_digest(setup.model),
        "batches": None if setup.batches is None else describe_batches(setup.batches),
        "loss": describe(setup.loss),
        "forward": describe(setup.forward),
        "samples": describe(setup.samples),
        "mask_grads": setup.mask_grads,
        "also": describe(dict(setup.also or {})),
    }


def mask_digest(mask: Mask) -> str:
    """SHA-256 of a mask."""
    return state_digest(mask)


def _module(module: nn.Module) -> str:
    return f"{short_name(module)}({module.extra_repr()})"


def short_name(value: object) -> str:
    """The class's name alone where it is torch's."""
    kind = type(value)
    return kind.__name__ if kind.__module__.startswith("torch.") else full_name(kind)


def describe_reset(item: object) -> Any:
    """A scheduler's settings and an average's weights; a generator is seeded at each level anyway."""
    if isinstance(item, torch.Generator) or not isinstance(item, Stateful):
        return short_name(item)
    functions = [_functions(member) for member in members_of([item]) if is_scheduler(member)]
    return {"is": short_name(item), "state": describe(item.state_dict()), "functions": functions}


def _functions(scheduler: object) -> dict[str, Any]:
    """What a scheduler computes the rate by: ``lr_lambdas``, ``scale_fn`` and the like, which its state leaves out."""
    attributes: dict[str, object] = getattr(scheduler, "__dict__", {})
    return {name: describe(value) for name, value in sorted(attributes.items()) if _is_function(value)}


def _is_function(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_function, cast("list[object]", value)))
    return callable(value) and not isinstance(value, nn.Module | weakref.ref)


def numerical_environment() -> dict[str, Any]:
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


class _NotGiven:
    """What stands for an entry that one of two values has and the other has not: a field at its default."""

    def __repr__(self) -> str:
        return "(not given)"


_NOT_GIVEN = _NotGiven()


def differences(old: object, new: object, where: str = "") -> list[str]:
    """The leaves at which two JSON values differ, as "path: old -> new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        return [
            line
            for key in keys
            for line in differences(
                old.get(key, _NOT_GIVEN), new.get(key, _NOT_GIVEN), f"{where}.{key}" if where else key
            )
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{where}[{index}]")]
    same = old == new or (old != old and new != new)  # NaN
    return [] if same else [f"{where}: {old!r} -> {new!r}"]
