"""Observers at work: hooks on a live model, and what each of them has seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from budbreak.checks import check_model
from budbreak.errors import InvalidValue
from budbreak.evidence.observer import Observer, ObserverState
from budbreak.graph import (
    Batches,
    Forward,
    Loss,
    Site,
    SiteWatcher,
    loss_of,
    outputs_of,
    restored,
    target_of,
    to_device,
    undisturbed,
)
from budbreak.graph import call_model as usual_call
from budbreak.masks import Prunable, conv_and_linear, prunable_parameters, unwrap
from budbreak.processes import Processes

_transform = torch._C._functorch.peek_interpreter_stack  # pyright: ignore

T = TypeVar("T")
States = dict[str, ObserverState]
"""The observer as Python writes it -> its state."""


class Watch:
    """Lets observers watch a model that somebody trains; a context manager that removes all hooks in the end.

    Args:
        model: as its loop calls it: what wraps it may be given, too.
        parameters: its prunable parameters by name.
        observers: no two of them equal.
        is_on: asked at each pass and step: whether a training runs that is to be watched.
        recorded: what the loop recorded last by a name; None where nothing is.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        observers: Iterable[Observer[object]],
        *,
        is_on: Callable[[], bool],
        recorded: Callable[[str], float | None] = lambda name: None,
    ) -> None:
        self.parameters, self.recorded, self._is_on = parameters, recorded, is_on
        self._states: dict[Observer[object], ObserverState] = {observer: {} for observer in observers}
        self._step_listeners: list[Callable[[Mapping[str, Tensor]], None]] = []
        self._sites = _Sites(model, parameters, is_on)
        for observer, state in self._states.items():
            observer.watch(self, state)

    # --- what observers look at: `Training` --------------------------------------------------------------------

    def before_step(self, listener: Callable[[Mapping[str, Tensor]], None]) -> None:
        """See `Training`."""
        self._step_listeners.append(listener)

    def on_activation(self, listener: Callable[[Site, Tensor], None], *, when: Callable[[], bool]) -> None:
        """See `Training`."""
        self._sites.listeners.append((when, listener))

    # --- what happens -------------------------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        """Hook the model, if anybody listens."""
        self._sites.enter()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the hooks."""
        self._sites.leave()

    def begin(self) -> None:
        """A training begins: states that are of one training alone are emptied."""
        self._sites.passes = 0
        for observer, state in self._states.items():
            if observer.reset == "level":
                state.clear()
            begin: Callable[[ObserverState], None] | None = getattr(observer, "begin", None)
            if begin is not None:
                begin(state)

    def step(self, optimizer: Optimizer, *, has_closure: bool, held: Mapping[str, nn.Parameter] | None = None) -> None:
        """An optimizer is about to take a step.

        Args:
            optimizer: which.
            has_closure: whether the step makes its gradients itself.
            held: those of the prunable parameters that it trains; all of them unless given.

        Raises:
            InvalidValue: if the step makes its gradients itself, or no pass of the model was heard before it.
        """
        if not self._is_on():
            return
        held = self.parameters if held is None else held
        if not has_closure:
            self._sites.check_heard(training=bool(held))
        elif self._step_listeners and held:
            raise InvalidValue(
                f"a step of {type(optimizer).__name__} with a closure, watched by {', '.join(map(str, self._states))}",
                "gradients that a step makes itself cannot be looked at before it",
                "call step() without a closure, or prune by another criterion",
            )
        gradients = _gradients(held, optimizer) if self._step_listeners and held else None
        if gradients is not None:
            self.see(gradients)

    def see(self, gradients: Mapping[str, Tensor]) -> None:
        """A step is taken by these gradients."""
        with torch.no_grad():
            for listener in self._step_listeners:
                listener(gradients)

    # --- what was seen ------------------------------------------------------------------------------------------

    def result(self, observer: Observer[T], processes: Processes) -> T:
        """What an observer has seen, over all processes; each of them asks.

        Raises:
            MissingEvidence: if it has seen nothing.
        """
        return observer.result(_over_ranks(processes, self._states[observer]), ranks=processes.size)

    def states(self) -> States:
        """All states, live."""
        return {repr(observer): state for observer, state in self._states.items()}

    def copies(self) -> States:
        """All states, copied."""
        return {name: {key: tensor.clone() for key, tensor in state.items()} for name, state in self.states().items()}

    def load(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from other states: of each of these observers one."""
        for observer, state in self._states.items():
            state.clear()
            state.update({name: tensor.clone() for name, tensor in states[repr(observer)].items()})


