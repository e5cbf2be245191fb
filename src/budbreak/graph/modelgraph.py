"""How a network is wired, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from budbreak.graph.breaks import last_seen
from budbreak.graph.channels import Channels, follow
from budbreak.graph.groups import Group, find_groups
from budbreak.graph.links import Link, find_links
from budbreak.graph.node import Kind, Node
from budbreak.graph.reachability import Reachability, find_reachable
from budbreak.graph.site import Site
from budbreak.graph.table import table
from budbreak.masks import Mask, check_mask


@dataclass(frozen=True)
class ModelGraph:
    """The calls of one forward pass, each with what enters it. Frozen, without a tensor of the model's.

    Args:
        nodes: in the order of the calls: what enters a node stands before it; ``nodes[i].index == i``.
        unseen: the nonlinearities that are no site, in words: e.g. "the nonlinearities inside gru in encoder",
            "torch.exp called in head (net.py:41)".
        uncalled: state_dict names of the weights that no call reached.
    """

    nodes: tuple[Node, ...]
    unseen: tuple[str, ...] = ()
    uncalled: tuple[str, ...] = ()

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
        """Units that can only be pruned together, with all slices of weights that go with them.

        A sum or product ties what meets in it, unit by unit; a depthwise convolution its outputs to its inputs, one of
        several groups all channels of a group; a weight that is called twice, or by two layers, its units in both.
        Concatenation shifts columns, flattening multiplies them. What a model returns stays, and so does what enters
        attention, a recurrent layer or anything that cannot be followed, or meets an input, padding or a constant: such
        groups are fixed, and say why. Sizes that the model's own code spells out (``view(-1, 512)``) may stand in the
        way as well; and norms over units have other statistics without some of them.
        """
        return find_groups(self.nodes, self.channels)

    def reachable(self, mask: Mask) -> Reachability:
        """Which outputs kept weights still connect to an input, and which weights lie on such a path.

        A path leads from an input of the model through kept elements of layers to an output; biases, and other
        constants, begin none. What a mask does not cover is kept. Units are whole: a channel is reached where any
        of its positions is, through any element of a kernel. Exact so along layers, BatchNorm, sites, sums,
        concatenation, pools and moves; a product of tensors passes on what either brings. Norms over units let every
        unit reach every other one, by their mean or scale; and of attention, recurrent layers and what is opaque
        anything that goes in reaches anything that comes out, unless all of their weights are pruned.

        Raises:
            MaskMismatch: if an entry does not have the shape of its weight.
        """
        check_mask(mask)
        return find_reachable(self.nodes, self.channels, mask)

    def lost(self, weight: str, *, cut: bool = False) -> tuple[Node, ...]:
        """Where what a weight computes was last seen, if it leads to no output; () if it does, or is never called.

        It is lost where it goes on as numbers (`item`, `tolist`), where only something outside of torch's functions
        takes it (numpy), and where nothing does.

        Args:
            weight: its name in the graph.
            cut: whether it is lost as well where autograd no longer follows: at ``detach()`` and ``.data``.
        """
        return last_seen(self.nodes, weight, cut=cut)

    def consumers(self) -> Sequence[tuple[int, ...]]:
        """For each node the nodes that its tensor enters, each once."""
        found: list[dict[int, None]] = [{} for _ in self.nodes]
        for node in self.nodes:
            for source in node.inputs:
                found[source][node.index] = None
        return [tuple(entered) for entered in found]
