"""What a unit gains, on the samples where it is silent, from each weight that is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.checks import check_not_negative
from budbreak.errors import InvalidValue
from budbreak.evidence import ProbeContext, drawn
from budbreak.graph import Site

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Lifts:
    """Of one weight whose units are seen.

    Args:
        silent: mean of the input of each weight over the outputs at which its unit is silent [shape of the weight].
        overall: the same over all outputs [shape of the weight].
        share: of outputs at which the unit is silent, in [0, 1] [units, 1, ...].
        spread: standard deviation of the unit's pre-activation, before any norm, >= 0 [units, 1, ...].
    """

    silent: Tensor
    overall: Tensor
    share: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Lifting:
    """Inputs while units are silent: weight name -> `Lifts`.

    Taking weight [o, j] away changes the pre-activation of unit o by -w[o, j] x[j]: on average over the outputs
    (samples and positions) at which the unit is silent, by -w[o, j] times the mean of x[j] over them.

    For Linear layers and convolutions whose outputs meet a nonlinearity at the same size, with nothing but norms and
    dropout between; other weights have no entry.

    Args:
        threshold: a unit is silent where |output| <= threshold; 0.0 for ReLU.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative("threshold", self.threshold, "write threshold=0.0 for ReLU")

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Lifts]]:
        """See `Probe.start`.

        Raises:
            InvalidValue: where several processes observe together.
        """
        if context.processes.size > 1:
            value = f"{context.processes.size} processes observe together"
            raise InvalidValue(value, "Lifting is of a process alone", "use one process")
        inputs: dict[str, Tensor] = {}
        sums: dict[str, _Sums] = {}

        def remember(name: str, layer: nn.Module, given: Tensor) -> None:
            inputs[name] = given

        def listen(site: Site, output: Tensor) -> None:
            name = site.feed.weight if site.feed else ""
            if name in inputs and name not in sums:
                sums[name] = _Sums(context.layers[name])
            if name in inputs:
                sums[name].add(inputs.pop(name), output.abs() <= self.threshold)

        context.on_input(remember)
        context.on_activation(listen)
        return lambda: {name: sums[name].means() for name in context.weights if name in sums and sums[name].count}

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Lifts]:
        """See `Probe`: of all but the last weight."""
        lifts: dict[str, Lifts] = {}
        for name in list(weights)[:-1]:
            rows = (len(weights[name]), *(1,) * (weights[name].dim() - 1))
            share, spread = drawn(rows, generator).abs(), drawn(rows, generator).abs()
            inputs = (drawn(weights[name].shape, generator) for _ in range(2))
            lifts[name] = Lifts(*inputs, share=share.clamp(max=1.0), spread=spread)
        return lifts


class _Sums:
    """What is added up of one weight while batches come in, in float64."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer, self.count = layer, 0
        shape = cast(Tensor, layer.weight).shape
        self.silent, self.overall = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
        self.quiet, self.first, self.second = (torch.zeros(shape[0], dtype=torch.float64) for _ in range(3))

    def add(self, given: Tensor, silent: Tensor) -> None:
        """Take in what one call was given, and where the nonlinearity behind it was silent."""
        weight = cast(Tensor, self.layer.weight).detach()
        outputs = _applied(self.layer, given, weight)
        if outputs is None or outputs.shape != silent.shape:
            return
        silent = silent.to(outputs.dtype)
        self.silent += self._inputs(given, silent)
        self.overall += self._inputs(given, torch.ones_like(silent))
        dim = -1 if isinstance(self.layer, nn.Linear) else 1
        rows = outputs.movedim(dim, 0).flatten(1).double()
        self.quiet += silent.movedim(dim, 0).flatten(1).double().sum(1).cpu()
        self.first += rows.sum(1).cpu()
        self.second += rows.square().sum(1).cpu()
        self.count += rows.shape[1]

    def _inputs(self, given: Tensor, chosen: Tensor) -> Tensor:
        """The sum of each weight's input over chosen outputs: the gradient of their sum with respect to the weight."""
        with torch.inference_mode(False), torch.enable_grad():
            weight = torch.zeros_like(cast(Tensor, self.layer.weight), requires_grad=True)
            outputs = _applied(self.layer, given.clone(), weight)
            (sums,) = torch.autograd.grad(cast(Tensor, outputs), weight, chosen.clone())
        return sums.double().cpu()

    def means(self) -> Lifts:
        rows = (-1, *(1,) * (self.silent.dim() - 1))
        quiet, mean = self.quiet.reshape(rows), self.first / self.count
        spread = (self.second / self.count - mean.square()).clamp_min(0).sqrt()
        silent = self.silent / quiet.clamp_min(1)
        return Lifts(silent, self.overall / self.count, quiet / self.count, spread.reshape(rows))


def _applied(layer: nn.Module, given: Tensor, weight: Tensor) -> Tensor | None:
    """What the layer makes of an input with this weight and no bias; None for layers of other kinds."""
    if isinstance(layer, nn.Linear):
        return functional.linear(given, weight)
    if isinstance(layer, _CONVOLUTIONS):
        return layer._conv_forward(given, weight, None)  # pyright: ignore  # pads as the layer does
    return None


def lift(weight: Tensor, lifts: Lifts, *, centred: bool) -> Tensor:
    """How much taking each weight away lifts its unit where it is silent, in deviations of its pre-activation.

    Args:
        weight: the weight.
        lifts: of it.
        centred: whether a norm behind the layer takes the mean away.

    Returns:
        Float64 [shape of the weight]; 0 for units without spread.
    """
    given = lifts.silent - lifts.overall if centred else lifts.silent
    lifted = -weight.detach().cpu().double() * given / torch.where(lifts.spread > 0, lifts.spread, 1.0)
    return torch.where(lifts.spread > 0, lifted, 0.0)
