"""Hear what the layers that own prunable weights are called with."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from budbreak.errors import InvalidValue
from budbreak.graph import calling_line, multiplies, unseen_by_modes
from budbreak.masks import parameters_with_layers

InputListener = Callable[[str, nn.Module, Tensor], None]
"""``listener(weight_name, layer, input)``; see `ProbeContext.on_input`."""


class InputHearing:
    """Inside, the listeners hear each call of a layer that owns one of these parameters.

    Args:
        model: to listen to.
        parameters: prunable ones, by name.
        listeners: of their layers; without any, nothing is hooked.
    """

    def __init__(
        self, model: nn.Module, parameters: Mapping[str, nn.Parameter], listeners: Sequence[InputListener]
    ) -> None:
        names = {id(parameter): name for name, parameter in parameters.items()} if listeners else {}
        self.owned = [(layer, own) for _, layer, own in parameters_with_layers(model) if id(own) in names]
        self.listeners, self.names = listeners, names
        self.is_on = False
        self._elsewhere = _Elsewhere(names)
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> InputHearing:
        """Hook the layers."""
        for layer, own in self.owned:
            self._hook(layer, own)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    @contextlib.contextmanager
    def following(self) -> Generator[None, None, None]:
        """Inside is one forward pass; what a checkpoint computes again, behind it, is not heard again.

        Raises:
            InvalidValue: if a weight is multiplied outside of its layers.
        """
        self.is_on = True
        try:
            with self._elsewhere if self.owned else contextlib.nullcontext():
                yield
        finally:
            self.is_on = False
            self._elsewhere.running.clear()

    def _hook(self, layer: nn.Module, own: nn.Parameter) -> None:
        name, running = self.names[id(own)], self._elsewhere.running

        def before(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            running[id(own)] += 1
            given = next((item for item in (*args, *kwargs.values()) if isinstance(item, Tensor)), None)
            if given is None or not self.is_on:
                return
            with unseen_by_modes(), torch.no_grad() if torch.is_grad_enabled() else contextlib.nullcontext():
                for listener in self.listeners:
                    listener(name, layer, given.detach())

        def after(layer: nn.Module, args: tuple[Any, ...], output: object) -> None:
            running[id(own)] -= 1

        self._handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(layer.register_forward_hook(after, always_call=True))


class _Elsewhere(TorchFunctionMode):
    """Refuses products with weights whose layers do not run: what they are multiplied with there is not heard.

    Args:
        names: id of a parameter -> its name.

    Attributes:
        running: id of a parameter -> how many of its layers run.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.names, self.running = names, Counter[int]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the function, unless it is one of these."""
        kwargs = kwargs or {}
        if multiplies(func):
            self._check(func.__name__, [*args, *kwargs.values()])
        return func(*args, **kwargs)

    def _check(self, call: str, given: Iterable[object]) -> None:
        for tensor in (item for item in given if isinstance(item, Tensor)):
            base = tensor if tensor._base is None else tensor._base  # pyright: ignore[reportPrivateUsage]  # of a view
            if id(base) in self.names and not self.running[id(base)]:
                name = self.names[id(base)]
                raise InvalidValue(
                    f"{name!r} is multiplied outside of its layer, by {call} ({calling_line()})",
                    "what a weight is multiplied with is heard in calls of its layer",
                    f"call the layer itself, or leave it out: prunable=bb.excluding({name!r})",
                )
