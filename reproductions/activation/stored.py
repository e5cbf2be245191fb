"""The networks that a finished run left in the folders of its tasks, and the cells of what is measured on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from budbreak.data import Split, find
from budbreak.errors import InvalidValue
from budbreak.iteration import Store
from budbreak.masks import Mask, prunable_parameters
from budbreak.networks import build
from budbreak.recipes import Setup, make_setup
from budbreak.studies import Request, Subject, find_subject, read_task
from reproductions.cells import Cell, read_lines, write_lines

STANDARD = "magnitude-authors"
"""The arm whose dense training goes on to the end: before its pruning it is the standard network."""

_REMEDY = "restore it, or delete it and measure it again"


@dataclass(frozen=True)
class NetworkCell:
    """What the pruned network of one arm and seed is worth, beside its accuracy.

    Args:
        recipe, run, task, arm, seed: of the pruned network; see `Cell`.
        environment: where it was measured.
        layers: weight -> "units", "survivors" (units of which the mask keeps a weight), "dead_positive" (others, of a
            bias > 0), and "width", units after compaction.
        ratios: weight -> (where, r): of the singular values that stand there in falling order, from 0 the first to 1
            the last, the change by the first pruning in percent; -100 where they went to zero.
        thirds: weight -> the mean r over the largest, the middle and the smallest third.
        along: weight -> the share of its first change that kept its singular vectors, in [0, 1]; none for a weight that
            did not change, and of cells older than the question.
        macs: of connected weights, at each level, for one image.
        parameters: before and after compaction; ``compact_macs`` the same of multiply-accumulates.
        latencies: (batch, dense, compact, speedup, low, high): seconds, and how many times as long dense takes.
        difference: the largest of an output by compaction, on the example.
        left: what compaction left, in words.
    """

    recipe: str
    run: str
    task: str
    arm: str
    seed: int
    environment: Mapping[str, Any]
    layers: Mapping[str, Mapping[str, int]]
    ratios: Mapping[str, tuple[tuple[float, float], ...]]
    thirds: Mapping[str, tuple[float, float, float]]
    along: Mapping[str, float]
    macs: tuple[int, ...]
    parameters: tuple[int, int]
    compact_macs: tuple[int, int]
    latencies: tuple[tuple[int, float, float, float, float, float], ...]
    difference: float
    left: tuple[str, ...]

    kind = "network 1"

    @property
    def file_name(self) -> str:
        """Below the folder of all cells, one folder deeper than these."""
        return network_name(self.recipe, self.arm, self.seed)


@dataclass(frozen=True)
class FactorCell:
    """The standard network of a seed at the ranks, or the parameters, of a pruned one.

    Args:
        recipe, run, task, arm, seed: of the pruned network; see `Cell`.
        standard: the task of the standard one.
        environment: where it was measured.
        method: "pca", "svd", or "trained": factors by SVD, fine-tuned as the recipe trains.
        at: "rank": each hidden layer has the numerical rank of the pruned one; "parameters": the largest rank whose
            factors hold no more weights than the mask keeps of that layer.
        ranks: weight -> its rank; layers that are not named stay as they are.
        weights: that the layers hold in this form.
        test_accuracy, validation_accuracy: in [0, 1].
        epochs: of fine-tuning; 0 where there is none.
        seconds: of it.
    """

    recipe: str
    run: str
    task: str
    arm: str
    seed: int
    standard: str
    environment: Mapping[str, Any]
    method: str
    at: str
    ranks: Mapping[str, int]
    weights: int
    test_accuracy: float
    validation_accuracy: float
    epochs: int
    seconds: float

    kind = "factors 1"

    @property
    def file_name(self) -> str:
        """See `NetworkCell`."""
        return factors_name(self.recipe, self.arm, self.seed, f"{self.method}-{self.at}")


def network_name(recipe: str, arm: str, seed: int) -> str:
    """Of the file of a network's cell."""
    return f"{recipe}/networks/{arm}-seed{seed}.json"


def factors_name(recipe: str, arm: str, seed: int, form: str) -> str:
    """Of the file of a row of factors; ``form``: e.g. "pca-rank"."""
    return f"{recipe}/factors/{arm}-{form}-seed{seed}.json"


Stored = NetworkCell | FactorCell


def write_stored(folder: Path, cell: Stored) -> None:
    """Write a cell below a folder."""
    write_lines(folder / cell.file_name, {"kind": cell.kind, **asdict(cell)})


def read_networks(folder: Path) -> list[NetworkCell]:
    """All of them below a folder, by recipe, arm and seed."""
    paths = sorted(folder.glob("*/networks/*.json"))
    return sorted((read_lines(path, NetworkCell.kind, NetworkCell, _REMEDY) for path in paths), key=_order)


def read_factors(folder: Path) -> list[FactorCell]:
    """All of them below a folder, by recipe, arm and seed."""
    paths = sorted(folder.glob("*/factors/*.json"))
    return sorted((read_lines(path, FactorCell.kind, FactorCell, _REMEDY) for path in paths), key=_order)


def _order(cell: Stored) -> tuple[str, str, int]:
    return cell.recipe, cell.arm, cell.seed


@dataclass(frozen=True)
class StoredNetwork:
    """The end of one arm under one seed, opened.

    Args:
        cell: what was harvested of it.
        run: the folder of the run; ``data_dir``: of the data.
    """

    cell: Cell
    run: Path
    data_dir: Path | None

    @property
    def folder(self) -> Path:
        """Of its task."""
        return self.run.parent / "tasks" / self.cell.task

    @property
    def setup(self) -> Setup:
        """Of its arm."""
        return make_setup(self.cell.setup)

    def pruned(self) -> Subject:
        """The network after its last training, with its mask and data.

        Raises:
            BudbreakError: if it is not there, or damaged.
        """
        return find_subject(Request(str(self.folder), data_dir=self.data_dir))

    def dense(self) -> Subject:
        """The network before its first pruning."""
        return find_subject(Request(str(self.folder.parent / self.dense_task), data_dir=self.data_dir))

    @property
    def dense_task(self) -> str:
        """The name of the folder of the training before the first pruning.

        Raises:
            InvalidValue: if it was pruned at initialization.
        """
        needs = read_task(self.folder).needs
        if not needs:
            value = f"{self.cell.task} starts from no dense training"
            raise InvalidValue(value, "networks are compared with what they were before pruning", "leave this arm out")
        return needs[0]

    def mask(self, level: int) -> Mask:
        """Of a level."""
        store = Store(self.folder)
        store.look()
        return store.load_mask(level)

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """The weights that are pruned, in order, without the classifier's."""
        empty = build(self.setup.network.name, find(self.setup.data.name), seed=0)
        *names, _ = prunable_parameters(empty)
        return tuple(names)


def opened(cells: Iterable[Cell], run: Path, data_dir: Path | None) -> Iterator[StoredNetwork]:
    """The networks of a run of which there are cells; one whose first gate was not reached was never pruned."""
    for cell in cells:
        if cell.run == run.name and cell.levels[-1] > 0:
            yield StoredNetwork(cell, run, data_dir)


def example_of(parts: Split, count: int = 16) -> Tensor:
    """The first test images as the network takes them."""
    chosen = parts.test.first(count)
    return chosen.normalised(chosen.images)
