"""count-prune: one global prune by activation count, against a table with a row for each weight."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.peers import pandas
from benchmarks.settings import Settings
from budbreak.criteria import ActivationCount
from budbreak.errors import InvariantBroken
from budbreak.evidence import Evidence, UnitActivity
from budbreak.masks import Mask, select
from budbreak.measuring import Contender, peak_extra

OURS, TABLE = "budbreak: scores and select", "a tuple and a table row a weight"
MODES = {"count x |w|": True, "whole units": False}
"""In words -> `ActivationCount.weighted`."""
SHARE = 0.25
SAMPLES = 60_000

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Counted:
    """A multilayer perceptron that was watched: what both ways get.

    Args:
        weights: name -> [outputs, inputs], the hidden layers' and the output layer's.
        counts: name of a hidden layer's weight -> int64 [outputs, 1]: for how many of `SAMPLES` each unit was active.
    """

    weights: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]

    @classmethod
    def of(cls, widths: Sequence[int], device: str = "cpu") -> Counted:
        """Drawn Glorot-uniform; some units never fire, and some fire alike."""
        generator = torch.Generator().manual_seed(0)
        weights: dict[str, Tensor] = {}
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            drawn = torch.rand(outputs, inputs, generator=generator) * 2 - 1
            weights[f"layer{number}.weight"] = (drawn * (6 / (inputs + outputs)) ** 0.5).to(device)
        hidden = dict(itertools.islice(weights.items(), len(weights) - 1))
        counts = {name: _draw_counts(len(weight), generator).to(device) for name, weight in hidden.items()}
        return cls(weights, counts)

    @property
    def hidden(self) -> int:
        """How many weights the hidden layers have."""
        return sum(self.weights[name].numel() for name in self.counts)

    @property
    def going(self) -> int:
        """How many of them go."""
        return int(self.hidden * SHARE)


def _draw_counts(units: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(0, SAMPLES, (units, 1), generator=generator)
    return torch.where(torch.rand(units, 1, generator=generator) < 0.05, 0, drawn)


def by_budbreak(counted: Counted, *, weighted: bool) -> Mask:
    """Scores, threshold and masks, as `iterate` makes them."""
    criterion = ActivationCount(weighted=weighted)
    of_weights, of_units = criterion.needs
    activity = {name: UnitActivity(count, SAMPLES) for name, count in counted.counts.items()}
    total = sum(weight.numel() for weight in counted.weights.values())
    return select(criterion(Evidence({of_weights: counted.weights, of_units: activity})), total - counted.going)


def by_table(counted: Counted, *, weighted: bool) -> dict[str, Tensor]:
    """One tuple and one row a weight, in the pattern of the method's published code, in our own words.

    Rows of seven columns are scored, sorted, cut, and brought into order again by three keys, once for what stays and
    once for all; each layer's part becomes an array again.
    """
    frames = pandas()
    columns = ["layer", "unit", "input", "weight", "count", "score", "goes"]
    rows = frames.DataFrame(list(_tuples(counted)), columns=columns)
    size = rows["weight"].abs()
    rows["score"] = rows["count"] * size if weighted else rows["count"]
    rows = rows.sort_values("score").reset_index(drop=True)
    alive = rows[rows["weight"] != 0]
    rows.loc[alive.index[: counted.going], "goes"] = True
    keys = ["layer", "unit", "input"]
    zeroed, kept = (rows[rows["goes"] == goes].sort_values(keys) for goes in (True, False))
    zeroed = zeroed.assign(weight=0.0)
    rows = frames.concat([zeroed, kept]).sort_values(keys)
    return {
        name: torch.from_numpy(rows.loc[rows["layer"] == number, "weight"].to_numpy().reshape(weight.shape) != 0)
        for number, (name, weight) in enumerate(counted.weights.items())
        if name in counted.counts
    }


def _tuples(counted: Counted) -> list[tuple[int, int, int, float, int, float, bool]]:
    rows: list[tuple[int, int, int, float, int, float, bool]] = []
    for number, (name, counts) in enumerate(counted.counts.items()):
        values = counted.weights[name].cpu().numpy()
        for unit, count in enumerate(counts.flatten().tolist()):
            for place, value in enumerate(values[unit]):
                rows.append((number, unit, place, float(value), count, 0.0, False))
    return rows


def memory_work(method: str, widths: Sequence[int], weighted: bool) -> Callable[[], object]:
    """What `peak_extra` runs in a process of its own."""
    counted = Counted.of(widths)
    work = by_budbreak if method == OURS else by_table
    return lambda: work(counted, weighted=weighted)


@dataclass(frozen=True)
class CountPrune:
    """A quarter of the weights of a multilayer perceptron goes, by activation count."""

    name = "count-prune"
    about = (
        "One global prune by activation count, scores, threshold and masks: CPU time and peak extra memory, "
        "against a table with a row for each weight."
    )

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        pandas()
        widths = settings.pick((30, 20, 10, 5), (784, 700, 500, 200, 10), (784, 700, 500, 200, 10))
        counted = Counted.of(widths, settings.device)
        checks = tuple(_check(counted, mode) for mode in MODES)
        tables = tuple(_table(counted, widths, mode, settings) for mode in MODES)
        goals = tuple(goal for measured in tables for goal in _goals(measured, counted.hidden))
        remarks = (
            "The table re-creates the cost structure of the method's published code, without its scan for redundant "
            "connections.",
            "Memory: peak resident set beyond weights and counts, masks included (1 byte a weight), in a fresh "
            "process; for budbreak the median of 5.",
        )
        return Findings(tables, goals, checks, remarks)


def _check(counted: Counted, mode: str) -> str:
    """Equal masks; where whole units tie, equal but for which weights of the boundary's units go."""
    ours, theirs = (by(counted, weighted=MODES[mode]) for by in (by_budbreak, by_table))
    apart = {name: (ours[name] != theirs[name]).numpy() for name in theirs}
    gone = sum(int((~ours[name]).sum()) for name in theirs)
    units = {int(counted.counts[name][row]) for name in apart for row in np.flatnonzero(apart[name].any(1))}
    if gone != counted.going or len(units) > (0 if MODES[mode] else 1) or not _all_kept(ours, counted):
        raise InvariantBroken(f"{mode}: the masks differ at units of {len(units)} counts", "both prune the same")
    within = "" if MODES[mode] else ", but for which weights go of the unit at the boundary"
    return f"{mode}: both ways give the same masks{within}."


