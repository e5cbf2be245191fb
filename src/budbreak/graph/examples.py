"""A single batch as the model takes it, to look at how it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from budbreak.checks import shown
from budbreak.errors import InvalidValue

_RULE = "an example is a batch as the model takes it: a tensor, a tuple (positional) or a mapping (by keyword)"


def call_example(model: nn.Module, example: Any) -> Any:
    """What the model gives for an example.

    Args:
        model: the module to run.
        example: a tensor, a tuple (positional) or a mapping (by keyword).

    Raises:
        InvalidValue: if the model does not take it.
    """
    try:
        if isinstance(example, Mapping):
            return model(**cast(Mapping[str, Any], example))
        if isinstance(example, tuple) and not isinstance(example, nn.utils.rnn.PackedSequence):
            return model(*cast(tuple[Any, ...], example))
        return model(example)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidValue(
            f"the model does not take the example: {lines[0]}", _RULE, "give what model(...) takes"
        ) from error


def count_samples(example: Any) -> int:
    """The size of the batch: of the first tensor in it."""
    size = _first_size(example)
    if size is None:
        raise InvalidValue(f"the example {shown(example)} holds no tensor", _RULE, "give one batch of inputs")
    if size == 0:
        raise InvalidValue("the example holds no sample", _RULE, "give a batch of at least one")
    return size


def _first_size(example: Any) -> int | None:
    if isinstance(example, nn.utils.rnn.PackedSequence):
        return int(example.batch_sizes[0])
    if isinstance(example, Tensor):
        return len(example) if example.dim() else 1
    if isinstance(example, Mapping):
        example = tuple(cast(Mapping[str, Any], example).values())
    if isinstance(example, tuple | list):
        sizes = map(_first_size, cast(tuple[Any, ...], example))
        return next((size for size in sizes if size is not None), None)
    return None
