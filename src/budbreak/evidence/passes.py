"""One pass over the batches for all probes that can share it, and calls of the model without batches."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from budbreak.errors import InvalidValue, NotFinite
from budbreak.evidence.calibration import Calibration, refuse_nothing
from budbreak.evidence.context import Context, Network
from budbreak.evidence.listening import InputHearing
from budbreak.evidence.losses import LossCalls, check_reachable, check_scalar, tells_by_itself
from budbreak.evidence.steps import Conditions
from budbreak.evidence.weighing import Weigher
from budbreak.foreign import described
from budbreak.graph import (
    Loss,
    Site,
    SiteWatcher,
    as_written,
    loss_of,
    observing,
    outlined,
    outputs_of,
    recurrent_backward,
    requiring_grad,
    restored,
    target_of,
    to_device,
)


class Pass:
    """Some probes look at all batches.

    Args:
        network: that is run.
        contexts: of these probes.
        calibration: on what it is run.
        conditions: how it is run.
    """

    def __init__(
        self, network: Network, contexts: Sequence[Context], calibration: Calibration, conditions: Conditions
    ) -> None:
        self.network, self.contexts = network, contexts
        self.calibration, self.conditions = calibration, conditions
        self.wants_loss = any(context.wants_loss for context in contexts)
        self.weigher = Weigher(calibration.loss if self.wants_loss else None, calibration.samples)
        self.tracer: SiteWatcher | None = None
        listeners = [listener for context in contexts for listener in context.input_listeners]
        self.inputs = InputHearing(network.model, network.parameters, listeners)
        self.kind = ""

    def run(self) -> None:
        """Look at all of them, together with the other processes.

        Raises:
            EmptyBatches: if no process has one.
            NoSites: if activations are wanted, and there are none.
        """
        processes = self.network.processes
        with processes.agreeing("the probe's pass"), self._quiet(), self._hooks(), self._differentiable():
            used = self._run()
        refuse_nothing(sum(processes.exchange("batches", used)))

    def try_out(self) -> None:
        """Run two batches without a backward pass; of a list, look at how the others would count."""
        batches = self.calibration.batches
        with self._quiet(), torch.no_grad():
            known = batches if isinstance(batches, list | tuple) else itertools.islice(batches, 2)
            for index, batch in enumerate(known):
                with self._naming(index, batch):
                    if index < 2:
                        self._lose(to_device(batch, self.network.device))
                    elif not self.weigher.is_told:
                        self.weigher.weigh(batch, target_of(batch))

    def _quiet(self) -> contextlib.AbstractContextManager[None]:
        training = self.conditions.mode == "train"
        return observing(self.network.model, self.network.device, self.calibration.batches, training=training)

    def _heard(self, site: Site, given: Tensor, output: Tensor) -> None:
        for context in self.contexts:
            for listener, attached in context.preactivation_listeners:
                listener(site, given if attached else given.detach())
            for listener in context.activation_listeners:
                listener(site, output.detach())

    @contextlib.contextmanager
    def _hooks(self) -> Generator[None, None, None]:
        model, parameters = self.network.model, self.network.parameters
        if any(context.wants_sites for context in self.contexts):
            names = {id(parameter): name for name, parameter in parameters.items()}
            keep_inputs = any(context.preactivation_listeners for context in self.contexts)
            self.tracer = SiteWatcher(model, names, self._heard, keep_inputs=keep_inputs)
        with self.tracer or contextlib.nullcontext(), self.inputs:
            yield

    @contextlib.contextmanager
    def _forward(self) -> Generator[None, None, None]:
        """Around each forward pass."""
        sites = self.tracer.following() if self.tracer is not None else contextlib.nullcontext()
        with as_written(), self.inputs.following(), sites:
            yield

    def _run(self) -> int:
        used = 0
        for index, raw in enumerate(self.calibration.batches):
            if index % self.calibration.every:
                continue
            used += 1
            with self._naming(index, raw):
                self._look_at(to_device(raw, self.network.device), index)
            if self.tracer is not None:  # a user's forward may use parts of the model, without calling it
                self.tracer.end_pass()
        self._look_back(used)
        return used

    def _look_at(self, batch: Any, index: int) -> None:
        if self.wants_loss:
            self._differentiate(batch, index)
            return
        with torch.no_grad(), self._forward():
            outputs_of(self.calibration.forward, self.network.model, batch)

    @contextlib.contextmanager
    def _naming(self, index: int, batch: Any) -> Generator[None, None, None]:
        """Say which batch is refused, if it is not the first; and how it differs from that one, if it does."""
        self.kind = outlined(batch) if index == 0 else self.kind
        try:
            yield
        except InvalidValue as error:
            if index == 0:
                raise
            kind = outlined(batch)
            unlike = f" is {kind}, the first {self.kind}" if kind != self.kind else ""
            raise type(error)(f"batch {index}{unlike}: {error.value}", error.rule, error.fix) from error

    def _look_back(self, used: int) -> None:
        if self.tracer is None:
            return
        if used:
            self.tracer.check_heard()
        for context in self.contexts:
            context.missed = self.tracer.unseen

    def _lose(self, batch: Any) -> tuple[Any, float]:
        """The loss of a batch, and how much the batch counts."""
        loss, target = cast(Loss, self.calibration.loss), target_of(batch)  # it was required
        self.weigher.check(target)
        calls = LossCalls()
        with contextlib.nullcontext() if tells_by_itself(loss) else calls, self._forward():
            outputs = outputs_of(self.calibration.forward, self.network.model, batch)
        outputs = _tempered(outputs, self.conditions.temperature)
        with calls:
            value = loss_of(loss, outputs, target)
        if not calls.doubts or not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            return value, self.weigher.weigh(batch, target, value, calls.seen)
        plain = loss_of(loss, outputs, target)
        return plain, self.weigher.weigh(batch, target, value, calls.seen if torch.equal(plain, value) else ())

    def _differentiate(self, batch: Any, index: int) -> None:
        with torch.enable_grad():
            value, weight = self._lose(batch)
            if not weight:
                return  # a batch in which no label counts has no mean loss
            value = _checked(value, index)
            self._tell_gradients(value, weight)
            for context in self.contexts:
                for listener in context.loss_listeners:
                    listener(value, self.network.parameters, weight)

    @contextlib.contextmanager
    def _differentiable(self) -> Generator[None, None, None]:
        """Inside, the network can be differentiated; twice, if losses are listened to."""
        if not self.wants_loss:
            yield
            return
        twice = any(context.loss_listeners for context in self.contexts)  # fused attention has no second derivative
        kernels = sdpa_kernel(SDPBackend.MATH) if twice else contextlib.nullcontext()
        parameters, model = list(self.network.parameters.values()), self.network.model
        with requiring_grad(parameters), recurrent_backward(model), kernels:
            yield

    def _tell_gradients(self, value: Tensor, weight: float) -> None:
        listeners = [listener for context in self.contexts for listener in context.gradient_listeners]
        if not listeners:
            return
        again = any(context.loss_listeners for context in self.contexts)
        gradients = gradients_of(value, self.network.parameters, retain_graph=again)
        for listener in listeners:
            listener(gradients, weight)


def gradients_of(
    value: Tensor, parameters: Mapping[str, nn.Parameter], *, retain_graph: bool = False, create_graph: bool = False
) -> dict[str, Tensor]:
    """The gradient of a number with respect to each parameter, dense; those that it does not depend on are left out.

    Raises:
        InvalidValue: if a checkpoint of the old kind hides weights, or autograd raises.
    """
    leaves = list(parameters.values())
    options: dict[str, Any] = {"retain_graph": retain_graph or create_graph, "create_graph": create_graph}
    try:
        found = torch.autograd.grad(value, leaves, allow_unused=True, **options)
    except Exception as error:
        check_reachable(value)
        raise InvalidValue(
            f"autograd, going back from what the model gave, raised {described(error)}",
            "gradients are those of torch.autograd.grad with respect to the prunable weights",
            "mend what stands in its way, so that loss.backward() works; or choose a criterion without gradients",
        ) from error
    derivatives = cast(Sequence[Tensor | None], found)
    if any(gradient is None for gradient in derivatives):  # `in` would compare tensors
        check_reachable(value)
    known = {name: one for name, one in zip(parameters, derivatives, strict=True) if one is not None}
    dense = {name: one.to_dense() if one.layout != torch.strided else one for name, one in known.items()}
    return dense if create_graph else {name: one.detach() for name, one in dense.items()}


def call_functions(network: Network, contexts: Sequence[Context], calibration: Calibration) -> None:
    """Call what was given to `ProbeContext.on_model` and `ProbeContext.on_example`."""
    functions = [function for context in contexts for function in context.model_functions]
    on_example = [function for context in contexts for function in context.example_functions]
    if not functions and not on_example:
        return
    model, device = network.model, network.device
    with network.processes.agreeing("looking at the model"), observing(model, device, calibration.batches):
        first = calibration.first if on_example else []
        for function in functions:
            with restored(model):
                function(model)
        for function in on_example if first else ():
            with restored(model):
                function(model, to_device(first[0], device), calibration.forward)
    if on_example:
        refuse_nothing(sum(network.processes.exchange("first batches", len(first))))


def _tempered(outputs: Any, temperature: float) -> Any:
    if temperature == 1:
        return outputs
    if not isinstance(outputs, Tensor):
        raise InvalidValue(
            f"the model gives a {type(outputs).__name__}",
            f"outputs are divided by the temperature {temperature:g} before the loss, so they are one tensor",
            "give forward=lambda model, batch: ..., which returns the logits; or temperature=1",
        )
    return outputs / temperature


def _checked(value: Any, index: int) -> Tensor:
    value = check_scalar(value)
    if not bool(torch.isfinite(value.detach()).all()):
        raise NotFinite(
            f"the loss of batch {index} is {value.detach().tolist()}",
            "gradients of it would score nothing",
            "look for NaN in that batch, or in the weights",
        )
    return value
