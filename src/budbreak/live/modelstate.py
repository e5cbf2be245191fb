"""All that a model is at one moment: parameters, buffers and extra state; its hash, and the way to put it back."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.files import tensor_bytes, tree_digest
from budbreak.masks import unwrap


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a model, live, by its state_dict name; a tied one under each of its names.

    More than `state_dict`: also buffers that are not persistent, which move in training just as well.

    Raises:
        InvalidValue: if one is sparse, quantized or on the meta device: neither hashed nor stored bit for bit.
    """
    state: dict[str, Tensor] = {}
    for prefix, module in unwrap(model).named_modules(remove_duplicate=False):
        begin = f"{prefix}." if prefix else ""
        for tensors in (module._parameters, module._buffers):  # pyright: ignore[reportPrivateUsage]
            state |= {begin + name: tensor.detach() for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise InvalidValue(
                f"{name!r} is a tensor of layout {tensor.layout}, {tensor.dtype}, on {tensor.device}",
                "parameters and buffers are dense tensors with values, so that they can be copied bit for bit",
                "make it dense, or keep it as a plain attribute of its module if it never changes",
            )
    return state


def extra_states(model: nn.Module) -> dict[str, Any]:
    """What modules of a model give by ``get_extra_state``, by the module's name.

    Raises:
        InvalidValue: if something in it cannot be stored, and so neither hashed nor put back.
    """
    states: dict[str, Any] = {}
    for name, module in unwrap(model).named_modules():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            extra = module.get_extra_state()
            try:
                tree_digest(extra)
            except InvalidValue as error:
                raise InvalidValue(
                    f"get_extra_state() of {name!r}: {error.value}",
                    error.rule,
                    "let it return these, so that it can be stored and put back at each level",
                ) from None
            states[name] = copy.deepcopy(extra)
    return states


def state_digest(state: Mapping[str, Tensor], extra: Mapping[str, Any] | None = None) -> str:
    """SHA-256 over names, dtypes, shapes and values, independent of order, device and memory format."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        hasher.update(tensor_bytes(tensor).data)
    for name, value in sorted((extra or {}).items()):
        hasher.update(f"{name}:{tree_digest(value)};".encode())
    return hasher.hexdigest()


def model_digest(model: nn.Module) -> str:
    """SHA-256 of all that a model is now."""
    return state_digest(model_state(model), extra_states(model))


@torch.no_grad()
def load_state(model: nn.Module, state: Mapping[str, Tensor], *, extra: Mapping[str, Any] | None = None) -> None:
    """Copy a state into the live tensors of a model.

    Args:
        model: whose tensors stay the same objects, apart from buffers that are not persistent and had another
            shape when the state was taken, or were absent.
        state: of `model_state`, or a state_dict: then buffers that it does not hold stay as they are.
        extra: of `extra_states`; None if ``state`` is a state_dict.

    Raises:
        MaskMismatch: if names or shapes differ.
    """
    check_fits(model, state)
    load_transient(model, state, complete=extra is not None)
    for name, tensor in model_state(model).items():
        if name in state:
            tensor.copy_(state[name])
    for name, value in (extra or {}).items():
        unwrap(model).get_submodule(name).set_extra_state(copy.deepcopy(value))


def transient_state(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that are not persistent, live, by their names: what a ``state_dict()`` leaves out."""
    buffers = {name: getattr(module, attribute) for name, (module, attribute) in _transient(model).items()}
    return {name: tensor.detach() for name, tensor in buffers.items() if tensor is not None}


@torch.no_grad()
def load_transient(model: nn.Module, state: Mapping[str, Tensor], *, complete: bool = True) -> None:
    """Put them back; ``complete``: one that the state has not was None."""
    for name, (module, attribute) in _transient(model).items():
        buffer, wanted = getattr(module, attribute), state.get(name)
        if wanted is None:
            if complete:
                setattr(module, attribute, None)
        elif buffer is None or buffer.shape != wanted.shape:
            setattr(module, attribute, wanted.to(_device(model), copy=True))
        else:
            buffer.copy_(wanted)


def check_fits(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Refuse the state of another architecture.

    Raises:
        MaskMismatch: with the first name that differs.
    """
    free = _transient(model)
    mine = {name: tuple(tensor.shape) for name, tensor in model_state(model).items() if name not in free}
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items() if name not in free}
    if mine != theirs:
        odd = sorted(set(mine.items()) ^ set(theirs.items()))[0][0]
        raise MaskMismatch(
            f"{odd!r} is {theirs.get(odd, 'absent')} in the state and {mine.get(odd, 'absent')} in the model",
            "a state fits only the architecture that it was taken from",
            "build the model as it was then",
        )


def _transient(model: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """The buffers that are not persistent, also those that are None now: the module and its name for it."""
    return {
        f"{prefix}.{attribute}" if prefix else attribute: (module, attribute)
        for prefix, module in unwrap(model).named_modules(remove_duplicate=False)
        for attribute in module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]
    }


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
