"""What biases take over from constants that are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from budbreak.compaction.columns import ROUGH, Columns, Slot, Verdict

_FOLDED = torch.tensor([Verdict.FOLDED, *ROUGH])


def folded(columns: Sequence[Columns], gone: Mapping[Slot, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """What each bias takes over.

    Args:
        columns: of all calls of layers.
        gone: for each parameter and dimension the indices that are cut.
        sizes: of the biases.

    Returns:
        Name of a bias -> float64 [size], to be added; those that take nothing over are not there.
    """
    found: dict[str, Tensor] = {}
    for one in columns:
        places = _cut_places(one, gone)
        places = places[torch.isin(one.verdicts[places], _FOLDED)]
        if one.target is None or one.amounts is None or not len(places):
            continue
        total = found.setdefault(one.target.name, torch.zeros(sizes[one.target.name], dtype=torch.float64))
        total[list(one.target.indices)] += one.amounts[:, places].sum(1)
    return found


def _cut_places(one: Columns, gone: Mapping[Slot, Tensor]) -> Tensor:
    nothing = torch.zeros(0, dtype=torch.int64)
    found = [places[torch.isin(indices, gone.get(slot, nothing))] for slot, _, places, indices in one.slots]
    return torch.cat([nothing, *found]).unique()
