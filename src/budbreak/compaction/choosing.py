"""Which units go, and why others stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from budbreak.compaction.columns import ROUGH, SAID, Slot, Verdict
from budbreak.graph import Group, Node

OUTPUT = "is an output of the model"


@dataclass(frozen=True)
class Left:
    """Units that stay.

    Args:
        name: of the first weight that makes them; where connections are dropped, of the one that reads them.
        units: how many of them nothing reads, or nothing feeds.
        of: how many there are.
        why: they stay.
    """

    name: str
    units: int
    of: int
    why: str

    def __str__(self) -> str:
        """In a line."""
        which = f"{self.units} dead of {self.of} units stay" if self.units else f"all {self.of} units stay"
        return f"{self.name}: {which}: {self.why}"


@dataclass(frozen=True, eq=False)
class Choice:
    """The units of one group that go.

    Args:
        group: of the graph.
        gone: bool [units].
    """

    group: Group
    gone: Tensor

    @property
    def name(self) -> str:
        """Of the first weight that makes them."""
        return name_of(self.group)

    def cuts(self) -> Iterator[tuple[Slot, list[int]]]:
        """For each member of the group the indices that go."""
        gone = self.gone.nonzero().flatten().tolist()
        for member in self.group.members:
            yield (member.name, member.dim), [index for unit in gone for index in member.indices[unit]]


def name_of(group: Group) -> str:
    """The first weight that makes the units of a group."""
    return next((member.name for member in group.members if member.makes), group.members[0].name)


def choose(
    groups: Sequence[Group], verdicts: Mapping[Slot, Tensor], staying: Mapping[str, str], *, rough: bool
) -> tuple[list[Choice], list[Left]]:
    """Which units can go, of all groups.

    Args:
        groups: of the graph.
        verdicts: on each column, see `columns.by_slot`.
        staying: names of parameters that stay as they are -> why.
        rough: whether constants may be folded roughly.

    Returns:
        For each group of which units go its choice, and what stays although it is dead, or cannot shrink.
    """
    choices: list[Choice] = []
    left: list[Left] = []
    for group in groups:
        worst = _worst(group, verdicts)
        why = _whole(group, staying)
        if why:
            read = any(member.reads for member in group.members)
            dead = int((worst != Verdict.LIVING).sum()) if read else 0
            left += [Left(name_of(group), dead, group.size, why)] if dead or why != OUTPUT else []
            continue
        free = [Verdict.FREE, Verdict.FOLDED, *(ROUGH if rough else ())]
        gone = torch.isin(worst, torch.tensor(free))
        left += _stuck(group, worst.masked_fill(gone, Verdict.LIVING), verdicts)
        if bool(gone.any()):
            choices.append(Choice(group, gone))
    return choices, left


def tables_of(nodes: Sequence[Node]) -> dict[str, str]:
    """The names of the weights in which rows are looked up, and why they stay."""
    tables = [node for node in nodes if node.call in ("embedding", "embedding_bag")]
    return {name: f"goes with the embedding {node.owner}".strip() for node in tables for name in node.weights}


def _whole(group: Group, staying: Mapping[str, str]) -> str:
    """Why nothing of a group can go."""
    asked = next((staying[member.name] for member in group.members if member.name in staying), "")
    return group.fixed or group.inexact or asked


def _worst(group: Group, verdicts: Mapping[Slot, Tensor]) -> Tensor:
    """The verdict on each unit: the worst of those on the columns that read it."""
    worst = torch.zeros(group.size, dtype=torch.int64)
    for member in group.members:
        if member.reads:
            own = verdicts.get((member.name, member.dim))
            found = torch.full_like(worst, Verdict.LIVING)
            if own is not None:
                found = own[torch.tensor(member.indices)].amax(1)
            worst = torch.maximum(worst, found)
    return worst


def _stuck(group: Group, worst: Tensor, verdicts: Mapping[Slot, Tensor]) -> list[Left]:
    found: list[Left] = []
    for verdict, words in SAID.items():
        units = (worst == verdict).nonzero().flatten().tolist()
        if units:
            reader = _reader(group, units[0], verdict, verdicts)
            found.append(Left(name_of(group), len(units), group.size, words.format(reader)))
    return found


def _reader(group: Group, unit: int, verdict: Verdict, verdicts: Mapping[Slot, Tensor]) -> str:
    for member in group.members:
        own = verdicts.get((member.name, member.dim)) if member.reads else None
        if own is not None and bool((own[list(member.indices[unit])] == verdict).any()):
            return member.name
    return name_of(group)


def in_multiples(choices: Sequence[Choice], multiple: int) -> list[Choice]:
    """Leave so many dead units, those of the lowest indices, that what stays is a multiple, or all.

    Units that are several slices of a weight, such as heads, are left as they are.
    """
    found: list[Choice] = []
    for choice in choices:
        single = all(len(indices) == 1 for member in choice.group.members if member.makes for indices in member.indices)
        places = choice.gone.nonzero().flatten()
        lacking = (len(places) - choice.group.size) % multiple if single else 0
        gone = choice.gone.clone()
        gone[places[:lacking]] = False
        found += [replace(choice, gone=gone)] if bool(gone.any()) else []
    return found


def spared(choices: Sequence[Choice], shapes: Mapping[str, Sequence[int]]) -> tuple[list[Choice], list[Left]]:
    """Leave one unit of each parameter that would lose all: the one with the lowest index."""
    found, left = list(choices), list[Left]()
    while (at := _emptied(found, shapes)) is not None:
        choice = found[at]
        gone = choice.gone.clone()
        gone[int(gone.nonzero()[0])] = False
        found[at] = replace(choice, gone=gone)
        left.append(Left(choice.name, 1, choice.group.size, "a layer keeps at least one unit"))
    return [choice for choice in found if bool(choice.gone.any())], left


def _emptied(choices: Sequence[Choice], shapes: Mapping[str, Sequence[int]]) -> int | None:
    """The first choice that takes part in leaving nothing of a parameter."""
    cut = Counter[Slot]()
    for choice in choices:
        for slot, indices in choice.cuts():
            cut[slot] += len(indices)
    for at, choice in enumerate(choices):
        if any(indices and cut[name, dim] == shapes[name][dim] for (name, dim), indices in choice.cuts()):
            return at
    return None
