"""The plain form: the state_dict in a safetensors file, which any reader of such files reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from budbreak.compaction import CompactionPlan
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.layout import Entry, dtype_name, write_entries
from budbreak.exporting.loading import outputs_of_file
from budbreak.exporting.nonlinearities import nonlinearity_notes, nonlinearity_remark
from budbreak.exporting.plans import plan_notes
from budbreak.exporting.rounding import (
    HALVES,
    Rounding,
    check_tolerance,
    check_values,
    round_values,
    rounded_note,
    stored_as,
)
from budbreak.exporting.shipping import ship
from budbreak.exporting.state import remark, state_of
from budbreak.files import tensor_bytes
from budbreak.graph import Forward

KIND = "state"


@dataclass(frozen=True)
class Safetensors:
    """Every element of the state_dict, zeros too; a tied tensor under each of its names.

    Args:
        plan: of a compact model: it goes into the file, which then loads into an instance of the dense architecture.
        values: "float16" or "bfloat16": wider floating numbers are rounded to that; they stay as they are unless given.
        tolerance: of a file with such values; see `Rounding`.
    """

    plan: CompactionPlan | None = field(default=None, hash=False)
    values: str | None = None
    tolerance: float | None = None
    suffix: ClassVar[str] = ".safetensors"

    def __post_init__(self) -> None:
        """Refuse what the file cannot hold."""
        check_values(self.values, tuple(HALVES), "a safetensors file")
        check_tolerance(self.tolerance)

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of an instance into which the file was loaded."""
        return ship(
            "safetensors", model, path, example=example, forward=forward, write=self._write,
            run=lambda model, path: outputs_of_file(path, model, example, forward),
            rounding=None if self.values is None else Rounding(self.values, self.tolerance),
        )  # fmt: skip

    def _write(self, model: nn.Module, path: Path) -> tuple[str, ...]:
        state = state_of(model)
        if self.values is not None:
            round_values(state, self.values)
        stored = {name: stored_as(tensor, self.values) for name, tensor in state.items()}
        entries = {
            name: Entry(dtype_name(name, tensor), tuple(tensor.shape), (tensor_bytes(tensor),))
            for name, tensor in stored.items()
        }
        notes = {**rounded_note(self.values), **plan_notes(self.plan, state), **nonlinearity_notes(model)}
        write_entries(path, entries, {"kind": KIND, **notes})
        return (*nonlinearity_remark(model), *remark(model))
