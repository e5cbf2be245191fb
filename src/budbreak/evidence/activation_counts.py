"""How often each unit is active while the network trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from budbreak.checks import check_count, check_fraction, check_known, check_not_negative
from budbreak.errors import InvalidValue, MissingEvidence
from budbreak.evidence.observer import RESETS, ObserverState, Reset, Training
from budbreak.evidence.unit_counts import at_most, count_active
from budbreak.graph import Feed, Site

_PASSES, _EXACT, _WEIGHED, _ACTIVE, _SEEN = "passes", "exact", "weighed", "active ", "seen "
"""Names in the state; the last two stand before the name of a weight."""

Event = Literal["active", "inactive"]
Increment = Literal["count", "sum", "accuracy-weighted"]
_EVENTS, _INCREMENTS = ("active", "inactive"), ("count", "sum", "accuracy-weighted")


@dataclass(frozen=True)
class UnitActivity:
    """How active the units that one weight feeds were.

    Args:
        active: int64, or float64 where counts fade or outputs are added up, broadcastable to the weight: in how many
            outputs each unit was active (was not, for the event "inactive"), or the sum of its outputs.
        seen: how many outputs each unit has given: samples, times positions in an image or a sequence; less where
            counts fade.
    """

    active: Tensor
    seen: float

    @property
    def frequency(self) -> Tensor:
        """Active / seen: float64, broadcastable to the weight; of counts, a share in [0, 1]."""
        return self.active.double() / self.seen


@dataclass(frozen=True)
class ActivationCounts:
    """How often each unit is active during training: name of the weight that feeds it -> `UnitActivity`.

    active = |output of the nonlinearity| > threshold; of a ReLU, whose outputs are never below 0, that is output > 0.
    Counted in all forward passes in training mode while a training runs, those under no_grad(), too, but not in what
    checkpoints compute again; over several processes, added up.
    Weights that alone feed no nonlinearity are not there: those of the network's outputs, and those whose units a
    residual sum mixes with others.

    Args:
        threshold: >= 0; with 0.0, inactive means exactly 0: a network in which no nonlinearity gives exact zeros (GELU,
            sigmoid, ...) needs a threshold > 0.
        every: look at each so many-th forward pass only, the first one included.
        reset: "never": over all trainings so far; "level": of each training alone.
        event: "active"; "inactive" counts the outputs that are not, so that what is active most has the lowest number:
            the polarity of the repository's last version, for comparisons with it only.
        increment: "count"; "sum": of the outputs themselves; "accuracy-weighted": of the outputs, times the number
            that was recorded last as ``accuracy`` before the pass, 0 while there is none.
        decay: in (0, 1]: what was counted before is multiplied by it at the beginning of each training; with one
            training a level, at each pruning.
        accuracy: name of the number by which outputs are weighted.

    Raises:
        InvalidValue: in the second pass of such a network, or for its result; if nothing was recorded as ``accuracy``.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048 ("neuron frequency"): counted in every training batch, and never
    reset. Differs: their repository's last version counts zeros, once an epoch. "accuracy-weighted" is their
    ``act_acc`` but for the accuracy, which they take of the epoch so far.
    """

    threshold: float = 0.0
    every: int = 1
    reset: Reset = "never"
    event: Event = "active"
    increment: Increment = "count"
    decay: float = 1.0
    accuracy: str = "accuracy"

    def __post_init__(self) -> None:
        fix = "write threshold=0.0 for ReLU, threshold=0.01, say, for a smooth activation"
        check_not_negative("threshold", self.threshold, fix)
        check_count("every", self.every)
        check_known(f"reset is {self.reset!r}", self.reset, RESETS)
        check_known(f"event is {self.event!r}", self.event, _EVENTS)
        check_known(f"increment is {self.increment!r}", self.increment, _INCREMENTS)
        if self.decay is True or self.decay != 1:
            check_fraction("decay", self.decay, zero=False)
        self._check_effects()

    def _check_effects(self) -> None:
        """Refuse what would have no effect."""
        if self.increment != "count" and (self.threshold or self.event != "active"):
            value = f"increment is {self.increment!r}, with threshold={self.threshold} and event={self.event!r}"
            raise InvalidValue(value, "outputs are added up as they are: there is no event", "leave both out")
        if self.decay != 1 and self.reset == "level":
            rule = "where each training is counted alone, nothing is left to fade"
            raise InvalidValue(f"decay is {self.decay}, and reset 'level'", rule, "leave one of them out")

    def begin(self, state: ObserverState) -> None:
        """See `Observer`: what was counted before fades."""
        for name, tensor in state.items():
            if self.decay != 1 and name.startswith((_ACTIVE, _SEEN)):
                tensor.mul_(self.decay)

    def watch(self, training: Training, state: ObserverState) -> None:
        """See `Observer.watch`."""

        def when() -> bool:
            self._check(state)
            _add(state, _PASSES, 1)
            return (int(state[_PASSES]) - 1) % self.every == 0

        def listen(site: Site, output: Tensor) -> None:
            if site.feed is not None:
                weight = training.parameters[site.feed.weight]
                units, seen = self._look(output, site, training, state)
                _add(state, _ACTIVE + site.feed.weight, _as_in(weight, site.feed, units, site.name))
                _add(state, _SEEN + site.feed.weight, seen if self.decay == 1 else torch.tensor(seen).double())
                _add(state, _EXACT, int(site.exact_zeros))

        training.on_activation(listen, when=when)

    def _look(self, output: Tensor, site: Site, training: Training, state: ObserverState) -> tuple[Tensor, int]:
        """(what each unit adds, how many outputs each of them gave)."""
        if self.increment == "count":
            units, seen = count_units(output, site.unit_dims, self.threshold)
            return self._fading(seen - units if self.event == "inactive" else units), seen
        units, seen = sum_units(output, site.unit_dims)
        if self.increment == "sum":
            return units, seen
        weight = training.recorded(self.accuracy)
        _add(state, _WEIGHED, int(weight is not None))
        return units * (weight or 0.0), seen

    def _fading(self, counts: Tensor) -> Tensor:
        """Counts in the dtype of the state: whole numbers, unless these fade."""
        return counts if self.decay == 1 else counts.double()

    def _check(self, state: Mapping[str, Tensor]) -> None:
        exact = self.increment != "count" or self.threshold > 0 or _EXACT not in state or int(state[_EXACT])
        if not exact:
            raise InvalidValue(
                "the active units are counted of a network whose nonlinearities give no exact zeros",
                "every output would be active, and the index of a weight would decide",
                "write threshold=0.01, say",
            )

    def result(self, state: Mapping[str, Tensor], *, ranks: int) -> Mapping[str, UnitActivity]:
        """See `Observer.result`."""
        names = [name.removeprefix(_ACTIVE) for name in state if name.startswith(_ACTIVE)]
        if not names:
            rule = "it counts what nonlinearities give that a single weight feeds, while the model trains"
            raise MissingEvidence(f"{self} has seen no such output", rule, "train before, in level 0 too")
        self._check(state)
        if _WEIGHED in state and not int(state[_WEIGHED]):
            raise InvalidValue(
                f"outputs are weighted by {self.accuracy!r}, and none came after something was recorded by that name",
                "an epoch's outputs are weighted by what was recorded before it; those of the first count nothing",
                f"train two epochs before the first pruning at least, and write level.record({self.accuracy}=...) "
                "after each, in the loop over level.epochs(...)",
            )
        return {name: UnitActivity(state[_ACTIVE + name], state[_SEEN + name].item()) for name in names}

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, UnitActivity]:
        """See `Probe`: units behind each weight but the last, whose rows they are."""
        return {
            name: UnitActivity(_rows(torch.randint(0, 11, (len(weight),), generator=generator), weight.dim()), 10)
            for name, weight in list(weights.items())[:-1]
        }


def _rows(units: Tensor, dims: int) -> Tensor:
    return units.reshape(-1, *(1,) * (dims - 1))


def _as_in(weight: Tensor, feed: Feed, units: Tensor, site: str) -> Tensor:
    """One number for each unit, broadcastable to the weight that feeds them."""
    layout, shape = feed.units, weight.shape
    if layout.count(shape) != len(units):
        raise InvalidValue(
            f"site {site!r} has {len(units)} units, and {feed.weight!r}, which feeds it, {layout.count(shape)}",
            "each unit is counted for the weights that feed it",
            "report this, with the model",
        )
    if layout.groups > 1:
        return layout.spread(units, shape)
    sizes = [1] * len(shape)
    sizes[layout.dim] = -1
    return units.reshape(sizes)


def _add(state: ObserverState, name: str, number: Tensor | int) -> None:
    """Add to a tensor of the state, in place: a new one costs more than what is counted."""
    before = state.get(name)
    if before is None:
        state[name] = torch.as_tensor(number).clone()
    elif isinstance(number, Tensor) and before.device != number.device:
        state[name] = number + before.to(number.device)
    else:
        before.add_(number)


def count_units(output: Tensor, unit_dims: tuple[int, ...], threshold: float) -> tuple[Tensor, int]:
    """(int64 [units], how many outputs each of them gave): in how many outputs |value| > threshold.

    Args:
        output: of a nonlinearity, any floating dtype, any device.
        unit_dims: the dimensions that together count units, from the end, ascending; see `Site`.
        threshold: >= 0.
    """
    if output.dim() > 2 and unit_dims == (1 - output.dim(),) and output.device.type == "cpu":
        return _count_maps(output, threshold), output.numel() // output.shape[1]
    others = _others(output, unit_dims)
    limit = at_most(threshold, output.dtype) if threshold else 0.0
    active = output.abs().gt_(limit)  # 1.0 and 0.0: summing bools costs three times as much
    wide = torch.float32 if output.numel() < 2**24 else torch.float64  # in which the sums are exact
    counts = active.sum(others, dtype=wide) if others else active
    return counts.reshape(-1).long(), output.numel() // max(counts.numel(), 1)


def sum_units(output: Tensor, unit_dims: tuple[int, ...]) -> tuple[Tensor, int]:
    """(float64 [units], how many outputs each of them gave): the sum of each unit's outputs; see `count_units`."""
    others = _others(output, unit_dims)
    sums = output.sum(others, dtype=torch.float64) if others else output.double()
    return sums.reshape(-1), output.numel() // max(sums.numel(), 1)


def _others(output: Tensor, unit_dims: tuple[int, ...]) -> list[int]:
    return [dim for dim in range(output.dim()) if dim - output.dim() not in unit_dims]


def _count_maps(output: Tensor, threshold: float) -> Tensor:
    """The same of channels: by places first, which takes a third of the time on a CPU, then over those of a channel."""
    channels = output.shape[1]
    if output.is_contiguous():
        places = count_active(output.reshape(len(output), -1), threshold)
        return torch.from_numpy(places.reshape(channels, -1).sum(1))
    places = count_active(output.movedim(1, -1).reshape(len(output), -1), threshold)
    return torch.from_numpy(places.reshape(-1, channels).sum(0))
