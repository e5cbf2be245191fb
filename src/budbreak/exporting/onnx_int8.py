"""ONNX in 8 bits: weights and what enters layers, for ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from torch import nn

from budbreak.errors import InvalidValue
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.onnx_file import run_onnx, write_onnx
from budbreak.exporting.program import Program
from budbreak.exporting.program_shipping import ship_program
from budbreak.exporting.quantizing import Feed, quantize
from budbreak.exporting.rounding import Rounding, check_tolerance
from budbreak.exporting.runtimes import runtime
from budbreak.graph import Forward, count_samples, tensors_of, to_device

_EXTRA = "onnx"


@dataclass(frozen=True)
class OnnxInt8:
    """The baked network in 8 bits, quantized by ONNX Runtime and checked by it.

    Args:
        calibrate: the calibration set: one batch, like the example, of some hundred training samples; the ranges of
            what enters layers are those seen on it. Unless given they are those of each batch, which is for networks
            without convolutions, and makes what is given for a sample depend on the others.
        tolerance: see `Rounding`.
        static_batch: see `Onnx`.
    """

    calibrate: Any = field(default=None, compare=False, repr=False)
    tolerance: float | None = None
    static_batch: bool = False
    suffix: ClassVar[str] = ".int8.onnx"

    def __post_init__(self) -> None:
        """Refuse a tolerance that is none."""
        check_tolerance(self.tolerance)

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of ONNX Runtime, on the CPU."""
        for name in ("onnx", "onnxscript", "onnxruntime"):
            runtime(name, _EXTRA)
        return ship_program(
            "onnx-int8", model, path, example=example, forward=forward, static_batch=self.static_batch,
            write=lambda program, aside: write_int8(program, aside, self.calibrate),
            run=lambda program, aside, example: run_onnx(aside, program.numbers(example)),
            rounding=Rounding("int8", self.tolerance),
        )  # fmt: skip


def write_int8(program: Program, path: Path, calibrate: Any) -> tuple[str, ...]:
    """Write a program as ONNX in 8 bits; gives what should be known of it.

    Args:
        program: the network.
        path: of the file.
        calibrate: the calibration set, or None.

    Raises:
        InvalidValue: for a call that ONNX cannot express, and what cannot be quantized.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "network.onnx"
        write_onnx(program, source)
        feed = None if calibrate is None else feed_of(program, calibrate)
        at_once = {} if program.free else {"at_once": count_samples(program.example)}
        quantize(source, path, feed, **at_once)
    if calibrate is None:
        return ("ranges of what enters layers are those of each batch",)
    return (f"calibrated on {count_samples(calibrate)} samples",)


def feed_of(program: Program, calibrate: Any) -> Feed:
    """A calibration set by the names of the inputs that the network uses.

    Raises:
        InvalidValue: if its samples have other shapes than the example's.
    """
    if [one.shape[1:] for one in tensors_of(calibrate)] != [one.shape[1:] for one in tensors_of(program.example)]:
        raise InvalidValue(
            f"calibrate holds {[tuple(one.shape) for one in tensors_of(calibrate)]}",
            f"it is a batch like the example, {[tuple(one.shape) for one in tensors_of(program.example)]}",
            "give training samples, prepared as the example is",
        )
    used = {node.name for node in program.exported.graph.nodes if node.op == "placeholder" and node.users}
    given = program.numbers(to_device(calibrate, torch.device("cpu")))
    named = zip(program.inputs, program.exported.graph_signature.user_inputs, strict=True)
    return {name: given[name] for name, own in named if own in used}
