"""How often each unit fires, counted exactly and cheaply."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budbreak.checks import check_not_negative
from budbreak.errors import MaskMismatch, NotFinite
from budbreak.evidence.evidence import ProbeContext
from budbreak.graph import Feed, Site
from budbreak.masks import UnitLayout

_INTEGERS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
_BLOCK = 1 << 18  # bytes: rows are read once, and looked at several times while a core's cache holds them


@dataclass(frozen=True)
class SiteCounts:
    """How often each output of one site was active.

    Args:
        site: where.
        active: int64 [units, positions]: the number of samples with |output| > threshold.
        samples: how many samples were seen (for outputs whose units lie last: samples x tokens), at least 1.
    """

    site: Site
    active: Tensor
    samples: int


@dataclass(frozen=True)
class UnitCounts:
    """The number of samples in which each output of each nonlinearity is active: site name -> `SiteCounts`.

    active = |output| > threshold. With the default 0.0 inactive means exactly 0, which is "dead" for ReLU and
    ReLU6; a smooth activation needs a threshold > 0. NaN is refused with `NotFinite`; infinity is active.
    Source: PERFORMANCE.md 5: the order of non-negative floats is the order of their bits, so integer views
    compare, and bytes are summed.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        fix = "write threshold=0.0 for ReLU, threshold=0.01, say, for a smooth activation"
        check_not_negative("threshold", self.threshold, fix)

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, SiteCounts]]:
        """See `Probe.start`."""
        running: dict[str, _Running] = {}

        def listen(site: Site, output: Tensor) -> None:
            if site.name not in running:
                running[site.name] = _Running(site, output)
            running[site.name].add(output, self.threshold)

        context.on_activation(listen)
        return lambda: _over_ranks(context, {name: state.result() for name, state in running.items()})

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, SiteCounts]:
        """See `Probe`: ten samples, a site behind each weight whose rows are its units."""
        counts: dict[str, SiteCounts] = {}
        for order, (name, weight) in enumerate(weights.items()):
            outputs = torch.randn(10, weight.shape[0], generator=generator).relu()
            active = torch.from_numpy(count_active(outputs, self.threshold)).reshape(-1, 1)
            site = Site(name.removesuffix(".weight"), Feed(name, UnitLayout(0)), unit_dims=(-1,), order=order)
            counts[site.name] = SiteCounts(site, active, samples=10)
        return counts


def _over_ranks(context: ProbeContext, mine: Mapping[str, SiteCounts]) -> Mapping[str, SiteCounts]:
    """The counts added up over the processes that observe together; one of them may have seen nothing."""
    total: dict[str, SiteCounts] = {}
    for counts in context.processes.exchange("the counts of units", mine):
        for name, count in counts.items():
            before = total.get(name)
            if before is None:
                total[name] = count
            elif before.active.shape == count.active.shape:
                total[name] = SiteCounts(count.site, before.active + count.active, before.samples + count.samples)
            else:
                raise _other_positions(name, tuple(count.active.shape), tuple(before.active.shape))
    return total


class _Running:
    """The counts of one site while batches come in, in the memory order of its outputs."""

    def __init__(self, site: Site, output: Tensor) -> None:
        self.site = site
        self.units_last = not site.unit_dims or -1 in site.unit_dims
        self.shape = self._arranged(output).shape[1:]
        self.channels_last = site.unit_dims == (-3,) and _is_channels_last(output)
        self.active = np.zeros(math.prod(self.shape), dtype=np.int64)
        self.samples = 0

    def add(self, output: Tensor, threshold: float) -> None:
        rows = self._rows(output)
        active, holds_nan = _count(rows, threshold)
        if holds_nan:
            raise NotFinite(
                f"site {self.site.name!r} gave NaN in {int(torch.isnan(rows).sum())} of {rows.numel()} outputs",
                "NaN is neither zero nor active",
                "look for NaN in the batches, or in the weights",
            )
        self.active += active
        self.samples += len(rows)

    def _arranged(self, output: Tensor) -> Tensor:
        """[samples, units] where units lie last, else [samples, ...] with the units where they are."""
        dims = self.site.unit_dims
        if self.units_last:
            units = math.prod(output.shape[dim] for dim in dims)
            if len(dims) > 1:
                output = output.movedim(dims, tuple(range(-len(dims), 0)))
            return output.reshape(-1, units)
        return output.unsqueeze(0) if -output.dim() in dims else output

    def _rows(self, output: Tensor) -> Tensor:
        """[samples, units x positions] without a copy where the memory order allows it."""
        output = self._arranged(output)
        if output.shape[1:] != self.shape:
            raise _other_positions(self.site.name, tuple(output.shape[1:]), tuple(self.shape))
        if self.channels_last:
            output = output.movedim(1, -1)
        return output.reshape(len(output), -1)

    def result(self) -> SiteCounts:
        active = torch.from_numpy(self.active.copy())
        if self.units_last:
            active = active.reshape(-1, 1)
        elif self.channels_last:
            active = active.reshape(*self.shape[1:], self.shape[0]).movedim(-1, 0).reshape(self.shape[0], -1)
        else:
            dims = self.site.unit_dims
            units = math.prod(self.shape[dim] for dim in dims)
            active = active.reshape(self.shape).movedim(dims, tuple(range(len(dims)))).reshape(units, -1)
        return SiteCounts(self.site, active.contiguous(), self.samples)


