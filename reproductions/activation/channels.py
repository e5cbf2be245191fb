"""Channels by activation count beside other criteria, at equal multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from budbreak.results import TEST_ACCURACY, Estimate, estimate, holm
from reproductions.activation.comparing import compact_table
from reproductions.activation.studies import Measured
from reproductions.prose import name_of
from reproductions.study import ALPHA, Pair
from reproductions.wording import NOTHING, listed, p_text, percent, points, table, with_spread

SHARES = (0.7, 0.5, 0.3, 0.15)
"""Of the dense network's multiply-accumulates: where the arms are compared."""
COUNT = "count"
OTHERS = ("apoz", "magnitude", "taylor", "random")

Curve = Sequence[tuple[float, float]]
"""(share of the MACs, test accuracy) at each level."""


def channels_section(measured: Measured) -> str:
    """One data set and network."""
    found = curves(measured)
    study = measured.study
    parts = [f"## Channels: {name_of(study)}", _setting(measured), sentence(found, name_of(study))]
    parts += [_accuracies(measured, found), _differences(found)]
    shrunk = [compact_table(measured), _border(measured)] if measured.networks else ["Not measured yet."]
    return "\n\n".join([*parts, "### Shrunk at the last level", *shrunk])


def _border(measured: Measured) -> str:
    """What compaction keeps beyond what is connected."""
    more = {
        arm: fmean(cell.compact_macs[1] / cell.macs[-1] - 1 for cell in found)
        for arm in measured.arms
        if (found := measured.networks_of(arm))
    }
    kept = [f"{arm} {percent(share, 1)} %" for arm, share in more.items() if share > 0]
    if not kept:
        return "Compaction computes exactly what is connected."
    return (
        f"Beyond what is connected, compaction still computes: {listed(kept)}. Dead units stay that give a constant to "
        "a convolution with padding: it sees zeros instead at its borders, so that no bias takes the constant over "
        "exactly. By what is really computed, the numbers above would belong to more multiply-accumulates, by so much "
        "at the last level."
    )


def _setting(measured: Measured) -> str:
    study, train = measured.study, measured.study.cells[0].setup["train"]
    planned = study.seeds * len(study.planned)
    return (
        f"Recipe [`{study.recipe}`](../../recipes/{study.recipe}.toml): {len(study.cells)} of {planned} cells; "
        f"{train['epochs']} epochs in each training. A level keeps as many whole channels, and units of linear layers, "
        "as hold a number of weights, and of these arms keep different ones: so they are compared at equal "
        "multiply-accumulates, those of what is kept and connected, and each seed's accuracy is interpolated between "
        "its two nearest levels. No number is read beyond the levels that an arm has."
    )


def curves(measured: Measured) -> dict[tuple[str, int], Curve]:
    """(arm, seed) -> its curve, of all networks whose multiply-accumulates were measured."""
    macs = {(cell.arm, cell.seed): cell.macs for cell in measured.networks}
    found: dict[tuple[str, int], Curve] = {}
    for cell in measured.study.cells:
        accuracies = cell.end[TEST_ACCURACY.name]
        for key in [(cell.arm, cell.seed)] if (cell.arm, cell.seed) in macs else []:
            pairs = zip(macs[key], accuracies, strict=True)
            found[key] = [(one / macs[key][0], accuracy) for one, accuracy in pairs if accuracy is not None]
    return found


def at_share(curve: Curve, share: float) -> float | None:
    """The accuracy at a share of the MACs, on the line between the levels around it; None beyond them.

    >>> at_share([(1.0, 0.9), (0.5, 0.8), (0.25, 0.6)], 0.375), at_share([(1.0, 0.9), (0.5, 0.8)], 0.4)
    (0.7, None)
    """
    for (more, before), (fewer, after) in pairwise(curve):
        if fewer <= share <= more and fewer < more:
            return after + (before - after) * (share - fewer) / (more - fewer)
    return None


def _accuracies(measured: Measured, found: Mapping[tuple[str, int], Curve]) -> str:
    rows = [
        [arm, measured.power(arm), *(with_spread(_at(found, arm, share)) for share in SHARES)] for arm in measured.arms
    ]
    return table(["test accuracy, %, at MACs of", "seeds", *(f"{100 * share:.0f} %" for share in SHARES)], rows)


def _at(found: Mapping[tuple[str, int], Curve], arm: str, share: float) -> list[float]:
    values = [at_share(curve, share) for (one, _), curve in found.items() if one == arm]
    return [value for value in values if value is not None]


Row = tuple[Pair, float, Estimate, float | None]


def rows_of(found: Mapping[tuple[str, int], Curve]) -> list[Row]:
    """(pair, share, the difference paired by seed, p by Holm over all rows)."""
    rows: list[tuple[Pair, float, Estimate]] = []
    for other in OTHERS:
        for share in SHARES:
            both = [(found[arm, seed], found.get((other, seed))) for arm, seed in found if arm == COUNT]
            values = [
                mine - theirs
                for own, curve in both
                if curve
                and (mine := at_share(own, share)) is not None
                and (theirs := at_share(curve, share)) is not None
            ]
            if values:
                rows.append(((COUNT, other), share, estimate(values)))
    adjusted = iter(holm([one.p for _, _, one in rows if one.p is not None]))
    return [(pair, share, one, None if one.p is None else next(adjusted)) for pair, share, one in rows]


def _differences(found: Mapping[tuple[str, int], Curve]) -> str:
    rows = rows_of(found)
    lines = [
        [f"{COUNT} - {other}", *(_cell(rows, other, share) for share in SHARES)]
        for other in OTHERS
        if any(pair[1] == other for pair, *_ in rows)
    ]
    return table(["points [95 %]; p, Holm", *(f"{100 * share:.0f} %" for share in SHARES)], lines) if lines else ""


def _cell(rows: Sequence[Row], other: str, share: float) -> str:
    own = [(one, p) for pair, at, one, p in rows if pair[1] == other and at == share]
    return f"{points(own[0][0])}; {p_text(own[0][1])}" if own else NOTHING


def sentence(found: Mapping[tuple[str, int], Curve], what: str) -> str:
    """Beside which criteria the activation count was shown to be above or below."""
    rows = rows_of(found)
    tested = [row for row in rows if row[3] is not None]
    if not tested:
        return (
            f"{what[:1].upper()}{what[1:]}: single seeds show nothing yet." if rows else f"{what}: nothing to compare."
        )
    parts = [
        f"{word} {listed(f'{pair[1]} at {100 * share:.0f} % of the MACs' for pair, share, *_ in shown)}"
        for word, sign in (("above", 1), ("below", -1))
        if (shown := [row for row in tested if (row[3] or 0.0) < ALPHA and sign * row[2].mean > 0])
    ]
    outcome = f"activation count was shown to be {listed(parts)}" if parts else "none showed a difference"
    return f"{what[:1].upper()}{what[1:]}: of {len(tested)} comparisons, {outcome}."
