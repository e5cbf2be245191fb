"""SAFS, AP and activation counts on one sparse network: does searching still help when AP has woken the units?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from budbreak.results import Estimate, estimate, holm
from reproductions.cells import Cell
from reproductions.prose import name_of
from reproductions.safs.studies import ENOUGH, TEST, classes_of, compared, end, outcome
from reproductions.safs.tables import REACHABLE, half_powered, judged, recipe_link
from reproductions.study import ALPHA, Pair, Study, studies_of
from reproductions.wording import listed, p_text, points, table, with_spread

COMBINED = "mnist-lenet5-combined"
_SEARCHED, _AP = "-safs", "-ap"


def combined_study(cells: Sequence[Cell], recipes: Path) -> Study:
    """That of the recipe, with the cells that are there."""
    return replace(studies_of(cells, recipes)[COMBINED], exact=False)


def combined_section(study: Study) -> str:
    """All arms, each beside its reference; and what searching gains with AP beside without."""
    if not study.cells:
        return "## All three methods on one network\n\nNot measured yet."
    setting = (
        f"{recipe_link(COMBINED)}: {len(study.cells)} of {study.seeds * len(study.planned)} cells. *-ap*: with AP "
        "after the host; *-safs*: trained with activations that stage 1 found; the last layer is not pruned."
        f"{half_powered(study)}"
    )
    parts = [f"## All three methods on one network: {name_of(study)}", setting, combined_sentence(study)]
    return "\n\n".join([*parts, _ends(study), _differences(study), _gains(study)])


def _ends(study: Study) -> str:
    rows = [
        [arm, str(len(study.seeds_of(arm))), with_spread(study.values(arm, 1, TEST)), _reached(study, arm)]
        for arm in study.arms
    ]
    return table(("arm", "seeds", "test accuracy, %", f"reachable classes of {classes_of(study)}"), rows)


def _reached(study: Study, arm: str) -> str:
    return with_spread([classes_of(study) * share for share in study.values(arm, 1, REACHABLE)], factor=1, digits=1)


def _differences(study: Study) -> str:
    rows = compared(study, [(arm, reference) for arm, reference in study.planned.items() if reference is not None])
    head = ("difference", "points of test accuracy [95 %]", "p, Holm, over this table", "so it is")
    return table(head, [[f"{row.arm} - {row.reference}", *judged(row)] for row in rows])


def _gains(study: Study) -> str:
    head = ("host", "gain of searching with AP minus without, points [95 %]", "p, Holm", "so it is")
    return table(head, [[host, points(one), p_text(p), _said(one, p)] for host, one, p in gains(study)])


def gains(study: Study) -> list[tuple[str, Estimate, float | None]]:
    """(host, what searching gains more with AP than without, p by Holm over hosts) of hosts with all four arms."""
    hosts = [arm for arm in study.planned if _SEARCHED not in arm and _AP not in arm]
    per_seed = {host: _more(study, (f"{host}{_AP}{_SEARCHED}", f"{host}{_AP}"), (f"{host}{_SEARCHED}", host))
                for host in hosts}  # fmt: skip
    found = [(host, estimate(values)) for host, values in per_seed.items() if values]
    adjusted = iter(holm([one.p for _, one in found if one.p is not None]))
    return [(host, one, None if one.p is None else next(adjusted)) for host, one in found]


def _more(study: Study, pair: Pair, other: Pair) -> list[float]:
    """By seed: the difference of one pair minus that of the other."""
    found = {(cell.arm, cell.seed): end(cell, TEST) for cell in study.cells}
    per_seed = [[found.get((arm, seed)) for arm in (*pair, *other)] for seed in range(study.seeds)]
    full = [[value for value in four if value is not None] for four in per_seed]
    return [four[0] - four[1] - four[2] + four[3] for four in full if len(four) == 4]


def _said(one: Estimate, p: float | None) -> str:
    if one.n < ENOUGH:
        return f"fewer than {ENOUGH} seeds: no verdict"
    if p is None or p >= ALPHA:
        return "no difference shown"
    return "larger with AP" if one.mean > 0 else "smaller with AP"


def combined_sentence(study: Study) -> str:
    """Where searching is shown to help, without and with AP."""
    pairs = [(arm, arm.removesuffix(_SEARCHED)) for arm in study.planned if arm.endswith(_SEARCHED)]
    rows = [row for row in compared(study, pairs) if row.n >= ENOUGH]
    if not rows:
        return f"No arm has {ENOUGH} seeds with and without a search: nothing is judged."
    after = [row for row in rows if row.arm.removesuffix(_SEARCHED).endswith(_AP)]
    alone = [row for row in rows if row not in after]
    texts = [f"{when} for {_helped([row.arm for row in own if outcome(row) == 'above'], len(own))}" for when, own in
             (("without AP", alone), ("after AP", after)) if own]  # fmt: skip
    return f"Searching activations is shown to help {'; '.join(texts)}."


def _helped(arms: Sequence[str], count: int) -> str:
    return f"{len(arms)} of {count} hosts" + (f" ({listed(arms)})" if arms else "")
