"""Singular values before and after, for a figure."""

from __future__ import annotations

from collections.abc import Mapping

from budbreak.diagnostics.finding import Finding
from budbreak.diagnostics.measurement import Quantity
from budbreak.errors import InvalidValue
from budbreak.lowrank import Ranks, Spectra, spectra_of


def spectra_finding(spectra: Mapping[str, Ranks | Spectra], label: str = "Spectra before and after") -> Finding:
    """What the figure of spectra draws: a line for each moment, a small plot for each weight.

    Args:
        spectra: when -> what was found then: ``{"before": bb.ranks(model), "after": bb.ranks(model, mask=mask)}``, or
            name -> singular values in falling order.
        label: the heading.

    Raises:
        InvalidValue: without any moment, or for singular values that do not fall.
    """
    if not spectra:
        raise InvalidValue("there are no spectra", "a figure shows at least one", 'write {"after": bb.ranks(model)}')
    rows = [
        (when, weight, rank, value)
        for when, found in spectra.items()
        for weight, values in spectra_of(found).items()
        for rank, value in enumerate(values, start=1)
    ]
    moments, weights, places, values = zip(*rows, strict=True)
    columns = {"arm": moments, "layer": weights, "rank": places, "value": values}
    return Finding("spectra", label, Quantity("singular", "singular value"), columns)
