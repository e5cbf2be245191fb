"""The sites of a model by where they are called, the same in every pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from budbreak.graph.site import Layout, Site


@dataclass(frozen=True)
class Key:
    """Where a site is called.

    Args:
        owner: the module that is the site, or that calls the function.
        call: the function; "" for a module.
        where: the line that calls it; "" for a module.
        count: how often that was called in this pass before.
    """

    owner: str
    call: str = ""
    where: str = ""
    count: int = 0


class SiteBook:
    """All sites met so far.

    Args:
        modules: the paths of the model's modules; no function's site is named like one.
        kind: the name of the model's class.
    """

    def __init__(self, modules: Iterable[str], kind: str) -> None:
        self.modules, self.kind = set(modules), kind
        self.sites: dict[Key, Site] = {}
        self.whole: set[str] = set()
        self.overwriting: set[str] = set()
        self.no_sites: set[Key] = set()
        self._names: set[str] = set()
        self._counts: Counter[Key] = Counter()

    def begin_pass(self) -> None:
        """Calls are counted from 0 again."""
        self._counts.clear()

    def key(self, owner: str, call: str = "", where: str = "") -> Key:
        """The key of one more call in this pass."""
        first = Key(owner, call, where)
        count = self._counts[first]
        self._counts[first] = count + 1
        return replace(first, count=count) if count else first

    def site(self, key: Key, layout: Layout | None, output: Tensor, *, exact: bool) -> Site:
        """The site of a key, new or known.

        Args:
            key: where it is called.
            layout: of what enters it, if that is known.
            output: what it gave.
            exact: whether it gives exact zeros.
        """
        if key not in self.sites:
            dims, assumed = (layout.dims, False) if layout else _by_rule(output)
            feed = layout.feed if layout else None
            name = self._free_name(key)
            self.sites[key] = Site(name, feed, dims, len(self.sites), exact, assumed, key.where)
        return self.sites[key]

    def known(self, key: Key, output: Tensor) -> Site | None:
        """The site of a key; one that is called more often than ever before is like its first call, fed by anything."""
        first = self.sites.get(replace(key, count=0))
        if key in self.sites or first is None:
            return self.sites.get(key)
        return self.site(key, Layout(first.unit_dims), output, exact=first.exact_zeros)

    def _free_name(self, key: Key) -> str:
        base = key.owner or ("" if key.call else self.kind)
        base = ".".join(part for part in (base, key.call) if part)
        taken = self._names | self.modules if key.call else self._names
        name, count = base, 0
        while name in taken:
            count += 1
            name = f"{base}#{count}"
        self._names.add(name)
        return name


def _by_rule(output: Tensor) -> tuple[tuple[int, ...], bool]:
    """(dimensions, whether they are assumed) of units behind what nobody could follow.

    [samples, units] leaves no choice; of three dimensions and more the second one is assumed, as in images; a
    single dimension is taken for samples of one unit.
    """
    if output.dim() == 2:
        return (-1,), False
    return ((1 - output.dim(),), True) if output.dim() > 2 else ((), True)
