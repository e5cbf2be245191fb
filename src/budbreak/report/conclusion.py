"""What a run showed, in plain words, and never more than its intervals show."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.report.estimate import Cost, Point, Series, arm_series, costs, difference_series
from budbreak.report.wording import METRICS, count, density, interval, listed, percent, plain_lines
from budbreak.studies import RunResult

ACCURACY = "test_accuracy"
_CHANCE = 0.05  # a 95 % interval misses the truth in 5 of 100 repetitions
_LISTED = 4  # more densities than this are counted, not listed
_ENOUGH = 3  # seeds: fewer are no result, whatever their interval


@dataclass(frozen=True)
class Conclusion:
    """The parts of the paragraph: what was compared, each arm with its text, and how to read the intervals."""

    lead: str
    arms: tuple[tuple[str, str], ...]
    caveat: str

    def __str__(self) -> str:
        arms = (f"{name} {text}" for name, text in self.arms)
        return "\n".join(part for part in (self.lead, *arms, self.caveat) if part)


def conclusion(run: RunResult) -> str:
    """A paragraph that says what was gained, or that nothing was: accuracy, DNR, cost, and how sure that is."""
    return plain_lines(str(conclude(run)))


def conclude(run: RunResult) -> Conclusion:
    """The parts of `conclusion`."""
    accuracy = arm_series(run, ACCURACY)
    if not accuracy:
        return Conclusion("No level has finished yet: nothing can be said.", (), "")
    lead = _lead(run, accuracy)
    pairs = [(series, _pruned(series)) for series in difference_series(run, ACCURACY)]
    compared = [(series, points) for series, points in pairs if points]
    if not compared:
        return Conclusion(lead, (_alone(accuracy[0]),), "")
    texts = tuple(_arm(run, series, points) for series, points in compared)
    looked_at = sum(point.estimate.low is not None for _, points in compared for point in points)
    return Conclusion(lead, texts, _caveat(looked_at))


def _pruned(series: Series) -> list[Point]:
    """Dense levels say nothing about pruning."""
    return [point for point in series.points if point.density < 1]


def _lead(run: RunResult, accuracy: tuple[Series, ...]) -> str:
    sparsest = min(point.density for series in accuracy for point in series.points)
    seeds = count(len({row.seed for row in run.levels}), "seed")
    start = "" if run.complete else "This run was interrupted; what follows covers the finished levels only. "
    others = [series.label for series in accuracy if series.label != run.arms[0]]
    against = f"compared with {listed(others)}" if others else "with nothing to compare it with"
    return f"{start}{run.name}: {run.arms[0]}, {against}, over {seeds} down to lambda = {density(sparsest)}."


def _alone(series: Series) -> tuple[str, str]:
    first, last = series.points[0], series.points[-1]
    text = f"has a test accuracy of {percent(first.estimate.mean)} at lambda = {density(first.density)}"
    if len(series.points) == 1:
        return series.label, f"{text}; there is nothing to compare it with yet."
    end = f"{percent(last.estimate.mean)} at lambda = {density(last.density)}"
    return series.label, f"{text} and {end}; no paired difference was recorded."


def _arm(run: RunResult, series: Series, points: list[Point]) -> tuple[str, str]:
    verdict = _verdict(run.arms[0], points)
    parts = (verdict, _sparsest(run, series, points[-1]), _dead(run, series, points[-1].level), _cost(run, series))
    return series.label, " ".join(part for part in parts if part)


def _verdict(reference: str, points: list[Point]) -> str:
    """What follows the name of the arm."""
    known = [point for point in points if point.estimate.low is not None]
    if not known:
        return f"against {reference}: with one seed there is no interval, so no difference can be told from chance."
    if max(point.estimate.n for point in known) < _ENOUGH:
        return f"against {reference}: two seeds are too few to tell a difference from chance."
    above, below = [p for p in known if gains(p)], [p for p in known if losses(p)]
    if not above and not below:
        seeds = count(max(point.estimate.n for point in known), "seed")
        places = f"{'all ' if len(known) > 1 else ''}{count(len(known), 'pruned density')}"
        nothing = f"gained nothing over {reference}, and lost nothing, that {seeds} could show"
        return f"{nothing}: at {places} the 95 % interval of the difference holds zero."
    sides = [(word, found) for word, found in (("more", above), ("less", below)) if found]
    places = [f" of {count(len(known), 'pruned density')}", ""]
    words = [
        f"{word} accurate{f' than {reference}' if of else ''} at {len(found)}{of}{_at(found)}"
        for (word, found), of in zip(sides, places, strict=False)
    ]
    side = "off" if len(sides) > 1 else "above" if above else "below"
    rest = len(known) - len(above) - len(below)
    held = f"; at the other {rest} it holds zero" if rest else ""
    return f"was {listed(words)}, where the 95 % interval of the difference lies {side} zero{held}."


def _at(points: list[Point]) -> str:
    return f" (lambda = {listed([density(p.density) for p in points])})" if len(points) <= _LISTED else ""


def gains(point: Point) -> bool:
    """Whether the interval of at least `_ENOUGH` seeds lies above zero, on the exact numbers."""
    return point.estimate.n >= _ENOUGH and point.estimate.low is not None and point.estimate.low > 0


def losses(point: Point) -> bool:
    """Whether the interval of at least `_ENOUGH` seeds lies below zero, on the exact numbers."""
    return point.estimate.n >= _ENOUGH and point.estimate.high is not None and point.estimate.high < 0


def _sparsest(run: RunResult, series: Series, point: Point) -> str:
    means = {
        found.label: other.estimate.mean
        for found in arm_series(run, ACCURACY)
        for other in found.points
        if other.level == point.level
    }
    own, reference = means.get(series.label), means.get(run.arms[0])
    against = f" {percent(own)} against {percent(reference)}," if own is not None and reference is not None else ""
    verdict = "a gain" if gains(point) else "a loss" if losses(point) else "neither a gain nor a loss is shown"
    said = f"; {verdict}" if point.estimate.low is not None else ""
    where = f"At its sparsest, lambda = {density(point.density)}:"
    return f"{where}{against} a difference of {interval(point.estimate)} points{said}."


def _dead(run: RunResult, series: Series, level: int) -> str:
    found = {
        name: point.estimate
        for name in ("dnr_total", "dnr_static", "dnr_dynamic")
        for other in difference_series(run, name)
        for point in other.points
        if other.label == series.label and point.level == level
    }
    words = [f"{METRICS[name]} by {interval(value)}" for name, value in found.items()]
    return f"There it differed in {listed(words)} points." if words else ""


def _cost(run: RunResult, series: Series) -> str:
    own = next((cost for cost in costs(run) if cost.arm == series.label), None)
    return _cost_words(own, run.arms[0]) if own else ""


def _cost_words(cost: Cost, reference: str) -> str:
    ratios = (("epochs", cost.epochs_ratio), ("seconds", cost.seconds_ratio))
    words = [f"{ratio:.2f} times the {name}" for name, ratio in ratios if ratio is not None]
    return f"It took {listed(words)} of {reference}." if words else ""


def _caveat(intervals: int) -> str:
    if intervals < 2:
        return ""
    return (
        f"{intervals} intervals of accuracy are looked at without correction: if no arm differed at all, about "
        f"{_CHANCE * intervals:.1f} of them would be expected to lie off zero by chance."
    )
