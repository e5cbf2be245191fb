"""Follow tensors through one forward pass: where their units lie, and what is called on the way."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from budbreak.graph.layouts import Call, Layout, layouts_after
from budbreak.graph.nonlinearities import names

_ZEROS_STAY = names("weight_norm div __truediv__ mul __mul__ clone to type float double half bfloat16")
"""How weight_norm, spectral_norm, torch.nn.utils.prune and casts compute a weight."""
_TURNING = names("t T mT transpose swapaxes swapdims permute adjoint H mH")
"""How a matrix is transposed."""


class Follower(TorchFunctionMode):
    """A mode under which the model runs once; it sees each function of torch, in modules and outside.

    A tensor changed behind its back (through a view of it, say) has lost the weight that feeds it, which its
    version counter tells; where its units lie stays true.

    Args:
        feeds: id of a prunable parameter -> its name.
        called: told of each call and its result.
    """

    def __init__(self, feeds: Mapping[int, str], called: Callable[[Call, object], None]) -> None:
        super().__init__()
        self.parameters, self.called = dict(feeds), called
        self.feeds, self.computed, self.turned = dict(feeds), list[Tensor](), set[int]()
        self.is_resting = False
        self.known: dict[int, tuple[weakref.ref[Tensor], int, tuple[int, ...], Layout]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function, and note what its results hold."""
        kwargs = kwargs or {}
        if self.is_resting:
            return func(*args, **kwargs)
        call = Call(_plain_name(func), func, args, kwargs, self.layout, self.feeds, self.turned)
        rule = layouts_after(call)
        result = func(*args, **kwargs)
        for index, item in enumerate(result if isinstance(result, list | tuple) else (result,)):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            if isinstance(item, Tensor):
                self._know(item, rule(item, index))
        self._follow_weight(call, result)
        self.called(call, result)
        return result

    def layout(self, tensor: object) -> Layout | None:
        """What is known about a tensor; None is nothing."""
        entry = self.known.get(id(tensor))
        if entry is None or not isinstance(tensor, Tensor) or entry[0]() is not tensor or entry[2] != tensor.shape:
            return None  # gone, another one with the same id, or of another shape since
        unchanged = entry[1] == _version(tensor) >= 0
        return entry[3] if unchanged else Layout(entry[3].dims)

    @contextlib.contextmanager
    def resting(self) -> Generator[None, None, None]:
        """What runs inside is no part of the model."""
        self.is_resting = True
        try:
            yield
        finally:
            self.is_resting = False

    def forget(self) -> None:
        """Another pass begins."""
        self.known.clear()
        self.feeds = dict(self.parameters)
        self.computed.clear()
        self.turned.clear()

    def _follow_weight(self, call: Call, result: object) -> None:
        """A weight that is normalised, masked or transposed first: where the parameter is zero, so is the weight."""
        if not isinstance(result, Tensor) or call.name not in _ZEROS_STAY | _TURNING:
            return
        for operand in call.args[:2]:
            if not isinstance(operand, Tensor) or id(operand) not in self.feeds:
                continue
            turns = call.name in _TURNING and operand.dim() == 2 and _is_turned(operand, result)
            if turns or (call.name in _ZEROS_STAY and operand.shape == result.shape):
                self.feeds[id(result)] = self.feeds[id(operand)]
                self.computed.append(result)  # kept for this pass: its id is not given to another
                if turns != (id(operand) in self.turned):
                    self.turned.add(id(result))
                return

    def _know(self, tensor: Tensor, layout: Layout | None) -> None:
        self.known.pop(id(tensor), None)
        if layout is not None:
            self.known[id(tensor)] = (weakref.ref(tensor), _version(tensor), tuple(tensor.shape), layout)


def _is_turned(matrix: Tensor, view: Tensor) -> bool:
    return view.dim() == 2 and view.stride() == matrix.stride()[::-1] and view.shape == matrix.shape[::-1]


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version  # an inference tensor counts no versions


def _plain_name(func: Callable[..., Any]) -> str:
    """One word for a function, its method and its in-place form: "relu" for relu_; "T" for the property."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", "")
    return name if name.startswith("__") else name.strip("_")
