"""All that a network is at the end of a level, as a store keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from budbreak.errors import CorruptFile
from budbreak.files import corrupt, tensor_bytes
from budbreak.iteration.checkpoint import Checkpoint, check_keys, check_tensors
from budbreak.iteration.identity import mask_digest
from budbreak.masks import Mask

KEPT_KIND = "level weights 1"
BEGIN_AGAIN = "restore it from a copy, or compute the level again in another store"


@dataclass(frozen=True)
class LevelWeights:
    """Parameters, buffers and extra state at the end of a level.

    Args:
        level: which.
        state, extra: see `model_state` and `extra_states`.
        mask: the SHA-256 of the level's mask, which is a file of its own.
    """

    level: int
    state: Mapping[str, Tensor]
    extra: Mapping[str, Any]
    mask: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> LevelWeights:
        """Those of a checkpoint at the end of a level."""
        mask = mask_digest(checkpoint.mask)
        return cls(checkpoint.position.level, checkpoint.model, checkpoint.extra, mask)

    def tree(self, mask: Mask) -> dict[str, Any]:
        """What `from_tree` takes: of weights that are zero where the mask, theirs, prunes them only what it keeps."""
        state, packed = dict(self.state), list[str]()
        for name, entry in mask.items():
            tensor = state.get(name)
            if tensor is not None and tensor.shape == entry.shape and not bool(entry.all()):
                kept, gone = (tensor.cpu()[where] for where in (entry.cpu(), ~entry.cpu()))
                if not tensor_bytes(gone).any():  # bit for bit: -0.0 is none of these
                    state[name] = kept
                    packed.append(name)
        more = {"packed": packed} if packed else {}
        return {"level": self.level, "state": state, "extra": dict(self.extra), "mask": self.mask, **more}

    @classmethod
    def from_tree(cls, tree: Any, level: int, path: Path, mask: Callable[[], Mask]) -> LevelWeights:
        """Those of a level, from what was stored in the file ``path``.

        Args:
            tree: what was stored.
            level: which it should be of.
            path: of the file.
            mask: loads the mask of the level, where only what it keeps is there.

        Raises:
            CorruptFile: if it has not the structure of them, is of another level, or does not fit the mask.
        """
        check_keys(tree, {"level", "state", "extra", "mask"}, path, BEGIN_AGAIN, optional={"packed"})
        check_tensors(tree, ("state",), path, BEGIN_AGAIN)
        packed = tree.get("packed", [])
        if tree["level"] != level or not isinstance(tree["extra"], dict) or not isinstance(packed, list):
            raise corrupt(path, f"it does not hold level {level}", BEGIN_AGAIN)
        entries = mask() if packed else None
        if entries is not None and mask_digest(entries) != tree["mask"]:
            raise other_mask(level, path.parent.parent)
        whole = {name: _unpacked(tree["state"], name, entries, path) for name in cast("list[str]", packed)}
        return cls(level, {**tree["state"], **whole}, tree["extra"], tree["mask"])


def _unpacked(state: Mapping[str, Tensor], name: str, mask: Mask | None, path: Path) -> Tensor:
    entry, values = None if mask is None else mask.get(name), state.get(name)
    if entry is None or values is None or values.numel() != int(entry.sum()):
        raise corrupt(path, f"{name!r} does not fit the mask of its level", BEGIN_AGAIN)
    return torch.zeros(entry.shape, dtype=values.dtype).masked_scatter_(entry, values)


def other_mask(level: int, folder: Path) -> CorruptFile:
    """The error of a mask in a store that is not that of the weights of its level."""
    return CorruptFile(
        f"the mask of level {level} in {folder} is not that of its weights",
        "both are written at the end of the level",
        BEGIN_AGAIN,
    )
