"""In which form does it leave? Each exporter is one file; a file on disk is verified against the network."""

from budbreak.exporting.artifact import Agreement, Artifact, Written
from budbreak.exporting.baking import Baked, bake
from budbreak.exporting.candidates import NOTHING_CUT, SPARSE_ROWS, is_smaller
from budbreak.exporting.cards import Card
from budbreak.exporting.choosing import Candidate, Fastest, Score, choose_fastest
from budbreak.exporting.describing import describe
from budbreak.exporting.exporter import Exporter
from budbreak.exporting.exporting import export
from budbreak.exporting.families import ALL, FAMILY
from budbreak.exporting.forms import check_forms, older_files, write_forms
from budbreak.exporting.loading import load_exported
from budbreak.exporting.low_bits import LOW_BITS, LowBits, configured, takes
from budbreak.exporting.onnx_file import Onnx
from budbreak.exporting.onnx_int8 import OnnxInt8
from budbreak.exporting.openvino_file import OpenVINO
from budbreak.exporting.openvino_int8 import OpenVINOInt8
from budbreak.exporting.packed import Packed, write_packed
from budbreak.exporting.packing import entropy_bound
from budbreak.exporting.rounding import HALVES, TOLERANCES, Rounding
from budbreak.exporting.running import RUNTIMES, TORCH, Runner, accuracy_of, eager, installed
from budbreak.exporting.safetensors import Safetensors
from budbreak.exporting.shipping import ship
from budbreak.exporting.side_by_side import (
    AS_IS,
    COMPACT,
    DENSE,
    WORDS,
    Latency,
    Row,
    SideBySide,
    measure_side_by_side,
    opened_all,
    recommendation,
    timed,
)
from budbreak.exporting.sparse_choices import LayerChoice, Sparsified
from budbreak.exporting.sparse_linear import SparseLinear
from budbreak.exporting.sparsifying import sparsify
from budbreak.exporting.torch_program import TorchProgram

__all__ = [
    "ALL",
    "AS_IS",
    "COMPACT",
    "DENSE",
    "FAMILY",
    "HALVES",
    "LOW_BITS",
    "NOTHING_CUT",
    "RUNTIMES",
    "SPARSE_ROWS",
    "TOLERANCES",
    "TORCH",
    "WORDS",
    "Agreement",
    "Artifact",
    "Baked",
    "Candidate",
    "Card",
    "Exporter",
    "Fastest",
    "Latency",
    "LayerChoice",
    "LowBits",
    "Onnx",
    "OnnxInt8",
    "OpenVINO",
    "OpenVINOInt8",
    "Packed",
    "Rounding",
    "Row",
    "Runner",
    "Safetensors",
    "Score",
    "SideBySide",
    "SparseLinear",
    "Sparsified",
    "TorchProgram",
    "Written",
    "accuracy_of",
    "bake",
    "check_forms",
    "choose_fastest",
    "configured",
    "describe",
    "eager",
    "entropy_bound",
    "export",
    "installed",
    "is_smaller",
    "load_exported",
    "measure_side_by_side",
    "older_files",
    "opened_all",
    "recommendation",
    "ship",
    "sparsify",
    "takes",
    "timed",
    "write_forms",
    "write_packed",
]
