"""The nonlinearities that ran and are no site: nobody knows whether they are activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence.evidence import ProbeContext
from budbreak.graph import Site


@dataclass(frozen=True)
class Unseen:
    """What is nonlinear and no site, in words: e.g. "torch.exp called in block2 (net.py:41)"; () if nothing."""

    def start(self, context: ProbeContext) -> Callable[[], tuple[str, ...]]:
        """See `Probe.start`."""

        def listen(site: Site, output: Tensor) -> None:
            """What is missed shows only where somebody listens."""

        def collect() -> tuple[str, ...]:
            of_all = context.processes.exchange("what was not seen", context.unseen())
            return tuple(dict.fromkeys(call for calls in of_all for call in calls))

        context.on_activation(listen)
        return collect

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> tuple[str, ...]:
        """See `Probe`: nothing was missed."""
        return ()
