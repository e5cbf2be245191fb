"""Which channels meet in the values of a product of tensors, or of a mean over some dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.graph.spans import Letters


@dataclass(frozen=True, eq=False)
class Met:
    """What meets in each value of a result.

    Args:
        numbers: [operands, ...the result's dimensions]: which channel of an operand, or which of its ``sets`` + 1.
        sets: for each operand whose channels change along what is summed over: [sets, channels]; else None.
    """

    numbers: Tensor
    sets: tuple[Tensor | None, ...]

    def entering(self, columns: Tensor) -> Tensor:
        """(column, channel) of all that enters, int64 [2, pairs], by column.

        Args:
            columns: [operands, count] of different numbers.
        """
        pairs: list[Tensor] = []
        for row, held in zip(columns, self.sets, strict=True):
            channels = row[:, None] if held is None else held[row - 1].where((row > 0)[:, None], 0)
            places = torch.arange(len(row))[:, None].expand_as(channels)
            pairs.append(torch.stack([places.flatten(), channels.flatten()]))
        found = torch.unique(torch.cat(pairs, 1), dim=1)
        return found[:, found[1] != 0]


def contract(labels: Sequence[Tensor], terms: Sequence[Letters], result: Letters) -> Met:
    """What meets in a product.

    Args:
        labels: of the operands.
        terms: their letters.
        result: those of the product; others are summed over.
    """
    summed = [letter for letter in dict.fromkeys(letter for term in terms for letter in term) if letter not in result]
    found = [_numbered(_ordered(*pair, (*result, *summed)), len(summed)) for pair in zip(labels, terms, strict=True)]
    return Met(
        torch.stack(torch.broadcast_tensors(*(numbers for numbers, _ in found))), tuple(held for _, held in found)
    )


def for_heads(labels: Tensor, heads: int) -> Tensor:
    """Of keys and values that several heads of queries share, for each of these."""
    shared = labels.dim() > 2 and 1 < labels.shape[-3] < heads
    return labels.repeat_interleave(heads // labels.shape[-3], -3) if shared else labels


def _ordered(labels: Tensor, term: Letters, order: Letters) -> Tensor:
    """With a dimension for each letter, in order; of size 1 where the term lacks it."""
    held = [letter for letter in order if letter in term]
    turned = labels.permute([term.index(letter) for letter in held])
    return turned.reshape([turned.shape[held.index(letter)] if letter in held else 1 for letter in order])


def _numbered(labels: Tensor, summed: int) -> tuple[Tensor, Tensor | None]:
    flat = labels.reshape(*labels.shape[: labels.dim() - summed], -1)
    if flat.shape[-1] == 1:
        return flat.squeeze(-1), None
    sets, numbers = torch.unique(flat.reshape(-1, flat.shape[-1]), dim=0, return_inverse=True)
    return numbers.reshape(flat.shape[:-1]) + 1, sets
