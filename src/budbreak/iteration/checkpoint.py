"""What is stored of an iteration: where it stands with all that is needed to go on, and the point to rewind to."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.errors import BudbreakError, CorruptFile, InvalidValue
from budbreak.files import conform, corrupt
from budbreak.iteration.identity import mask_digest
from budbreak.iteration.plan import Plan
from budbreak.iteration.state import LevelRecord, Position, State, misfit
from budbreak.iteration.step import Step
from budbreak.live import Resettable, Snapshot, TrainingState, model_state, state_digest
from budbreak.masks import Mask

WHAT_TO_DO = "delete it (an earlier checkpoint is used if there is one) or restore it from a copy"
_TREE_KEYS = (
    "position", "mask", "records", "model", "start_weights", "extra", "optimizers", "resets", "generators", "ranks",
)  # fmt: skip


@dataclass(frozen=True)
class RecordsFile:
    """What ``records.json`` holds."""

    records: tuple[LevelRecord, ...]


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on bit for bit, besides the rewind point.

    Of several processes it is rank 0's; ``ranks`` holds what the others have otherwise, see `SharedStore`.
    """

    position: Position
    mask: Mask
    records: tuple[LevelRecord, ...]
    model: Mapping[str, Tensor]
    extra: Mapping[str, Any]
    start_weights: Mapping[str, Tensor]
    training: TrainingState
    generators: dict[str, Any]
    observers: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict[str, Any])
    ranks: Sequence[Any] = ()

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes; observers only where there are some."""
        watched = {"observers": {name: dict(state) for name, state in self.observers.items()}} if self.observers else {}
        return {
            "position": asdict(self.position),
            "mask": dict(self.mask),
            "records": [asdict(record) for record in self.records],
            "model": dict(self.model),
            "start_weights": dict(self.start_weights),
            "extra": dict(self.extra),
            "optimizers": self.training.optimizers,
            "resets": self.training.resets,
            "generators": self.generators,
            "ranks": list(self.ranks),
            **watched,
        }

    @classmethod
    def from_tree(cls, tree: Any, path: Path) -> Checkpoint:
        """The checkpoint that was stored in the file ``path``.

        Raises:
            CorruptFile: if it has not the structure of one.
        """
        watched = {"observers"} if isinstance(tree, dict) and "observers" in tree else set[str]()
        check_keys(tree, {*_TREE_KEYS, *watched}, path)
        check_tensors(tree, ("mask", "model", "start_weights"), path)
        observers = _observers_from(tree, path)
        if not isinstance(tree["extra"], dict) or not isinstance(tree["generators"], dict):
            raise corrupt(path, "its extra state or its generators are no dicts", WHAT_TO_DO)
        check_ranks(tree, path)
        if any(entry.dtype != torch.bool for entry in tree["mask"].values()):
            raise corrupt(path, "its mask is not made of bools", WHAT_TO_DO)
        if set(tree["start_weights"]) != set(tree["mask"]):
            raise corrupt(path, "its start weights are not those that its mask covers", WHAT_TO_DO)
        check_keys(tree["position"], {field.name for field in fields(Position)}, path)  # all: none by its default
        if set(tree["generators"]) - {"cuda"} != {"torch", "numpy", "random"}:
            raise corrupt(path, "its generators are not those of torch, numpy and random", WHAT_TO_DO)
        return cls(
            position=conform(Position, tree["position"], path, WHAT_TO_DO),
            mask=Mask(tree["mask"]),
            records=conform(RecordsFile, {"records": tree["records"]}, path, WHAT_TO_DO).records,
            model=tree["model"],
            extra=tree["extra"],
            start_weights=tree["start_weights"],
            training=training_from(tree, path),
            generators=tree["generators"],
            observers=observers,
            ranks=tree["ranks"],
        )

    @property
    def state(self) -> State:
        """Where it stands."""
        return State(self.mask, self.mask, self.records, self.position)

    def check_course(self, plan: Plan, path: Path) -> None:
        """Refuse a checkpoint whose position, records and mask cannot come from this plan; ``path`` is its file.

        Raises:
            CorruptFile: with what does not fit.
        """
        wrong = misfit(self.state, plan)
        if wrong is not None:
            raise corrupt(path, wrong, WHAT_TO_DO)
        if self.position.ended and mask_digest(self.mask) != self.records[-1].mask_digest:
            raise corrupt(path, "its mask is not the one in its last record", WHAT_TO_DO)


def check_keys(tree: Any, keys: set[str], path: Path, remedy: str = WHAT_TO_DO) -> None:
    """Refuse what is no dict with just these keys."""
    if not isinstance(tree, dict) or set(cast(Any, tree)) != keys:
        raise corrupt(path, f"it does not hold {', '.join(sorted(keys))}", remedy)


def _observers_from(tree: dict[str, Any], path: Path) -> dict[str, dict[str, Tensor]]:
    """The states of observers in a tree, of which there may be none."""
    observers: Any = tree.get("observers", {})
    if not isinstance(observers, dict):
        raise corrupt(path, "its observers are no dict", WHAT_TO_DO)
    check_tensors(cast(Any, observers), tuple(cast(Any, observers)), path)
    return cast(Any, observers)


def check_ranks(tree: dict[str, Any], path: Path, remedy: str = WHAT_TO_DO) -> None:
    """Refuse what holds no list of entries for each other rank."""
    ranks = tree["ranks"]
    if not isinstance(ranks, list) or not all(isinstance(part, list) for part in cast(Any, ranks)):
        raise corrupt(path, "the parts of its ranks are no lists", remedy)


def check_tensors(tree: dict[str, Any], names: Sequence[str], path: Path, remedy: str = WHAT_TO_DO) -> None:
    """Refuse what is no dict of names to tensors."""
    for name in names:
        part = tree[name]
        if not isinstance(part, dict) or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in cast(Any, part).items()
        ):
            raise corrupt(path, f"its {name} is not made of named tensors", remedy)


def training_from(tree: dict[str, Any], path: Path, remedy: str = WHAT_TO_DO) -> TrainingState:
    """The state of optimizer and resets in a tree; whether it fits them shows when they take it."""
    optimizers, resets = tree["optimizers"], tree["resets"]
    if not isinstance(optimizers, list | tuple) or not isinstance(resets, list | tuple):
        raise corrupt(path, "it holds no states of optimizers and resets", remedy)
    return TrainingState(tuple(cast(Any, optimizers)), tuple(cast(Any, resets)))


@contextlib.contextmanager
def fitting(path: Path, remedy: str = WHAT_TO_DO) -> Generator[None, None, None]:
    """While a stored state is put into live objects: if one cannot take it, the file is to blame.

    Raises:
        CorruptFile: for whatever a load_state_dict of anybody's class raises, or our own checks.
    """
    try:
        yield
    except CorruptFile:
        raise
    except BudbreakError as error:
        raise corrupt(path, f"its state does not fit ({error.value}: {error.rule})", remedy) from error
    except Exception as error:
        raise corrupt(path, f"its state does not fit ({type(error).__name__}: {error})", remedy) from error


def check_names(what: str, names: Iterable[str], wanted: Iterable[str], path: Path) -> None:
    """Refuse a checkpoint whose mask or extra state is of other entries than the network's."""
    odd = sorted(set(names) ^ set(wanted))
    if odd:
        raise corrupt(path, f"its {what} and that of the network differ in {odd[0]!r}", WHAT_TO_DO)


