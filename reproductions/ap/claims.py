"""What the paper claims, quoted as claims, and what the cells say to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from budbreak.results import Difference
from reproductions.ap.sections import verdicts_on_hosts
from reproductions.cells import DURING, REWOUND
from reproductions.judging import OUTCOMES, SINGLE, Verdict, judge
from reproductions.prose import name_of
from reproductions.study import ALPHA, Study
from reproductions.tables import DYNAMIC
from reproductions.wording import density, listed, percent, points, table

Studies = Mapping[str, Study]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        text: what is claimed, and where it stands.
        answer: what the studies of hosts, and all studies by name, say to it.
    """

    text: str
    answer: Callable[[Sequence[Study], Studies], str]


def claims_section(hosts: Sequence[Study], studies: Studies) -> str:
    """Every claim with what was measured."""
    parts = [f"> {claim.text}\n\n{claim.answer(hosts, studies)}" for claim in CLAIMS]
    return "\n\n".join(["## What the paper claims, and what was measured", *parts])


def _gains(hosts: Sequence[Study], _: Studies) -> str:
    """The largest differences anywhere."""
    verdicts = [verdict for study in hosts for verdict in verdicts_on_hosts(study)]
    rows = [row for verdict in verdicts for row in verdict.rows if row.high is not None]
    if not rows:
        return "Not measured yet."
    under = [sum((row.high or 0.0) < bound for row in rows) for bound in (0.02, 0.01)]
    best, worst = (pick(rows, key=lambda row: row.mean) for pick in (max, min))
    return (
        "CIFAR, ImageNet and the vision transformer were not measured here; these are networks of minutes on MNIST and "
        f"Fashion-MNIST. Of {len(rows)} differences (arms x densities) {under[0]} have a 95 % interval that ends below "
        f"+2 points, and {under[1]} one that ends below +1 point. The best mean is {_where(best)}, the worst "
        f"{_where(worst)}."
    )


def _where(row: Difference) -> str:
    return f"{points(row)} points ({row.arm} at {density(row.density)})"


def _any_host(hosts: Sequence[Study], _: Studies) -> str:
    """How many hosts were helped, by network and data."""
    lines = [_outcomes(study) for study in hosts if study.pairs()]
    head = ("network and data", "arms", *OUTCOMES)
    return table(head, lines) if lines else "Not measured yet."


def _outcomes(study: Study) -> list[str]:
    verdicts = verdicts_on_hosts(study)
    by_outcome = [
        listed((verdict.arm for verdict in verdicts if verdict.outcome == outcome), none="-") for outcome in OUTCOMES
    ]
    return [name_of(study), str(len(verdicts)), *by_outcome]


def _falls(hosts: Sequence[Study], _: Studies) -> str:
    """Dynamic DNR of the hosts alone, from dense to sparsest."""
    rows, fell, compared = list[list[str]](), 0, 0
    for study in hosts:
        for arm in (arm for arm in study.arms if not study.cell(arm).setup["prune"]["then"]):
            course = _course(study, arm, DYNAMIC)
            if course:
                rows.append([name_of(study), arm, *_ends(course), *_ends(_course(study, arm, f"{DURING}{DYNAMIC}"))])
                fell, compared = fell + (course[-1] < course[0]), compared + 1
    if not rows:
        return "Not measured yet."
    head = (
        "network and data", "host", "after training: dense", "sparsest", "levels with a fall", "during: dense",
        "sparsest", "levels with a fall",
    )  # fmt: skip
    text = f"Dynamic DNR after training was lower at the sparsest level than dense for {fell} of {compared} hosts:"
    return f"{text}\n\n{table(head, rows)}"


def _course(study: Study, arm: str, quantity: str) -> list[float]:
    means = [study.mean(arm, level, quantity) for level in study.density]
    return [mean for mean in means if mean is not None]


def _ends(course: Sequence[float]) -> list[str]:
    falls = sum(after < before for before, after in pairwise(course))
    return [percent(course[0], 1), percent(course[-1], 1), f"{falls} of {len(course) - 1}"] if course else ["-"] * 3


