"""What dense and compacted networks cost and reach, as findings that one figure sets against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from budbreak.diagnostics import Finding
from budbreak.results import BATCH_SIZES, TEST_ACCURACY, LevelResult
from budbreak.studies.changes import Row, finding

_KILO = 1e3


def fronts(levels: Sequence[LevelResult]) -> list[Finding]:
    """For each batch size of the measured latency: size, latency and accuracy, means over seeds.

    Args:
        levels: of all arms and seeds; those whose network was compacted have what it measures among their numbers.
    """
    compacted = [level for level in levels if "compact_parameters" in level.numbers]
    found = [_front(compacted, levels, batch) for batch in BATCH_SIZES]
    return [one for one in found if one is not None]


def _front(compacted: Sequence[LevelResult], levels: Sequence[LevelResult], batch: int) -> Finding | None:
    rows = [*_dense(compacted, levels, batch), *_compact(compacted, batch)]
    labels = {"latency": f"latency, batch {batch} (ms)", "size": "size (kB)", "name": "network"}
    panel = "Size, latency, accuracy"
    return finding("pareto", f"batch {batch}", TEST_ACCURACY, rows, labels=labels, panel=panel)


def _dense(compacted: Sequence[LevelResult], levels: Sequence[LevelResult], batch: int) -> Iterator[Row]:
    """Networks before any pruning: one, unless arms have different ones."""
    sizes = dict.fromkeys(level.numbers["dense_parameters"] for level in compacted)
    for size in sizes:
        own = [level for level in compacted if level.numbers["dense_parameters"] == size]
        arms = {level.arm for level in own}
        accuracies = [level.numbers for level in levels if level.level == 0 and level.arm in arms]
        name = "dense" if len(sizes) == 1 else f"dense {size:,.0f}"
        if accuracies:
            yield _row(name, [level.numbers for level in own], accuracies, "dense", batch)


def _compact(compacted: Sequence[LevelResult], batch: int) -> Iterator[Row]:
    for arm in dict.fromkeys(level.arm for level in compacted):
        own = [level.numbers for level in compacted if level.arm == arm]
        yield _row(arm, own, own, "compact", batch)


def _row(
    name: str,
    costs: Sequence[Mapping[str, float]],
    reached: Sequence[Mapping[str, float]],
    which: str,
    batch: int,
) -> Row:
    return {
        "name": name,
        "latency": fmean(one[f"{which}_latency_{batch}"] for one in costs),
        "size": fmean(one[f"{which}_bytes"] for one in costs) / _KILO,
        "value": fmean(one[TEST_ACCURACY.name] for one in reached),
    }
