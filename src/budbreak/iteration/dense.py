"""The dense level, taken over from the store of another iteration that has finished it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from budbreak.errors import StoreMismatch
from budbreak.iteration.checkpoint import Checkpoint
from budbreak.iteration.identity import differences
from budbreak.iteration.plan import Plan
from budbreak.iteration.rewindpoint import RewindPoint
from budbreak.iteration.store import Store, read_identity, remedy_for, warn_of_changes

_DECIDES = (
    "model", "modules", "optimizer", "resets", "seed", "mask", "prunable", "processes", "weights", "mask_grads",
)  # fmt: skip
_PLAN_DECIDES = ("prunable", "rewind_to")
_MAKE_ONE = "make one: with iterate(model, optimizer, plan.dense, store=...) as levels: train its only level"


def take_dense_level(
    dense: Store, identity: Mapping[str, Any], plan: Plan, wanted: RewindPoint | None
) -> tuple[Checkpoint, RewindPoint | None]:
    """The end of level 0 and the rewind point as the iteration of ``identity`` would have reached them by itself.

    The store is only read, without its lock.

    Args:
        dense: the other store.
        identity: of the iteration that takes it over.
        plan: of that iteration, fitted to the model.
        wanted: the rewind point that it waits for; None if nothing returns.

    Raises:
        StoreMismatch: if there is no store, its level 0 is another one, is not over, or is left behind.
        CorruptFile, CannotRead: if a file is damaged.
        InvalidValue: if level 0 ended before the step to rewind to.
    """
    _check_same_level(dense, identity)
    checkpoint = _finished(dense, plan)
    point = None if wanted is None else dense.load_rewind_point(checkpoint.position.steps, wanted)
    if point is not None:
        point.get()
    _check_recorded(dense, checkpoint, plan)
    return _watched_by(plan, _counted_by(plan, checkpoint), dense), point


def _check_same_level(dense: Store, identity: Mapping[str, Any]) -> None:
    try:
        about = read_identity(dense.folder)
    except FileNotFoundError:
        raise StoreMismatch(
            f"dense is {dense.folder}, which holds no store", "level 0 is taken from a store that has it", _MAKE_ONE
        ) from None
    changed = differences(_deciding(about.identity), _deciding(json.loads(json.dumps(identity))))
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise StoreMismatch(
            f"dense is {dense.folder}, whose level 0 is another one: {changed[0]}{more}",
            "level 0 is shared by iterations of one model, optimizer, resets, seed, start, prunable and rewind_to",
            remedy_for(changed[0], "give another dense store, or leave dense out to train level 0 here"),
        )
    warn_of_changes(dense.folder, about, "of training level 0 here")


def _deciding(identity: dict[str, Any]) -> dict[str, Any]:
    """The part of an identity that decides level 0."""
    return {"plan": _part(identity.get("plan"), _PLAN_DECIDES), **_part(identity, _DECIDES)}


def _part(whole: object, names: Sequence[str]) -> dict[str, Any]:
    parts = cast(dict[str, Any], whole) if isinstance(whole, dict) else {}
    return {name: parts[name] for name in names if name in parts}  # a field at its default is not there, and not None


def _finished(dense: Store, plan: Plan) -> Checkpoint:
    """The checkpoint at the end of level 0."""
    dense.look()
    stored = dense.load_checkpoint()
    if stored is None or (stored[0].position.level == 0 and not stored[0].position.ended):
        raise StoreMismatch(
            f"dense is {dense.folder}, which has not finished level 0",
            "level 0 is taken over when it is over",
            "let it finish first: the same call that began it goes on",
        )
    checkpoint, path = stored
    if checkpoint.position.level > 0:
        raise StoreMismatch(
            f"dense is {dense.folder}, which has gone on to level {checkpoint.position.level}",
            "a store holds the state where it stands; that of the end of level 0 is not kept",
            _MAKE_ONE,
        )
    checkpoint.check_course(plan, path)
    return checkpoint


def _check_recorded(dense: Store, checkpoint: Checkpoint, plan: Plan) -> None:
    """Refuse a level 0 without a metric by which the schedule decides level 1."""
    lacking = plan.lacking(checkpoint.records[0].metrics)
    if lacking and plan.levels > 0:
        raise StoreMismatch(
            f"dense is {dense.folder}, whose level 0 has not recorded {lacking[0]!r}",
            f"{plan.schedule} looks at it to decide level 1",
            f"make another one with level.record({lacking[0]}=...)",
        )


def _watched_by(plan: Plan, checkpoint: Checkpoint, dense: Store) -> Checkpoint:
    """The same checkpoint with what this plan's observers saw; others may have watched as well."""
    wanted = [repr(observer) for observer in plan.observers]
    for name in wanted:
        if name not in checkpoint.observers:
            raise StoreMismatch(
                f"dense is {dense.folder}, whose level 0 was not watched by {name}",
                "what the criteria of a plan need to have watched is watched in level 0 as well",
                _MAKE_ONE,
            )
    return replace(checkpoint, observers={name: checkpoint.observers[name] for name in wanted})


def _counted_by(plan: Plan, checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint with what this plan counts: it may remove units where the other one removed weights."""
    total, alive = plan.count(checkpoint.mask)
    granularity = plan.granularity
    record = replace(
        checkpoint.records[0],
        counted=granularity.counted,
        counted_kept=alive,
        counted_total=total,
        spared=tuple(granularity.spared),
    )
    return replace(checkpoint, position=replace(checkpoint.position, alive=alive), records=(record,))
