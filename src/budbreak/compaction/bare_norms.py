"""Norms without gains and statistics: no tensor says how many units pass them, only a run does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

from budbreak.compaction.surgery import Setting
from budbreak.errors import BudbreakError

_Widths = dict[str, set[int]]


def bare_norm_settings(model: nn.Module, run: Callable[[], object]) -> list[Setting]:
    """The ``num_features`` of norms that fewer units pass than they say; the modules are told before they compute.

    InstanceNorm, which is bare by default, warns at each other number.

    Args:
        model: with cut tensors.
        run: runs it. If that fails, there are none.
    """
    norms = {path: module for path, module in model.named_modules() if isinstance(module, _NormBase)}
    norms = {path: norm for path, norm in norms.items() if not [*norm.parameters(), *norm.buffers()]}
    if not norms:
        return []
    said, seen = {path: norm.num_features for path, norm in norms.items()}, _Widths()
    hooks = [norm.register_forward_pre_hook(partial(_tell, path, seen)) for path, norm in norms.items()]
    try:
        with contextlib.suppress(BudbreakError):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    for path, norm in norms.items():
        norm.num_features = said[path]
    widths = {path: found.pop() for path, found in seen.items() if len(found) == 1}
    return [Setting(path, "num_features", width) for path, width in widths.items() if width < said[path]]


def _tell(path: str, seen: _Widths, norm: _NormBase, inputs: tuple[Any, ...]) -> None:
    dims = inputs[0].dim()
    place = dims - norm._get_no_batch_dim() if isinstance(norm, _InstanceNorm) else 1  # pyright: ignore[reportPrivateUsage]
    norm.num_features = inputs[0].shape[place]
    seen.setdefault(path, set()).add(norm.num_features)
