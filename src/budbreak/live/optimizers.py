"""What an optimizer is made of: those it wraps, and the state that a mask can reach, or cannot."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.masks import zero_pruned

ELEMENTWISE: frozenset[type] = frozenset((
    optim.SGD, optim.Adam, optim.AdamW, optim.Adamax, optim.NAdam, optim.RAdam, optim.Adagrad, optim.Adadelta,
    optim.RMSprop, optim.Rprop, optim.ASGD,
))  # fmt: skip
"""In these, a weight's step depends on its own gradients alone. Subclasses are not meant: they may do anything."""

_ITS_OWN = {"state", "param_groups", "defaults"}


def optimizers_of(optimizer: object) -> tuple[Any, ...]:
    """One optimizer, or a list of several: as a tuple."""
    return tuple(cast(Any, optimizer)) if isinstance(optimizer, list | tuple) else (optimizer,)


def nested(optimizer: object) -> tuple[Any, ...]:
    """An optimizer and those that it wraps (SAM's ``base_optimizer``, Accelerate's ``optimizer``), outermost first.

    Of several: theirs.
    """
    members: list[Any] = [*optimizers_of(optimizer)]
    for member in members:  # which grows meanwhile
        for value in getattr(member, "__dict__", {}).values():
            values = value if isinstance(value, list | tuple) else [value]
            inner = [item for item in values if isinstance(item, Optimizer)]
            members += [item for item in inner if all(item is not known for known in members)]
    return tuple(members)