def check_dtypes(state: Mapping[str, Tensor], model: nn.Module, path: Path, remedy: str = WHAT_TO_DO) -> None:
    """Refuse a state that would be cast on its way into the model."""
    for name, tensor in model_state(model).items():
        if name in state and state[name].dtype != tensor.dtype:
            raise corrupt(path, f"its {name!r} is {state[name].dtype}, that of the model {tensor.dtype}", remedy)


NO_REWIND_POINT = "restore it from a copy, or begin again in another folder: no later level can do without it"


class RewindPoint:
    """Weights and buffers after step k; optimizer and ``resets`` just before step k + 1.

    The scheduler of step k runs after the optimizer's step, and the forward pass of step k + 1 already moves the
    buffers: so the two halves are copied at two moments.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.snapshot: Snapshot | None = None
        self.training: TrainingState | None = None
        self.ranks: Sequence[Any] = ()  # what the other processes have otherwise, see `SharedStore`

    @property
    def complete(self) -> bool:
        """Whether both halves are there."""
        return self.training is not None

    def after_step(self, steps: int, model: nn.Module) -> None:
        """Copy the model if this is the moment."""
        if self.snapshot is None and steps == self.step.count:
            self.snapshot = Snapshot.of(model)

    def settle(self, optimizer: Optimizer, resets: Sequence[Resettable]) -> None:
        """Copy the rest if the model has been copied: before the next step, or at an epoch's or level's end.

        Raises:
            InvalidValue: if the optimizer has other groups by now, which could not be put back.
        """
        if self.training is not None:
            self.training.check_groups(optimizer)
        elif self.snapshot is not None:
            self.training = TrainingState.of(optimizer, resets)

    def get(self) -> tuple[Snapshot, TrainingState]:
        """Both halves.

        Raises:
            InvalidValue: if level 0 ended before the step came.
        """
        if self.snapshot is None or self.training is None:
            raise InvalidValue(
                f"rewind_to is {self.step}, but level 0 ended earlier",
                "the step to rewind to lies within the training of level 0",
                "rewind to an earlier step, or train level 0 for longer",
            )
        return self.snapshot, self.training

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes."""
        snapshot, training = self.get()
        return {
            "step": self.step.count,
            "state": dict(snapshot.state),
            "digest": snapshot.digest,
            "extra": dict(snapshot.extra),
            "optimizers": training.optimizers,
            "resets": training.resets,
            "ranks": list(self.ranks),
        }

    @classmethod
    def from_tree(cls, tree: Any, path: Path) -> RewindPoint:
        """The point that was stored in the file ``path``.

        Raises:
            CorruptFile: if it has not the structure of one, or its state not the digest that it had.
        """
        check_keys(tree, {"step", "state", "extra", "digest", "optimizers", "resets", "ranks"}, path, NO_REWIND_POINT)
        check_tensors(tree, ("state",), path, NO_REWIND_POINT)
        known = isinstance(tree["step"], int) and tree["step"] >= 0 and isinstance(tree["extra"], dict)
        if not known or state_digest(tree["state"], tree["extra"]) != tree["digest"]:
            raise corrupt(path, "its state is not the one of its step and digest", NO_REWIND_POINT)
        check_ranks(tree, path, NO_REWIND_POINT)
        point = cls(Step(tree["step"]))
        point.ranks = tree["ranks"]
        point.snapshot = Snapshot(tree["state"], tree["digest"], tree["extra"])
        point.training = training_from(tree, path, NO_REWIND_POINT)
        return point
