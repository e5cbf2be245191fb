"""Units of several layers that can only be pruned together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.graph.channels import Channels
from budbreak.graph.node import Node, said
from budbreak.graph.resizing import Resizing
from budbreak.graph.slicing import Found, Slicer
from budbreak.graph.ties import Slot, Ties


@dataclass(frozen=True)
class Member:
    """What the units of a group are in one parameter or buffer.

    Where it neither makes nor reads them it goes with them on their way: a bias, what a norm knows, a slope, a factor,
    a position. Rows of a tied weight may both make units of one layer and read those of another.

    Args:
        name: of the parameter or buffer in the state_dict.
        dim: its dimension that is cut.
        indices: for each unit of the group the indices along that dimension.
        makes: whether these slices compute the units from what enters their layer.
        reads: whether they multiply what the units give.
    """

    name: str
    dim: int
    indices: tuple[tuple[int, ...], ...] = field(repr=False)
    makes: bool = False
    reads: bool = False


@dataclass(frozen=True)
class Group:
    """Units that are pruned one by one, but each in all members at once.

    A unit is gone when its indices are cut out of every member, and nothing else is: then each tensor of the model is
    as before without the values of that unit. Convolutions of several groups, and norms of groups, are told of fewer.

    Args:
        size: how many units it has.
        members: where they lie, in the order of the forward pass.
        fixed: why none can be removed; "" if they can.
        inexact: why those that stay change, however little the removed ones did: a norm takes its mean over all of
            them; "" if they do not.
        sizes: calls that were given sizes which do not fit any more without a unit: right if the model's code reads
            them from its tensors or modules, and in the way if it spells them out.
    """

    size: int
    members: tuple[Member, ...]
    fixed: str = ""
    inexact: str = ""
    sizes: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether a unit that nothing reads can be removed, and all else computes what it computed."""
        return not self.fixed and not self.inexact


def find_groups(nodes: Sequence[Node], channels: Channels, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Group, ...]:
    """See `ModelGraph.groups`.

    Args:
        nodes: of the graph.
        channels: of the graph.
        shapes: of the parameters; those that no unit can be cut out of are listed if theirs is known.
    """
    ties = Ties(nodes, channels)
    while True:
        units = _first_of_each(ties.components()[: channels.count], channels.whole)
        slicer = Slicer(nodes, channels, units)
        found = slicer.look()
        if not _joined(ties, found, units):
            break
    resizing = Resizing(nodes, channels.labels, slicer.cuts)
    frozen = _frozen(nodes, channels)
    return (*_in_groups(ties, found, frozen, resizing), *_alone(ties, frozen, shapes))


def _joined(ties: Ties, found: Found, units: Tensor) -> bool:
    """Tie slices to their units; whether that ties units to each other, which shifts what is cut where."""
    known = units > 0
    for slices in found.slices:
        ties.add_slices(slices.slot, slices.size, slices.indices, slices.units)
    after = ties.components()[: len(units)][known].unique()
    return len(after) < len(units[known].unique())


def _first_of_each(component: Tensor, whole: Tensor) -> Tensor:
    """For each channel that of the first one in its unit; 0 for padding, and minus its own number for no unit."""
    channels = torch.arange(len(component))
    first = torch.full((int(component.max()) + 1,), len(component))
    first = first.scatter_reduce(0, component[1:], channels[1:], "amin")[component]
    return torch.cat([channels[:1], first.where(~whole, -channels)[1:]])


def _frozen(nodes: Sequence[Node], channels: Channels) -> dict[str, str]:
    """The parameters inside of what nobody can look into, and what that is."""
    found: dict[str, str] = {}
    for bundle in channels.bundles:
        node = bundle.node
        hidden = [*node.weights, *(part.name for part in node.parts)] if bundle.is_mixture and bundle.count == 1 else []
        hidden += [part.name for part in node.parts if not part.known]
        found.update(dict.fromkeys(filter(None, hidden), f"is inside {said(node)}"))
    return found


_Unit = dict[Slot, list[int]]
"""The indices of a unit in each slot."""


def _in_groups(ties: Ties, found: Found, frozen: Mapping[str, str], resizing: Resizing) -> Iterable[Group]:
    """Units with members in the same slots, as often, are one group."""
    component = ties.components()
    units = _units(ties, component)
    made = {slices.slot for slices in found.slices if slices.makes}
    begun = [bundle.made for bundle in ties.channels.bundles if bundle.is_layer or bundle.is_token]
    own = set(component[torch.cat([torch.zeros(0, dtype=torch.int64), *begun])].tolist())
    read = {slices.slot for slices in found.slices if slices.reads}
    fixed, inexact = _whys(component, ties.reasons + found.fixed), _whys(component, found.inexact)
    alike: dict[tuple[object, ...], list[int]] = {}
    for number, members in units.items():
        if number in own:  # else they are an input's
            whys = fixed.setdefault(number, {})
            whys.update(dict.fromkeys(frozen[name] for name, _ in members if name in frozen))
            form = tuple((slot, len(indices)) for slot, indices in members.items())
            alike.setdefault((form, *(tuple(why.get(number, ())) for why in (fixed, inexact))), []).append(number)
    first = {number: channel for channel, number in reversed(list(enumerate(component.tolist()))) if channel}
    for numbers in alike.values():
        members = _members([units[number] for number in numbers], made, read)
        said_fixed, said_inexact = ("; ".join(why.get(numbers[0], ())) for why in (fixed, inexact))
        # sizes that are counted from the end fit without the first unit, and those from the start without the last
        sizes = [call for number in (numbers[0], numbers[-1]) for call in resizing.without(first[number])]
        yield Group(len(numbers), members, said_fixed, said_inexact, tuple(dict.fromkeys(sizes)))


def _units(ties: Ties, component: Tensor) -> dict[int, _Unit]:
    units: dict[int, _Unit] = {}
    for slot, first in ties.firsts.items():
        for index, number in enumerate(component[first : first + ties.sizes[slot]].tolist()):
            units.setdefault(number, {}).setdefault(slot, []).append(index)
    return units


def _whys(component: Tensor, reasons: Sequence[tuple[Tensor, str]]) -> dict[int, dict[str, None]]:
    found: dict[int, dict[str, None]] = {}
    for channels, why in reasons:
        for number in component[channels].unique().tolist():
            found.setdefault(number, {})[why] = None
    return found


def _members(units: Sequence[_Unit], made: set[Slot], read: set[Slot]) -> tuple[Member, ...]:
    return tuple(
        Member(*slot, tuple(tuple(unit[slot]) for unit in units), slot in made, slot in read) for slot in units[0]
    )


def _alone(ties: Ties, frozen: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> Iterable[Group]:
    """What is inside of one thing that nobody can look into, all at once."""
    cut = {name for name, _ in ties.firsts}
    inside: dict[str, list[str]] = {}
    for name, why in frozen.items():
        if name not in cut and shapes.get(name):
            inside.setdefault(why, []).append(name)
    for why, names in inside.items():
        yield Group(1, tuple(Member(name, 0, (tuple(range(shapes[name][0])),), True) for name in names), why)
