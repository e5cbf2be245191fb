"""What is watched while the user's loop trains: an `Observer`, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from budbreak.graph import Site

T_co = TypeVar("T_co", covariant=True)

Reset = Literal["level", "never"]
"""When a state begins anew: with each training, or not at all."""
RESETS = ("level", "never")

ObserverState = dict[str, Tensor]
"""Name -> a tensor that is added to. What several processes have seen is the sum of their states, name by name."""


class Training(Protocol):
    """What an observer may look at. It registers listeners; `iterate` removes every hook in the end."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The live prunable parameters, by state_dict name, in state_dict order."""
        ...

    def recorded(self, name: str, /) -> float | None:
        """The number that the loop recorded last by that name, in an epoch or training before; None if it has not."""
        ...

    def before_step(self, listener: Callable[[Mapping[str, Tensor]], None]) -> None:
        """Call ``listener(gradients)`` right before each step that an optimizer takes, without autograd.

        Name -> the gradient that the step is taken by, dense: accumulated over all backward passes since the last one,
        clipped if the loop clips, without the factor of a GradScaler. A parameter that has none is left out, and of
        several optimizers each has its own parameters; a step that a scaler skips is none.
        """
        ...

    def on_activation(self, listener: Callable[[Site, Tensor], None], *, when: Callable[[], bool]) -> None:
        """Call ``listener(site, output)`` for each nonlinearity in the model's forward passes, without autograd.

        Those in training mode, and each once: what activation checkpointing computes again is not heard again.
        ``when()`` is asked at the beginning of each such pass whether it is to be listened to.
        """
        ...


@runtime_checkable
class Observer(Protocol[T_co]):
    """What must be watched during the trainings: a frozen, hashable value.

    Two observers that are equal are one. `iterate` attaches all that a plan's criteria need, keeps their states in the
    store, and hands the results to the criteria as it hands those of probes. A new observer is one file in
    `budbreak.evidence`. One whose state is to change when a training begins, as it fades, has a method
    ``begin(state)``, which is called after the reset.
    """

    @property
    def reset(self) -> Reset:
        """Whether the state begins anew with each training ("level"), or is kept through all of them ("never")."""
        ...

    def watch(self, training: Training, state: ObserverState) -> None:
        """Register listeners on ``training`` that add to the tensors in ``state``, which is empty in the beginning."""
        ...

    def result(self, state: Mapping[str, Tensor], *, ranks: int) -> T_co:
        """What a state says that is the sum of those of so many processes.

        Raises:
            MissingEvidence: if nothing was seen.
        """
        ...
