"""Whose parameters an optimizer trains: those of a live model, each by one optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from budbreak.errors import ForeignParameter, InvalidValue
from budbreak.live.optimizers import optimizers_of, owned_by


def check_ownership(optimizer: object, parameters: Mapping[str, nn.Parameter]) -> None:
    """Assert that the optimizer holds these live parameters.

    Raises:
        ForeignParameter: with the first name that it does not hold.
    """
    held = held_by(optimizer, parameters)
    missing = [name for name in parameters if name not in held]
    if missing:
        several = len(optimizers_of(optimizer)) > 1
        raise ForeignParameter(
            f"{'none of the optimizers holds' if several else 'the optimizer does not hold'} {missing[0]!r} "
            f"({len(missing)} of {len(parameters)} prunable weights)",
            "pruned weights are held at zero after the steps of the optimizer that trains them",
            "make the optimizer from model.parameters() of this very model, after any change to its modules",
        )


def held_by(optimizer: object, parameters: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Those of these parameters that the optimizer holds."""
    owned = {id(parameter) for parameter in owned_by(optimizer)}
    return {name: parameter for name, parameter in parameters.items() if id(parameter) in owned}


def check_disjoint(optimizers: Sequence[object], names: Mapping[int, str]) -> None:
    """Refuse optimizers that train the same parameter.

    Args:
        optimizers: none of them twice.
        names: id of a parameter -> its name, for the message.

    Raises:
        InvalidValue: with the first one that two of them hold.
    """
    holders: dict[int, int] = {}
    for place, optimizer in enumerate(optimizers):
        for parameter in {id(parameter): parameter for parameter in owned_by(optimizer)}.values():
            other = holders.setdefault(id(parameter), place)
            if other != place:
                raise InvalidValue(
                    f"optimizers {other} and {place} both hold {_named(parameter, names)}",
                    "of several optimizers each trains parameters of its own",
                    "give each of them other parameters; or leave one out",
                )


def check_own(optimizers: Sequence[object], names: Mapping[int, str]) -> None:
    """Refuse optimizers that train parameters which are none of these: nobody would put them back.

    Args:
        optimizers: of one model.
        names: id of a parameter -> its name, of all that the model holds, and whatever returns with it.

    Raises:
        ForeignParameter: with the first one.
    """
    for place, optimizer in enumerate(optimizers):
        for parameter in owned_by(optimizer):
            if id(parameter) not in names:
                which = "the optimizer" if len(optimizers) == 1 else f"optimizer {place}"
                raise ForeignParameter(
                    f"{which} ({type(optimizer).__name__}) holds {_named(parameter, names)}, which is not the model's",
                    "what an optimizer trains returns at each level: parameters of the model, or of a module in resets",
                    "give the module that it belongs to in resets; or put both into one model, nn.ModuleDict(...)",
                )


def _named(parameter: Tensor, names: Mapping[int, str]) -> str:
    return repr(names[id(parameter)]) if id(parameter) in names else f"a parameter of shape {tuple(parameter.shape)}"
