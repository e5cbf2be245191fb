"""Keep pruned weights at zero through any optimizer, by clamping after each step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from budbreak.checks import check_model, shown
from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.live.optimizers import check_reachable, couples, optimizers_of, project_state, steppers
from budbreak.live.ownership import check_disjoint, check_ownership, held_by
from budbreak.masks import Mask, bits, check_mask, factor_for, unwrap, zero_pruned


class Hold:
    """Pruned weights stay exactly zero as long as this lives: see `hold`."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Any], mask: Mask, *, mask_grads: bool | None) -> None:
        self._model, self._optimizers, self._mask = model, optimizers, mask
        self._parts = [_HeldOptimizer(optimizer, mask_grads) for optimizer in optimizers]
        self.update(mask)
        for part in self._parts:
            part.hook()

    @property
    def mask(self) -> Mask:
        """What is held now."""
        return self._mask

    def update(self, mask: Mask) -> None:
        """Hold another mask from now on; weights, gradients and optimizer state it prunes become zero.

        Raises:
            UnknownName, MaskMismatch: if the mask does not fit the model.
            ForeignParameter: if the optimizers do not hold the model's parameters.
            InvalidValue: if an optimizer keeps state of them where no mask can reach it.
        """
        check_mask(mask)
        parameters = mask.parameters(self._model)
        check_ownership(self._optimizers, parameters)
        shares = [held_by(optimizer, parameters) for optimizer in self._optimizers]
        for optimizer, held in zip(self._optimizers, shares, strict=True):
            check_reachable(optimizer, held)
        self._mask = mask
        for part, held in zip(self._parts, shares, strict=True):
            part.update(held, mask)

    def release(self) -> None:
        """Let go: hooks are removed, and stale optimizer state of pruned weights is zeroed once more."""
        for part in self._parts:
            part.release()

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _HeldOptimizer:
    """The weights that one optimizer trains, held through its steps."""

    def __init__(self, optimizer: Any, mask_grads: bool | None) -> None:
        self._optimizer, self._mask_grads, self._masks_grads = optimizer, mask_grads, False
        self._steppers = steppers(optimizer)
        self._grad_hooks: dict[nn.Parameter, RemovableHandle] = {}
        self._factors, self._bits = dict[nn.Parameter, Tensor](), list[Tensor]()
        self._pruned = set[nn.Parameter]()
        self._step_hooks: list[RemovableHandle] = []

    def hook(self) -> None:
        for stepper in self._steppers:
            self._step_hooks.append(stepper.register_step_pre_hook(self._before_step))
            _make_first(stepper._optimizer_step_pre_hooks, self._step_hooks[-1])  # pyright: ignore[reportPrivateUsage]
            self._step_hooks.append(stepper.register_step_post_hook(self._after_step))
            _make_first(stepper._optimizer_step_post_hooks, self._step_hooks[-1])  # pyright: ignore[reportPrivateUsage]

    def update(self, parameters: Mapping[str, nn.Parameter], mask: Mask) -> None:
        self._remove_grad_hooks()
        self._factors = {parameter: factor_for(mask[name], parameter) for name, parameter in parameters.items()}
        self._bits = [bits(parameter) for parameter in self._factors]
        self._pruned = {parameter for name, parameter in parameters.items() if mask.kept_in(name) < mask[name].numel()}
        self._masks_grads = couples(self._optimizer) if self._mask_grads is None else self._mask_grads
        self._add_grad_hooks()
        self._clamp()
        self._clear_state(forget=True)

    def release(self) -> None:
        self._clear_state(forget=False)
        self._remove_grad_hooks()
        for hook in self._step_hooks:
            hook.remove()
        self._step_hooks.clear()

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Mask the gradients that the step will read: those that are there, and those that a closure makes."""
        if self._masks_grads:
            self._add_grad_hooks()  # of weights that were frozen until now
            self._mask_gradients()
        if self._mask_grads is False or (len(args) < 2 and not kwargs):
            return None
        return tuple(map(self._masking, args)), {name: self._masking(value) for name, value in kwargs.items()}

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._clamp()

    def _clamp(self) -> None:
        if not self._bits:  # a mask without entries
            return
        self._follow()
        # the one call that multiplies all weights at once; torch.optim builds on it too
        torch._foreach_mul_(self._bits, list(self._factors.values()))  # pyright: ignore

    def _follow(self) -> None:
        """Keep up with a model that the user moved to another device or dtype, or whose data were exchanged.

        As long as the old memory is kept here, no new tensor can lie where it lay.
        """
        for index, (parameter, factor) in enumerate(self._factors.items()):
            if parameter.data_ptr() != self._bits[index].data_ptr():
                self._bits[index] = bits(parameter)
                self._factors[parameter] = factor_for(factor, parameter)

    def _clear_state(self, *, forget: bool) -> None:
        pruned = {parameter: self._factors[parameter] for parameter in self._factors if parameter in self._pruned}
        project_state(self._optimizer, pruned, forget=forget)
        self._mask_gradients()

    def _masking(self, value: Any) -> Any:
        """A closure that masks the gradients it leaves; anything else as it is."""
        if isinstance(value, Optimizer | nn.Module) or not callable(value):
            return value
        return _Masking(value, self._mask_gradients)

    def _mask_gradients(self) -> None:
        for parameter in self._factors:
            self._mask_gradient(parameter)

    def _mask_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is None or not isinstance(parameter, nn.Parameter):
            return
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
        zero_pruned(parameter.grad, self._factors[parameter])

    def _add_grad_hooks(self) -> None:
        for parameter in self._factors if self._masks_grads else ():
            if parameter.requires_grad and parameter not in self._grad_hooks:
                hook = parameter.register_post_accumulate_grad_hook(self._mask_gradient)
                self._grad_hooks[parameter] = hook

    def _remove_grad_hooks(self) -> None:
        for handle in self._grad_hooks.values():
            handle.remove()
        self._grad_hooks.clear()


class _Masking:
    """A closure of the user's, and the masking of the gradients it leaves."""

    def __init__(self, closure: Callable[..., Any], mask_gradients: Callable[[], None]) -> None:
        self._closure, self._mask_gradients = closure, mask_gradients

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # line searches ask e.g. for backward=False
        result = self._closure(*args, **kwargs)
        self._mask_gradients()
        return result


