"""The compaction plan in the notes of a file: how an instance of the dense architecture is made to fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from budbreak.compaction import CompactionPlan
from budbreak.files import conform


def plan_notes(plan: CompactionPlan | None, stored: Collection[str]) -> dict[str, Any]:
    """What a file notes of the plan: nothing if there is none.

    Args:
        plan: of the compact model.
        stored: names whose values the file holds: of these it only counts what stays, for loading replaces it. Of
            others, which are buffers that are not persistent, the indices decide the values.
    """
    if plan is None:
        return {}
    plain = asdict(plan)
    for one in plain["kept"]:
        if one["name"] in stored:
            one["indices"] = len(one["indices"])
    return {"plan": plain}


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
