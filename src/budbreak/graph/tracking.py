"""What is known about each tensor of a forward pass while it lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from budbreak.graph.call import items
from budbreak.graph.parts import Part
from budbreak.graph.site import Layout


@dataclass(frozen=True)
class Known:
    """What is known about a tensor.

    Args:
        node: the node that gave it; None: no input decides it.
        layout: where its units lie, if that is known.
        origins: of what no input decides: the parameters that it is computed from.
        weighted: whether some weight has had a say in it.
        parts: of what no input decides: the same parameters, and buffers, each with where its slices lie.
    """

    node: int | None
    layout: Layout | None = None
    origins: tuple[str, ...] = ()
    weighted: bool = False
    parts: tuple[Part, ...] = ()


class Tracker:
    """Notes on tensors, which it does not keep alive.

    A tensor may be changed behind its back (through a view of it, say), which its version counter tells: then the
    weight that feeds it is lost; where its units lie stays true.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], int, tuple[int, ...], Known]] = {}

    def note(self, tensor: Tensor, known: Known) -> None:
        """From now on this is known about it."""
        self._entries[id(tensor)] = (weakref.ref(tensor), version(tensor), tuple(tensor.shape), known)

    def find(self, tensor: object) -> Known | None:
        """What was noted; None is nothing."""
        entry = self._entries.get(id(tensor))
        if entry is None or not isinstance(tensor, Tensor) or entry[0]() is not tensor or entry[2] != tensor.shape:
            return None  # gone, another one with the same id, or of another shape since
        return entry[3]

    def is_stale(self, tensor: Tensor) -> bool:
        """Whether a tensor that was noted has been overwritten since."""
        entry = self._entries.get(id(tensor))
        return entry is not None and entry[0]() is tensor and entry[1] != version(tensor)

    def layout(self, tensor: object) -> Layout | None:
        """Where the units of a tensor lie, and what feeds them; None is unknown."""
        known = self.find(tensor)
        if known is None or known.layout is None:
            return None
        entry = self._entries[id(tensor)]
        unchanged = entry[1] == version(cast(Tensor, tensor)) >= 0
        return known.layout if unchanged else Layout(known.layout.dims)

    def forget_from(self, node: int) -> None:
        """Forget the tensors of this node and all later ones."""
        late = [
            key for key, entry in self._entries.items() if (entry[3].node or 0) >= node and entry[3].node is not None
        ]
        for key in late:
            del self._entries[key]

    def forget(self) -> None:
        """Another pass begins."""
        self._entries.clear()


def why_foreign(tensor: Tensor) -> str:
    """Why nothing can be said of a tensor by its shape and values, in words; "" if it is a plain one."""
    if tensor.is_nested:
        return "on nested tensors"
    return "under a transform of torch.func" if _is_wrapped(tensor) else ""


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor that a transform of torch.func took, where this is what it made of it."""
    while _is_wrapped(tensor):
        tensor = _unwrap(tensor)
    return tensor


_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore
_unwrap = cast(Callable[[Tensor], Tensor], torch._C._functorch.get_unwrapped)  # pyright: ignore


def version(tensor: Tensor) -> int:
    """How often a tensor was written to; -1 for inference tensors, which count none."""
    return -1 if tensor.is_inference() else tensor._version


def storage(tensor: Tensor) -> int:
    """The memory that tensors share with their views; 0 for those that have none."""
    try:
        return cast(int, tensor.untyped_storage()._cdata)  # pyright: ignore
    except (RuntimeError, NotImplementedError):
        return 0


def tensors_of(value: object, *, depth: int = 4) -> list[Tensor]:
    """The tensors in a value: in lists, tuples, mappings and plain objects."""
    if isinstance(value, Tensor):
        return [value]
    if not depth or callable(value) or isinstance(value, str | bytes | int | float | type(None)):
        return []
    if isinstance(value, Mapping):
        inner: Iterable[object] = value.values()
    elif isinstance(value, list | tuple):
        inner = items(value)
    else:
        inner = getattr(value, "__dict__", {}).values()
    return [tensor for item in inner for tensor in tensors_of(item, depth=depth - 1)]