class _Sites:
    """The nonlinearities of a model in its training passes.

    Args:
        model, parameters, is_on: see `Watch`.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter], is_on: Callable[[], bool]) -> None:
        self.model, self.inner, self.is_on = model, unwrap(model), is_on
        self.listeners: list[tuple[Callable[[], bool], Callable[[Site, Tensor], None]]] = []
        self.passes = 0
        self._modes: set[bool] = set()  # of the passes with gradients since the last step
        self._watcher = SiteWatcher(self.inner, {id(p): name for name, p in parameters.items()}, self._heard)
        self._listening: list[Callable[[Site, Tensor], None]] = []
        self._outermost: nn.Module | None = None
        self._following = contextlib.ExitStack()
        self._handles: list[RemovableHandle] = []

    def enter(self) -> None:
        if not self.listeners:
            return
        self._watcher.__enter__()
        for module in dict.fromkeys((self.inner, self.model)):
            self._hook(module)

    def _hook(self, watched: nn.Module) -> None:
        """Functions, which a copy of the model shares; and it is not watched."""

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if module is watched:
                self._begin(module)

        def after(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if module is watched and module is self._outermost:
                self._end()

        self._handles.append(watched.register_forward_pre_hook(before))
        self._handles.append(watched.register_forward_hook(after, always_call=True))

    def leave(self) -> None:
        for handle in self._handles:
            handle.remove()
        if self._handles:
            self._watcher.__exit__(None, None, None)
        self._handles.clear()

    def check_heard(self, *, training: bool) -> None:
        """Refuse a step by passes that are not heard; one that does not train the model needs none since the last."""
        missed, name = training and self._modes == {False}, type(self.inner).__name__
        self._modes.clear()
        if self._handles and missed and self.passes:
            raise InvalidValue(
                f"the optimizer takes a step, but {name} was called in evaluation mode since the last one",
                "what units do in training is heard in training mode",
                "call model.train() at the beginning of each epoch: a validation leaves the model in evaluation mode",
            )
        if self._handles and not self.passes:
            raise InvalidValue(
                f"the optimizer takes a step, but {name} was not called in training mode before",
                "what units do in training is heard in calls of the model",
                "call model.train() and model(inputs); give iterate the compiled model if that is what you call",
            )

    def _begin(self, module: nn.Module) -> None:
        if torch.compiler.is_compiling() or self._outermost is not None:
            return
        if not self.is_on() or _is_computed_again():
            return
        if torch.is_grad_enabled():
            self._modes.add(self.inner.training)
        if not self.inner.training:
            return
        if _transform() is not None:
            raise InvalidValue(
                f"{type(self.inner).__name__} is called within a transform of torch.func (grad, vmap, ...)",
                "what its units do is added up over calls, which a transform forbids",
                "train by loss.backward(), or prune by what need not be watched",
            )
        self._listening = [listener for when, listener in self.listeners if when()]
        self.passes += 1
        self._outermost = module  # where nobody listens, too: a module within a wrapper begins no pass of its own
        if self._listening:
            self._following.enter_context(self._watcher.following())

    def _end(self) -> None:
        self._outermost = None
        self._following.close()

    def _heard(self, site: Site, given: Tensor, output: Tensor) -> None:
        seen = output.detach()
        for listener in self._listening:
            listener(site, seen)


def _is_computed_again() -> bool:
    """Whether this is within a backward pass, where a checkpoint of the whole model calls it a second time."""
    return torch._C._current_graph_task_id() != -1  # pyright: ignore[reportPrivateUsage]


def _gradients(parameters: Mapping[str, nn.Parameter], optimizer: Optimizer) -> Mapping[str, Tensor] | None:
    """The gradients that a step is taken by; None if it will take none, as a GradScaler has found infinite ones.

    A fused optimizer is given the scale by its scaler, and divides by it in the step itself.
    """
    found = cast(Tensor | None, getattr(optimizer, "found_inf", None))
    if found is not None and bool(found):
        return None
    dense = _dense_gradients(parameters)
    scale = cast(Tensor | None, getattr(optimizer, "grad_scale", None))
    return dense if scale is None else {name: grad / scale.to(grad.device) for name, grad in dense.items()}


def _dense_gradients(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    given = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    return {name: grad.to_dense() if grad.is_sparse else grad for name, grad in given.items()}


def _over_ranks(processes: Processes, mine: ObserverState) -> Mapping[str, Tensor]:
    """The sum of the states of all processes; one of them may have seen what another one has not."""
    if processes.size == 1:
        return mine
    about = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in mine.items()}
    everything = {name: kind for seen in processes.exchange("what was watched", about) for name, kind in seen.items()}
    devices = [tensor.device for tensor in mine.values()] or [torch.device("cpu")]
    complete = {
        name: mine[name] if name in mine else torch.zeros(shape, dtype=dtype, device=devices[0])
        for name, (shape, dtype) in sorted(everything.items())
    }
    return processes.sum(complete)


def rehearse(
    model: nn.Module,
    observers: Sequence[Observer[object]],
    *,
    batches: Batches,
    loss: Loss,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
) -> Mapping[Observer[object], object]:
    """What observers would see if a model were trained on these batches; no step is taken, and all is as before."""
    check_model(model)
    parameters = prunable_parameters(model, prunable)
    device = next(iter(parameters.values())).device
    with (
        undisturbed(model, batches),
        restored(model),
        Watch(model, parameters, observers, is_on=lambda: True, recorded=lambda name: 1.0) as watch,
    ):
        model.train()
        watch.begin()
        for raw in batches:
            batch = to_device(raw, device)
            with torch.enable_grad():  # as loops do: checkpoints of the old kind know no other way
                loss_of(loss, outputs_of(forward or usual_call, model, batch), target_of(batch)).backward()
            watch.see(_dense_gradients(parameters))
            model.zero_grad()
        return {observer: watch.result(observer, Processes()) for observer in observers}
