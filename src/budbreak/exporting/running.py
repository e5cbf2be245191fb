"""What was written, run again and again by its runtime: for latencies and accuracies."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.data import Images
from budbreak.errors import InvalidValue, one_of
from budbreak.exporting.runtimes import as_array, openvino_core, runtime
from budbreak.graph import tensors_of
from budbreak.masks import copied, unwrap

Runner = Callable[[Tensor], Tensor]
"""The first output for a batch."""

TORCH = "torch"
RUNTIMES = (TORCH, "onnx", "openvino")
"""In which networks are measured: torch eager, ONNX Runtime, OpenVINO."""
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
"""Extra -> its modules."""
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnx",),
    "onnx-int8": ("onnx",),
    "openvino": ("openvino",),
    "openvino-int8": ("openvino", "onnx"),
}
"""Form -> the extras that it needs."""


def check_runtimes(forms: tuple[str, ...]) -> None:
    """Refuse forms whose libraries are not there, before anything is written.

    Raises:
        InvalidValue: with what to install.
    """
    for form in forms:
        for extra in EXTRAS.get(form, ()):
            for name in NEEDED[extra]:
                runtime(name, extra)


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
    """A file, by its runtime on the CPU; in float32 unless it is said otherwise.

    Args:
        form: "onnx", "openvino", either with "-int8" for a file in 8 bits, or "openvino-bf16", which computes in
            bfloat16 where the processor does.
        path: of the file, of one input.
        threads: that it computes with.

    Raises:
        InvalidValue: if it is another form, or its runtime is not there.
    """
    library, _, bits = form.partition("-")
    if library not in NEEDED or bits not in ("", "int8", "bf16"):
        raise InvalidValue(f"form is {form!r}", f"what has a runtime of its own is {one_of(NEEDED)}")
    return _onnx(path, threads) if library == "onnx" else _openvino(path, threads, "bf16" if bits == "bf16" else "f32")


def _onnx(path: Path, threads: int) -> Runner:
    onnxruntime: Any = runtime("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: torch.from_numpy(session.run(None, {name: as_array(name, batch)})[0])


def _openvino(path: Path, threads: int, precision: str) -> Runner:
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino_core().compile_model(path, "CPU", settings)
    request, out = compiled.create_infer_request(), compiled.outputs[0]
    return lambda batch: torch.from_numpy(request.infer([as_array("input", batch)])[out].copy())
