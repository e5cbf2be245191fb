"""Singular values before and after, for a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from budbreak.checks import check_count
from budbreak.diagnostics.finding import Finding
from budbreak.diagnostics.measurement import Quantity
from budbreak.errors import InvalidValue
from budbreak.lowrank import Ranks, Spectra, spectra_of

T = TypeVar("T")


def spectra_finding(
    spectra: Mapping[str, Ranks | Spectra], label: str = "Spectra before and after", *, most: int | None = None
) -> Finding:
    """What the figure of spectra draws: a line for each moment, a small plot for each weight.

    Args:
        spectra: when -> what was found then: ``{"before": bb.ranks(model), "after": bb.ranks(model, mask=mask)}``, or
            name -> singular values in falling order.
        label: the heading.
        most: so many singular values of a weight at most, at even distances, the first and the last among them.

    Raises:
        InvalidValue: without any moment, or for singular values that do not fall.
    """
    if most is not None:
        check_count("most", most, least=2)
    if not spectra:
        raise InvalidValue("there are no spectra", "a figure shows at least one", 'write {"after": bb.ranks(model)}')
    rows = [
        (when, weight, rank, value)
        for when, found in spectra.items()
        for weight, values in spectra_of(found).items()
        for rank, value in evenly(values, most)
    ]
    moments, weights, places, values = zip(*rows, strict=True)
    columns = {"arm": moments, "layer": weights, "rank": places, "value": values}
    return Finding("spectra", label, Quantity("singular", "singular value"), columns)


def evenly(values: Sequence[T], most: int | None) -> list[tuple[int, T]]:
    """(place from 1 on, value) of the values, or of ``most`` of them at even distances, the first and the last too.

    >>> evenly([8.0, 4.0, 2.0, 1.0, 0.5], 3)
    [(1, 8.0), (3, 2.0), (5, 0.5)]
    """
    last = len(values) - 1
    if most is None or len(values) <= most:
        return list(enumerate(values, start=1))
    places = [round(step * last / (most - 1)) for step in range(most)]
    return [(place + 1, values[place]) for place in places]
