"""In which form does it leave? Each exporter is one file; a file on disk is verified against the network."""

from budbreak.export.artifact import Agreement, Artifact, Written
from budbreak.export.baking import Baked, bake
from budbreak.export.candidates import NOTHING_CUT, is_smaller
from budbreak.export.cards import Card
from budbreak.export.choosing import Candidate, Fastest, choose_fastest
from budbreak.export.describing import describe
from budbreak.export.exporter import Exporter
from budbreak.export.exporting import export
from budbreak.export.families import ALL, FAMILY
from budbreak.export.forms import check_forms, write_forms
from budbreak.export.loading import load_exported, read_exported
from budbreak.export.onnx_file import Onnx
from budbreak.export.openvino_file import OpenVINO
from budbreak.export.packed import Packed, write_packed
from budbreak.export.packing import entropy_bound
from budbreak.export.running import RUNTIMES, installed
from budbreak.export.safetensors import Safetensors
from budbreak.export.shipping import ship
from budbreak.export.side_by_side import (
    AS_IS,
    COMPACT,
    DENSE,
    Row,
    SideBySide,
    measure_side_by_side,
    recommendation,
)
from budbreak.export.sparse_choices import LayerChoice, Sparsified
from budbreak.export.sparse_linear import SparseLinear
from budbreak.export.sparsifying import sparsify
from budbreak.export.torch_program import TorchProgram

__all__ = [
    "ALL",
    "AS_IS",
    "COMPACT",
    "DENSE",
    "FAMILY",
    "NOTHING_CUT",
    "RUNTIMES",
    "Agreement",
    "Artifact",
    "Baked",
    "Candidate",
    "Card",
    "Exporter",
    "Fastest",
    "LayerChoice",
    "Onnx",
    "OpenVINO",
    "Packed",
    "Row",
    "Safetensors",
    "SideBySide",
    "SparseLinear",
    "Sparsified",
    "TorchProgram",
    "Written",
    "bake",
    "check_forms",
    "choose_fastest",
    "describe",
    "entropy_bound",
    "export",
    "installed",
    "is_smaller",
    "load_exported",
    "measure_side_by_side",
    "read_exported",
    "recommendation",
    "ship",
    "sparsify",
    "write_forms",
    "write_packed",
]
