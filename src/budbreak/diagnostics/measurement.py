"""What a diagnostic is, and what it gives: numbers that say what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, Probe
from budbreak.masks import Mask

Unit = Literal["share", "count", "seconds", "nats", ""]
Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Quantity:
    """A number that is measured, named once: records, tables, figures and files read this.

    Args:
        name: letters, digits and _, from a letter on; also the column of the CSV, e.g. "dead_units_total".
        label: for people, in lower case, e.g. "total dead neuron rate".
        unit: a "share" is in [0, 1], is written as % and its differences in points; "" has none.
        better: which way is better, "" if neither.
        about: completes a sentence that begins with the label, e.g. "outputs that are zero."; for the page.
        group: the heading under which numbers of one kind are drawn together; "" for a number on its own.
    """

    name: str
    label: str
    unit: Unit = ""
    better: Better = ""
    about: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise InvalidValue(
                f"a quantity is called {self.name!r}",
                "it is a column of tables: letters, digits and _, a letter first",
                f"write {re.sub(r'[^A-Za-z0-9]+', '_', self.name).strip('_') or 'my_number'!r}",
            )


@dataclass(frozen=True)
class Measurement:
    """What a diagnostic found.

    Args:
        numbers: quantity name -> the number for the whole network.
        layers: weight name -> quantity name -> the number for that weight; {} where nothing is measured per layer,
            and without the weights for which there is no answer.
        spectra: weight name -> its singular values in falling order, from a diagnostic that has looked at them.
    """

    numbers: Mapping[str, float]
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    spectra: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])


@runtime_checkable
class Diagnostic(Protocol):
    """What a network is worth beside its accuracy: a frozen value that computes numbers from evidence and mask.

    Pure: the same evidence and mask give the same numbers, and neither is changed. A new one is one file in
    `budbreak.diagnostics`, and its class in `ALL`.
    """

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """What must be observed; it may read nothing else."""
        ...

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The numbers that it gives, the most telling first: that one is drawn where there is room for one."""
        ...

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """The numbers; every name in them is that of one of the quantities.

        Raises:
            MissingEvidence: if a probe was not collected, or saw nothing that it could answer from.
        """
        ...


def needed(diagnostics: Iterable[Diagnostic]) -> tuple[Probe[object], ...]:
    """What all of them need, each probe once."""
    return tuple(dict.fromkeys(probe for diagnostic in diagnostics for probe in diagnostic.needs))


def quantities_of(diagnostics: Iterable[Diagnostic]) -> tuple[Quantity, ...]:
    """The numbers of all of them, in order.

    Raises:
        InvalidValue: if two of them give a number of the same name.
    """
    by_name: dict[str, Quantity] = {}
    for diagnostic in diagnostics:
        for quantity in diagnostic.quantities:
            if quantity.name in by_name:
                raise InvalidValue(
                    f"two diagnostics measure {quantity.name!r}",
                    "a number is named once, or records could not tell the two apart",
                    "measure with one of them, or rename a quantity",
                )
            by_name[quantity.name] = quantity
    return tuple(by_name.values())


def joined(measurements: Iterable[Measurement]) -> Measurement:
    """Several measurements of one network as one.

    >>> joined([Measurement({"a": 1.0}, {"w": {"a": 1.0}}), Measurement({"b": 2.0}, {"w": {"b": 3.0}})]).layers
    {'w': {'a': 1.0, 'b': 3.0}}
    """
    numbers: dict[str, float] = {}
    layers: dict[str, dict[str, float]] = {}
    spectra: dict[str, tuple[float, ...]] = {}
    for measurement in measurements:
        numbers |= measurement.numbers
        spectra |= measurement.spectra
        for name, of_layer in measurement.layers.items():
            layers.setdefault(name, {}).update(of_layer)
    return Measurement(numbers, layers, spectra)
