"""What a run showed, in plain words, and never more than its corrected p-values show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from budbreak.report.estimate import Cost, Point, Series, arm_series, costs, diagnosed, difference_series
from budbreak.report.summary import family
from budbreak.report.wording import chance_words, count, density, interval, listed, percent, plain_lines, with_unit
from budbreak.studies import TEST_ACCURACY, RunResult

_LISTED = 4  # more densities or arms than this are counted, not listed
_FEW = 3  # more pairs than this get no words about diagnostics and cost, and one for all that show nothing
_MEASURES = 3  # numbers of each diagnostic


@dataclass(frozen=True)
class Conclusion:
    """The parts of the paragraph: what was compared, each arm with its text, and how to read the p-values."""

    lead: str
    arms: tuple[tuple[str, str], ...]
    caveat: str

    def __str__(self) -> str:
        arms = (f"{name} {text}" for name, text in self.arms)
        return "\n".join(part for part in (self.lead, *arms, self.caveat) if part)


def conclusion(run: RunResult) -> str:
    """A paragraph that says what was gained, or that nothing was, and how sure that is."""
    return plain_lines(str(conclude(run)))


def conclude(run: RunResult) -> Conclusion:
    """The parts of `conclusion`."""
    accuracy = arm_series(run, TEST_ACCURACY.name)
    if not accuracy:
        return Conclusion("No level has finished yet: nothing can be said.", (), "")
    lead = _lead(run, accuracy)
    compared = difference_series(run, TEST_ACCURACY.name)
    if not compared:
        return Conclusion(lead, tuple(_alone(series) for series in accuracy[:_LISTED]), "")
    silent = [series for series in compared if not any(point.is_found for point in series.points)]
    merged = silent if len(compared) > _FEW and len(silent) > 1 else []
    texts = [_arm(run, series, alone=len(compared) <= _FEW) for series in compared if series not in merged]
    return Conclusion(lead, (*texts, *_merged(merged)), _caveat(run, compared))


def _lead(run: RunResult, accuracy: Sequence[Series]) -> str:
    sparsest = min(point.x for series in accuracy for point in series.points)
    seeds = count(len({row.seed for row in run.levels}), "seed")
    start = "" if run.complete else "This run was interrupted; what follows covers the finished levels only. "
    names = [series.label for series in accuracy]
    arms = listed(names) if len(names) <= _LISTED else f"{len(names)} arms"
    return f"{start}{run.name}: {arms}, over {seeds} down to lambda = {density(sparsest)}."


def _alone(series: Series) -> tuple[str, str]:
    first, last = series.points[0], series.points[-1]
    text = f"has a test accuracy of {percent(first.estimate.mean)} at lambda = {density(first.x)}"
    if len(series.points) == 1:
        return series.label, f"{text}; there is nothing to compare it with yet."
    end = f"{percent(last.estimate.mean)} at lambda = {density(last.x)}"
    return series.label, f"{text} and {end}; no paired difference was recorded."


def _arm(run: RunResult, series: Series, *, alone: bool) -> tuple[str, str]:
    parts = [_verdict(series), _sparsest(run, series)]
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
    if most == 1:
        return "n=1: no interval"
    return "two seeds are too few" if most == 2 else ""


def _seeds(series: Series) -> str:
    return count(max(point.estimate.n for point in series.points), "seed")


def _verdict(series: Series) -> str:
    """What follows the name of the arm."""
    if why := _too_few(series):
        return f"against {series.reference}: {why}, so no difference can be told from chance."
    above, below = (
        [point for point in series.points if gains(point)],
        [point for point in series.points if losses(point)],
    )
    looked = count(len(series.points), "density")
    if not above and not below:
        return f"shows no difference from {series.reference} that {_seeds(series)} could tell from chance, at {looked}."
    sides = [(word, found) for word, found in (("more", above), ("less", below)) if found]
    of = [f" of {looked}", ""]
    words = [
        f"{word} accurate at {len(found)}{all_}{_at(found)}" for (word, found), all_ in zip(sides, of, strict=False)
    ]
    return f"against {series.reference} was {listed(words)}, after the correction."


def _at(points: Sequence[Point]) -> str:
    return f" (lambda = {listed([density(p.x) for p in points])})" if len(points) <= _LISTED else ""


def gains(point: Point) -> bool:
    """Whether more was found than chance explains."""
    return point.is_found and point.estimate.mean > 0


def losses(point: Point) -> bool:
    """Whether less was found than chance explains."""
    return point.is_found and point.estimate.mean < 0


def _sparsest(run: RunResult, series: Series) -> str:
    point = series.points[-1]
    means = {
        line.label: at.estimate.mean for line in arm_series(run, TEST_ACCURACY.name) if (at := line.at(point.place))
    }
    own, reference = means.get(series.label), means.get(str(series.reference))
    against = f" {percent(own)} against {percent(reference)}," if own is not None and reference is not None else ""
    verdict = "a gain" if gains(point) else "a loss" if losses(point) else "neither a gain nor a loss is shown"
    said = f", {chance_words(point.p)}: {verdict}" if point.p is not None else ""
    difference = with_unit(interval(TEST_ACCURACY, point.estimate), TEST_ACCURACY)
    return f"At lambda = {density(point.x)}:{against} a difference of {difference}{said}."


def _measured(run: RunResult, series: Series) -> str:
    level = series.points[-1].place
    words: list[str] = []
    for quantity in [quantity for group in diagnosed(run) for quantity in group[:_MEASURES]]:
        for line in difference_series(run, quantity.name):
            point = line.at(level)
            if line.label == series.label and point is not None:
                chances = f" ({chance_words(point.p)})" if point.p is not None else ""
                words.append(f"{quantity.label} by {with_unit(interval(quantity, point.estimate), quantity)}{chances}")
    return f"There it differed in {listed(words)}." if words else ""


def _cost(run: RunResult, series: Series) -> str:
    own = next((cost for cost in costs(run) if cost.arm == series.label), None)
    return _cost_words(own, str(series.reference)) if own else ""


def _cost_words(cost: Cost, reference: str) -> str:
    ratios = (("epochs", cost.epochs_ratio), ("seconds", cost.seconds_ratio))
    words = [f"{ratio:.2f} times the {name}" for name, ratio in ratios if ratio is not None]
    return f"It took {listed(words)} of {reference}." if words else ""


def _caveat(run: RunResult, compared: Sequence[Series]) -> str:
    said = family(run)
    if not said:
        return ""
    points = [point for series in compared for point in series.points]
    off = sum(_is_off_zero(point) for point in points)
    found = sum(point.is_found for point in points)
    return (
        f"p is {said}, each from a t-test paired by seed; {off} of the uncorrected 95 % intervals lie off zero, "
        f"{found} with p < 0.05."
    )


def _is_off_zero(point: Point) -> bool:
    low, high = point.estimate.low, point.estimate.high
    return low is not None and high is not None and not low <= 0 <= high
