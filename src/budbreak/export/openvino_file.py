"""OpenVINO: a network (.xml) with its weights beside it (.bin), for processors of Intel, ARM and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue
from budbreak.export.artifact import Artifact
from budbreak.export.program import Program
from budbreak.export.program_shipping import ship_program
from budbreak.export.quiet import quiet
from budbreak.export.runtimes import runtime
from budbreak.foreign import described
from budbreak.graph import Forward

_EXTRA = "openvino"
EXACT: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
"""Computed as the network computes: else OpenVINO takes bfloat16 where the processor has it."""


@dataclass(frozen=True)
class OpenVINO:
    """The baked network, checked by OpenVINO in float32; weights keep their dtype.

    Args:
        static_batch: whether it takes batches of the example's size alone; else of any size.
        half: whether weights are stored as float16, and the file is half as large. Outputs differ by what that rounds,
            and are refused where it is more than rounding in float32 may do.
    """

    static_batch: bool = False
    half: bool = False
    suffix: ClassVar[str] = ".xml"

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of OpenVINO, on the CPU, in float32."""
        runtime("openvino", _EXTRA)
        return ship_program(
            "openvino", model, path, example=example, forward=forward, static_batch=self.static_batch,
            write=lambda program, aside: write_openvino(program, aside, half=self.half),
            run=lambda program, aside, example: run_openvino(aside, program.numbers(example)),
        )  # fmt: skip


def write_openvino(program: Program, path: Path, *, half: bool = False) -> None:
    """Write a program.

    Raises:
        InvalidValue: for what OpenVINO cannot express.
    """
    openvino: Any = runtime("openvino", _EXTRA)
    try:
        with quiet():
            network = openvino.convert_model(program.exported)
            _name(openvino, network, program)
            openvino.save_model(network, path, compress_to_fp16=half)
    except Exception as error:
        raise InvalidValue(
            f"{program.name} cannot be written for OpenVINO: {described(error)}",
            "such a file holds what OpenVINO has operators for",
            "write it with other functions of torch, or use to='onnx' or to='torch'",
        ) from error


def run_openvino(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What OpenVINO gives, on one thread of the CPU, in float32."""
    openvino: Any = runtime("openvino", _EXTRA)
    compiled = openvino.Core().compile_model(path, "CPU", EXACT)
    known = {name for one in compiled.inputs for name in one.get_names()}
    given = {name: tensor.detach().cpu().numpy() for name, tensor in inputs.items() if name in known}
    found = compiled(given)
    return [torch.from_numpy(found[one].copy()) for one in compiled.outputs]


def _name(openvino: Any, network: Any, program: Program) -> None:
    """Inputs and outputs by their names, and in their shapes: of which only the batch may be free."""
    for one, name in zip(network.inputs, program.inputs, strict=True):
        one.set_names({name})
    for one, name in zip(network.outputs, program.outputs, strict=True):
        one.set_names({name})
    shapes = {name: _shape(tensor, program) for name, tensor in program.numbers(program.example).items()}
    network.reshape({name: openvino.PartialShape(shape) for name, shape in shapes.items()})


def _shape(tensor: Tensor, program: Program) -> list[int]:
    """Its sizes; -1 where they are free."""
    sizes = list(tensor.shape)
    samples = next(len(one) for one in program.numbers(program.example).values() if one.dim())
    return [-1, *sizes[1:]] if program.free and sizes and sizes[0] == samples else sizes
