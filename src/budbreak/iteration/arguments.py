"""What `iterate` is given, checked before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from torch.optim import Optimizer

from budbreak import schedules
from budbreak.checks import check_count, check_model, check_optimizer, shown
from budbreak.errors import InvalidValue
from budbreak.evidence import Probe, check_inputs
from budbreak.iteration.live import Live
from budbreak.iteration.plan import Plan
from budbreak.live import check_averages, check_ownership, extra_states, model_state
from budbreak.masks import Mask, prunable_parameters


def check_kinds(model: object, optimizer: object, plan: object) -> None:
    """Refuse what is no model, no optimizer and no plan, or stands in another's place.

    Raises:
        InvalidValue: with what to write.
    """
    if isinstance(model, Optimizer | Plan):
        raise InvalidValue(f"model is {shown(model)}", "the model comes first", "write iterate(model, optimizer, plan)")
    check_model(model)
    check_optimizer(optimizer)
    if not isinstance(plan, Plan):
        raise InvalidValue(
            f"plan is {shown(plan)}",
            "it must be an instance of Plan",
            "write plan=bb.Plan(schedule=bb.schedules.Geometric(rate=0.2, levels=12))",
        )


def check_arguments(live: Live, *, store: object, dense: object, mask: object, also: object) -> None:
    """Refuse arguments that cannot work together.

    Raises:
        InvalidValue, MissingEvidence, ForeignParameter, NothingToPrune: with what to write.
    """
    check_count("seed", live.seed, least=0)
    _check_folder("store", store, "runs/first")
    _check_dense(dense, store, live.processes.size)
    if not isinstance(also, Mapping | None):
        raise InvalidValue(f"also is {shown(also)}", "it is a mapping of names to values", 'write also={"epochs": 5}')
    if also and store is None:
        raise InvalidValue(f"also is {shown(also)}", "it is compared with what a store holds", "give store= as well")
    if not isinstance(mask, Mask | None):
        raise InvalidValue(f"mask is {shown(mask)}", "it must be a Mask", "write bb.Mask({name: tensor})")
    model_state(live.model)  # refuses now what cannot be put back after level 0
    extra_states(live.model)
    if hasattr(live.optimizer, "consolidate_state_dict"):  # ZeroRedundancyOptimizer
        raise InvalidValue(
            f"optimizer is a {type(live.optimizer).__name__}, of whose state each rank holds a part",
            "its whole state is put back at each level",
            "give the plain optimizer that it wraps",
        )
    check_ownership(live.optimizer, dict(prunable_parameters(live.model, live.plan.prunable)))
    _check_counts(live.plan, Mask.dense(live.model, live.plan.prunable) if mask is None else mask)
    check_averages(live.resets, live.model, Mask.dense(live.model, live.plan.prunable))
    _check_batches(live.batches)
    check_inputs(
        live.model,
        needs_of(live.plan),
        batches=live.batches,
        loss=live.loss,
        forward=live.forward,
        prunable=live.plan.prunable,
        samples=live.samples,
    )


def _check_folder(name: str, folder: object, example: str) -> None:
    if folder == "" or not isinstance(folder, str | os.PathLike | None):
        raise InvalidValue(f"{name} is {shown(folder)}", "it is a folder: a str or a Path", f'write {name}="{example}"')


def _check_dense(dense: object, store: object, processes: int) -> None:
    """Refuse a dense store that there is nowhere to take over to, or nobody to take over for."""
    _check_folder("dense", dense, "runs/dense")
    if dense is None:
        return
    said = f"dense is {shown(dense)}"
    if store is None:
        raise InvalidValue(said, "level 0 is taken over into a store", "give store= as well")
    if Path(cast(str, dense)).resolve() == Path(cast(str, store)).resolve():
        raise InvalidValue(said, "it is the store of another iteration", "give another folder as store")
    if processes > 1:
        raise InvalidValue(
            f"{said}, for {processes} processes",
            "level 0 is taken over by a process alone so far",
            "leave dense out, or give group='alone'",
        )


def needs_of(plan: Plan) -> Sequence[Probe[object]]:
    """What the criteria of a plan look at, the host's first."""
    criteria = [plan.criterion, *(f.criterion for f in plan.then if f.criterion is not None)]
    return [need for criterion in criteria for need in criterion.needs]


def _check_counts(plan: Plan, mask: Mask) -> None:
    """Refuse a plan whose counts cannot work now, and not after hours of training.

    Only for our own schedules, which look at the level alone: others may look at steps and metrics to come.
    """
    if isinstance(plan.schedule, schedules.ALL):
        plan.targets(*plan.things(mask))


def _check_batches(batches: object) -> None:
    if isinstance(batches, Iterator):
        raise InvalidValue(
            f"batches is {shown(batches)}",
            "it is read once in each level, and an iterator is used up after the first",
            "give a list, list(batches), or a DataLoader",
        )
