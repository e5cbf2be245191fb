"""OpenVINO: a network (.xml) with its weights beside it (.bin), for processors of Intel, ARM and others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from budbreak.errors import InvalidValue
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.program import Program, place_of
from budbreak.exporting.program_shipping import ship_program
from budbreak.exporting.quiet import quiet
from budbreak.exporting.rounding import Rounding, check_tolerance, check_values
from budbreak.exporting.runtimes import as_array, openvino_core, runtime
from budbreak.foreign import described
from budbreak.graph import Forward

_EXTRA = "openvino"
EXACT: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
"""Computed as the network computes: else OpenVINO takes bfloat16 where the processor has it."""


@dataclass(frozen=True)
class OpenVINO:
    """The baked network, checked by OpenVINO in float32.

    Args:
        static_batch: whether it takes batches of the example's size alone; else of any size.
        values: "float16": weights are rounded to that in the file; they keep their dtype unless given.
        tolerance: of a file with such values; see `Rounding`.
    """

    static_batch: bool = False
    values: str | None = None
    tolerance: float | None = None
    suffix: ClassVar[str] = ".xml"

    def __post_init__(self) -> None:
        """Refuse what the file cannot hold."""
        check_values(self.values, ("float16",), "OpenVINO")
        check_tolerance(self.tolerance)

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of OpenVINO, on the CPU, in float32."""
        runtime("openvino", _EXTRA)
        return ship_program(
            "openvino", model, path, example=example, forward=forward, static_batch=self.static_batch,
            write=lambda program, aside: write_openvino(program, aside, half=self.values is not None),
            run=lambda program, aside, example: run_openvino(aside, program.numbers(example)),
            rounding=None if self.values is None else Rounding(self.values, self.tolerance),
        )  # fmt: skip


def write_openvino(program: Program, path: Path, *, half: bool = False) -> None:
    """Write a program; ``half``: with weights in float16.

    Raises:
        InvalidValue: for what OpenVINO cannot express.
    """
    _check_outputs(program)
    try:
        with quiet():
            network = _converted(program.exported)
            name_tensors(network, program)
    except InvalidValue:
        raise
    except Exception as error:
        raise _refusal(program, error) from error
    save_network(network, path, half=half)


def save_network(network: Any, path: Path, *, half: bool = False) -> None:
    """Save what OpenVINO holds; ``half``: with weights in float16.

    Raises:
        OSError: on a full disk, say.
    """
    openvino: Any = runtime("openvino", _EXTRA)
    try:
        openvino.save_model(network, path, compress_to_fp16=half)
    except RuntimeError as error:
        raise OSError(str(error)) from error


def run_openvino(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What OpenVINO gives, on one thread of the CPU, in float32."""
    compiled = openvino_core().compile_model(path, "CPU", EXACT)
    known = {name for one in compiled.inputs for name in one.get_names()}
    given = {name: as_array(name, tensor) for name, tensor in inputs.items() if name in known}
    found = compiled(given)
    return [torch.from_numpy(found[one].copy()) for one in compiled.outputs]


def _converted(exported: torch.export.ExportedProgram) -> Any:
    """As `openvino.convert_model`, but that sends usage data over the network, and writes to the home folder."""
    decoder: Any = runtime("openvino.frontend.pytorch.fx_decoder", _EXTRA)
    frontend: Any = runtime("openvino.frontend", _EXTRA).FrontEndManager().load_by_framework("pytorch")
    graph = decoder.TorchFXPythonDecoder.from_exported_program(exported)  # lives until it is converted
    network = frontend.convert(frontend.load(graph))
    runtime("openvino._offline_transformations", _EXTRA).apply_moc_transformations(network, cf=False)  # as it does
    return network


def _check_outputs(program: Program) -> None:
    """Refuse one tensor in two outputs, of which OpenVINO would only say that a name is no number."""
    given = pytree.tree_leaves(program.exported.graph.output_node().args)
    twice = [name for name, one in zip(program.outputs, given, strict=False) if given.count(one) > 1]
    if twice:
        raise InvalidValue(
            f"{program.name} gives one tensor as {' and as '.join(twice)}",
            "OpenVINO knows outputs by their tensors",
            "give each once: forward=lambda model, batch: ..., or use to='onnx'",
        )


def _refusal(program: Program, error: Exception) -> InvalidValue:
    missing = re.search(r"No conversion rule found for operations: ([\w.]+)", str(error))
    why = f"cannot be written for OpenVINO: {described(error)}"
    if missing is not None:
        why = f"calls {missing.group(1)}{place_of(program, missing.group(1))}, which OpenVINO lacks"
    fix = "write it with other functions of torch, or use to='onnx' or to='torch'"
    return InvalidValue(f"{program.name} {why}", "such a file holds what OpenVINO has operators for", fix)


def name_tensors(network: Any, program: Program) -> None:
    """Inputs and outputs by their names, and in their shapes: of which only the batch may be free."""
    openvino: Any = runtime("openvino", _EXTRA)
    given, tensors = len(network.inputs), len(program.inputs)
    if given != tensors:
        raise InvalidValue(
            f"{program.name} is called with {given} arguments, of which {tensors} are tensors",
            "OpenVINO is given tensors alone",
            "give forward=lambda model, batch: model(batch, ...) with the others in it",
        )
    for one, name in zip(network.inputs, program.inputs, strict=True):
        one.set_names({name})
    for one, name in zip(network.outputs, program.outputs, strict=True):
        one.add_names({name})  # an input may be an output, too
    shapes = {name: _shape(tensor, program) for name, tensor in program.numbers(program.example).items()}
    network.reshape({name: openvino.PartialShape(shape) for name, shape in shapes.items()})


def _shape(tensor: Tensor, program: Program) -> list[int]:
    """Its sizes; -1 where they are free."""
    sizes = list(tensor.shape)
    samples = next(len(one) for one in program.numbers(program.example).values() if one.dim())
    return [-1, *sizes[1:]] if program.free and sizes and sizes[0] == samples else sizes
