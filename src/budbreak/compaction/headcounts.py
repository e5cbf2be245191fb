"""How many heads attention has, and how wide they are together, as its modules keep it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from budbreak.compaction.choosing import Choice
from budbreak.compaction.heads import can_lose_heads
from budbreak.compaction.surgery import Setting, layer_path

_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads")
_WIDTHS = ("all_head_size", "inner_dim", "split_size")


def head_settings(model: nn.Module, choice: Choice) -> list[Setting]:
    """The attributes of modules that count the heads, if the units of a group are heads.

    They are sought in the layers that make them and in the two modules around these, and only where calls were given
    sizes. Whether they are right, the smaller model tells when it runs.

    Args:
        model: before anything is cut.
        choice: which units of the group go.
    """
    if not choice.group.sizes:
        return []
    gone, size = int(choice.gone.sum()), choice.group.size
    widths = {size * len(member.indices[0]): len(member.indices[0]) for member in choice.group.members}
    found: dict[tuple[str, str], Setting] = {}
    for path in _around(choice):
        own = vars(module := model.get_submodule(path))
        if isinstance(module, nn.MultiheadAttention) and not can_lose_heads(module):
            continue
        for name in _COUNTS:
            if own.get(name) == size:
                found[path, name] = Setting(path, name, size - gone)
        for name in _WIDTHS:
            if own.get(name) in widths:
                found[path, name] = Setting(path, name, (size - gone) * widths[own[name]])
    return list(found.values())


def _around(choice: Choice) -> Iterator[str]:
    for member in choice.group.members:
        if member.makes:
            path = layer_path(member.name)
            for _ in range(3):
                yield path
                path = path.rpartition(".")[0]
