"""All exporters, and their short names."""

from __future__ import annotations

from budbreak.export.exporter import Exporter
from budbreak.export.packed import Packed
from budbreak.export.safetensors import Safetensors
from budbreak.values import Family

ALL: tuple[type[Exporter], ...] = (Packed, Safetensors)

FAMILY: Family[Exporter] = Family.of("exporter", ALL, needs=("suffix",), example='"packed"')
