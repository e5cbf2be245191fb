"""Host and follow-ups turn evidence into the next mask: pure functions of scores and counts."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.evidence import Evidence
from budbreak.iteration.followups import FollowUp
from budbreak.iteration.plan import LevelTarget, Plan
from budbreak.masks import Element, Mask, competing, select


@dataclass(frozen=True)
class Removal:
    """The next mask, and who removed how many; ``shortfall`` is the part of ``host`` that follow-ups left over."""

    mask: Mask
    host: int
    follow_ups: tuple[int, ...]
    shortfall: int


def remove_first(plan: Plan, evidence: Evidence, alive: Mask, target: LevelTarget) -> Removal:
    """The host's removal, then the follow-ups that do not retrain, each within what is left."""
    mask = host_removes(plan, evidence, alive, target.host)
    counts: list[int] = []
    short = 0
    for follow_up, share in zip(plan.then, target.shares, strict=True):
        if follow_up.retrains:
            counts.append(0)
            continue
        mask, removed = follow_up_removes(plan, follow_up, evidence, mask, share)
        counts.append(removed)
        short += share - removed
    mask = host_removes(plan, evidence, mask, short)
    return Removal(mask, target.host + short, tuple(counts), short)


def remove_retrained(plan: Plan, evidence: Evidence, alive: Mask, target: LevelTarget, stage: int) -> Removal:
    """The removal before stage 1, 2, ...: that of the stage-th follow-up that retrains."""
    follow_up = plan.retraining[stage - 1]
    position = [index for index, one in enumerate(plan.then) if one.retrains][stage - 1]
    share = target.shares[position]
    mask, removed = follow_up_removes(plan, follow_up, evidence, alive, share)
    short = share - removed
    counts = tuple(removed if index == position else 0 for index in range(len(plan.then)))
    return Removal(host_removes(plan, evidence, mask, short), short, counts, short)


def host_removes(plan: Plan, evidence: Evidence, alive: Mask, count: int) -> Mask:
    """Remove ``count`` things by the host's criterion."""
    if count == 0:
        return alive
    return select(
        plan.criterion(evidence),
        plan.things(alive)[1] - count,
        scope=plan.scope,
        granularity=plan.granularity,
        allocation=plan.allocation,
        within=alive,
    )


def follow_up_removes(plan: Plan, follow_up: FollowUp, evidence: Evidence, alive: Mask, share: int) -> tuple[Mask, int]:
    """Remove up to ``share`` weights by the follow-up, globally; also how many it could remove."""
    if share == 0:
        return alive, 0
    if follow_up.criterion is None:
        return host_removes(plan, evidence, alive, share), share
    scores = follow_up.criterion(evidence)
    count = min(share, competing(scores, alive))
    return select(scores, alive.kept - count, granularity=Element(), within=alive), count
