"""What the processes of one iteration have in common, and how they find out that they have not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from budbreak.errors import RanksDisagree
from budbreak.iteration.checkpoint import Position
from budbreak.iteration.identity import differences
from budbreak.iteration.live import Live
from budbreak.live import state_digest
from budbreak.masks import Mask, unwrap

APART = "give all ranks the same; or group='alone', where each rank carries out an iteration of its own"


def check_same_iteration(live: Live, about: Mapping[str, Any]) -> None:
    """Refuse ranks that carry out different iterations.

    Raises:
        RanksDisagree: with the first difference.
    """
    if live.processes.size == 1:
        return
    everyone = live.processes.exchange("the start of an iteration", json.loads(json.dumps(about)))
    for rank, other in enumerate(everyone):
        changed = differences(everyone[0], other)
        if changed:
            raise RanksDisagree(
                f"rank {rank} carries out another iteration than rank 0: {changed[0]}",
                "the ranks of a group prune one network together: one plan, model, optimizer and seed",
                APART,
            )


def check_same_network(live: Live, mask: Mask, level: int) -> None:
    """Refuse ranks whose masks or parameters differ; buffers may, as those of BatchNorm do.

    Raises:
        RanksDisagree: with the first entry that differs.
    """
    if live.processes.size == 1:
        return
    live.processes.same(
        f"the mask of level {level}",
        {name: state_digest({name: entry})[:12] for name, entry in mask.items()},
        "all ranks remove the same weights",
        "criteria and probes of your own must find the same on all ranks: add sums up with view.processes.sum",
    )
    parameters = unwrap(live.model).named_parameters()
    live.processes.same(
        f"the weights at the start of level {level}",
        {name: state_digest({name: parameter.detach()})[:12] for name, parameter in parameters},
        "all ranks train the same weights",
        "wrap the model in DistributedDataParallel and train through the wrapper, or average the gradients yourself",
    )


def met(live: Live, here: Position, moment: str) -> Position:
    """``here`` with what all ranks recorded; they took equally many steps to get there.

    A number may be recorded on one rank or on several, where it must be the same.

    Raises:
        RanksDisagree: with the steps or the number.
    """
    if live.processes.size == 1:
        return here
    at = f"{moment} of level {here.level}, stage {here.stage}, after {here.epochs} epochs"
    everyone = live.processes.exchange(at, (here.steps, dict(here.metrics or {})))
    metrics: dict[str, float] = {}
    for rank, (steps, recorded) in enumerate(everyone):
        if steps != everyone[0][0]:
            raise RanksDisagree(
                f"rank 0 took {everyone[0][0]} optimizer steps, rank {rank} took {steps}",
                "all ranks take the same steps",
                "give them equally many batches, e.g. by DistributedSampler(data, drop_last=True)",
            )
        for name, number in recorded.items():
            if metrics.setdefault(name, number) != number:
                raise RanksDisagree(
                    f"record({name}=...) got {metrics[name]} and, on rank {rank}, {number}",
                    "a record holds one number for all ranks",
                    "reduce it over the ranks before, or record it on rank 0 alone",
                )
    return replace(here, metrics=metrics or None)
