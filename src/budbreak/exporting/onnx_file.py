"""ONNX: what ONNX Runtime, and most other runtimes, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.program import Program, place_of
from budbreak.exporting.program_shipping import ship_program
from budbreak.exporting.quiet import quiet
from budbreak.exporting.runtimes import as_array, runtime
from budbreak.foreign import described
from budbreak.graph import Forward

_EXTRA = "onnx"
_MOST = 1 << 30
"""Bytes of weights in the file itself; more lie beside it: protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Onnx:
    """The baked network, checked by onnx.checker and by ONNX Runtime.

    Its weights are in the file; over 1 GiB, they lie beside it in ``NAME.onnx.data``.

    Args:
        static_batch: whether it takes batches of the example's size alone; else of any size.
    """

    static_batch: bool = False
    suffix: ClassVar[str] = ".onnx"

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """See `Exporter`; outputs are those of ONNX Runtime, on the CPU."""
        for name in ("onnx", "onnxscript", "onnxruntime"):
            runtime(name, _EXTRA)
        return ship_program(
            "onnx", model, path, example=example, forward=forward, static_batch=self.static_batch,
            write=write_onnx,
            run=lambda program, aside, example: run_onnx(aside, program.numbers(example)),
        )  # fmt: skip


def write_onnx(program: Program, path: Path) -> None:
    """Write a program.

    Raises:
        InvalidValue: for a call that ONNX cannot express: which, in which module and line.
    """
    _level_limits(program.exported.graph)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in program.exported.state_dict.values())
    try:
        with quiet():
            written: Any = torch.onnx.export(
                program.exported, input_names=program.inputs, output_names=program.outputs, dynamo=True, verbose=False
            )
    except Exception as error:
        raise _refusal(program, error) from error
    for part in [written.model, *written.model.graph, *written.model.graph.initializers.values()]:
        part.metadata_props.clear()  # lines of code, and what tells of the machine that wrote it
    _name_batch(written.model.graph)
    with quiet():
        written.save(path, external_data=weights > _MOST)
    _check(program, path)


def _name_batch(graph: Any) -> None:
    """Call the free size "batch", which torch calls s31 or the like."""
    free = {str(size) for value in graph.inputs for size in value.shape if not isinstance(size, int)}
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    for value in [value for value in values if value.shape is not None]:
        # a new one: torch gives some that are frozen
        value.shape = type(value.shape)("batch" if str(size) in free else size for size in value.shape)


def _check(program: Program, path: Path) -> None:
    checker: Any = runtime("onnx", _EXTRA).checker
    try:
        with quiet():
            checker.check_model(path, full_check=True)
    except checker.ValidationError as error:
        raise _refusal(program, error) from error


def _level_limits(graph: torch.fx.Graph) -> None:
    """Limits of one kind for each clamp: the exporter of torch takes whole numbers for tensors, and fails."""
    for node in graph.nodes:
        if node.target is torch.ops.aten.clamp.default and node.meta["val"].is_floating_point():
            node.args = tuple(float(given) if isinstance(given, int) else given for given in node.args)


def run_onnx(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What ONNX Runtime gives, on one thread of the CPU."""
    onnxruntime: Any = runtime("onnxruntime", _EXTRA)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {one.name for one in session.get_inputs()}  # what the network does not use is none
    given = {name: as_array(name, tensor) for name, tensor in inputs.items() if name in known}
    return [torch.from_numpy(array) for array in session.run(None, given)]


def _refusal(program: Program, error: Exception) -> InvalidValue:
    text = "".join(str(one) for one in (error, error.__cause__) if one is not None)
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", text)
    rule = "an ONNX file holds what ONNX has operators for"
    if missing is None:
        return InvalidValue(
            f"{program.name} cannot be written as ONNX: {described(error.__cause__ or error)}", rule, "use to='torch'"
        )
    call = missing.group(1)
    fix = "write it with other functions of torch, or use to='torch'"
    return InvalidValue(f"{program.name} calls {call}{place_of(program, call)}, which ONNX lacks", rule, fix)
