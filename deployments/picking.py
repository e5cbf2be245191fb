"""What cells say: which forms hold the floor, what they gain over the dense network, and whether a goal is met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budbreak.exporting import AS_IS, COMPACT, DENSE, SPARSE_ROWS, TORCH
from deployments.cases import Goals
from deployments.cells import Cell, Form
from deployments.measuring import MAX_DROP, packed

_EVEN = 1e-9  # qualities are shares of counts: their differences round
BOUND, CHOOSER = 1.1, 1.1
"""How many times the entropy bound a packed file may have; how many times the best form's time the chooser's."""
AT = (0.9, 0.95)
"""Sparsities at which packed files have a goal."""


@dataclass(frozen=True)
class Pick:
    """The fastest form that holds the floor at batch 1, of all cells of a study, in a runtime.

    Args:
        cell, form: it; dense: the dense network in the same runtime, of the same measurement.
    """

    cell: Cell
    form: Form
    dense: Form

    @property
    def faster(self) -> float:
        """Time of the dense one / its time."""
        return faster(self.form, self.dense, 1)

    @property
    def smaller(self) -> float:
        """Bytes of the dense file / of its file: for torch of the safetensors that it leaves in."""
        if self.form.runtime != TORCH:
            return self.dense.bytes / self.form.bytes
        return self.cell.files[DENSE] / file_of(self.cell, self.form)

    @property
    def lost(self) -> float | None:
        """Quality on the test data that is lost beside the dense one; negative where it is gained."""
        return (
            None if self.form.quality is None or self.dense.quality is None else self.dense.quality - self.form.quality
        )

    @property
    def is_gain(self) -> bool:
        """Whether it is faster by more than the spread of both."""
        return self.form.at(1).is_under(self.dense.at(1))

    def verdict(self, goals: Goals) -> str:
        """Of the goals that there are; without, whether there is a gain."""
        missed = [
            word
            for word, bound, value in (("smaller", goals.smaller, self.smaller), ("faster", goals.faster, self.faster))
            if bound is not None and value < bound
        ]
        if self.lost is not None and self.lost > MAX_DROP + _EVEN:
            missed.append("equal on the test data")
        if missed:
            return f"missed: not {' nor '.join(missed)} enough" if missed[0] != "equal on the test data" else _WORSE
        if goals.smaller is None and goals.faster is None:
            return "a gain" if self.is_gain else "no gain beyond the spread"
        return "met" if self.lost is not None else "size and speed reached; accuracy not measured"


_WORSE = "missed: it loses more than half a point on the test data"


def file_of(cell: Cell, form: Form) -> int:
    """Bytes of the file in which a form leaves for torch; factors leave as plain state."""
    network = COMPACT if form.network == SPARSE_ROWS else form.network
    return cell.files.get(packed(network), cell.files[packed(AS_IS)] if network in (AS_IS, COMPACT) else form.bytes)


def faster(form: Form, dense: Form, batch: int) -> float:
    """How many times as long the dense one takes."""
    return dense.at(batch).median / form.at(batch).median


def holding(cell: Cell) -> list[Form]:
    """The pruned forms that hold the floor in validation; without one, those that compute what the pruned one does."""
    own, floor = [one for one in cell.forms if one.network != DENSE], cell.floor
    if floor is None:
        return [one for one in own if one.network in (AS_IS, COMPACT, SPARSE_ROWS)]
    return [one for one in own if (one.validation or 0.0) >= floor - _EVEN]


def picked(cells: Iterable[Cell], runtime: str) -> Pick | None:
    """Of all cells that which gains most at batch 1; None if none holds the floor."""
    picks = [
        Pick(cell, form, dense)
        for cell in cells
        if (dense := cell.form(DENSE, runtime)) is not None
        for form in holding(cell)
        if form.runtime == runtime
    ]
    return max(picks, key=lambda one: one.faster, default=None)


def over_bound(cell: Cell, network: str) -> float | None:
    """Bytes of the packed file of a network / its entropy bound."""
    name = packed(network)
    return cell.files[name] / cell.bounds[name] if name in cell.bounds else None


def is_at_goal(cell: Cell) -> bool:
    """Whether it has a sparsity at which packed files have a goal."""
    return any(abs(cell.sparsity - at) < 0.005 for at in AT)


def chooser_over_best(cell: Cell) -> float | None:
    """Time of what the chooser chose / of the fastest form that holds the floor, both of the second measurement.

    None if it chose nothing, or nothing holds the floor.
    """
    form = next((one for one in cell.forms if one.key == cell.chosen), None)
    rest = holding(cell)
    if form is None or not rest:
        return None
    return form.at(1).median / min(one.at(1).median for one in rest)


def gains(cells: Sequence[Cell], network: str, batch: int) -> tuple[int, int]:
    """In how many of the cells and runtimes a network is faster than the dense one beyond the spread; of how many."""
    pairs = [
        (form, dense)
        for cell in cells
        for form in cell.forms
        if form.network == network and (dense := cell.form(DENSE, form.runtime)) is not None
    ]
    return sum(form.at(batch).is_under(dense.at(batch)) for form, dense in pairs), len(pairs)
