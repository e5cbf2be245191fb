"""What an activation must hold to."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from budbreak.activations import Activation
from budbreak.testing.promises import check_value, require

_POINTS = (-30.0, -3.5, -2.0, -1.1, -0.4, 0.3, 0.9, 1.7, 2.6, 5.5, 30.0)


def check_activation(activation: Activation) -> None:
    """Check the contract of `budbreak.activations.Activation`.

    Besides `check_value`: modules are fresh, hold the scalars as parameters where these are trainable and nothing
    otherwise; per site and per unit they give the same from the same scalars; outputs have the shape and dtype of the
    input; the closed slopes are those of the formula, by x and by each scalar, in float64; the facts hold.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(activation)
    kind = type(activation).__name__
    _check_modules(activation, kind)
    _check_slopes(activation, kind)
    _check_facts(dataclasses.replace(activation, trainable=False, per="site"), kind)


def _check_modules(activation: Activation, kind: str) -> None:
    fixed, trained, units = (
        dataclasses.replace(activation, trainable=trainable, per=per)
        for trainable, per in ((False, "site"), (True, "site"), (True, "unit"))
    )
    require(not fixed.module().state_dict(), kind, "holds nothing where its scalars are constants")
    one, other = trained.module(), trained.module()
    require(list(one.state_dict()) == list(activation.scalars), kind, "holds its scalars by their names")
    require(not {*map(id, one.parameters())} & {*map(id, other.parameters())}, kind, "builds fresh modules")
    x = torch.tensor(_POINTS).repeat(2, 3, 1)
    expected = fixed.module()(x)
    require(expected.shape == x.shape and expected.dtype == x.dtype, kind, "keeps shape and dtype")
    for module in (one, units.module((3, 1)), units.module((len(_POINTS),))):
        require(torch.allclose(module(x), expected, atol=1e-5), kind, "gives the same from the same scalars")


def _check_slopes(activation: Activation, kind: str) -> None:
    if not activation.is_closed:
        return
    x = torch.tensor(_POINTS, dtype=torch.float64, requires_grad=True)
    scalars = [torch.full((), value + 0.07, dtype=x.dtype).requires_grad_() for value in activation.scalars.values()]
    closed = list(activation.slopes(x, *scalars))
    require(len(closed) == 1 + len(scalars), kind, "has a slope by x, and one by each scalar")
    for place, slope in enumerate(closed[1:]):
        require(
            torch.allclose(slope.sum(), _by(activation, x, scalars, scalars[place])), kind, "has the slopes by scalars"
        )
    require(torch.allclose(closed[0], _by(activation, x, scalars, x)), kind, "has the slope of its formula")


def _by(activation: Activation, x: Tensor, scalars: list[Tensor], variable: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(activation.formula(x, *scalars).sum(), variable)
    return slope


def _check_facts(activation: Activation, kind: str) -> None:
    facts, plain = activation.facts, dataclasses.replace(activation, **_defaults(activation))
    zero = float(plain(torch.zeros((), dtype=torch.float64)))
    require(math.isclose(zero, facts.zero, abs_tol=1e-12), kind, f"is {facts.zero} at 0, not {zero}")
    # no point of it is the end of an interval, or where a slope changes its sign
    x = torch.linspace(-12.03, 12.08, 97, dtype=torch.float64).requires_grad_()
    (slopes,) = torch.autograd.grad(plain(x).sum(), x)
    flat = torch.zeros_like(x, dtype=torch.bool)
    for low, high in facts.flat:
        flat |= (x > low) & (x < high)
    require(torch.equal(slopes == 0, flat), kind, f"is flat on {facts.flat}, and nowhere else")
    zeros = bool((plain(x)[flat] == 0).any())
    require(zeros == facts.zeros, kind, f"gives exact zeros: {facts.zeros}")
    ends = torch.tensor([-10, -3, 0, 1, 3, 6, 10], dtype=torch.float64)
    near = torch.stack((ends - 1e-9, ends + 1e-9)).requires_grad_()
    ((left, right),) = torch.autograd.grad(plain(near).sum(), near)
    require(torch.allclose(left, right, atol=1e-6) == facts.smooth, kind, f"has a continuous slope: {facts.smooth}")
    doubled = torch.allclose(plain(2 * x), 2 * plain(x)) and torch.allclose(plain(x / 3), plain(x) / 3)
    require(doubled or not facts.homogeneous, kind, "is positively homogeneous")


def _defaults(activation: Activation) -> dict[str, object]:
    return {
        entry.name: entry.default for entry in dataclasses.fields(activation) if entry.name not in ("trainable", "per")
    }
