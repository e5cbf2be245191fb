"""Train random candidates in full on a small budget, and keep the accuracy after each epoch and what rankers said."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import budbreak as bb
from budbreak.activations import parameter_groups
from budbreak.data import Images, load, split
from budbreak.files import read_json, write_json
from budbreak.live import replace_activations
from budbreak.masks import Layer
from budbreak.networks import build
from budbreak.search import Lagging, RandomSearch, Report, SearchResult, activation_name
from budbreak.training import Engine, choose_engine, environment, evaluate, train_epoch
from reproductions.searching.rankers import Ranked, ranked

KIND = "search measured 1"
TRIALS = Path("searches", "trials")
"""Where the files lie, below the folder of all cells."""
_BATCH = 256  # images that rankers look at
_NEVER = Lagging(startup=10**6)  # a rule, so that accuracies are reported; it stops nothing


@dataclass(frozen=True)
class Setting:
    """One pruned network, and how long its candidates are trained.

    Args:
        data, network: their names; sparsity: of each layer; seed: of the network, its mask and its candidates.
        limit: training images at most; dense: epochs before the pruning; epochs: of a candidate; candidates: how many.
    """

    data: str
    network: str
    sparsity: float
    seed: int
    limit: int = 5000
    dense: int = 8
    epochs: int = 8
    candidates: int = 24
    batch_size: int = 64

    @property
    def init(self) -> str | None:
        """How the network begins, see `build`: that of SAFS as in the recipe."""
        return "own" if self.network == "lenet-5-safs" else None

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.data}-{self.network}-{100 * self.sparsity:g}-seed{self.seed}"


SETTINGS = (
    *(Setting("digits", "mlp", sparsity, seed, dense=20) for sparsity in (0.95, 0.97) for seed in (0, 1)),
    *(Setting("mnist", "lenet-5-safs", sparsity, seed) for sparsity in (0.97, 0.99) for seed in (0, 1)),
)


@dataclass(frozen=True)
class Measured:
    """One candidate.

    Args:
        operators: by site, in order.
        accuracies: on the validation images, after each epoch; none if it diverged.
        rankers: what each said of it before it was trained.
    """

    operators: tuple[str, ...]
    accuracies: tuple[float, ...]
    rankers: Mapping[str, Ranked]


@dataclass(frozen=True)
class Found:
    """All candidates of a setting.

    Args:
        setting: what was trained.
        candidates: in the order in which they were drawn.
        epoch_seconds: CPU time of an epoch with its evaluation, of the network with its own activations.
        environment: where it was measured.
    """

    setting: Setting
    candidates: tuple[Measured, ...]
    epoch_seconds: float
    environment: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Bench:
    setting: Setting
    train: Images
    validation: Images
    engine: Engine

    @property
    def example(self) -> tuple[Tensor, Tensor]:
        """One batch."""
        images = self.train.first(_BATCH)
        return self.engine.place(images.normalised(images.images)), images.labels

    def fit(self, model: nn.Module, epochs: int, report: Report | None = None) -> None:
        """Train, and report the validation accuracy after each epoch."""
        optimizer = torch.optim.Adam(parameter_groups(model), lr=1e-3, betas=(0.9, 0.99), weight_decay=5e-4, fused=True)
        for epoch in range(1, epochs + 1):
            train_epoch(model, optimizer, self.train, engine=self.engine, batch_size=self.setting.batch_size)
            if report is not None:
                report(epoch, self.accuracy(model))

    def epoch_seconds(self, model: nn.Module) -> float:
        """CPU time of an epoch, after one to warm up."""
        moved = copy.deepcopy(model)
        self.fit(moved, 1)
        begin = time.process_time()
        self.fit(moved, 1, lambda epoch, accuracy: None)
        return time.process_time() - begin

    def accuracy(self, model: nn.Module) -> float:
        """On the validation images."""
        return evaluate(model, self.validation, engine=self.engine).accuracy


def measure(setting: Setting, folder: Path, *, store: Path, data_dir: Path | None, most: int | None = None) -> Path:
    """Measure one setting, unless it is there; a search that was killed goes on.

    Args:
        setting: what.
        folder: of the results.
        store: the folder of what a search must not lose when it is killed.
        data_dir: where the data sets are.
        most: candidates at most, where there is no time for all.
    """
    path = folder / f"{setting.name}.json"
    if path.is_file():
        return path
    model, mask, bench = _pruned(setting, data_dir)
    result = bb.search_activations(
        model,
        mask,
        train=lambda model, report: bench.fit(model, setting.epochs, report),
        evaluate=bench.accuracy,
        example=bench.example[0][:8],
        sampler=RandomSearch(trials=setting.candidates),
        trials=most,
        stop=_NEVER,
        store=store / setting.name,
        seed=setting.seed,
        also=asdict(setting),
        report=lambda history: print(setting.name, len(history), history[-1].score, flush=True),
    )
    found = Found(setting, tuple(_measured(model, bench, result)), bench.epoch_seconds(model), environment())
    write_json(path, asdict(found), KIND)
    return path


def read_all(folder: Path) -> list[Found]:
    """What `measure` wrote, by the names of the files."""
    return [read_json(path, KIND, Found) for path in sorted(folder.glob("*.json"))]


def _pruned(setting: Setting, data_dir: Path | None) -> tuple[nn.Module, bb.Mask, _Bench]:
    dataset = load(setting.data, None if setting.data == "digits" else data_dir).unscaled()
    parts = split(dataset)
    model = build(setting.network, dataset, init=setting.init, seed=setting.seed)
    engine = choose_engine(model, threads=1, device="cpu")
    engine.prepare(model)
    bench = _Bench(setting, parts.train.first(setting.limit), parts.validation.first(2000), engine)
    torch.manual_seed(setting.seed)
    bench.fit(model, setting.dense)
    mask = bb.prune(model, sparsity=setting.sparsity, scope=Layer())
    return model, mask, bench


def _measured(model: nn.Module, bench: _Bench, result: SearchResult) -> list[Measured]:
    inputs, labels = bench.example
    found = list[Measured]()
    for trial in result.history:
        plan = result.space.plan(trial.candidate)
        fresh = replace_activations(model, plan, example=inputs[:8])
        accuracies = tuple(accuracy for _, accuracy in trial.values) if trial.score is not None else ()
        found.append(Measured(tuple(map(activation_name, plan.values())), accuracies, ranked(fresh, inputs, labels)))
    return found