def _other_positions(site: str, shape: tuple[int, ...], before: tuple[int, ...]) -> MaskMismatch:
    return MaskMismatch(
        f"site {site!r} gave {shape} after {before}",
        "positions can be counted only where every sample has the same shape",
        "resize or group the samples",
    )


def count_active(rows: Tensor, threshold: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64 [columns]: in how many rows |value| > threshold; NaN counts as active.

    Args:
        rows: [rows, columns], any floating dtype, any device.
        threshold: >= 0.
    """
    return _count(rows, threshold)[0]


def _count(rows: Tensor, threshold: float) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], bool]:
    """(see `count_active`, whether there is NaN among the values)."""
    limit = at_most(threshold, rows.dtype)
    if rows.device.type != "cpu" or rows.dtype not in _INTEGERS or rows.numel() == 0:
        active = (~(rows.abs() <= limit)).sum(0).cpu().numpy()  # not ">": NaN counts as active
        return active, bool(torch.isnan(rows).any())
    integer = _INTEGERS[rows.dtype]
    values = rows.contiguous().view(integer).numpy().view(f"u{rows.element_size()}")
    look = _Block(values, int(limit.view(integer)), int(torch.tensor(math.inf, dtype=rows.dtype).view(integer)))
    total, holds_nan = np.zeros(values.shape[1], dtype=np.int64), False
    for first in range(0, len(values), 255):  # a byte holds a sum of 255 ones
        part, counts = values[first : first + 255], np.zeros(values.shape[1], dtype=np.uint8)
        for lo in range(0, len(part), look.rows):
            active, nan = look(part[lo : lo + look.rows])
            counts += np.add.reduce(active, axis=0, dtype=np.uint8)
            holds_nan |= nan
        total += counts
    return total, holds_nan


class _Block:
    """A few rows, looked at several times while a core's cache holds them; memory is used again.

    Args:
        values: the bits of floats.
        limit, infinity: those of the threshold, and of infinity.
    """

    def __init__(self, values: np.ndarray[Any, Any], limit: int, infinity: int) -> None:
        self.rows = max(1, _BLOCK // (values.shape[1] * values.itemsize))
        self._limit, self._infinity = limit, infinity
        self._active = np.empty((self.rows, values.shape[1]), dtype=np.bool_)

    def __call__(self, values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], bool]:
        """(1 where a value is beyond the limit, whether there is NaN)."""
        nan = False
        if int(values.max()) > self._infinity:  # the sign is the highest bit: something is negative, or NaN
            values = values & (np.iinfo(values.dtype).max >> 1)
            nan = int(values.max()) > self._infinity
        return np.greater(values, self._limit, out=self._active[: len(values)]).view(np.uint8), nan


def at_most(threshold: float, dtype: torch.dtype) -> Tensor:
    """The largest value of ``dtype`` that is <= threshold: against it, narrow values compare without rounding."""
    rounded = torch.tensor(threshold, dtype=dtype)
    return torch.nextafter(rounded, torch.zeros_like(rounded)) if float(rounded) > threshold else rounded


def _is_channels_last(output: Tensor) -> bool:
    if output.dim() == 4:
        return output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()
    return False
