"""What is stored of an iteration: where it stands with all that is needed to go on, and the point to rewind to."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.errors import BudbreakError, CorruptFile
from budbreak.files import conform, corrupt
from budbreak.iteration.identity import mask_digest
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.plan import Plan
from budbreak.iteration.state import Position, State, misfit
from budbreak.live import TrainingState, model_state
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

    Of several processes it is rank 0's; ``ranks`` holds what the others have otherwise, see `SharedStore`. In the
    middle of a training, ``attached`` holds the state of what was attached to it.
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
    attached: TrainingState | None = None
    ranks: Sequence[Any] = ()

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes; observers, and what is attached, only where there is some."""
        more: dict[str, Any] = {}
        if self.observers:
            more["observers"] = {name: dict(state) for name, state in self.observers.items()}
        if self.attached is not None:
            more["attached"] = {"optimizers": self.attached.optimizers, "resets": self.attached.resets}
        return {
            "position": _position_tree(self.position),
            "mask": dict(self.mask),
            "records": [asdict(record) for record in self.records],
            "model": dict(self.model),
            "start_weights": dict(self.start_weights),
            "extra": dict(self.extra),
            "optimizers": self.training.optimizers,
            "resets": self.training.resets,
            "generators": self.generators,
            "ranks": list(self.ranks),
            **more,
        }

    @classmethod
    def from_tree(cls, tree: Any, path: Path) -> Checkpoint:
        """The checkpoint that was stored in the file ``path``.

        Raises:
            CorruptFile: if it has not the structure of one.
        """
        check_keys(tree, {*_TREE_KEYS}, path, optional={"observers", "attached"})
        check_tensors(tree, ("mask", "model", "start_weights"), path)
        observers = _observers_from(tree, path)
        if not isinstance(tree["extra"], dict) or not isinstance(tree["generators"], dict):
            raise corrupt(path, "its extra state or its generators are no dicts", WHAT_TO_DO)
        check_ranks(tree, path)
        if any(entry.dtype != torch.bool for entry in tree["mask"].values()):
            raise corrupt(path, "its mask is not made of bools", WHAT_TO_DO)
        if set(tree["start_weights"]) != set(tree["mask"]):
            raise corrupt(path, "its start weights are not those that its mask covers", WHAT_TO_DO)
        _check_position(tree["position"], path)
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
            attached=_attached_from(tree, path),
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
        here, wrong = self.position, misfit(self.state, plan)
        if wrong is not None:
            raise corrupt(path, wrong, WHAT_TO_DO)
        if (self.attached is not None) != (here.attached is not None and here.epochs > 0 and not here.ended):
            raise corrupt(path, "the state of what was attached is missing, or one too many", WHAT_TO_DO)
        if self.position.ended and mask_digest(self.mask) != self.records[-1].mask_digest:
            raise corrupt(path, "its mask is not the one in its last record", WHAT_TO_DO)


def _position_tree(position: Position) -> dict[str, Any]:
    """All fields but those at the value they were introduced with: see `Position`."""
    plain = asdict(position)
    usual = {field.name: field.metadata["introduced"] for field in fields(Position) if "introduced" in field.metadata}
    return {name: value for name, value in plain.items() if name not in usual or value != usual[name]}


def _check_position(tree: Any, path: Path) -> None:
    """Refuse what lacks a field, but for those that were introduced later: no other one is left to its default."""
    later = {field.name for field in fields(Position) if "introduced" in field.metadata}
    check_keys(tree, {field.name for field in fields(Position)} - later, path, optional=later)
    if tree.get("attached") is not None:
        check_keys(tree["attached"], {"optimizers", "resets"}, path)


def check_keys(
    tree: Any, keys: set[str], path: Path, remedy: str = WHAT_TO_DO, *, optional: AbstractSet[str] = frozenset()
) -> None:
    """Refuse what is no dict with just these keys, and any of the optional ones."""
    if not isinstance(tree, dict) or not keys <= set(cast(Any, tree)) <= keys | optional:
        raise corrupt(path, f"it does not hold {', '.join(sorted(keys))}", remedy)


def _attached_from(tree: dict[str, Any], path: Path) -> TrainingState | None:
    """The state of what was attached, if anything was."""
    if "attached" not in tree:
        return None
    check_keys(tree["attached"], {"optimizers", "resets"}, path)
    return training_from(tree["attached"], path)


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
