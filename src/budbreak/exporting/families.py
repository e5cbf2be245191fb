"""All exporters, and their short names."""

from __future__ import annotations

from budbreak.exporting.exporter import Exporter
from budbreak.exporting.onnx_file import Onnx
from budbreak.exporting.onnx_int8 import OnnxInt8
from budbreak.exporting.openvino_file import OpenVINO
from budbreak.exporting.openvino_int8 import OpenVINOInt8
from budbreak.exporting.packed import Packed
from budbreak.exporting.safetensors import Safetensors
from budbreak.exporting.torch_program import TorchProgram
from budbreak.values import Family

ALL: tuple[type[Exporter], ...] = (Onnx, OnnxInt8, OpenVINO, OpenVINOInt8, Packed, Safetensors, TorchProgram)

FAMILY: Family[Exporter] = Family.of(
    "exporter",
    ALL,
    needs=("suffix",),
    names={"openvino": OpenVINO, "openvino-int8": OpenVINOInt8, "torch": TorchProgram},
    example='"packed"',
)
