"""What the formats that start from a graph of calls do alike: bake, export, write, and run what was written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.baking import Baked, bake
from budbreak.exporting.program import Program, export_program
from budbreak.exporting.quiet import quiet
from budbreak.exporting.rounding import Rounding
from budbreak.exporting.shipping import ship
from budbreak.foreign import call_foreign, described
from budbreak.graph import Forward, example_outputs, to_device, too_far

_CPU = torch.device("cpu")

WriteProgram = Callable[[Program, Path], Sequence[str] | None]
"""Writes a program to a path, other files beside it; may give notes."""

RunProgram = Callable[[Program, Path, Any], Sequence[Tensor]]
"""What lies at the path, run on an example of any batch size that it takes."""


def ship_program(
    name: str,
    model: nn.Module,
    path: Path,
    *,
    example: Any,
    forward: Forward | None,
    static_batch: bool,
    write: WriteProgram,
    run: RunProgram,
    rounding: Rounding | None = None,
) -> Artifact:
    """Bake a model, write it as one graph of calls, and verify it: on the example and, where any is free, a batch of 1.

    Args:
        name: of the format.
        model: see `Exporter`.
        path: see `Exporter`.
        example: see `Exporter`.
        forward: see `Exporter`.
        static_batch: whether batches have the size of the example's.
        write: the format itself.
        run: what is on disk, run.
        rounding: see `ship`.
    """
    if not isinstance(static_batch, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"static_batch is {shown(static_batch)}", "it is True or False", "write static_batch=True")
    program: list[Program] = []
    limit = None if rounding is None else math.inf  # of a single sample; what is rounded is judged on all of them

    def write_it(own: nn.Module, aside: Path) -> Sequence[str]:
        with quiet():  # torch warns of gradients of scripted copies
            own.cpu()
        baked = bake(own, example, forward=forward)
        program.append(export_program(baked.model, example, forward, static_batch=static_batch))
        more = write(program[0], aside)
        return [*_notes(baked, program[0]), *(more or ())]

    def run_it(own: nn.Module, aside: Path) -> Sequence[Tensor]:
        given = _run(name, lambda: run(program[0], aside, to_device(example, _CPU)))
        if program[0].free and not _trouble(own, example, forward, lambda: given, limit):  # else it is refused anyway
            one = program[0].of_one()
            _check_batch(name, _trouble(own, one, forward, lambda: run(program[0], aside, one), limit))
        return given

    return ship(name, model, path, example=example, forward=forward, write=write_it, run=run_it, rounding=rounding)


def _run(name: str, run: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
    rule = "what is written is run, and gives what the model gives"
    return call_foreign(f"running the {name} file", run, rule=rule, fix="use to='torch', or model.float()")


def _trouble(
    own: nn.Module, example: Any, forward: Forward | None, run: Callable[[], Sequence[Tensor]], limit: float | None
) -> str:
    """What is wrong with what a file gives, in words; "" if nothing is."""
    try:
        return too_far(example_outputs(own, example, forward), list(run()), limit)
    except Exception as error:
        return described(error)


def _check_batch(name: str, trouble: str) -> None:
    """Refuse a file that does not take a batch of a size that the export did not see, or gives something else."""
    if trouble:
        raise InvalidValue(
            f"the {name} file does not take a batch of 1: {trouble}",
            "batches of any size are wanted, and this one was tried",
            "export with static_batch=True, and an example of the size that will be used",
        )


def _notes(baked: Baked, program: Program) -> list[str]:
    counts = Counter(line.partition(" ")[0] for line in baked.folded)
    folded = ", ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items())
    size = "of any size" if program.free else "of the example's size alone"
    notes = [f"takes batches {size}: {', '.join(program.inputs)} -> {', '.join(program.outputs)}"]
    notes += [f"folded into layers: {folded}"] if folded else []
    return notes + [f"BatchNorm that no layer could take over: {', '.join(baked.left)}"] * bool(baked.left)
