"""The network that was pruned, and is not trained after that yet: what a ``pruned`` task leaves for others."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from budbreak.masks import Mask
from budbreak.studies.weights import read_state, save_weights

_WEIGHTS, _MASK = "start.safetensors", "start-mask.safetensors"


def save_pruned(folder: Path, model: nn.Module, mask: Mask, *, identity: str) -> None:
    """Write the weights from which the last training starts, and then the mask: with it the task is complete."""
    save_weights(folder, model, _WEIGHTS)
    mask.save(folder / _MASK, store=identity)


def is_pruned(folder: Path) -> bool:
    """Whether both are there."""
    return all((folder / name).is_file() for name in (_WEIGHTS, _MASK))


def load_pruned(folder: Path, model: nn.Module, *, identity: str) -> Mask:
    """Give a fresh network these weights, and return the mask.

    Raises:
        MissingData, CorruptFile, StoreMismatch, CannotRead: if a file is not what the task wrote.
    """
    mask = Mask.load(folder / _MASK, store=identity)
    model.load_state_dict(read_state(folder / _WEIGHTS), strict=False)  # without extra state
    return mask
