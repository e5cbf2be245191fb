"""What was pruned on what by what, in a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from budbreak.results.result import RunResult

Setup = Mapping[str, Any]  # the plain form

_TITLES = {
    "mlp": "MLP",
    "lenet": "LeNet",
    "bn": "BN",
    "cnn": "CNN",
    "resnet": "ResNet",
    "mnist": "MNIST",
    "fashion": "Fashion",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}
_SCOPES = {"layer": "layer-wise", "rows": "row-wise"}
_MOST = 4  # more of a kind are counted


def subject(run: RunResult) -> str:
    """E.g. "MLP on digits, global magnitude, 12 prunings of 20 %, 5 seeds"; an own loop is named in place of a recipe.

    Where arms differ, what they differ in is listed: "global magnitude or taylor".
    """
    setups: list[Setup] = [run.recipe.get("arms", {}).get(name, {}) for name in run.arm_names]
    known = [setup for setup in setups if {"network", "data", "prune"} <= setup.keys()]
    seeds = len({level.seed for level in run.levels})
    what = [run.name]
    if known:
        what = [f"{_each(known, _network, 'networks')} on {_each(known, _data, 'data sets')}", _pruner(known)]
    return ", ".join([*what, _prunings(run, known), f"{seeds} seed{'' if seeds == 1 else 's'}"])


def is_ap(run: RunResult, arm: str) -> bool:
    """Whether the recipe of an arm lets AP follow its host."""
    then = run.recipe.get("arms", {}).get(arm, {}).get("prune", {}).get("then", ())
    return any(_name(follow_up) == "ap" for follow_up in then)


def _each(setups: Sequence[Setup], told: Callable[[Setup], str], plural: str) -> str:
    found = list(dict.fromkeys(told(setup) for setup in setups))
    if len(found) > _MOST:
        return f"{len(found)} {plural}"
    return " or ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _network(setup: Setup) -> str:
    return _title(setup["network"]["name"])


def _data(setup: Setup) -> str:
    return _title(setup["data"]["name"])


def _title(name: str) -> str:
    return "-".join(_TITLES.get(part, part) for part in name.split("-"))


def _pruner(setups: Sequence[Setup]) -> str:
    """The scope is said once where it is the same."""
    if len({_scope(setup) for setup in setups}) == 1:
        return f"{_scope(setups[0])} {_each(setups, _criterion, 'criteria')}"
    return _each(setups, lambda setup: f"{_scope(setup)} {_criterion(setup)}", "ways of pruning")


def _scope(setup: Setup) -> str:
    scope = setup["prune"]["scope"]
    return f"{scope['n']}:{scope['of']}" if _name(scope) == "nm" else _SCOPES.get(_name(scope), _name(scope))


def _criterion(setup: Setup) -> str:
    goes = _name(setup["prune"]["granularity"])
    return f"{_name(setup['prune']['criterion'])}{f' of {goes}s' if goes != 'element' else ''}"


def _prunings(run: RunResult, setups: Sequence[Setup]) -> str:
    found = [setup["prune"]["schedule"] for setup in setups]
    if found and found == found[:1] * len(found) and _name(found[0]) == "geometric":
        return f"{found[0]['levels']} prunings of {100 * found[0]['rate']:g} %"
    levels = len({level.level for level in run.levels} - {0})
    return f"{levels} pruning{'' if levels == 1 else 's'}"


def _name(plain: Any) -> str:
    """Of a plain form: a name, or a table with "is"."""
    return str(plain["is"] if isinstance(plain, Mapping) else plain)
