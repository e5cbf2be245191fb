"""The standard network at the ranks of a pruned one: by PCA, by SVD, and as factors that are trained."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from budbreak.errors import InvalidValue
from budbreak.iteration import AccuracyGates, EndingRule, Plan, iterate
from budbreak.lowrank import factorize, rank_within, reconstruct
from budbreak.masks import Mask
from budbreak.recipes import Setup
from budbreak.schedules import Dense
from budbreak.studies import Subject
from budbreak.training import Engine, choose_engine, environment, evaluate, steps_per_epoch, train_epoch
from reproductions.activation.stored import FactorCell, StoredNetwork, factors_name

METHODS, BUDGETS = ("pca", "svd", "trained"), ("rank", "parameters")

Ranks = Mapping[str, int]


@dataclass(frozen=True)
class FactorJob:
    """One row: the standard network of a seed in one form.

    Args:
        pruned: whose ranks, or parameters, are taken.
        standard: whose dense training is the standard network.
        method, at: see `FactorCell`.
    """

    pruned: StoredNetwork
    standard: StoredNetwork
    method: str
    at: str

    @property
    def file_name(self) -> str:
        """Of its cell."""
        cell = self.pruned.cell
        return factors_name(cell.recipe, cell.arm, cell.seed, f"{self.method}-{self.at}")


def jobs_of(pruned: StoredNetwork, standard: StoredNetwork) -> Iterator[FactorJob]:
    """All rows of one pruned network; none where pruning has left every hidden layer its full rank.

    At full rank every form is the standard network itself.
    """
    if any(rank < full for rank, full in _ranks_of(pruned).values()):
        for at in BUDGETS:
            for method in METHODS:
                yield FactorJob(pruned, standard, method, at)


def _ranks_of(stored: StoredNetwork) -> dict[str, tuple[int, int]]:
    """Weight -> (its rank after the last level, its full rank), of the hidden layers."""
    ranks = {name: stored.cell.layers[name]["rank"] for name in stored.hidden}
    return {name: (_at(column, -1), _at(column, 0)) for name, column in ranks.items()}


def _at(column: tuple[float | None, ...], place: int) -> int:
    value = column[place]
    if value is None:
        raise InvalidValue("a level has no rank", "ranks are measured at the ends of levels", "harvest the run again")
    return int(value)


def compute_factors(job: FactorJob) -> FactorCell:
    """Make the network of a row, train it where it is trained, and evaluate it."""
    subject = job.standard.dense()
    ranks = ranks_for(job, subject, job.pruned.mask(job.pruned.cell.levels[-1]))
    started = time.perf_counter()
    if job.method == "trained":
        torch.manual_seed(job.pruned.cell.seed)
        model = factorize(subject.model, ranks, method="svd")
        epochs = train(model, job.standard.setup, subject, seed=job.pruned.cell.seed)
    else:
        model, epochs = reconstruct(subject.model, ranks, method=job.method), 0
    seconds = time.perf_counter() - started
    engine = _engine(model, job.standard.setup)
    accuracies = [
        evaluate(model, part, engine=engine).accuracy for part in (subject.parts.test, subject.parts.validation)
    ]
    cell = job.pruned.cell
    return FactorCell(
        recipe=cell.recipe,
        run=cell.run,
        task=cell.task,
        arm=cell.arm,
        seed=cell.seed,
        standard=job.standard.dense_task,
        environment={**environment(), "threads": torch.get_num_threads()},
        method=job.method,
        at=job.at,
        ranks=ranks,
        weights=weights_of(subject.model, ranks, extra=int(job.method == "pca")),
        test_accuracy=accuracies[0],
        validation_accuracy=accuracies[1],
        epochs=epochs,
        seconds=round(seconds, 2),
    )


def ranks_for(job: FactorJob, subject: Subject, mask: Mask) -> dict[str, int]:
    """The rank of each hidden layer; one that stays at full rank is not named, and stays as it is.

    At equal parameters one that cannot be factored into so few weights gets rank 1.
    """
    state, found = subject.model.state_dict(), dict[str, int]()
    method = "pca" if job.method == "pca" else "svd"
    for name, (rank, full) in _ranks_of(job.pruned).items():
        rows, columns = state[name].flatten(1).shape
        if job.at == "parameters":
            least = (1 + int(method == "pca")) * (rows + columns)
            kept = mask.kept_in(name)
            rank = full if kept == rows * columns else rank_within(rows, columns, max(kept, least), method=method)
        if rank < full:
            found[name] = max(1, rank)
    return found


def weights_of(model: nn.Module, ranks: Ranks, *, extra: int) -> int:
    """Weights that all layers hold where some are factors; ``extra``: ranks beside, for the mean of PCA."""
    total = 0
    for name, weight in model.state_dict().items():
        if weight.dim() > 1:
            rows, columns = weight.flatten(1).shape
            total += (ranks[name] + extra) * (rows + columns) if name in ranks else rows * columns
    return total


def train(model: nn.Module, setup: Setup, subject: Subject, *, seed: int) -> int:
    """Train as the recipe does, without pruning: to the final accuracy or the early stop. The number of epochs."""
    engine, parts, how = _engine(model, setup), subject.parts, setup.train
    optimizer = how.optimizer.build(model)
    steps = steps_per_epoch(len(parts.train), how.batch_size)
    rates = how.schedule.attach(optimizer, steps_per_epoch=steps, epochs=how.epochs)
    plan, until, epochs = Plan(schedule=Dense(), rewind_to=None), _until(setup), 0
    with iterate(model, optimizer, plan, resets=[rates], seed=seed) as levels:
        for level in levels:
            for _ in level.epochs(how.epochs, until=until):
                done = train_epoch(
                    model, optimizer, parts.train, engine=engine, batch_size=how.batch_size,
                    augment=setup.data.augment, after_step=rates.after_step, accuracy=True,
                )  # fmt: skip
                seen = evaluate(model, parts.validation, engine=engine)
                numbers = {"train_loss": done.loss, "validation_loss": seen.loss, "validation_accuracy": seen.accuracy}
                level.record(train_accuracy=done.accuracy or 0.0, **numbers)
                rates.after_epoch(seen.accuracy)
                epochs += 1
    return epochs


def _until(setup: Setup) -> EndingRule | None:
    """Of accuracy gates, the final accuracy and the early stop are left."""
    until = setup.train.until
    return replace(until, prunings=0) if isinstance(until, AccuracyGates) else until


def _engine(model: nn.Module, setup: Setup) -> Engine:
    engine = choose_engine(model, precision=setup.train.precision, threads=1)
    engine.prepare(model)
    return engine
