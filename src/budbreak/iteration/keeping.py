"""The way back to the end of a level: its weights and mask from a store."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from budbreak.checks import check_count, check_model
from budbreak.errors import MissingData, StoreMismatch
from budbreak.iteration.checkpoint import check_dtypes
from budbreak.iteration.identity import mask_digest
from budbreak.iteration.levelweights import LevelWeights, other_mask
from budbreak.iteration.store import Store, check_folder
from budbreak.live import check_fits, load_state
from budbreak.masks import Mask


def load_level(model: nn.Module, store: str | Path, level: int) -> Mask:
    """Give a model the weights that it had at the end of a level, and return the mask of that level.

    The level where a store stands is there in any case, if it is over; the others where `iterate` was called with
    ``keep="all"``. The store is only read, and may be written to meanwhile. Averages in ``resets`` are not kept.

        best = max(levels.history, key=lambda record: record.metrics["accuracy"])
        mask = bb.load_level(model, "runs/first", best.level)

    Args:
        model: of the architecture that was pruned; parameters, buffers and extra state are copied into it.
        store: the folder that was given to `iterate`.
        level: which; 0 is dense.

    Raises:
        MissingData: if the store has not kept them, or lacks the mask; says which levels it has.
        StoreMismatch, CorruptFile, CannotRead: if there is no store, or a file is damaged.
        MaskMismatch: if they do not fit the model, which is then as it was.
        InvalidValue: for what is no model, folder or level.
    """
    check_model(model)
    check_folder("store", store, "runs/first")
    check_count("level", level, least=0)
    opened = Store(store)
    try:
        opened.look()
    except FileNotFoundError:
        raise StoreMismatch(
            f"{opened.folder} holds no store", "a level is read from the store of an iteration", "give its folder"
        ) from None
    weights, path = read_level(opened, level)
    mask = mask_of_level(opened, weights)
    check_fits(model, weights.state)
    check_dtypes(weights.state, model, path, "give a model of the dtypes that was pruned: model.to(...)")
    load_state(model, weights.state, extra=weights.extra)
    return mask


def read_level(store: Store, level: int) -> tuple[LevelWeights, Path]:
    """The weights that a store has of a level, and the file that has them.

    Raises:
        MissingData: if it has not kept them; says which it has.
        CorruptFile, StoreMismatch, CannotRead: if a file cannot be used.
    """
    kept = store.load_weights(level)
    if kept is not None:
        return kept, store.weights_path(level)
    stored = store.load_checkpoint()
    over = stored is not None and stored[0].position.ended and stored[0].records[-1].last_stage
    if stored is not None and over and stored[0].position.level == level:
        return LevelWeights.of(stored[0]), stored[1]
    last = [stored[0].position.level] if stored is not None and over else []
    have = sorted({*store.levels_kept(), *last})
    raise MissingData(
        f"{store.folder} has no weights of level {level}; it has those of {', '.join(map(str, have)) or 'none'}",
        "a store keeps the weights of every level if it is asked to, and else those of the last one",
        'write iterate(..., store=..., keep="all")',
    )


def mask_of_level(store: Store, weights: LevelWeights) -> Mask:
    """The mask of the same level.

    Raises:
        MissingData, CorruptFile, StoreMismatch: if it is not there, or another one.
    """
    mask = store.load_mask(weights.level)
    if mask_digest(mask) != weights.mask:
        raise other_mask(weights.level, store.folder)
    return mask
