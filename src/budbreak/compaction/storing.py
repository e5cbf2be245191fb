"""Compact models on disk: weights and plan, without a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from budbreak.compaction.plan import KIND, CompactionPlan
from budbreak.errors import MaskMismatch, MissingData
from budbreak.files import corrupt, digest, read_json, read_tree, write_json, write_tree
from budbreak.live import extra_states, load_state, model_state

_PLAN, _TENSORS = "plan.json", "weights.safetensors"
_WEIGHTS = "compact weights 1"
_REMEDY = "give a folder that compacted.save(folder) wrote"


def save_compact(model: nn.Module, plan: CompactionPlan, folder: Path) -> None:
    """See `Compacted.save`: the plan comes last, and names the weights that belong to it."""
    plain = asdict(plan)
    state: dict[str, Any] = {"state": model_state(model), "extra": extra_states(model)}
    write_tree(folder / _TENSORS, state, _WEIGHTS, store=digest(plain))
    write_json(folder / _PLAN, plain, KIND)


def load_compact(folder: str | Path, model: nn.Module) -> nn.Module:
    """The compact model in a folder, from an instance of the dense architecture.

    Args:
        folder: which `Compacted.save` wrote.
        model: any instance of the dense architecture, with whatever weights; it stays as it is.

    Returns:
        A smaller copy with the stored weights and buffers, on the device of ``model``.

    Raises:
        MissingData: if there is none.
        CorruptFile, StoreMismatch: if a file was changed, or is of another compact model.
        MaskMismatch: if the model is of another architecture, or has other dtypes.
    """
    plan, tree = read_compact(Path(folder))
    smaller = plan.apply(model)
    state = cast("dict[str, Tensor]", tree["state"])
    _check_dtypes(smaller, state)
    load_state(smaller, state, extra=cast("dict[str, Any]", tree["extra"]))
    return smaller


def holds_compact(folder: Path) -> bool:
    """Whether a folder has the files of a compact model."""
    return (folder / _PLAN).is_file() and (folder / _TENSORS).is_file()


def read_compact(folder: Path) -> tuple[CompactionPlan, Mapping[str, Any]]:
    """The plan, and what "state" and "extra" hold; see `load_compact` for what is raised."""
    try:
        plan = read_json(folder / _PLAN, KIND, CompactionPlan, remedy=_REMEDY)
        stores = {digest(asdict(plan))}
        tree = read_tree(folder / _TENSORS, _WEIGHTS, stores=stores, remedy=_REMEDY)
    except FileNotFoundError as error:
        rule = "a compact model is a folder with plan.json and weights.safetensors"
        raise MissingData(f"no file {error.filename or folder}", rule, "check the path") from None
    if not isinstance(tree, dict) or set(tree) != {"state", "extra"}:
        raise corrupt(folder / _TENSORS, "it holds no state of a model", _REMEDY)
    return plan, cast("Mapping[str, Any]", tree)


def _check_dtypes(model: nn.Module, state: dict[str, Tensor]) -> None:
    for name, tensor in model_state(model).items():
        if name in state and state[name].dtype != tensor.dtype:
            raise MaskMismatch(
                f"{name!r} is {state[name].dtype} in the file and {tensor.dtype} in the model",
                "weights are loaded as they were stored, and never rounded",
                "build the model with the dtype that it was saved with",
            )