def _activates(hosts: Sequence[Study], _: Studies) -> str:
    """AP's effect on dynamic DNR right after rewinding, and what training leaves of it."""
    moments = {"right after rewinding": f"{REWOUND}{DYNAMIC}", "after training": DYNAMIC}
    columns = [
        [(name_of(study), verdict) for study in hosts for verdict in judge(study, study.pairs(), quantity)]
        for quantity in moments.values()
    ]
    if not columns[0]:
        return "Not measured yet."
    answers = [_lowered(moment, [v for _, v in column]) for moment, column in zip(moments, columns, strict=True)]
    rows = [[name, v.arm, points(v.mean), points(w.mean)] for (name, v), (_, w) in zip(*columns, strict=True)]
    head = (
        "network and data",
        "arm",
        *(f"dynamic DNR {moment}, mean over all densities, points" for moment in moments),
    )
    return f"{' '.join(answers)}\n\n{table(head, rows)}"


def _lowered(moment: str, verdicts: Iterable[Verdict]) -> str:
    tested = [verdict for verdict in verdicts if verdict.p is not None]
    if not tested:
        return f"{moment[0].upper()}{moment[1:]}: single seeds show nothing yet."
    shown = [verdict.mean.mean for verdict in tested if verdict.p is not None and verdict.p < ALPHA]
    return (
        f"{moment[0].upper()}{moment[1:]}, in the mean over all densities, dynamic DNR was shown to be lower than the "
        f"host's for {sum(mean < 0 for mean in shown)} of {len(tested)} arms, and higher for "
        f"{sum(mean > 0 for mean in shown)}."
    )


def _alone(_: Sequence[Study], studies: Studies) -> str:
    """AP's metric without a host."""
    study = studies.get("mnist-lenet300-ablation")
    if study is None or not {"alone", "magnitude"} <= set(study.arms):
        return "Not measured yet."
    (verdict,) = judge(study, [("alone", "magnitude")])
    last = verdict.rows[-1]
    return (
        f"On {name_of(study)}, AP's metric without a host {_said(verdict)} beside magnitude: {points(verdict.mean)} "
        f"points in the mean over all densities, {points(last)} at {density(last.density)} ({verdict.power} seeds)."
    )


def _said(verdict: Verdict) -> str:
    said = {"no difference shown": "showed no difference", SINGLE: "gives no verdict, by a single seed,"}
    return said.get(verdict.outcome, verdict.outcome)


def _pro(_: Sequence[Study], studies: Studies) -> str:
    """Pro beside what costs the same."""
    lines: list[str] = []
    for study in (study for name, study in studies.items() if name.endswith("-pro")):
        pairs = [("pro", ref) for ref in ("magnitude", "retrain", "split") if {"pro", ref} <= set(study.arms)]
        found = [f"{points(v.mean)} points against {v.pair[1]} ({_said(v)})" for v in judge(study, pairs)]
        lines += [f"{name_of(study)}, mean over all densities: {listed(found)}."] if found else []
    return " ".join(lines) or "Not measured yet."


CLAIMS = (
    Claim(
        "AP improves the pruning methods that it is used with by 3 %-4 % on CIFAR-10 and CIFAR-100, and by 2 %-3 % on "
        "ImageNet and with vision transformers. (Abstract; whether points or relative per cent is not said there.)",
        _gains,
    ),
    Claim("AP works with existing pruning methods, two classical and three recent ones. (Abstract.)", _any_host),
    Claim(
        '"The more the network is pruned, the smaller the dynamic DNR becomes during and after optimization." '
        "(Abstract.)",
        _falls,
    ),
    Claim("AP lowers the dynamic DNR: it prunes what keeps units inactive. (Abstract, paraphrased.)", _activates),
    Claim("AP does not stand alone: it does not look at how important weights are. (Abstract, paraphrased.)", _alone),
    Claim(
        "AP pro, with one more training in each cycle, gains more than AP lite. (As recalled from the preprint; not "
        "verified.)",
        _pro,
    ),
)  # fmt: skip
