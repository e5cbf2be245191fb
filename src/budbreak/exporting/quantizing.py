"""ONNX networks in 8 bits, by ONNX Runtime's own quantizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from budbreak.errors import InvalidValue
from budbreak.exporting.quiet import quiet
from budbreak.exporting.runtimes import as_array, runtime
from budbreak.foreign import call_foreign
from budbreak.graph import count_samples, with_tensors

_EXTRA = "onnx"
_MOST = 1 << 30  # bytes in one file; see onnx_file.py
_AT_ONCE = 64

Feed = Mapping[str, Tensor]
"""Name of an input -> a batch of it."""


def quantize(source: Path, target: Path, calibrate: Feed | None, *, at_once: int = _AT_ONCE) -> None:
    """Write an ONNX network with weights, and what enters its layers, in 8 bits.

    Weights have a scale for each unit. With a calibration set, the range of what enters a layer is that which was seen
    on it (static, quantize and dequantize nodes, which OpenVINO reads, too); without, that of each batch (dynamic).

    Args:
        source: the network in float32.
        target: where the other one goes.
        calibrate: the calibration set.
        at_once: how many samples of it are run together; those that are left over go by themselves.

    Raises:
        InvalidValue: for a network that cannot be quantized so.
    """
    quantization: Any = runtime("onnxruntime.quantization", _EXTRA)
    if calibrate is None and (layers := _convolutions(source)):
        raise InvalidValue(
            f"the network has {layers} convolution{'s' * (layers > 1)}, and no calibration set is given",
            "their ranges are taken from one: taken batch by batch, they are slower than float32",
            "write calibrate=batch, of some hundred training samples",
        )
    size = sum(file.stat().st_size for file in source.parent.glob(f"{source.name}*"))  # its weights may lie beside it
    told = {"per_channel": True, "use_external_data_format": size > _MOST, "weight_type": quantization.QuantType.QInt8}

    def run() -> None:
        if calibrate is None:
            quantization.quantize_dynamic(source, target, **told)
        else:
            reader, kind = _reader(quantization, calibrate, at_once), quantization.QuantType.QInt8
            scheme = quantization.QuantFormat.QDQ
            quantization.quantize_static(source, target, reader, quant_format=scheme, activation_type=kind, **told)

    rule = "a network of ONNX is quantized; a calibration set is a batch of finite inputs, like the example"
    with quiet():
        call_foreign("onnxruntime.quantization", run, rule=rule, fix="check calibrate, or use another form")


def _convolutions(path: Path) -> int:
    onnx: Any = runtime("onnx", _EXTRA)
    nodes = onnx.load(path, load_external_data=False).graph.node
    return sum(node.op_type.startswith("Conv") for node in nodes)


def _reader(quantization: Any, calibrate: Feed, at_once: int) -> Any:
    """What ONNX Runtime draws batches from."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.pieces = _pieces(calibrate, at_once)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.pieces, None)

    return Reader()


def _pieces(calibrate: Feed, at_once: int) -> Iterator[dict[str, Any]]:
    samples = count_samples(calibrate)
    for index in torch.arange(samples).split(at_once):
        piece = with_tensors(calibrate, lambda one, index=index: one[index] if len(one) == samples else one)
        yield {name: as_array(name, tensor) for name, tensor in piece.items()}
