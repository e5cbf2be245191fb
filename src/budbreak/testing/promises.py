"""What every contract is checked with."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from budbreak.errors import ContractBroken, MissingEvidence
from budbreak.evidence import Evidence, Need, Observer, Probe
from budbreak.testing.toys import toy_evidence


def check_value(value: object) -> None:
    """Check what is asked of everything pluggable: a frozen dataclass, equal by value, hashable, printable.

    Its repr, read as Python with the names of its module, gives an equal value; so does pickle, because
    plans travel to other processes.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    kind = type(value).__name__
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise ContractBroken(f"{kind} is no dataclass", "a plug-in is a frozen value", "write @dataclass(frozen=True)")
    parameters = getattr(value, "__dataclass_params__", None)
    require(getattr(parameters, "frozen", False), kind, "is frozen", "write @dataclass(frozen=True)")
    twin = dataclasses.replace(value)
    require(twin is not value and twin == value, kind, "equals another one with the same fields")
    require(_hash(twin) == _hash(value), kind, "hashes by its fields", "use tuples instead of lists and dicts")
    require(_pickled(value) == value, kind, "survives pickle")
    require(_from_repr(value) == value, kind, "is spelt out by its repr", "show every field in it")


def require(holds: bool, kind: str, promise: str, fix: str = "") -> None:
    """Raise `ContractBroken` with the promise, unless it holds."""
    if not holds:
        raise ContractBroken(f"{kind} breaks its contract", f"promised: it {promise}", fix)


def are_probes(needs: object) -> bool:
    """Whether it is a tuple of hashable probes."""
    return isinstance(needs, tuple) and all(
        isinstance(probe, Probe | Observer) and _hash(probe) is not None for probe in needs
    )


def enough(needs: tuple[Need, ...], evidence: Evidence | None) -> Evidence:
    """The evidence of these probes alone; drawn by their own examples where none is given."""
    try:
        if evidence is None:
            return toy_evidence(probes=needs)
        return Evidence({probe: evidence[probe] for probe in needs})
    except MissingEvidence as error:
        rule = "evidence is given, or drawn by the example(weights, generator) of each probe"
        raise ContractBroken(error.value, rule, "give evidence=") from None


def check_missing(read: Callable[[Evidence], object], needs: tuple[Need, ...], evidence: Evidence, kind: str) -> None:
    """Check that ``read`` raises `MissingEvidence` where one of its needs is not there."""
    for missing in needs:
        rest = Evidence({probe: evidence[probe] for probe in evidence if probe != missing})
        try:
            read(rest)
        except MissingEvidence:
            continue
        except Exception as error:
            raise ContractBroken(
                f"{kind} without {missing} fails by {error!r}", "it must raise MissingEvidence", "read evidence[probe]"
            ) from error
        raise ContractBroken(f"{kind} does not miss {missing}", "needs are what it reads", f"leave {missing} out of it")


def alike(first: object, second: object) -> bool:
    """Whether two results are equal, tensors by their values."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return list(first) == list(second) and all(alike(first[key], second[key]) for key in first)
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        return all(
            alike(getattr(first, field.name), getattr(second, field.name)) for field in dataclasses.fields(first)
        )
    return first == second


def _hash(value: object) -> int | None:
    try:
        return hash(value)
    except TypeError as error:
        raise ContractBroken(f"{type(value).__name__} has no hash ({error})", "a plug-in is hashable") from None


def _pickled(value: object) -> object:
    try:
        return pickle.loads(pickle.dumps(value))
    except Exception as error:
        kind = type(value).__name__
        raise ContractBroken(f"{kind} cannot be pickled ({error})", "plans travel", "hold no lambda, no file") from None


def _from_repr(value: object) -> object:
    names = {**vars(sys.modules[type(value).__module__]), type(value).__name__: type(value)}
    try:
        return eval(repr(value), names)
    except Exception as error:
        raise ContractBroken(
            f"{value!r} cannot be read back ({error})", "promised: it is spelt out by its repr"
        ) from None
