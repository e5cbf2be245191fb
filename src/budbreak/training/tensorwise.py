"""Optimizers of our own: what torch asks of one, for those that step one tensor after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from budbreak.errors import InvalidValue


class TensorwiseOptimizer(Optimizer):
    """A `torch.optim.Optimizer` whose step of a tensor depends on that tensor, its gradient and its state alone."""

    @abstractmethod
    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Step one parameter, in place.

        Args:
            parameter: of any shape; real or complex.
            gradient: of the same shape, dense; left as it is.
            group: the settings of its group.
        """

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Step all parameters that have a gradient.

        Args:
            closure: computes the loss and the gradients anew.

        Returns:
            What the closure gave.

        Raises:
            InvalidValue: for a sparse gradient, at which nothing has moved yet.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check_dense()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, parameter.grad, group)
        return loss

    def _check_dense(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.layout != torch.strided:
                    raise InvalidValue(
                        f"the gradient of a parameter of shape {tuple(parameter.shape)} is sparse",
                        f"{type(self).__name__} looks at all entries of a tensor together",
                        "write nn.Embedding(..., sparse=False)",
                    )
