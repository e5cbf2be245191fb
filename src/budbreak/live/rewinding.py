"""Immutable snapshots of a model's whole state, and the way back to them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.checks import check_model, shown
from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.live.modelstate import (
    check_fits,
    extra_states,
    load_state,
    load_transient,
    model_digest,
    model_state,
    state_digest,
    transient_state,
)
from budbreak.live.optimizers import groups_of, load_optimizers, stateful
from budbreak.masks import Mask, check_mask, unwrap, zero_pruned


@runtime_checkable
class Stateful(Protocol):
    """A scheduler, scaler or averaged model: anything that gives its state and takes it back."""

    def state_dict(self) -> Any:
        """The whole state."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take it back."""
        ...


Resettable = Stateful | torch.Generator


@dataclass(frozen=True)
class Snapshot:
    """All that a model is at one moment, with the SHA-256 that proves it unchanged.

    Args:
        state: parameters and buffers, see `model_state`.
        digest: of state and extra.
        extra: see `extra_states`.
    """

    state: Mapping[str, Tensor]
    digest: str
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, model: nn.Module) -> Snapshot:
        """Copy the whole state of a model; nothing is shared with it.

        Raises:
            InvalidValue: if a module's extra state cannot be stored.
        """
        check_model(model)
        state = {name: tensor.clone() for name, tensor in model_state(model).items()}
        extra = extra_states(model)
        return cls(state, state_digest(state, extra), extra)

    def masked(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state with zeros where the entries of a mask, by state_dict name, prune."""
        masked = {name: tensor.clone() for name, tensor in self.state.items()}
        for name, entry in entries.items():
            zero_pruned(masked[name], entry)
        return masked


@torch.no_grad()
def rewind(model: nn.Module, snapshot: Snapshot, mask: Mask) -> str:
    """Return parameters, buffers and extra state to the snapshot, pruned weights to zero; both facts are verified.

    The parameters of the model stay the same objects.

    Returns:
        The SHA-256 of the rewound state.

    Raises:
        InvalidValue: for what is no model, snapshot or mask.
        MaskMismatch: if the snapshot is of another architecture.
        InvariantBroken: if the snapshot was changed since it was taken, or the copy is not exact.
    """
    check_model(model)
    check_mask(mask)
    if not isinstance(snapshot, Snapshot):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(
            f"snapshot is {shown(snapshot)}", "it must be a Snapshot", "take it before training: Snapshot.of(model)"
        )
    if state_digest(snapshot.state, snapshot.extra) != snapshot.digest:
        raise InvariantBroken(
            "the snapshot to rewind to has changed since it was taken", "a snapshot is immutable", "do not write to it"
        )
    check_fits(model, snapshot.state)
    target = snapshot.masked(entries_by_name(model, mask))
    load_state(model, target, extra=snapshot.extra)
    reached, wanted = model_digest(model), state_digest(target, snapshot.extra)
    if reached != wanted:
        raise InvariantBroken(
            f"after rewinding, the state has hash {reached[:12]}, not {wanted[:12]}",
            "rewinding copies every parameter, buffer and extra state exactly",
            "were weights tied since then, or is the model of another dtype now? does set_extra_state set all of it?",
        )
    return reached


def entries_by_name(model: nn.Module, mask: Mask) -> dict[str, Tensor]:
    """The mask's entries under every state_dict name of the weights it covers."""
    entries = {id(parameter): mask[name] for name, parameter in mask.parameters(model).items()}
    named = unwrap(model).named_parameters(remove_duplicate=False)
    return {name: entries[id(parameter)] for name, parameter in named if id(parameter) in entries}


@dataclass(frozen=True)
class TrainingState:
    """The state of optimizers (with their param_groups) and of everything in ``resets``, copied.

    Args:
        optimizers: of each optimizer, after those that it wraps.
        resets: of each, in order.
    """

    optimizers: tuple[dict[str, Any], ...]
    resets: tuple[Any, ...]

    @classmethod
    def of(cls, optimizers: Sequence[Optimizer], resets: Sequence[Resettable]) -> TrainingState:
        """Copy it; nothing is shared with the live objects."""
        return cls(
            tuple(copy.deepcopy(member.state_dict()) for member in stateful(optimizers)),
            tuple(copy.deepcopy(_get(item)) for item in resets),
        )

    def groups(self, optimizers: Sequence[Optimizer]) -> list[dict[str, Any]]:
        """The param_groups that these optimizers had (of the outermost, where one wraps another)."""
        ends = itertools.accumulate(len(stateful(optimizer)) for optimizer in optimizers)
        return [group for end in ends for group in self.optimizers[end - 1]["param_groups"]]

    def restore(self, optimizers: Sequence[Optimizer], resets: Sequence[Resettable]) -> None:
        """Put it back, bit for bit; the dictionaries of the groups stay the same objects.

        Raises:
            InvalidValue: see `check_groups`.
        """
        self.check_groups(optimizers)
        load_optimizers(optimizers, self.optimizers)
        for item, state in zip(resets, self.resets, strict=True):
            _set(item, copy.deepcopy(state))

    def check_groups(self, optimizers: Sequence[Optimizer]) -> None:
        """Refuse optimizers that were given more parameters since, or fewer: their state cannot be put back.

        Raises:
            InvalidValue: with the numbers of parameters in their groups, then and now.
        """
        now = [len(group["params"]) for group in groups_of(optimizers)]
        then = [len(group["params"]) for group in self.groups(optimizers)]
        if now != then:
            raise InvalidValue(
                f"the optimizer's groups hold {now} parameters, not {then}",
                "each level begins with the groups that the optimizer had at the rewind point",
                "add all groups before iterate(...); to unfreeze later, give a group lr=0 or set requires_grad",
            )


def check_resettable(resets: Sequence[object]) -> None:
    """Refuse what has no state to put back.

    Raises:
        InvalidValue: with the type.
    """
    if not isinstance(resets, list | tuple):
        raise InvalidValue(f"resets is a {type(resets).__name__}", "it is a list", "write resets=[scheduler]")
    for item in resets:
        if isinstance(item, type) or not isinstance(item, torch.Generator | Stateful):
            raise InvalidValue(
                f"resets holds {shown(item)}",
                "it must be a torch.Generator or have state_dict() and load_state_dict()",
                "wrap it in an object that has both",
            )


def _get(item: Resettable) -> Any:
    if isinstance(item, torch.Generator):
        return item.get_state()
    if isinstance(item, nn.Module):  # an average; it may have buffers that its state_dict leaves out
        return {"state": item.state_dict(), "transient": transient_state(item)}
    return item.state_dict()


def _set(item: Resettable, state: Any) -> None:
    if isinstance(item, torch.Generator):
        item.set_state(cast(Tensor, state))
    elif isinstance(item, nn.Module):
        item.load_state_dict(state["state"])
        load_transient(item, state["transient"])
    else:
        item.load_state_dict(state)
