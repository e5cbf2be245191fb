"""The weights of a network that lies on disk, without the network: for what looks at nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from budbreak.compaction import holds_compact, read_compact
from budbreak.errors import InvalidValue, MissingData
from budbreak.studies.folder import RUN_TASKS
from budbreak.studies.inspect import Request, newest_checkpoint, task_folder
from budbreak.studies.levelstores import store_of_level, weights_of_level
from budbreak.studies.weights import read_state


@dataclass(frozen=True)
class StoredWeights:
    """Weights from a file or a store.

    Args:
        weights: state_dict name -> tensor of two dimensions or more, with zeros where it is pruned.
        origin: where they come from, in words.
    """

    weights: Mapping[str, Tensor]
    origin: str


def stored_weights(
    model: str, *, arm: str | None = None, seed: int | None = None, level: int | None = None
) -> StoredWeights:
    """The weights that a person names; those that the mask covers, where there is one.

    Args:
        model: a safetensors file with a state dict (all its floating point tensors of two dimensions or more with
            elements); the folder of a run, of a compact model, of a task or of a store of `iterate`.
        arm: of a run; the only one unless given.
        seed: of a run; 0 unless given.
        level: at whose end; the newest checkpoint unless given. A run keeps the levels that are over; a store of
            `iterate` those, too, with ``keep="all"``, else the last one.

    Raises:
        BudbreakError: if something is missing, damaged, or not what it should be.
    """
    path = Path(model)
    if holds_compact(path) and {arm, seed, level} == {None}:
        return StoredWeights(_matrices(model, read_compact(path)[1]["state"]), f"compact model of {model}")
    if path.is_dir():
        return _of_folder(path, Request(model, arm=arm, seed=seed), level)
    asked = {"arm": arm, "seed": seed, "level": level}
    given = [f"{name} is {value!r}" for name, value in asked.items() if value is not None]
    if not path.is_file():
        raise MissingData(
            f"{model!r} is neither a file nor a folder",
            "stored weights are a safetensors file, or the folder of a run or of a store of bb.iterate",
            "runs/NAME with --arm ARM is the network of a run",
        )
    if given:
        raise InvalidValue(f"{given[0]}, and {model} is a file", "a file holds one network", "take it out")
    return StoredWeights(_matrices(model, read_state(path)), f"weights of {model}")


def _matrices(model: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    found = {name: tensor for name, tensor in floats.items() if tensor.dim() > 1 and tensor.numel()}
    if not found:
        have = f"{len(state)} tensors" if state else "nothing"
        rule = "weights are floating point tensors of two dimensions or more, with elements"
        raise InvalidValue(f"{model} holds {have}, and no weight among them", rule, "give a state dict of a network")
    return found


def _of_folder(path: Path, request: Request, level: int | None) -> StoredWeights:
    if request.seed is not None and not (path / RUN_TASKS).is_file():
        value = f"seed is {request.seed}, and {path} is not the folder of a run"
        raise InvalidValue(value, "a run has seeds", "give the folder of a run, or take it out")
    folder = task_folder(request) or path
    if level is not None:
        return _of_level(*store_of_level(folder, level), request.model, level)
    checkpoint, _ = newest_checkpoint(folder)
    stands = f"level {checkpoint.position.level}, epoch {checkpoint.position.epochs}"
    weights = {name: checkpoint.model[name] for name in checkpoint.mask}
    return StoredWeights(weights, f"{request.model}: {stands}")


def _of_level(folder: Path, number: int, model: str, level: int) -> StoredWeights:
    found, mask, _ = weights_of_level(folder, number)
    return StoredWeights({name: found.state[name] for name in mask}, f"{model}: level {level}")
