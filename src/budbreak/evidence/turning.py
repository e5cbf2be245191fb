"""Which calls turn the sign of what flows through a network, so that it is no sum of paths of magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from budbreak.evidence.behind import nodes_behind
from budbreak.evidence.passing import PassingOn
from budbreak.graph import calling_line

_SHOWN = 3
_ROUNDING = 1e-9
"""The share of the largest number up to which a negative one is rounding: of float64, through many layers."""


class Noting(PassingOn):
    """The same mode, which notes what each call of a function does to signs.

    Attributes:
        turned: the calls that gave something negative of what was not, "sub (net.py:12)".
    """

    def __init__(self) -> None:
        super().__init__()
        self.turned: dict[str, None] = {}
        self._calls: dict[Node, str] = {}
        self._is_over = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the function as the mode does, and note what it gave."""
        if self._is_over:
            return super().__torch_function__(func, types, args, kwargs)
        entered = any(map(_is_negative, _tensors_in([*args, *(kwargs or {}).values()])))
        result = super().__torch_function__(func, types, args, kwargs)
        name, where = getattr(func, "__name__", "").strip("_"), calling_line()
        words = "" if entered else f"{name} ({where})" if where else name  # what is negative before turns nothing
        for tensor in _tensors_in([result]):
            if words and _is_negative(tensor):
                self.turned[words] = None
            if tensor.grad_fn is not None:
                self._note(tensor.grad_fn, words)
        return result

    def look_back(self, total: Tensor, leaves: Sequence[Tensor]) -> None:
        """Note also the calls whose derivatives are negative where those behind them are not.

        Args:
            total: computed under this mode; its graph is used up.
            leaves: by which it is differentiated.
        """
        self._is_over = True
        handles = [node.register_hook(self._listening(words)) for node, words in self._calls.items() if words]
        torch.autograd.grad(total, leaves, allow_unused=True)
        for handle in handles:
            handle.remove()

    def __str__(self) -> str:
        """The first calls, in words."""
        return ", ".join([*self.turned][:_SHOWN]) + (", ..." if len(self.turned) > _SHOWN else "")

    def _note(self, last: Node, words: str) -> None:
        """All steps of autograd back to those that are known belong to a call."""
        self._calls |= dict.fromkeys(nodes_behind(last, self._calls), words)

    def _listening(self, words: str) -> Callable[[Sequence[Tensor | None], Sequence[Tensor | None]], None]:
        def listen(given: Sequence[Tensor | None], received: Sequence[Tensor | None]) -> None:
            if not any(map(_is_negative, received)) and any(map(_is_negative, given)):
                self.turned[words] = None

        return listen


def listen_for_turns(total: Tensor) -> Callable[[], bool]:
    """Hear, while a number is differentiated, whether some derivative is negative, though paths that add hide it.

    Args:
        total: not yet differentiated; its graph keeps the listeners.

    Returns:
        Tells what was heard so far.
    """
    heard: list[bool] = []

    def listen(given: Sequence[Tensor | None], received: Sequence[Tensor | None]) -> None:
        if not heard and any(map(_is_negative, given)):
            heard.append(True)

    for node in nodes_behind(total.grad_fn):
        node.register_hook(listen)
    return lambda: bool(heard)


def _tensors_in(values: Iterable[object]) -> list[Tensor]:
    """Those among the values, and in lists of them."""
    found: list[Tensor] = []
    for value in values:
        items: Iterable[object] = value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType]
        found += [item for item in items if isinstance(item, Tensor)]
    return found


def _is_negative(tensor: Tensor | None) -> bool:
    """Whether some of its numbers are."""
    if tensor is None or not tensor.is_floating_point() or not tensor.numel():
        return False
    numbers = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()  # of embeddings
    return float(numbers.min()) < -_ROUNDING * float(numbers.abs().max())
