"""What is removed as one: single weights, or whole units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from budbreak.checks import check_known
from budbreak.errors import InvalidValue, NothingToPrune
from budbreak.masks.parametrized import check_whole_units, parameters_with_layers
from budbreak.masks.prunable import Prunable, conv_and_linear, prunable_parameters, unwrap
from budbreak.masks.scores import Score, ScoreSlice
from budbreak.masks.units import UnitLayout, is_producer, output_layout


class Granularity(Protocol):
    """What is removed as one. Methods get the name of the weight, for its kind of layer decides.

    One that has an attribute ``budget = "weights"`` is given a budget of weights rather than a count of what goes as
    one, and has a method ``weigh(name, entry)``; see `Unit`.
    """

    @property
    def counted(self) -> str:
        """What a sparsity is a share of, in the plural: "weights", "units"."""
        ...

    @property
    def spared(self) -> Sequence[str]:
        """The prunable weights that stay whole, and are not counted."""
        ...

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Granularity:
        """The same for this model's kinds of layers; `prune`, `Plan.preview` and `iterate` call it."""
        ...

    def merge(self, name: str, score: Score, entry: Tensor | None) -> Score:
        """The scores of what is removed as one, over what the mask ``entry`` keeps (None: all)."""
        ...

    def shrink(self, name: str, entry: Tensor) -> Tensor:
        """Bool [of the merged shape]: where anything is kept of what is removed as one."""
        ...

    def spread(self, name: str, entry: Tensor, shape: torch.Size) -> Tensor:
        """Bool [shape] from bool [of the merged shape]."""
        ...


def count_removable(granularity: Granularity, mask: Mapping[str, Tensor]) -> tuple[int, int]:
    """(all, alive) of what goes as one; what is spared is not among them. For a budget: of all weights."""
    if has_budget(granularity):
        return sum(entry.numel() for entry in mask.values()), sum(int(entry.count_nonzero()) for entry in mask.values())
    shrunk = [granularity.shrink(name, entry) for name, entry in mask.items()]
    return sum(entry.numel() for entry in shrunk), sum(int(entry.count_nonzero()) for entry in shrunk)


def has_budget(granularity: object) -> bool:
    """Whether a number to keep is a budget of weights, into which as much of what goes as one is put as fits."""
    return getattr(granularity, "budget", None) == "weights"


def check_budget(budget: object, others: str) -> None:
    """Refuse what is no kind of budget.

    Raises:
        InvalidValue: with what to write.
    """
    if budget not in (others, "weights"):
        raise InvalidValue(f"budget is {budget!r}", f"it is one of {others!r}, 'weights'", "write budget='weights'")


def counted_in(budget: str) -> str:
    """What is counted, in the plural."""
    return "weights at most" if budget == "weights" else budget


@dataclass(frozen=True)
class Element:
    """Single weights."""

    counted: str = field(default="weights", init=False, repr=False)
    spared: tuple[str, ...] = field(default=(), init=False, repr=False)

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Element:
        """See `Granularity`."""
        return self

    def merge(self, name: str, score: Score, entry: Tensor | None) -> Score:
        """See `Granularity`."""
        return score

    def shrink(self, name: str, entry: Tensor) -> Tensor:
        """See `Granularity`."""
        return entry

    def spread(self, name: str, entry: Tensor, shape: torch.Size) -> Tensor:
        """See `Granularity`."""
        return entry


