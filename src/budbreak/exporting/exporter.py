"""What an exporter is, and the seam between the formats and what is common to them.

An exporter is a frozen value that writes one format::

    @dataclass(frozen=True)
    class Onnx:
        suffix: ClassVar[str] = ".onnx"

        def __call__(self, model, path, *, example, forward=None):
            return ship("onnx", model, path, example=example, forward=forward, write=..., run=...)

`ship` (shipping.py) does what they all need: it checks and copies the model (unwrapped, in eval mode; the copy may be
changed), lets ``write(model, path)`` write aside and give notes for the user, lets ``run(model, path)`` give the
outputs of what was written on the same example, compares these with the model's own, refuses what is too far away,
moves the files to where they belong only then, and gives the `Artifact`. Exporters that bake, quantize or build for a
runtime do it in ``write``; one that rounds on purpose gives a `Rounding`, which says how far outputs may then be.

A class gets its line in ``ALL`` of families.py; ``FAMILY`` gives it its short name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from budbreak.exporting.artifact import Artifact
from budbreak.graph import Forward


@runtime_checkable
class Exporter(Protocol):
    """A form in which a network leaves: a frozen value, called to write one file (and what belongs beside it)."""

    suffix: ClassVar[str]
    """How the names of its files end, e.g. ".onnx"."""

    def __call__(self, model: nn.Module, path: Path, *, example: Any, forward: Forward | None = None) -> Artifact:
        """Write the model, verified against the model.

        Args:
            model: which stays as it is, in whatever mode.
            path: of the file; it ends in the suffix. An older file is replaced, when the new one is complete.
            example: a batch of inputs: a tensor, a tuple (positional) or a mapping (by keyword); with ``forward``
                whatever that takes. Outputs are compared on it.
            forward: ``forward(model, example)``, if the model is not called with the inputs alone.

        Raises:
            InvalidValue: if the model does not take the example, or the format cannot express it.
            NotFinite: if its outputs are not finite.
            InvariantBroken: if what was written gives other outputs; then nothing is left on disk.
            CannotWrite: on a full disk or a forbidden folder.
        """
        ...
