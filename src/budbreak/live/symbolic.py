"""Trace the forward of one module symbolically, and say why that fails."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from budbreak.graph import calling_line

_TORCH, _OURS = str(Path(torch.__file__).parent), str(Path(__file__).parent)
_LAYERS = str(Path(nn.modules.__file__).parent)


class _Tracer(fx.Tracer):
    """Looks at one forward alone, and notes the line of each call.

    Refuses what a graph does not hold, and would be lost: gradients or autocast turned on or off within.
    """

    def __init__(self) -> None:
        super().__init__()
        self.modes = _modes()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if _modes() != self.modes:
            raise ValueError("it turns gradients or autocast on or off")
        node = super().create_node(*args, **kwargs)
        node.meta["where"] = calling_line()
        return node


def traced(owner: nn.Module, training: bool, chosen: Mapping[str, Any]) -> fx.Graph:
    """The graph of a forward, its children as leaves, in one of the modes; the module is left as it was.

    Args:
        owner: the module.
        training: the mode.
        chosen: arguments that have a value now, and keep it.

    Raises:
        Exception: whatever its code raises on values that are not there; ValueError where something would be lost.
    """
    before, modes = dict(vars(owner)), [(module, module.training) for module in owner.modules()]
    attributes = _attributes(owner)
    owner.train(training)
    try:
        graph = _Tracer().trace(owner, dict(chosen))
        changed = [name for name, value in _attributes(owner).items() if value != attributes.get(name)]
    finally:
        vars(owner).clear()
        vars(owner).update(before)
        for module, mode in modes:
            module.training = mode
    if changed:
        raise ValueError(f"it sets self.{changed[0]}")
    for node in graph.find_nodes(op="placeholder"):
        node.target = str(node.target).removesuffix("_1") if str(node.target)[:-2] in chosen else node.target
    return graph


def _modes() -> tuple[bool, ...]:
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _attributes(owner: nn.Module) -> dict[str, int]:
    """Which object each attribute is, buffers and parameters too."""
    held = {**vars(owner), **dict(owner.named_buffers(recurse=False)), **dict(owner.named_parameters(recurse=False))}
    return {name: id(value) for name, value in held.items() if name != "training"}


def said(error: Exception) -> str:
    """Why a forward could not be traced, and in which line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    steps = [step for step in traceback.extract_tb(error.__traceback__) if _is_code(step.filename)]
    return f"{lines[0]}{f' ({Path(steps[-1].filename).name}:{steps[-1].lineno})' if steps else ''}"


def _is_code(path: str) -> bool:
    return not path.startswith(_OURS) and (path.startswith(_LAYERS) or not path.startswith(_TORCH))
