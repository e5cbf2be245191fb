"""Which nonlinearities a network has, in the notes of its file: its tensors do not tell ReLU from GELU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import nn

from budbreak.activations import Activation, ActivationModule
from budbreak.errors import MaskMismatch
from budbreak.exporting.operators import plain

_KEY = "nonlinearities"
_TORCH = nn.ReLU.__module__


def nonlinearity_notes(model: nn.Module) -> dict[str, dict[str, str]]:
    """What a file notes of them."""
    return {_KEY: _found(model)}


def check_nonlinearities(notes: Mapping[str, Any], model: nn.Module) -> None:
    """Refuse a model that has others than the one that was written.

    Raises:
        MaskMismatch: with the first place where they differ.
    """
    noted, mine = notes.get(_KEY), _found(model)
    if noted is None:  # of a state alone
        return
    noted = cast("Mapping[str, str]", noted)
    odd = next((path for path in {**mine, **noted} if mine.get(path) != noted.get(path)), None)
    if odd is not None:
        raise MaskMismatch(
            f"{odd!r} is {noted.get(odd, 'no nonlinearity')} in the file and {mine.get(odd, 'none')} in the model",
            "a file fits only the architecture that it was written from, whose nonlinearities it names",
            "build the model as it was then: one that was searched by replace_activations(model, plan, example=...)",
        )


def nonlinearity_remark(model: nn.Module) -> tuple[str, ...]:
    """What a reader needs to know, in words."""
    ours = sum(isinstance(module, ActivationModule) for module in model.modules())
    if not ours:
        return ()
    return (f"loads into a network with the same {ours} activation{'s' * (ours > 1)} of budbreak, which it names",)


def _found(model: nn.Module) -> dict[str, str]:
    """Path -> what is there, as it is built: defaults are left out, and scalars that the state holds."""
    return {path: said for path, module in model.named_modules() for said in _said(module)}


def _said(module: nn.Module) -> Iterator[str]:
    if isinstance(module, ActivationModule):
        activation = module.activation
        twin = activation if activation.trainable else plain(activation)
        yield from [_of_ours(activation)] if isinstance(twin, ActivationModule | Activation) else _said(twin)
    elif type(module).__module__ == _TORCH and not any(True for _ in module.parameters()):
        names: list[str] = getattr(module, "__constants__", [])
        given = {name: getattr(module, name, None) for name in names if name != "inplace"}
        yield _call(type(module).__name__, given)


def _of_ours(activation: Activation) -> str:
    free = {"trainable", "per", *(activation.scalars if activation.trainable else ())}
    fields = [field for field in dataclasses.fields(activation) if field.name not in free]
    given = {field.name: getattr(activation, field.name) for field in fields}
    odd = {field.name: given[field.name] for field in fields if given[field.name] != field.default}
    return _call(type(activation).__name__, odd)


def _call(name: str, arguments: Mapping[str, object]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
