"""Inputs on which a compact model is to give what the dense one gives: the example, and others like it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.compaction.gains import sized
from budbreak.compaction.widening import half_of, narrowed
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.graph import (
    Forward,
    check_finite_outputs,
    count_samples,
    example_outputs,
    tensors_of,
    too_far,
    with_tensors,
)


@dataclass(frozen=True, eq=False)
class Trial:
    """A batch, and what the dense model gives for it.

    Args:
        batch: the example, or one like it.
        expected: outputs.
        tolerances: an output is as it should be if it differs by no more than one of them; see `too_far`.
        words: which batch it is, after what is wrong with it.
        half: the dense model, if it is of half precision and the smaller one to be looked at in that.
    """

    batch: Any = field(repr=False)
    expected: list[Tensor] = field(repr=False)
    tolerances: tuple[float | None, ...]
    words: str = ""
    half: nn.Module | None = field(default=None, repr=False)

    def trouble(self, smaller: nn.Module, forward: Forward | None) -> str:
        """What is wrong with a smaller model, in words; "" if nothing is."""
        try:
            found = _rounded(self.half, smaller, self.batch, forward)
            told = [too_far(self.expected, found, tolerance) for tolerance in self.tolerances]
        except BudbreakError as error:
            told = [str(error).split("\n", 1)[0]]
        return f"{told[0]}{self.words}" if all(told) else ""


def half_trial(dense: nn.Module, example: Any, forward: Forward | None, tolerance: float | None) -> Trial:
    """The example for a model of half precision itself, beside what is compared in float32.

    Raises:
        NotFinite: if it makes no numbers of it.
    """
    dtype = str(half_of(dense)).removeprefix("torch.")
    expected = check_finite_outputs(_rounded(dense, dense, example, forward))
    return Trial(example, expected, (tolerance,), f", in {dtype}", dense)


def _rounded(half: nn.Module | None, model: nn.Module, batch: Any, forward: Forward | None) -> list[Tensor]:
    """Outputs; of a model of half precision in no more than that, whatever they are cast to at the end."""
    if half is None:
        return example_outputs(model, batch, forward)
    dtype = half_of(half)
    found = example_outputs(model if model is half else narrowed(model, half), batch, forward)
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in found]


def trials_of(model: nn.Module, example: Any, forward: Forward | None, tolerance: float | None) -> list[Trial]:
    """The example, and up to two batches like it, which tell what the code decides by its inputs or by their number.

    Of the others, those are there for which the model gives finite outputs; they are held to what rounding may make of
    them, even if ``tolerance`` is less.

    Raises:
        InvalidValue, NotFinite: if the model does not take the example, or makes no numbers of it.
    """
    found = [Trial(example, check_finite_outputs(example_outputs(model, example, forward)), (tolerance,))]
    limits = (None,) if tolerance is None else (None, tolerance)
    for batch in others_like(example):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of inputs that nobody gave
                expected = check_finite_outputs(example_outputs(model, batch, forward))
        except BudbreakError:
            continue
        samples = count_samples(batch)
        words = f", for {samples} sample{'s' * (samples > 1)} drawn at random like the example"
        found.append(Trial(batch, expected, limits, words))
    return found


def others_like(example: Any) -> list[Any]:
    """Two other batches: one sample, and one more than the example has, if all its tensors count samples.

    Floating numbers are normal, of each tensor's mean and standard deviation; those of the second batch are mirrored
    at the mean. Whole numbers, which may be indices, stay, and so do infinite ones.
    """
    try:
        samples = count_samples(example)
    except InvalidValue:  # an object of one's own
        return []
    tensors = tensors_of(example)
    free = all(tensor.dim() and len(tensor) == samples for tensor in tensors)
    larger = sized(example, samples + 1) if free else example
    drawn, mirrored = (_redrawn(larger, sign) for sign in (1, -1))
    return [sized(drawn, 1) if free else drawn, mirrored]


def _redrawn(example: Any, sign: int) -> Any:
    generator = torch.Generator().manual_seed(0)

    def change(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            return tensor
        drawn = torch.randn(tensor.shape, generator=generator).to(tensor)
        spread = tensor.double().std(correction=0).to(tensor.dtype)
        return tensor.mean() + sign * spread * drawn

    return with_tensors(example, change)
