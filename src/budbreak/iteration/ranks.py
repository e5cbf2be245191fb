"""The ranks of one iteration: what they have in common, and the store that they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from budbreak.errors import RanksDisagree
from budbreak.files import as_stored, corrupt, digest, tree_digest
from budbreak.iteration.checkpoint import WHAT_TO_DO, Checkpoint
from budbreak.iteration.identity import Setup, differences
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.levelweights import LevelWeights
from budbreak.iteration.rewindpoint import NO_REWIND_POINT, RewindPoint
from budbreak.iteration.state import Position
from budbreak.iteration.store import Store
from budbreak.live import state_digest
from budbreak.masks import Mask, unwrap
from budbreak.processes import Processes

T = TypeVar("T")
Entry = list[Any]
"""[key, key or index within it or None, value]: one entry of a tree, two levels deep."""


class SharedStore:
    """A `Store` that rank 0 alone opens, reads and writes; what fails there is raised on all ranks.

    Its files hold rank 0's state, and of the others what they have otherwise: generators, buffers, whatever differs.
    So each rank goes on with its own, bit for bit. All ranks call each method. For a process alone it is the store.
    """

    def __init__(self, store: Store, processes: Processes) -> None:
        self._store, self._processes = store, processes

    def open(self, identity: dict[str, Any]) -> None:
        """See `Store.open`; the identities of the other ranks, who have other data, belong to it."""
        others = self._processes.exchange("the identity", digest(identity))[1:]
        about = {**identity, "ranks": others} if others else identity
        self._on_first("opening the store", lambda: self._store.open(about))

    def close(self) -> None:
        """See `Store.close`; without the others, who may be gone."""
        self._store.close()

    def path(self, name: str) -> Path:
        """See `Store.path`."""
        return self._store.path(name)

    def load_checkpoint(self) -> tuple[Checkpoint, Path] | None:
        """This rank's part of the newest checkpoint; see `Store.load_checkpoint`."""
        stored = self._given("reading the checkpoint", self._store.load_checkpoint)
        if stored is None or self._processes.size == 1:
            return stored
        checkpoint, path = stored
        return Checkpoint.from_tree(self._own(checkpoint.tree(), path, WHAT_TO_DO), path), path

    def load_rewind_point(self, steps: int, wanted: RewindPoint) -> RewindPoint:
        """This rank's part of the snapshot to rewind to; see `Store.load_rewind_point`."""
        point = self._given("reading the rewind point", lambda: self._store.load_rewind_point(steps, wanted))
        if self._processes.size == 1 or not point.complete:
            return point
        path = self.path("rewind")
        return RewindPoint.from_tree(self._own(point.tree(), path, NO_REWIND_POINT), path)

    def save_checkpoint(self, tree: dict[str, Any]) -> None:
        """See `Store.save_checkpoint`."""
        whole = self._with_others(tree)
        self._on_first("writing the checkpoint", lambda: self._store.save_checkpoint(whole))

    def save(self, name: str, tree: dict[str, Any]) -> None:
        """See `Store.save`."""
        whole = self._with_others(tree)
        self._on_first(f"writing {name}", lambda: self._store.save(name, whole))

    def save_records(self, records: Sequence[LevelRecord]) -> None:
        """See `Store.save_records`."""
        self._on_first("writing the records", lambda: self._store.save_records(records))

    def save_mask(self, level: int, mask: Mask) -> None:
        """See `Store.save_mask`."""
        self._on_first("writing a mask", lambda: self._store.save_mask(level, mask))

    def save_weights(self, weights: LevelWeights, mask: Mask) -> None:
        """See `Store.save_weights`: rank 0's."""
        self._on_first("writing the weights of a level", lambda: self._store.save_weights(weights, mask))

    def has_weights(self, level: int) -> bool:
        """See `Store.has_weights`."""
        return self._given("looking for the weights of a level", lambda: self._store.has_weights(level))

    def check_masks(self, records: Sequence[LevelRecord]) -> None:
        """See `Store.check_masks`."""
        self._on_first("reading the masks", lambda: self._store.check_masks(records))

    def _on_first(self, at: str, action: Callable[[], T]) -> T | None:
        """What rank 0's action gives there; None elsewhere."""
        with self._processes.agreeing(at):
            return action() if self._processes.rank == 0 else None

    def _given(self, at: str, action: Callable[[], T]) -> T:
        """What rank 0's action gives, on all ranks."""
        return cast(T, self._processes.first(at, self._on_first(at, action)))

    def _with_others(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Rank 0's tree with the entries of the others that differ from it."""
        if self._processes.size == 1:
            return tree
        mine = list(_entries(tree))
        digests = [tree_digest(entry) for entry in mine]
        first = self._processes.first("the state of rank 0", digests)
        other = [as_stored(entry) for entry, digest in zip(mine, digests, strict=True) if digest not in set(first)]
        everyone = self._processes.exchange("the states of the other ranks", other)
        return {**tree, "ranks": everyone[1:]}

    def _own(self, tree: dict[str, Any], path: Path, remedy: str) -> dict[str, Any]:
        """This rank's tree: rank 0's, with its own entries put in."""
        others = tree["ranks"]
        if len(others) != self._processes.size - 1:
            raise corrupt(path, f"it is of {len(others) + 1} ranks, not {self._processes.size}", remedy)
        own = {key: _open(value) for key, value in tree.items()}
        for entry in others[self._processes.rank - 1] if self._processes.rank else []:
            _put(own, entry, path, remedy)
        return {**own, "ranks": []}


def _entries(tree: Mapping[str, Any]) -> Iterator[Entry]:
    for key, value in tree.items():
        if key == "ranks":
            continue
        if isinstance(value, Mapping):
            yield from ([key, inner, item] for inner, item in cast(Mapping[Any, Any], value).items())
        elif isinstance(value, list | tuple):
            yield from ([key, index, item] for index, item in enumerate(cast(Sequence[Any], value)))
        else:
            yield [key, None, value]


def _open(value: Any) -> Any:
    """A container that entries can be put into."""
    if isinstance(value, Mapping):
        return dict(cast(Mapping[Any, Any], value))
    return list(cast(Sequence[Any], value)) if isinstance(value, list | tuple) else value


def _put(tree: dict[str, Any], entry: Any, path: Path, remedy: str) -> None:
    try:
        key, inner, value = entry
        if inner is None:
            tree[key] = value
        else:
            tree[key][inner] = value
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise corrupt(path, f"the part of a rank does not fit ({error})", remedy) from None


APART = "give all ranks the same; or group='alone', where each rank carries out an iteration of its own"


def check_same_iteration(processes: Processes, about: Mapping[str, Any]) -> None:
    """Refuse ranks that carry out different iterations.

    Raises:
        RanksDisagree: with the first difference.
    """
    if processes.size == 1:
        return
    everyone = processes.exchange("the start of an iteration", json.loads(json.dumps(about)))
    for rank, other in enumerate(everyone):
        changed = differences(everyone[0], other)
        if changed:
            raise RanksDisagree(
                f"rank {rank} carries out another iteration than rank 0: {changed[0]}",
                "the ranks of a group prune one network together: one plan, model, optimizer and seed",
                APART,
            )


def check_same_network(setup: Setup, mask: Mask, level: int) -> None:
    """Refuse ranks whose masks or parameters differ; buffers may, as those of BatchNorm do.

    Raises:
        RanksDisagree: with the first entry that differs.
    """
    if setup.processes.size == 1:
        return
    setup.processes.same(
        f"the mask of level {level}",
        {name: state_digest({name: entry})[:12] for name, entry in mask.items()},
        "all ranks remove the same weights",
        "criteria and probes of your own must find the same on all ranks: add sums up with view.processes.sum",
    )
    parameters = unwrap(setup.model).named_parameters()
    setup.processes.same(
        f"the weights at the start of level {level}",
        {name: state_digest({name: parameter.detach()})[:12] for name, parameter in parameters},
        "all ranks train the same weights",
        "wrap the model in DistributedDataParallel and train through the wrapper, or average the gradients yourself",
    )


@dataclass(frozen=True)
class Said:
    """What the user's loop has said since the ranks agreed last.

    Args:
        metrics: what it has recorded.
        in_epoch: of them, those that were recorded within the epoch that is over now.
        ends_after: see `Position`.
    """

    metrics: Mapping[str, float]
    in_epoch: Mapping[str, float]
    ends_after: int | None


def agree(processes: Processes, here: Position, mine: Said, moment: str) -> Said:
    """What the loops of all ranks said in this training; they took equally many steps to get there.

    A number may be recorded on one rank or on several, where it must be the same. What one rank stops is stopped.

    Args:
        processes: the ranks.
        here: where this one stands.
        mine: what its own loop has said.
        moment: what is over.

    Raises:
        RanksDisagree: with the steps or the number.
    """
    if processes.size == 1:
        return mine
    at = f"{moment} of level {here.level}, stage {here.stage}, after {here.epochs} epochs"
    everyone = processes.exchange(at, ((here.steps, here.ahead), mine))
    for rank, ((steps, ahead), _) in enumerate(everyone):
        if (steps, ahead) != everyone[0][0]:
            raise RanksDisagree(
                f"rank 0 took {_steps(*everyone[0][0])} optimizer steps, rank {rank} took {_steps(steps, ahead)}",
                "all ranks take the same steps",
                "give them equally many batches, e.g. by DistributedSampler(data, drop_last=True)",
            )
    stops = (said.ends_after for _, said in everyone if said.ends_after is not None)
    return Said(
        _common([said.metrics for _, said in everyone]),
        _common([said.in_epoch for _, said in everyone]),
        next(stops, None),
    )


def _steps(steps: int, ahead: Sequence[int]) -> str:
    """Of several optimizers that differ, those of each."""
    return " and ".join(str(steps + more) for more in ahead) or str(steps)


def _common(recorded: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    metrics: dict[str, float] = {}
    for rank, numbers in enumerate(recorded):
        for name, number in numbers.items():
            if metrics.setdefault(name, number) != number:
                raise RanksDisagree(
                    f"record({name}=...) got {metrics[name]} and, on rank {rank}, {number}",
                    "a record holds one number for all ranks",
                    "reduce it over the ranks before, or record it on rank 0 alone",
                )
    return metrics
