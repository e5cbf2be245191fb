"""From the units that go to a plan, and to the smaller model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from budbreak.compaction.choosing import Choice
from budbreak.compaction.columns import Columns, Slot
from budbreak.compaction.folding import folded
from budbreak.compaction.headcounts import head_settings
from budbreak.compaction.plan import CompactionPlan, shapes_of
from budbreak.compaction.surgery import Kept, add_biases, cut_tensors, put_settings, settings_of, tensor_of
from budbreak.masks import copied


def build(model: nn.Module, columns: Sequence[Columns], choices: Sequence[Choice]) -> tuple[CompactionPlan, nn.Module]:
    """The plan, and the smaller model.

    Args:
        model: the dense one, which stays as it is.
        columns: of it.
        choices: which units go.
    """
    shapes = shapes_of(model)
    gone = gone_of(choices)
    kept = [Kept(*slot, _rest(shapes[slot[0]][slot[1]], indices)) for slot, indices in gone.items()]
    targets = {one.target.name: one for one in columns if one.target is not None}
    sizes = {
        name: max(one.target.indices) + 1 if one.target and one.target.added else shapes[name][0]
        for name, one in targets.items()
    }
    amounts = folded(columns, gone, sizes)
    added = [name for name in amounts if name not in shapes]
    smaller = copied(model)
    heads = [setting for choice in choices for setting in head_settings(smaller, choice)]
    cut_tensors(smaller, kept)
    settings = [*settings_of(smaller, kept, shapes), *heads]
    put_settings(smaller, settings)
    add_biases(smaller, added)
    _take_over(smaller, amounts, gone, targets)
    return CompactionPlan(shapes, tuple(kept), tuple(settings), tuple(added)), smaller


def gone_of(choices: Sequence[Choice]) -> dict[Slot, Tensor]:
    """For each parameter or buffer, and dimension: the indices that are cut."""
    found: dict[Slot, set[int]] = {}
    for choice in choices:
        for slot, indices in choice.cuts():
            found.setdefault(slot, set()).update(indices)
    return {slot: torch.tensor(sorted(indices)) for slot, indices in found.items() if indices}


@torch.no_grad()
def _take_over(
    model: nn.Module, amounts: Mapping[str, Tensor], gone: Mapping[Slot, Tensor], targets: Mapping[str, Columns]
) -> None:
    for name, amount in amounts.items():
        bias, one = tensor_of(model, name), targets[name]
        if one.target is not None and one.target.added:
            ((slot, indices),) = one.units[:1]
            amount = amount[~torch.isin(indices, gone.get(slot, torch.zeros(0, dtype=torch.int64)))]
        elif (name, 0) in gone:
            amount = amount[list(_rest(len(amount), gone[name, 0]))]
        bias.copy_((bias.double() + amount.to(bias.device)).to(bias.dtype))


def _rest(size: int, gone: Tensor) -> tuple[int, ...]:
    left = torch.ones(size, dtype=torch.bool)
    left[gone] = False
    return tuple(left.nonzero().flatten().tolist())
