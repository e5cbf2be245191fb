"""Runtimes that round: networks in 8 bits or bfloat16, opened from the float32 files that lie there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from budbreak.exporting.artifact import Agreement
from budbreak.exporting.exporter import Exporter
from budbreak.exporting.exporting import chosen
from budbreak.exporting.openvino_file import save_network
from budbreak.exporting.openvino_int8 import read_quantized
from budbreak.exporting.quantizing import quantize
from budbreak.exporting.rounding import Rounding
from budbreak.exporting.running import Runner, eager, opened
from budbreak.exporting.runtimes import runtime

ROUNDED_TO: Mapping[str, str] = {"onnx-int8": "int8", "openvino-int8": "int8", "openvino-bf16": "bfloat16"}
"""Runtime -> what it rounds to."""
LOW_BITS: Mapping[str, tuple[str, ...]] = {
    "onnx-int8": ("onnx",), "openvino-int8": ("onnx", "openvino"), "openvino-bf16": ("openvino",),
}  # fmt: skip
"""Runtime -> those of float32 that must be there."""


@dataclass(frozen=True, eq=False)
class LowBits:
    """That networks are run in low bits, too: who asks for it accepts other outputs.

    Args:
        calibrate: a batch of training samples, for the ranges of 8 bits.
        tolerance: see `Rounding`.
    """

    calibrate: Tensor = field(repr=False)
    tolerance: float | None = None

    def runner_of(self, form: str, model: nn.Module, example: Tensor, path: Path) -> tuple[Runner, int]:
        """A network in such a runtime, and the bytes of its files.

        Args:
            form: one of `LOW_BITS`.
            model: the network.
            example: on which outputs are compared with the network's.
            path: of its float32 files, without the ending.

        Raises:
            BudbreakError: if it cannot be quantized, or its outputs are too far from the network's.
        """
        file = self._file(form, path)
        run = opened(form, file, torch.get_num_threads())
        expected, given = [eager(model)(example)], [run(example)]
        Rounding(ROUNDED_TO[form], self.tolerance).note(form, expected, Agreement.between(expected, given))
        beside = file.with_suffix(".bin")
        return run, file.stat().st_size + (beside.stat().st_size if file.suffix == ".xml" else 0)

    def _file(self, form: str, path: Path) -> Path:
        if form == "openvino-bf16":
            return path.with_suffix(".xml")
        quantized = path.with_suffix(".int8.onnx")
        if not quantized.exists():
            name = _input_name(path.with_suffix(".onnx"))
            quantize(path.with_suffix(".onnx"), quantized, {name: self.calibrate})
        if form == "onnx-int8":
            return quantized
        save_network(read_quantized(quantized), path.with_suffix(".int8.xml"))
        return path.with_suffix(".int8.xml")


def configured(
    form: str, *, values: str | None = None, tolerance: float | None = None, calibrate: Tensor | None = None
) -> Exporter:
    """The exporter of a name, told those of these that it takes.

    Args:
        form: short name.
        values: what it stores floating numbers as.
        tolerance: see `Rounding`; for what rounds.
        calibrate: a batch of training samples.

    Raises:
        UnknownName: for a form that there is not.
        InvalidValue: for values that it does not store.
    """
    exporter = chosen(form)
    told = {"values": values, "tolerance": tolerance, "calibrate": calibrate}
    known = {one.name for one in dataclasses.fields(exporter)}  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(exporter, **{name: value for name, value in told.items() if name in known})  # pyright: ignore[reportArgumentType, reportUnknownVariableType, reportCallIssue]


def takes(form: str, setting: str) -> bool:
    """Whether the exporter of a name has such a setting.

    Raises:
        UnknownName: for a form that there is not.
    """
    return any(one.name == setting for one in dataclasses.fields(chosen(form)))  # pyright: ignore[reportArgumentType]


def _input_name(path: Path) -> str:
    return str(
        runtime("onnxruntime", "onnx").InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    )
