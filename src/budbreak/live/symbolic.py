"""Trace the forward of one module symbolically, and say why that fails."""

from __future__ import annotations

import contextlib
import random
import traceback
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from budbreak.graph import calling_line, restored, undisturbed

_TORCH, _OURS = str(Path(torch.__file__).parent), str(Path(__file__).parent)
_LAYERS = str(Path(nn.modules.__file__).parent)
_PLAIN = (bool, int, float, str, type(None))


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


Read = dict[str, object]
"""Name of an attribute -> the plain value that a forward read of it: a graph holds it for good."""


def traced(owner: nn.Module, training: bool, chosen: Mapping[str, Any]) -> tuple[fx.Graph, Read]:
    """The graph of a forward, its children as leaves, in one of the modes; the module is left as it was.

    Args:
        owner: the module.
        training: the mode.
        chosen: arguments that have a value now, and keep it.

    Raises:
        Exception: whatever its code raises on values that are not there; ValueError where something would be lost:
            what it changes of itself, and what it draws at random by itself.
    """
    before, attributes, drawn = dict(vars(owner)), _attributes(owner), _drawn()
    with undisturbed(owner), restored(owner):
        owner.train(training)
        try:
            with _reading(owner) as read:
                graph = _Tracer().trace(owner, dict(chosen))
            changed = [name for name, value in _attributes(owner).items() if value != attributes.get(name)]
            drew = _drawn() != drawn
        finally:
            vars(owner).clear()
            vars(owner).update(before)
    _check_nothing_lost(changed, drew=drew)
    for node in graph.find_nodes(op="placeholder"):
        node.target = str(node.target).removesuffix("_1") if str(node.target)[:-2] in chosen else node.target
    return graph, read


def _check_nothing_lost(changed: Sequence[str], *, drew: bool) -> None:
    if drew:
        raise ValueError("it draws or seeds random numbers without its inputs")
    if changed and changed[0].startswith("_tensor_constant"):  # where torch.fx puts it
        raise ValueError("it makes a tensor without its inputs, which would be the same one in each call")
    if changed:
        raise ValueError(f"it sets self.{changed[0]}")


@contextlib.contextmanager
def _reading(owner: nn.Module) -> Generator[Read, None, None]:
    """Note the plain attributes of a module that are read inside."""
    kind, read = type(owner), Read()

    def reading(self: nn.Module, name: str) -> Any:
        value = kind.__getattribute__(self, name)
        if self is owner and name != "training" and isinstance(value, _PLAIN) and name in vars(self):
            read[name] = value
        return value

    owner.__class__ = type(kind.__name__, (kind,), {"__getattribute__": reading, "__module__": kind.__module__})
    try:
        yield read
    finally:
        owner.__class__ = kind


def _drawn() -> tuple[object, ...]:
    """Where the global generators stand."""
    return bytes(cast(Any, torch.get_rng_state().numpy())), random.getstate(), repr(np.random.get_state())


def _modes() -> tuple[bool, ...]:
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _attributes(owner: nn.Module) -> dict[str, object]:
    """Which object each attribute is, and what tells whether that was changed; buffers and parameters too."""
    held = {**vars(owner), **dict(owner.named_buffers(recurse=False)), **dict(owner.named_parameters(recurse=False))}
    every_module = vars(nn.Module())
    return {name: _state(value) for name, value in held.items() if name not in every_module}


def _state(value: object) -> tuple[object, ...]:
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, list | set | deque | dict):
        held = cast("dict[Any, Any]", value).items() if isinstance(value, dict) else cast("list[Any]", value)
        return (id(value), *(id(item) for pair in held for item in (pair if isinstance(pair, tuple) else (pair,))))
    return (id(value),)


def said(error: Exception) -> str:
    """Why a forward could not be traced, and in which line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    steps = [step for step in traceback.extract_tb(error.__traceback__) if _is_code(step.filename)]
    return f"{lines[0]}{f' ({Path(steps[-1].filename).name}:{steps[-1].lineno})' if steps else ''}"


def _is_code(path: str) -> bool:
    return not path.startswith(_OURS) and (path.startswith(_LAYERS) or not path.startswith(_TORCH))
