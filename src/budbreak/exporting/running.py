"""What was written, run again and again by its runtime: for latencies and accuracies."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.data import Images
from budbreak.errors import InvalidValue, one_of
from budbreak.exporting.runtimes import as_array, runtime
from budbreak.graph import tensors_of
from budbreak.masks import copied, unwrap

Runner = Callable[[Tensor], Tensor]
"""The first output for a batch."""

TORCH = "torch"
RUNTIMES = (TORCH, "onnx", "openvino")
"""In which networks are measured: torch eager, ONNX Runtime, OpenVINO."""
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
"""Form -> the modules of the extra of its name."""


def check_runtimes(forms: tuple[str, ...]) -> None:
    """Refuse forms whose libraries are not there, before anything is written.

    Raises:
        InvalidValue: with what to install.
    """
    for form in forms:
        for name in NEEDED.get(form, ()):
            runtime(name, form)


def installed() -> tuple[str, ...]:
    """Those of `RUNTIMES` that are there."""
    return tuple(one for one in RUNTIMES if all(map(importlib.util.find_spec, NEEDED.get(one, ()))))


def eager(model: nn.Module) -> Runner:
    """A copy of a model of torch, without wrappers, in eval mode."""
    own = copied(unwrap(model)).eval()

    @torch.inference_mode()
    def run(batch: Tensor) -> Tensor:
        given = own(batch)
        return given if isinstance(given, Tensor) else tensors_of(given)[0]

    return run


def accuracy_of(run: Runner, images: Images, *, batch_size: int = 250) -> float:
    """Share of images whose class has the largest output."""
    right = sum(
        int((run(images.normalised(part.images)).argmax(1) == part.labels).sum())
        for part in (images.take(index) for index in torch.arange(len(images)).split(batch_size))
    )
    return right / len(images)


def opened(form: str, path: Path, threads: int) -> Runner:
    """A file, by its runtime on the CPU in float32.

    Args:
        form: "onnx" or "openvino".
        path: of the file, of one input.
        threads: that it computes with.

    Raises:
        InvalidValue: if it is another form, or its runtime is not there.
    """
    if form not in NEEDED:
        raise InvalidValue(f"form is {form!r}", f"what has a runtime of its own is {one_of(NEEDED)}")
    return (_onnx if form == "onnx" else _openvino)(path, threads)


def _onnx(path: Path, threads: int) -> Runner:
    onnxruntime: Any = runtime("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: torch.from_numpy(session.run(None, {name: as_array(name, batch)})[0])


def _openvino(path: Path, threads: int) -> Runner:
    openvino: Any = runtime("openvino", "openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request, out = compiled.create_infer_request(), compiled.outputs[0]
    return lambda batch: torch.from_numpy(request.infer([as_array("input", batch)])[out].copy())
