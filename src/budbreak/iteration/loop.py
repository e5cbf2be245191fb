"""Train, prune, rewind, again: everything around the user's own training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from budbreak.evidence import Samples
from budbreak.graph import Batches, Forward, Loss
from budbreak.iteration.arguments import check_arguments, check_kinds
from budbreak.iteration.levels import Levels
from budbreak.iteration.live import Live
from budbreak.iteration.plan import Plan
from budbreak.iteration.shared import SharedStore
from budbreak.iteration.store import Store
from budbreak.live import Resettable, check_resettable, unwrap_optimizer
from budbreak.masks import Mask, warn_of_uncovered
from budbreak.processes import Group, Processes


def iterate(
    model: nn.Module,
    optimizer: Optimizer,
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
    group: Group = None,
) -> Levels:
    """Carry out a plan around the user's own training loop.

    A context manager that iterates over trainings: level 0 dense, then for each level prune, rewind, hold, and
    hand the `Level` to the loop body, which trains and records. At each level the optimizer's whole state and
    param_groups and everything in ``resets`` return to the rewind point, and all random generators are seeded
    from (seed, level, stage), so that arms with the same seed see the same batches.

    Args:
        model: the live model; no key, module or hook of it is changed.
        optimizer: holds the model's parameters; pruned weights are clamped to zero after each of its steps.
        plan: what to prune.
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
        group: the processes that prune this network together, each on its own batches, as under
            `DistributedDataParallel`. None: all of `torch.distributed` where it is initialized, else this one;
            ``"alone"``: this one, where each rank carries out an iteration of its own; or a process group. All
            of them must call, with the same arguments but for their data. Evidence is added up over them, rank 0
            alone owns the store, and an error on one is raised on all.

    Raises:
        MissingReset: if a scheduler that is not in ``resets`` runs on from level to level: at once where it is known,
            else before the first step that it would spoil. A scheduler made in the loop body is none.
        ForeignParameter: if the optimizer does not hold the model's parameters.
        NothingToPrune, InvalidValue: if the plan does not fit the model.
        StoreMismatch, StoreBusy, CorruptFile: if the store, or ``dense``, cannot be used.
        RanksDisagree, RankFailed: if the ranks have different plans, weights, masks, steps or numbers, or one fails.
        InvariantBroken: at the end of a level, if something that must hold does not.
    """
    processes = Processes.of(group)
    with processes.agreeing("the arguments of iterate"):
        check_kinds(model, optimizer, plan)
        check_resettable(resets)
        optimizer = unwrap_optimizer(optimizer)
        options = (batches, loss, forward, samples, tuple(resets), seed, mask_grads, processes)
        live = Live(model, optimizer, plan.fit(model), *options)
        check_arguments(live, store=store, dense=dense, mask=mask, also=also)
    warn_of_uncovered(model, plan.prunable)
    kept = None if store is None else SharedStore(Store(store), processes)
    shared = None if dense is None else Store(dense)
    return Levels(live, kept, dense=shared, mask=mask, also=also or {}, keep_holding=keep_holding)
