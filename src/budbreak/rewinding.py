"""Immutable snapshots of a model's whole state, and the way back to them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.errors import InvalidValue, InvariantBroken, MaskMismatch
from budbreak.mask import Mask
from budbreak.prunable import unwrap
from budbreak.storage import tensor_bytes
from budbreak.zeroing import zero_pruned


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
    """A model's parameters and buffers at one moment, with the SHA-256 that proves them unchanged."""

    state: Mapping[str, Tensor]
    digest: str

    @classmethod
    def of(cls, model: nn.Module) -> Snapshot:
        """Copy the whole state of a model; nothing is shared with it."""
        return cls.from_state(unwrap(model).state_dict())

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Snapshot:
        """Copy a state dict."""
        copied = {name: tensor.detach().clone() for name, tensor in state.items()}
        return cls(copied, state_digest(copied))

    def masked(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state with zeros where the entries of a mask, by state_dict name, prune."""
        masked = {name: tensor.clone() for name, tensor in self.state.items()}
        for name, entry in entries.items():
            zero_pruned(masked[name], entry)
        return masked


@torch.no_grad()
def rewind(model: nn.Module, snapshot: Snapshot, mask: Mask) -> str:
    """Return parameters and buffers to the snapshot, pruned weights to zero; both facts are verified.

    The tensors of the model stay the same objects.

    Returns:
        The SHA-256 of the rewound state.

    Raises:
        MaskMismatch: if the snapshot is of another architecture.
        InvariantBroken: if the snapshot was changed since it was taken, or the copy is not exact.
    """
    if state_digest(snapshot.state) != snapshot.digest:
        raise InvariantBroken(
            "the snapshot to rewind to has changed since it was taken", "a snapshot is immutable", "do not write to it"
        )
    _check_fits(model, snapshot.state)
    target = snapshot.masked(_with_tied_names(model, mask))
    load_state(model, target)
    found, wanted = state_digest(unwrap(model).state_dict()), state_digest(target)
    if found != wanted:
        raise InvariantBroken(
            f"after rewinding, the state has hash {found[:12]}, not {wanted[:12]}",
            "rewinding copies every parameter and buffer exactly",
            "weights that are tied now were not tied when the snapshot was taken",
        )
    return found


def _with_tied_names(model: nn.Module, mask: Mask) -> dict[str, Tensor]:
    """The mask's entries under every state_dict name of the weights it covers."""
    entries = {id(parameter): mask[name] for name, parameter in mask.parameters(model).items()}
    named = unwrap(model).named_parameters(remove_duplicate=False)
    return {name: entries[id(parameter)] for name, parameter in named if id(parameter) in entries}


@torch.no_grad()
def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a state dict into the live tensors of a model.

    Raises:
        MaskMismatch: if names or shapes differ.
    """
    _check_fits(model, state)
    for name, tensor in unwrap(model).state_dict().items():
        tensor.copy_(state[name])


def _check_fits(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    live = unwrap(model).state_dict()
    mine = {name: tuple(tensor.shape) for name, tensor in live.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if mine != theirs:
        odd = sorted(set(mine.items()) ^ set(theirs.items()))[0][0]
        raise MaskMismatch(
            f"{odd!r} is {theirs.get(odd, 'absent')} in the state and {mine.get(odd, 'absent')} in the model",
            "a state fits only the architecture that it was taken from",
            "build the model as it was then",
        )


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values, independent of order, device and memory format."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        hasher.update(tensor_bytes(tensor).data)
    return hasher.hexdigest()


@dataclass(frozen=True)
class TrainingState:
    """The state of the optimizer (with its param_groups) and of everything in ``resets``, copied."""

    optimizer: dict[str, Any]
    resets: tuple[Any, ...]

    @classmethod
    def of(cls, optimizer: Optimizer, resets: Sequence[Resettable]) -> TrainingState:
        """Copy it; nothing is shared with the live objects."""
        return cls(copy.deepcopy(optimizer.state_dict()), tuple(copy.deepcopy(_get(item)) for item in resets))

    def restore(self, optimizer: Optimizer, resets: Sequence[Resettable]) -> None:
        """Put it back."""
        optimizer.load_state_dict(copy.deepcopy(self.optimizer))
        _match_memory_format(optimizer)
        for item, state in zip(resets, self.resets, strict=True):
            _set(item, copy.deepcopy(state))


def _match_memory_format(optimizer: Optimizer) -> None:
    """Lay state out in memory as its parameter is: another layout may round differently, and is slower."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def check_resettable(resets: Sequence[object]) -> None:
    """Refuse what has no state to put back.

    Raises:
        InvalidValue: with the type.
    """
    if not isinstance(resets, list | tuple):
        raise InvalidValue(f"resets is a {type(resets).__name__}", "it is a list", "write resets=[scheduler]")
    for item in resets:
        if not isinstance(item, torch.Generator | Stateful):
            raise InvalidValue(
                f"resets holds a {type(item).__name__}",
                "it must be a torch.Generator or have state_dict() and load_state_dict()",
                "wrap it in an object that has both",
            )


def _get(item: Resettable) -> Any:
    return item.get_state() if isinstance(item, torch.Generator) else item.state_dict()


def _set(item: Resettable, state: Any) -> None:
    if isinstance(item, torch.Generator):
        item.set_state(cast(Tensor, state))
    else:
        item.load_state_dict(state)
