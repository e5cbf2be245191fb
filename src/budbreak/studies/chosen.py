"""Which activations a network had in its last training, what curves they became, and how they were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import nn

from budbreak.activations import Activation, ActivationModule, ActivationPlan
from budbreak.diagnostics import Finding, Quantity
from budbreak.errors import BudbreakError, CorruptFile
from budbreak.files import read_json, write_json
from budbreak.recipes import Arm
from budbreak.search import History, Trial, activation_name, operators_finding, search_finding
from budbreak.studies.changes import Row, finding
from budbreak.studies.task import Kind, Task
from budbreak.studies.trialfile import read_trial

PLAN, _CURVES, _KIND = "activations.json", "curves.json", "activation curves 1"
_INPUTS = tuple(place / 4 for place in range(-20, 21))
_SEARCHES: Mapping[Kind, str] = {"trial": "Search for activations", "tuning": "Search for hyper-parameters"}
_OUTPUT = Quantity("output", "output")


@dataclass(frozen=True)
class _Curve:
    """What an activation made of each of the inputs, in the mean over its units."""

    site: str
    operator: str
    outputs: tuple[float, ...]


@dataclass(frozen=True)
class _Curves:
    """What the file holds: in the order of the sites."""

    curves: tuple[_Curve, ...]


def check_plan(folder: Path) -> None:
    """Refuse activations of a finished task that are not what was written.

    Raises:
        CorruptFile, UnknownName, InvalidValue: with what to do about it.
    """
    try:
        ActivationPlan.load(folder / PLAN)
    except CorruptFile as error:
        raise CorruptFile(error.value, error.rule, "delete it: the same command writes it again") from None


def write_curves(folder: Path, model: nn.Module, plan: ActivationPlan) -> None:
    """Write what trained activations became; nothing where no scalar was trained."""
    modules = dict(model.named_modules())  # a site that is a module has its name; where a function is called, mostly
    found = [
        _Curve(site, named(one), _outputs(module))
        for site, one in plan.items()
        if isinstance(module := modules.get(site), ActivationModule) and module.scalars
    ]
    if not found:
        return
    write_json(folder / _CURVES, {"curves": [vars(curve) for curve in found]}, _KIND)


def _outputs(module: ActivationModule) -> tuple[float, ...]:
    x = torch.tensor(_INPUTS).view(-1, *(1 for _ in module.shape)).expand(-1, *module.shape)
    with torch.no_grad():
        found = module(x.to(next(module.parameters()).device)).double()
    return tuple(found.reshape(len(_INPUTS), -1).mean(1).tolist())


def named(activation: Activation) -> str:
    """The short name of an activation, its scalars trained or not."""
    return activation_name(_as_usual(activation))


def _as_usual(activation: Activation) -> Activation:
    """With scalars that are trained where they are unless one says otherwise."""
    kind = type(activation)
    trainable = next(one.default for one in fields(kind) if one.name == "trainable")
    return replace(activation, trainable=trainable, per="site")


def chosen_findings(shown: Sequence[tuple[Arm, Task]]) -> Iterator[Finding]:
    """The history of the searches of the first seed, which operators were chosen in all seeds, and their curves.

    Args:
        shown: arms with their tasks, which may be under way.
    """
    last = [(arm, task) for arm, task in shown if task.kind == "final"]
    searched = [(arm, task) for arm, task in last if arm.setup.activations.searches]
    for kind, label in _SEARCHES.items():
        first = {arm.name: task.needed(kind) for arm, task in last if task.seed == 0}
        histories = {name: _history(trials) for name, trials in first.items()}
        with_scores = {arm: history for arm, history in histories.items() if history.best is not None}
        if with_scores:
            ends = [_ended(name, histories[name], first[name]) for name in with_scores]
            yield search_finding(with_scores, "; ".join([f"{label}, seed 0", *filter(None, ends)]))
    for arm in dict.fromkeys(arm.name for arm, _ in searched):
        plans = [plan for own, task in searched if own.name == arm for plan in _plans(task.folder)]
        if plans:
            yield operators_finding(plans, f"Operators of {arm}, by depth")
    for arm, task in last:
        curves = finding("activations", f"Learned activations of {arm.name}", _OUTPUT, list(_rows(task.folder)))
        if task.seed == 0 and curves is not None:
            yield curves


def _history(trials: tuple[Task, ...]) -> History:
    """The trials that are over, up to the first that is not."""
    found = list[Trial]()
    for task in trials:
        try:
            trial = read_trial(task)
        except (FileNotFoundError, BudbreakError):
            break
        found += [] if trial is None else [trial]
    return History(tuple(found))


def _ended(name: str, history: History, trials: Sequence[Task]) -> str:
    """Where the sampler proposed nothing more before all trials were used."""
    try:
        early = len(history) < len(trials) and read_trial(trials[len(history)]) is None
    except (FileNotFoundError, BudbreakError):
        return ""  # it is under way
    return f"the sampler of {name} stopped after {len(history)} of {len(trials)} trials" if early else ""


def _plans(folder: Path) -> list[Mapping[str, Activation]]:
    try:
        plan = ActivationPlan.load(folder / PLAN)
    except BudbreakError:
        return []  # it is not over yet, or was deleted: nothing is computed from it
    return [{site: _as_usual(one) for site, one in plan.items()}]


def _rows(folder: Path) -> Iterator[Row]:
    try:
        curves = read_json(folder / _CURVES, _KIND, _Curves).curves
    except (FileNotFoundError, BudbreakError):
        return
    for number, curve in enumerate(curves, 1):
        for place, output in zip(_INPUTS, curve.outputs, strict=True):
            yield {"arm": f"{number} {curve.site}: {curve.operator}", "input": place, "value": output}
