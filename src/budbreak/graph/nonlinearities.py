"""Which functions of torch are nonlinear, which of their calls are activations, and which give exact zeros."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from budbreak.graph.call import Call
from budbreak.graph.words import words

FUNCTIONS = words(
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid "
    "special_expit tanh softplus softsign log_sigmoid logsigmoid tanhshrink hardshrink softshrink threshold"
)
"""The functions, and methods of tensors, that are activations wherever they are called."""
RECURRENT = words("gru lstm rnn_tanh rnn_relu gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell")
"""Layers that hold nonlinearities nobody can look at."""
CONTROLLING = words("cond while_loop scan associative_scan map invoke_subgraph")
"""Calls of torch that run functions of the model's own, which nobody can look into."""
CLAMPS = words("clamp clip clamp_min clamp_max")
MAXIMA = words("maximum minimum fmax fmin max min")

_OTHERS = words(
    "erf erfc erfinv exp exp2 expm1 sin cos tan sinh cosh asin acos atan atan2 arcsin arccos arctan asinh acosh atanh "
    "sinc pow float_power square sqrt rsqrt abs log log1p log2 log10 logit reciprocal sign sgn glu "
    "heaviside round floor ceil trunc frac fmod remainder hypot logaddexp gt lt ge le eq ne greater less "
    "__gt__ __lt__ __ge__ __le__ __pow__ __rpow__ __abs__ __rdiv__ __rtruediv__"
)
"""Nonlinear, each value for itself, and nobody knows whether as an activation."""
ELEMENTWISE = (_OTHERS - {"glu"}) | CLAMPS | MAXIMA
"""Functions that look at each value for itself, or at a value of each of two tensors."""
CUMULATIVE = words("cumsum cumprod logcumsumexp cummax cummin")
"""Functions that look at the values before each one, along a dimension."""
_EXACT = words(
    "relu relu6 hardswish hardsigmoid where maximum minimum fmax fmin max min gt lt ge le "
    "__gt__ __lt__ round floor ceil trunc heaviside"
)
_EXACT_NAMES = re.compile(r"(?<!leaky)(?<!leaky_)(?<![pr])relu|hard_?(swish|sigmoid)", re.IGNORECASE)
_NAMES = re.compile(r"relu|gelu|elu|silu|swish|mish|sigmoid|tanh|softplus|activation", re.IGNORECASE)


def may_be_activation(module: nn.Module) -> bool:
    """Whether a module, as a whole, might be an activation: no module or weight inside, at most a slope a unit."""
    inner = any(True for _ in module.children())
    return not inner and all(tensor.dim() < 2 for tensor in (*module.parameters(), *module.buffers()))


def may_be_norm(module: nn.Module) -> bool:
    """Whether a module is a norm that another package writes out, which only its name tells: LlamaRMSNorm."""
    foreign = type(module).__module__.partition(".")[0] != "torch"
    return foreign and "norm" in type(module).__name__.lower() and not any(True for _ in module.children())


def is_named_like_one(module: nn.Module) -> bool:
    """Whether the name of its class is that of an activation, e.g. MemoryEfficientSwish."""
    return bool(_NAMES.search(type(module).__name__))


def is_named_exact(module: nn.Module) -> bool:
    """Whether the name of its class is that of a ReLU, which gives exact zeros, or the like."""
    return bool(_EXACT_NAMES.search(type(module).__name__))


def activated(call: Call, is_constant: Callable[[Tensor], bool]) -> Tensor | None:
    """The tensor on which a call works as an activation; None if it is none.

    It is one by its name, or a clamp or maximum that is a ReLU or a hard tanh. Clamping what holds no units (a count,
    a norm, a loss) is none.

    Args:
        call: before it runs.
        is_constant: whether no input decides a tensor.
    """
    first, other = call.first, call.argument(1, "other")
    if not isinstance(first, Tensor) or not first.is_floating_point():
        return None
    if call.name in FUNCTIONS:
        return first
    if call.name in CLAMPS and call.layout(first) is not None:
        limits = [limit for limit in bounds(call) if not isinstance(limit, Tensor) or is_constant(limit)]
        return first if any(map(_is_zero, limits)) or len(limits) == 2 else None
    if call.name not in MAXIMA or not isinstance(other, Tensor):
        return None
    tensor, limit = (other, first) if is_constant(first) else (first, other)
    is_limit = is_constant(limit) and not bool(limit.any())
    return tensor if is_limit and call.layout(tensor) is not None else None


def is_nonlinear(call: Call) -> bool:
    """Whether a call is nonlinear, each value for itself."""
    if call.name in MAXIMA:
        return isinstance(call.argument(1, "other"), Tensor)
    return call.name in FUNCTIONS or call.name in CLAMPS or call.name in _OTHERS


def gives_zeros(call: Call) -> bool:
    """Whether a nonlinear call gives exact zeros on more than single points (GELU and Sigmoid do not)."""
    if call.name in CLAMPS:
        return any(map(_is_zero, bounds(call)))
    rule = _ZEROS.get(call.name)
    return call.name in _EXACT if rule is None else rule(call)


def bounds(call: Call) -> list[Any]:
    """The limits that a clamp or a hard tanh was given."""
    given = (*call.args[1:3], *(call.kwargs.get(name) for name in ("min", "max", "min_val", "max_val")))
    return [limit for limit in given if limit is not None]


def _is_zero(limit: object) -> bool:
    if isinstance(limit, Tensor):
        return not bool(limit.any())
    return isinstance(limit, int | float) and limit == 0


def _any_zero(slopes: object) -> bool:
    return isinstance(slopes, Tensor) and bool((slopes == 0).any())


def _number(call: Call, name: str, default: float) -> Any:
    given = call.argument(1, name)
    return default if given is None else given


_ZEROS: dict[str, Callable[[Call], bool]] = {
    "hardtanh": lambda call: any(map(_is_zero, bounds(call))),
    "threshold": lambda call: _is_zero(call.argument(2, "value")),
    "leaky_relu": lambda call: _is_zero(_number(call, "negative_slope", 0.01)),
    "prelu": lambda call: _any_zero(call.argument(1, "weight")),
    "hardshrink": lambda call: _number(call, "lambd", 0.5) > 0,
    "softshrink": lambda call: _number(call, "lambd", 0.5) > 0,
}
