"""The section ``[prune]`` of a recipe: what goes, and when."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, Strict, model_validator

from budbreak.criteria import Criterion, Magnitude, scope_of
from budbreak.errors import InvalidValue
from budbreak.iteration import FollowUp
from budbreak.masks import Allocation, Element, Global, Granularity, Scope, Uniform
from budbreak.recipes.families import ALLOCATIONS, CRITERIA, FOLLOW_UPS, GRANULARITIES, SCHEDULES, SCOPES
from budbreak.recipes.readers import read_floor, read_many, read_one
from budbreak.recipes.section import MOST_EPOCHS, MOST_IMAGES, Images, Section
from budbreak.schedules import Geometric, Schedule

_MOST_LEVELS = 1000
_MOST_ROUNDS = 10_000
_MOST_ITEMS = 100  # of a list

Patterns = Annotated[tuple[str, ...], Strict(False), Field(max_length=_MOST_ITEMS)]


def _meant_scope(given: dict[str, Any]) -> Scope:
    """Where the scores compete if nobody says it; what was wrong before is refused elsewhere."""
    return scope_of(given.get("criterion", Magnitude()), given.get("granularity", Element()), None)


class PruneSection(Section):
    """``[prune]``: what goes, and when."""

    criterion: Annotated[Criterion, read_one(CRITERIA, "prune.criterion")] = Field(
        Magnitude(), description='how much each weight matters, e.g. {is = "random", seed = 1}'
    )
    schedule: Annotated[Schedule, read_one(SCHEDULES, "prune.schedule")] = Field(
        Geometric(rate=0.2, levels=12), description="how sparse the network is at each level"
    )
    then: Annotated[tuple[FollowUp, ...], read_many(FOLLOW_UPS, "prune.then", twice=True)] = Field(
        (), description='what follows in each level, e.g. ["ap"], ["train", {is = "remove", q = 0.02}]'
    )
    granularity: Annotated[Granularity, read_one(GRANULARITIES, "prune.granularity")] = Field(
        Element(), description="what goes as one"
    )
    scope: Annotated[Scope, read_one(SCOPES, "prune.scope")] = Field(
        default_factory=_meant_scope,
        description='where scores compete: in all layers ("global"), in each ("layer"), in its rows, in groups of N:M; '
        "unless given, where the criterion is meant to be used, mostly in all layers",
        json_schema_extra={"introduced": cast(Any, Global())},
    )
    allocation: Annotated[Allocation, read_one(ALLOCATIONS, "prune.allocation")] = Field(
        Uniform(), description='how a target is divided over layers, for the scopes "layer" and "rows"'
    )
    floor: Annotated[int | float, read_floor("prune.floor")] = Field(
        0, description="so many weights, or that share (such as 0.01), stay in each layer at least"
    )
    exclude: Patterns = Field((), description='weights that are not prunable, e.g. ["fc.*"]')
    spare: Patterns = Field((), description='weights of which none goes, but which are counted, e.g. ["fc3.*"]')
    rewind: Literal["weights", "learning-rate", "none"] = Field(
        "weights", description="what returns after a pruning: weights; learning-rate (the weights stay); none"
    )
    rewind_epoch: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = Field(
        0, description="rewind weights to the end of this epoch of level 0; 0: initialization"
    )
    images: Images = Field(2000, description="training images for criteria that look at data; 0: all")
    allow_collapse: bool = Field(False, description="go on when a layer has lost all its weights")
    train_dense: bool = Field(True, description="train before the first pruning; false: prune at initialization")
    steps: Annotated[int, Field(ge=0, le=MOST_IMAGES)] = Field(
        0, description="optimizer steps of each training after a pruning, of gradual pruning say; 0: train.epochs"
    )
    rounds: Annotated[int, Field(ge=0, le=_MOST_ROUNDS)] = Field(
        0, description="rounds of each pruning, the network observed anew in each; 0: as many as the criterion has"
    )

    connect: bool = Field(
        False, description="each class keeps a path from the input: for each weight that comes in for it, another goes"
    )

    @model_validator(mode="after")
    def _levels_end(self) -> PruneSection:
        if self.schedule.levels > _MOST_LEVELS:
            value = f"prune.schedule has {self.schedule.levels:,} levels"
            raise InvalidValue(value, f"it has at most {_MOST_LEVELS:,}", "give fewer")
        return self

    @model_validator(mode="after")
    def _rewinds_to_what_there_is(self) -> PruneSection:
        if self.rewind_epoch and not self.train_dense:
            value = f"prune.rewind_epoch is {self.rewind_epoch}, and prune.train_dense is false"
            raise InvalidValue(value, "it is an epoch of level 0, and there is none", "take one of them out")
        return self
