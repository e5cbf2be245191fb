"""What the differences of a study say, judged by the same rule everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from budbreak.results import TEST_ACCURACY, Difference, Estimate
from reproductions.study import ALPHA, Pair, Study
from reproductions.wording import density, listed, p_text, points, table

SINGLE = "no verdict by a single seed"
OUTCOMES = ("helped", "hurt", "helped and hurt", "no difference shown", SINGLE)
RULE = (
    "An arm *helped* (*hurt*) where its difference to its reference lies above (below) zero with p < 0.05 after Holm's "
    "correction: at a single density, corrected over all arms x densities of the study; or in the mean over all pruned "
    "densities, which gives one number a seed, corrected over its arms. In all other cases no difference is *shown*, "
    "which is not the same as no difference: the intervals say how large it could be. Seeds that differ by exactly the "
    "same have no spread to test with, and give no p."
)


@dataclass(frozen=True)
class Verdict:
    """An arm beside its reference.

    Args:
        pair: the two.
        seeds: that both have, of ``planned``.
        rows: the differences at the pruned densities.
        mean, p: the mean difference over all of them; its p by Holm over the arms; None for a single seed.
    """

    pair: Pair
    seeds: int
    planned: int
    rows: tuple[Difference, ...]
    mean: Estimate
    p: float | None

    @property
    def arm(self) -> str:
        """The arm that is judged."""
        return self.pair[0]

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        if self.seeds < 2:
            return SINGLE
        shown = [row.mean for row in self.rows if row.p_adjusted is not None and row.p_adjusted < ALPHA]
        shown += [self.mean.mean] if self.p is not None and self.p < ALPHA else []
        words = ["helped"] * any(mean > 0 for mean in shown) + ["hurt"] * any(mean < 0 for mean in shown)
        return " and ".join(words) or "no difference shown"

    @property
    def power(self) -> str:
        """How many seeds it stands on."""
        return str(self.seeds) if self.seeds == self.planned else f"{self.seeds} of {self.planned}"

    def apart(self, sign: int) -> list[float]:
        """The densities at which the uncorrected interval lies above (sign 1) or below (-1) zero."""
        bounds = [(row.density, row.low if sign > 0 else row.high) for row in self.rows]
        return [at for at, bound in bounds if bound is not None and sign * bound > 0]


def judge(study: Study, pairs: Sequence[Pair], quantity: str = TEST_ACCURACY.name) -> list[Verdict]:
    """The verdicts on some pairs, corrected over all of them."""
    rows = study.differences(pairs, quantity)
    verdicts: list[Verdict] = []
    for pair, mean, p in study.pooled(pairs, quantity):
        own = tuple(row for row in rows if (row.arm, row.reference) == pair)
        verdicts.append(Verdict(pair, mean.n, study.seeds, own, mean, p))
    return verdicts


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """One row for each verdict."""
    head = (
        "arm", "minus", "seeds", "mean over all densities, points [95 %]", "p, Holm",
        "95 % interval above zero", "below zero", "smallest p, Holm", "so it",
    )  # fmt: skip
    return table(head, [_row(verdict) for verdict in verdicts])


def _row(verdict: Verdict) -> list[str]:
    smallest = min((row.p_adjusted for row in verdict.rows if row.p_adjusted is not None), default=None)
    counts = [f"{len(verdict.apart(sign))} of {len(verdict.rows)}" for sign in (1, -1)]
    p = [p_text(verdict.p), *counts, p_text(smallest)]
    return [*verdict.pair, verdict.power, points(verdict.mean), *p, verdict.outcome]


def sentence(verdicts: Sequence[Verdict], what: str) -> str:
    """Which arms helped and hurt, and what the intervals leave open; ``what``: of what, e.g. "LeNet-5 on MNIST"."""
    if not verdicts:
        return f"{what[:1].upper()}{what[1:]}: nothing to compare yet."
    arms = [verdict.arm for verdict in verdicts]
    labels = {v.pair: v.arm if arms.count(v.arm) == 1 else f"{v.arm} against {v.pair[1]}" for v in verdicts}
    by_outcome = {outcome: [labels[v.pair] for v in verdicts if v.outcome == outcome] for outcome in OUTCOMES}
    parts = [f"{outcome}: {listed(found)}" for outcome, found in by_outcome.items() if found]
    begin = f"{what[:1].upper()}{what[1:]}: of {len(verdicts)} arms beside their references"
    return f"{begin}, {'; '.join(parts)}. {_room(verdicts)}"


def _room(verdicts: Sequence[Verdict]) -> str:
    """How large a difference the intervals leave open."""
    rows = [row for verdict in verdicts for row in verdict.rows if row.low is not None and row.high is not None]
    if not rows:
        return "A single seed gives no interval."
    highest = max(rows, key=lambda row: row.high or 0.0)
    half = median(((row.high or 0.0) - (row.low or 0.0)) / 2 for row in rows)
    return (
        f"Of {len(rows)} intervals the median half-width is {100 * half:.2f} points, and the highest upper end "
        f"{100 * (highest.high or 0.0):+.2f} points ({highest.arm} at {density(highest.density)})."
    )


def expected_by_chance(verdicts: Iterable[Verdict]) -> str:
    """How many uncorrected intervals lie off zero, beside how many would if nothing differed."""
    verdicts = list(verdicts)
    rows = sum(row.low is not None for verdict in verdicts for row in verdict.rows)
    if not rows:
        return ""
    above, below = (sum(len(verdict.apart(sign)) for verdict in verdicts) for sign in (1, -1))
    return (
        f"Of {rows} uncorrected 95 % intervals {above} lie above zero and {below} below; if nothing differed, about "
        f"{ALPHA / 2 * rows:.0f} would be expected on each side."
    )
