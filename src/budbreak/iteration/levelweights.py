"""All that a network is at the end of a level, as a store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from budbreak.files import corrupt
from budbreak.iteration.checkpoint import Checkpoint, check_keys, check_tensors
from budbreak.iteration.identity import mask_digest

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

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes."""
        return {"level": self.level, "state": dict(self.state), "extra": dict(self.extra), "mask": self.mask}

    @classmethod
    def from_tree(cls, tree: Any, level: int, path: Path) -> LevelWeights:
        """Those of a level, from what was stored in the file ``path``.

        Raises:
            CorruptFile: if it has not the structure of them, or is of another level.
        """
        check_keys(tree, {"level", "state", "extra", "mask"}, path, BEGIN_AGAIN)
        check_tensors(tree, ("state",), path, BEGIN_AGAIN)
        if tree["level"] != level or not isinstance(tree["extra"], dict):
            raise corrupt(path, f"it does not hold level {level}", BEGIN_AGAIN)
        return cls(level, tree["state"], tree["extra"], tree["mask"])
