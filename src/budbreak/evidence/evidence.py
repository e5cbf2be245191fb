"""What is observed (`Probe`) and what was observed (`Evidence`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, TypeVar, cast, runtime_checkable

from torch import Tensor, nn

from budbreak.errors import MissingEvidence
from budbreak.evidence.observer import Observer
from budbreak.graph import Forward, Site
from budbreak.processes import Processes

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class ProbeContext(Protocol):
    """What a probe may look at. It registers listeners; every hook is removed in the end.

    Listeners of batches share a pass with those of other probes, in the mode that the probe names. They see tensors
    of the running network: detached, on its device, in its dtype; they may read them and keep none.
    """

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The live prunable weights, detached, by state_dict name, in state_dict order."""
        ...

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The layer that owns each of these weights; of a tied one the first."""
        ...

    @property
    def start_weights(self) -> Mapping[str, Tensor] | None:
        """The weights at the start of this level, or None where nobody knows them."""
        ...

    @property
    def processes(self) -> Processes:
        """Who observes together, each on its own batches: what is summed up is summed over them as well."""
        ...

    @property
    def evidence(self) -> Evidence:
        """What the probes named in ``after`` saw; for listeners and for the result, not yet in `Probe.start`."""
        ...

    def on_activation(self, listener: Callable[[Site, Tensor], None]) -> None:
        """Call ``listener(site, output)`` for each nonlinearity in each forward pass, without autograd."""
        ...

    def on_preactivation(self, listener: Callable[[Site, Tensor], None], *, attached: bool = False) -> None:
        """Call ``listener(site, input)`` with what enters each nonlinearity, also where it is overwritten in place.

        For each forward pass, without autograd; before the listeners of `on_activation` hear the same site. With
        ``attached``, in a pass that computes a loss, the input comes with its graph, and may be kept until `on_loss` of
        the same batch, to be differentiated there.
        """
        ...

    def on_input(self, listener: Callable[[str, nn.Module, Tensor], None]) -> None:
        """Call ``listener(weight_name, layer, input)`` for each call of a layer that owns a prunable weight.

        The input is the first tensor that the layer is called with; what a checkpoint computes again is not heard
        again. A weight that is multiplied without a call of its layer, as ``F.linear(x, self.fc.weight.t())`` does, is
        refused; that nn.MultiheadAttention reads ``out_proj.weight`` so is not heard.
        """
        ...

    def unseen(self) -> tuple[str, ...]:
        """When the batches are done: the nonlinearities that ran and are no site, in words."""
        ...

    def on_gradients(self, listener: Callable[[Mapping[str, Tensor], float], None]) -> None:
        """Call ``listener(gradients, weight)`` after each batch's backward pass of the mean loss.

        The weight is over how many terms (samples, labels that count) that mean was taken, > 0. A prunable weight that
        the loss of a batch does not depend on is not among its gradients.
        """
        ...

    def on_loss(self, listener: Callable[[Tensor, Mapping[str, nn.Parameter], float], None]) -> None:
        """Call ``listener(value, parameters, weight)`` with each batch's mean loss, its graph alive.

        For derivatives of any order by ``torch.autograd.grad(value, ..., create_graph=True)``, which must leave the
        graph as it is for the next listener. The parameters are the prunable ones; the weight as in `on_gradients`.
        """
        ...

    def on_model(self, function: Callable[[nn.Module], None]) -> None:
        """Call ``function(model)`` once, without batches, in eval mode.

        It may change parameters and buffers in any way, their dtype too: everything is put back.
        """
        ...

    def on_example(self, function: Callable[[nn.Module, Any, Forward], None]) -> None:
        """Call ``function(model, batch, forward)`` once, with the first batch, as `on_model` does.

        Of several processes those that have no batch do not call it.
        """
        ...


@runtime_checkable
class Probe(Protocol[T_co]):
    """What must be observed: a frozen, hashable value that knows how to collect itself.

    Two probes that are equal are one observation. A new probe is one file in `budbreak.evidence`. It may also have

    - ``mode``: "eval" (taken unless it says otherwise) or "train": how the network runs. Buffers are put back;
    - ``temperature``: a number that outputs are divided by before the loss; 1.0 unless it says so;
    - ``after``: probes that must have seen all batches before it; their results are in `ProbeContext.evidence`;
    - ``example(weights, generator)``: what it might have seen in a network with these weights, drawn by the generator,
      some exact zeros among them: `budbreak.testing` checks criteria with it.
    """

    def start(self, context: ProbeContext) -> Callable[[], T_co]:
        """Register listeners on ``context``; the returned function gives the result when the batches are done."""
        ...


Need = Probe[object] | Observer[object]
"""What a criterion may look at: what is observed between trainings, and what is watched during them."""


def probes_of(needs: Iterable[Need]) -> list[Probe[object]]:
    """Those of the needs that are observed between trainings."""
    return [cast(Probe[object], need) for need in needs if not _watches(need)]


def observers_of(needs: Iterable[Need]) -> list[Observer[object]]:
    """Those of the needs that are watched during trainings."""
    return [need for need in needs if _watches(need)]


def _watches(need: Need) -> TypeGuard[Observer[object]]:
    return hasattr(need, "watch")  # isinstance looks through all of the protocol, which takes 100 times as long


@dataclass(frozen=True)
class Evidence:
    """What probes and observers saw: ``evidence[probe]`` is that probe's result.

    Frozen. `Weights` are the live tensors without a copy: use them before the weights change, or clone them.
    """

    results: Mapping[Need, object]

    def __getitem__(self, probe: Probe[T] | Observer[T]) -> T:
        """The result of a probe, or of an observer.

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

    def __iter__(self) -> Iterator[Need]:
        return iter(self.results)
