"""The sections ``[activations]`` and ``[tune]`` of a recipe: what is searched after the last pruning, and put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, PlainValidator, model_validator

from budbreak.activations import SPACES, Activation, space
from budbreak.checks import check_known
from budbreak.errors import InvalidValue, UnknownName, one_of
from budbreak.recipes.families import ACTIVATIONS, SAMPLERS, STOPPING_RULES, TUNERS
from budbreak.recipes.readers import items_of, read_one, read_optional
from budbreak.recipes.section import MOST_EPOCHS, Section
from budbreak.search import TPE, TUNING_SPACES, LateAcceptance, Sampler, StoppingRule, TuningSpace
from budbreak.values import encode, inline, shown_plain

Space = str | tuple[Activation, ...]
"""The name of a space, or the activations that each site may have."""

_MOST_TRIALS = 10_000

Trials = Annotated[int, Field(ge=1, le=_MOST_TRIALS)]
_STOPS = (
    'what ends trials early that lag behind the others: "lagging" (the cheapest that lost little where it was '
    'measured), {is = "hyperband", most = 10}, or "none"'
)


class SearchSection(Section):
    """What both searches have in common."""

    space: Any = None
    stop: StoppingRule | None = None
    trials: Trials = Field(25, description="at most so many candidates are tried; the sampler may stop before")
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = Field(
        10, description="of each trial: the first epochs of the training that the best gets in full"
    )
    parallel: Trials = Field(
        1, description="so many trials may run at a time: each is proposed without a look at those that still may"
    )
    finalists: Annotated[int, Field(ge=0, le=_MOST_TRIALS)] = Field(
        3,
        description="so many of the best are trained for train.epochs, and the best of them goes on; 0: of all trials",
    )

    @property
    def searches(self) -> bool:
        """Whether there is anything to search."""
        return self.space is not None


def _read_space(plain: object) -> Space | None:
    if plain in (None, "none"):
        return None
    if isinstance(plain, str):
        _check_name(plain)
        return plain
    if not isinstance(plain, list | tuple):
        rule = "it is the name of a space, or a list of activations"
        raise InvalidValue(f"activations.space is {shown_plain(plain)}", rule, 'write "paper", or ["relu", "swish"]')
    several = items_of(plain, ACTIVATIONS, "activations.space")
    if len(several) < 2:
        rule = "there is nothing to search with fewer than two activations to choose from"
        one = f'use = "{encode(several[0], ACTIVATIONS)}"' if several else 'space = "paper"'
        raise InvalidValue(f"activations.space has {len(several)} activations", rule, f"write {one}")
    return several


def _check_name(name: str) -> None:
    """Refuse what is no name of a space: of an activation it says what was meant."""
    if name in ACTIVATIONS.names:
        fix = f'write use = "{name}", or choose from several, as in space = ["relu", "swish"]'
        raise UnknownName(f"no space named {name!r}", f"{one_of(SPACES)}; this is an activation", fix)
    check_known(f"no space named {name!r}", name, SPACES)


class ActivationsSection(SearchSection):
    """``[activations]``: what the pruned network has in the place of its own activations, in its last training."""

    use: Annotated[Activation | None, read_optional(ACTIVATIONS, "activations.use")] = Field(
        None, description='at every site, without a search: "swish", or {is = "prelu", per = "unit"}'
    )
    space: Annotated[Space | None, PlainValidator(_read_space)] = Field(
        None, description='what is searched for each site: "paper", or ["relu", "swish", "srs"]'
    )
    sampler: Annotated[Sampler, read_one(SAMPLERS, "activations.sampler")] = Field(
        LateAcceptance(), description="proposes what is tried next"
    )
    stop: Annotated[StoppingRule | None, read_optional(STOPPING_RULES, "activations.stop")] = Field(
        None, description=_STOPS
    )
    trainable: bool = Field(
        False, description="train the scalars (alpha, beta) of all activations in tuning and in the last training"
    )
    per: Literal["site", "unit"] = Field("site", description="one of each trained scalar for a site, or for each unit")

    @model_validator(mode="after")
    def _uses_or_searches(self) -> ActivationsSection:
        if self.use is not None and self.space is not None:
            raise InvalidValue(
                f"activations.use is {encode(self.use, ACTIVATIONS)!r}, and there is a space",
                "activations are given, or searched",
                "take one of them out",
            )
        return self

    @property
    def choices(self) -> tuple[Activation, ...]:
        """What a search chooses from, at each site; nothing where none is searched."""
        return () if self.space is None else space(self.space) if isinstance(self.space, str) else self.space

    @property
    def replaced(self) -> bool:
        """Whether the network gets other activations than it was pruned with."""
        return self.use is not None or self.space is not None


def _read_tuning(plain: object) -> str | TuningSpace | None:
    if plain in (None, "none"):
        return None
    if isinstance(plain, str):
        check_known(f"no space of settings named {plain!r}", plain, TUNING_SPACES)
        return plain
    if not isinstance(plain, Mapping) or not plain:
        rule = "it is the name of a space, or fields of [train] with what may be chosen"
        raise InvalidValue(
            f"tune.space is {shown_plain(plain)}", rule, 'write "safs", or {batch_size = {low = 32, high = 256}}'
        )
    space = TuningSpace.of(cast("Mapping[str, Any]", plain))
    if space.size == 1:
        value, fix = f"tune.space has one candidate: {shown_plain(space.plain())}", "write a range, or a choice of two"
        raise InvalidValue(value, "there is nothing to search", fix)
    return space


class TuneSection(SearchSection):
    """``[tune]``: which hyper-parameters the last training has, in the place of those of ``[train]``."""

    space: Annotated[str | TuningSpace | None, PlainValidator(_read_tuning)] = Field(
        None, description='what is searched: "safs", "paper", or fields of [train] with {low = ..., high = ...} in them'
    )
    sampler: Annotated[Sampler, read_one(TUNERS, "tune.sampler")] = Field(
        TPE(), description="proposes what is tried next"
    )
    stop: Annotated[StoppingRule | None, read_optional(STOPPING_RULES, "tune.stop")] = Field(None, description=_STOPS)
    trials: Trials = Field(20, description="at most so many settings are tried; the sampler may stop before")

    @model_validator(mode="after")
    def _reaches(self) -> TuneSection:
        """Refuse a number of trials above that after which the sampler stops, where it is said."""
        most = getattr(self.sampler, "trials", None)
        if "trials" in self.model_fields_set and isinstance(most, int) and most < self.trials:
            rule = f"the sampler stops after its own number of trials, which is {most}"
            plain = encode(self.sampler, TUNERS)
            table: Mapping[str, Any] = {"is": plain} if isinstance(plain, str) else plain
            fix = f"write tune.sampler = {inline({**table, 'trials': self.trials})}"
            raise InvalidValue(f"tune.trials is {self.trials}", rule, fix)
        return self

    def choices(self, epochs: int) -> TuningSpace:
        """What is searched for a training of so many epochs."""
        assert self.space is not None
        return TuningSpace.of(self.space, epochs)
