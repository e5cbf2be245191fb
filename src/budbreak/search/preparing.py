"""What every search asks of its arguments, and the network that it starts from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from budbreak.checks import check_count, check_function, check_number, shown
from budbreak.errors import InvalidValue, NothingToPrune
from budbreak.iteration import check_folder, describe, mask_digest
from budbreak.live import apply_mask, model_digest, model_state
from budbreak.masks import Mask, check_mask, unwrap
from budbreak.search.samplers import ALL, TUNERS
from budbreak.search.space import SearchSpace
from budbreak.search.tuning_space import TuningSpace


def check_numbers(trials: int | None, seed: int, epochs: float | None, store: object) -> None:
    """Refuse numbers out of range, and what is no folder."""
    if trials is not None:
        check_count("trials", trials)
    check_count("seed", seed, least=0)
    if epochs is not None:
        check_number("epochs", epochs, usual="10", zero=False)
    if store is not None:
        check_folder("store", store, "runs/search")


def check_reach(sampler: object, trials: int | None) -> None:
    """Refuse a number of trials above that after which the sampler stops."""
    most = getattr(sampler, "trials", None)
    if trials is not None and isinstance(most, int) and most < trials:
        rule = f"the sampler stops after its own number of trials: {sampler!r}"
        raise InvalidValue(f"trials is {trials}", rule, f"write {type(sampler).__name__}(trials={trials})")


def check_tunes(name: str, sampler: object, example: str = "bb.search.TPE()") -> None:
    """Refuse a sampler of ours that cannot propose settings.

    Args:
        name: of the argument.
        sampler: the argument.
        example: what to write.
    """
    if isinstance(sampler, ALL) and not isinstance(sampler, TUNERS):
        rule = "it moves among activations, and knows nothing of ranges"
        raise InvalidValue(f"{name} is {shown(sampler)}", rule, f"write {name}={example}")


def check_report(report: object) -> None:
    """Refuse what cannot be called."""
    if report is not None:
        check_function("report", report, "lambda history: print(history[-1])")


def check_size(space: SearchSpace | TuningSpace, one: object, fix: str) -> None:
    """Refuse a space with one candidate."""
    if space.size == 1:
        value, rule = f"the space has one candidate: {shown(one)}", "there is nothing to search"
        raise InvalidValue(value, rule, fix)


def pruned_copy(model: nn.Module, mask: Mask | None) -> nn.Module:
    """A copy of the user's own module, pruned.

    Raises:
        InvalidValue: for a model with zeros among its weights and no mask.
        UnknownName, MaskMismatch: if the mask does not fit.
    """
    pruned = copy.deepcopy(unwrap(model))
    if mask is None:
        _check_dense(pruned)
    else:
        check_mask(mask)
        apply_mask(pruned, mask)
    return pruned


def model_identity(model: nn.Module, mask: Mask | None, also: Mapping[str, object] | None) -> dict[str, Any]:
    """What makes two searches start from the same."""
    return {
        "model": {name: [list(tensor.shape), str(tensor.dtype)] for name, tensor in model_state(model).items()},
        "modules": {name: f"{type(module).__name__}({module.extra_repr()})" for name, module in model.named_modules()},
        "weights": model_digest(model),
        "mask": None if mask is None else mask_digest(mask),
        "also": describe(dict(also or {})),
    }


def _check_dense(model: nn.Module) -> None:
    try:
        zeros = Mask.from_zeros(model)
    except NothingToPrune:
        return
    if zeros.kept < zeros.total:
        raise InvalidValue(
            f"mask is None, and {zeros.total - zeros.kept} of {zeros.total} weights of the model are 0",
            "without a mask all weights are trained, and pruned ones would come back",
            "give the mask, or write mask=bb.Mask.from_zeros(model); of a dense model mask=bb.Mask.dense(model)",
        )