def _all_kept(mask: Mapping[str, Tensor], counted: Counted) -> bool:
    return all(bool(mask[name].all()) for name in counted.weights if name not in counted.counts)


def _table(counted: Counted, widths: Sequence[int], mode: str, settings: Settings) -> Table:
    weighted = MODES[mode]
    timings = settings.meter()(
        [
            Contender(OURS, lambda: by_budbreak(counted, weighted=weighted)),
            Contender(TABLE, lambda: by_table(counted, weighted=weighted), most=3),
        ]
    )
    extra: dict[str, float] = {}
    if settings.size != "smoke" and settings.device == "cpu":
        target, small = f"{__name__}:memory_work", (30, 20, 10, 5)
        for method, runs in ((OURS, 5), (TABLE, 1)):
            work = {"method": method, "weighted": weighted}
            extra[method] = peak_extra(target, {**work, "widths": widths}, {**work, "widths": small}, runs=runs)
    return table(f"{mode}, {counted.hidden:.0e} weights", OURS, timings, extra)


def _goals(measured: Table, weights: int) -> list[Goal]:
    ours = measured.row(OURS)
    aims = [
        Goal(f"{measured.title}: under 10 ms", ours.seconds * 1e3, 10, at_least=False, unit=" ms"),
        Goal(f"{measured.title}: at least 200x less time than a table row a weight", measured.row(TABLE).ratio, 200),
    ]
    if ours.extra_mib is not None:
        each = ours.extra_mib * 2**20 / weights
        aims.append(Goal(f"{measured.title}: under 20 bytes a weight beyond them", each, 20, at_least=False, unit=" B"))
    return aims
