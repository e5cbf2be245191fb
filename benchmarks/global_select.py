"""select: one threshold over all weights, and the masks: time and memory against torch's own ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from budbreak.errors import InvariantBroken
from budbreak.masks import Scores, select
from budbreak.measuring import Contender, Timing, peak_extra

OURS, PRUNE, KTH, READ = "budbreak select", "prune.global_unstructured", "torch.kthvalue", "reading the weights once"
TENSORS = 8
DENSITY = 0.1

Weights = dict[str, Tensor]


def weights_of(case: str, count: int, device: str = "cpu") -> Weights:
    """About ``count`` weights in several tensors.

    Args:
        case: "float32": normal; "bf16": the same, rounded; "ties": 80 % zeros and the rest rounded to multiples of
            1/64, so that the threshold falls into a heap of equal magnitudes.
        count: how many.
        device: where.
    """
    generator = torch.Generator().manual_seed(0)
    weights = {f"layer{index}.weight": torch.randn(count // TENSORS, generator=generator) for index in range(TENSORS)}
    for name, weight in weights.items():
        if case == "ties":
            weight.mul_(64).round_().div_(64)
            weight[torch.rand(weight.shape, generator=generator) < 0.8] = 0.0
        weights[name] = weight.to(device, torch.bfloat16 if case == "bf16" else torch.float32)
    return weights


def kept(count: int) -> int:
    """How many weights stay."""
    return round(DENSITY * (count // TENSORS) * TENSORS)


def by_budbreak(weights: Weights) -> Mapping[str, Tensor]:
    """Threshold and masks: `select` on magnitudes."""
    return select(Scores.elementwise(torch.abs, weights), kept(_total(weights)))


def by_prune(modules: list[nn.Module]) -> None:
    """Threshold and masks by torch; the modules then hold weight, weight_orig and weight_mask."""
    pairs = [(module, "weight") for module in modules]
    torch_prune.global_unstructured(pairs, pruning_method=torch_prune.L1Unstructured, amount=1 - DENSITY)


def by_kthvalue(weights: Weights) -> dict[str, Tensor]:
    """Threshold by kthvalue over all magnitudes in one tensor, then masks; ties at the threshold all go."""
    magnitudes = torch.cat([weight.abs() for weight in weights.values()])
    threshold = magnitudes.kthvalue(len(magnitudes) - kept(len(magnitudes))).values
    return {name: weight.abs() > threshold for name, weight in weights.items()}


def by_reading(weights: Weights) -> float:
    """The least that any method does: look at every weight."""
    return float(sum(weight.sum() for weight in weights.values()))


def modules_with(weights: Weights) -> list[nn.Module]:
    """One module for each weight; it shares the memory."""
    modules: list[nn.Module] = []
    for weight in weights.values():
        module = nn.Module()
        module.weight = nn.Parameter(weight)
        modules.append(module)
    return modules


def memory_work(method: str, case: str, count: int) -> Callable[[], object]:
    """What `peak_extra` runs in a process of its own."""
    weights = weights_of(case, count)
    if method == PRUNE:
        modules = modules_with(weights)
        return lambda: by_prune(modules)
    return lambda: {OURS: by_budbreak, KTH: by_kthvalue}[method](weights)


def reference(weights: Weights) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The mask over all weights in a row by one stable sort: of equal magnitudes the lower index stays."""
    magnitudes = np.concatenate([weight.cpu().float().abs().numpy() for weight in weights.values()])
    mask = np.zeros(len(magnitudes), dtype=np.bool_)
    mask[np.argsort(-magnitudes, kind="stable")[: kept(len(magnitudes))]] = True
    return mask


@dataclass(frozen=True)
class GlobalSelect:
    """Global selection at 90 % sparsity."""

    name = "select"
    about = "One threshold over all weights and the masks, exact to the index: CPU time and peak extra memory."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        count = settings.pick(40_000, 10**7, 10**7)
        checks = tuple(_check_exact(case, count, settings.device) for case in ("float32", "ties", "bf16"))
        tables = [_table("float32", count, settings, with_kth=True)]
        tables += [_table(case, count, settings) for case in ("ties", "bf16")]
        if settings.size == "full":
            tables.insert(1, _table("float32", 10**8, settings, with_kth=True))
        goals = [goal for measured in tables for goal in _goals(measured)]
        remarks = (
            "global_unstructured computes threshold and masks and leaves weight_orig, weight_mask and a masked weight "
            "behind; kthvalue gets one concatenated tensor and prunes all ties.",
            "Memory: peak resident set beyond the weights, masks included (1 byte a weight); in a fresh "
            "process; for budbreak the median of 5, because the allocator's mood is a few MiB.",
        )
        return Findings(tuple(tables), tuple(goals), checks, remarks)


def _check_exact(case: str, count: int, device: str) -> str:
    weights = weights_of(case, count, device)
    masks = by_budbreak(weights)
    row = np.concatenate([masks[name].numpy() for name in weights])
    if not np.array_equal(row, reference(weights)):
        raise InvariantBroken(f"select on {count} {case} weights is not the stable sort", "it must be, to the index")
    return f"{_words(case)}, {count:.0e} weights: the masks equal those of a stable sort at every index."


def _table(case: str, count: int, settings: Settings, *, with_kth: bool = False) -> Table:
    timings = _timings(case, count, settings, with_kth=with_kth)
    methods = [name for name in timings if name != READ]
    extra = {} if settings.size == "smoke" or settings.device != "cpu" else _memory(methods, case, count)
    return table(f"{count:.0e} weights, {_words(case)}", OURS, timings, extra)


def _timings(case: str, count: int, settings: Settings, *, with_kth: bool) -> dict[str, Timing]:
    large = count >= 10**8
    weights = weights_of(case, count, settings.device)
    modules: list[nn.Module] = []

    def fresh_modules() -> None:
        modules[:] = modules_with(weights)

    contenders = [
        Contender(OURS, lambda: by_budbreak(weights)),
        Contender(PRUNE, lambda: by_prune(modules), fresh_modules, most=2 if large else 3),
        Contender(READ, lambda: by_reading(weights)),
    ]
    if with_kth:
        contenders.insert(2, Contender(KTH, lambda: by_kthvalue(weights), most=2 if large else 3))
    return settings.meter(full=7 if large else 11)(contenders)


def _memory(methods: list[str], case: str, count: int) -> dict[str, float]:
    target, warm = f"{__name__}:memory_work", {"case": case, "count": 10_000}
    extra: dict[str, float] = {}
    for method in methods:
        runs = 5 if method == OURS else 1  # the allocator's mood is a few MiB: nothing in hundreds
        work = {"method": method, "case": case, "count": count}
        extra[method] = peak_extra(target, work, {"method": method, **warm}, runs=runs)
    return extra


def _words(case: str) -> str:
    return {"ties": "float32 with 80 % zeros and ties"}.get(case, case)


def _goals(measured: Table) -> list[Goal]:
    goals = [Goal(f"{measured.title}: at least 40x less time than global_unstructured", measured.row(PRUNE).ratio, 40)]
    ours, theirs = measured.row(OURS).extra_mib, measured.row(PRUNE).extra_mib
    if ours and theirs:
        goals.append(Goal(f"{measured.title}: at least 25x less extra memory", theirs / ours, 25))
    return goals


def _total(weights: Weights) -> int:
    return sum(weight.numel() for weight in weights.values())
