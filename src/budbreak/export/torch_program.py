"""A PyTorch program: `torch.export.load(path).module()` runs it, without budbreak."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from budbreak.export.artifact import Artifact
from budbreak.export.baking import bake
from budbreak.export.program import check_batch, export_program, other_batch, run_program
from budbreak.export.quiet import quiet
from budbreak.export.shipping import ship
from budbreak.graph import Forward


@dataclass(frozen=True)
class TorchProgram:
    """The baked network as calls of aten with its weights, in one file.

    Args:
        static_batch: whether it takes batches of the example's size alone; else of any size.
    """

    static_batch: bool = False
    suffix: ClassVar[str] = ".pt2"

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of the file, loaded again."""

        def write(own: nn.Module, aside: Path) -> None:
            baked = bake(own, example, forward=forward).model
            program = export_program(baked, example, forward, static_batch=self.static_batch)
            _save(program.exported, aside)
            if program.free:
                other, expected = other_batch(program, baked, forward)
                check_batch("the torch file", expected, lambda: _run(aside, other, alone=forward is not None))

        return ship(
            "torch", model, path, example=example, forward=forward, write=write,
            run=lambda _, aside: _run(aside, example, alone=forward is not None),
        )  # fmt: skip


def _save(exported: torch.export.ExportedProgram, path: Path) -> None:
    """Without what tells of the machine that wrote it: lines of code, and the example."""
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)
    exported.example_inputs = None
    with quiet():
        torch.export.save(exported, path)


def _run(path: Path, example: Any, *, alone: bool) -> list[Tensor]:
    with quiet():
        return run_program(torch.export.load(path), example, alone=alone)
