"""How many directions each weight of a network still uses: ranks and spectra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.checks import check_known, shown
from budbreak.errors import InvalidValue, NotFinite
from budbreak.lowrank.layer_rank import LayerRank, summed
from budbreak.lowrank.matrices import unfolded
from budbreak.lowrank.tolerance import Tolerance
from budbreak.masks import Mask, Prunable, Unfolding, conv_and_linear

Spectra = Mapping[str, Sequence[float]]
"""Weight name -> its singular values in falling order."""


@dataclass(frozen=True)
class Ranks(Mapping[str, LayerRank]):
    """The ranks of some weights, by state_dict name: a mapping, and printed a table.

    Args:
        layers: at least one; names differ.
    """

    layers: tuple[LayerRank, ...]

    def __getitem__(self, name: str) -> LayerRank:
        check_known(f"no weight is named {name!r}", name, list(self))
        return next(layer for layer in self.layers if layer.weight == name)

    def __iter__(self) -> Iterator[str]:
        return (layer.weight for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def spectra(self) -> dict[str, tuple[float, ...]]:
        """Weight name -> its singular values in falling order."""
        return {layer.weight: layer.spectrum for layer in self.layers}

    @property
    def rows(self) -> list[dict[str, object]]:
        """One mapping a weight, for tables: its name, matrix, groups and ranks."""
        sizes = ("weight", "rows", "columns", "groups")
        return [{**{size: getattr(layer, size) for size in sizes}, **layer.numbers} for layer in self.layers]

    @property
    def total(self) -> dict[str, float]:
        """The sums over all weights, see `budbreak.lowrank.NUMBERS`."""
        return summed(self.layers)

    def __str__(self) -> str:
        """One line a weight, the sums, and below them what each number is."""
        rows = [(layer.weight, matrix_text(layer), layer.numbers) for layer in self.layers]
        rows.append(("all", "", self.total))
        name, shape = max(len("weight"), *(len(row[0]) for row in rows)), max(9, *(len(row[1]) for row in rows))
        head = "   full  numerical  absolute  relative  energy   stable  effective"
        lines = [f"{'weight':{name}}  {'matrix':>{shape}}{head}"]
        lines += [f"{row[0]:{name}}  {row[1]:>{shape}}{_line(row[2])}".rstrip() for row in rows]
        return "\n".join([*lines, self.basis])

    @property
    def basis(self) -> str:
        """What the numbers are."""
        cuts = self.layers[0].tolerance
        return (
            "numerical: over s_max * max(rows, columns) * epsilon; "
            f"absolute: over {cuts.absolute:g}; relative: over {cuts.relative:g} s_max; "
            f"energy: {cuts.energy:.4g} of the squares"
        )


def ranks(
    model: nn.Module,
    *,
    mask: Mask | None = None,
    prunable: Prunable = conv_and_linear,
    tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
) -> Ranks:
    """The ranks of each weight of a model, and their spectra; the model is only read.

    How a weight is read as a matrix says `budbreak.masks.Unfolding`: Linear as it is, a convolution as [out, in * kh *
    kw], a transposed one likewise, a grouped one as the block diagonal matrix of its groups, recurrent weights (covered
    by ``prunable=bb.including("gru.*")``) with their gates one below the other. Singular values are computed in
    float64. The epsilon of the numerical rank is that of the weight's dtype, as numpy's matrix_rank has it on that
    weight; for float16 and bfloat16, which numpy refuses and whose own would count nothing, it is float32's.

    Args:
        model: the live model.
        mask: weights that it prunes count as zero; the values in the model unless given.
        prunable: which weights.
        tolerance: where the other ranks cut.

    Raises:
        NothingToPrune: if there is no such weight with elements.
        NotFinite: if one is NaN or infinite.
        UnknownName, MaskMismatch: if the mask does not fit the model, or covers what ``prunable`` leaves out.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048 (ranks of pruned kernels).
    """
    found = unfolded(model, mask, prunable)
    weights = {one.name: one.weight() for one in found}
    return ranks_of(weights, {one.name: one.unfolding for one in found}, tolerance=tolerance)


def ranks_of(
    weights: Mapping[str, Tensor],
    unfoldings: Mapping[str, Unfolding] | None = None,
    *,
    tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
) -> Ranks:
    """The same of weights without a model, such as those of a file.

    Args:
        weights: name -> tensor, at least one.
        unfoldings: how each is read; as [first dimension, all others] unless it is there.
        tolerance: see `ranks`.

    Raises:
        InvalidValue: if there is no weight, or one has no elements.
        NotFinite: see `ranks`.
    """
    if not isinstance(tolerance, Tolerance):  # pyright: ignore[reportUnnecessaryIsInstance]
        fix = "write tolerance=bb.lowrank.Tolerance(absolute=1e-3)"
        raise InvalidValue(f"tolerance is {shown(tolerance)}", "it holds three cuts", fix)
    if not isinstance(weights, Mapping) or not all(isinstance(weight, Tensor) for weight in weights.values()):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"weights is {shown(weights)}", "it maps names to tensors", 'write {"fc.weight": tensor}')
    if not weights:
        raise InvalidValue("there is no weight", "a rank is that of a weight", "give at least one")
    known = unfoldings or {}
    return Ranks(
        tuple(_layer_rank(name, weight, known.get(name, Unfolding()), tolerance) for name, weight in weights.items())
    )


def matrix_text(layer: LayerRank) -> str:
    """Text such as 300x784; of grouped convolutions 4 of 16x36."""
    size = f"{layer.rows // layer.groups}x{layer.columns // layer.groups}"
    return f"{layer.groups} of {size}" if layer.groups > 1 else size


def _layer_rank(name: str, weight: Tensor, unfolding: Unfolding, tolerance: Tolerance) -> LayerRank:
    matrices = unfolding.matrices(_whole(name, weight))
    groups, rows, columns = matrices.shape
    return LayerRank(
        weight=name,
        shape=tuple(weight.shape),
        rows=groups * rows,
        columns=groups * columns,
        groups=groups,
        precision=min(torch.finfo(weight.dtype).eps, torch.finfo(torch.float32).eps),
        tolerance=tolerance,
        spectrum=tuple(torch.linalg.svdvals(matrices).flatten().sort(descending=True).values.tolist()),
    )


def _whole(name: str, weight: Tensor) -> Tensor:
    """The weight on the CPU, in double precision: other devices may not have it.

    Raises:
        InvalidValue, NotFinite: if it has no singular values.
    """
    if not weight.numel():
        value = f"{name!r} has the shape {tuple(weight.shape)}"
        raise InvalidValue(value, "a matrix without elements has no singular values", "leave it out by prunable=")
    if not weight.is_floating_point() and not weight.is_complex():
        raise InvalidValue(f"{name!r} is {weight.dtype}", "ranks are of floating point numbers", "leave it out")
    whole = weight.detach().cpu().to_dense().to(torch.complex128 if weight.is_complex() else torch.float64)
    if not whole.isfinite().all():
        what = "NaN" if whole.isnan().any() else "an infinite number"
        raise NotFinite(f"{name!r} holds {what}", "such a matrix has no singular values", "look for where it came from")
    return whole


def _line(numbers: Mapping[str, float]) -> str:
    counts = "".join(
        f"{numbers[name]:>{width}d}"
        for name, width in (("full", 7), ("numerical", 11), ("absolute", 10), ("relative", 10), ("energy", 8))
    )
    return f"{counts}{numbers['stable']:9.1f}{numbers['effective']:11.1f}"
