"""A graph as a table of 100 columns."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

from budbreak.graph.groups import Group, Member
from budbreak.graph.node import Kind, Node
from budbreak.graph.skips import PASSING, find_skips

_WIDTH = 100
_MOST = 4
"""How many names a cell lists."""


def table(nodes: Sequence[Node], groups: Sequence[Group], unseen: Sequence[str], uncalled: Sequence[str]) -> str:
    """Sites with what feeds them and what they feed, groups, and what is missing; see `ModelGraph`."""
    layers = [node for node in nodes if node.kind == Kind.LAYER]
    sites = [node for node in nodes if node.site is not None]
    lines = [f"tensors: {len(nodes)}, calls of layers: {len(layers)}, sites: {len(sites)}, groups: {len(groups)}"]
    if sites:
        lines += ["", *_site_lines(nodes, sites)]
    if groups:
        lines += ["", *_group_lines(groups)]
    lines += _said("nonlinearities that are no site", unseen) + _said("weights that were not called", uncalled)
    return "\n".join(line.rstrip() for line in lines)


def _site_lines(nodes: Sequence[Node], sites: Sequence[Node]) -> list[str]:
    ways = _Ways(nodes)
    rows = [(_site(node), _units(node), _names(ways.before(node)), _names(ways.behind(node))) for node in sites]
    return _aligned(("site", "units", "fed by", "feeds"), rows)


def _site(node: Node) -> str:
    name = node.site.name if node.site else ""
    return f"{name} ({node.where})" if node.where else name


def _units(node: Node) -> str:
    site = node.site
    dims = site.unit_dims if site else ()
    return f"{math.prod(node.shape[dim] for dim in dims)}{'?' if site and site.assumed else ''}"


def _group_lines(groups: Sequence[Group]) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for group in groups:
        made = [_slices(member) for member in group.members if member.makes]
        read = [_slices(member) for member in group.members if member.reads]
        other = [_slices(member) for member in group.members if not (member.makes or member.reads)]
        rows.append((f"{group.size}", _names(made), _names(read), _names(other, most=2), _but(group)))
    return ["pruned together:", *_aligned(("units", "made by", "read by", "with", "but"), rows)]


def _but(group: Group) -> str:
    """What stands in the way of removing one of its units."""
    if group.fixed:
        return f"fixed: {_names(group.fixed.split('; '), most=2)}"
    inexact = [f"inexact: {_names(group.inexact.split('; '), most=2)}"] if group.inexact else []
    sizes = [f"sizes given to {_names(group.sizes, most=2)}"] if group.sizes else []
    return "; ".join(inexact + sizes)


def _slices(member: Member) -> str:
    count = len(member.indices[0])
    return _short(member.name) + (f" ({count} each)" if count > 1 else "")


def _short(weight: str) -> str:
    return weight.removesuffix(".weight")


def _said(what: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    wrapped = [textwrap.wrap(item, _WIDTH - 2, initial_indent="  ", subsequent_indent="    ") for item in items]
    return ["", f"{what}:", *(line for lines in wrapped for line in lines)]


def _names(names: Iterable[str], most: int = _MOST) -> str:
    different = list(dict.fromkeys(names))
    more = [f"and {len(different) - most} more"] if len(different) > most + 1 else []
    return ", ".join((different[:most] if more else different) + more)


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be and together as wide as the page: the widest are wrapped."""
    widths = [max(len(head), *(len(row[at]) for row in rows)) for at, head in enumerate(heads)]
    while sum(widths) + 2 * len(widths) - 2 > _WIDTH:
        widths[widths.index(max(widths))] -= 1
    lines: list[str] = []
    for row in (heads, *rows):
        cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for at in range(max(map(len, cells))):
            parts = [cell[at] if at < len(cell) else "" for cell in cells]
            lines.append("  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)))
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Lines that end behind a space or a dot, where they can."""
    lines = [""]
    for part in re.split(r"(?<=[ .])(?!py:)", text):
        if len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        while len(part.rstrip()) > width:
            lines[-1:] = [part[:width], ""]
            part = part[width:]
        lines[-1] += part
    return [line.rstrip() for line in lines if line] or [""]


class _Ways:
    """The nearest layers before and behind a node; "skip" for an identity path."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes, self.skips = nodes, find_skips(nodes)
        self.entered: list[list[int]] = [[] for _ in nodes]
        for node in nodes:
            for source in dict.fromkeys(node.inputs):
                self.entered[source].append(node.index)

    def before(self, node: Node) -> list[str]:
        """What feeds it."""
        return self._walk(node, lambda at: at.inputs, lambda at, other: (at, other))

    def behind(self, node: Node) -> list[str]:
        """What it feeds."""
        return self._walk(node, lambda at: self.entered[at.index], lambda at, other: (other, at))

    def _walk(
        self, start: Node, following: Callable[[Node], Sequence[int]], edge: Callable[[int, int], tuple[int, int]]
    ) -> list[str]:
        found: dict[str, None] = {}
        seen: set[int] = set()
        waiting = [start]
        while waiting:
            at = waiting.pop(0)
            for index in following(at):
                node = self.nodes[index]
                if edge(at.index, index) in self.skips:
                    found["skip"] = None
                elif node.kind in (*PASSING, Kind.CONCAT) and node.index not in seen:
                    waiting.append(node)
                elif node.kind not in (*PASSING, Kind.CONCAT, Kind.CONSTANT):
                    found[_end(node)] = None
                seen.add(index)
        return list(found)


def _end(node: Node) -> str:
    if node.kind == Kind.LAYER and node.weight is not None:
        return _short(node.weight)
    if node.kind in (Kind.INPUT, Kind.OUTPUT):
        return f"the {node.kind}"
    return f"{node.call} in {node.owner}" if node.owner else node.call
