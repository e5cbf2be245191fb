"""The networks that may leave in place of one: itself, compacted, as factors, with sparse rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from budbreak.compaction import Compacted, compact, sized
from budbreak.errors import BudbreakError
from budbreak.exporting.side_by_side import AS_IS, COMPACT
from budbreak.exporting.sparsifying import Measure, sparsify
from budbreak.lowrank import factorize, rank_within

SPARSE_ROWS = "sparse rows"
EVEN = "compact, even widths"
WIDTH = 16
"""Widths are multiples of it in a candidate with convolutions: ONNX Runtime computes these in such blocks."""
NOTHING_CUT = "compaction cuts nothing here: no unit is dead"
SHARES = (2, 4, 8)
"""Factors hold the n-th part of the weights that they stand for."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What may leave.

    Args:
        networks: name -> network, to be measured.
        compacted: what compaction gave, with its plan; None if it was refused.
        notes: which were left out, and why.
        even: compacted to widths in multiples of `WIDTH`; None where there is none.
    """

    networks: Mapping[str, nn.Module] = field(repr=False)
    compacted: Compacted | None = field(repr=False)
    notes: tuple[str, ...] = ()
    even: Compacted | None = field(default=None, repr=False)

    def leaving(self, name: str) -> nn.Module | Compacted:
        """What is written of one: sparse rows are those of the compact network, and made again where it is loaded."""
        if name in (COMPACT, SPARSE_ROWS) and self.compacted is not None:
            return self.compacted
        if name == EVEN and self.even is not None:
            return self.even
        return self.networks[AS_IS if name == SPARSE_ROWS else name]


def candidates_of(model: nn.Module, example: Tensor, *, batch: int = 1, meter: Measure | None = None) -> Candidates:
    """The network as it is; compacted; and of the compact one factors of fewer weights, and sparse rows.

    With convolutions also compacted to widths that are multiples of `WIDTH`.

    Args:
        model: whose pruned weights are zeros.
        example: a batch of inputs.
        batch: how many samples at once sparse rows are chosen for.
        meter: by which; see `sparsify`.
    """
    found: dict[str, nn.Module] = {AS_IS: model}
    notes: list[str] = []

    def add(name: str, make: Callable[[], nn.Module | None]) -> None:
        try:
            network = make()
        except BudbreakError as error:
            notes.append(f"no {name}: {error.value}")
            return
        if network is None:
            notes.append(f"no {name}: no layer gains by it")
        else:
            found[name] = network

    compacted: Compacted | None = None
    try:
        compacted = compact(model, example)
        if is_smaller(compacted.model, model):
            found[COMPACT] = compacted.model
        else:
            notes.append(NOTHING_CUT)
    except BudbreakError as error:
        notes.append(f"no {COMPACT}: {error.value}")
    small = found.get(COMPACT, model)
    even: Compacted | None = None
    if COMPACT in found and any(isinstance(layer, nn.Conv2d) for layer in model.modules()):
        even = compact(model, example, multiple=WIDTH)
        if is_smaller(small, even.model):
            found[EVEN] = even.model
    add(SPARSE_ROWS, lambda: _sparse(small, sized(example, batch), meter))
    for part in SHARES:
        add(f"factors 1/{part}", lambda part=part: _factors(small, part, example))
    return Candidates(found, compacted, tuple(notes), even)


def is_smaller(compacted: nn.Module, model: nn.Module) -> bool:
    """Whether compaction cut anything."""
    return sum(one.numel() for one in compacted.parameters()) < sum(one.numel() for one in model.parameters())


def _sparse(model: nn.Module, batch: Tensor, meter: Measure | None) -> nn.Module | None:
    found = sparsify(model, batch, meter=meter)
    return found.model if any(not layer.why for layer in found.layers) else None


def _factors(model: nn.Module, part: int, example: Tensor) -> nn.Module | None:
    """Each layer that has enough weights as two thinner ones; None where none has."""
    ranks: dict[str, int] = {}
    for name, layer in model.named_modules():
        if type(layer) in (nn.Linear, nn.Conv2d) and getattr(layer, "groups", 1) == 1:
            weight: Tensor = layer.weight  # pyright: ignore[reportAssignmentType]
            rows, columns = len(weight), weight.numel() // len(weight)
            if weight.numel() // part >= rows + columns:
                ranks[f"{name}.weight".lstrip(".")] = rank_within(rows, columns, weight.numel() // part)
    return factorize(model, ranks, example=example) if ranks else None
