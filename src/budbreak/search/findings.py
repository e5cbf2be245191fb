"""What a report draws of searches: their histories, and which activation came out where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Sized

from budbreak.activations import FAMILY, Activation
from budbreak.diagnostics import Finding, Quantity
from budbreak.errors import InvalidValue
from budbreak.search.trial import History

ACCURACY = Quantity("accuracy", "validation accuracy", "share", "higher")
_CHOSEN = Quantity("chosen", "chosen in searches", "share")


def search_finding(
    searches: Mapping[str, History], label: str = "Search for activations", quantity: Quantity = ACCURACY
) -> Finding:
    """What the figure of a search draws: a dot for each trial, a line for the best so far.

    Args:
        searches: name -> all its trials: ``{"late acceptance": result.history, "random": other.history}``.
        label: the heading.
        quantity: what the score is.

    Returns:
        The columns arm, trial (from 0) and value; None where a trial diverged.

    Raises:
        InvalidValue: without any search, or any trial with a score.
    """
    _check_some(searches)
    if all(history.best is None for history in searches.values()):
        raise InvalidValue("all trials of all searches diverged", "a figure shows scores", "leave it out")
    rows = [(name, number, trial.score) for name, history in searches.items() for number, trial in enumerate(history)]
    arms, numbers, values = zip(*rows, strict=True)
    return Finding("search", label, quantity, {"arm": arms, "trial": numbers, "value": values})


def operators_finding(plans: Sequence[Mapping[str, Activation]], label: str = "Operators by depth") -> Finding:
    """What the figure of operators draws: how often each came out best at each site, from the first to the last.

    Args:
        plans: what was chosen for the same network, say under each seed: ``[result.plan for result in results]``.
        label: the heading.

    Returns:
        The columns site, operator and value, a share of the plans, in [0, 1].

    Raises:
        InvalidValue: without any plan, or of plans for different sites.
    """
    _check_some(plans)
    sites = list(plans[0])
    for plan in plans:
        if list(plan) != sites:
            odd = [site for site in (*sites, *plan) if (site in sites) != (site in plan)]
            value = f"the plans differ in {odd[0]!r}" if odd else "the plans have their sites in another order"
            raise InvalidValue(value, "a figure counts over plans of one network", "give those of one network")
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


def _check_some(found: Sized) -> None:
    if not found:
        raise InvalidValue("there are no searches", "a figure shows at least one", "give what search_activations gave")
