"""All exporters, and their short names."""

from __future__ import annotations

from budbreak.exporting.exporter import Exporter
from budbreak.exporting.onnx_file import Onnx
from budbreak.exporting.openvino_file import OpenVINO
from budbreak.exporting.packed import Packed
from budbreak.exporting.safetensors import Safetensors
from budbreak.exporting.torch_program import TorchProgram
from budbreak.values import Family

ALL: tuple[type[Exporter], ...] = (Onnx, OpenVINO, Packed, Safetensors, TorchProgram)

FAMILY: Family[Exporter] = Family.of(
    "exporter", ALL, needs=("suffix",), names={"openvino": OpenVINO, "torch": TorchProgram}, example='"packed"'
)
