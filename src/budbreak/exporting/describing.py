"""What the card of a network says: where it comes from, how good, how sparse, how large and how fast it is."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from budbreak.compaction import Compacted
from budbreak.errors import BudbreakError
from budbreak.exporting.artifact import Artifact
from budbreak.exporting.cards import Card, Section
from budbreak.exporting.side_by_side import SideBySide, recommendation
from budbreak.graph import trace
from budbreak.live import state_digest
from budbreak.masks import Mask
from budbreak.training import environment

if TYPE_CHECKING:  # recipes need pydantic, which `import budbreak` does not load
    from budbreak.results import RunResult
    from budbreak.studies import Leaving

_LIBRARIES = ("onnx", "onnxruntime", "openvino", "safetensors")


def describe(
    leaving: Leaving,
    network: nn.Module | Compacted,
    artifacts: Sequence[Artifact],
    *,
    example: Tensor,
    measured: SideBySide | None = None,
    more: Mapping[str, Section] | None = None,
) -> Card:
    """The card of a network that left.

    Args:
        leaving: what it is; pruned weights are zeros.
        network: what was written: the same, or compacted.
        artifacts: its files.
        example: what they were verified on.
        measured: latencies, if they were.
        more: heading -> what else is known.
    """
    sections: dict[str, Section] = {
        "network": _network(leaving),
        "recipe": _recipe(leaving),
        "tasks": list(_tasks(leaving.task)),
        "accuracy": list(_accuracies(leaving)),
        "size": _size(leaving, network.model if isinstance(network, Compacted) else network, example[:1]),
        "compaction": _compaction(network),
        "files": [_file(one, len(example)) for one in artifacts],
        "latency": [] if measured is None else _latencies(measured),
        "measured": {} if measured is None else _how(measured, artifacts),
        **(more or {}),
        "environment": {**environment(), **dict(_versions())},
    }
    return Card(_title(leaving), sections)


def _title(leaving: Leaving) -> str:
    name = "Network" if leaving.run is None else leaving.run.name
    arm = "" if leaving.arm is None else f", {leaving.arm}, seed {leaving.seed}"
    return f"{name}{arm}{'' if leaving.subject.level is None else f', level {leaving.subject.level}'}"


def _network(leaving: Leaving) -> dict[str, Any]:
    return {
        "origin": leaving.subject.origin,
        "class": type(leaving.subject.model).__name__,
        "data": leaving.subject.dataset,
        "arm": leaving.arm,
        "seed": leaving.seed,
        "level": leaving.subject.level,
        "run": leaving.run and leaving.run.identity,
        "weights (SHA-256)": state_digest(leaving.subject.model.state_dict()),
    }


def _recipe(leaving: Leaving) -> Mapping[str, Any]:
    """All values of the arm."""
    from budbreak.studies import read_task

    if leaving.run is not None:
        return leaving.run.recipe.get("arms", {}).get(leaving.arm, {})
    try:
        return {} if leaving.task is None else read_task(leaving.task).setup
    except FileNotFoundError:
        return {}


def _tasks(folder: Path | None) -> Iterator[dict[str, Any]]:
    """The task, and those that it needed, the last one first."""
    from budbreak.studies import read_task

    if folder is None:
        return
    try:
        task = read_task(folder)
    except FileNotFoundError:
        return  # the store of a loop of one's own
    yield {"task": task.task, "label": task.label, "identity": task.identity}
    for need in task.needs:
        yield from _tasks(folder.parent / need)


def _accuracies(leaving: Leaving) -> Iterator[dict[str, Any]]:
    """Of this seed, and of all seeds of the arm: dense, and at this level."""
    from budbreak.results import TEST_ACCURACY, VALIDATION_ACCURACY, estimate

    if leaving.run is None or leaving.arm is None:
        return
    for level in dict.fromkeys((0, leaving.subject.level)):
        for quantity in (VALIDATION_ACCURACY, TEST_ACCURACY):
            found = _by_seed(leaving.run, leaving.arm, level, quantity.name)
            if found:
                spread = stdev(found.values()) if len(found) > 1 else None
                one = estimate(list(found.values())).within(0, 1)
                yield {
                    "level": level,
                    "quantity": quantity.label,
                    "this seed": found.get(leaving.seed),
                    "mean": one.mean,
                    "standard deviation": spread,
                    "95 % low": one.low,
                    "95 % high": one.high,
                    "seeds": one.n,
                }


def _by_seed(run: RunResult, arm: str, level: int | None, name: str) -> dict[int | None, float]:
    rows = [row for row in run.levels if row.arm == arm and row.level == level and name in row.numbers]
    return {row.seed: row.numbers[name] for row in rows}


def _size(leaving: Leaving, network: nn.Module, example: Tensor) -> dict[str, Any]:
    """Nominal: what is pruned. Effective: what is pruned, or on no path from an input to an output."""
    model = leaving.subject.model
    mask = leaving.subject.mask or Mask.from_zeros(model)
    numbers = {
        "prunable weights": mask.total,
        "sparsity": mask.sparsity,
        "parameters": sum(one.numel() for one in model.parameters()),
        "parameters as it leaves": sum(one.numel() for one in network.parameters()),
    }
    try:
        graph = trace(model, example)
        connected = graph.reachable(mask).connected & mask
        numbers |= {
            "connected weights": connected.kept,
            "effective sparsity": connected.sparsity,
            "MACs, dense": sum(graph.macs()),
            "MACs, effective": sum(graph.macs(connected)),
            "MACs as it leaves": sum(trace(network, example).macs()),
        }
    except BudbreakError as error:
        return {**numbers, "not traced": error.value}
    return numbers


def _compaction(network: nn.Module | Compacted) -> dict[str, Any]:
    """Whether units were cut, and whether they are dead whatever goes in."""
    if not isinstance(network, Compacted):
        return {}
    found: dict[str, Any] = {"largest difference on the images of the files": network.difference}
    if network.on_data is None:
        return {"units cut": "dead whatever goes in: outputs stay as they are", **found}
    return {
        "units cut": "dead on a calibration set alone: outputs for other inputs may differ",
        "samples of the calibration set": network.on_data.samples,
        "largest difference on it": network.on_data.difference,
        **found,
    }


def _file(one: Artifact, samples: int) -> dict[str, Any]:
    return {
        "form": one.format,
        "files": [file.path.name for file in one.files],
        "bytes": one.bytes,
        "SHA-256": [file.sha256 for file in one.files],
        "largest difference": one.agreement.largest,
        "mean difference": one.agreement.mean,
        "predictions that agree": one.agreement.predictions,
        "images": samples,
        "notes": list(one.notes),
    }


def _latencies(measured: SideBySide) -> list[dict[str, Any]]:
    return [
        {
            "network": row.network,
            "runtime": row.runtime,
            "bytes": row.bytes,
            "batch": one.batch,
            "ms, median": 1e3 * one.median,
            "ms, first quartile": 1e3 * one.low,
            "ms, third quartile": 1e3 * one.high,
        }
        for row in measured.rows
        for one in row.latencies
    ]


def _how(measured: SideBySide, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    said = recommendation(measured, {one.format: one.bytes for one in artifacts})
    return {"how": measured.how, "threads": measured.threads, "left out": list(measured.notes), "best": list(said)}


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
