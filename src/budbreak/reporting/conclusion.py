"""What a run showed, in plain words, and never more than its corrected p-values show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budbreak.reporting.estimate import (
    Point,
    Series,
    arm_series,
    diagnosed,
    difference_series,
    family,
    headline,
    pairing,
)
from budbreak.reporting.wording import chance_words, count, density, interval, listed, number, plain_lines, with_unit
from budbreak.results import RunResult, costs, estimate, is_ap, subject

_LISTED = 4  # more densities or arms than this are counted, not listed
_FEW = 3  # more pairs than this get no words about diagnostics and cost, and one for all that show nothing
_MEASURES = 3  # numbers of each diagnostic
_GROUPS = 2  # of more than this only the first number is told
_WORDS = {
    r"(?<![\w@+-])host(?![\w@+-])": "the criterion that prunes",
    r"lambda = [\d.e-]+ %|\bdensit(y|ies)\b": "the density: the share of the prunable weights that is kept",
    r"\bDNR\b": "dead neuron rate: the share of neuron outputs that are 0",
}
_AP = "AP, activate-while-pruning: a few negative weights that hardly moved go instead of some that the criterion chose"


@dataclass(frozen=True)
class Conclusion:
    """The parts of the paragraph.

    Args:
        lead: what was pruned on what by what.
        cost: what pruning itself cost.
        arms: each arm that is compared, with its text.
        caveat: how to read the p-values.
    """

    lead: str
    cost: str = ""
    arms: tuple[tuple[str, str], ...] = ()
    caveat: str = ""

    def __str__(self) -> str:
        arms = (f"{name} {text}" for name, text in self.arms)
        return "\n".join(part for part in (self.lead, self.cost, *arms, self.caveat) if part)


def conclusion(run: RunResult) -> str:
    """A paragraph that says what pruning cost, what was gained, or that nothing was, and how sure that is."""
    return plain_lines(str(conclude(run)))


def conclude(run: RunResult) -> Conclusion:
    """The parts of `conclusion`, in which each word of ours is explained where it first occurs."""
    judged = arm_series(run, headline(run).name) if run.levels else ()
    if not judged:
        return Conclusion("No level has finished yet: nothing can be said.")
    start = "" if run.complete else "This run was interrupted; what follows covers the finished levels only. "
    lead, cost = f"{start}{subject(run)}.", _cost_of_pruning(run, judged)
    compared = difference_series(run, headline(run).name)
    silent = [series for series in compared if not any(point.is_found for point in series.points)]
    merged = silent if len(compared) > _FEW and len(silent) > 1 else []
    texts = [_arm(run, series, alone=len(compared) <= _FEW) for series in compared if series not in merged]
    caveat = " ".join(filter(None, [_caveat(run, compared), _not_compared(judged, compared)]))
    return _explained(run, Conclusion(lead, cost, (*texts, *_merged(merged)), caveat))


def explain(texts: Iterable[str]) -> list[str]:
    """Texts that follow each other, each word of ours explained behind its first occurrence in them.

    >>> explain(["at 3 densities", "total DNR", "static DNR at 1 density"])[1]
    'total DNR (dead neuron rate: the share of neuron outputs that are 0)'
    """
    found, left = list(texts), dict(_WORDS)
    for place, text in enumerate(found):
        for word, meaning in list(left.items()):
            text, times = re.subn(f"({word})", rf"\1 ({meaning})", text, count=1)
            if times:
                del left[word]
        found[place] = text
    return found


def _explained(run: RunResult, given: Conclusion) -> Conclusion:
    """AP is explained at the first arm of its own, or at the end where all its arms share a sentence."""
    first = next((name for name, _ in given.arms if is_ap(run, name)), None)
    arms = [f"({_AP}) {text}" if name == first else text for name, text in given.arms]
    shared = first is None and any(is_ap(run, name) for name in run.arm_names)
    lead, cost, *texts, caveat = explain([given.lead, given.cost, *arms, given.caveat])
    names = (name for name, _ in given.arms)
    end = f"{caveat} {_AP}." if shared else caveat
    return Conclusion(lead, cost, tuple(zip(names, texts, strict=True)), end)


def _cost_of_pruning(run: RunResult, judged: Sequence[Series]) -> str:
    """From dense to sparsest, of the first arms that are compared with none and are not AP's."""
    roots = [series for series in judged if series.reference is None and not is_ap(run, series.label)]
    told = [text for series in roots[:_LISTED] if (text := _fall(run, series))]
    more = f"; and {count(len(roots) - _LISTED, 'arm')} more" if len(roots) > _LISTED else ""
    how = "Pruning and further training" if any(_trains_on(run, series.label) for series in roots) else "Pruning alone"
    said = f"{how} changed the {headline(run).label}, with 95 % intervals in brackets"
    return f"{said}: {'; '.join(told)}{more}." if told else ""


def _trains_on(run: RunResult, arm: str) -> bool:
    """Whether a sparse network has been trained for longer than the dense one: weights do not return, or by a rule."""
    setup = run.recipe.get("arms", {}).get(arm, {})
    ruled = setup.get("train", {}).get("until") is not None
    return ruled or setup.get("prune", {}).get("rewind", "weights") != "weights"


def _fall(run: RunResult, series: Series) -> str:
    main, first, last = headline(run), series.points[0], series.points[-1]
    before = dict(first.values)
    pairs = [after - before[seed] for seed, after in last.values if seed in before]
    if first == last or not pairs:
        return ""
    start = "dense" if first.x == 1 else f"at lambda = {density(first.x)}"
    means = f"{number(main, first.estimate.mean)} {start} to {number(main, last.estimate.mean)}"
    found = estimate(pairs).within(*((-1, 1) if main.unit == "share" else ()))
    change = with_unit(interval(main, found), main)
    return f"{series.label} from {means} at lambda = {density(last.x)}, by {change}"


