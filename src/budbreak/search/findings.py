"""What a report draws of searches: their histories, and which activation came out where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from budbreak.activations import FAMILY, Activation
from budbreak.diagnostics import Finding, Quantity
from budbreak.errors import InvalidValue
from budbreak.search.result import SearchResult

ACCURACY = Quantity("accuracy", "validation accuracy", "share", "higher")
_CHOSEN = Quantity("chosen", "chosen in searches", "share")


def search_finding(
    searches: Mapping[str, SearchResult], label: str = "Search for activations", quantity: Quantity = ACCURACY
) -> Finding:
    """What the figure of a search draws: a dot for each trial, a line for the best so far.

    Args:
        searches: name -> what it found: ``{"late acceptance": result, "random": other}``.
        label: the heading.
        quantity: what the score is.

    Returns:
        The columns arm, trial (from 0) and value; None where a trial diverged.

    Raises:
        InvalidValue: without any search, or any trial with a score.
    """
    _check_some(list(searches.values()))
    rows = [
        (name, number, trial.score) for name, result in searches.items() for number, trial in enumerate(result.history)
    ]
    arms, numbers, values = zip(*rows, strict=True)
    return Finding("search", label, quantity, {"arm": arms, "trial": numbers, "value": values})


def operators_finding(searches: Sequence[SearchResult], label: str = "Operators by depth") -> Finding:
    """What the figure of operators draws: how often each came out best at each site, from the first to the last.

    Args:
        searches: of the same network, one under each seed. Those in which all trials diverged chose nothing, and are
            not counted.
        label: the heading.

    Returns:
        The columns site, operator and value, a share of the searches, in [0, 1].

    Raises:
        InvalidValue: without any search that chose, or of searches over different sites.
    """
    _check_some(searches)
    plans = [result.plan for result in searches if result.history.best is not None]
    sites = list(plans[0])
    for plan in plans:
        if list(plan) != sites:
            odd = [site for site in (*sites, *plan) if (site in sites) != (site in plan)]
            value = f"the searches differ in {odd[0]!r}" if odd else "the searches have their sites in another order"
            raise InvalidValue(value, "a figure counts over searches of one network", "give those of one network")
    names = {site: Counter(activation_name(plan[site]) for plan in plans) for site in sites}
    every = list(dict.fromkeys(name for count in names.values() for name in sorted(count)))
    rows = [(site, name, names[site][name] / len(plans)) for site in sites for name in every]
    columns = zip(*rows, strict=True)
    return Finding("operators", label, _CHOSEN, dict(zip(("site", "operator", "value"), columns, strict=True)))


def activation_name(activation: Activation) -> str:
    """The short name of an activation; its repr where scalars are not at their defaults, or it is a user's own.

    >>> from budbreak.activations import Swish
    >>> activation_name(Swish()), activation_name(Swish(alpha=2.0))
    ('swish', "Swish(trainable=False, per='site', alpha=2.0, beta=1.0)")
    """
    usual = {kind(): name for name, kind in FAMILY.names.items()}
    return usual.get(activation, repr(activation))


def spelt(plan: Mapping[str, Activation]) -> str:
    """A plan in one line."""
    return ", ".join(f"{site} {activation_name(activation)}" for site, activation in plan.items())


def _check_some(searches: Sequence[SearchResult]) -> None:
    if not searches:
        raise InvalidValue("there are no searches", "a figure shows at least one", "give what search_activations gave")
    if all(result.history.best is None for result in searches):
        raise InvalidValue("all trials of all searches diverged", "a figure shows scores", "leave it out")
