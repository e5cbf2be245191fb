"""Keep pruned weights at zero through any optimizer, by clamping after each step."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from budbreak.errors import ForeignParameter, InvariantBroken
from budbreak.mask import Mask


class Hold:
    """Pruned weights stay exactly zero as long as this lives: see `hold`."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, mask: Mask, *, mask_grads: bool) -> None:
        self._model, self._optimizer, self._mask_grads = model, optimizer, mask_grads
        self._grad_hooks: list[RemovableHandle] = []
        self._mask, self._factors = mask, dict[nn.Parameter, Tensor]()
        self._step_hook: RemovableHandle | None = None
        self.update(mask)
        self._step_hook = optimizer.register_step_post_hook(self._after_step)

    @property
    def mask(self) -> Mask:
        """What is held now."""
        return self._mask

    def update(self, mask: Mask) -> None:
        """Hold another mask from now on; weights, gradients and optimizer state it prunes become zero.

        Raises:
            UnknownName, MaskMismatch: if the mask does not fit the model.
            ForeignParameter: if the optimizer does not hold the model's parameters.
        """
        parameters = mask.parameters(self._model)
        check_ownership(self._optimizer, parameters)
        self._remove_grad_hooks()
        self._mask = mask
        self._factors = {parameter: _factor(mask[name], parameter) for name, parameter in parameters.items()}
        if self._mask_grads:
            self._add_grad_hooks()
        self._clamp()
        self._clear_state()

    def release(self) -> None:
        """Let go: hooks are removed, and stale optimizer state of pruned weights is zeroed once more."""
        self._clear_state()
        self._remove_grad_hooks()
        if self._step_hook is not None:
            self._step_hook.remove()
            self._step_hook = None

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._clamp()

    @torch.no_grad()
    def _clamp(self) -> None:
        self._follow()
        # the one call that multiplies all weights at once; torch.optim builds on it too
        torch._foreach_mul_(list(self._factors), list(self._factors.values()))  # pyright: ignore

    def _follow(self) -> None:
        """Keep up with a model that the user moved to another device or dtype."""
        for parameter, factor in self._factors.items():
            if factor.device != parameter.device or factor.dtype != parameter.dtype:
                self._factors[parameter] = factor.to(parameter.device, parameter.dtype)

    def _clear_state(self) -> None:
        for parameter, factor in self._factors.items():
            state: dict[str, Any] = self._optimizer.state.get(parameter, {})
            for value in [parameter.grad, *state.values()]:
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.mul_(factor.to(value.device, value.dtype))

    def _add_grad_hooks(self) -> None:
        for parameter in self._factors:
            if parameter.requires_grad:
                self._grad_hooks.append(parameter.register_post_accumulate_grad_hook(self._mask_gradient))

    def _mask_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None and isinstance(parameter, nn.Parameter):
            factor = self._factors[parameter]
            parameter.grad.mul_(factor.to(parameter.device))  # a model that was moved has not stepped yet

    def _remove_grad_hooks(self) -> None:
        for handle in self._grad_hooks:
            handle.remove()
        self._grad_hooks.clear()


def hold(model: nn.Module, optimizer: Optimizer, mask: Mask, *, mask_grads: bool = False) -> Hold:
    """Keep the weights that ``mask`` prunes at exactly zero after every optimizer step.

    The weights are multiplied by the mask, in their own dtype and memory format, in a post-step hook of the
    optimizer; model, ``state_dict`` keys and autograd graph stay as they are, so that deepcopy, pickle,
    compile and weight averaging work as before. Use as a context manager, or call ``release()``.

    Args:
        model: the live model.
        optimizer: any `torch.optim.Optimizer` that holds its prunable parameters.
        mask: what stays.
        mask_grads: zero the gradients of pruned weights as well, as they accumulate: needed where gradients are
            *read* (clipping by norm, LARS, gradient diagnostics); costs one more multiplication in each backward.

    Raises:
        UnknownName, MaskMismatch: if the mask does not fit the model.
        ForeignParameter: if the optimizer does not hold the model's parameters.
    """
    return Hold(model, unwrap_optimizer(optimizer), mask, mask_grads=mask_grads)


@torch.no_grad()
def apply_mask(model: nn.Module, mask: Mask) -> None:
    """Set the weights that ``mask`` prunes to zero, once, in place."""
    for name, parameter in mask.parameters(model).items():
        parameter.mul_(_factor(mask[name], parameter))


def check_zeros(model: nn.Module, mask: Mask) -> None:
    """Assert that every pruned weight is exactly zero.

    Raises:
        InvariantBroken: with the layer and the number of weights that are not.
    """
    for name, parameter in mask.parameters(model).items():
        alive = int(parameter.detach()[~mask[name].to(parameter.device)].count_nonzero())
        if alive:
            raise InvariantBroken(
                f"{alive} pruned weights of {name!r} are not zero",
                "what a mask prunes stays exactly zero",
                "something writes to the weights outside optimizer.step(): do it before, or hold that optimizer too",
            )


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside wrappers that hand ``step`` on (Accelerate's): hooks are called by the innermost."""
    inner = getattr(optimizer, "optimizer", None)
    return unwrap_optimizer(inner) if isinstance(inner, Optimizer) else optimizer


def check_ownership(optimizer: Optimizer, parameters: dict[str, nn.Parameter]) -> None:
    """Assert that the optimizer holds these live parameters.

    Raises:
        ForeignParameter: with the first name that it does not hold.
    """
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = [name for name, parameter in parameters.items() if id(parameter) not in owned]
    if missing:
        raise ForeignParameter(
            f"the optimizer does not hold {missing[0]!r} ({len(missing)} of {len(parameters)} prunable weights)",
            "pruned weights are held at zero after the steps of the optimizer that trains them",
            "make the optimizer from model.parameters() of this very model, after any change to its modules",
        )


def _factor(entry: Tensor, parameter: nn.Parameter) -> Tensor:
    """The mask in the parameter's dtype, device and memory format: a bool mask would cost 3-5 times as much."""
    return torch.empty_like(parameter, requires_grad=False).copy_(entry)
