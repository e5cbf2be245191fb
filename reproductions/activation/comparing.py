"""Tables of what was measured on stored networks: bookkeeping of ranks, factors, spectra and compact networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from budbreak.results import TEST_ACCURACY, Estimate, estimate, holm
from reproductions.activation.factors import BUDGETS, METHODS
from reproductions.activation.stored import FactorCell, NetworkCell
from reproductions.activation.studies import Measured, last
from reproductions.prose import processor_of
from reproductions.study import ALPHA
from reproductions.wording import listed, points, table, with_spread


@dataclass(frozen=True)
class Kept:
    """The rank of one hidden layer after mask-free retraining, and what it is made of.

    Args:
        rank: at the end; ``free``: after mask-free retraining; ``full``: before the first pruning.
        survivors: units of which a weight is kept; ``positive``: others, of a bias > 0.
    """

    arm: str
    seed: int
    layer: str
    rank: int
    free: int
    full: int
    survivors: int
    positive: int

    @property
    def expected(self) -> int:
        """The rank that survivors, and units with a bias > 0, which live on, make up: at most the full one."""
        return min(self.full, self.survivors + self.positive)


def bookkeeping(measured: Measured) -> list[Kept]:
    """Of all hidden layers of the networks that were stored."""
    networks = {(cell.arm, cell.seed): cell for cell in measured.networks}
    found: list[Kept] = []
    for cell in measured.study.cells:
        network = networks.get((cell.arm, cell.seed))
        for name, counts in network.layers.items() if network else ():
            columns = cell.layers.get(name, {})
            numbers = [last(columns, "rank"), last(columns, "rank_free"), columns.get("rank", (None,))[0]]
            if all(number is not None for number in numbers):
                rank, free, full = (int(number or 0) for number in numbers)
                found.append(
                    Kept(cell.arm, cell.seed, name, rank, free, full, counts["survivors"], counts["dead_positive"])
                )
    return found


def bookkeeping_table(measured: Measured) -> str:
    """Rank after mask-free retraining beside survivors + dead units with a bias > 0, summed over hidden layers."""
    found, rows = bookkeeping(measured), list[list[str]]()
    for arm in measured.arms:
        own = [one for one in found if one.arm == arm]
        if own:
            exact = sum(one.free == one.expected for one in own)
            largest = max((one.free - one.expected for one in own), key=abs)
            sums = [_summed(own, name) for name in ("full", "survivors", "rank", "positive", "expected", "free")]
            rows.append([arm, *sums, f"{exact} of {len(own)}", f"{largest:+d}" if largest else "0"])
    head = (
        "arm", "full rank", "units that survive", "rank at the end", "dead units of bias > 0", "survivors + these",
        "rank after mask-free retraining", "layers where these two agree", "largest difference in a layer",
    )  # fmt: skip
    return table(head, rows) if rows else ""


def _summed(own: Sequence[Kept], name: str) -> str:
    seeds = sorted({one.seed for one in own})
    return with_spread(
        [float(sum(getattr(one, name) for one in own if one.seed == seed)) for seed in seeds], factor=1, digits=1
    )


@dataclass(frozen=True)
class Form:
    """A pruned network minus the standard one in a form of low rank, in test accuracy, paired by seed.

    Args:
        accuracies, weights: of the form, by seed.
        p: by Holm over all rows of the study; None for a single seed.
    """

    arm: str
    method: str
    at: str
    accuracies: tuple[float, ...]
    weights: tuple[int, ...]
    difference: Estimate
    p: float | None

    @property
    def outcome(self) -> str:
        """In words."""
        if self.p is None or self.p >= ALPHA:
            return "no difference shown" if self.difference.n > 1 else "a single seed"
        return "pruned is above" if self.difference.mean > 0 else "pruned is below"


def forms(measured: Measured) -> list[Form]:
    """All rows of factors of a study, with their differences."""
    ends = {(cell.arm, cell.seed): last(cell.end, TEST_ACCURACY.name) for cell in measured.study.cells}
    rows: list[tuple[list[FactorCell], Estimate]] = []
    for arm in measured.arms:
        for at in BUDGETS:
            for method in METHODS:
                own = [one for one in measured.factors if (one.arm, one.at, one.method) == (arm, at, method)]
                paired = [value - one.test_accuracy for one in own if (value := ends.get((arm, one.seed))) is not None]
                if paired:
                    rows.append((own, estimate(paired)))
    adjusted = iter(holm([found.p for _, found in rows if found.p is not None]))
    return [_form(own, found, None if found.p is None else next(adjusted)) for own, found in rows]


def _form(own: Sequence[FactorCell], found: Estimate, p: float | None) -> Form:
    one = own[0]
    accuracies, weights = tuple(cell.test_accuracy for cell in own), tuple(cell.weights for cell in own)
    return Form(one.arm, one.method, one.at, accuracies, weights, found, p)


def factors_table(measured: Measured) -> str:
    """The standard network as factors, beside the pruned one."""
    rows = [
        [
            one.arm,
            one.at,
            one.method,
            str(one.difference.n),
            f"{fmean(one.weights):,.0f}",
            with_spread(one.accuracies),
            points(one.difference),
            one.outcome,
        ]
        for one in forms(measured)
    ]
    head = (
        "pruned arm", "at its", "standard network by", "seeds", "weights", "test accuracy, %",
        "pruned minus that, points [95 %]", "so",
    )  # fmt: skip
    return table(head, rows) if rows else ""


def compact_table(measured: Measured) -> str:
    """What the shrunken networks hold and how fast they are."""
    rows = [_compact(arm, found) for arm in measured.arms if (found := measured.networks_of(arm))]
    head = (
        "arm", "seeds", "hidden widths", "parameters, dense / compact", "MACs, dense / compact",
        "speedup, batch 1", "speedup, batch 64", "largest difference of an output",
    )  # fmt: skip
    places = listed(dict.fromkeys(processor_of(cell.environment) for cell in measured.networks))
    return f"{table(head, rows)}\nLatencies were measured on {places}." if rows else ""


def _compact(arm: str, found: Sequence[NetworkCell]) -> list[str]:
    widths = [
        with_spread([float(cell.layers[name]["width"]) for cell in found], factor=1, digits=0)
        for name in found[0].layers
    ]
    smaller = [
        with_spread([dense / compact for dense, compact in pairs], factor=1)
        for pairs in ([cell.parameters for cell in found], [cell.compact_macs for cell in found])
    ]
    speedups = [
        with_spread([one[3] for cell in found for one in cell.latencies if one[0] == batch], factor=1)
        for batch in (1, 64)
    ]
    return [
        arm,
        str(len(found)),
        " / ".join(widths),
        *smaller,
        *speedups,
        f"{max(cell.difference for cell in found):.1g}",
    ]


def spectra_table(measured: Measured) -> str:
    """The change of singular values by the first pruning, i-th against i-th: means over seeds."""
    rows: list[list[str]] = []
    for arm in measured.arms:
        found = [cell for cell in measured.networks_of(arm) if any(any(third) for third in cell.thirds.values())]
        names = found[0].ratios if found else ()
        for name in (name for name in names if any(any(cell.thirds[name]) for cell in found)):
            places = zip(*(cell.ratios[name] for cell in found), strict=True)
            means = [f"{fmean(value for _, value in place):.1f}" for place in places]
            rows.append([arm, name.removesuffix(".weight"), *means, *_thirds([cell.thirds[name] for cell in found])])
    head = ("arm", "layer", "first", "at 25 %", "at 50 %", "at 75 %", "last", "largest third", "smallest third")
    return table(head, rows) if rows else ""


def _thirds(found: Sequence[tuple[float, float, float]]) -> list[str]:
    return [f"{fmean(one[place] for one in found):.1f}" for place in (0, 2)]


def shrunk_more(found: Sequence[NetworkCell]) -> tuple[int, int]:
    """Layers in which the smallest third of the singular values shrank relatively more than the largest; all layers.

    Layers of which the first pruning took nothing are left out.
    """
    thirds = [one for cell in found for one in cell.thirds.values() if any(one)]
    return sum(one[2] < one[0] for one in thirds), len(thirds)
