"""Ranks and singular values before and after each pruning: a small file for each such moment, in a task's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from budbreak.diagnostics import Measurement, Rank
from budbreak.errors import BudbreakError
from budbreak.files import read_json, write_json
from budbreak.recipes import Setup

KIND = "spectra 1"
_FOLDER = "spectra"
_DIGITS = 7  # float32 has no more
_RANK = Rank.quantities[1].name

Moment = Literal["start", "end"]
"""Of a level: right after its pruning, and after its training, which is right before the next pruning."""


@dataclass(frozen=True)
class Spectrum:
    """Of one weight.

    Args:
        rank: its numerical rank.
        values: its singular values in falling order, to 7 digits.
    """

    weight: str
    rank: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class NotedSpectra:
    """What `note_spectra` keeps of a moment."""

    level: int
    moment: Moment
    layers: tuple[Spectrum, ...]

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """Weight name -> singular values."""
        return {layer.weight: layer.values for layer in self.layers}

    @property
    def significant(self) -> dict[str, tuple[float, ...]]:
        """Those that are not rounding; at least one, which may be."""
        return {layer.weight: layer.values[: max(1, layer.rank)] for layer in self.layers}


def notes_spectra(setup: Setup, seed: int) -> bool:
    """Whether they are kept: of the first seed, and where weights do not return, or a pruning would not be all."""
    return seed == 0 and setup.prune.rewind != "weights"


def note_spectra(folder: Path, identity: str, level: int, moment: Moment, measured: Measurement) -> None:
    """Keep the spectra of a moment, if a diagnostic has looked at them.

    Args:
        folder: of the task.
        identity: of the task.
        level: when.
        moment: when within it.
        measured: what the diagnostics found then.
    """
    ranks = {name: numbers[_RANK] for name, numbers in measured.layers.items() if _RANK in numbers}
    layers = tuple(
        Spectrum(name, int(ranks[name]), tuple(float(f"{value:.{_DIGITS}g}") for value in values))
        for name, values in measured.spectra.items()
        if name in ranks
    )
    if layers:
        noted = NotedSpectra(level, moment, layers)
        write_json(_path(folder, level, moment), asdict(noted), KIND, store=identity)


def read_spectra(folder: Path, identity: str) -> Mapping[tuple[int, Moment], NotedSpectra]:
    """What was kept in a task's folder; a file that was damaged is left out, as only a figure is made of it."""
    found: dict[tuple[int, Moment], NotedSpectra] = {}
    for path in sorted((folder / _FOLDER).glob("*.json")):
        try:
            noted = read_json(path, KIND, NotedSpectra, stores={identity})
        except (BudbreakError, OSError):
            continue
        found[noted.level, noted.moment] = noted
    return found


def _path(folder: Path, level: int, moment: Moment) -> Path:
    return folder / _FOLDER / f"level-{level}-{moment}.json"
