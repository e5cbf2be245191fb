"""``python -m reproductions factors RUN``: all that is measured on the stored networks of a run, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from budbreak.checks import check_known
from budbreak.errors import InvalidValue
from budbreak.measuring import Meter
from reproductions.activation.factors import FactorJob, compute_factors, jobs_of
from reproductions.activation.networks import measure_network
from reproductions.activation.stored import (
    STANDARD,
    Stored,
    StoredNetwork,
    network_name,
    opened,
    read_factors,
    read_networks,
    write_stored,
)
from reproductions.cells import Cell
from reproductions.harvest import cells_of_run


@dataclass(frozen=True)
class Wanted:
    """What is measured of a run.

    Args:
        run: its folder; its tasks lie beside it.
        data_dir: where the data sets are.
        arms: only these; empty: all.
        trained: whether factors are trained, too, which takes minutes a row.
        meter: of latencies; None: that of `measure_gains`.
    """

    run: Path
    data_dir: Path | None
    arms: Sequence[str] = ()
    trained: bool = True
    meter: Meter | None = None


def measure_run(wanted: Wanted, folder: Path) -> Iterator[Stored]:
    """Measure what has no cell yet, and write each cell when it is over; the same call goes on after an interruption.

    Raises:
        BudbreakError: if a network is not there, or damaged.
        UnknownName: for an arm of which the run has no finished task.
        InvalidValue: if a cell of another task has the name of one of these.
    """
    cells = list(cells_of_run(wanted.run))
    for arm in wanted.arms:
        check_known(f"{wanted.run} has no finished task of an arm {arm!r}", arm, {cell.arm for cell in cells})
    chosen = [cell for cell in cells if not wanted.arms or cell.arm in wanted.arms]
    there = {one.file_name: one.task for one in (*read_networks(folder), *read_factors(folder))}
    for stored in opened(chosen, wanted.run, wanted.data_dir):
        if not _is_there(network_name(stored.cell.recipe, stored.cell.arm, stored.cell.seed), stored, there):
            yield _written(folder, measure_network(stored, wanted.meter))
    for job in _jobs(cells, chosen, wanted):
        if not _is_there(job.file_name, job.pruned, there):
            yield _written(folder, compute_factors(job))


def _is_there(name: str, stored: StoredNetwork, there: Mapping[str, str]) -> bool:
    if name in there and there[name] != stored.cell.task:
        raise InvalidValue(
            f"{name} is of {there[name]}, not of {stored.cell.task}",
            "the arm of a recipe under a seed has one network: its setup has changed since",
            "delete the file, and those of its arm and seed beside it",
        )
    return name in there


def _jobs(cells: Sequence[Cell], chosen: Sequence[Cell], wanted: Wanted) -> Iterator[FactorJob]:
    """The rows of all networks whose seed has its standard network, too."""
    standards = {one.cell.seed: one for one in opened(cells, wanted.run, wanted.data_dir) if one.cell.arm == STANDARD}
    for stored in opened(chosen, wanted.run, wanted.data_dir):
        standard = standards.get(stored.cell.seed)
        for job in jobs_of(stored, standard) if standard is not None else ():
            if wanted.trained or job.method != "trained":
                yield job


def _written(folder: Path, cell: Stored) -> Stored:
    write_stored(folder, cell)
    return cell
