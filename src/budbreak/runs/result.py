"""What a run measured: frozen values, read from and written to one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.errors import CorruptFile
from budbreak.storage import read_json, write_json

SCHEMA = 1
FILE_NAME = "results.json"


@dataclass(frozen=True)
class LayerResult:
    """One prunable weight at the end of a level.

    Args:
        name: the state_dict name of the weight.
        kept: weights that stay, of ``total``.
        units: output units; ``static_units`` of them have no incoming weight left.
        dynamic: share of the layer's outputs that were zero though not static, over all samples, in [0, 1];
            None where no nonlinearity follows this weight directly.
    """

    name: str
    kept: int
    total: int
    units: int
    static_units: int
    dynamic: float | None


@dataclass(frozen=True)
class EpochResult:
    """One evaluation during a level; ``epoch`` 0 is right after rewinding, before any training.

    ``loss`` is the mean training loss of the epoch (None at epoch 0); dead neuron rates are shares in [0, 1]
    on the probe's subset, None where that epoch was not probed.
    """

    epoch: int
    loss: float | None
    validation_accuracy: float
    dnr_total: float | None
    dnr_static: float | None
    dnr_dynamic: float | None


@dataclass(frozen=True)
class LevelResult:
    """One arm, one seed, one level, after its training.

    Args:
        density: kept / prunable; ``density_all``: non-zero parameters / all parameters.
        metrics: test_accuracy, validation_accuracy, train_loss and dnr_total, dnr_static, dnr_dynamic,
            dnr_permanent, dnr_alive (dynamic / units that are not static); all shares in [0, 1] but the loss.
        seconds: wall-clock time of the level; ``epochs``: all its trainings together.
        invariants: what was asserted, e.g. ``{"zeros held": True}``.
    """

    arm: str
    seed: int
    level: int
    kept: int
    total: int
    density: float
    density_all: float
    epochs: int
    steps: int
    seconds: float
    metrics: Mapping[str, float]
    invariants: Mapping[str, bool]
    layers: tuple[LayerResult, ...]
    curve: tuple[EpochResult, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairedDifference:
    """An arm minus the reference arm at one level, paired by seed.

    Args:
        metric: the name in `LevelResult.metrics`.
        mean, low, high: mean difference and its 95 % t-interval over ``n`` seeds; low = high = None for n = 1.
    """

    level: int
    density: float
    arm: str
    reference: str
    metric: str
    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RunResult:
    """A finished (or interrupted) run: everything its report shows.

    Args:
        identity: digest of the resolved recipe; the environment is not part of it.
        arms: the first is the reference of all differences.
        complete: False while jobs are missing.
        seconds: wall-clock time over all sessions of the run.
    """

    name: str
    identity: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    complete: bool
    seconds: float
    levels: tuple[LevelResult, ...]
    differences: tuple[PairedDifference, ...]

    def save(self, folder: Path) -> Path:
        """Write ``results.json`` into a run's folder, atomically; returns its path."""
        path = folder / FILE_NAME
        write_json(path, {"schema": SCHEMA, **asdict(self)})
        return path


def load_result(folder: Path) -> RunResult:
    """Read a run's ``results.json``.

    Raises:
        CorruptFile: if there is none, or it was changed, or another version wrote it.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise CorruptFile(f"{folder} holds no {FILE_NAME}", "a run's folder has one", "give the folder of a run")
    body = read_json(path)
    if body.pop("schema", None) != SCHEMA:
        raise CorruptFile(f"{path} has another schema", f"this version reads schema {SCHEMA}", "run the recipe again")
    body["levels"] = tuple(_level(level) for level in body["levels"])
    body["differences"] = tuple(PairedDifference(**row) for row in body["differences"])
    body.update(arms=tuple(body["arms"]), seeds=tuple(body["seeds"]))
    return RunResult(**body)


def _level(body: dict[str, Any]) -> LevelResult:
    body["layers"] = tuple(LayerResult(**layer) for layer in body["layers"])
    body["curve"] = tuple(EpochResult(**epoch) for epoch in body["curve"])
    body["notes"] = tuple(body["notes"])
    return LevelResult(**body)