class _Whole:
    """What `Unit` and `FittedUnits` share: units are scored, counted and removed by their layout.

    A unit's score is the mean of the scores of its living weights.
    """

    def layout(self, name: str, shape: torch.Size) -> UnitLayout | None:
        """Where the units of this weight lie; None where they are spared."""
        raise NotImplementedError

    def merge(self, name: str, score: Score, entry: Tensor | None) -> Score:
        """See `Granularity`."""
        layout = self.layout(name, score.shape)
        if layout is None:
            return Score(torch.Size([0]), lambda: lambda lo, hi: torch.zeros(0))
        return Score(torch.Size([layout.count(score.shape)]), lambda: _means(layout, score, entry))

    def shrink(self, name: str, entry: Tensor) -> Tensor:
        """See `Granularity`."""
        layout = self.layout(name, entry.shape)
        return entry.new_zeros(0) if layout is None else layout.members(entry).any(1)

    def weigh(self, name: str, entry: Tensor) -> Tensor:
        """Int [of the merged shape]: how many weights of each unit are kept."""
        layout = self.layout(name, entry.shape)
        return entry.new_zeros(0, dtype=torch.int64) if layout is None else layout.members(entry).sum(1)

    def spread(self, name: str, entry: Tensor, shape: torch.Size) -> Tensor:
        """See `Granularity`."""
        layout = self.layout(name, shape)
        return torch.ones(shape, dtype=torch.bool) if layout is None else layout.spread(entry, shape)


