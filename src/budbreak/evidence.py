"""What is observed (`Probe`) and what was observed (`Evidence`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast, runtime_checkable

from torch import Tensor

from budbreak.errors import MissingEvidence
from budbreak.processes import Processes
from budbreak.units import UnitLayout

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True)
class Feed:
    """The weight that alone decides the units of a tensor.

    Args:
        weight: its state_dict name.
        units: where those units lie in the weight: rows of Linear and Conv, columns of ConvTranspose, by group.
    """

    weight: str
    units: UnitLayout


@dataclass(frozen=True)
class Site:
    """One place in the network where a nonlinearity sits.

    Args:
        name: the module's name; "#k" is appended for the (k+1)-th call of a module used more than once.
        feed: the prunable weight whose output, through nothing but norm, dropout, pooling or moving values about,
            enters here; None after a residual sum and wherever else that is not the whole story.
        unit_dims: the dimensions of the output that together count units, from the end: (-1,) after Linear, (-3,)
            after Conv2d; () for a single unit without a dimension of its own.
        order: the position in the forward pass, from 0.
        exact_zeros: whether this nonlinearity gives exact zeros (ReLU does, GELU and Sigmoid do not).
        assumed: whether ``unit_dims`` is a rule's choice, because the way to here could not be followed.
    """

    name: str
    feed: Feed | None
    unit_dims: tuple[int, ...]
    order: int
    exact_zeros: bool = True
    assumed: bool = False


class View(Protocol):
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

    Two probes that are equal are one observation. A new probe is one file in `budbreak.probes`.
    """

    def start(self, view: View) -> Callable[[], T_co]:
        """Register listeners on ``view``; the returned function gives the result when the batches are done."""
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
