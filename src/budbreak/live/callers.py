"""Who holds and who calls the activations of a network, and what stands in their place."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from budbreak.activations import ActivationModule
from budbreak.graph import Hooks


@dataclass(frozen=True)
class Slot:
    """One new module, and where it sits.

    Args:
        holders: the modules that hold it, each with the name of the child.
        new: the module.
        old: what was called there before, as a module.
        sites: whose calls it takes over, one for each call in a pass.
    """

    holders: tuple[tuple[nn.Module, str], ...]
    new: ActivationModule
    old: nn.Module
    sites: tuple[str, ...]


def holders_of(model: nn.Module, child: nn.Module) -> list[tuple[nn.Module, str]]:
    """All modules that hold this one, each with its name for it."""
    return [
        (holder, key)
        for holder in model.modules()
        for key, held in holder._modules.items()  # pyright: ignore[reportPrivateUsage]
        if held is child
    ]


def callers_of(model: nn.Module, paths: Container[str], run: Callable[[nn.Module], Any]) -> Mapping[str, Sequence[str]]:
    """Path of a module -> the path of the module that makes each of its calls, in one pass."""
    stack, found = list[str](), dict[str, list[str]]()

    def enter(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if path in paths:
            found.setdefault(path, []).append(stack[-1] if stack else "")
        stack.append(path)

    def leave(path: str, module: nn.Module, output: object) -> None:
        stack.pop()

    hooks = Hooks(enter, leave)
    hooks.put_on(model)
    try:
        run(model)
    finally:
        hooks.remove()
    return found


def choices_of(
    model: nn.Module, paths: Container[str], run: Callable[[nn.Module], Any]
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Path of a module -> for each of its calls the arguments that choose what it does: None, True, False, texts."""
    found = dict[str, list[Mapping[str, Any]]]()

    def enter(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if path in paths:
            given = inspect.signature(module.forward).bind(*args, **kwargs)
            given.apply_defaults()
            chosen = {name: value for name, value in given.arguments.items() if isinstance(value, bool | str | None)}
            found.setdefault(path, []).append(chosen)

    hooks = Hooks(enter, lambda path, module, output: None)
    hooks.put_on(model)
    try:
        run(model)
    finally:
        hooks.remove()
    return found


def put(holder: nn.Module, key: str, module: nn.Module) -> None:
    """Set a child, and see to it that it is called.

    nn.TransformerEncoderLayer has a fused kernel for ReLU and GELU, which would go on to be used, and the encoder
    hands it nested tensors.
    """
    holder._modules[key] = module  # pyright: ignore[reportPrivateUsage]
    if key in vars(holder):  # the attribute that held a function; its __setstate__ may insist on finding it there
        vars(holder)[key] = module
    if hasattr(holder, "activation_relu_or_gelu"):
        vars(holder)["activation_relu_or_gelu"] = 0


def keep_plain(model: nn.Module) -> None:
    """Encoders whose layers have lost their fused kernel do not make nested tensors any more."""
    for module in model.modules():
        layers = module.modules() if getattr(module, "use_nested_tensor", False) else ()
        if any(getattr(layer, "activation_relu_or_gelu", 1) == 0 for layer in layers):
            vars(module)["use_nested_tensor"] = False


@contextlib.contextmanager
def stand_in(slots: Sequence[Slot]) -> Generator[list[int], None, None]:
    """Inside, what was called before is called in the new places; gives how often each was."""
    calls = [0] * len(slots)
    for place, slot in enumerate(slots):
        _fill(slot, _Counted(_kept_apart(slot.old), calls, place))
    try:
        yield calls
    finally:
        for slot in slots:
            _fill(slot, slot.new)


class _Counted(nn.Module):
    """Counts the calls of a module."""

    def __init__(self, inner: nn.Module, calls: list[int], place: int) -> None:
        super().__init__()
        self.inner, self.calls, self.place = inner, calls, place

    def forward(self, x: Any) -> Any:
        self.calls[self.place] += 1
        return self.inner(x)


def _fill(slot: Slot, module: nn.Module) -> None:
    for holder, key in slot.holders:
        put(holder, key, module)


def _kept_apart(old: nn.Module) -> nn.Module:
    """The same operator, without writing over what it is given."""
    if getattr(old, "inplace", False) is True:
        old = copy.deepcopy(old)
        vars(old)["inplace"] = False
    return old
