"""Optimizers as values: torch's own steps, all parameters, refusals."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.activations import Swish, Tanh, scalar_parameters
from budbreak.errors import InvalidValue
from budbreak.testing import check_value, mlp, separable
from budbreak.training import Cosine, optimizers
from budbreak.training.optimizers import SGD, Adam, AdamW, Fromage, TAdam

SAMPLES: dict[type, list[Any]] = {
    SGD: [SGD(), SGD(momentum=0.0), SGD(learning_rate=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)],
    Adam: [Adam(), Adam(learning_rate=0.01, betas=(0.8, 0.95), epsilon=1e-6, weight_decay=0.1)],
    AdamW: [AdamW(), AdamW(learning_rate=0.01, betas=(0.8, 0.95), epsilon=1e-6, weight_decay=0.1)],
    Fromage: [Fromage()],
    TAdam: [TAdam(), TAdam(learning_rate=0.01, betas=(0.8, 0.95), epsilon=1e-6, weight_decay=0.1, k_dof=3.0)],
}
TORCHS = (SGD, Adam, AdamW)
ADAPTIVE = (Adam, AdamW, TAdam)
ROWS = [pytest.param(value, id=str(value)) for values in SAMPLES.values() for value in values]
ROWS_OF_TORCH = [row for row in ROWS if isinstance(row.values[0], TORCHS)]


def plain(value: Any, parameters: Any, **options: Any) -> torch.optim.Optimizer:
    """Torch's own, spelt out."""
    if isinstance(value, SGD):
        return torch.optim.SGD(
            parameters,
            lr=value.learning_rate,
            momentum=value.momentum,
            nesterov=value.nesterov,
            weight_decay=value.weight_decay,
            **options,
        )
    kind = {Adam: torch.optim.Adam, AdamW: torch.optim.AdamW}[type(value)]
    return kind(
        parameters,
        lr=value.learning_rate,
        betas=value.betas,
        eps=value.epsilon,
        weight_decay=value.weight_decay,
        **options,
    )


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 8) -> list[torch.Tensor]:
    x, y = separable(32)
    x = x.to(next(model.parameters()).dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def test_each_class_is_enrolled() -> None:
    assert set(optimizers.ALL) == set(SAMPLES)


@pytest.mark.parametrize("value", ROWS)
def test_it_is_a_value(value: Any) -> None:
    check_value(value)


@pytest.mark.parametrize("value", ROWS)
def test_all_parameters_are_in_one_group_at_its_rate(value: Any) -> None:
    model = mlp()
    (group,) = value.build(model).param_groups
    assert list(map(id, group["params"])) == list(map(id, model.parameters()))
    assert group["lr"] == value.learning_rate


@pytest.mark.parametrize("value", ROWS_OF_TORCH)
def test_steps_are_those_of_plain_torch_in_float64(value: Any) -> None:
    model = mlp().double()
    twin = copy.deepcopy(model)
    ours = trained(model, value.build(model))
    theirs = trained(twin, plain(value, twin.parameters(), foreach=False, fused=False))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)  # one kernel rounds in another order


@pytest.mark.parametrize("value", ROWS_OF_TORCH)
def test_steps_have_the_bits_of_the_fused_kernel(value: Any) -> None:
    model = mlp()
    twin = copy.deepcopy(model)
    ours, theirs = trained(model, value.build(model)), trained(twin, plain(value, twin.parameters(), fused=True))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("value", ROWS)
def test_where_no_kernel_fits_the_steps_are_plain(value: Any) -> None:
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.ones(3, dtype=torch.complex64))

    model = Turning()
    optimizer = value.build(model)
    for _ in range(30):  # the first steps of TAdam may be below a rounding
        optimizer.zero_grad()
        model.turn.abs().sum().backward()  # the fused kernels refuse complex numbers
        optimizer.step()
    assert not torch.equal(model.turn.detach(), torch.ones(3, dtype=torch.complex64))


@pytest.mark.parametrize("value", ROWS)
def test_levels_begin_with_the_state_of_the_rewind_point(value: Any) -> None:
    model = mlp()
    optimizer = value.build(model)
    bias = model[0].bias  # which is not pruned
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2), rewind_to=bb.Step(3))
    begun, wanted = [], {}
    with bb.iterate(model, optimizer, plan) as levels:
        for level in levels:
            begun.append(copy.deepcopy(optimizer.state[bias]))
            for _ in level.epochs(2):
                trained(model, optimizer, 3)
                wanted = wanted or copy.deepcopy(optimizer.state[bias])
            for name, parameter in level.mask.parameters(model).items():
                assert not parameter[~level.mask[name]].any()
    assert bool(wanted) == (value != SGD(momentum=0.0) and not isinstance(value, Fromage))
    for state in begun[1:]:
        torch.testing.assert_close(state, wanted, rtol=0, atol=0)


def test_the_defaults() -> None:
    assert SGD() == SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=1e-4)
    theirs = torch.optim.Adam([torch.zeros(1)]).defaults
    assert (Adam().learning_rate, Adam().betas, Adam().epsilon, Adam().weight_decay) == (
        theirs["lr"], theirs["betas"], theirs["eps"], theirs["weight_decay"]
    )  # fmt: skip
    theirs = torch.optim.AdamW([torch.zeros(1)]).defaults
    assert (AdamW().learning_rate, AdamW().betas, AdamW().epsilon, AdamW().weight_decay) == (
        theirs["lr"], theirs["betas"], theirs["eps"], theirs["weight_decay"]
    )  # fmt: skip


