"""How a network is wired, from one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from budbreak.checks import check_known
from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.graph.breaks import handed_out, last_seen
from budbreak.graph.channels import Channels
from budbreak.graph.connecting import Wanted, find_paths
from budbreak.graph.following import follow
from budbreak.graph.groups import Group, find_groups
from budbreak.graph.links import Link, find_links
from budbreak.graph.node import Kind, Node
from budbreak.graph.nodemacs import macs_of
from budbreak.graph.reachability import Reachability, find_reachable
from budbreak.graph.site import Site
from budbreak.graph.table import table
from budbreak.masks import Mask, Quotas, check_mask


@dataclass(frozen=True)
class ModelGraph:
    """The calls of one forward pass, each with what enters it. Frozen, without a tensor of the model's.

    Args:
        nodes: in the order of the calls: what enters a node stands before it; ``nodes[i].index == i``.
        unseen: the nonlinearities that are no site, in words: e.g. "the nonlinearities inside gru in encoder",
            "torch.exp called in head (net.py:41)".
        uncalled: state_dict names of the weights that no call reached.
        shapes: of every parameter, under each of its state_dict names; empty where a graph is made by hand.
        tied: a name of a parameter that has several -> the one that the nodes have.
    """

    nodes: tuple[Node, ...]
    unseen: tuple[str, ...] = ()
    uncalled: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]], repr=False, hash=False)
    tied: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)

    def __str__(self) -> str:
        """A table: sites, what feeds them and what they feed, groups, and what was not seen or not called."""
        return table(self.nodes, self.groups(), self.unseen, self.uncalled)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where nonlinearities sit, in the order of the forward pass."""
        return tuple(node.site for node in self.nodes if node.site is not None)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The tensors of the example that were used."""
        return tuple(node for node in self.nodes if node.kind == Kind.INPUT)

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The tensors that the model returned."""
        return tuple(node for node in self.nodes if node.kind == Kind.OUTPUT)

    @cached_property
    def channels(self) -> Channels:
        """Which units of which layers lie where in every tensor."""
        return follow(self.nodes)

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """What feeds what: pairs of layers, and of layers with inputs, outputs and what cannot be followed."""
        return find_links(self.nodes, self.channels)

    def groups(self) -> tuple[Group, ...]:
        """Units that can only be pruned together, with all slices of parameters and buffers that go with them.

        A sum or product ties what meets in it, unit by unit; a depthwise convolution its outputs to its inputs, one of
        several groups, as a group norm, all channels of a group; attention all that a head computes; a weight that is
        called twice, or by two layers, its units in both. Concatenation shifts columns, flattening multiplies them.
        With a unit go its biases, what norms know of it, slopes, and parameters by which it is scaled or shifted.

        A group is *fixed*, and says why, where a unit cannot be cut out of every tensor: what a model returns stays,
        and so does what enters a recurrent layer or anything that cannot be followed; what meets an input, padding, or
        a constant that the code makes; one value for several units; what goes on as numbers; and what is all that there
        is. What is inside of something that nobody can look into is one fixed group. Of the others those are *inexact*
        over whose units a norm takes a mean, which counts those that are zero. Those whose *sizes* were given to calls
        (``view(-1, 512)``) can be removed if the code reads these sizes from what is cut.
        """
        return find_groups(self.nodes, self.channels, self.shapes)

    def reachable(self, mask: Mask, silent: Tensor | None = None) -> Reachability:
        """Which outputs kept weights still connect to an input, and which weights lie on such a path.

        A path leads from an input of the model, or from what else layers work on or is put beside inputs (learned
        tokens and queries, positions, coordinates; not zeros that the code makes), through kept elements of layers to
        an output; biases, and other constants that are added, begin none, but count as connected where what they are
        added to leads to an output. What a mask does not cover is kept. Units are whole: a channel is reached where any
        of its positions is, through any element of a kernel. Exact so along layers, BatchNorm, sites, sums,
        concatenation, pools, moves and heads of attention; a product of tensors passes on what either brings. Norms
        over units let every unit reach every other one, by their mean or scale; and of recurrent layers and what is
        opaque anything that goes in reaches anything that comes out, unless all of their weights are pruned. What goes
        on as numbers ends there; see `handed_out`.

        Raises:
            InvalidValue: if the mask is none, or covers a weight twice, under two of its names.
            UnknownName: if it covers what is no parameter of the model.
            MaskMismatch: if an entry does not have the shape of its weight.
        """
        check_mask(mask)
        names = self._names_of(mask)
        found = find_reachable(
            self.nodes, self.channels, Mask.owning({names[name]: mask[name] for name in mask}), silent
        )
        connected = Mask.owning({name: found.connected[names[name]] for name in mask})
        return replace(found, connected=connected)

    def paths(
        self, mask: Mask, weights: Mapping[str, Tensor], *, quotas: Quotas, within: Mask, sure: Mask | None = None
    ) -> Mask:
        """One path to each class of each output, within what may stay of each layer, row or the whole.

        strength of a path = product of abs(w) over its weights. A class that the mask reaches has the strongest path of
        what the mask keeps; then, in their order, each other class the strongest of what is alive. In an arena that can
        keep no more, only what is on a path already is left. Should a class find none, all begin anew with it, with
        paths of the fewest new weights, and the strongest of such; up to six times. Of equal paths the first is taken
        at each step, from the output. Paths are those of `reachable`; what the mask does not cover counts as 1.

        Args:
            mask: what was selected.
            weights: name -> weight, for all that the mask covers.
            quotas: how many stay where: see `budbreak.masks.Quotas`.
            within: what is alive, and may come in.
            sure: what stays in any case, of what the mask keeps; nothing unless given.

        Returns:
            What lies on the paths, and ``sure``.

        Raises:
            Unreached: if no path of what is alive leads to a class.
            InvalidValue: if none was found that fits in beside the others; and see `reachable`.
            UnknownName, MaskMismatch: see `reachable`.
        """
        check_mask(mask)
        names = self._names_of(mask)
        sure = Mask.owning({name: torch.zeros_like(entry) for name, entry in mask.items()}) if sure is None else sure

        def own(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
            for name in (name for name in names if name not in entries):
                check_known(f"the mask covers {name!r}, and there is nothing of it", name, entries)
            return {known: entries[name] for name, known in names.items()}

        quotas = replace(
            quotas, arenas=own(quotas.arenas), floors={names[name]: n for name, n in quotas.floors.items()}
        )
        kept, alive, stays = (Mask.owning(own(entries)) for entries in (mask, within, sure))
        wanted = Wanted(kept, alive, stays, quotas, own(weights), {known: name for name, known in names.items()})
        found = find_paths(self.nodes, self.channels, wanted)
        return Mask.owning({name: found[known] for name, known in names.items()})

    def macs(self, mask: Mask | None = None) -> tuple[int, ...]:
        """Multiply-accumulates of each node, over all samples of the example; their sum is that of the model.

        As for `torch.utils.flop_counter`, which `budbreak.graph.count_macs` asks, layers, products of tensors,
        attention and recurrent layers count; elementwise work, norms and tables nothing. Of what is opaque, and of
        products of weights alone, nothing is known here.

        Args:
            mask: counts what it keeps: effective multiply-accumulates. What it does not cover is kept.

        Raises:
            InvalidValue, UnknownName, MaskMismatch: see `reachable`.
        """
        kept = Mask({})
        if mask is not None:
            check_mask(mask)
            kept = Mask.owning({known: mask[name] for name, known in self._names_of(mask).items()})
        return tuple(macs_of(node, self.nodes, self.shapes, kept) for node in self.nodes)

    def renamed(self, names: Mapping[str, str]) -> ModelGraph:
        """The same graph with other names for some parameters.

        Args:
            names: each name in the nodes -> the one that takes its place; others stay.
        """
        nodes = tuple(node.renamed(names) for node in self.nodes)
        same = {name: self.tied.get(name, name) for name in self.shapes}
        chosen = {name: names.get(one, one) for name, one in same.items()}
        tied = {name: one for name, one in chosen.items() if name != one}
        uncalled = tuple(names.get(name, name) for name in self.uncalled)
        return replace(self, nodes=nodes, uncalled=uncalled, tied=tied)

    def lost(self, weight: str, *, cut: bool = False) -> tuple[Node, ...]:
        """Where what a weight computes was last seen, if it leads to no output; () if it does, or is never called.

        It is lost where it goes on as numbers (`item`, `tolist`), where only something outside of torch's functions
        takes it (numpy), and where nothing does.

        Args:
            weight: its name in the graph.
            cut: whether it is lost as well where autograd no longer follows: at ``detach()`` and ``.data``.
        """
        return last_seen(self.nodes, weight, cut=cut)

    def handed_out(self, weight: str) -> tuple[Node, ...]:
        """Where what a weight computes goes on as numbers, if it leads to no output else; () if it does.

        Numbers are asked for by `item`, `tolist`, numpy and what decides the control flow; whether they come back, and
        reach an output, nobody can tell. Other than in `lost` a way leads on through what is made outside of torch.

        Args:
            weight: its name in the graph.
        """
        return handed_out(self.nodes, weight)

    def consumers(self) -> Sequence[tuple[int, ...]]:
        """For each node the nodes that its tensor enters, each once."""
        found: list[dict[int, None]] = [{} for _ in self.nodes]
        for node in self.nodes:
            for source in node.inputs:
                found[source][node.index] = None
        return [tuple(entered) for entered in found]

    def _names_of(self, mask: Mask) -> dict[str, str]:
        """Each name in a mask -> the name that the nodes have for it."""
        known = [*self.shapes] or [*(name for node in self.nodes for name in node.weights), *self.uncalled]
        found: dict[str, str] = {}
        for name, entry in mask.items():
            check_known(f"the mask covers {name!r}, which the graph lacks", name, known)
            _check_shape(name, tuple(entry.shape), self.shapes)
            same = self.tied.get(name, name)
            if same in found.values():
                other = next(other for other in found if found[other] == same)
                raise InvalidValue(
                    f"the mask covers {other!r} and {name!r}, which are one tied parameter",
                    "a weight is kept or not, whatever it is called",
                    "leave one of them out",
                )
            found[name] = same
        return found


def _check_shape(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> None:
    if shapes.get(name, shape) != shape:
        raise MaskMismatch(
            f"mask entry {name!r} has shape {shape}, its weight {shapes[name]}",
            "a mask fits only the architecture that it was made for",
            "trace the model that the mask was made for",
        )
