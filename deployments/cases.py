"""A case: a pruned network beside its dense one, ready to be measured; a study: the cases of one network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from budbreak.exporting import Score


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Args:
        runs: the folder in which recipes were run.
        data: that of the data sets.
        packages: that of unpacked packages with pretrained networks.
    """

    runs: Path
    data: Path
    packages: Path


@dataclass(frozen=True, eq=False)
class Case:
    """A pruned network.

    Args:
        name, what: see `Cell`.
        dense, pruned: the networks, in eval mode; pruned weights are zeros.
        sparsity: zeros / prunable weights.
        example: a batch of inputs, with which files are verified; its samples are repeated for latencies.
        validation: what choices look at; None where the network is not trained.
        test: quality -> what no choice looks at.
        seeds: see `Cell`.
    """

    name: str
    what: str
    dense: nn.Module
    pruned: nn.Module
    sparsity: float
    example: Tensor
    validation: Score | None
    test: Mapping[str, Score]
    seeds: tuple[tuple[float, float], ...] = field(default=())


@dataclass(frozen=True)
class Goals:
    """How much smaller and faster than the dense network a form in the same runtime is to be; None: no goal is set."""

    smaller: float | None = None
    faster: float | None = None


NO_GOALS = Goals()


class Study(Protocol):
    """The cases of one network: a frozen value."""

    @property
    def name(self) -> str:
        """In the command and in files."""
        ...

    @property
    def title(self) -> str:
        """Network and data."""
        ...

    @property
    def about(self) -> str:
        """How it was trained and pruned, and what quality is, in sentences."""
        ...

    @property
    def planned(self) -> tuple[str, ...]:
        """The names of its cases."""
        ...

    @property
    def goals(self) -> Goals:
        """What was aimed at."""
        ...

    def cases(self, places: Places, names: tuple[str, ...]) -> Iterator[Case]:
        """Those of these names, one after the other.

        Raises:
            BudbreakError: if what a case is made of is not there.
        """
        ...


def share_of_zeros(weights: Mapping[str, Tensor]) -> float:
    """Zeros / weights."""
    total = sum(one.numel() for one in weights.values())
    return 1 - sum(int(one.count_nonzero()) for one in weights.values()) / total
