"""What is called inside a model: which functions are activations, and from which line of whose code."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.graph.layouts import Call
from budbreak.graph.nonlinearities import (
    FUNCTIONS,
    RECURRENT,
    clamps_at_zero,
    function_is_exact,
    is_named_exact,
    is_named_like_one,
    is_nonlinear,
)

_OURS, _TORCH = Path(__file__).parent, Path(torch.__file__).parent
_OUTSIDE = _OURS / "feeding.py"
"""The caller of the forward pass: beyond it lies no code of the model."""


@dataclass
class Inside:
    """What was called within one call of a module that might be an activation.

    Args:
        shape: of the one tensor that went in; None if it was none or several.
    """

    shape: tuple[int, ...] | None
    nonlinear: bool = False
    exact: bool = False
    elementwise: bool = True
    unseen: list[str] = field(default_factory=list[str])

    def add(self, call: Call, result: object) -> None:
        """Take note of a call: elementwise ones give the shape that went in, or a constant."""
        bounds = _bounds(call)
        self.nonlinear |= is_nonlinear(call.name, bounds)
        self.exact |= function_is_exact(call.name, bounds)
        if isinstance(result, Tensor) and result.dim() and tuple(result.shape) != self.shape:
            self.elementwise = False

    def is_exact(self, module: nn.Module) -> bool:
        """Whether it gives exact zeros; by its name where nothing was seen inside."""
        return self.exact or (not self.nonlinear and is_named_exact(module))

    def is_activation(self, module: nn.Module, output: object) -> bool:
        """Whether the module was one: one tensor in, one of the same shape out, each value for itself."""
        if self.shape is None or not isinstance(output, Tensor) or tuple(output.shape) != self.shape:
            return False
        return self.elementwise and (self.nonlinear or is_named_like_one(module))


class UnseenCalls:
    """The activations that no hook can hear, each once, in words that lead to its line.

    Args:
        names: id of a module -> its name.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self.calls: dict[str, None] = {}

    def add(self, calls: list[str]) -> None:
        """Keep these."""
        self.calls.update(dict.fromkeys(calls))

    def locate(self, call: Call) -> list[str]:
        """Where an activation was called, as a list of one; empty for every other function."""
        if call.name in RECURRENT:
            return [f"the nonlinearities inside {call.name} {self._place()}"]
        if call.name in FUNCTIONS or (clamps_at_zero(call.name, _bounds(call)) and _is_activation_of(call)):
            return [f"{_spelt(call)} called {self._place()}"]
        return []

    def _place(self) -> str:
        """The module that runs, as in "in block2 (net.py:41)", and the nearest line outside torch."""
        module, line, frame = None, "", inspect.currentframe()
        while frame is not None and (path := Path(frame.f_code.co_filename)) != _OUTSIDE:
            if path.parent != _OURS:
                if not line and _TORCH not in path.parents:
                    line = f" ({path.name}:{frame.f_lineno})"
                module = self.names.get(id(frame.f_locals.get("self"))) if module is None else module
            frame = frame.f_back
        return f"in {module or 'the model itself'}{line}"


def _spelt(call: Call) -> str:
    kind = getattr(call.run, "__module__", None) or ""
    if kind in ("torch.nn.functional", "torch._C._nn"):
        return f"F.{call.name}"
    return f"torch.{call.name}" if kind == "torch" else f".{call.name}()"


def _bounds(call: Call) -> tuple[Any, ...]:
    return (*call.args[1:3], *(call.kwargs.get(name) for name in ("min", "max", "min_val", "max_val")))


def _is_activation_of(call: Call) -> bool:
    """Clamping at zero what holds units is an activation; clamping a count or a loss is not."""
    return bool(call.args) and call.layout(call.args[0]) is not None
