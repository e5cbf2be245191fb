"""A compact model, with all that is to be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.compaction.choosing import Left
from budbreak.compaction.gains import Cost, Gains, measure_gains
from budbreak.compaction.on_data import OnData
from budbreak.compaction.plan import CompactionPlan
from budbreak.compaction.storing import save_compact
from budbreak.graph import Forward


@dataclass(frozen=True, eq=False)
class Compacted:
    """What `compact` gives.

    Args:
        model: the smaller one.
        plan: which units stay, for any other instance of the architecture.
        difference: the largest difference of an output on the example.
        before, after: what the dense and the smaller one hold and compute.
        left: what stays although it is dead, or cannot shrink, and why.
        on_data: of one whose units are dead on a calibration set: how large that was, and the difference on it.
    """

    model: nn.Module = field(repr=False)
    plan: CompactionPlan = field(repr=False)
    difference: float
    before: Cost
    after: Cost
    left: tuple[Left, ...] = ()
    on_data: OnData | None = None

    def __str__(self) -> str:
        """Parameters and MACs before and after, the difference, and a line for each thing left."""
        lines = [
            f"parameters {self.before.parameters:,d} -> {self.after.parameters:,d}, "
            f"MACs of the example {self.before.macs:,d} -> {self.after.macs:,d}",
            f"largest difference of an output on the example: {self.difference:.3g}",
        ]
        lines += [] if self.on_data is None else [str(self.on_data)]
        return "\n".join([*lines, *map(str, self.left)])

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and plan (JSON) to a folder, each atomically; `load_compact` reads them.

        Raises:
            CannotWrite: on a full disk or a forbidden folder.
        """
        save_compact(self.model, self.plan, Path(folder))

    def gains(
        self, dense: nn.Module, example: Any, *, forward: Forward | None = None, batches: Sequence[int] = (1, 64)
    ) -> Gains:
        """Measure what it bought; see `measure_gains`."""
        return measure_gains(dense, self.model, example, forward=forward, batches=batches)