def steppers(optimizer: object) -> tuple[Optimizer, ...]:
    """Those of `nested` whose steps torch lets us see; the last is the innermost, which steps in any case.

    Raises:
        InvalidValue: if there is none.
    """
    visible = [member for member in nested(optimizer) if hasattr(member, "_optimizer_step_post_hooks")]
    if not visible:
        raise InvalidValue(
            f"optimizer is {shown(optimizer)}",
            "it must be a torch.optim.Optimizer, or an object that holds one in an attribute",
            "write hold(model, optimizer, mask)",
        )
    return tuple(visible)


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside wrappers that have no state of their own (Accelerate's)."""
    inner = getattr(optimizer, "optimizer", None)
    return unwrap_optimizer(inner) if isinstance(inner, Optimizer) and inner.state is optimizer.state else optimizer


def stateful(optimizer: object) -> tuple[Any, ...]:
    """Those of `nested` that have a state of their own, innermost first; of several, those of the first one first."""
    by_state: dict[int, Any] = {}
    for one in optimizers_of(optimizer):
        for member in reversed(nested(one)):
            if hasattr(member, "state") and hasattr(member, "load_state_dict"):
                by_state.setdefault(id(member.state), member)  # Accelerate's shows the one within's as its own
    return tuple(by_state.values())


def groups_of(optimizer: object) -> list[dict[str, Any]]:
    """The param_groups of an optimizer, the outermost where one wraps another; of several, of each."""
    return [group for one in optimizers_of(optimizer) for group in one.param_groups]


def load_optimizers(optimizer: object, states: Sequence[dict[str, Any]]) -> None:
    """Put back what ``state_dict()`` of each of `stateful` gave.

    ``load_state_dict`` casts state to the dtype of the weights and makes new groups and a new state: here, state keeps
    its own dtype, and both stay the same objects, shared where they were shared.
    """
    owners = stateful(optimizer)
    before = [(owner, owner.state, owner.param_groups, list(owner.param_groups)) for owner in owners]
    for owner, saved in zip(owners, states, strict=True):
        owner.load_state_dict(copy.deepcopy(saved))
        _uncast(owner, saved)
        _match_memory_format(owner)
    for owner, state, container, groups in before:
        _refill(state, owner.state)
        for group, loaded in zip(groups, list(owner.param_groups), strict=True):
            _refill(group, loaded)
        container[:] = groups
        owner.state, owner.param_groups = state, container


def _refill(container: dict[Any, Any], content: Mapping[Any, Any]) -> None:
    new = dict(content)
    container.clear()
    container.update(new)


def _uncast(optimizer: Any, saved: dict[str, Any]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    keys = [key for group in saved["param_groups"] for key in group["params"]]
    for parameter, key in zip(parameters, keys, strict=True):
        if parameter in optimizer.state and key in saved["state"]:
            optimizer.state[parameter] = _in_its_dtype(optimizer.state[parameter], saved["state"][key])


def _in_its_dtype(loaded: Any, saved: Any) -> Any:
    """``loaded``, but what was cast is as ``saved``: torch makes "<generator object ...>" of a string."""
    if isinstance(saved, str | bytes):
        return saved
    if isinstance(loaded, Tensor) and isinstance(saved, Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device, copy=True)
    if isinstance(loaded, dict) and isinstance(saved, Mapping):
        return {key: _in_its_dtype(value, saved.get(key)) for key, value in loaded.items()}
    if type(loaded) in (list, tuple) and type(saved) is type(loaded) and len(loaded) == len(saved):
        return type(loaded)(_in_its_dtype(part, saved_part) for part, saved_part in zip(loaded, saved, strict=True))
    return loaded


def _match_memory_format(optimizer: Any) -> None:
    """Lay state out in memory as its parameter is: another layout may round differently, and is slower."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items() if isinstance(state, dict) else ():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def couples(optimizer: object) -> bool:
    """Whether the step of a weight may depend on the gradients of others."""
    return any(type(member) not in ELEMENTWISE for member in nested(optimizer))


def check_reachable(optimizer: object, parameters: Mapping[str, nn.Parameter]) -> None:
    """Refuse state of the weights that lies outside ``optimizer.state``.

    A copy there, such as slow or master weights, would bring pruned weights back; a momentum goes on for them.

    Raises:
        InvalidValue: with the attribute.
    """
    if not parameters:
        return
    ours = {id(tensor) for tensor in (*owned_by(optimizer), *_remembered(optimizer))}
    shapes = {parameter.shape: name for name, parameter in parameters.items()}
    total = sum(parameter.numel() for parameter in parameters.values())
    for member in nested(optimizer):
        for attribute, value in _outside(member):
            for tensor in tensors_in(value):
                if id(tensor) not in ours and (tensor.shape in shapes or tensor.numel() >= total):
                    like = f"of the shape of {shapes[tensor.shape]!r}" if tensor.shape in shapes else "of all weights"
                    raise InvalidValue(
                        f"{type(member).__name__} keeps a tensor {like} in {attribute!r}",
                        "what an optimizer remembers of the weights must be masked, stored and put back with them",
                        "keep it in optimizer.state[parameter]",
                    )


def project_state(optimizer: object, factors: Mapping[nn.Parameter, Tensor], *, forget: bool = True) -> None:
    """Zero what the optimizer remembers of pruned weights; ``forget`` what mixes them with others.

    Tensors of a parameter's own shape are masked. Row and column means (Adafactor), preconditioners (Shampoo), flat
    vectors over several parameters (LBFGS) cannot be: the parameter whose state holds them starts afresh.

    Args:
        optimizer: and those that it wraps.
        factors: the parameters with pruned entries, and what is kept of each.
        forget: False leaves mixed state alone: it knows of kept weights only where gradients were masked.
    """
    if not factors:
        return
    for member in nested(optimizer):
        for parameter, remembered in getattr(member, "state", {}).items():
            if isinstance(parameter, Tensor) and isinstance(remembered, dict):
                state, factor = cast(dict[str, Any], remembered), factors.get(cast(nn.Parameter, parameter))
                if forget and _mixes(state, parameter, pruned=factor is not None):
                    state.clear()
                elif factor is not None:
                    for value in state.values():
                        if _alike(value, parameter):
                            zero_pruned(value, factor)


def _mixes(state: dict[str, Any], parameter: Tensor, *, pruned: bool) -> bool:
    """Whether the state says something of pruned weights that no mask can take out.

    One number (a count of steps) does not; nor does anything of a parameter without pruned entries, as long as it
    is not longer than that: LBFGS keeps its vectors over all parameters at the first.
    """
    odd = [tensor for value in state.values() if not _alike(value, parameter) for tensor in tensors_in(value)]
    return any(tensor.numel() > (1 if pruned else parameter.numel()) for tensor in odd)


def _alike(value: object, parameter: Tensor) -> bool:
    """Whether it has a number for each weight; a symmetric matrix, such as Shampoo's, has one for each pair of rows."""
    number = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())  # no codes of 8 bits
    return number and cast(Tensor, value).shape == parameter.shape and not _is_symmetric(cast(Tensor, value))


def _is_symmetric(value: Tensor) -> bool:
    square = value.dim() == 2 and value.shape[0] == value.shape[1] > 1
    return square and bool(value.any()) and torch.allclose(value, value.t(), rtol=1e-3, atol=0.0)


def owned_by(optimizer: object) -> Iterator[nn.Parameter]:
    """The parameters in the groups of an optimizer and of those that it wraps; some of them twice."""
    for member in nested(optimizer):
        for group in getattr(member, "param_groups", ()):
            yield from group["params"]


def _remembered(optimizer: object) -> Iterator[Tensor]:
    """The state of parameters: a wrapper may have it as an attribute as well (Lookahead's ``fast_state``)."""
    for member in nested(optimizer):
        for key, value in getattr(member, "state", {}).items():
            if isinstance(key, Tensor):
                yield from tensors_in(value)


def _outside(member: object) -> Iterator[tuple[str, object]]:
    """The attributes in which an optimizer may keep state of its own, and state that is no parameter's."""
    if type(member) in ELEMENTWISE:
        return
    yield from ((name, value) for name, value in getattr(member, "__dict__", {}).items() if name not in _ITS_OWN)
    for key, value in getattr(member, "state", {}).items():
        if not isinstance(key, Tensor):
            yield f"state[{key!r}]", value


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors of a nest of containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(item)
