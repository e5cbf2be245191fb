"""In which order probes look, and which of them share a pass over the batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from budbreak.checks import check_known, check_number
from budbreak.errors import InvalidValue
from budbreak.evidence.evidence import Probe


@dataclass(frozen=True)
class Conditions:
    """How the network runs in a pass; probes share one only under the same.

    Args:
        mode: "eval" or "train".
        temperature: outputs are divided by it before the loss, > 0.
    """

    mode: str = "eval"
    temperature: float = 1.0

    @classmethod
    def of(cls, probe: Probe[object]) -> Conditions:
        """Those that a probe names.

        Raises:
            UnknownName, InvalidValue: if it names no such mode, or its temperature is none.
        """
        mode, temperature = getattr(probe, "mode", "eval"), getattr(probe, "temperature", 1.0)
        check_known(f"the mode of {probe} is {mode!r}", mode, ("eval", "train"))
        check_number(f"the temperature of {probe}", temperature, usual="1.0", zero=False)
        return cls(mode, float(temperature))


@dataclass(frozen=True)
class Step:
    """Probes that look at the same time.

    Args:
        probes: which.
        conditions: of their pass over the batches; None: they need none.
    """

    probes: tuple[Probe[object], ...]
    conditions: Conditions | None


def before(probe: Probe[object]) -> tuple[Probe[object], ...]:
    """The probes whose results it reads."""
    return tuple(getattr(probe, "after", ()))


def with_earlier(probes: Iterable[Probe[object]]) -> list[Probe[object]]:
    """These and all that must come before them, each once, the earlier first.

    Raises:
        InvalidValue: for a probe that must come before itself.
    """
    found: dict[Probe[object], None] = {}

    def visit(probe: Probe[object], path: tuple[Probe[object], ...]) -> None:
        if probe in path:
            rule = "what comes before a probe never comes after it"
            raise InvalidValue(f"{probe} must come before itself", rule, "mend its after")
        for earlier in before(probe):
            visit(earlier, (*path, probe))
        found[probe] = None

    for probe in probes:
        visit(probe, ())
    return list(found)


def in_steps(conditions: Mapping[Probe[object], Conditions | None]) -> list[Step]:
    """All probes in steps, with as few passes over the batches as there can be.

    Args:
        conditions: of each probe, and of all that must come before it; None: it needs no pass.
    """
    return _steps(list(conditions), frozenset(), conditions)


def _steps(
    left: Sequence[Probe[object]],
    done: Collection[Probe[object]],
    conditions: Mapping[Probe[object], Conditions | None],
) -> list[Step]:
    """Whatever can look now under the same conditions does; where there is a choice, the shortest way."""
    if not left:
        return []
    ready = [probe for probe in left if all(earlier in done for earlier in before(probe))]
    kinds = dict.fromkeys(conditions[probe] for probe in ready)
    ways: list[list[Step]] = []
    for kind in [None] if None in kinds else kinds:
        now = tuple(probe for probe in ready if conditions[probe] == kind)
        rest = [probe for probe in left if probe not in now]
        ways.append([Step(now, kind), *_steps(rest, {*done, *now}, conditions)])
    return min(ways, key=_passes)


def _passes(steps: Sequence[Step]) -> int:
    return sum(step.conditions is not None for step in steps)
