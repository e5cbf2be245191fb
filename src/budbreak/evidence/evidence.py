"""What is observed (`Probe`) and what was observed (`Evidence`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast, runtime_checkable

from torch import Tensor

from budbreak.errors import MissingEvidence
from budbreak.graph import Site
from budbreak.processes import Processes

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class ProbeContext(Protocol):
    """What a probe may look at. It registers listeners; the session removes every hook in the end."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The live prunable weights, detached, by state_dict name, in state_dict order."""
        ...

    @property
    def start_weights(self) -> Mapping[str, Tensor] | None:
        """The weights at the start of this level, or None where nobody knows them."""
        ...

    @property
    def processes(self) -> Processes:
        """Who observes together, each on its own batches: what is summed up is summed over them as well."""
        ...

    def on_activation(self, listener: Callable[[Site, Tensor], None]) -> None:
        """Call ``listener(site, output)`` for each nonlinearity in each forward pass, without autograd."""
        ...

    def unseen(self) -> tuple[str, ...]:
        """When the batches are done: the activations that ran but could not be observed, in words."""
        ...

    def on_gradients(self, listener: Callable[[Mapping[str, Tensor], float], None]) -> None:
        """Call ``listener(gradients, weight)`` after each batch's backward pass of the mean loss.

        The weight is over how many terms (samples, labels that count) that mean was taken, > 0.
        """
        ...


@runtime_checkable
class Probe(Protocol[T_co]):
    """What must be observed: a frozen, hashable value that knows how to collect itself.

    Two probes that are equal are one observation. A new probe is one file in `budbreak.evidence`.
    """

    def start(self, context: ProbeContext) -> Callable[[], T_co]:
        """Register listeners on ``context``; the returned function gives the result when the batches are done."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What the probes observed: ``evidence[probe]`` is that probe's result.

    Frozen. `Weights` are the live tensors without a copy: use them before the weights change, or clone them.
    """

    results: Mapping[Probe[object], object]

    def __getitem__(self, probe: Probe[T]) -> T:
        """The result of a probe.

        Raises:
            MissingEvidence: if it was not collected.
        """
        if probe not in self.results:
            have = ", ".join(map(str, self.results)) or "nothing"
            raise MissingEvidence(
                f"no evidence of {probe}",
                f"a criterion sees only what was probed; collected: {have}",
                f"add {probe} to the probes, or use a criterion whose needs were collected",
            )
        return cast(T, self.results[probe])

    def __contains__(self, probe: object) -> bool:
        return probe in self.results

    def __iter__(self) -> Iterator[Probe[object]]:
        return iter(self.results)
