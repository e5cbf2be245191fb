"""The compaction plan in the notes of a file: how an instance of the dense architecture is made to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from budbreak.checks import shown
from budbreak.compaction import CompactionPlan
from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.files import conform


def plan_notes(plan: CompactionPlan | None, stored: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a file notes of the plan: nothing if there is none.

    Args:
        plan: of the compact model.
        stored: what the file holds by its names: of these the plan only counts what stays, for loading replaces it.
            Of others, which are buffers that are not persistent, the indices decide the values.

    Raises:
        InvalidValue: if it is no plan.
        MaskMismatch: if it is that of another model.
    """
    if plan is None:
        return {}
    if not isinstance(plan, CompactionPlan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"plan is {shown(plan)}", "it is what compaction gave", "write plan=compacted.plan")
    _check_fits(plan, stored)
    plain = asdict(plan)
    for one in plain["kept"]:
        if one["name"] in stored:
            one["indices"] = len(one["indices"])
    return {"plan": plain}


def _check_fits(plan: CompactionPlan, stored: Mapping[str, Tensor]) -> None:
    cut = {name: list(shape) for name, shape in plan.shapes.items()}
    for one in plan.kept:
        cut[one.name][one.dim] = len(one.indices)
    for name, tensor in stored.items():
        if name in cut and cut[name] != [*tensor.shape]:
            raise MaskMismatch(
                f"{name!r} is of shape {tuple(tensor.shape)} in the model, and the plan leaves {tuple(cut[name])}",
                "a file holds the plan of its own model, so that it loads into the dense architecture",
                "export what bb.compact gave, whole: bb.export(compacted, ...)",
            )


def plan_in(notes: Mapping[str, Any], path: Path, remedy: str) -> CompactionPlan | None:
    """The plan that a file notes, if it notes one.

    Raises:
        CorruptFile: if it is not that.
    """
    if "plan" not in notes:
        return None
    plain = notes["plan"]
    kept = [{**one, "indices": _indices(one["indices"])} for one in plain["kept"]]
    return conform(CompactionPlan, {**plain, "kept": kept}, path, remedy)


def _indices(given: int | list[int]) -> list[int]:
    return list(range(given)) if isinstance(given, int) else given
