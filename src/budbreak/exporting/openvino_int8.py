"""OpenVINO in 8 bits: what ONNX Runtime quantized, as OpenVINO computes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from torch import nn

from budbreak.errors import InvalidValue
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.onnx_int8 import write_int8
from budbreak.exporting.openvino_file import name_tensors, run_openvino, save_network
from budbreak.exporting.program import Program
from budbreak.exporting.program_shipping import ship_program
from budbreak.exporting.quiet import quiet
from budbreak.exporting.rounding import Rounding, check_tolerance
from budbreak.exporting.runtimes import openvino_core, runtime
from budbreak.graph import Forward


@dataclass(frozen=True)
class OpenVINOInt8:
    """The baked network in 8 bits, quantized by ONNX Runtime (of the extra onnx), and checked by OpenVINO.

    Args:
        calibrate: the calibration set: one batch, like the example, of some hundred training samples; the ranges of
            what enters layers are those seen on it.
        tolerance: see `Rounding`.
        static_batch: see `OpenVINO`.
    """

    calibrate: Any = field(default=None, compare=False, repr=False)
    tolerance: float | None = None
    static_batch: bool = False
    suffix: ClassVar[str] = ".int8.xml"

    def __post_init__(self) -> None:
        """Refuse a tolerance that is none."""
        check_tolerance(self.tolerance)

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of OpenVINO, on the CPU."""
        runtime("openvino", "openvino")
        for name in ("onnx", "onnxscript", "onnxruntime"):
            runtime(name, "onnx")
        if self.calibrate is None:
            raise InvalidValue(
                "no calibration set is given",
                "OpenVINO computes in 8 bits where ranges are known beforehand, from one",
                "write to=OpenVINOInt8(calibrate=batch), of some hundred training samples",
            )
        return ship_program(
            "openvino-int8", model, path, example=example, forward=forward, static_batch=self.static_batch,
            write=self._write,
            run=lambda program, aside, example: run_openvino(aside, program.numbers(example)),
            rounding=Rounding("int8", self.tolerance),
        )  # fmt: skip

    def _write(self, program: Program, path: Path) -> tuple[str, ...]:
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            source = Path(folder) / "network.onnx"
            notes = write_int8(program, source, self.calibrate)
            network = read_quantized(source)
            name_tensors(network, program)
            save_network(network, path)
        return notes


def read_quantized(source: Path) -> Any:
    """An ONNX network in 8 bits, as OpenVINO has it."""
    with quiet():
        return openvino_core().read_model(source)
