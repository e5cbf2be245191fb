"""How a pruning changes singular values, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from budbreak.checks import check_known, check_not_negative, shown
from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.lowrank.ranks import Ranks, Spectra


@dataclass(frozen=True)
class LayerRatio:
    """The singular values of one weight after something, against those before it.

    Args:
        weight: its state_dict name.
        values: 100 * (after / before - 1) in percent, of those that are left, the largest first: i-th against i-th.
            Infinite where there was none before.
        dropped: how many are not left: at or below the cut.
    """

    weight: str
    values: tuple[float, ...]
    dropped: int

    @property
    def remaining(self) -> int:
        """How many singular values are left."""
        return len(self.values)


@dataclass(frozen=True)
class Ratios(Mapping[str, LayerRatio]):
    """Those of some weights, by name: a mapping, and printed a table."""

    layers: tuple[LayerRatio, ...]

    def __getitem__(self, name: str) -> LayerRatio:
        check_known(f"no weight is named {name!r}", name, list(self))
        return next(layer for layer in self.layers if layer.weight == name)

    def __iter__(self) -> Iterator[str]:
        return (layer.weight for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        """One line a weight: how many are left, and the change of the first, the middle and the last of these."""
        width = max(len("weight"), *(len(name) for name in self))
        lines = [f"{'weight':{width}}  remaining   of    first   middle     last"]
        return "\n".join([*lines, *(_line(layer, width) for layer in self.layers)])


def spectrum_ratios(before: Ranks | Spectra, after: Ranks | Spectra, *, cut: float = 1e-3) -> Ratios:
    """The change of each singular value in percent, as the ratio figures of activation-based pruning show it.

    r[i] = 100 * (after[i] / before[i] - 1), i from the largest on. Values after that are at or below the cut are set to
    0 first, and indices with r = -100 % dropped: those that are left are the "remaining singular values".

    Args:
        before: `ranks`, or name -> singular values in falling order.
        after: the same of the same architecture, later.
        cut: >= 0.

    Raises:
        MaskMismatch: if they are of other weights, or of other numbers of singular values.
        InvalidValue: if singular values do not fall, or the cut is none.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048.
    """
    check_not_negative("cut", cut, "write 0.001")
    first, second = spectra_of(before), spectra_of(after)
    if list(first) != list(second):
        odd = next(iter(sorted({*first} ^ {*second})), "their order")
        raise MaskMismatch(f"before and after differ in {odd!r}", "both are of the same weights", "measure both alike")
    return Ratios(tuple(_ratio(name, first[name], second[name], cut) for name in first))


def spectra_of(found: Ranks | Spectra) -> dict[str, tuple[float, ...]]:
    """Weight name -> singular values; checked.

    Raises:
        InvalidValue: if there is none, or they do not fall.
    """
    spectra = found.spectra if isinstance(found, Ranks) else found
    if not isinstance(spectra, Mapping) or not spectra:  # pyright: ignore[reportUnnecessaryIsInstance]
        rule = "they map names of weights to singular values"
        raise InvalidValue(f"the spectra are {shown(spectra)}", rule, "give bb.ranks(model)")
    return {name: _sorted(name, values) for name, values in spectra.items()}


def _sorted(name: str, values: Iterable[float]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not numbers[-1] >= 0 or not all(a >= b for a, b in pairwise(numbers)):
        value, rule = f"the singular values of {name!r} are not sorted", "they are numbers >= 0 in falling order"
        raise InvalidValue(value, rule, "give bb.ranks(model)")
    return numbers


def _ratio(name: str, before: Sequence[float], after: Sequence[float], cut: float) -> LayerRatio:
    if len(before) != len(after):
        value = f"{name!r} has {len(before)} singular values before and {len(after)} after"
        raise MaskMismatch(value, "i-th stands against i-th of one shape", "measure before layers are made smaller")
    left = [(old, new) for old, new in zip(before, after, strict=True) if new > cut]
    values = tuple(100 * (new / old - 1) if old else float("inf") for old, new in left)
    return LayerRatio(name, values, len(before) - len(left))


def _line(layer: LayerRatio, width: int) -> str:
    shown = [layer.values[place] for place in (0, layer.remaining // 2, -1)] if layer.values else []
    changes = "".join(f"{value:+8.1f} " for value in shown)
    return f"{layer.weight:{width}}  {layer.remaining:9d}{layer.remaining + layer.dropped:5d} {changes}".rstrip()
