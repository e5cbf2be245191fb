"""Modules that are, as a whole, one activation or one norm, however many calls they are written with."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from budbreak.graph.call import Call
from budbreak.graph.node import Kind
from budbreak.graph.nonlinearities import gives_zeros, is_named_exact, is_nonlinear
from budbreak.graph.site import Layout
from budbreak.graph.sitebook import Key

_ELEMENTWISE = (Kind.SITE, Kind.ADD, Kind.MULTIPLY, Kind.IDENTITY)


@dataclass
class Pending:
    """A call of an activation, of which perhaps only the end of the module tells whether it is a site by itself.

    Args:
        node: its index.
        layout: where the units of what went in lie; ``given``: what went in.
        exact: whether it gives exact zeros.
    """

    key: Key
    node: int
    layout: Layout | None
    given: Tensor
    output: Tensor
    exact: bool


@dataclass
class Composite:
    """What was called within one call of a module that might be an activation or a norm.

    Args:
        shape: of the one tensor that went in; None if it was none or several.
        named: whether the module's class is called like an activation.
    """

    shape: tuple[int, ...] | None
    named: bool
    nonlinear: bool = False
    exact: bool = False
    elementwise: bool = True
    pending: list[Pending] = field(default_factory=list[Pending])
    unseen: list[str] = field(default_factory=list[str])

    def add(self, call: Call, kind: Kind, results: list[Tensor], sources: int) -> None:
        """Take note of a call that depends on what went in: elementwise ones give the shape that went in.

        Args:
            call: what is called.
            kind: of the call.
            results: what it gave.
            sources: how many tensors that depend on what went in entered it.
        """
        self.nonlinear |= is_nonlinear(call) or (kind == Kind.MULTIPLY and sources > 1)
        self.exact |= gives_zeros(call)
        self.elementwise &= self.named or kind in _ELEMENTWISE or is_nonlinear(call)
        self.elementwise &= all(not result.dim() or tuple(result.shape) == self.shape for result in results)

    def is_exact(self, module: nn.Module) -> bool:
        """Whether it gives exact zeros: as it says itself, or by its name where nothing was seen inside."""
        told = getattr(module, "exact_zeros", None)  # of a budbreak.activations.ActivationModule
        if isinstance(told, bool):
            return told
        return self.exact or (not self.nonlinear and is_named_exact(module))

    def is_activation(self, output: object) -> bool:
        """Whether the module was one: one tensor in, one of the same shape out, each value for itself."""
        return self._keeps_shape(output) and self.elementwise and (self.nonlinear or self.named)

    def is_norm(self, output: object) -> bool:
        """Whether the module, which is called a norm, was one."""
        return self._keeps_shape(output) and not self.pending

    def _keeps_shape(self, output: object) -> bool:
        return self.shape is not None and isinstance(output, Tensor) and tuple(output.shape) == self.shape
