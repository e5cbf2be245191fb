"""Which modules and functions of torch are activations, and which of them give exact zeros."""

from __future__ import annotations

import re
from typing import Any

from torch import nn


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid,
    nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Threshold,
)  # fmt: skip
"""torch's own activation modules."""

FUNCTIONS = names(
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh "
    "softplus softsign log_sigmoid logsigmoid tanhshrink hardshrink softshrink threshold glu"
)
"""The functions, and methods of tensors, that are activations when called by themselves (in place or not)."""
RECURRENT = names("gru lstm rnn_tanh rnn_relu gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell")
"""Layers that hold nonlinearities nobody can look at."""

_EXACT = names("relu relu6 hardswish hardsigmoid hardshrink softshrink threshold")
_PARTS = names("erf exp expm1 sin cos atan arctan maximum minimum where")
"""What activations are written with, inside a module without parameters."""
_EXACT_NAMES = re.compile(r"(?<!leaky)(?<!leaky_)(?<![pr])relu|hard_?(swish|sigmoid)", re.IGNORECASE)
_NAMES = re.compile(r"relu|gelu|elu|silu|swish|mish|sigmoid|tanh|softplus|activation", re.IGNORECASE)


def may_be_activation(module: nn.Module) -> bool:
    """Whether a module of another package might be an activation: no parameters, buffers or modules of its own."""
    if type(module).__module__.partition(".")[0] == "torch":
        return False
    return not any(True for _ in (*module.children(), *module.parameters(), *module.buffers()))


def is_named_like_one(module: nn.Module) -> bool:
    """Whether the name of its class is that of an activation, e.g. MemoryEfficientSwish."""
    return bool(_NAMES.search(type(module).__name__))


def is_named_exact(module: nn.Module) -> bool:
    """Whether the name of its class is that of a ReLU, which gives exact zeros, or the like."""
    return bool(_EXACT_NAMES.search(type(module).__name__))


def clamps_at_zero(name: str, bounds: tuple[Any, ...]) -> bool:
    """Whether this call is a ReLU, or the like, written as a clamp.

    >>> clamps_at_zero("clamp", (0, None)), clamps_at_zero("clamp", (1e-6, None))
    (True, False)
    """
    named = name in ("clamp", "clip", "clamp_min", "clamp_max", "hardtanh")
    return named and any(isinstance(bound, int | float) and bound == 0 for bound in bounds)


def is_nonlinear(name: str, bounds: tuple[Any, ...]) -> bool:
    """Whether a function called inside a module without parameters makes that module an activation."""
    return name in FUNCTIONS or name in _PARTS or clamps_at_zero(name, bounds)


def function_is_exact(name: str, bounds: tuple[Any, ...]) -> bool:
    """Whether this function gives exact zeros on more than single points."""
    return name in _EXACT or name in ("maximum", "minimum", "where") or clamps_at_zero(name, bounds)


def module_is_exact(module: nn.Module) -> bool:
    """Whether one of `ACTIVATIONS` gives exact zeros on more than single points (GELU and Sigmoid do not)."""
    if isinstance(module, nn.ReLU6):
        return True
    if isinstance(module, nn.Hardtanh):
        return 0 in (module.min_val, module.max_val)
    if isinstance(module, nn.Threshold):
        return module.value == 0
    if isinstance(module, nn.LeakyReLU):
        return module.negative_slope == 0
    if isinstance(module, nn.PReLU):
        return bool((module.weight == 0).any())
    if isinstance(module, nn.Hardshrink | nn.Softshrink):
        return module.lambd > 0
    return isinstance(module, nn.ReLU | nn.Hardswish | nn.Hardsigmoid)
