"""What a run measured: frozen values, read from and written to one JSON file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.diagnostics import Finding, Quantity
from budbreak.errors import CorruptFile
from budbreak.files import corrupt, read_json, write_json

KIND = "results 2"
FILE_NAME = "results.json"
_REMEDY = "delete it and run the recipe again: what is complete is read from its tasks, not computed again"

TEST_ACCURACY = Quantity("test_accuracy", "test accuracy", "share", "higher", "measured at the end of a level.")
VALIDATION_ACCURACY = Quantity("validation_accuracy", "validation accuracy", "share", "higher")
TRAIN_LOSS = Quantity("train_loss", "training loss", "nats", "lower", "the mean over an epoch.")
TRAIN_ACCURACY = Quantity("train_accuracy", "training accuracy", "share", "higher", "the mean over an epoch's steps.")
VALIDATION_LOSS = Quantity("validation_loss", "validation loss", "nats", "lower")
TRAINING = (TEST_ACCURACY, VALIDATION_ACCURACY, TRAIN_LOSS)
"""What every training is measured by; the quantities of the diagnostics follow."""
WATCHED_TOO = (TRAIN_ACCURACY, VALIDATION_LOSS)
"""What a training is measured by where a rule or a criterion looks at it."""


@dataclass(frozen=True)
class ArmResult:
    """An arm of the comparison.

    Args:
        reference: the arm that it is compared with; None if with none.
        overrides: dotted field of the recipe -> its plain form, where the arm differs from the recipe.
    """

    name: str
    reference: str | None
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class LayerResult:
    """One prunable weight at the end of a level.

    Args:
        name: the state_dict name of the weight.
        kept: weights that stay, of ``total``.
        numbers: quantity name -> the number of this weight; without those that have no answer here.
    """

    name: str
    kept: int
    total: int
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class EpochResult:
    """One evaluation during a level; ``epoch`` 0 is before any training of it.

    Args:
        numbers: quantity name -> number; train_loss (the mean of the epoch) is absent at epoch 0, those of the
            diagnostics where that epoch was not measured.
    """

    epoch: int
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Counted:
    """How many stay of what a schedule counts; ``what`` that is, in the plural."""

    kept: int
    total: int
    what: str


@dataclass(frozen=True)
class LevelResult:
    """One arm, one seed, one level, after its training.

    Args:
        density: kept / prunable; ``density_all``: non-zero parameters / all parameters.
        seconds: wall-clock time of the level; ``epochs``: all its trainings together.
        numbers: quantity name -> number at the end of the level.
        invariants: what was asserted, e.g. ``{"zeros held": True}``.
        shared: this level was trained once for several arms.
        counted: what the schedule counts, where that is not single weights: whole "units".
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
    numbers: Mapping[str, float]
    invariants: Mapping[str, bool]
    layers: tuple[LayerResult, ...]
    curve: tuple[EpochResult, ...]
    notes: tuple[str, ...] = ()
    shared: bool = False
    counted: Counted | None = None

    @property
    def survivors(self) -> Counted:
        """What the schedule decides: arms that agree in it are comparable."""
        return self.counted or Counted(self.kept, self.total, "weights")


@dataclass(frozen=True)
class Difference:
    """An arm minus its reference at one level: paired by seed, unless ``n_reference`` says otherwise.

    Args:
        density: of the arm at this level.
        quantity: its name.
        mean, low, high: mean difference and its 95 % t-interval over ``n`` seeds; low = high = None for n = 1.
        p: of the t-test that the mean is zero; None where there is no interval.
        p_adjusted: p by Holm's correction over all differences of this quantity in the run.
        n_reference: the seeds of the reference where they are no pairs with the arm's ``n``: two groups, by Welch.
    """

    level: int
    density: float
    arm: str
    reference: str
    quantity: str
    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    n_reference: int | None = None


@dataclass(frozen=True)
class RunResult:
    """A finished (or interrupted) run: everything its report shows.

    Args:
        identity: digest of the resolved recipe; the environment is not part of it.
        recipe: its resolved plain form.
        complete: False while tasks are missing.
        seconds: wall-clock time over all sessions of the run.
        quantities: everything that is measured, in the order in which it is shown.
        findings: what was found beside it, for the figures of their kinds.
    """

    name: str
    identity: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    arms: tuple[ArmResult, ...]
    seeds: tuple[int, ...]
    complete: bool
    seconds: float
    quantities: tuple[Quantity, ...]
    levels: tuple[LevelResult, ...]
    differences: tuple[Difference, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The names of the arms, in order."""
        return tuple(arm.name for arm in self.arms)

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
    arms, names = result.arm_names, {quantity.name for quantity in result.quantities}
    cells = [(level.arm, level.seed, level.level) for level in result.levels]
    if len(set(arms)) != len(arms) or any(arm.reference not in (None, *arms) for arm in result.arms):
        return "its arms refer to others that are not there"
    if len(set(cells)) != len(cells) or not all(arm in arms and seed in result.seeds for arm, seed, _ in cells):
        return "its levels are not those of its arms and seeds"
    if any(not 0 <= level.kept <= level.total for level in result.levels):
        return "a level keeps more weights than there are"
    if not all(0 <= timed.seconds < math.inf for timed in (result, *result.levels)):
        return "a duration is no number of seconds"
    pairs = {(arm.name, arm.reference) for arm in result.arms}
    if not all((row.arm, row.reference) in pairs for row in result.differences):
        return "its differences are not those of its arms"
    unknown = sorted(_named(result) - names)
    return f"it holds numbers that it does not explain: {unknown[0]}" if unknown else ""


def _named(result: RunResult) -> set[str]:
    """The names of all numbers in a result."""

    def of_level(level: LevelResult) -> Iterable[Mapping[str, float]]:
        yield level.numbers
        yield from (epoch.numbers for epoch in level.curve)
        yield from (layer.numbers for layer in level.layers)

    numbers = {name for level in result.levels for measured in of_level(level) for name in measured}
    return numbers | {row.quantity for row in result.differences}
