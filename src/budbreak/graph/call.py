"""One call of a function of torch: its plain name, its arguments, and how it is spelt."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from budbreak.graph.site import Layout


@dataclass(frozen=True)
class Call:
    """One call of a function of torch.

    Args:
        name: the function's name without the underscore of its in-place form, e.g. "relu", "transpose", "T".
        run: the function.
        args, kwargs: what it was called with.
        layout: the layout of a tensor, or None where nothing is known about it.
        feeds: id of a prunable parameter, or of a weight computed from one -> its name; ``turned``: those transposed.
    """

    name: str
    run: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    layout: Callable[[object], Layout | None]
    feeds: Mapping[int, str]
    turned: Container[int] = ()

    def argument(self, position: int, *names: str) -> Any:
        """The argument at a position, or by one of its names; None if it was not given."""
        if position < len(self.args):
            return self.args[position]
        return next((self.kwargs[name] for name in names if name in self.kwargs), None)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments, those in lists too."""
        given = [*self.args, *self.kwargs.values()]
        nested = [items(argument) if isinstance(argument, list | tuple) else [argument] for argument in given]
        return [item for inner in nested for item in inner if isinstance(item, Tensor)]

    @property
    def first(self) -> Any:
        """What it works on."""
        return self.argument(0, "input", "self")

    @cached_property
    def overwritten(self) -> Tensor | None:
        """The tensor that it may change in place."""
        out, name = self.kwargs.get("out"), _name(self.run)
        if isinstance(out, Tensor):
            return out
        by_name = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        asked = self.kwargs.get("inplace") is True or any(given is True for given in self.args[1:])
        return self.first if (by_name or asked) and isinstance(self.first, Tensor) else None

    @property
    def spelt(self) -> str:
        """As one writes it: "F.relu", "torch.relu", ".relu()"."""
        kind = getattr(self.run, "__module__", None) or ""
        if kind in ("torch.nn.functional", "torch._C._nn"):
            return f"F.{self.name}"
        return f"torch.{self.name}" if kind == "torch" else f".{self.name}()"


def plain_name(func: Callable[..., Any]) -> str:
    """One word for a function, its method and its in-place form: "relu" for relu_; "T" for the property."""
    name = _name(func)
    if name == "__get__":
        return _name(getattr(func, "__self__", None))
    return name if name.startswith("__") else name.partition(".")[0].strip("_")


def is_data(func: Callable[..., Any]) -> bool:
    """Whether a function is what reads or sets ``tensor.data``."""
    return _name(getattr(func, "__self__", None)) == "data"


def _name(func: object) -> str:
    return getattr(func, "__name__", "")


def items(results: object) -> list[object]:
    """One result or several, as a list; tuples inside (the state of an LSTM) are left as they are."""
    return [*results] if isinstance(results, list | tuple) else [results]  # pyright: ignore[reportUnknownVariableType]