def _make_first(hooks: dict[int, Any], handle: RemovableHandle) -> None:
    """Before the hooks that are there: an average that one of them takes is to see clamped weights."""
    if isinstance(hooks, OrderedDict):
        hooks.move_to_end(handle.id, last=False)


def hold(
    model: nn.Module, optimizer: Optimizer | Sequence[Optimizer], mask: Mask, *, mask_grads: bool | None = None
) -> Hold:
    """Keep the weights that ``mask`` prunes at exactly zero after every optimizer step.

    The weights are multiplied by the mask, in their own memory format, in a post-step hook of the optimizer, before
    all other such hooks; model, ``state_dict`` keys and autograd graph stay as they are, so that deepcopy, pickle,
    compile and weight averaging work as before. Use as a context manager, or call ``release()``.

    Args:
        model: the live model.
        optimizer: any `torch.optim.Optimizer` that holds its prunable parameters, or what wraps one; or a list of
            several, each with parameters of its own.
        mask: what stays.
        mask_grads: whether to zero the gradients of pruned weights as well, as they accumulate. Needed where
            gradients are *read* (clipping by norm, gradient diagnostics); costs one more multiplication in each
            backward. None: where the optimizer needs it, so that it takes the steps of the sparse network: in a
            closure, and under any class that is not known to step each weight by its own gradients alone
            (LBFGS, Adafactor, Muon, SAM and whatever is not in torch.optim).

    Raises:
        UnknownName, MaskMismatch: if the mask does not fit the model.
        ForeignParameter: if the optimizer does not hold the model's parameters.
        InvalidValue: if the optimizer keeps state of them where no mask can reach it; if two hold the same parameter.
    """
    check_model(model)
    if mask_grads is not None and not isinstance(mask_grads, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"mask_grads is {shown(mask_grads)}", "it must be True, False or None", "leave it out")
    optimizers = optimizers_of(optimizer)
    if not optimizers:
        rule = "pruned weights are held at zero after the steps of the optimizer that trains them"
        raise InvalidValue(f"optimizer is {shown(optimizer)}", rule, "give at least one")
    for one in optimizers:
        steppers(one)  # refuses what is none
    check_disjoint(optimizers, {id(parameter): name for name, parameter in unwrap(model).named_parameters()})
    return Hold(model, optimizers, mask, mask_grads=mask_grads)


def apply_mask(model: nn.Module, mask: Mask) -> None:
    """Set the weights that ``mask`` prunes to zero, once, in place."""
    for name, parameter in mask.parameters(model).items():
        zero_pruned(parameter, mask[name])


def check_zeros(model: nn.Module, mask: Mask) -> None:
    """Assert that every pruned weight is exactly zero.

    Raises:
        InvariantBroken: with the layer and the number of weights that are not.
    """
    for name, parameter in mask.parameters(model).items():
        wrong = (parameter.detach() != 0) > mask[name].to(parameter.device)
        if bool(wrong.any()):
            alive = int(wrong.count_nonzero())
            raise InvariantBroken(
                f"{alive} pruned weights of {name!r} are not zero",
                "what a mask prunes stays exactly zero",
                "something writes to the weights outside optimizer.step(): do it before, or hold that optimizer too",
            )
