"""How much of the gain is the activation, how much the hyper-parameters, how much connectivity."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from budbreak.results import Difference, estimate
from reproductions.safs.studies import (
    BEST,
    BOTH,
    CONNECTED,
    ENOUGH,
    FIRST,
    SECOND,
    TEST,
    Measured,
    compared,
    end,
    outcome,
)
from reproductions.safs.tables import judged
from reproductions.study import Pair
from reproductions.wording import listed, points, table

_NAMES = {"relu": "ReLU", "swish": "Swish"}


def _parts(one: Measured) -> dict[Pair, str]:
    plain, tuned, own = one.plain, one.tuned, _NAMES.get(one.plain, one.plain)
    return {
        (BOTH, plain): "both stages",
        (FIRST, plain): "activations, hyper-parameters as they were",
        (BOTH, tuned): f"activations (with alpha and beta), beside equally tuned {own}",
        (tuned, plain): f"hyper-parameters, {own} as it was",
        (BOTH, FIRST): "hyper-parameters (with alpha and beta), beside searched activations",
        (SECOND, tuned): f"alpha and beta of {own}, beside equally tuned {own}",
        (FIRST, BEST): "an activation for each site, beside the best single one",
    }


def pairs_of(one: Measured) -> dict[Pair, str]:
    """What is compared, and what of the gain it tells; repaired masks beside those of the arm that the recipe names."""
    repaired = [arm for arm in one.study.arms if arm.endswith(CONNECTED)]
    beside = {arm: one.study.planned.get(arm) or arm.removesuffix(CONNECTED) for arm in repaired}
    named = dict.fromkeys(beside.items(), "connectivity, repaired")
    return {pair: text for pair, text in {**_parts(one), **named}.items() if set(pair) <= set(one.study.arms)}


def parts_section(one: Measured) -> str:
    """Each part with its difference, and what it comes to in words."""
    pairs = pairs_of(one)
    if not pairs:
        return "Not measured yet."
    found = {(row.arm, row.reference): row for row in compared(one.study, list(pairs))}
    rows = [[text, f"{pair[0]} - {pair[1]}", *judged(found.get(pair))] for pair, text in pairs.items()]
    head = ("what", "difference", "points of test accuracy [95 %]", "p, Holm, over this table", "so it is")
    return f"{parts_sentence(one)}\n\n{table(head, rows)}"


def parts_sentence(one: Measured) -> str:
    """What is shown to help, and how the whole gain divides, if there is one."""
    rows = compared(one.study, list(pairs_of(one)))
    told = [row for row in rows if row.n >= ENOUGH]
    if not told:
        return f"Fewer than {ENOUGH} seeds: nothing is judged, and no gain is divided."
    texts = [f"{word} zero: {listed(_named(row) for row in told if outcome(row) == word)}" for word in _WORDS]
    without = f" {len(rows) - len(told)} more have fewer than {ENOUGH} seeds." if len(rows) > len(told) else ""
    return f"Of {len(told)} differences these are shown {'; '.join(texts)}.{without} {_division(one, rows)}"


_WORDS = ("above", "below")


def _named(row: Difference) -> str:
    return f"{row.arm} - {row.reference}"


def _division(one: Measured, rows: Sequence[Difference]) -> str:
    """The gain of both stages as the sum of two, each the mean over both orders of adding them."""
    full = [four for seed in one.study.seeds_of(BOTH) if (four := _ends(one, seed)) is not None]
    if len(full) < ENOUGH:
        return f"Fewer than {ENOUGH} seeds have all four arms that it takes to divide the gain of both stages."
    if not any(outcome(row) == "above" for row in rows if (row.arm, row.reference) == (BOTH, one.plain)):
        return "No gain of both stages is shown: there is nothing to divide."
    activation = [((first - plain) + (both - tuned)) / 2 for plain, first, tuned, both in full]
    settings = [((tuned - plain) + (both - first)) / 2 for plain, first, tuned, both in full]
    share = fmean(activation) / (fmean(activation) + fmean(settings))
    return (
        "The gain of both stages, divided by the mean over both orders of adding them: activations "
        f"{points(estimate(activation))} points, hyper-parameters with alpha and beta {points(estimate(settings))} "
        f"({100 * share:.0f} % and {100 * (1 - share):.0f} %, {len(full)} seeds)."
    )


def _ends(one: Measured, seed: int) -> tuple[float, float, float, float] | None:
    """Test accuracies of a seed: plain, the first stage, plain tuned, both; None where one is missing."""
    found = {cell.arm: end(cell, TEST) for cell in one.study.cells if cell.seed == seed}
    plain, first, tuned, both = (found.get(arm) for arm in (one.plain, FIRST, one.tuned, BOTH))
    if plain is None or first is None or tuned is None or both is None:
        return None
    return plain, first, tuned, both
