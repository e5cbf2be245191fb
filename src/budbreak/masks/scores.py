"""How much each weight matters: scores that are computed slice by slice, and never stored whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.checks import shown
from budbreak.errors import InvalidValue, MaskMismatch, UnknownName, did_you_mean

ScoreSlice = Callable[[int, int], Tensor]
"""``score(lo, hi)``: the scores of elements lo..hi in logical C order, a flat floating tensor."""


@dataclass(frozen=True)
class Score:
    """The scores of one weight.

    Args:
        shape: the shape of the weight.
        open: makes the slicer; called once for each pass over the weight, so that what it prepares (a
            contiguous copy of a channels_last weight, say) lives no longer than that pass.
        pick: ``pick(places)``: the scores of single elements, at int64 flat indices; None where few of them would cost
            as much as all. A sample is taken by it, instead of blocks that may lie within few rows.
        spared: whether it is known beforehand that all are +inf: where a target is divided over layers, this weight
            keeps all, and the others divide what is left.
    """

    shape: torch.Size
    open: Callable[[], ScoreSlice]
    pick: Callable[[Tensor], Tensor] | None = field(default=None, kw_only=True)
    spared: bool = field(default=False, kw_only=True)

    def tensor(self) -> Tensor:
        """All scores of this weight at once, in its shape."""
        return self.open()(0, self.shape.numel()).reshape(self.shape)


class Scores(Mapping[str, Score]):
    """Weight name -> `Score`; higher = keep, +inf = never prune, NaN is refused by `select`."""

    def __init__(self, entries: Mapping[str, Score]) -> None:
        self._entries = dict(entries)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Scores:
        """Scores that exist as tensors.

        >>> Scores.of({"w": torch.tensor([3.0, 1.0])})["w"].tensor()
        tensor([3., 1.])
        """
        return cls.elementwise(lambda score: score, tensors)

    @classmethod
    def elementwise(cls, formula: Callable[..., Tensor], *operands: Mapping[str, Tensor]) -> Scores:
        """Scores by a formula that sees flat slices, at least float32, of one weight's operands.

        Args:
            formula: as many flat tensors as there are operands -> a flat tensor of the same length.
            operands: name -> tensor; all with the names and shapes of the first. One that `Tensor.expand` gave (a
                number for each row or column) is never copied whole.

        Raises:
            InvalidValue: if an operand is no mapping.
            UnknownName: if an operand lacks a name of the first.
            MaskMismatch: if shapes differ.
        """
        for operand in operands:
            if not isinstance(operand, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidValue(f"scores of {shown(operand)}", "it must be a mapping", "write {name: tensor}")
        first = operands[0]
        return cls(
            {name: _entry(formula, [_take(operand, name, first[name]) for operand in operands]) for name in first}
        )

    def __getitem__(self, name: str) -> Score:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _take(operand: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    if name not in operand:
        raise UnknownName(
            f"no entry {name!r} to score with",
            "every operand covers the same weights",
            did_you_mean(name, operand) or "give every operand the same names",
        )
    if operand[name].shape != like.shape:
        raise MaskMismatch(
            f"{name!r} has shapes {tuple(operand[name].shape)} and {tuple(like.shape)}",
            "the operands of a score have the shape of the weight",
        )
    return operand[name]


def _entry(formula: Callable[..., Tensor], tensors: list[Tensor]) -> Score:
    def open_slices() -> ScoreSlice:
        slicers = [_slices(tensor.detach()) for tensor in tensors]
        return lambda lo, hi: formula(*(_at_least_float32(values(lo, hi)) for values in slicers))

    def pick(places: Tensor) -> Tensor:
        return formula(*(_at_least_float32(tensor.detach().take(places.to(tensor.device))) for tensor in tensors))

    return Score(tensors[0].shape, open_slices, pick=pick)


def _slices(tensor: Tensor) -> ScoreSlice:
    """Flat slices in logical order; of an expanded tensor, which would be a weight's size, no more than their rows."""
    if 0 not in tensor.stride() or not tensor.numel():
        flat = tensor.reshape(-1)
        return lambda lo, hi: flat[lo:hi]
    length = tensor[0].numel()

    def rows(lo: int, hi: int) -> Tensor:
        first = lo // length
        return tensor[first : -(-hi // length)].reshape(-1)[lo - first * length : hi - first * length]

    return rows


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
