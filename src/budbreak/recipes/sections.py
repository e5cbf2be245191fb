"""The sections of a recipe: what one arm is made of, checked by pydantic, each field explained by its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, Field, Strict, ValidationError, model_validator

from budbreak.diagnostics import DeadUnits, Diagnostic
from budbreak.errors import InvalidValue
from budbreak.iteration import AccuracyGates
from budbreak.recipes.families import (
    ACTIVATIONS,
    ALLOCATIONS,
    CRITERIA,
    DIAGNOSTICS,
    ENDINGS,
    FOLLOW_UPS,
    GRANULARITIES,
    OPTIMIZERS,
    PENALTIES,
    RATES,
    SAMPLERS,
    SCHEDULES,
    SCOPES,
    STOPPING_RULES,
    TUNERS,
)
from budbreak.recipes.learning_sections import WATCHED, DataSection, NetworkSection, TrainSection
from budbreak.recipes.prune_section import PruneSection
from budbreak.recipes.readers import read_many
from budbreak.recipes.refusals import in_our_words
from budbreak.recipes.search_sections import ActivationsSection, TuneSection
from budbreak.recipes.section import MOST_EPOCHS, Images, Section
from budbreak.search import TuningSpace
from budbreak.values import Family, encode


class MeasureSection(Section):
    """``[measure]``: what is looked at beside the accuracy."""

    diagnostics: Annotated[tuple[Diagnostic, ...], read_many(DIAGNOSTICS, "measure.diagnostics")] = Field(
        (DeadUnits(),), description='what is measured, e.g. ["dead-units", "gradient-norm"]; [] for nothing'
    )
    images: Images = Field(2000, description="training images (not augmented) that they look at; 0: all")
    every: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = Field(
        1, description="measure every N epochs as well as at the ends; 0: only at the ends"
    )
    compact: bool = Field(
        False, description="compact the final network (and a retrained one with its mask), and measure what that gives"
    )


class RetrainSection(Section):
    """``[retrain]``: whether the pruned network is trained once more, by ``[train]``, for numbers beside its own."""

    ways: Annotated[tuple[Literal["masked", "free"], ...], Strict(False)] = Field(
        (), description='["masked"]: what is pruned stays zero; ["free"]: all weights are trained; or both'
    )

    @model_validator(mode="after")
    def _is_retrained_once_by_each(self) -> RetrainSection:
        for way in self.ways:
            if self.ways.count(way) > 1:
                raise InvalidValue(f"retrain.ways has {way!r} twice", "each is in the list once", "take one out")
        return self


class Setup(Section):
    """All that decides the result of one arm under a seed, the environment apart."""

    data: DataSection
    network: NetworkSection
    train: TrainSection
    prune: PruneSection = Field(default_factory=lambda: PruneSection.model_validate({}))
    activations: ActivationsSection = Field(default_factory=lambda: ActivationsSection.model_validate({}))
    tune: TuneSection = Field(default_factory=lambda: TuneSection.model_validate({}))
    measure: MeasureSection = Field(default_factory=lambda: MeasureSection.model_validate({}))
    retrain: RetrainSection = Field(default_factory=lambda: RetrainSection.model_validate({}))

    @model_validator(mode="after")
    def _rewind_lies_within(self) -> Setup:
        if self.prune.rewind_epoch >= self.train.epochs:
            raise InvalidValue(
                f"prune.rewind_epoch is {self.prune.rewind_epoch}",
                f"the training has {self.train.epochs} epochs",
                "rewind to an earlier epoch",
            )
        return self

    @model_validator(mode="after")
    def _ends_as_it_prunes(self) -> Setup:
        until = self.train.until
        if until is None:
            return self
        until.check(0 if self.prune.steps else self.prune.schedule.levels)
        if isinstance(until, AccuracyGates) and self.prune.rewind != "none":
            raise InvalidValue(
                f"train.until is accuracy gates, and prune.rewind is {self.prune.rewind!r}",
                "a network that is pruned while it trains goes on with its weights, and its optimizer",
                'write rewind = "none" in [prune]',
            )
        unknown = [name for name in until.reads if name not in WATCHED]
        if unknown:
            rule = f"an epoch has these numbers: {', '.join(WATCHED)}"
            raise InvalidValue(f"train.until looks at {unknown[0]!r}", rule, "name one of them")
        return self

    @model_validator(mode="after")
    def _retrains_what_was_trained(self) -> Setup:
        if self.ends_apart and self.retrain.ways:
            value = f"retrain.ways is {list(self.retrain.ways)}, and [activations] or [tune] has the last training"
            raise InvalidValue(value, "a network is retrained as it was trained before", "take one of them out")
        return self

    @model_validator(mode="after")
    def _trials_are_its_beginning(self) -> Setup:
        for name, section in (("activations", self.activations), ("tune", self.tune)):
            if section.searches and section.epochs > self.epochs_last:
                value = f"{name}.epochs is {section.epochs}, and the last training has {self.epochs_last}"
                rule, fix = "a trial is the beginning of the last training", f"{name}.epochs = {self.epochs_last}"
                raise InvalidValue(value, rule, f"write {fix}, or fewer")
            first = getattr(section.stop, "earliest", 1)
            if section.searches and section.stop is not None and first >= section.epochs:
                value = f"{name}.epochs is {section.epochs}, and {name}.stop looks after epoch {first} at the earliest"
                rule = "a trial that is over has nothing left to save"
                raise InvalidValue(value, rule, "give trials more epochs, have the rule look earlier, or take it out")
        return self

    @property
    def ends_apart(self) -> bool:
        """Whether the last training follows a search, or has other activations than the ones before."""
        return self.activations.replaced or self.tune.searches

    @property
    def first_epoch(self) -> int:
        """How many epochs of ``[train]`` lie before a last training apart: it starts from the weights after them."""
        return self.prune.rewind_epoch if self.prune.schedule.levels and self.prune.rewind == "weights" else 0

    @property
    def epochs_last(self) -> int:
        """How many epochs a last training apart has, at most, and each finalist."""
        return self.train.epochs - self.first_epoch

    def plain(self) -> dict[str, dict[str, Any]]:
        """Section -> field -> plain form, every field spelt out; `make_setup` reads it."""
        return {name: plain_section(getattr(self, name)) for name in SECTIONS}


class _Parts(BaseModel):
    """What `make_parts` reads of a recipe."""

    data: DataSection
    network: NetworkSection


SECTIONS: Mapping[str, type[Section]] = {
    "data": DataSection,
    "network": NetworkSection,
    "train": TrainSection,
    "prune": PruneSection,
    "activations": ActivationsSection,
    "tune": TuneSection,
    "measure": MeasureSection,
    "retrain": RetrainSection,
}
FAMILIES: Mapping[tuple[str, str], Family[Any]] = {
    ("train", "until"): ENDINGS,
    ("train", "optimizer"): OPTIMIZERS,
    ("train", "schedule"): RATES,
    ("train", "penalty"): PENALTIES,
    ("prune", "criterion"): CRITERIA,
    ("prune", "schedule"): SCHEDULES,
    ("prune", "then"): FOLLOW_UPS,
    ("prune", "scope"): SCOPES,
    ("prune", "allocation"): ALLOCATIONS,
    ("prune", "granularity"): GRANULARITIES,
    ("activations", "use"): ACTIVATIONS,
    ("activations", "sampler"): SAMPLERS,
    ("activations", "stop"): STOPPING_RULES,
    ("tune", "sampler"): TUNERS,
    ("tune", "stop"): STOPPING_RULES,
    ("measure", "diagnostics"): DIAGNOSTICS,
}
_LISTED = {**FAMILIES, ("activations", "space"): ACTIVATIONS}  # its values are explained once, where they are used


def make_setup(plain: Mapping[str, object]) -> Setup:
    """The setup of a plain form: section -> field -> plain form of its value.

    Raises:
        InvalidValue: for a missing field, a wrong type, a number out of range.
        UnknownName: for a section, field or name that does not exist, with the nearest that does.
    """
    try:
        return Setup.model_validate(plain)
    except ValidationError as error:
        raise in_our_words(error.errors(include_url=False)[0], SECTIONS) from None


def with_settings(setup: Setup, settings: Mapping[str, Any]) -> Setup:
    """A setup with other fields in its ``[train]``.

    Args:
        setup: left as it is.
        settings: field -> plain form of its value.

    Raises:
        InvalidValue, UnknownName: see `make_setup`.
    """
    plain = plain_section(setup.train) | dict(settings)
    try:
        return setup.model_copy(update={"train": TrainSection.model_validate(plain)})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise in_our_words({**problem, "loc": ("train", *problem["loc"])}, SECTIONS) from None


def check_fields(plain: Mapping[str, object]) -> None:
    """Refuse fields that are wrong by themselves, in whichever arm: not what is missing, or does not go together.

    Raises:
        InvalidValue, UnknownName: see `make_setup`.
    """
    try:
        Setup.model_validate(plain)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["type"] != "missing" and (len(problem["loc"]) > 1 or problem["type"] == "extra_forbidden"):
                raise in_our_words(problem, SECTIONS) from None


def make_parts(plain: Mapping[str, object]) -> tuple[DataSection, NetworkSection]:
    """The data and the network alone: what else a recipe names is not looked at, and nothing of it imported.

    Raises:
        InvalidValue, UnknownName: see `make_setup`.
    """
    try:
        parts = _Parts.model_validate(plain)
        return parts.data, parts.network
    except ValidationError as error:
        raise in_our_words(error.errors(include_url=False)[0], SECTIONS) from None


def plain_section(section: Section) -> dict[str, Any]:
    """Field -> plain form of its value, every field spelt out."""
    (name,) = [name for name, kind in SECTIONS.items() if isinstance(section, kind)]
    return {field: plain_value(name, field, getattr(section, field)) for field in type(section).model_fields}


def plain_value(section: str, field: str, value: Any) -> Any:
    """The plain form of the value of a field."""
    family = _LISTED.get((section, field))
    if isinstance(value, str):
        return value
    if isinstance(value, TuningSpace):
        return value.plain()
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        return [encode(item, family) if family else item for item in items]
    return encode(value, family) if family and value is not None else value
