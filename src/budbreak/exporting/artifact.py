"""What an export leaves: files with their sizes and checksums, and how near they come to the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from budbreak.graph import largest_difference

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Written:
    """A file of an artifact.

    Args:
        path: where it lies.
        bytes: its size.
        sha256: of its content, as 64 hexadecimal digits.
    """

    path: Path
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Written:
        """Measure a file."""
        hasher = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hasher.update(chunk)
        return cls(path, path.stat().st_size, hasher.hexdigest())


@dataclass(frozen=True)
class Agreement:
    """How near the outputs of what was written come to the model's, on the example.

    Args:
        largest: difference of an output, absolute.
        mean: of the absolute differences, over all outputs.
        predictions: share in [0, 1] of the rows of the first output, along its last dimension, whose largest entry is
            at the same place; None where that dimension has one entry or none.
    """

    largest: float
    mean: float
    predictions: float | None

    @classmethod
    def between(cls, expected: Sequence[Tensor], given: Sequence[Tensor]) -> Agreement:
        """Compare outputs.

        Raises:
            InvariantBroken: if they have other shapes.
        """
        largest = largest_difference(list(expected), list(given))
        apart = [_differences(one, two) for one, two in zip(expected, given, strict=True) if one.numel()]
        mean = float(torch.cat(apart).mean()) if apart else 0.0
        return cls(largest, mean, _same_predictions(expected, given))

    def __str__(self) -> str:
        """In a line."""
        same = "" if self.predictions is None else f"; {100 * self.predictions:.4g} % of the predictions agree"
        return f"outputs differ by {self.largest:.3g} at most, {self.mean:.3g} on average{same}"


@dataclass(frozen=True)
class Artifact:
    """What an exporter wrote, verified.

    Args:
        format: the short name of its exporter.
        files: the one that was asked for, then those beside it.
        agreement: with the model.
        notes: what its user should know, in words.
    """

    format: str
    files: tuple[Written, ...]
    agreement: Agreement
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Of the file that was asked for."""
        return self.files[0].path

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Of the file that was asked for."""
        return self.files[0].sha256

    def __str__(self) -> str:
        """A line for the files, one for the agreement, one for each note."""
        more = f" and {len(self.files) - 1} beside it" * (len(self.files) > 1)
        first = f"{self.format}: {self.path}{more}, {self.bytes:,d} bytes"
        return "\n".join([first, str(self.agreement), *self.notes])


def _differences(one: Tensor, two: Tensor) -> Tensor:
    kind = torch.complex128 if one.is_complex() else torch.float64
    return (one.cpu().to(kind) - two.cpu().to(kind)).abs().reshape(-1)


def _same_predictions(expected: Sequence[Tensor], given: Sequence[Tensor]) -> float | None:
    if not expected or not expected[0].dim() or expected[0].shape[-1] < 2 or not expected[0].numel():
        return None
    if expected[0].is_complex():
        return None
    one, two = expected[0].cpu().argmax(-1), given[0].cpu().argmax(-1)
    return float((one == two).double().mean())
