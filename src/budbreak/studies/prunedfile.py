"""The network that was pruned, and is not trained after that yet: what a ``pruned`` task leaves for others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from budbreak.files import corrupt, read_json, write_json
from budbreak.live import state_digest
from budbreak.masks import Mask
from budbreak.studies.weights import read_state, save_weights

_WEIGHTS, _MASK = "start.safetensors", "start-mask.safetensors"
_DIGEST, _KIND = "start.json", "task start 1"


@dataclass(frozen=True)
class _DigestFile:
    """What the file holds: the digest of the weights, which their own file lacks."""

    digest: str


def save_pruned(folder: Path, model: nn.Module, mask: Mask, *, identity: str) -> None:
    """Write the weights from which the last training starts, the mask, and the digest that completes the task."""
    save_weights(folder, model, _WEIGHTS)
    mask.save(folder / _MASK, store=identity)
    digest = state_digest(read_state(folder / _WEIGHTS))
    write_json(folder / _DIGEST, {"digest": digest}, _KIND, store=identity)


def is_pruned(folder: Path) -> bool:
    """Whether all three are there."""
    return all((folder / name).is_file() for name in (_WEIGHTS, _MASK, _DIGEST))


def load_pruned(folder: Path, model: nn.Module, *, identity: str) -> Mask:
    """Give a fresh network these weights, and return the mask.

    Raises:
        MissingData, CorruptFile, StoreMismatch, CannotRead: if a file is not what the task wrote.
    """
    mask, state = Mask.load(folder / _MASK, store=identity), read_state(folder / _WEIGHTS)
    if read_json(folder / _DIGEST, _KIND, _DigestFile, stores={identity}).digest != state_digest(state):
        again = f"delete the folder {folder}: this task then begins anew"
        raise corrupt(folder / _WEIGHTS, "it is not the network that was pruned", again)
    model.load_state_dict(state, strict=False)  # without extra state
    return mask
