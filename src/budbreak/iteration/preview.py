"""What a plan will do, as a table, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from budbreak.mask import Mask
from budbreak.prunable import unwrap

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COUNTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


class Counts(Protocol):
    """What a row needs of a `LevelTarget`."""

    @property
    def level(self) -> int: ...  # noqa: D102
    @property
    def keep(self) -> int: ...  # noqa: D102
    @property
    def host(self) -> int: ...  # noqa: D102
    @property
    def shares(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class PreviewRow:
    """One level: ``keep`` stay, ``host`` and ``follow_ups`` go; ``macs`` per sample or None; ``trainings``."""

    level: int
    density: float
    keep: int
    host: int
    follow_ups: int
    macs: int | None
    trainings: int


@dataclass(frozen=True)
class Preview:
    """The table of a plan; `str` prints it. 1 MAC = 2 FLOPs."""

    rows: tuple[PreviewRow, ...]
    prunable: int
    dense_macs: int | None

    def __str__(self) -> str:
        """One line a level."""
        lines = [
            "level   lambda       keep   host removes   then   trainings"
            + ("   MACs/sample" if self.dense_macs else "")
        ]
        for row in self.rows:
            macs = "" if row.macs is None else f"   {row.macs:11,d}"
            lines.append(
                f"{row.level:5d}  {row.density:6.2%}  {row.keep:9,d}  {row.host:13,d}  {row.follow_ups:5,d}"
                f"   {row.trainings:9d}{macs}"
            )
        lines.append(f"{self.prunable:,d} prunable; {sum(row.trainings for row in self.rows)} trainings")
        if self.dense_macs is not None:
            lines.append(f"{self.dense_macs:,d} MACs dense (1 MAC = 2 FLOPs); above: if every layer had density lambda")
        return "\n".join(lines)


def preview_rows(
    targets: Sequence[Counts], mask: Mask, macs: Mapping[str, int] | None, trainings: Sequence[int]
) -> Preview:
    """Put counts and MACs together; layers that the mask does not cover keep all their MACs."""
    total = targets[0].keep
    fixed = 0 if macs is None else sum(count for name, count in macs.items() if name not in mask)
    sparse = 0 if macs is None else sum(count for name, count in macs.items() if name in mask)
    rows = [
        PreviewRow(
            level=t.level,
            density=t.keep / total,
            keep=t.keep,
            host=t.host,
            follow_ups=sum(t.shares),
            macs=None if macs is None else fixed + round(sparse * t.keep / total),
            trainings=count,
        )
        for t, count in zip(targets, trainings, strict=True)
    ]
    return Preview(tuple(rows), mask.total, None if macs is None else fixed + sparse)


@torch.no_grad()
def macs_by_weight(model: nn.Module, example: Any) -> dict[str, int]:
    """Multiply-accumulates per sample of each Linear and Conv weight, from one forward pass in eval mode.

    Args:
        model: the live model; left as it was.
        example: a batch of inputs, batch first; a tuple is passed as positional arguments.
    """
    live = unwrap(model)
    names = {id(parameter): name for name, parameter in live.named_parameters()}
    found: dict[str, int] = {}
    handles: list[RemovableHandle] = []
    modes = [(module, module.training) for module in live.modules()]
    inputs = example if isinstance(example, tuple) else (example,)

    def count(module: nn.Module, entered: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        if isinstance(weight, Tensor) and id(weight) in names:
            # a transposed convolution uses its kernel once for each input position, the others for each output
            positions = _positions(entered[0] if isinstance(module, _TRANSPOSED) else output, module)
            found[names[id(weight)]] = found.get(names[id(weight)], 0) + weight.numel() * positions

    try:
        live.eval()
        handles.extend(module.register_forward_hook(count) for module in live.modules() if isinstance(module, _COUNTED))
        live(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return found


def _positions(tensor: Tensor, module: nn.Module) -> int:
    """How many places of one sample the kernel is applied to."""
    units = tensor.shape[-1] if isinstance(module, nn.Linear) else tensor.shape[1]
    return tensor.numel() // tensor.shape[0] // units
