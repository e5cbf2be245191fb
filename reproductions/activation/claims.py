"""What the paper claims of activation-based pruning, and what the cells say to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from budbreak.results import Difference
from reproductions.activation.comparing import Form, Kept, bookkeeping, forms, shrunk_more
from reproductions.activation.factors import METHODS
from reproductions.activation.stored import NetworkCell
from reproductions.activation.studies import Measured
from reproductions.activation.tables import COUNTING, PAIRS, TEST
from reproductions.study import ALPHA
from reproductions.wording import NOTHING, listed, points, table, with_spread

MARGIN = 0.01
"""Accuracies are called comparable where the whole interval of their difference lies within this, in [0, 1]."""

SAME = 0.99
"""A change is called that of singular values where this share of it, by squares, keeps singular vectors."""

Studies = Mapping[str, Measured]
_OPEN = "Not measured yet."


@dataclass(frozen=True)
class Claim:
    """One claim: its text, and the answer of all studies with cells."""

    text: str
    answer: Callable[[Studies], str]


def claims_section(studies: Studies) -> str:
    """Every claim with what was measured."""
    parts = [f"> {claim.text}\n\n{claim.answer(studies)}" for claim in CLAIMS]
    return "\n\n".join(["## What the paper claims, and what was measured", *parts])


def verdict(row: Difference) -> str:
    """What one difference in accuracy says."""
    if row.low is None or row.high is None:
        return "a single seed shows nothing"
    shown = row.p_adjusted is not None and row.p_adjusted < ALPHA
    words = [("above" if row.mean > 0 else "below")] if shown else []
    words += ["within 1 point"] if row.low > -MARGIN and row.high < MARGIN else []
    return ", ".join(words) or "no difference shown, and more than 1 point left open"


def comparable(studies: Studies) -> str:
    """Test accuracy at the end, of what counts activations minus magnitude and the standard network."""
    rows = [
        [name, f"{row.arm} - {row.reference}", _reached(measured, row), points(row), verdict(row)]
        for name, measured in studies.items()
        for row in measured.compared(PAIRS, TEST)
    ]
    if not rows:
        return _OPEN
    counts = {word: sum(word in row[-1].split(", ") for row in rows) for word in ("within 1 point", "above", "below")}
    tested = sum("single seed" not in row[-1] for row in rows)
    text = (
        f"Of {len(rows)} comparisons {tested} have an interval. {counts['within 1 point']} lie wholly within 1 point: "
        f"there the accuracies are comparable. {counts['above']} are shown to be above, {counts['below']} below."
    )
    head = ("study", "difference", "sparsity reached, %", "test accuracy at the end, points [95 %]", "so")
    return f"{text}\n\n{table(head, rows)}"


def _reached(measured: Measured, row: Difference) -> str:
    """The sparsities of both: an arm whose gate was not reached was pruned less."""
    arms = (row.arm, row.reference)
    cells = [[cell for cell in measured.ends.cells if cell.arm == arm] for arm in arms]
    return " and ".join(with_spread([1 - cell.kept[-1] / cell.total for cell in own], digits=1) for own in cells)


def low_rank(studies: Studies) -> str:
    """Ranks of the hidden layers at the end, and whether they are the numbers of units that survive."""
    rows: list[list[str]] = []
    lowered: dict[bool, set[str]] = {True: set(), False: set()}
    every: list[Kept] = []
    for name, measured in studies.items():
        for arm, own in _by_arm(bookkeeping(measured)).items():
            shares = _shares(own, "rank")
            lowered[fmean(shares) < 1].add(arm)
            every += own
            rows.append([name, arm, with_spread(shares, digits=1), _counted(_equal(own), own)])
    if not rows:
        return _OPEN
    head = ("study", "arm", "rank at the end, % of full, hidden layers", "layers of rank = units that survive")
    dying = [one for one in every if one.survivors < one.full]
    full = listed(sorted(lowered[False] - lowered[True]))
    text = (
        f"Below full rank in the mean: {listed(sorted(lowered[True]))}. At full rank: {full}. A matrix has at most as "
        f"many dimensions as rows that are not zero. In {_counted(_equal(dying), dying)} layers in which units died, "
        "the rank is exactly the number that survived."
    )
    if dying and _equal(dying) == len(dying):
        text += " It is low because units are gone, whatever criterion took them."
    return f"{text}\n\n{table(head, rows)}"


def _equal(own: Sequence[Kept]) -> int:
    return sum(one.rank == min(one.survivors, one.full) for one in own)


def _counted(some: int, own: Sequence[Kept]) -> str:
    return f"{some} of {len(own)}"


def _by_arm(found: Sequence[Kept]) -> dict[str, list[Kept]]:
    arms = dict.fromkeys(one.arm for one in found)
    return {arm: [one for one in found if one.arm == arm] for arm in arms}


def _shares(own: Sequence[Kept], name: str) -> list[float]:
    """Of each seed: the sum of a rank over hidden layers, as a share of the full ranks."""
    seeds = sorted({one.seed for one in own})
    return [
        sum(getattr(one, name) for one in own if one.seed == seed) / sum(one.full for one in own if one.seed == seed)
        for seed in seeds
    ]


def beats_factors(studies: Studies) -> str:
    """The pruned network beside the standard one as factors."""
    found = [(name, form) for name, measured in studies.items() for form in forms(measured)]
    if not found:
        return _OPEN
    keys = dict.fromkeys((name, form.arm, form.at) for name, form in found)
    cells = {
        (name, form.arm, form.at, form.method): f"{points(form.difference)}: {form.outcome}" for name, form in found
    }
    rows = [[*key, *(cells.get((*key, method), NOTHING) for method in METHODS)] for key in keys]
    texts = [_of_method([form for _, form in found], method) for method in METHODS]
    head = ("study", "pruned arm", "at its", *(f"minus {method}, points" for method in METHODS))
    return (
        f"At equal rank: {'; '.join(texts)}. PCA and SVD are not trained after they are cut, where the pruned network "
        f"was trained at its rank: trained factors are the fair comparison.\n\n{table(head, rows)}"
    )


def _of_method(found: Sequence[Form], method: str) -> str:
    """Over all studies, at equal rank."""
    own = [form for form in found if (form.method, form.at) == (method, "rank")]
    if not own:
        return f"against {method} not measured yet"
    above, below = ([form.arm for form in own if form.outcome == f"pruned is {word}"] for word in ("above", "below"))
    text = f"against {method} shown to be above in {len(above)} of {len(own)} rows, below in {len(below)}"
    return f"{text} ({listed(dict.fromkeys(above))} above)" if above else text


def kept_rank(studies: Studies) -> str:
    """Ranks after mask-free retraining, and what they are made of."""
    rows: list[list[str]] = []
    counting: list[Kept] = []
    for name, measured in studies.items():
        for arm, own in _by_arm(bookkeeping(measured)).items():
            shares = [with_spread(_shares(own, which), digits=1) for which in ("rank", "free")]
            rows.append([name, arm, *shares, _counted(_explained(own), own)])
            counting += own if arm in COUNTING else []
    if not rows:
        return _OPEN
    head = (
        "study", "arm", "rank at the end, % of full", "after mask-free retraining",
        "layers of rank = survivors + dead units of bias > 0",
    )  # fmt: skip
    return f"{_mechanism(counting)}\n\n{table(head, rows)}"


def _explained(own: Sequence[Kept]) -> int:
    return sum(one.free == one.expected for one in own)


def _mechanism(counting: Sequence[Kept]) -> str:
    """Why rank is kept, as far as the numbers bear it out."""
    text = (
        "A unit whose incoming weights are all zero and whose bias is not positive gives 0 on every input, and has no "
        "gradient: without a mask it stays zero, too, and the rank stays low. One with a positive bias may grow back."
    )
    if not counting:
        return text
    exact = _explained(counting)
    known = (
        f"In {_counted(exact, counting)} hidden layers pruned by activation count the rank after mask-free retraining "
        "is exactly the units that survived plus the dead ones with a positive bias, at most the full rank."
    )
    if exact == len(counting):
        return f"{text} {known} So low rank is kept as far as, and because, dead units have such biases."
    off = max((one.free - one.expected for one in counting), key=abs)
    return f"{text} {known} The largest difference in a layer is {off:+d}: there this does not explain all."


def nuclear_norm(studies: Studies) -> str:
    """Whether the smallest singular values shrank relatively most, and how much of a pruning singular values can do."""
    rows: list[list[str]] = []
    holds: dict[bool, set[str]] = {True: set(), False: set()}
    counting: list[NetworkCell] = []
    for name, measured in studies.items():
        for arm in measured.arms:
            found = measured.networks_of(arm)
            more, layers = shrunk_more(found)
            if layers:
                holds[more == layers].add(arm)
                thirds = (_mean_third(found, place) for place in (0, 2))
                rows.append([name, arm, f"{more} of {layers}", *thirds, _mean_along(found)])
                counting += found if arm in COUNTING else []
    if not rows:
        return _OPEN
    head = (
        "study", "arm", "layers where it holds", "mean change, largest third, %", "smallest third, %",
        "of the change of weights, kept singular vectors, %",
    )  # fmt: skip
    text = (
        "What it says of numbers is that a pruning shrinks small singular values relatively more than large ones; "
        "asked right at the first pruning, with no training between. It "
        f"holds in every layer for {listed(sorted(holds[True] - holds[False]))}; not in every one: "
        f"{listed(sorted(holds[False]))}. How much is told by the next two columns: where whole rows vanish, the "
        f"smallest values go to zero. {_equivalence(counting)}"
    )
    return f"{text}\n\n{table(head, rows)}"


def _equivalence(counting: Sequence[NetworkCell]) -> str:
    """Whether the first pruning could have been a step of a nuclear norm, as far as it was measured."""
    shares = [share for cell in counting for share in cell.along.values()]
    if not shares:
        return "Whether it is equivalent to one was not measured yet."
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    if min(shares) >= SAME:
        so = "what it did could have been done by such a step"
    else:
        so = "the rest turned vectors, which no weighted nuclear norm does: it is not equivalent"
    return (
        "Equivalent is more: a step of any nuclear norm, along its gradient or proximal, changes singular values and "
        "keeps singular vectors, so that all of the change of a matrix (by squares) would be along these. Of what the "
        f"first pruning by activation count took, {low} to {high} % is, in {len(shares)} layers: {so}."
    )


def _mean_along(found: Sequence[NetworkCell]) -> str:
    shares = [100 * share for cell in found for share in cell.along.values()]
    return f"{fmean(shares):.1f}" if shares else NOTHING


def _mean_third(found: Sequence[NetworkCell], place: int) -> str:
    thirds = [one for cell in found for one in cell.thirds.values() if any(one)]
    return f"{fmean(one[place] for one in thirds):.1f}" if thirds else NOTHING


CLAIMS = (
    Claim("The accuracy is comparable to that of magnitude pruning. (Abstract, paraphrased.)", comparable),
    Claim("The pruned networks have matrices of low rank. (Abstract, paraphrased.)", low_rank),
    Claim(
        "They are more accurate than the standard network reduced to the same ranks by PCA. (Abstract, paraphrased.)",
        beats_factors,
    ),
    Claim(
        "Low rank is largely kept when the pruned network is retrained and what was pruned may be used again. "
        "(Abstract, paraphrased.)",
        kept_rank,
    ),
    Claim(
        "What each pruning does to the singular values is equivalent to a weighted nuclear norm as a regularizer. "
        "(Abstract, paraphrased.)",
        nuclear_norm,
    ),
)
