"""What compacted networks hold and take, beside the dense ones, as a table: for the page, the terminal and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from budbreak.reporting.tables import MISSING, Table, pivot, tables
from budbreak.reporting.wording import number
from budbreak.results import BATCH_SIZES, TEST_ACCURACY, RunResult

_KILO = 1e3
_WAYS = {"": "", "_masked": ", retrained"}
_NOTE = (
    "Means over seeds; MACs of one image. Times are medians of wall time, measured while other tasks may run, and "
    "differ from run to run; how many times as fast is measured side by side with the dense network."
)


@dataclass(frozen=True)
class _Row:
    """A network: which of the measured ones, and the numbers of its seeds with the suffix of their names."""

    name: str
    which: str
    seeds: Sequence[Mapping[str, float]]
    accuracy: float | None
    suffix: str = ""

    def mean(self, name: str) -> float:
        """Over seeds."""
        return fmean(one[f"{name}{self.suffix}"] for one in self.seeds)

    def cost(self, name: str) -> float:
        """What this network takes."""
        return self.mean(f"{self.which}_{name}")


def compacted(run: RunResult) -> Table:
    """A row for the dense network and one for each arm, and its retrained network; empty where none was compacted."""
    arms = [row for arm in run.arm_names for suffix in _WAYS for row in _rows(run, arm, suffix)]
    rows = [*_dense(run, arms), *arms]
    cells = {((row.name,), head): write(row) for head, write in _columns().items() for row in rows}
    table = pivot(("network",), list(_columns()), cells)
    return replace(table, key="compaction", heading="After compaction", note=_NOTE)


def tables_with(run: RunResult) -> list[Table]:
    """The tables of the quantities, and this one, if it has rows."""
    table = compacted(run)
    one_line = replace(table, header=tuple(cell.replace("\n", " ") for cell in table.header))
    return [*tables(run), *([one_line] if table.rows else [])]


def _rows(run: RunResult, arm: str, suffix: str) -> list[_Row]:
    found = [level.numbers for level in run.levels if level.arm == arm]
    seeds = [numbers for numbers in found if f"compact_parameters{suffix}" in numbers]
    if not seeds:
        return []
    accuracy = _accuracy([numbers[f"{TEST_ACCURACY.name}{suffix}"] for numbers in seeds])
    return [_Row(f"{arm}{_WAYS[suffix]}", "compact", seeds, accuracy, suffix)]


def _dense(run: RunResult, arms: Sequence[_Row]) -> list[_Row]:
    """One dense network, unless arms have different ones; its accuracy where it was trained."""
    sizes = dict.fromkeys(row.mean("dense_parameters") for row in arms)
    return [
        _dense_row(run, "dense" if len(sizes) == 1 else f"dense, {size:,.0f}", own)
        for size in sizes
        if (own := [row for row in arms if not row.suffix and row.mean("dense_parameters") == size])
    ]


def _dense_row(run: RunResult, name: str, own: Sequence[_Row]) -> _Row:
    names = {row.name for row in own}
    trained = [level.numbers[TEST_ACCURACY.name] for level in run.levels if level.level == 0 and level.arm in names]
    return _Row(name, "dense", [one for row in own for one in row.seeds], _accuracy(trained))


def _accuracy(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _columns() -> dict[str, Callable[[_Row], str]]:
    def time(batch: int) -> Callable[[_Row], str]:
        return lambda row: _time(row, batch)

    return {
        "parameters": lambda row: f"{row.cost('parameters'):,.0f}",
        "MACs": lambda row: f"{row.cost('macs'):,.0f}",
        "kB": lambda row: f"{row.cost('bytes') / _KILO:,.1f}",
        **{f"ms,\nbatch {batch}": time(batch) for batch in BATCH_SIZES},
        "output\ndifference": lambda row: MISSING if row.which == "dense" else f"{row.mean('compact_difference'):.1e}",
        "test\naccuracy": lambda row: MISSING if row.accuracy is None else number(TEST_ACCURACY, row.accuracy),
    }


def _time(row: _Row, batch: int) -> str:
    milliseconds = f"{row.cost(f'latency_{batch}'):.3g}"
    return milliseconds if row.which == "dense" else f"{milliseconds} ({row.mean(f'compact_speedup_{batch}'):.2g}x)"