@pytest.mark.parametrize("kind", optimizers.ALL)
@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("learning_rate", 0.0, "> 0"),
        ("learning_rate", -0.1, "> 0"),
        ("learning_rate", float("inf"), "finite"),
        ("learning_rate", 10**400, "finite"),
        ("learning_rate", float("nan"), "finite"),
        ("learning_rate", True, "finite"),
        ("weight_decay", -1e-4, ">= 0"),
        ("weight_decay", None, "finite"),
    ],
)
def test_numbers_out_of_range_are_refused(kind: Any, field: str, value: Any, rule: str) -> None:
    if field not in {entry.name for entry in dataclasses.fields(kind)}:
        return  # Fromage has no weight decay
    with pytest.raises(InvalidValue, match=rf"^{field} is .*\nit must be a finite number .*0\nusual is ") as caught:
        kind(**{field: value})
    assert rule in caught.value.rule


def test_a_number_in_quotes_is_spelt_without_them() -> None:
    with pytest.raises(InvalidValue, match=r"write 0\.05"):
        SGD(learning_rate="0.05")  # type: ignore[arg-type]


@pytest.mark.parametrize("momentum", [1.0, -0.1, 1.5])
def test_momentum_is_a_share(momentum: float) -> None:
    with pytest.raises(InvalidValue, match=r"momentum is .*\n.*\[0, 1\)"):
        SGD(momentum=momentum)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(InvalidValue, match=r"nesterov is true with momentum = 0\n.*\nadd momentum"):
        SGD(momentum=0.0, nesterov=True)
    with pytest.raises(InvalidValue, match="nesterov is 1\nit must be true or false"):
        SGD(nesterov=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ADAPTIVE)
@pytest.mark.parametrize("betas", [(0.9,), (0.9, 0.99, 0.999), [0.9, 0.999], 0.9])
def test_betas_are_two(kind: Any, betas: Any) -> None:
    with pytest.raises(InvalidValue, match=r"betas is .*\nit must be two numbers"):
        kind(betas=betas)


@pytest.mark.parametrize("kind", ADAPTIVE)
@pytest.mark.parametrize(("betas", "which"), [((1.0, 0.999), 0), ((0.9, -0.1), 1), ((0.9, 1.0), 1)])
def test_each_beta_is_a_share(kind: Any, betas: Any, which: int) -> None:
    with pytest.raises(InvalidValue, match=rf"betas\[{which}\] is "):
        kind(betas=betas)


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_epsilon_is_positive(kind: Any) -> None:
    with pytest.raises(InvalidValue, match="epsilon is 0"):
        kind(epsilon=0)


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_whole_numbers_will_do(kind: Any) -> None:
    trained(model := mlp(), kind(learning_rate=1, betas=(0.5, 0), weight_decay=0).build(model))


@pytest.mark.parametrize("kind", optimizers.ALL)
def test_a_class_is_no_model(kind: Any) -> None:
    with pytest.raises(InvalidValue, match="model is the class Linear"):
        kind().build(nn.Linear)


# --- scalars of activations --------------------------------------------------------------------------------


def with_scalars() -> nn.Module:
    """Three layers, two activations with scalars of their own, one of them for each unit."""
    torch.manual_seed(0)
    per_unit = Swish(trainable=True, per="unit").module((8,))
    return nn.Sequential(nn.Linear(8, 8), Tanh(trainable=True).module(), nn.Linear(8, 8), per_unit, nn.Linear(8, 3))


@pytest.mark.parametrize("kind", [kind for kind in optimizers.ALL if kind is not Fromage])
def test_scalars_of_activations_do_not_decay_but_have_the_rate_of_the_weights(kind: Any) -> None:
    model = with_scalars()
    optimizer = kind(learning_rate=0.01, weight_decay=0.5).build(model)
    weights, scalars = optimizer.param_groups
    assert list(map(id, scalars["params"])) == [id(scalar) for scalar in scalar_parameters(model).values()]
    assert len(weights["params"]) + len(scalars["params"]) == len(list(model.parameters()))
    assert (weights["weight_decay"], scalars["weight_decay"]) == (0.5, 0.0)
    assert weights["lr"] == scalars["lr"] == 0.01
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = copy.deepcopy(model)
    for _ in range(30):  # the first steps of TAdam may be below a rounding
        optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert moved == [True, True, False, False, True, True, False, False, True, True]


@pytest.mark.parametrize("value", [values[-1] for values in SAMPLES.values()], ids=str)
def test_a_network_with_scalars_of_activations_goes_on_where_it_was_killed(value: Any, tmp_path: Path) -> None:
    """Groups, rates that move in both, the state of scalars: in checkpoints, and back at the rewind point."""

    def go(store: Path, killed: bool = False) -> list[torch.Tensor]:
        model = with_scalars()
        optimizer = value.build(model)
        rates = Cosine(end=0.1, warmup=1.0).attach(optimizer, steps_per_epoch=3, epochs=3)
        plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2), rewind_to=bb.Step(2))
        with bb.iterate(model, optimizer, plan, resets=[rates], store=store) as levels:
            for level in levels:
                for _ in level.epochs(3):
                    for _ in range(3):
                        trained(model, optimizer, 1)
                        rates.after_step()
                        assert {group["lr"] for group in optimizer.param_groups} == {value.learning_rate * rates.share}
                    if killed and level.number == 1:
                        raise KeyboardInterrupt
        return [parameter.detach() for parameter in model.parameters()]

    wanted = go(tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "store", killed=True)
    torch.testing.assert_close(go(tmp_path / "store"), wanted, rtol=0, atol=0)
