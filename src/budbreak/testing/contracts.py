"""What a plug-in must hold to, as plain functions: call them from a test of your own."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.criteria import Criterion
from budbreak.errors import BudbreakError, ContractBroken, MissingEvidence
from budbreak.evidence import Evidence, Gradients, Probe, StartWeights, UnitCounts, Weights
from budbreak.evidence import probe as observe
from budbreak.masks import Score, Scores
from budbreak.schedules import Progress, Schedule, reads_of
from budbreak.testing.promises import alike, are_probes, check_missing, check_value, enough, require
from budbreak.testing.toys import residual_cnn, toy_evidence


def check_criterion(criterion: Criterion, evidence: Evidence | None = None) -> None:
    """Check the contract of `budbreak.criteria.Criterion`.

    Besides `check_value`: ``needs`` are probes; what it needs is enough, and `MissingEvidence` says so where it
    is not there; the evidence is only read; scores cover the weights, are the same each time and in any slices,
    and follow the logical order of a channels_last weight.

    Args:
        criterion: the value to check.
        evidence: holds what it needs; `toy_evidence` unless given. Give it for probes that have no ``example``.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(criterion)
    kind = type(criterion).__name__
    needs = criterion.needs
    require(are_probes(needs), kind, f"needs a tuple of probes, not {needs!r}", "write needs = (Weights(),)")
    sufficient = enough(needs, evidence)
    check_missing(lambda rest: _all_scores(criterion(rest)), needs, sufficient, kind)
    _check_pure(criterion, sufficient)
    if evidence is None:
        _check_memory_format(criterion, torch.float64)
        _check_memory_format(criterion, torch.bfloat16)


def check_schedule(schedule: Schedule, metrics: Mapping[str, float] | None = None) -> None:
    """Check the contract of `budbreak.schedules.Schedule`.

    Besides `check_value`: no fewer than 0 levels; level 0 is dense; never less sparse than before; always in [0, 1);
    the same answer to the same question; the metrics that it looks at are named in ``reads``.

    Args:
        schedule: the value to check.
        metrics: what every level is said to have recorded; ``{"accuracy": 0.9, "loss": 0.3}``, and 0.5 for other
            metrics that it reads, unless given.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(schedule)
    kind, levels = type(schedule).__name__, schedule.levels
    counted = isinstance(levels, int) and not isinstance(levels, bool) and levels >= 0  # pyright: ignore[reportUnnecessaryIsInstance]
    require(counted, kind, f"has levels >= 0, not {levels!r}")
    reads = reads_of(schedule)
    named = all(isinstance(name, str) for name in reads) and not isinstance(getattr(schedule, "reads", ()), str)  # pyright: ignore[reportUnnecessaryIsInstance]
    require(named, kind, "names in reads the metrics that it looks at", 'write reads = ("accuracy",)')
    recorded = _Seen({**dict.fromkeys(reads, 0.5), **(metrics or {"accuracy": 0.9, "loss": 0.3})})
    moments = [Progress(level, step=100 * level, metrics=(recorded,) * level) for level in range(levels + 1)]
    sparsities = [schedule(moment) for moment in moments]
    require(sparsities[0] == 0, kind, f"is dense at level 0, not {sparsities[0]!r} sparse")
    for level, sparsity in enumerate(sparsities):
        require(0 <= sparsity < 1, kind, f"stays in [0, 1), but is {sparsity!r} at level {level}")
        require(sparsity >= max(sparsities[:level], default=0), kind, f"never falls, but does at level {level}")
    again = [schedule(moment) for moment in reversed(moments)][::-1]
    require(again == sparsities, kind, "answers the same question always alike", "hold no state")
    hidden = sorted(recorded.looked_at - set(reads))
    require(not hidden, kind, f"says in reads that it looks at {', '.join(hidden)}", f"write reads = {tuple(hidden)}")


class _Seen(dict[str, float]):
    """Metrics that remember which of them were looked at."""

    def __init__(self, metrics: Mapping[str, float]) -> None:
        super().__init__(metrics)
        self.looked_at: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.looked_at.add(name)
        return super().get(name, default)


def check_probe(probe: Probe[object]) -> None:
    """Check the contract of `budbreak.evidence.Probe`.

    Besides `check_value`: it collects the same from the same model and batches, alone or beside other probes;
    it leaves the model as it was: parameters, buffers, gradients, modes, hooks, random generators; and its ``example``,
    if it has one, gives what looks like that, and the same from the same generator.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(probe)
    kind = type(probe).__name__
    model, batches = residual_cnn(), [(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])) for _ in range(2)]
    before = _traces(model)
    others: list[Probe[object]] = [Weights(), Gradients(), UnitCounts()]

    def collect(probes: list[Probe[object]]) -> object:
        start = {name: tensor * 0.5 for name, tensor in model.state_dict().items()}
        evidence = observe(model, probes, batches=batches, loss=functional.cross_entropy, start=start)
        return copy.deepcopy(evidence[probe])

    alone = collect([probe])
    require(alike(alone, collect([probe])), kind, "collects the same again", "keep nothing from pass to pass")
    require(alike(alone, collect([*others, probe])), kind, "collects the same beside other probes")
    require(alike(before, _traces(model)), kind, "leaves the model as it was")
    if hasattr(probe, "example"):
        _check_example(probe, model, alone)