@dataclass(frozen=True)
class Unit(_Whole):
    """Whole units: output neurons or channels, scored by the mean of the scores of their living weights.

    The units of the network's outputs (its classifier) never go and are not counted, unless ``outputs=()`` asks for
    it. Without a graph of the network its classifier is taken to be the last Linear or convolution in the order in
    which the model defines them, prunable or not; name it where that is wrong, or where there are several heads.
    `Plan.preview` and each record say which were spared.

    Args:
        dim: the dimension of the weight that counts units; None: that of the output units of its layer (rows of
            Linear and Conv, columns of ConvTranspose and Embedding). 1 is for the input units of Linear and Conv.
        outputs: names of the weights whose units stay; None: that of the classifier; ``()``: none.
        budget: ``"units"``: what is kept is a number of units; ``"weights"``: a number of weights, those of the
            classifier among them: as many whole units stay, of the highest scores, as hold no more living weights
            than that. The mask, and each record, say what was reached.
    """

    dim: int | None = None
    outputs: Sequence[str] | None = None
    budget: Literal["units", "weights"] = "units"
    counted: str = field(default="units", init=False, repr=False)
    spared: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.dim is not None and (isinstance(self.dim, bool) or not isinstance(self.dim, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"Unit(dim={self.dim!r})", "dim must be a whole number or None", "write bb.Unit()")
        if isinstance(self.outputs, str):
            raise InvalidValue(
                f"outputs is {self.outputs!r}", "it is a list of names", f"write outputs=[{self.outputs!r}]"
            )
        check_budget(self.budget, "units")
        object.__setattr__(self, "outputs", None if self.outputs is None else tuple(self.outputs))
        object.__setattr__(self, "counted", counted_in(self.budget))

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> FittedUnits:
        """The units of this model's layers.

        Raises:
            InvalidValue: if it is not known where the units of a prunable weight lie, or weight_norm divides by
                their norms.
            UnknownName: if ``outputs`` names what does not exist.
            NothingToPrune: if every unit is spared.
        """
        unwrapped = unwrap(model)
        covered = prunable_parameters(unwrapped, prunable)
        layers = {name: layer for name, layer, _ in parameters_with_layers(unwrapped)}
        spared = self._spared(unwrapped, covered)
        layouts: list[tuple[str, UnitLayout | None]] = []
        for name, weight in covered.items():
            check_whole_units(name, layers[name])
            layout = self._layout(name, layers[name], weight)
            outputs = output_layout(layers[name], weight) or layout
            layouts.append((name, None if name in spared and layout == outputs else layout))
        if all(layout is None for _, layout in layouts):
            raise NothingToPrune(
                f"every unit of {list(covered)} is an output of the network",
                "output units are never pruned unless asked",
                "give granularity=bb.Unit(outputs=()) to prune them as well",
            )
        return FittedUnits(tuple(layouts), self.budget)

    def layout(self, name: str, shape: torch.Size) -> UnitLayout | None:
        """Along ``dim``; nothing is spared where no model is known."""
        if self.dim is None:
            raise InvalidValue(
                "Unit() does not know the layer of " + repr(name),
                "where output units lie depends on the kind of layer, and there is no model here",
                "give granularity=bb.Unit().fit(model), or a dimension: bb.Unit(dim=0)",
            )
        if not 0 <= self.dim < len(shape) or len(shape) < 2:
            raise InvalidValue(
                f"Unit(dim={self.dim}) on {name!r} of shape {tuple(shape)}",
                "dim must be one of the dimensions of a weight that has at least two",
                "write bb.Unit(), or leave this weight out by bb.excluding",
            )
        return UnitLayout(self.dim)

    def _layout(self, name: str, layer: nn.Module, weight: Tensor) -> UnitLayout:
        of_outputs = output_layout(layer, weight)
        if self.dim is not None:
            along = self.layout(name, weight.shape)
            return of_outputs if of_outputs is not None and of_outputs.dim == self.dim else along  # pyright: ignore[reportReturnType]
        if of_outputs is None:
            raise InvalidValue(
                f"{name!r} belongs to {type(layer).__name__}, shape {tuple(weight.shape)}",
                "where the units of such a layer lie is not known",
                f"leave it out: prunable=bb.excluding({name!r}), or give a dimension for all: bb.Unit(dim=0)",
            )
        return of_outputs

    def _spared(self, model: nn.Module, covered: Mapping[str, nn.Parameter]) -> set[str]:
        """The prunable names of the output weights."""
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if self.outputs is None:
            producers = [weight for _, layer, weight in parameters_with_layers(model) if is_producer(layer)]
            return _names(covered, [weight for weight in producers if weight.dim() >= 2 and weight.numel()][-1:])
        for name in self.outputs:
            check_known(f"outputs names {name!r}", name, parameters)
        return _names(covered, [parameters[name] for name in self.outputs])


@dataclass(frozen=True)
class FittedUnits(_Whole):
    """The units of one model, from `Unit.fit`.

    Args:
        layouts: where the units of each prunable weight lie, by name; None where they are spared.
        budget: as in `Unit`.
    """

    layouts: tuple[tuple[str, UnitLayout | None], ...]
    budget: Literal["units", "weights"] = "units"
    counted: str = field(default="units", init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counted", counted_in(self.budget))

    @property
    def spared(self) -> tuple[str, ...]:
        """See `Granularity`."""
        return tuple(name for name, layout in self.layouts if layout is None)

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> FittedUnits:
        """See `Granularity`: fitted already."""
        return self

    def layout(self, name: str, shape: torch.Size) -> UnitLayout | None:
        """Where the units of this weight lie; None where they are spared.

        Raises:
            UnknownName: for a weight that the model it was fitted to does not have.
        """
        known = dict(self.layouts)
        check_known(f"no units known of {name!r}", name, known)
        return known[name]


def _names(covered: Mapping[str, nn.Parameter], parameters: Iterable[nn.Parameter]) -> set[str]:
    """The names under which these are prunable: a tied weight has several."""
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, parameter in covered.items() if id(parameter) in wanted}


def _means(layout: UnitLayout, score: Score, entry: Tensor | None) -> ScoreSlice:
    members = layout.members(score.tensor())
    alive = None if entry is None else layout.members(entry.to(members.device))
    means = living_means(members, alive)
    return lambda lo, hi: means[lo:hi]


def living_means(members: Tensor, alive: Tensor | None) -> Tensor:
    """[units] from the scores [units, members] of what is alive; 0 where nothing is."""
    if alive is None:
        return members.mean(1)
    # where, not a product: a pruned weight's score may be inf or NaN; units without life do not compete
    return torch.where(alive, members, 0).sum(1) / alive.sum(1).clamp(min=1)
