"""What a run measured: frozen values, read from and written to one JSON file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.errors import CorruptFile
from budbreak.files import corrupt, read_json, write_json

KIND = "results 1"
FILE_NAME = "results.json"
_REMEDY = "delete it and run the recipe again: what is complete is read from the jobs, not computed again"


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
        write_json(path, asdict(self), KIND, store=self.identity)
        return path


def load_result(folder: Path, *, identity: str | None = None) -> RunResult:
    """Read a run's ``results.json``.

    Args:
        folder: of the run.
        identity: of the recipe that it must belong to; any if None.

    Raises:
        CorruptFile: if there is none, or it was changed, or another version wrote it.
        StoreMismatch: if it belongs to another recipe.
    """
    path = folder / FILE_NAME
    stores = None if identity is None else {identity}
    try:
        result = read_json(path, KIND, RunResult, stores=stores, remedy=_REMEDY)
    except FileNotFoundError:
        raise CorruptFile(
            f"{folder} holds no {FILE_NAME}", "a run's folder has one", "give the folder of a run"
        ) from None
    wrong = _inconsistency(result)
    if wrong:
        raise corrupt(path, wrong, _REMEDY)
    return result


def _inconsistency(result: RunResult) -> str:
    """What cannot be in a result that a run wrote; empty if nothing."""
    cells = [(one.arm, one.seed, one.level) for one in result.levels]
    if len(set(cells)) != len(cells) or not all(arm in result.arms and seed in result.seeds for arm, seed, _ in cells):
        return "its levels are not those of its arms and seeds"
    if any(not 0 <= one.kept <= one.total for one in result.levels):
        return "a level keeps more weights than there are"
    if not all(0 <= one.seconds < math.inf for one in (result, *result.levels)):
        return "a duration is no number of seconds"
    pairs = [(one.arm, one.reference) for one in result.differences]
    if not all(arm in result.arms and other in result.arms for arm, other in pairs):
        return "its differences are not those of its arms"
    return ""
