"""Let an optimizer follow: it trains the smaller parameters, and remembers of them what it remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from torch.optim import LBFGS

from budbreak.compaction.plan import CompactionPlan
from budbreak.compaction.surgery import Kept, cut, layer_path
from budbreak.errors import ForeignParameter, InvalidValue
from budbreak.live import held_by, nested


@dataclass(frozen=True, eq=False)
class _Successor:
    """What takes the place of a parameter."""

    parameter: nn.Parameter
    kept: tuple[Kept, ...]


def check_can_follow(optimizer: object, model: nn.Module) -> None:
    """Refuse an optimizer that holds none of the model's parameters, or vectors over all of them.

    Raises:
        ForeignParameter, InvalidValue: with what to do.
    """
    flat = [type(member).__name__ for member in nested(optimizer) if isinstance(member, LBFGS)]
    if flat:
        raise InvalidValue(
            f"the optimizer is {flat[0]}",
            "what it remembers lies in one vector over all parameters, which cannot be cut",
            "make a new one: LBFGS(compacted.model.parameters())",
        )
    if not held_by(optimizer, dict(model.named_parameters())):
        raise ForeignParameter(
            "the optimizer holds no parameter of the model",
            "an optimizer follows the model that it trains",
            "give the optimizer that was made from model.parameters()",
        )


def follow(optimizer: object, model: nn.Module, smaller: nn.Module, plan: CompactionPlan) -> None:
    """Exchange the parameters in the groups of an optimizer, and cut what it remembers of them.

    Tensors of a parameter's shape are cut as it is (momentum, the averages of Adam), numbers stay. Of a parameter that
    is cut, other tensors (row and column means) cannot be: its state starts afresh. Biases that were added join the
    group of their layer's weight.

    Args:
        optimizer: one or several, and those that they wrap.
        model: whose parameters they hold.
        smaller: the compact model.
        plan: how it was cut.
    """
    successors = _successors(model, smaller, plan)
    joining = _joining(model, smaller, plan)
    groups: dict[int, dict[str, Any]] = {}
    states: dict[int, Any] = {}
    for member in nested(optimizer):
        groups.update({id(group): group for group in getattr(member, "param_groups", ())})
        if isinstance(getattr(member, "state", None), dict):
            states[id(member.state)] = member.state
    for group in groups.values():
        group["params"][:] = list(_exchanged(group["params"], successors, joining))
    for state in states.values():
        for parameter in [key for key in state if id(key) in successors]:
            remembered, successor = state.pop(parameter), successors[id(parameter)]
            if (smaller_state := _cut_state(remembered, parameter, successor)) is not None:
                state[successor.parameter] = smaller_state


def _successors(model: nn.Module, smaller: nn.Module, plan: CompactionPlan) -> dict[int, _Successor]:
    now = dict(smaller.named_parameters(remove_duplicate=False))
    found: dict[int, _Successor] = {}
    by_id: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        by_id.setdefault(id(parameter), []).append(name)
    for key, names in by_id.items():
        kept = tuple(one for one in plan.kept if one.name in names)
        found[key] = _Successor(now[names[0]], kept)
    return found


def _joining(model: nn.Module, smaller: nn.Module, plan: CompactionPlan) -> Mapping[int, list[nn.Parameter]]:
    """For the first parameter of each layer that was given a bias: that bias."""
    found: dict[int, list[nn.Parameter]] = {}
    added = {layer_path(name): smaller.get_parameter(name) for name in plan.biases}
    for name, parameter in model.named_parameters():
        bias = added.pop(layer_path(name), None)
        if bias is not None:
            found.setdefault(id(parameter), []).append(bias)
    return found


def _exchanged(
    parameters: list[nn.Parameter], successors: Mapping[int, _Successor], joining: Mapping[int, list[nn.Parameter]]
) -> Iterator[nn.Parameter]:
    for parameter in parameters:
        successor = successors.get(id(parameter))
        yield parameter if successor is None else successor.parameter
        yield from joining.get(id(parameter), [])


def _cut_state(remembered: object, parameter: Tensor, successor: _Successor) -> object:
    """The state of the smaller parameter; None: it starts afresh."""
    if not successor.kept or not isinstance(remembered, dict):
        return remembered
    state = cast("dict[str, object]", remembered)
    odd = [value for value in state.values() if isinstance(value, Tensor) and value.shape != parameter.shape]
    if any(value.numel() > 1 for value in odd):
        return None
    return {key: _cut_value(value, parameter, successor.kept) for key, value in state.items()}


def _cut_value(value: object, parameter: Tensor, kept: tuple[Kept, ...]) -> object:
    alike = isinstance(value, Tensor) and value.shape == parameter.shape
    return cut(cast(Tensor, value), kept) if alike else value
