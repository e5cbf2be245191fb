"""All exporters, and their short names."""

from __future__ import annotations

from budbreak.export.exporter import Exporter
from budbreak.export.onnx_file import Onnx
from budbreak.export.openvino_file import OpenVINO
from budbreak.export.packed import Packed
from budbreak.export.safetensors import Safetensors
from budbreak.export.torch_program import TorchProgram
from budbreak.values import Family

ALL: tuple[type[Exporter], ...] = (Onnx, OpenVINO, Packed, Safetensors, TorchProgram)

FAMILY: Family[Exporter] = Family.of(
    "exporter", ALL, needs=("suffix",), names={"openvino": OpenVINO, "torch": TorchProgram}, example='"packed"'
)
