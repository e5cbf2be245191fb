"""The sections of a recipe: what one arm is made of, checked by pydantic, each field explained by its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, Field, Strict, ValidationError, model_validator

from budbreak.criteria import Criterion, Magnitude, scope_of
from budbreak.data import PAD, find
from budbreak.diagnostics import DeadUnits, Diagnostic
from budbreak.errors import InvalidValue
from budbreak.iteration import AccuracyGates, EndingRule, FollowUp
from budbreak.masks import Allocation, Element, Global, Granularity, Scope, Uniform
from budbreak.networks import check_init, check_network
from budbreak.schedules import Geometric, Schedule
from budbreak.search import TuningSpace
from budbreak.studies.families import (
    ACTIVATIONS,
    ALLOCATIONS,
    CRITERIA,
    DIAGNOSTICS,
    ENDINGS,
    FOLLOW_UPS,
    GRANULARITIES,
    OPTIMIZERS,
    RATES,
    SAMPLERS,
    SCHEDULES,
    SCOPES,
    STOPPING_RULES,
    TUNERS,
)
from budbreak.studies.readers import read_floor, read_many, read_one, read_optional, read_text
from budbreak.studies.refusals import in_our_words
from budbreak.studies.search_sections import ActivationsSection, TuneSection
from budbreak.studies.section import Section
from budbreak.training import SGD, Constant, OptimizerValue, RateSchedule
from budbreak.values import Family, encode

_MOST_IMAGES = 10**9
_MOST_EPOCHS = 100_000  # more is a slip of the pen, and would list rows for hours
_MOST_LEVELS = 1000
_MOST_ROUNDS = 10_000
_MOST_ITEMS = 100  # of a list
WATCHED = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")
"""The numbers that an epoch can have, whatever diagnostics measure."""

Images = Annotated[int, Field(ge=0, le=_MOST_IMAGES)]
Patterns = Annotated[tuple[str, ...], Strict(False), Field(max_length=_MOST_ITEMS)]


class DataSection(Section):
    """``[data]``: what is learnt."""

    name: Annotated[str, read_text(find, "data.name")] = Field(
        description="digits, mnist, fashion-mnist, cifar10, cifar100, imagenet16, imagenet16-120, tiny-imagenet-16-120"
    )
    validation: Images = Field(0, description="training images held out for every choice; 0: as many as is usual")
    limit: Images = Field(0, description="train on the first N training images only; 0: on all")
    scale: Literal["standard", "unit"] = Field(
        "standard", description="of pixels: standard: mean 0, deviation 1 per channel; unit: divided by 255 only"
    )
    augment: bool = Field(False, description="random crop (4 pixels of padding) and mirroring of training images")

    @model_validator(mode="after")
    def _crops_leave_something(self) -> DataSection:
        side = min(find(self.name).shape[1:])
        if self.augment and side <= 4 * PAD:
            raise InvalidValue(
                f"data.augment is true on {self.name}, images of {side} x {side} pixels",
                f"random crops move an image by up to {PAD} pixels, and need sides over {4 * PAD}",
                "take augment out",
            )
        return self


class NetworkSection(Section):
    """``[network]``: what learns it."""

    name: Annotated[str, read_text(check_network, "network.name")] = Field(
        description="lenet-300-100, lenet-5, bn-cnn, resnet-20, mlp, mlp-300-200-100-50, or package.module:factory"
    )
    init: Annotated[str, read_text(lambda name: name == "auto" or check_init(name), "network.init")] = Field(
        "auto",
        description="kaiming, lth (open_lth), xavier, glorot-uniform, own (as a factory made it); auto: own for a "
        "factory, else kaiming",
    )

    @property
    def initialisation(self) -> str:
        """The name of the initialisation, "auto" resolved."""
        return ("own" if ":" in self.name else "kaiming") if self.init == "auto" else self.init


class TrainSection(Section):
    """``[train]``: each training of a level."""

    epochs: Annotated[int, Field(ge=1, le=_MOST_EPOCHS)] = Field(
        description="epochs of each training, at most; with accuracy gates, of all together"
    )
    until: Annotated[EndingRule | None, read_optional(ENDINGS, "train.until")] = Field(
        None,
        description='what ends one early, e.g. {is = "accuracy-gates", prunings = 5}, "early-stop"; or "none"',
    )
    batch_size: Annotated[int, Field(ge=1, le=_MOST_IMAGES)] = Field(128, description="images in an optimizer step")
    optimizer: Annotated[OptimizerValue, read_one(OPTIMIZERS, "train.optimizer")] = Field(
        SGD(), description='what takes the steps, e.g. {is = "sgd", learning_rate = 0.05}'
    )
    schedule: Annotated[RateSchedule, read_one(RATES, "train.schedule")] = Field(
        Constant(), description='of the learning rate, e.g. {is = "steps", milestones = [10, 13]}'
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="float32, bfloat16; auto: whichever was measured to be faster"
    )


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
    rewind_epoch: Annotated[int, Field(ge=0, le=_MOST_EPOCHS)] = Field(
        0, description="rewind weights to the end of this epoch of level 0; 0: initialization"
    )
    images: Images = Field(2000, description="training images for criteria that look at data; 0: all")
    allow_collapse: bool = Field(False, description="go on when a layer has lost all its weights")
    train_dense: bool = Field(True, description="train before the first pruning; false: prune at initialization")
    steps: Annotated[int, Field(ge=0, le=_MOST_IMAGES)] = Field(
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


class MeasureSection(Section):
    """``[measure]``: what is looked at beside the accuracy."""

    diagnostics: Annotated[tuple[Diagnostic, ...], read_many(DIAGNOSTICS, "measure.diagnostics")] = Field(
        (DeadUnits(),), description='what is measured, e.g. ["dead-units", "gradient-norm"]; [] for nothing'
    )
    images: Images = Field(2000, description="training images (not augmented) that they look at; 0: all")
    every: Annotated[int, Field(ge=0, le=_MOST_EPOCHS)] = Field(
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
