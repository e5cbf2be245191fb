"""What every exporter does around its own format: copy, write aside, verify, move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import check_model
from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.exporting.artifact import Agreement, Artifact, Written
from budbreak.exporting.rounding import Rounding
from budbreak.files import staging
from budbreak.graph import Forward, check_finite_outputs, example_outputs, too_far
from budbreak.masks import copied, unwrap

Write = Callable[[nn.Module, Path], Sequence[str]]
"""Writes a copy of the model, in eval mode, to a path, other files beside it; gives notes for the `Artifact`."""

Run = Callable[[nn.Module, Path], Sequence[Tensor]]
"""The outputs, on the example, of what was written; the copy of the model is given, too."""


def ship(
    name: str,
    model: nn.Module,
    path: Path,
    *,
    example: Any,
    forward: Forward | None,
    write: Write,
    run: Run,
    tolerance: float | None = None,
    rounding: Rounding | None = None,
) -> Artifact:
    """Write a model in one format, verified; see `Exporter` for what is raised.

    Args:
        name: of the format.
        model: see `Exporter`.
        path: see `Exporter`.
        example: see `Exporter`.
        forward: see `Exporter`.
        write: the format itself.
        run: what is on disk, run.
        tolerance: the largest difference of an output that is accepted; unless given the root of the output's
            precision (3e-4 in float32) times its largest value.
        rounding: of a format that rounds on purpose, which says what is accepted in place of ``tolerance``.
    """
    check_model(model)
    own = copied(unwrap(model)).eval()
    expected = check_finite_outputs(example_outputs(own, example, forward))
    _check_tells(own, expected)
    with staging(path) as aside:
        notes = tuple(write(own, aside))
        agreement = _verified(name, expected, run(own, aside), math.inf if rounding is not None else tolerance)
        notes += () if rounding is None else (rounding.note(name, expected, agreement),)
        # measured before they move: what is on disk afterwards is what was verified
        files = [Written.of(one) for one in sorted(aside.parent.iterdir(), key=lambda one: one.name != aside.name)]
    placed = [Written(path.parent / file.path.name, file.bytes, file.sha256) for file in files]
    return Artifact(name, tuple(placed), agreement, notes)


def _check_tells(model: nn.Module, expected: Sequence[Tensor]) -> None:
    rule = "what is written is verified by its outputs"
    if not expected:
        fix = "give forward=lambda model, batch: ... that gives tensors"
        raise InvalidValue(f"{type(model).__name__} gives no tensor for the example", rule, fix)
    if not any(one.numel() for one in expected):
        value = f"{type(model).__name__} gives no number for the example"
        raise InvalidValue(value, rule, "give a batch of at least one sample")


def _verified(name: str, expected: list[Tensor], given: Sequence[Tensor], tolerance: float | None) -> Agreement:
    again = [tensor.to(one.device) for one, tensor in zip(expected, given, strict=False)]
    if len(again) != len(expected) or len(given) != len(expected):
        raise InvariantBroken(
            f"the {name} file gives {len(given)} outputs, and the model {len(expected)}",
            "what is written gives what the model gives",
            "give forward=lambda model, batch: ... that gives tensors alone",
        )
    shapes = [[tuple(one.shape) for one in outputs] for outputs in (again, expected)]
    if shapes[0] != shapes[1]:
        raise InvariantBroken(
            f"the {name} file gives outputs of shapes {shapes[0]}, and the model of {shapes[1]}",
            "what is written gives what the model gives; nothing was left on disk",
            "if they are complex: forward=lambda model, batch: torch.view_as_real(model(batch)), or to='torch'",
        )
    if trouble := too_far(expected, again, tolerance):
        fix = "does the model draw at random in eval mode, or does its result depend on more than its inputs?"
        if any(one.dtype == torch.float64 for one in expected):
            fix = f"{name} may compute in float32: export model.float(), or use another form; or {fix}"
        rule = "what is written gives what the model gives; nothing was left on disk"
        raise InvariantBroken(f"the {name} file gives other outputs: {trouble}", rule, fix)
    return Agreement.between(expected, again)
