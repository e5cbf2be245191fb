"""A PyTorch program: `torch.export.load(path).module()` runs it, without budbreak."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from budbreak.exporting.artifact import Artifact
from budbreak.exporting.program import Program
from budbreak.exporting.program_shipping import ship_program
from budbreak.exporting.quiet import quiet
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
        return ship_program(
            "torch", model, path, example=example, forward=forward, static_batch=self.static_batch,
            write=_write, run=_run,
        )  # fmt: skip


def _write(program: Program, path: Path) -> None:
    """Without what tells of the machine that wrote it: lines of code, and the example."""
    for node in program.exported.graph.nodes:
        node.meta.pop("stack_trace", None)
    program.exported.example_inputs = None
    whole = io.BytesIO()  # on a full disk, torch's own writer ends the process
    with quiet():
        torch.export.save(program.exported, whole)
    path.write_bytes(whole.getbuffer())


def _run(program: Program, path: Path, example: Any) -> list[Tensor]:
    with quiet():
        return program.run(torch.export.load(path), example)
