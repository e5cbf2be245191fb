"""How much of what flows from inputs to outputs passes through each weight, by the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.checks import check_count, shown
from budbreak.errors import BudbreakError, InvalidValue, LayerCollapsed, NotFinite, Unreached
from budbreak.evidence.dtypes import check_real
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.examples import drawn
from budbreak.evidence.following import sum_of
from budbreak.evidence.passes import gradients_of
from budbreak.evidence.passing import PassingOn, as_paths, written_out
from budbreak.evidence.reached import listed, unreached
from budbreak.evidence.traced import graph_of
from budbreak.evidence.turning import Noting, listen_for_turns
from budbreak.foreign import call_foreign
from budbreak.graph import Forward, outputs_of, said_nodes, trace
from budbreak.masks import parameters_named

_ROUNDING = 1e-9
"""The share of the whole flow up to which a negative one is rounding: of float64, through many layers."""


@dataclass(frozen=True)
class SynapticFlow:
    """The derivative of R by the magnitude of each weight: name -> float64 [shape of the weight], >= 0.

    R = the sum of the outputs of the network with |w| in place of each weight, for one input of ones: the sum over all
    paths of the product of the magnitudes along them. In float64, for R grows by a factor with each layer. A loss that
    the network gives beside its outputs is none of them.

    The network runs in eval mode, as in the paper: BatchNorm divides by its running deviation, which is 1 before
    training. So that R counts paths and nothing else, biases and shifts of norms are 0, activations pass their inputs
    on (as ReLU does with what is not negative), and so do clamps, modules that write an activation out, and, times
    |gain|, norms without running statistics; dropout is out of work. (The authors' code keeps |bias|.) Attention passes
    its values on, each with the weight that it has: what computes queries and keys is on no path, and is refused; so is
    what leads into a recurrent layer.

    Args:
        shape: of one input, without batch: then no batches are needed. None: that of the first batch, whose numbers are
            not looked at; token ids, which have no ones to give, are taken as they are.

    Source: Tanaka et al. 2020 (SynFlow), arXiv 2006.05467, equation 2 and algorithm 1.
    """

    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.shape is None:
            return
        if not isinstance(self.shape, Sequence) or isinstance(self.shape, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"shape is {shown(self.shape)}", "it is a tuple of sizes", "write shape=(3, 32, 32)")
        for size in self.shape:
            check_count("a size of shape", size)
        object.__setattr__(self, "shape", tuple(self.shape))

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`.

        Raises:
            InvalidValue: for complex weights; by the result, if a flow is negative, as where a skip is subtracted, even
                one that paths outweigh; if there is none, or none that depends on one of the weights.
            LayerCollapsed: by the result, if there is none because a layer has no living weight.
            NotFinite: by the result, if it is too large for float64.
        """
        check_real(context.weights, "the sum of paths")
        names, flow = list(context.weights), dict[str, Tensor]()

        def measure(model: nn.Module, batch: Any, forward: Forward) -> None:
            flow.update(_flow(model, names, batch, forward))

        if self.shape is None:
            context.on_example(measure)
        else:
            weight = next(iter(context.weights.values()))
            ones = torch.ones(1, *self.shape, dtype=weight.dtype, device=weight.device)
            context.on_model(lambda model: measure(model, ones, _call_with_shape))
        return lambda: _of_first_rank(context, flow)

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn(weight.shape, generator).abs().double() for name, weight in weights.items()}


def _call_with_shape(model: nn.Module, ones: Any) -> Any:
    return call_foreign(
        f"the model, given ones of the shape {list(ones.shape)},",
        lambda: model(ones),
        rule="shape is that of one input, without the dimension of the batch",
        fix="mend shape, or leave it out: then it is that of the first batch",
    )


def _flow(model: nn.Module, names: Sequence[str], batch: Any, forward: Forward) -> dict[str, Tensor]:
    """Of a model that is put back afterwards."""
    activations = written_out(model, lambda: trace(model, batch, forward))
    _take_magnitudes(model)
    parameters = parameters_named(model, names)
    prunable = {id(parameter) for parameter in parameters.values()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in prunable)
    with as_paths(activations, mode := PassingOn()):
        total = _total(model, batch, forward)
        if not isinstance(total, Tensor) or not total.requires_grad:
            raise _no_flow(parameters)
        has_turned = listen_for_turns(total)
        flow = gradients_of(total, parameters, retain_graph=bool(mode.weighing))
        hides_turns = has_turned()
        _check_weighing(mode.weighing, parameters, flow)
    missed = [name for name in parameters if name not in flow]
    if missed:
        raise _unreached(model, missed, _ones(batch), forward)
    negative = _check(float(total.detach()), parameters, flow)
    if negative is not None or hides_turns:
        with as_paths(activations, noted := Noting()):
            noted.look_back(_total(model, batch, forward), [*parameters.values()])
        raise _negative(negative, str(noted))
    return flow


def _total(model: nn.Module, batch: Any, forward: Forward) -> Any:
    """R, of the first sample."""
    try:
        return sum_of(outputs_of(forward, model, _ones(batch)))
    except InvalidValue as error:
        if error.__cause__ is None or forward is _call_with_shape:
            raise
        rule = f"{error.rule}; SynFlow runs the first sample of the first batch, as ones, in float64"
        raise InvalidValue(error.value, rule, error.fix) from error.__cause__


