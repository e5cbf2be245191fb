"""Why what was measured may differ from what the paper says: each reason with the numbers that speak to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from budbreak.results import TEST_ACCURACY, Difference
from reproductions.cells import REWOUND
from reproductions.judging import Verdict, judge
from reproductions.prose import name_of
from reproductions.study import Pair, Study
from reproductions.tables import DYNAMIC
from reproductions.wording import density, listed, points

Studies = Mapping[str, Study]
_OPEN = "Not measured yet."


def reasons_section(studies: Studies, *, scripts: Sequence[str], ablation: str) -> str:
    """All reasons, as a list."""
    found = [
        "- **The setting.** The paper prunes networks of hours and days on CIFAR and ImageNet; these are networks of "
        "minutes. A gain that only large networks show is not seen here.",
        f"- **The script's leak.** {_leak([studies[name] for name in scripts if name in studies])}",
        f"- **The sign.** AP's reason holds where a layer's inputs are not negative. {_sign(studies.get(ablation))}",
        f"- **BatchNorm** subtracts a shift of the mean again. {_norms(studies)}",
    ]
    return "\n".join(["## Why they may differ", "", *found])


def _leak(studies: Sequence[Study]) -> str:
    """What the leak makes of the numbers, at the sparsest level."""
    text = (
        "The public script lets the weights that a level prunes grow back before it measures; its accuracies are those "
        "of the density before. If a host was measured without the leak, AP with it seems to gain."
    )
    parts = [_at_the_end(study, [("leak", "host"), ("leak", "ap"), ("ap", "host")]) for study in studies]
    return f"{text} {' '.join(filter(None, parts)) or _OPEN}"


def _at_the_end(study: Study, pairs: Sequence[Pair]) -> str:
    last = max(study.density)
    rows = [row for row in _differences(study, pairs) if row.level == last]
    if not rows:
        return ""
    found = [f"{row.arm} - {row.reference} {points(row)}" for row in rows]
    return f"{name_of(study)} at {density(study.density[last])}, points of accuracy: {listed(found)}."


def _differences(study: Study, pairs: Sequence[Pair]) -> list[Difference]:
    return study.differences([pair for pair in pairs if set(pair) <= set(study.arms)], TEST_ACCURACY.name)


def _sign(study: Study | None) -> str:
    """The ablations of the sign, beside AP."""
    if study is None:
        return _OPEN
    arms = ("positive", "any-sign", "at-random", "first-layer", "hidden-scaled")
    pairs = [(arm, "ap") for arm in arms if {arm, "ap"} <= set(study.arms)]
    verdicts = judge(study, pairs)
    if not verdicts:
        return _OPEN
    return f"Beside AP, mean accuracy over all densities: {listed(map(_said, verdicts))}."


def _said(verdict: Verdict) -> str:
    return f"{verdict.arm} {points(verdict.mean)} points ({verdict.outcome})"


def _norms(studies: Studies) -> str:
    """AP's effect on dynamic DNR right after rewinding, with norms and without."""
    parts: list[str] = []
    for study in (study for name, study in studies.items() if name.endswith("-hosts")):
        pairs = [pair for pair in study.pairs() if pair == ("magnitude-ap", "magnitude")]
        found = judge(study, pairs, f"{REWOUND}{DYNAMIC}")
        parts += [f"{name_of(study)} {points(verdict.mean)}" for verdict in found]
    if not parts:
        return _OPEN
    return f"Dynamic DNR of magnitude-ap right after rewinding, minus magnitude, points: {listed(parts)}."
