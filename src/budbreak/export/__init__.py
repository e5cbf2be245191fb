"""In which form does it leave? Each exporter is one file; a file on disk is verified against the network."""

from budbreak.export.artifact import Agreement, Artifact, Written
from budbreak.export.exporter import Exporter
from budbreak.export.exporting import export
from budbreak.export.families import ALL, FAMILY
from budbreak.export.loading import load_exported, read_exported
from budbreak.export.safetensors import Safetensors
from budbreak.export.shipping import ship

__all__ = [
    "ALL",
    "FAMILY",
    "Agreement",
    "Artifact",
    "Exporter",
    "Safetensors",
    "Written",
    "export",
    "load_exported",
    "read_exported",
    "ship",
]