def _arm(run: RunResult, series: Series, *, alone: bool) -> tuple[str, str]:
    parts = [_verdict(run, series), _sparsest(run, series)]
    if alone:
        parts += [_measured(run, series), _cost(run, series)]
    return series.label, " ".join(part for part in parts if part)


def _merged(silent: Sequence[Series]) -> tuple[tuple[str, str], ...]:
    """All that show nothing, in one sentence."""
    if not silent:
        return ()
    groups: dict[str, list[str]] = {}
    for series in silent:
        groups.setdefault(str(series.reference), []).append(series.label)
    pairs = "; ".join(f"{listed(arms)} against {reference}" for reference, arms in groups.items())
    why = _too_few(silent[0])
    told = f"can be told from chance, {why}" if why else f"that {_seeds(silent[0])} could tell from chance"
    return (("No difference", f"{told}: {pairs}."),)


def _too_few(series: Series) -> str:
    """Why there cannot be a result, if so."""
    most = max(point.estimate.n for point in series.points)
    return {1: "n=1: no interval", 2: "two seeds are too few"}.get(most, "")


def _seeds(series: Series) -> str:
    return count(max(point.estimate.n for point in series.points), "seed")


def _verdict(run: RunResult, series: Series) -> str:
    """What follows the name of the arm."""
    if why := _too_few(series):
        return f"against {series.reference}: {why}, so no difference can be told from chance."
    found = {word: [p for p in series.points if _side(run, p) == word] for word in _sides(run)}
    looked = count(len(series.points), "density")
    if not any(found.values()):
        return f"shows no difference from {series.reference} that {_seeds(series)} could tell from chance, at {looked}."
    told = [(word, points) for word, points in found.items() if points]
    every = [f" of {looked}", ""]
    words = [f"{word} at {len(at)}{of}{_at(at)}" for (word, at), of in zip(told, every, strict=False)]
    return f"against {series.reference} was {listed(words)}, after the correction."


def _at(points: Sequence[Point]) -> str:
    return f" (lambda = {listed([density(p.x) for p in points])})" if len(points) <= _LISTED else ""


def _sides(run: RunResult) -> tuple[str, str]:
    """What an arm is that has more, and one that has less, of what the run is judged by."""
    main = headline(run)
    if main.name.endswith("accuracy"):
        return "more accurate", "less accurate"
    return {"higher": ("better", "worse"), "lower": ("worse", "better")}.get(main.better, ("higher", "lower"))


def _side(run: RunResult, point: Point) -> str:
    """On which side a difference is that chance does not explain; empty for one that it may explain."""
    more, less = _sides(run)
    return "" if not point.is_found else more if point.estimate.mean > 0 else less


def _sparsest(run: RunResult, series: Series) -> str:
    main, point = headline(run), series.points[-1]
    means = {line.label: at.estimate.mean for line in arm_series(run, main.name) if (at := line.at(point.place))}
    own, reference = means.get(series.label), means.get(str(series.reference))
    difference = with_unit(interval(main, point.estimate), main)
    against = ""
    if own is not None and reference is not None:
        against = f" {number(main, own)} against {number(main, reference)},"
    verdict = _side(run, point) or "no difference is shown"
    said = f", {chance_words(point.p)}: {verdict}" if point.p is not None else ""
    return f"At lambda = {density(point.x)}:{against} a difference of {difference}{said}."


def _measured(run: RunResult, series: Series) -> str:
    words: list[str] = []
    found = diagnosed(run)
    most = _MEASURES if len(found) <= _GROUPS else 1
    for quantity in [quantity for group in found for quantity in group[:most]]:
        for line in difference_series(run, quantity.name):
            point = line.at(series.points[-1].place)
            if line.label == series.label and point is not None:
                chances = f" ({chance_words(point.p)})" if point.p is not None else ""
                words.append(f"{quantity.label} by {with_unit(interval(quantity, point.estimate), quantity)}{chances}")
    return f"There it differed in {listed(words)}." if words else ""


def _cost(run: RunResult, series: Series) -> str:
    own = next(cost for cost in costs(run) if cost.arm == series.label)
    ratios = (("epochs", own.epochs_ratio), ("seconds", own.seconds_ratio))
    words = [f"{ratio:.2f} times the {name}" for name, ratio in ratios if ratio is not None]
    return f"It took {listed(words)} of {series.reference}." if words else ""


def _caveat(run: RunResult, compared: Sequence[Series]) -> str:
    said = family(run)
    if not said:
        return ""
    ends = [(p.estimate.low, p.estimate.high) for series in compared for p in series.points]
    off = sum(low is not None and high is not None and not low <= 0 <= high for low, high in ends)
    found = sum(point.is_found for series in compared for point in series.points)
    return (
        f"p is {said}, each from a t-test, {pairing(compared)}; {off} of the uncorrected 95 % intervals lie off zero, "
        f"{found} with p < 0.05."
    )


def _not_compared(judged: Sequence[Series], compared: Sequence[Series]) -> str:
    """Where arms and their references have no difference: in no recipe, but in runs and loops of other plans."""
    lines, differences = ({line.label: line for line in series} for series in (judged, compared))
    found = [(line, lines[line.reference]) for line in judged if line.reference in lines]
    if not found:
        return "No arm is compared with another."
    apart: list[str] = []
    for line, base in found:
        both = {p.place for p in line.points if p.place and base.at(p.place)}
        missing = both - {p.place for p in differences[line.label].points} if line.label in differences else both
        apart += [f"{line.label} at {count(len(missing), 'level')}"] if missing else []
    return f"Not compared, as other numbers of weights stay there: {listed(apart)}." if apart else ""
