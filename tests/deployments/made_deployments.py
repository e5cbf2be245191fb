"""Cells that nothing measured, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from budbreak.exporting import Latency
from deployments.cases import Goals
from deployments.cells import Cell, Form, Method

WHERE = {"processor": "any", "cores": 2, "python": "3", "torch": "2", "onnxruntime": "1", "openvino": "2026"}


def made_form(network: str, runtime: str, ms: float, accuracy: float = 0.9, **fields: Any) -> Form:
    """Quartiles 5 % away from the median; half as long a sample at batch 64."""
    at = [(1, ms / 1e3), (64, 32 * ms / 1e3)]
    latencies = tuple(Latency(batch, one, 0.95 * one, 1.05 * one) for batch, one in at)
    given: dict[str, Any] = {"bytes": 1000, "validation": accuracy, "test": {"accuracy": accuracy - 0.01}}
    return Form(network, runtime, latencies=latencies, **{**given, **fields})


FORMS = (
    made_form("dense", "torch", 1.0),
    made_form("dense", "onnx", 0.8, bytes=1200),
    made_form("as is", "torch", 1.01, 0.899),
    made_form("as is", "onnx", 0.81, 0.899, bytes=1200),
    made_form("compact", "torch", 0.5, 0.899, bytes=300),
    made_form("compact", "onnx", 0.2, 0.899, bytes=200),
    made_form("factors 1/8", "onnx", 0.1, 0.7, bytes=100),
)


def made_cell(name: str = "units-90", forms: tuple[Form, ...] = FORMS, **fields: Any) -> Cell:
    """Compact in ONNX Runtime takes a quarter of the time and a sixth of the bytes of dense; factors are too bad."""
    given: dict[str, Any] = {
        "study": "made",
        "what": "whole units, 90 % of the weights",
        "sparsity": 0.9,
        "parameters": {"dense": 250, "kept": 30, "compact": 60},
        "macs": {"dense": 240, "compact": 55},
        "files": {"dense": 1100, "as is": 1100, "as is, packed": 210, "compact, packed": 200},
        "bounds": {"as is, packed": 200.0, "compact, packed": 190.0},
        "chosen": "compact in onnx",
        "seeds": ((0.89, 0.889), (0.88, 0.879)),
        "notes": (),
        "method": Method("cpu", 1, 9, 0.005, 0.1),
        "environment": WHERE,
        "date": "2026-01-01",
        "commit": "c",
    }
    return Cell(name=name, forms=forms, **{**given, **fields})


@dataclass(frozen=True)
class MadeStudy:
    """A study that is told of, and never measured."""

    name: str = "made"
    title: str = "A network on data"
    about: str = "It was made by hand."
    planned: tuple[str, ...] = ("units-90", "units-95")
    goals: Goals = Goals(smaller=5, faster=3)  # noqa: RUF009