def _check_example(probe: Any, model: nn.Module, seen: object) -> None:
    kind, weights = type(probe).__name__, observe(model, [Weights()])[Weights()]
    first, again = (probe.example(weights, torch.Generator().manual_seed(1)) for _ in range(2))
    require(alike(first, again), kind, "gives the same example again", "draw from the generator")
    require(_kinds(first) == _kinds(seen), kind, f"gives an example of {_kinds(seen)}, not of {_kinds(first)}")


def _kinds(result: object) -> set[str]:
    """The kinds of things in a result."""
    if isinstance(result, Mapping):
        return {"a mapping"}.union(*map(_kinds, cast(Mapping[str, object], result).values()))
    return {type(result).__name__}


def _traces(model: nn.Module) -> dict[str, object]:
    """Everything of a model that a probe might disturb."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {
        **state,
        "gradients": [parameter.grad is None for parameter in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],  # pyright: ignore[reportPrivateUsage]
        "generators": [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()],
    }


def _check_pure(criterion: Criterion, evidence: Evidence) -> None:
    kind = type(criterion).__name__
    before = copy.deepcopy(evidence.results)
    try:
        scores = criterion(evidence)
        first = _all_scores(scores)
    except MissingEvidence as error:
        raise ContractBroken(f"{kind} reads more than it needs: {error.value}", "needs are all it reads") from None
    _check_like_weights(kind, scores, evidence)
    for name, score in scores.items():
        _check_slices(kind, name, score, first[name])
    require(_same(first, _all_scores(criterion(evidence))), kind, "gives the same scores again", "no global randomness")
    require(alike(before, evidence.results), kind, "only reads the evidence", "clone what you change")


def _check_like_weights(kind: str, scores: Scores, evidence: Evidence) -> None:
    for probe in (Weights(), StartWeights()):
        if probe in evidence:
            expected = {name: weight.shape for name, weight in evidence[probe].items()}
            shapes = {name: score.shape for name, score in scores.items()}
            require(list(shapes.items()) == list(expected.items()), kind, "scores each weight, in order and shape")


def _check_slices(kind: str, name: str, score: Score, whole: Tensor) -> None:
    flat, size = whole.reshape(-1), score.shape.numel()
    require(whole.shape == score.shape, kind, f"gives {name!r} scores of the shape {tuple(score.shape)}")
    require(whole.is_floating_point(), kind, f"gives {name!r} floating point scores, not {whole.dtype}")
    require(not whole.isnan().any(), kind, f"gives {name!r} no NaN for finite evidence")
    read = score.open()
    cuts = [(0, size), (0, 1), (size - 1, size), (size // 3, size // 2), (1, max(1, size - 1)), (0, 0)]
    for lo, hi in cuts:
        part = read(lo, hi)
        require(part.shape == (hi - lo,), kind, f"gives {name!r} flat slices")
        require(torch.equal(part, flat[lo:hi]), kind, f"gives {name!r} slices equal to the whole")


def _check_memory_format(criterion: Criterion, dtype: torch.dtype) -> None:
    try:
        plain, strided = (
            _all_scores(criterion(toy_evidence(probes=criterion.needs, dtype=dtype, memory_format=memory_format)))
            for memory_format in (torch.contiguous_format, torch.channels_last)
        )
    except BudbreakError as error:
        if isinstance(error, ContractBroken):
            raise
        raise ContractBroken(
            f"{type(criterion).__name__} refuses {dtype} evidence: {error.value}",
            "promised: it scores every float dtype",
        ) from error
    require(_same(plain, strided), type(criterion).__name__, "scores in logical C order", "reshape(-1), not storage()")


def _all_scores(scores: Scores) -> dict[str, Tensor]:
    return {name: score.tensor().clone() for name, score in scores.items()}


def _same(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)
