"""activations: what each costs forward and backward, beside ReLU, and beside what autograd makes of its formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from budbreak.activations import FAMILY, Activation
from budbreak.errors import InvariantBroken
from budbreak.measuring import Contender

RELU, AUTOGRAD = "torch.relu", "by autograd of the formula"
_AIM = 1.2


@dataclass(frozen=True)
class ActivationStep:
    """Forward and backward of each activation."""

    name = "activations"
    about = "Each activation forward and backward, beside ReLU; slopes in closed form beside autograd of the formula."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        shape = settings.pick((2, 4, 8, 8), (128, 16, 32, 32), (128, 16, 32, 32))
        names = settings.pick(("swish", "srs", "mish"), tuple(FAMILY.names), tuple(FAMILY.names))
        x = torch.randn(shape).to(settings.device)
        kinds = [FAMILY.names[name] for name in names]
        plain = [kind(trainable=False) for kind in kinds]
        tables = [
            _table("scalars that are constants, float32", plain, x, settings),
            _table("scalars that are constants, bfloat16", plain, x.to(torch.bfloat16), settings),
            _table(
                "scalars that are trained, float32",
                [dataclasses.replace(one, trainable=True) for one in plain],
                x,
                settings,
            ),
        ]
        goals = [_goal(measured, plain) for measured in (tables[0], tables[2])]
        checks = ("Values and all gradients are those of the formula by autograd, but for rounding.",)
        remarks = (
            f"Tensors of {list(shape)}. Operators that torch has as one function go forward and backward by that; "
            "trained scalars cost two sums over all values, whatever the operator.",
        )
        return Findings(tuple(tables), tuple(goals), checks, remarks)


def _name(activation: Activation) -> str:
    return next(name for name, kind in FAMILY.names.items() if kind is type(activation))


def _goal(measured: Table, plain: Sequence[Activation]) -> Goal:
    names = [_name(one) for one in plain if one.is_closed]
    least = min(measured.row(f"{name}, {AUTOGRAD}").ratio / measured.row(name).ratio for name in names)
    return Goal(f"{measured.title}: each slope in closed form at least {_AIM}x as fast as autograd's", least, _AIM)


def _table(title: str, chosen: Sequence[Activation], x: Tensor, settings: Settings) -> Table:
    gradient = torch.randn_like(x)
    runs = {RELU: _run(torch.relu, x, (), gradient)}
    for activation in chosen:
        module = activation.module().to(x.device, x.dtype)
        scalars = tuple(module.parameters())
        by_formula = _formula(activation, scalars)
        runs[_name(activation)] = _run(module, x, scalars, gradient)
        if activation.is_closed:
            _check(activation, runs[_name(activation)], _run(by_formula, x, scalars, gradient))
            runs[f"{_name(activation)}, {AUTOGRAD}"] = _run(by_formula, x, scalars, gradient)
    contenders = [Contender(name, run) for name, run in runs.items()]
    return table(title, RELU, settings.meter(full=7)(contenders))


def _formula(activation: Activation, scalars: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        wide = x.float() if activation.widened else x
        return activation.formula(wide, *(scalars or activation.scalars.values())).to(x.dtype)

    return run


def _run(
    call: Callable[[Tensor], Tensor], x: Tensor, scalars: Sequence[Tensor], gradient: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    given = x.clone().requires_grad_()

    def run() -> tuple[Tensor, ...]:
        y = call(given)
        return y, *torch.autograd.grad(y, [given, *scalars], gradient)

    return run


def _check(
    activation: Activation, mine: Callable[[], tuple[Tensor, ...]], theirs: Callable[[], tuple[Tensor, ...]]
) -> None:
    for one, other in zip(mine(), theirs(), strict=True):
        scale = max(1.0, float(other.detach().float().norm()))
        if float((one.detach().float() - other.detach().float()).norm()) > 0.02 * scale:
            raise InvariantBroken(
                f"{activation!r} gives other numbers", "they are those of its formula, but for rounding"
            )