@torch.no_grad()
def _take_magnitudes(model: nn.Module) -> None:
    model.double()
    for name, parameter in model.named_parameters():
        parameter.copy_(parameter.abs())
        if "bias" in name.rpartition(".")[2]:
            parameter.zero_()
    for module in model.modules():
        mean = getattr(module, "running_mean", None)
        if isinstance(mean, Tensor):
            mean.zero_()


def _ones(batch: Any) -> Any:
    """The first sample of a batch, with ones in place of its floating numbers."""
    if isinstance(batch, Tensor):
        first = batch[:1] if batch.dim() else batch
        return torch.ones_like(first, dtype=torch.float64) if batch.is_floating_point() else first
    if isinstance(batch, Mapping):
        return {key: _ones(value) for key, value in cast(Mapping[Any, Any], batch).items()}
    if isinstance(batch, nn.utils.rnn.PackedSequence):
        return batch._replace(data=torch.ones_like(batch.data, dtype=torch.float64))
    if isinstance(batch, list | tuple):
        items = [_ones(item) for item in cast(Sequence[Any], batch)]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)  # pyright: ignore
    return batch


def _check_weighing(
    weighing: Sequence[Tensor], parameters: Mapping[str, nn.Parameter], flow: Mapping[str, Tensor]
) -> None:
    """Refuse weights that, all or in part, decide how attention weighs values and nothing else."""
    if not weighing:
        return
    by_weighing = gradients_of(cast(Tensor, sum(tensor.sum() for tensor in weighing)), parameters)
    living = {name: (found != 0) & (parameters[name] != 0) for name, found in by_weighing.items()}
    alone = [name for name, own in living.items() if bool((own & (flow[name] == 0) if name in flow else own).any())]
    if alone:
        raise unreached(
            f"what {listed(alone)} computes, or a part of it, enters nothing but the softmax of attention",
            "SynFlow adds up paths of magnitudes: how attention weighs its values is none, and counts as it is",
            alone,
            "choose another criterion",
        )


def _unreached(model: nn.Module, missed: Sequence[str], batch: Any, forward: Forward) -> Unreached:
    try:
        last = graph_of(model, missed, batch, forward).lost(missed[0], cut=True)
    except BudbreakError:  # it cannot be traced, so nobody knows where
        last = ()
    where = f"; what {missed[0]!r} computes was last seen in {said_nodes(last)}" if last else ""
    return unreached(
        f"no output depends on {listed(missed)}{where}",
        "SynFlow adds up paths from inputs to outputs that autograd can follow: detach(), no_grad(), numpy and item() "
        "end them, and so does what is not called or not returned",
        missed,
        "let autograd follow it",
    )


def _check(total: float, parameters: Mapping[str, nn.Parameter], flow: Mapping[str, Tensor]) -> str | None:
    """The first weight through which no sum of paths flows, or None.

    What a weight carries is up to R; more, where it is used several times.
    """
    carried: list[float] = []
    for name, derivative in flow.items():
        if not bool(torch.isfinite(derivative).all()):
            raise NotFinite(
                f"the flow through {name!r} is not finite",
                "it grows by a factor with each layer, up to 1e308 in float64",
                "look for NaN in the weights; or make them smaller by a factor, which changes no order",
            )
        through = derivative * parameters[name].detach()
        carried.append(float(through.sum()))
        if float(through.clamp_max(0).sum()) < -_ROUNDING * abs(total):
            return name
    if max(carried) <= _ROUNDING * abs(total):
        raise _no_flow(parameters)
    return None


def _negative(name: str | None, places: str) -> InvalidValue:
    flow = f"the flow through {name!r}" if name else "a part of the flow"  # more that is positive may hide it
    return InvalidValue(
        f"{flow} is negative" + (f": it turns at {places}" if places else ""),
        "SynFlow adds up paths of magnitudes: nothing may subtract or divide by them, nor a softmax weigh them; the "
        "norms of torch, modules and functions, are seen through",
        "return logits, if it is their softmax, of the network or by a forward of your own; or take another criterion",
    )


def _no_flow(parameters: Mapping[str, nn.Parameter]) -> InvalidValue | LayerCollapsed:
    empty = [name for name, parameter in parameters.items() if not bool(parameter.detach().any())]
    if empty:
        return LayerCollapsed(
            f"{empty[0]!r} has no living weight",
            "nothing flows from inputs to outputs, so that all scores would be 0",
            "keep some weights in each layer: floor=1, say",
        )
    return InvalidValue(
        "nothing flows from the inputs to the outputs",
        "SynFlow adds up the paths between them, by the prunable weights",
        "return what is computed, of the network or by a forward of your own; or choose another criterion",
    )


def _of_first_rank(context: ProbeContext, flow: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What the first process computed that had a batch: the same on all, bit for bit."""
    processes = context.processes
    if processes.size == 1:
        return flow
    have = processes.exchange("who has a first batch", bool(flow))
    if flow and processes.rank == have.index(True):
        return processes.sum(flow)
    empty = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in context.weights.items()}
    return processes.sum(empty)
