"""What was exported as safetensors, back in a network: without a pickle, and only if everything fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from budbreak.checks import check_model
from budbreak.errors import InvariantBroken, MaskMismatch
from budbreak.exporting.nonlinearities import check_nonlinearities
from budbreak.exporting.plans import plan_in
from budbreak.exporting.rounding import fits_rounded
from budbreak.exporting.state import state_of
from budbreak.files import (
    DTYPES,
    EXPORT_AGAIN,
    Array,
    as_path,
    check_readable,
    open_packed,
    reading_exported,
    tensor_bytes,
    tensor_of,
    unpack_tensors,
)
from budbreak.graph import Forward, example_outputs
from budbreak.live import model_digest
from budbreak.masks import copied, unwrap


def load_exported(path: str | Path, model: nn.Module) -> nn.Module:
    """The network in a safetensors file, packed or plain, from an instance of its architecture.

    Args:
        path: of the file, which `export` wrote.
        model: any instance, with whatever weights; it stays as it is. Where a compact model was written with its plan,
            an instance of the dense architecture.

    Returns:
        A copy with the stored weights and buffers, bit for bit, on the device of ``model``; rounded ones in its dtypes.

    Raises:
        MissingData: if there is no file.
        CannotRead: if it is none, or the system refuses.
        CorruptFile: if it was changed, is none of ours, or of a newer version.
        MaskMismatch: if names, shapes, dtypes or nonlinearities are not those of the model.
        InvalidValue: if it is no model, or cannot be copied.
    """
    check_model(model)
    path = as_path(path)
    with reading_exported(path):
        check_readable(path)
        content = open_packed(path)
        plan = plan_in(content[1], path, EXPORT_AGAIN)
    return _fill(copied(unwrap(model)) if plan is None else plan.apply(model), path, content)


def outputs_of_file(path: Path, model: nn.Module, example: Any, forward: Forward | None) -> list[Tensor]:
    """What a model gives on an example after its own file was loaded into it.

    Raises:
        InvariantBroken: if that changed it.
    """
    before = model_digest(model)
    with reading_exported(path):
        content = open_packed(path)
    if model_digest(_fill(model, path, content)) != before:
        rule = "what is written is the model, bit for bit; nothing was left on disk"
        raise InvariantBroken(f"the file of {type(model).__name__} holds other values than the model", rule)
    return example_outputs(model, example, forward)


def _fill(model: nn.Module, path: Path, content: tuple[dict[str, Any], dict[str, Any], Array]) -> nn.Module:
    with reading_exported(path):
        described = _described(*content[:2])
    _check_fits(model, described, content[1])  # before anything of the sizes that the file names is made
    with reading_exported(path):
        check_nonlinearities(content[1], model)
        stored = {name: tensor_of(*entry) for name, entry in unpack_tensors(*content).items()}
    state = {name: stored[name].to(tensor.dtype) for name, tensor in state_of(model).items()}
    model.load_state_dict(state)
    _check_same(model, state)
    return model


def _described(header: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    if "tensors" not in notes:
        return {name: (DTYPES[entry["dtype"]], tuple(entry["shape"])) for name, entry in header.items()}
    described: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for name, *row in notes["tensors"]:
        described[name] = described[row[0]] if len(row) == 1 else (DTYPES[row[0]], tuple(row[1]))
    return described


_Described = tuple[torch.dtype, tuple[int, ...]]


def _check_fits(model: nn.Module, described: Mapping[str, _Described], notes: Mapping[str, Any]) -> None:
    mine = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state_of(model).items()}

    def fits(one: _Described | None, two: _Described | None) -> bool:
        rounded = one is not None and two is not None and one[1] == two[1] and fits_rounded(two[0], one[0], notes)
        return one == two or rounded

    odd = next((name for name in {**mine, **described} if not fits(mine.get(name), described.get(name))), None)
    if odd is not None:
        raise MaskMismatch(
            f"{odd!r} is {_words(described.get(odd))} in the file and {_words(mine.get(odd))} in the model",
            "a file fits only the architecture that it was written from, in its dtypes; nothing is rounded",
            "build the model as it was then: a compact one by plan.apply(model)",
        )


def _words(described: tuple[torch.dtype, tuple[int, ...]] | None) -> str:
    return "absent" if described is None else f"{str(described[0]).removeprefix('torch.')} of shape {described[1]}"


def _check_same(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, tensor in state_of(model).items():
        if not np.array_equal(tensor_bytes(tensor), tensor_bytes(state[name])):
            raise MaskMismatch(
                f"{name!r} of the model holds other values after loading",
                "each tensor of the file has one in the model: ties are where they were, and nothing is computed",
                "build the model as it was then: which of its tensors are the same, or changed by load_state_dict?",
            )
