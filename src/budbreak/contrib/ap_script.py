"""The AP authors' public script: its order of operations, with each of its defects as a switch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.checks import check_fraction
from budbreak.contrib.ap_script_pruning import pruned_by_count, pruned_by_threshold
from budbreak.errors import InvalidValue
from budbreak.live import hold
from budbreak.masks import Mask, Prunable, conv_and_linear, every_weight


@dataclass(frozen=True)
class ApScript:
    """Which of its defects the script has; with none of them it does what the paper says.

    Args:
        p: share of the living weights that each level removes, in (0, 1).
        q: AP's part of it, in [0, p); 0: magnitude alone.
        keeps_momentum: pruning happens between two trainings of one optimizer, and pruned weights are known by their
            value 0: the momentum moves them off it at the first step, and they grow back.
        shares_biases: rewinding gives biases the stored tensors themselves, which training then overwrites: from the
            second rewinding on, biases keep what they learnt.
        keeps_statistics: running statistics of norms are not rewound.
        redraws: weights are drawn anew in each level instead of rewound (the script's default).
        pools_norms: scales of norms are pruned, and counted, with the weights.
        counts_twice: each bias puts the weight before it into the pool once more.
        cuts_at_thresholds: what goes is not counted: the host cuts below an interpolated percentile, AP at and below
            the score after its last, so that one more goes, and every tie.

    Source: github.com/Martin1937/AP-Activate-While-Pruning-, ``resnet_20.py``, as read; its order of operations, not
    its code.
    """

    p: float = 0.2
    q: float = 0.02
    keeps_momentum: bool = False
    shares_biases: bool = False
    keeps_statistics: bool = False
    redraws: bool = False
    pools_norms: bool = False
    counts_twice: bool = False
    cuts_at_thresholds: bool = False

    def __post_init__(self) -> None:
        check_fraction("p", self.p, zero=False)
        check_fraction("q", self.q)
        if self.q >= self.p:
            raise InvalidValue(f"q is {self.q}, p {self.p}", "AP's part is less than all", "choose a smaller q")

    @property
    def prunable(self) -> Prunable:
        """What its masks cover."""
        return every_weight if self.pools_norms else conv_and_linear


@dataclass(frozen=True)
class Trainee:
    """What the script trains, and how.

    Args:
        model: the live model.
        optimizer: makes a fresh optimizer for it.
        train: trains it once, from wherever its weights are, with an optimizer whose rates it sets.
        fresh: level -> parameters as a new draw gives them, by name; asked only where weights are drawn anew.
    """

    model: nn.Module
    optimizer: Callable[[], Optimizer]
    train: Callable[[Optimizer], object]
    fresh: Callable[[int], Mapping[str, Tensor]]


@dataclass(frozen=True)
class ScriptLevel:
    """A level that is over; the live model is as its last training left it.

    Args:
        level: 0 is dense.
        mask: what the script means to keep; ``alive``: what is not zero.
        bias_drift: largest distance of a bias from its first value, right after the level's last rewinding.
    """

    level: int
    mask: Mask
    alive: Mask
    bias_drift: float


def follow(script: ApScript, trainee: Trainee, levels: int) -> Iterator[ScriptLevel]:
    """Train dense; then in each level rewind, train, prune by host and AP, rewind and train.

    Args:
        script: which defects there are.
        trainee: what is trained; its weights are now those of initialization.
        levels: prunings, >= 0.

    Yields:
        Each level when its last training is over.

    Raises:
        InvalidValue: if AP finds fewer negative weights than it wants; the script fails there, too.
    """
    model, first = trainee.model, _state(trainee.model)
    stored, mask = _state(model), Mask.dense(model, script.prunable)
    _train(script, trainee, trainee.optimizer(), mask)
    yield ScriptLevel(0, mask, _alive(model, mask), 0.0)
    for level in range(1, levels + 1):
        if script.redraws:
            stored = {**stored, **{name: tensor.clone() for name, tensor in trainee.fresh(level).items()}}
        _rewind(script, model, stored, mask, shared=not script.redraws)
        optimizer, start = trainee.optimizer(), _state(model)
        _train(script, trainee, optimizer, mask)
        prune = pruned_by_threshold if script.cuts_at_thresholds else pruned_by_count
        mask = prune(model, mask, start, shares=(script.p, script.q), twice=script.counts_twice)
        _rewind(script, model, stored, mask, shared=True)
        drift = _drift(model, first)
        _train(script, trainee, optimizer if script.keeps_momentum else trainee.optimizer(), mask)
        yield ScriptLevel(level, mask, _alive(model, mask), drift)


def _train(script: ApScript, trainee: Trainee, optimizer: Optimizer, mask: Mask) -> None:
    guard = _frozen_zeros(trainee.model, optimizer) if script.keeps_momentum else hold(trainee.model, optimizer, mask)
    with guard:
        trainee.train(optimizer)


@contextlib.contextmanager
def _frozen_zeros(model: nn.Module, optimizer: Optimizer) -> Generator[None, None, None]:
    """Before each step, zero the gradients of weights that are zero: the script's only guard of its masks."""

    def freeze(*_: Any) -> None:
        for name, parameter in model.named_parameters():
            if "weight" in name and parameter.grad is not None:
                parameter.grad[parameter.detach() == 0] = 0

    handle = optimizer.register_step_pre_hook(freeze)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _rewind(script: ApScript, model: nn.Module, stored: Mapping[str, Tensor], mask: Mask, *, shared: bool) -> None:
    """Back to the stored values, pruned weights to zero; with shared biases these are the stored tensors themselves."""
    for name, parameter in model.named_parameters():
        if script.shares_biases and shared and "bias" in name:
            parameter.data = stored[name]
        else:
            parameter.copy_(stored[name] * mask[name].to(parameter.device) if name in mask else stored[name])
    for name, buffer in model.named_buffers():
        if not script.keeps_statistics:
            buffer.copy_(stored[name])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _alive(model: nn.Module, mask: Mask) -> Mask:
    """What is not zero, of what a mask covers."""
    parameters = mask.parameters(model)
    return Mask({name: parameter.detach() != 0 for name, parameter in parameters.items()})


def _drift(model: nn.Module, first: Mapping[str, Tensor]) -> float:
    named = [(name, parameter.detach()) for name, parameter in model.named_parameters() if "bias" in name]
    return max((float((parameter - first[name]).abs().max()) for name, parameter in named), default=0.0)
