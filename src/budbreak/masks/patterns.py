"""N:M: so many of each few consecutive weights stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from budbreak.checks import check_count
from budbreak.errors import InvalidValue, one_of
from budbreak.masks.arenas import keep_highest
from budbreak.masks.contest import Contest
from budbreak.masks.floors import check_reached_floors
from budbreak.masks.prunable import Prunable, conv_and_linear, prunable_parameters, unwrap
from budbreak.masks.source import Source
from budbreak.masks.units import UnitLayout, unusual_layouts

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NM:
    """N:M sparsity: n of each so many consecutive weights stay, those with the highest scores; 2:4 is NM(2, 4).

    n counts what is KEPT ("2:4": at most 2 of 4 are not zero), as in the hardware's terms; at 2:4 that is also what
    goes, and at 1:4 it is not. Groups lie along the inputs of a layer: for each output, and each position of a
    convolution's kernel, consecutive input channels, as ASP and cuSPARSELt have it. In a grouped convolution those
    are the inputs of a group. A group in which fewer than n are alive keeps them all. So the number of weights that
    stay follows from the pattern: n / of of a dense network, and any other target is refused.

    Args:
        n: how many of a group stay, 1 to of - 1.
        of: the size of a group.
        dim: the dimension of a weight along which groups lie; 1: the inputs of Linear and convolutions.
        remainder: where the dimension is no multiple of ``of``: ``"refuse"`` the layer by its name; ``"pad"``: the last
            group has fewer members, as if it were padded with zeros: at most n of them stay.

    Raises:
        InvalidValue: for numbers that make no pattern.

    Source: Mishra et al. 2021, arXiv 2104.08378; NVIDIA's apex.contrib.sparsity (ASP) for convolutions.
    """

    n: int
    of: int
    dim: int = 1
    remainder: Literal["refuse", "pad"] = "refuse"

    divides, elementwise = False, True

    def __post_init__(self) -> None:
        check_count("n", self.n)
        check_count("of", self.of, least=2)
        check_count("dim", self.dim, least=0)
        if self.n >= self.of:
            better = f"bb.NM({self.of}, {self.n})" if self.n > self.of else f"bb.NM({self.n}, {2 * self.n})"
            value = f"NM(n={self.n}, of={self.of})"
            raise InvalidValue(value, "n of each `of` consecutive weights stay: n is smaller", f"write {better}")
        if self.remainder not in ("refuse", "pad"):
            rule = one_of(("refuse", "pad"))
            raise InvalidValue(f"remainder is {self.remainder!r}", rule, "write remainder='pad'")

    def __str__(self) -> str:
        """The usual name of the pattern: "2:4"."""
        return f"{self.n}:{self.of}"

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> NM:
        """See `Scope`.

        Raises:
            InvalidValue: if a prunable weight has no such dimension, or no multiple of ``of`` along it, or its outputs
                lie there (those of transposed convolutions lie along dimension 1).
        """
        outputs = dict(unusual_layouts(model, prunable))
        for name, weight in prunable_parameters(unwrap(model), prunable).items():
            self._check(name, weight.shape)
            if self.dim == 1 and outputs.get(name, UnitLayout(0)).dim == 1:
                raise InvalidValue(
                    f"dimension 1 of {name!r}, shape {tuple(weight.shape)}, counts outputs",
                    f"groups of {self} lie along inputs",
                    f"leave it out: prunable=bb.excluding({name!r}); or give the dimension: dim=0",
                )
        return self

    def reach(self, alive: Mapping[str, Tensor]) -> dict[str, int]:
        """See `Scope`."""
        return {name: int(self._counts(name, entry.numpy()).sum()) for name, entry in alive.items()}

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`.

        Raises:
            InvalidValue: if another number is to be kept than the pattern keeps, or by a floor more in a layer.
        """
        source = Source(contest.scores, contest.limits)
        kept = {name: self._choose(source, name) for name in contest.scores}
        counts = {name: int(entry.count_nonzero()) for name, entry in kept.items()}
        check_reached_floors(self, counts, contest.floors)
        total = sum(counts.values())
        if total != contest.keep:
            value, rule = f"keep is {contest.keep}", f"{self} keeps exactly {total} of what competes here"
            raise InvalidValue(value, rule, f"write keep={total}")
        return kept

    def _choose(self, source: Source, name: str) -> Tensor:
        shape = source.scores[name].shape
        alive = np.ones(tuple(shape), dtype=bool) if source.limits is None else source.limits[name].numpy()
        counts, groups = self._counts(name, alive), self._groups(name, alive)
        scores = self._groups(name, source.whole(name).reshape(tuple(shape)))
        return torch.from_numpy(self._ungroup(keep_highest(name, scores, groups, counts), shape))

    def _counts(self, name: str, alive: Array) -> Array:
        """[groups]: how many stay in each."""
        return np.minimum(self._groups(name, alive).sum(axis=1), self.n)

    def _groups(self, name: str, values: Array) -> Array:
        """[groups, of]: the members of each; where there are none, 0 or False."""
        self._check(name, values.shape)
        last = np.moveaxis(values, self.dim, -1)
        missing = -last.shape[-1] % self.of
        padded = np.pad(last, [*[(0, 0)] * (last.ndim - 1), (0, missing)]) if missing else last
        return padded.reshape(-1, self.of)

    def _ungroup(self, groups: Array, shape: torch.Size) -> Array:
        others = [size for dim, size in enumerate(shape) if dim != self.dim]
        whole = groups.reshape(*others, -1)[..., : shape[self.dim]]
        return np.ascontiguousarray(np.moveaxis(whole, -1, self.dim))

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        out = f"leave it out: prunable=bb.excluding({name!r})"
        if self.dim >= len(shape):
            value = f"{name!r} has shape {tuple(shape)}, and no dimension {self.dim}"
            raise InvalidValue(value, f"groups of {self} lie along a dimension of the weight", out)
        if shape[self.dim] % self.of and self.remainder == "refuse":
            raise InvalidValue(
                f"{name!r} has {shape[self.dim]} weights along dimension {self.dim}, of its shape {tuple(shape)}",
                f"{self} needs a multiple of {self.of} there",
                f"{out}; or write bb.NM({self.n}, {self.of}, remainder='pad')",
            )
