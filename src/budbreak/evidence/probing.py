"""Look at a live model: run batches through it and collect evidence. Every hook is removed in the end."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.checks import check_count, check_function, check_model, check_probes, shown
from budbreak.errors import EmptyBatches, InvalidValue, MissingEvidence, NotFinite
from budbreak.evidence.evidence import Evidence, Probe
from budbreak.evidence.losses import LossCalls, check_reachable, check_scalar
from budbreak.evidence.weighing import Samples, Weigher
from budbreak.graph import (
    Batches,
    Forward,
    Loss,
    Site,
    SiteWatcher,
    call_model,
    is_single,
    loss_of,
    observing,
    outputs_of,
    recurrent_backward,
    requiring_grad,
    target_of,
    to_device,
)
from budbreak.masks import Prunable, conv_and_linear, prunable_parameters, unwrap
from budbreak.processes import Group, Processes


def probe(
    model: nn.Module,
    probes: Sequence[Probe[object]],
    *,
    batches: Batches | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
    start: Mapping[str, Tensor] | None = None,
    every: int = 1,
    samples: Samples | None = None,
    group: Group = "alone",
) -> Evidence:
    """Collect what the probes ask for, in one pass over the batches.

    The model runs in eval mode, in its own dtype, without autocast, and comes back as it was: modes, hooks, buffers
    and ``.grad``. So do random generators: those of torch, numpy and `random`, and those that the loader, its
    sampler and its data set hold; not those inside an iterator that has begun, in persistent worker processes or
    in a closure. Tensors of a batch are moved to the model's device.

    Args:
        model: any module; ``torch.compile`` and data-parallel wrappers are looked through.
        probes: what to observe; equal probes are observed once.
        batches: the calibration set; needed by probes that look at activations or gradients.
        loss: needed by probes that look at gradients.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        prunable: which weights count as prunable.
        start: weights by state_dict name from the start of the level, for `StartWeights`.
        every: use each ``every``-th batch only.
        samples: ``samples(batch)``: over how many terms (samples, labels that count) a batch's mean loss is taken.
            Unless given it is read from the calls of torch's losses, `ignore_index` and class weights included, and
            for others from the leading dimension of the targets; where neither is certain, it is asked for.
        group: the processes that observe together, each on its own batches, of which some may have none; None:
            all of `torch.distributed`. All of them must call. Other than in `iterate`, this process alone unless
            given: a measurement on rank 0 alone is common.

    Raises:
        MissingEvidence: batches or loss are wanted but were not given.
        NoSites: activations are wanted, but none was called that can be observed.
        InvalidValue: ``batches`` is a single batch, the model or the loss raises on one, or the loss is no single
            number; or how much each batch weighs cannot be known (see ``samples``).
        EmptyBatches: the batches yielded nothing.
        NotFinite: the loss is NaN or infinite; names the batch.
    """
    check_model(model)
    check_probes(probes)
    check_count("every", every)
    unwrapped = unwrap(model)
    session = _Session(unwrapped, prunable_parameters(unwrapped, prunable), start, Processes.of(group))
    finish = {probe: probe.start(session) for probe in dict.fromkeys(probes)}
    if not isinstance(start, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"start is {shown(start)}", "it must be a mapping", "write {name: tensor}")
    if session.wants_batches:
        _require(batches, loss, session)
        check_function("forward", forward or call_model, "lambda model, batch: model(batch[0])")
        weigher = Weigher(loss if session.gradient_listeners else None, samples)
        _observe(session, _Calibration(batches or (), forward or call_model, loss, weigher, every))
    return Evidence({probe: result() for probe, result in finish.items()})


def check_inputs(
    model: nn.Module,
    probes: Sequence[Probe[object]],
    *,
    batches: Batches | None,
    loss: Loss | None,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
    samples: Samples | None = None,
) -> None:
    """Refuse now what `probe` would refuse later: batches or a loss that these probes want and nobody gave.

    Where gradients are wanted, two batches are run, without a backward pass; where their losses do not say over what
    they average, it looks at the shapes of all batches of a list: whether they can be weighed.

    Raises:
        MissingEvidence, InvalidValue: see `probe`.
    """
    check_model(model)
    check_probes(probes)
    unwrapped = unwrap(model)
    parameters = prunable_parameters(unwrapped, prunable)
    session = _Session(unwrapped, parameters, parameters)
    for asked in dict.fromkeys(probes):
        asked.start(session)
    if session.wants_batches:
        _require(batches, loss, session)
    if session.gradient_listeners:
        device = next(iter(parameters.values())).device
        calibration = _Calibration(batches or (), forward or call_model, loss, Weigher(loss, samples))
        with observing(unwrapped, device, batches), torch.no_grad():
            _try_out(session, calibration, device)


def _try_out(session: _Session, calibration: _Calibration, device: torch.device) -> None:
    batches, weigher = calibration.batches, calibration.weigher
    for index, batch in enumerate(batches if isinstance(batches, list | tuple) else itertools.islice(batches, 2)):
        if index < 2:
            calibration.lose(session, to_device(batch, device))
        elif not weigher.is_told:
            weigher.weigh(batch, target_of(batch))


@dataclass
class _Session:
    """The `ProbeContext` that probes register with."""

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    start_weights: Mapping[str, Tensor] | None
    processes: Processes = field(default_factory=Processes)
    activation_listeners: list[Callable[[Site, Tensor], None]] = field(default_factory=list)
    gradient_listeners: list[Callable[[Mapping[str, Tensor], float], None]] = field(default_factory=list)
    tracer: SiteWatcher | None = None

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    @property
    def wants_batches(self) -> bool:
        return bool(self.activation_listeners or self.gradient_listeners)

    def on_activation(self, listener: Callable[[Site, Tensor], None]) -> None:
        self.activation_listeners.append(listener)

    def on_gradients(self, listener: Callable[[Mapping[str, Tensor], float], None]) -> None:
        self.gradient_listeners.append(listener)

    def hooks(self) -> contextlib.AbstractContextManager[object]:
        if not self.activation_listeners:
            return contextlib.nullcontext()
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        self.tracer = SiteWatcher(self.model, names, self.heard)
        return self.tracer

    def unseen(self) -> tuple[str, ...]:
        return self.tracer.unseen if self.tracer is not None else ()

    def following(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.tracer is None else self.tracer.following()

    def batch_done(self) -> None:
        if self.tracer is not None:  # a user's forward may use parts of the model, without calling it
            self.tracer.end_pass()

    def heard(self, site: Site, given: Tensor, output: Tensor) -> None:
        for listener in self.activation_listeners:
            listener(site, output)


@dataclass(frozen=True)
class _Calibration:
    """The batches, what is done with each, and how much it counts."""

    batches: Batches
    forward: Forward
    loss: Loss | None
    weigher: Weigher
    every: int = 1

    def lose(self, session: _Session, batch: Any) -> tuple[Any, float]:
        """The loss of a batch, and how much the batch counts."""
        loss, target = cast(Loss, self.loss), target_of(batch)  # it was required
        self.weigher.check(target)
        with LossCalls() as calls:
            with session.following():
                outputs = outputs_of(self.forward, session.model, batch)
            value = loss_of(loss, outputs, target)
        if not calls.doubts or not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            return value, self.weigher.weigh(batch, target, value, calls.seen)
        plain = loss_of(loss, outputs, target)
        return plain, self.weigher.weigh(batch, target, value, calls.seen if torch.equal(plain, value) else ())


def _observe(session: _Session, calibration: _Calibration) -> None:
    """One pass, together with the other processes."""
    processes, device = session.processes, next(iter(session.parameters.values())).device
    quiet = observing(session.model, device, calibration.batches)
    with processes.agreeing("the probe's pass"), quiet, session.hooks():
        used = _run(session, calibration)
    _refuse_nothing(sum(processes.exchange("batches", used)))


def _run(session: _Session, calibration: _Calibration) -> int:
    device = next(iter(session.parameters.values())).device
    used = 0
    for index, raw in enumerate(calibration.batches):
        if index % calibration.every:
            continue
        used += 1
        batch = to_device(raw, device)
        if session.gradient_listeners:
            _backward(session, batch, calibration, index)
        else:
            with torch.no_grad(), session.following():
                outputs_of(calibration.forward, session.model, batch)
        session.batch_done()
    if used and session.tracer is not None:
        session.tracer.check_heard()
    return used


def _refuse_nothing(used: int) -> None:
    if not used:
        raise EmptyBatches(
            "the batches yielded nothing",
            "a probe needs at least one batch",
            "an iterator is exhausted after one pass: give a list or a DataLoader",
        )


def _backward(session: _Session, batch: Any, calibration: _Calibration, index: int) -> None:
    names, parameters = list(session.parameters), list(session.parameters.values())
    with torch.enable_grad(), requiring_grad(parameters), recurrent_backward(session.model):
        value, weight = calibration.lose(session, batch)
        if not weight:
            return  # a batch in which no label counts has no mean loss
        value = check_scalar(value)
        if not bool(torch.isfinite(value.detach()).all()):
            raise NotFinite(
                f"the loss of batch {index} is {value.detach().tolist()}",
                "gradients of it would score nothing",
                "look for NaN in that batch, or in the weights",
            )
        derivatives = cast(Sequence[Tensor | None], torch.autograd.grad(value, parameters, allow_unused=True))
        if None in derivatives:
            check_reachable(value)
    gradients = {
        name: torch.zeros_like(parameter) if gradient is None else gradient.detach()
        for name, parameter, gradient in zip(names, parameters, derivatives, strict=True)
    }
    for listener in session.gradient_listeners:
        listener(gradients, weight)


def _require(batches: Batches | None, loss: Loss | None, session: _Session) -> None:
    if batches is None:
        raise MissingEvidence(
            "no batches were given", "activations and gradients are observed on data", "give batches=loader"
        )
    if is_single(batches, bool(session.gradient_listeners)):
        raise InvalidValue(
            f"batches is {'a tensor' if isinstance(batches, Tensor) else f'one {type(batches).__name__} of tensors'}",
            "it is an iterable of batches",
            "for a single batch write batches=[x] or batches=[(x, y)]",
        )
    if not isinstance(batches, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(
            f"batches is {shown(batches)}", "it is an iterable of batches", "give a list of batches or a DataLoader"
        )
    if loss is not None:
        check_function("loss", loss, "nn.functional.cross_entropy")
    if session.gradient_listeners and loss is None:
        raise MissingEvidence(
            "gradients are wanted, but no loss was given", "a gradient is that of a loss", "give loss=loss_fn"
        )
