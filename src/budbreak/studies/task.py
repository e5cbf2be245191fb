"""What a task is: something to compute, by its identity, in a folder of its own."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from budbreak.recipes import Setup, make_setup
from budbreak.studies.making import epochs_before, epochs_in_all, epochs_pruning

Kind = Literal["dense", "levels", "pruned", "trial", "finalist", "tuning", "tuned", "final"]


@dataclass(frozen=True)
class Place:
    """Where tasks are computed; no part of their identity.

    Args:
        root: the folder that holds the folders of all tasks.
        data_dir: where the data sets are; None for those that come with a package.
        threads: of torch, in each process.
        imports: folders in which classes and factories of the user's own are looked for.
    """

    root: Path
    data_dir: Path | None
    threads: int | None
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """Some trainings.

    ``dense`` is a training from scratch, ``levels`` prune what it gave, or a fresh network. Where another network is
    trained in the end than was pruned, or otherwise, there are, for ``levels``: ``pruned``, all but the last training;
    ``trial``, a candidate of a search for activations; ``finalist``, one of the best, trained in full; ``tuning`` and
    ``tuned``, the same of a search for hyper-parameters; and ``final``, the last training.

    Small and plain, so that it travels to other processes and machines; its result lies in its folder.

    Args:
        identity: digest of all that decides the result, 64 hexadecimal digits.
        label: what it is called, e.g. "host seed 0"; a dense training by the first arm that it was made for.
        seed: of everything random in it.
        plain: the setup's plain form, as JSON.
        needs: the dense training that the levels start from, none where a fresh network is pruned; of what comes after
            pruning the ``pruned`` task, and then all trials and finalists that are looked at, in order.
        number: of a trial, or a finalist, of its search, from 0.
    """

    kind: Kind
    identity: str
    label: str
    seed: int
    plain: str
    place: Place
    needs: tuple[Task, ...] = ()
    number: int = 0

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.label

    @property
    def folder(self) -> Path:
        """Where its result lies."""
        return self.place.root / f"{self.kind}-{self.identity[:16]}"

    @functools.cached_property
    def setup(self) -> Setup:
        """What it trains and prunes; imports classes of the user's own."""
        for folder in self.place.imports:
            if folder not in sys.path:
                sys.path.append(folder)  # last, so that it hides no library
        return make_setup(json.loads(self.plain))

    @property
    def epochs(self) -> int:
        """Epochs of all its trainings, at most, without those of what it needs."""
        if self.kind in ("trial", "tuning"):
            return (self.setup.activations if self.kind == "trial" else self.setup.tune).epochs
        if self.kind in ("finalist", "tuned", "final"):
            return self.setup.epochs_last
        dense = epochs_before(self.setup, 1) if self.needs else 0
        return (epochs_pruning if self.kind == "pruned" else epochs_in_all)(self.setup) - dense

    @property
    def ends_arm(self) -> bool:
        """Whether an arm has its result from this task, under its seed."""
        return self.kind in ("levels", "final")

    def needed(self, *kinds: Kind) -> tuple[Task, ...]:
        """What it needs of these kinds, in order."""
        return tuple(need for need in self.needs if need.kind in kinds)

    def __getstate__(self) -> dict[str, Any]:
        """Without the setup, which is read again where the task arrives."""
        return {key: value for key, value in self.__dict__.items() if key != "setup"}
