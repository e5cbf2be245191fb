"""Train, prune, rewind, again: everything around the user's own training loop."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from torch import nn
from torch.optim import Optimizer

from budbreak import schedules
from budbreak.checks import check_count, check_model, check_optimizer, shown
from budbreak.errors import EmptyBatches, InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.evidence import Probe, Samples, check_inputs, probes_of
from budbreak.graph import Batches, Forward, Loss
from budbreak.iteration.attaching import check_fit, check_resets
from budbreak.iteration.course import Course
from budbreak.iteration.followups import criteria_of
from budbreak.iteration.identity import Keep, Setup
from budbreak.iteration.levels import Levels
from budbreak.iteration.plan import Plan
from budbreak.iteration.ranks import SharedStore
from budbreak.iteration.store import Store, check_folder
from budbreak.live import (
    PATH_NEEDS,
    Resettable,
    check_resettable,
    extra_states,
    model_state,
    optimizers_of,
    unwrap_optimizer,
)
from budbreak.masks import Mask, warn_of_uncovered
from budbreak.processes import Group, Processes


def iterate(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None,
    plan: Plan,
    *,
    batches: Batches | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    samples: Samples | None = None,
    resets: Sequence[Resettable] = (),
    seed: int = 0,
    store: str | Path | None = None,
    dense: str | Path | None = None,
    also: Mapping[str, object] | None = None,
    mask: Mask | None = None,
    mask_grads: bool | None = None,
    keep_holding: bool = False,
    keep: Keep = "last",
    group: Group = None,
) -> Levels:
    """Carry out a plan around the user's own training loop.

    A context manager that iterates over trainings: level 0 dense (unless the plan prunes at initialization), then for
    each level prune, rewind, hold, and hand the `Level` to the loop body, which trains and records. At each level the
    optimizer's whole state and param_groups and everything in ``resets`` return to the rewind point, and all random
    generators are seeded from (seed, level, stage), so that arms with the same seed see the same batches.

    Args:
        model: the live model; no key, module or hook of it is changed. Observers of activations hook it while it is
            entered: give it as your loop calls it, compiled or not; what they look at runs uncompiled.
        optimizer: holds the model's parameters; pruned weights are clamped to zero after each of its steps. Several,
            in a list, have parameters of their own each: a step (of `Step`, of a record) is one that all of them have
            made. None: they are made in each training, and attached to it by `Level.attach`.
        plan: what to prune. What its criteria need to have watched is watched in all trainings: see
            `budbreak.evidence.Observer`.
        batches: the calibration set, for criteria that look at gradients or activations.
        loss: for criteria that need gradients.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        samples: over how many terms a batch's mean loss is taken; see `probe`.
        resets: what else changes in training: scheduler, `torch.Generator`, scaler, average or copy of the weights
            (which is pruned with them).
        seed: of everything random in the trainings.
        store: a folder in which the iteration survives being killed; the same call goes on from there.
        dense: the store of another iteration that has finished level 0, e.g. that of ``plan.dense``. If ``store`` is
            fresh, level 0 is not trained but taken over from there, bit for bit: records (with their seconds),
            weights, rewind point. Both must agree in model, optimizer, ``resets``, seed, starting weights, mask,
            ``mask_grads``, ``prunable`` and ``rewind_to``; that their data and epochs are the same is for you to see
            to, as ``also`` is not compared. It is only read, and several processes may read it at once.
        also: what else must be as it was when the store is used again, by name: data, labels, epochs, e.g.
            ``also={"x": x, "epochs": 5}``. Tensors are told apart by a digest. The plan, the starting weights,
            model, optimizer, ``resets``, seed and calibration set are compared in any case.
        mask: what is alive at the start; all prunable weights unless given.
        mask_grads: see `hold`.
        keep_holding: go on holding the last mask after the ``with``, until ``levels.release()``.
        keep: of which levels the store keeps the weights. "last": of the one where it stands, in its checkpoints. These
            (two, with the optimizers' state) and the rewind point take 6 (SGD) to 12 (AdamW) times the model's size.
            "all": besides, of each level that is over, in a file for each, without what is pruned: for a share of 0.2
            at each level at most 5 times the model's size in the end. `load_level` reads them.
        group: the processes that prune this network together, each on its own batches, as under
            `DistributedDataParallel`. None: all of `torch.distributed` where it is initialized, else this one;
            ``"alone"``: this one, where each rank carries out an iteration of its own; or a process group. All
            of them must call, with the same arguments but for their data. Evidence is added up over them, rank 0
            alone owns the store, and an error on one is raised on all.

    Raises:
        MissingReset: if a scheduler that is not in ``resets`` runs on from level to level: at once where it is known,
            else before the first step that it would spoil. A scheduler made in the loop body is none.
        ForeignParameter: if the optimizer does not hold the model's parameters, or holds some that are neither the
            model's nor those of a module in ``resets``.
        NothingToPrune, InvalidValue: if the plan does not fit the model.
        StoreMismatch, StoreBusy, CorruptFile: if the store, or ``dense``, cannot be used.
        RanksDisagree, RankFailed: if the ranks have different plans, weights, masks, steps or numbers, or one fails.
        InvariantBroken: at the end of a level, if something that must hold does not.
    """
    processes = Processes.of(group)
    with processes.agreeing("the arguments of iterate"):
        check_kinds(model, optimizer, plan)
        check_resettable(resets)
        setup = Setup(
            model=model,
            optimizers=() if optimizer is None else tuple(map(unwrap_optimizer, optimizers_of(optimizer))),
            plan=plan.fit(model),
            batches=batches,
            loss=loss,
            forward=forward,
            samples=samples,
            resets=tuple(resets),
            seed=seed,
            also=also,
            mask=mask,
            mask_grads=mask_grads,
            keep_holding=keep_holding,
            keep=keep,
            processes=processes,
        )
        check_arguments(setup, store, dense)
    warn_of_uncovered(model, plan.prunable)
    own = None if store is None else SharedStore(Store(store), processes)
    return Levels(Course(setup, own, None if dense is None else Store(dense)))


def check_kinds(model: object, optimizer: object, plan: object) -> None:
    """Refuse what is no model, no optimizer and no plan, or stands in another's place.

    Raises:
        InvalidValue: with what to write.
    """
    if isinstance(model, Optimizer | Plan):
        raise InvalidValue(f"model is {shown(model)}", "the model comes first", "write iterate(model, optimizer, plan)")
    check_model(model)
    if optimizer is not None:
        check_optimizer(optimizer)
    if not isinstance(plan, Plan):
        raise InvalidValue(
            f"plan is {shown(plan)}",
            "it must be an instance of Plan",
            "write plan=bb.Plan(schedule=bb.schedules.Geometric(rate=0.2, levels=12))",
        )


def check_arguments(setup: Setup, store: object, dense: object) -> None:
    """Refuse arguments that cannot work together.

    Raises:
        InvalidValue, MissingEvidence, ForeignParameter, NothingToPrune: with what to write.
    """
    check_count("seed", setup.seed, least=0)
    if store is not None:
        check_folder("store", store, "runs/first")
    _check_keep(setup.keep, store)
    _check_dense(dense, store, setup)
    _check_also(setup.also, store)
    if not isinstance(setup.mask, Mask | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"mask is {shown(setup.mask)}", "it must be a Mask", "write bb.Mask({name: tensor})")
    model_state(setup.model)  # refuses now what cannot be put back after level 0
    extra_states(setup.model)
    if setup.optimizers:
        check_fit(setup, setup.optimizers, setup.resets)
    _check_counts(setup.plan, setup.first_mask)
    check_resets(setup, setup.resets)
    _check_batches(setup.batches, alone=setup.processes.size == 1)
    check_inputs(
        setup.model,
        needs_of(setup.plan),
        batches=setup.batches,
        loss=setup.loss,
        forward=setup.forward,
        prunable=setup.plan.prunable,
        samples=setup.samples,
    )


def _check_keep(keep: object, store: object) -> None:
    if keep not in ("last", "all"):
        raise UnknownName(f"keep is {shown(keep)}", one_of(("last", "all")), did_you_mean(str(keep), ("last", "all")))
    if keep == "all" and store is None:
        raise InvalidValue('keep is "all"', "weights are kept in a store", "give store= as well, or leave keep out")


def _check_also(also: object, store: object) -> None:
    if not isinstance(also, Mapping | None):
        raise InvalidValue(f"also is {shown(also)}", "it is a mapping of names to values", 'write also={"epochs": 5}')
    if also and store is None:
        raise InvalidValue(f"also is {shown(also)}", "it is compared with what a store holds", "give store= as well")


def _check_dense(dense: object, store: object, setup: Setup) -> None:
    """Refuse a dense store that there is nowhere to take over to, or nobody to take over for."""
    if dense is None:
        return
    check_folder("dense", dense, "runs/dense")
    said = f"dense is {shown(dense)}"
    if not setup.plan.train_dense:
        raise InvalidValue(said, "a plan with train_dense=False has no level 0", "leave dense out")
    if store is None:
        raise InvalidValue(said, "level 0 is taken over into a store", "give store= as well")
    if os.path.realpath(cast(str, dense)) == os.path.realpath(cast(str, store)):
        raise InvalidValue(said, "it is the store of another iteration", "give another folder as store")
    if (processes := setup.processes.size) > 1:
        raise InvalidValue(
            f"{said}, for {processes} processes",
            "level 0 is taken over by a process alone so far",
            "leave dense out, or give group='alone'",
        )


def needs_of(plan: Plan) -> Sequence[Probe[object]]:
    """What a plan looks at between trainings: its criteria, the host's first, and how classes are connected."""
    needs = [need for criterion in criteria_of(plan.criterion, plan.then) for need in criterion.needs]
    return probes_of([*needs, *(PATH_NEEDS if plan.connect else ())])


def _check_counts(plan: Plan, mask: Mask) -> None:
    """Refuse a plan whose counts cannot work now, and not after hours of training.

    Only for our own schedules, which look at the level alone: others may look at steps and metrics to come.
    """
    if isinstance(plan.schedule, schedules.ALL):
        plan.check_targets(mask)


def _check_batches(batches: object, *, alone: bool) -> None:
    """Refuse what can be read but once, or is empty; one of several ranks may have none."""
    if isinstance(batches, Iterator):
        raise InvalidValue(
            f"batches is {shown(batches)}",
            "it is read once in each level, and an iterator is used up after the first",
            "give a list, list(batches), or a DataLoader",
        )
    if alone and batches is not None and operator.length_hint(batches, 1) == 0:
        raise EmptyBatches(
            f"batches is {shown(batches)}, of length 0",
            "a calibration set has at least one batch",
            "give more data, or drop_last=False; or leave batches out, where no criterion looks at data",
        )
