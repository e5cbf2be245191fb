"""A cell: one pruned network in every form and runtime, measured side by side in one run, as a small file."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.findings import current_commit
from budbreak.exporting import DENSE, Latency
from budbreak.files import read_json, write_json
from budbreak.training import environment

KIND = "deployment 1"
_LIBRARIES = ("onnx", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Form:
    """A network in a runtime.

    Args:
        network: "dense", "as is", "compact", "sparse rows" or "factors 1/N"; runtime: one of `RUNTIMES`.
        bytes: of the files that the runtime is given; of the weights for torch.
        latencies: one for each batch size; seconds.
        validation: how good it is on what choices may look at; None where the network is not trained.
        test: quality -> how good it is on what no choice looked at; the first is the one to judge by.
    """

    network: str
    runtime: str
    bytes: int
    latencies: tuple[Latency, ...]
    validation: float | None
    test: Mapping[str, float]

    @property
    def key(self) -> str:
        """As `Cell.chosen` names it.

        >>> Form("compact", "onnx", 1, (), None, {}).key
        'compact in onnx'
        """
        return f"{self.network} in {self.runtime}"

    @property
    def quality(self) -> float | None:
        """On the test data."""
        return next(iter(self.test.values()), None)

    def at(self, batch: int) -> Latency:
        """That of a batch size."""
        return next(one for one in self.latencies if one.batch == batch)


@dataclass(frozen=True)
class Method:
    """How a cell was measured.

    Args:
        mode: of the clock: "cpu" or "wall"; threads: of each runtime.
        rounds: samples of each latency.
        max_drop: validation quality that may be lost.
        others: share of the machine that other processes used meanwhile, in [0, 1].
    """

    mode: str
    threads: int
    rounds: int
    max_drop: float
    others: float


@dataclass(frozen=True)
class Cell:
    """One pruned network.

    Args:
        study: of which network; name: of the cell; what: was pruned how, in words.
        sparsity: zeros / prunable weights.
        parameters: "dense", "kept" (not zero) and "compact"; macs: "dense" and "compact", of one sample; nothing
            compact where compaction was refused.
        files: what is in it -> bytes, of files that torch loads: "dense" and "as is" in plain safetensors, "as is,
            packed" and "compact, packed".
        bounds: the entropy bounds of the packed ones.
        forms: networks in runtimes, of one run.
        chosen: by the product's own chooser, by its own measurement: the key of a form; "" if none holds the floor.
        seeds: quality on the test data of (dense, pruned) network, seed by seed, the first of which is this one.
        notes: what was left out.
        method, environment, date, commit: how, where, when and by what code it was measured.
    """

    study: str
    name: str
    what: str
    sparsity: float
    parameters: Mapping[str, int]
    macs: Mapping[str, int]
    files: Mapping[str, int]
    bounds: Mapping[str, float]
    forms: tuple[Form, ...]
    chosen: str
    seeds: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]
    method: Method
    environment: Mapping[str, Any] = field(default_factory=lambda: {**environment(), **dict(_versions())})
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())
    commit: str = field(default_factory=current_commit)

    def form(self, network: str, runtime: str) -> Form | None:
        """A form, if it was measured."""
        return next((one for one in self.forms if (one.network, one.runtime) == (network, runtime)), None)

    @property
    def dense(self) -> Form:
        """The dense network in torch: the one that floors are below."""
        return next(one for one in self.forms if one.network == DENSE)

    @property
    def floor(self) -> float | None:
        """Validation quality that is to be held; None where the network is not trained."""
        return None if self.dense.validation is None else self.dense.validation - self.method.max_drop

    def write(self, folder: Path) -> Path:
        """Write the cell below a folder; returns its path."""
        path = path_of(folder, self.study, self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self), KIND)
        return path


def path_of(folder: Path, study: str, name: str) -> Path:
    """Where a cell lies."""
    return folder / study / f"{name}.json"


def read_cells(folder: Path) -> list[Cell]:
    """Every cell below a folder, by path.

    Raises:
        CorruptFile: if one is damaged.
    """
    return [read_json(path, KIND, Cell) for path in sorted(folder.glob("*/*.json"))]


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
