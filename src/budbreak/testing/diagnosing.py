"""What a diagnostic must hold to."""

from __future__ import annotations

import copy
import math

from budbreak.diagnostics import Diagnostic, Measurement, Quantity
from budbreak.errors import ContractBroken, MissingEvidence
from budbreak.evidence import Evidence, Weights
from budbreak.masks import Mask
from budbreak.testing.promises import alike, are_probes, check_missing, check_value, enough, require


def check_diagnostic(diagnostic: Diagnostic, evidence: Evidence | None = None) -> None:
    """Check the contract of `budbreak.diagnostics.Diagnostic`.

    Besides `check_value`: ``needs`` are probes, and all that it reads; ``quantities`` are at least one, each of another
    name; every number, overall and per weight, is a finite float under the name of a quantity, and every weight is one
    of the mask; the same evidence and mask give the same numbers, and are only read.

    Args:
        diagnostic: the value to check.
        evidence: holds what it needs; `toy_evidence` unless given. Give it for probes of your own, with `Weights`: the
            mask covers these.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(diagnostic)
    kind = type(diagnostic).__name__
    needs, quantities = diagnostic.needs, diagnostic.quantities
    require(are_probes(needs), kind, f"needs a tuple of probes, not {needs!r}", "write needs = (Gradients(),)")
    named = isinstance(quantities, tuple) and all(isinstance(quantity, Quantity) for quantity in quantities)  # pyright: ignore[reportUnnecessaryIsInstance]
    require(named and bool(quantities), kind, "has a tuple of quantities", 'write quantities = (Quantity("a", "a"),)')
    names = [quantity.name for quantity in quantities]
    require(len(set(names)) == len(names), kind, f"names each quantity once, not {names}")
    whole = enough((Weights(), *needs), evidence)
    mask = Mask({name: weight != 0 for name, weight in whole[Weights()].items()})
    sufficient = enough(needs, whole)
    before = copy.deepcopy(sufficient.results)
    measurement = _measured(diagnostic, sufficient, mask)
    _check_numbers(kind, measurement, set(names), mask)
    require(
        _measured(diagnostic, sufficient, mask) == measurement, kind, "measures the same again", "no global randomness"
    )
    require(alike(before, sufficient.results), kind, "only reads the evidence", "clone what you change")
    check_missing(lambda rest: diagnostic(rest, mask), needs, sufficient, kind)


def _measured(diagnostic: Diagnostic, evidence: Evidence, mask: Mask) -> Measurement:
    try:
        return diagnostic(evidence, mask)
    except MissingEvidence as error:
        kind = type(diagnostic).__name__
        raise ContractBroken(f"{kind} reads more than it needs: {error.value}", "needs are all it reads") from None


def _check_numbers(kind: str, measurement: Measurement, names: set[str], mask: Mask) -> None:
    every = [measurement.numbers, *measurement.layers.values()]
    unknown = sorted({name for numbers in every for name in numbers} - names)
    require(not unknown, kind, f"names its quantities, but {unknown} are none of them", "add them to quantities")
    absent = sorted(names - set(measurement.numbers))
    require(not absent, kind, f"gives every quantity for the whole network, but lacks {absent}")
    for name, value in ((name, value) for numbers in every for name, value in numbers.items()):
        finite = isinstance(value, float) and math.isfinite(value)  # pyright: ignore[reportUnnecessaryIsInstance]
        require(finite, kind, f"gives finite floats, but {name!r} is {value!r}", "write float(...)")
    strange = sorted(set(measurement.layers) - set(mask))
    require(not strange, kind, f"gives layers by the names of weights, but {strange} are none")
