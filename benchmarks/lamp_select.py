"""lamp: one threshold over the scores of LAMP, which depend on all weights of a layer: time and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.findings import Findings, Goal, table
from benchmarks.global_select import by_budbreak, kept, weights_of
from benchmarks.settings import Settings
from budbreak.criteria import Lamp
from budbreak.errors import InvariantBroken
from budbreak.evidence import Evidence, Weights
from budbreak.masks import Mask, select
from budbreak.measuring import Contender, peak_extra

MAGNITUDE, LAMP, SORTING = "select by magnitude", "select by LAMP", "LAMP by sorting each layer"
_MIB = 2**20


def by_lamp(weights: Mapping[str, Tensor]) -> Mask:
    """Scores, threshold and masks, as `prune` and `iterate` make them."""
    return select(Lamp()(Evidence({Weights(): weights})), kept(_total(weights)))


def by_sorting(weights: Mapping[str, Tensor]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The formula as it is written down: every layer sorted and summed up, then all scores partitioned."""
    scores = torch.cat([_scores(weight) for weight in weights.values()])
    threshold = np.partition(scores.numpy(), len(scores) - kept(len(scores)))[len(scores) - kept(len(scores))]
    return scores.numpy() >= threshold


def _scores(weight: Tensor) -> Tensor:
    squares, order = weight.double().square().sort(descending=True)
    return torch.empty_like(squares).scatter_(0, order, squares / squares.cumsum(0))


def memory_work(method: str, count: int) -> Callable[[], object]:
    """What `peak_extra` runs in a process of its own."""
    weights = weights_of("float32", count)
    return lambda: {MAGNITUDE: by_budbreak, LAMP: by_lamp, SORTING: by_sorting}[method](weights)


@dataclass(frozen=True)
class LampSelect:
    """Global selection by LAMP at 90 % sparsity."""

    name = "lamp"
    about = "Scores of LAMP, one threshold over all of them, and the masks: CPU time and peak extra memory."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        count = settings.pick(40_000, 10**7, 10**7)
        weights = weights_of("float32", count, settings.device)
        timings = settings.meter(full=7)(
            [
                Contender(MAGNITUDE, lambda: by_budbreak(weights)),
                Contender(LAMP, lambda: by_lamp(weights)),
                Contender(SORTING, lambda: by_sorting(weights), most=2),
            ]
        )
        measured = table(f"{count:.0e} weights, float32", MAGNITUDE, timings, self._memory(settings, count))
        row = measured.row(LAMP)
        goals = [Goal("at most 6x of a selection by magnitude", row.ratio, 6, at_least=False)]
        if row.extra_mib is not None:
            beyond = row.extra_mib - count / _MIB
            goals.append(Goal("at most 38 MiB (40 MB) beyond the masks", beyond, 38, at_least=False))
        return Findings((measured,), tuple(goals), (_check(count, settings.device),))

    def _memory(self, settings: Settings, count: int) -> dict[str, float]:
        if settings.size == "smoke" or settings.device != "cpu":
            return {}
        target, warm = f"{__name__}:memory_work", {"count": 10_000}
        return {
            method: peak_extra(target, {"method": method, "count": count}, {"method": method, **warm}, runs=runs)
            for method, runs in ((MAGNITUDE, 3), (LAMP, 3), (SORTING, 1))
        }


def _check(count: int, device: str) -> str:
    weights = weights_of("float32", count, device)
    masks = by_lamp(weights)
    row = np.concatenate([masks[name].numpy() for name in weights])
    if int((row != by_sorting({name: weight.cpu() for name, weight in weights.items()})).sum()) > count // 10**6:
        raise InvariantBroken("the masks are not those of the sorted scores", "they must be, but for rounded ties")
    return f"{count:.0e} weights: the masks are those of sorting, but for scores that rounding makes equal."


def _total(weights: Mapping[str, Tensor]) -> int:
    return sum(weight.numel() for weight in weights.values())
