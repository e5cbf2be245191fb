"""In which form does it leave? Each exporter is one file; a file on disk is verified against the network."""

from budbreak.export.artifact import Agreement, Artifact, Written
from budbreak.export.baking import Baked, bake
from budbreak.export.exporter import Exporter
from budbreak.export.exporting import export
from budbreak.export.families import ALL, FAMILY
from budbreak.export.loading import load_exported, read_exported
from budbreak.export.onnx_file import Onnx
from budbreak.export.openvino_file import OpenVINO
from budbreak.export.packed import Packed, write_packed
from budbreak.export.packing import entropy_bound
from budbreak.export.safetensors import Safetensors
from budbreak.export.shipping import ship
from budbreak.export.sparse_choices import LayerChoice, Sparsified
from budbreak.export.sparse_linear import SparseLinear
from budbreak.export.sparsifying import sparsify
from budbreak.export.torch_program import TorchProgram

__all__ = [
    "ALL",
    "FAMILY",
    "Agreement",
    "Artifact",
    "Baked",
    "Exporter",
    "LayerChoice",
    "Onnx",
    "OpenVINO",
    "Packed",
    "Safetensors",
    "SparseLinear",
    "Sparsified",
    "TorchProgram",
    "Written",
    "bake",
    "entropy_bound",
    "export",
    "load_exported",
    "read_exported",
    "ship",
    "sparsify",
    "write_packed",
]
