"""What of a pruned network still connects inputs with outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from budbreak.diagnostics.measurement import Measurement, Quantity
from budbreak.evidence import Evidence, Graph, check_not_handed_out
from budbreak.masks import Mask

_GROUP = "connectivity"


@dataclass(frozen=True)
class Connectivity:
    """How much of what a mask keeps lies on a path from an input to an output, and which outputs such a path reaches.

    connected_weights = kept weights on a path / kept weights, 0 where nothing is kept: the others compute nothing that
    anybody sees, whatever they count in the density. reachable_classes = outputs of the model (classes) to which a path
    leads / outputs. Paths are those of `budbreak.graph.ModelGraph.reachable`; biases begin none. Per weight: its
    share of connected_weights.

    Source: Kim et al. 2021 (all-alive pruning), ICLR submission rx19UMFbC9u: "dead connections" are the others.
    """

    needs = (Graph(),)
    quantities = (
        Quantity(
            "connected_weights",
            "connected weights",
            "share",
            "higher",
            about="kept weights that lie on a path from an input to an output.",
            group=_GROUP,
        ),
        Quantity(
            "reachable_classes",
            "reachable classes",
            "share",
            "higher",
            about="outputs to which kept weights lead from an input.",
            group=_GROUP,
        ),
    )

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """See `Diagnostic`.

        Raises:
            UnknownName, MaskMismatch: if the mask covers a weight that the graph does not know, or in another shape.
            Unreached: if what one computes goes on as numbers, behind which no path can be followed.
        """
        graph = evidence[Graph()]
        found = graph.reachable(mask)
        check_not_handed_out(graph, mask)
        classes = torch.cat([torch.ones(0, dtype=torch.bool), *found.classes])
        layers = {
            name: {"connected_weights": _share(found.connected.kept_in(name), mask.kept_in(name))} for name in mask
        }
        numbers = {
            "connected_weights": _share(found.connected.kept, mask.kept),
            "reachable_classes": _share(int(classes.sum()), len(classes)),
        }
        return Measurement(numbers, layers)


def _share(part: int, whole: int) -> float:
    return part / max(1, whole)
