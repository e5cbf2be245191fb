"""Where an iteration stands, and all that is needed to go on from there."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.errors import BudbreakError
from budbreak.files import conform, corrupt
from budbreak.iteration.invariants import mask_digest
from budbreak.iteration.plan import Plan
from budbreak.iteration.rates import Rates
from budbreak.iteration.record import LevelRecord
from budbreak.iteration.removal import Removal
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
class Position:
    """Where an iteration stands.

    Args:
        level, stage: the training that runs, or that ended last.
        alive: things alive before this level.
        epochs: done in this training; ``ended``: whether it is over and recorded.
        steps: optimizer steps in all trainings; ``first_step``: of them, before this training;
            ``level_step``: before this level, which is when its schedule was asked.
        host, follow_ups, shortfall: see `Removal`.
        rewound: hash of the state after rewinding, or None.
        seconds: this training took in earlier sessions.
        metrics: recorded so far in this training; ``noted``: after how many steps, outside its epochs, at last.
        planned: epochs that this training has, where it was said.
        first_rates: learning rates at the first step of level 0; see `budbreak.iteration.rates`.
    """

    level: int
    stage: int
    alive: int
    epochs: int = 0
    ended: bool = False
    steps: int = 0
    first_step: int = 0
    level_step: int = 0
    host: int = 0
    follow_ups: tuple[int, ...] = ()
    shortfall: int = 0
    rewound: str | None = None
    seconds: float = 0.0
    metrics: Mapping[str, float] | None = None
    first_rates: Rates | None = None
    noted: int | None = None
    planned: int | None = None

    @property
    def over(self) -> bool:
        """Whether the body has done all of this training, as far as can be known."""
        return not self.ended and (self.epochs == self.planned or self.noted == self.steps)


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on bit for bit, besides the rewind point.

    Of several processes it is rank 0's; ``ranks`` holds what the others have otherwise, see `shared`.
    """

    position: Position
    mask: Mask
    records: tuple[LevelRecord, ...]
    model: Mapping[str, Tensor]
    extra: Mapping[str, Any]
    start_weights: Mapping[str, Tensor]
    training: TrainingState
    generators: dict[str, Any]
    ranks: Sequence[Any] = ()

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes."""
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
        }

    @classmethod
    def from_tree(cls, tree: Any, path: Path) -> Checkpoint:
        """The checkpoint that was stored in the file ``path``.

        Raises:
            CorruptFile: if it has not the structure of one.
        """
        check_keys(tree, set(_TREE_KEYS), path)
        check_tensors(tree, ("mask", "model", "start_weights"), path)
        if not isinstance(tree["extra"], dict) or not isinstance(tree["generators"], dict):
            raise corrupt(path, "its extra state or its generators are no dicts", WHAT_TO_DO)
        check_ranks(tree, path)
        if any(entry.dtype != torch.bool for entry in tree["mask"].values()):
            raise corrupt(path, "its mask is not made of bools", WHAT_TO_DO)
        return cls(
            position=conform(Position, tree["position"], path, WHAT_TO_DO),
            mask=Mask(tree["mask"]),
            records=conform(RecordsFile, {"records": tree["records"]}, path, WHAT_TO_DO).records,
            model=tree["model"],
            extra=tree["extra"],
            start_weights=tree["start_weights"],
            training=training_from(tree, path),
            generators=tree["generators"],
            ranks=tree["ranks"],
        )

    def check_course(self, stages: Sequence[tuple[int, int]], path: Path) -> None:
        """Refuse a checkpoint whose position, records and mask cannot come from this plan.

        Args:
            stages: (level, stage) of all trainings of the plan, in their order.
            path: the file, for the message.

        Raises:
            CorruptFile: with what does not fit.
        """
        here = self.position
        if (here.level, here.stage) not in stages or min(here.epochs, here.steps, here.alive) < 0:
            raise corrupt(path, f"it stands at level {here.level}, which the plan has not", WHAT_TO_DO)
        over = stages.index((here.level, here.stage)) + here.ended
        if [(record.level, record.stage) for record in self.records] != list(stages[:over]):
            raise corrupt(path, f"it has not the records of the {over} trainings that are over", WHAT_TO_DO)
        if here.ended and mask_digest(self.mask) != self.records[-1].mask_digest:
            raise corrupt(path, "its mask is not the one in its last record", WHAT_TO_DO)


def check_keys(tree: Any, keys: set[str], path: Path, remedy: str = WHAT_TO_DO) -> None:
    """Refuse what is no dict with just these keys."""
    if not isinstance(tree, dict) or set(cast(Any, tree)) != keys:
        raise corrupt(path, f"it does not hold {', '.join(sorted(keys))}", remedy)


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
        CorruptFile: for whatever a load_state_dict of anybody's class raises.
    """
    try:
        yield
    except BudbreakError:
        raise
    except Exception as error:
        raise corrupt(path, f"its state does not fit ({type(error).__name__}: {error})", remedy) from error


def check_dtypes(state: Mapping[str, Tensor], model: nn.Module, path: Path, remedy: str = WHAT_TO_DO) -> None:
    """Refuse a state that would be cast on its way into the model."""
    for name, tensor in model_state(model).items():
        if name in state and state[name].dtype != tensor.dtype:
            raise corrupt(path, f"its {name!r} is {state[name].dtype}, that of the model {tensor.dtype}", remedy)


def begun(
    level: int, stage: int, *, alive: int, before: Position | None, removal: Removal | None, rewound: str | None
) -> Position:
    """The position at the beginning of a training; ``before`` is where the training before it ended."""
    steps = before.steps if before else 0
    host, follow_ups, short = (removal.host, removal.follow_ups, removal.shortfall) if removal else (0, (), 0)
    return Position(
        level,
        stage,
        alive,
        steps=steps,
        first_step=steps,
        level_step=before.level_step if before and stage > 0 else steps,
        host=host,
        follow_ups=follow_ups,
        shortfall=short,
        rewound=rewound,
        first_rates=before.first_rates if before else None,
    )


def in_words(here: Position, plan: Plan, records: Sequence[LevelRecord]) -> str:
    """Where an earlier session had come to, and what is left."""
    of = f"level {here.level} of {plan.levels}"
    if here.ended and here.level == plan.levels and here.stage + 1 == plan.stages(here.level):
        epochs = sorted({record.epochs for record in records} - {0})
        had = f" (trainings of {' and '.join(map(str, epochs))} epochs)" if epochs else ""
        return f"going on from {of}: nothing left to train{had}"
    done = "done" if here.ended else f"{here.epochs} of its epochs are done"
    return f"going on from {of}, stage {here.stage}: {done}"
