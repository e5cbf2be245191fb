"""Run a network as a sum of paths: activations give what they get, and so do norms, times their gain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from budbreak.errors import InvalidValue
from budbreak.graph import (
    ACTIVATION_FUNCTIONS,
    CLAMPS,
    RECURRENT,
    ModelGraph,
    as_written,
    calling_line,
    may_be_activation,
    opened,
)

_PER_FEATURE = (functional.layer_norm, torch.layer_norm, functional.rms_norm, torch.rms_norm)
_PER_CHANNEL = (functional.group_norm, torch.group_norm, functional.instance_norm, functional.batch_norm)
_WITH_STATISTICS = (functional.instance_norm, functional.batch_norm)
"""They take a running mean and variance before the gain; with these they are no more than a factor."""
_OPENED = (functional.multi_head_attention_forward, torch.autograd.grad)
"""What is to be seen inside, too: attention that is called as a whole, and passes that a checkpoint computes again."""
_WITHOUT_GAIN = (functional.local_response_norm, functional.normalize)


class PassingOn(TorchFunctionMode):
    """A mode under which activations, and norms without running statistics, give what they get, times a gain.

    How attention weighs values counts as it is, without a derivative.

    Attributes:
        weighing: what entered the softmax of attention, where it depends on what is differentiated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weighing: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the function, unless it is one of these.

        Raises:
            InvalidValue: for a recurrent layer.
        """
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if func in _OPENED:
            with self:
                return opened(func)(*args, **kwargs)
        if name in ACTIVATION_FUNCTIONS or func in _WITHOUT_GAIN:
            return _given(*args, **kwargs)
        if name in CLAMPS and _given(*args, **kwargs).is_floating_point():
            return _given(*args, **kwargs)
        if func in _PER_FEATURE or func in _PER_CHANNEL:
            return _normed(func, args, kwargs)
        if name in RECURRENT:
            _check_recurrent(name, args)
        if name in ("softmax", "scaled_dot_product_attention"):
            args, kwargs = self._weighed(args, kwargs, 1 if name == "softmax" else 2)
        return func(*args, **kwargs)

    def _weighed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], count: int) -> tuple[Any, Mapping[str, Any]]:
        """The same arguments, the first so many without a graph."""
        named = ("input", "query", "key")
        firsts = [*args[:count], *(value for key, value in kwargs.items() if key in named)]
        self.weighing += [tensor for tensor in firsts if isinstance(tensor, Tensor) and tensor.requires_grad]
        kept = {key: value.detach() if key in named else value for key, value in kwargs.items()}
        return (*(tensor.detach() for tensor in args[:count]), *args[count:]), kept


@contextlib.contextmanager
def as_paths(modules: Sequence[nn.Module], mode: PassingOn) -> Generator[None, None, None]:
    """Inside, a model whose weights are magnitudes gives the sum over its paths.

    Args:
        modules: give what they get, as a whole; see `written_out`.
        mode: a fresh one.
    """
    with torch.enable_grad(), _all_passing_on(modules), as_written(), mode:
        yield


def written_out(model: nn.Module, trace: Callable[[], ModelGraph]) -> list[nn.Module]:
    """The modules that are, as a whole, one activation, written with several calls: x * sigmoid(x), say.

    Args:
        model: to look at.
        trace: gives its graph; not called if no module might be one.
    """
    foreign = {
        path: module
        for path, module in model.named_modules()
        if path and may_be_activation(module) and not type(module).__module__.startswith("torch.")
    }
    nodes = trace().nodes if foreign else ()
    whole = dict.fromkeys(node.owner for node in nodes if node.site is not None and not node.site.where)
    return [foreign[path] for path in whole if path in foreign]


@contextlib.contextmanager
def _all_passing_on(modules: Sequence[nn.Module]) -> Generator[None, None, None]:
    """None of them runs, for it might overwrite what it is given."""
    own = [vars(module).get("forward") for module in modules]
    for module in modules:
        module.forward = _given
    try:
        yield
    finally:
        for module, before in zip(modules, own, strict=True):
            del module.forward
            if before is not None:
                module.forward = before


def _check_recurrent(name: str, args: tuple[Any, ...]) -> None:
    given = [item for argument in args for item in (argument if isinstance(argument, list | tuple) else [argument])]  # pyright: ignore
    if any(isinstance(item, Tensor) and item.requires_grad for item in given):
        raise InvalidValue(
            f"a prunable weight leads into, or belongs to, {name} ({calling_line()})",
            "SynFlow adds up paths of magnitudes, and what a recurrent layer computes is no sum of paths",
            "leave out the weights in it and before it by prunable=bb.excluding(...), or choose another criterion",
        )


def _given(*args: Any, **kwargs: Any) -> Tensor:
    """What a function or module that takes one tensor was called with."""
    return args[0] if args else kwargs["input"] if "input" in kwargs else next(iter(kwargs.values()))


def _normed(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    given, place = _given(*args, **kwargs), 3 if func in _WITH_STATISTICS else 2
    if func in _WITH_STATISTICS and _argument(args, kwargs, 2, "running_var") is not None:
        return func(*args, **kwargs)
    gain = _argument(args, kwargs, place, "weight")
    if gain is None:
        return given
    return given * (gain if func in _PER_FEATURE else gain.reshape(-1, *[1] * (given.dim() - 2)))


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int, name: str) -> Any:
    return args[place] if place < len(args) else kwargs.get(name)
