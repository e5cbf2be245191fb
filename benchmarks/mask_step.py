"""mask-step: what it costs to keep pruned weights at zero, alone and in whole training steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune
from torch.optim import Optimizer

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.peers import freeze_zeros_by_numpy
from benchmarks.settings import Settings
from benchmarks.work import network, random_mask, shape_of
from budbreak.errors import InvariantBroken
from budbreak.live import apply_mask, check_zeros, hold
from budbreak.masks import Mask, bits, factor_for, prunable_parameters
from budbreak.measuring import Contender
from budbreak.training import Engine, train_step

OURS, HOOK, NUMPY = "budbreak (foreach, integer masks)", "the same in its optimizer hook", "numpy round trip"
BOOL, FILL = "bool masks, mul_", "bool masks, masked_fill_"
DENSE, AGAIN, HELD, PRUNE = "dense", "dense again (noise)", "budbreak hold", "torch.nn.utils.prune"
ROUND_TRIP = "numpy round trip at each step"


@dataclass(frozen=True)
class Case:
    """One kind of step.

    Args:
        network, batch, optimizer: what is stepped; "SGD" has momentum 0.9.
        bound: goal of a held step over a dense one.
    """

    network: str
    batch: int
    optimizer: str
    bound: float


CASES = (
    Case("LeNet-300-100", 64, "SGD", 1.15),
    Case("MLP 784-1024-1024-10", 128, "SGD", 1.10),
    Case("MLP 784-1024-1024-10", 128, "AdamW", 1.10),
    Case("ResNet-20", 64, "SGD", 1.05),
)


@dataclass(frozen=True)
class MaskStep:
    """Masks at 90 % sparsity, alone and in whole steps."""

    name = "mask-step"
    about = "Keeping pruned weights at zero: the operation alone, and whole training steps beside dense ones."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        networks = settings.pick(("LeNet-300-100",), tuple(_networks()), tuple(_networks()))
        alone = [_alone(name, settings) for name in networks]
        steps = [_steps(case, settings) for case in CASES if case.network in networks]
        goals = [goal for measured in alone for goal in _alone_goals(measured)]
        cases = [case for case in CASES if case.network in networks]
        goals += [_step_goal(case, measured) for case, measured in zip(cases, steps, strict=True)]
        checks = (
            "Every way to mask weights leaves equal weights.",
            "After the held steps every pruned weight is exactly zero.",
        )
        remarks = (
            "Sparsity 90 % by magnitude over all layers. SGD has momentum 0.9 and weight decay; all optimizers are "
            "fused, which makes the dense step the faster yardstick.",
            "The numpy round trip masks gradients before the step, as AP's published code does; the others mask "
            "weights after it.",
            "The hook's row holds torch's own wrapper around optimizer.step() as well (about 20 us at each step).",
            "ResNet-20 steps run in the engine's best arithmetic on this machine, where a mask weighs more.",
        )
        return Findings((*alone, *steps), tuple(goals), checks, remarks)


def _networks() -> dict[str, None]:
    return dict.fromkeys(case.network for case in CASES)


# --- the operation alone -----------------------------------------------------------------------------------


class _Idle(Optimizer):
    """An optimizer whose step does nothing, so that only its hooks take time."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        """Nothing."""


def _alone(name: str, settings: Settings) -> Table:
    ways = {way: _way(way, name, settings) for way in (OURS, HOOK, BOOL, FILL, NUMPY)}
    outcomes = [_outcome(model, run) for way, (model, run) in ways.items() if way != NUMPY]
    for outcome in outcomes[1:]:
        if not all(torch.equal(mine, theirs) for mine, theirs in zip(outcomes[0], outcome, strict=True)):
            raise InvariantBroken(f"two ways to mask {name} differ", "they must leave equal weights")
    timings = settings.meter()([Contender(way, run) for way, (_, run) in ways.items()])
    return table(f"{name}: the mask alone", OURS, timings)


def _way(way: str, name: str, settings: Settings) -> tuple[nn.Module, Callable[[], object]]:
    model = network(name, settings.device)
    mask = random_mask(model)
    parameters = mask.parameters(model)
    weights = [parameter.detach() for parameter in parameters.values()]
    if way == OURS:
        numbers = [bits(weight) for weight in weights]
        factors = [factor_for(mask[key], parameter) for key, parameter in parameters.items()]
        return model, lambda: torch._foreach_mul_(numbers, factors)  # pyright: ignore
    if way == HOOK:
        idle = _Idle(list(model.parameters()))
        hold(model, idle, mask)
        return model, idle.step
    if way == NUMPY:
        apply_mask(model, mask)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        return model, lambda: freeze_zeros_by_numpy(model)
    bools = [mask[key].to(parameter.device) for key, parameter in parameters.items()]
    pruned = [~entry for entry in bools]
    return model, (lambda: _multiply(weights, bools)) if way == BOOL else (lambda: _fill(weights, pruned))


def _multiply(weights: list[Tensor], masks: list[Tensor]) -> None:
    for weight, mask in zip(weights, masks, strict=True):
        weight.mul_(mask)


def _fill(weights: list[Tensor], pruned: list[Tensor]) -> None:
    for weight, mask in zip(weights, pruned, strict=True):
        weight.masked_fill_(mask, 0)


def _outcome(model: nn.Module, run: Callable[[], object]) -> list[Tensor]:
    run()
    return [parameter.detach().clone() for parameter in prunable_parameters(model).values()]


def _alone_goals(measured: Table) -> list[Goal]:
    name = measured.title.partition(":")[0]
    return [
        Goal(f"{name}: mask operation at least 8x under the numpy round trip", measured.row(NUMPY).ratio, 8),
        Goal(f"{name}: mask operation at least 3x under bool masks", measured.row(BOOL).ratio, 3),
    ]


# --- whole steps -------------------------------------------------------------------------------------------


def _steps(case: Case, settings: Settings) -> Table:
    engine = settings.engine(network(case.network))
    arithmetic = "bf16, channels last" if engine.bf16 else "float32"
    contenders = [
        Contender(name, _step(name, case, engine)) for name in (DENSE, AGAIN, HELD, PRUNE, ROUND_TRIP)
    ]  # fmt: skip
    timings = settings.meter(full=15)(contenders)
    return table(f"{case.network}, batch {case.batch}, {case.optimizer}, {arithmetic}: whole steps", DENSE, timings)


def _step(way: str, case: Case, engine: Engine) -> Callable[[], object]:
    model = engine.prepare(network(case.network))
    mask = random_mask(model)
    if way == PRUNE:
        for name in mask:
            module = model.get_submodule(name.rpartition(".")[0])
            torch_prune.custom_from_mask(module, "weight", mask[name].to(engine.device))
    optimizer = _optimizer(case.optimizer, model)
    inputs = engine.place(torch.randn(case.batch, *shape_of(case.network)))
    labels = torch.randint(0, 10, (case.batch,)).to(engine.device)

    def step() -> object:
        return train_step(model, optimizer, inputs, labels, engine)

    if way == HELD:
        hold(model, optimizer, mask)
        _check_held(step, model, mask)
    if way == ROUND_TRIP:
        apply_mask(model, mask)
        optimizer.register_step_pre_hook(lambda *_: freeze_zeros_by_numpy(model))
    return step


def _check_held(step: Callable[[], object], model: nn.Module, mask: Mask) -> None:
    for _ in range(3):
        step()
    check_zeros(model, mask)


def _optimizer(name: str, model: nn.Module) -> Optimizer:
    if name == "AdamW":
        return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)


def _step_goal(case: Case, measured: Table) -> Goal:
    again = measured.row(AGAIN)
    noise = max(abs(again.ratio_low - 1), abs(again.ratio_high - 1))
    aim = f"{case.network} b{case.batch} {case.optimizer}: held step at most {case.bound:.2f}x of dense"
    return Goal(aim, measured.row(HELD).ratio, case.bound, at_least=False, noise=noise)
