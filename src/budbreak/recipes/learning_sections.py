"""The sections ``[data]``, ``[network]`` and ``[train]`` of a recipe: what is learnt, by what, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from budbreak.data import PAD, find
from budbreak.errors import InvalidValue
from budbreak.iteration import EndingRule
from budbreak.lowrank import Penalty
from budbreak.networks import check_init, check_network
from budbreak.recipes.families import ENDINGS, OPTIMIZERS, PENALTIES, RATES
from budbreak.recipes.readers import read_one, read_optional, read_text
from budbreak.recipes.section import MOST_EPOCHS, MOST_IMAGES, Images, Section
from budbreak.training import SGD, Constant, OptimizerValue, RateSchedule

WATCHED = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")
"""The numbers that an epoch can have, whatever diagnostics measure."""


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

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = Field(
        description="epochs of each training, at most; with accuracy gates, of all together, but "
        "that a pruning after the last of them is followed by one more"
    )
    until: Annotated[EndingRule | None, read_optional(ENDINGS, "train.until")] = Field(
        None,
        description='what ends one early, e.g. {is = "accuracy-gates", prunings = 5}, "early-stop"; or "none"',
    )
    batch_size: Annotated[int, Field(ge=1, le=MOST_IMAGES)] = Field(128, description="images in an optimizer step")
    optimizer: Annotated[OptimizerValue, read_one(OPTIMIZERS, "train.optimizer")] = Field(
        SGD(), description='what takes the steps, e.g. {is = "sgd", learning_rate = 0.05}'
    )
    schedule: Annotated[RateSchedule, read_one(RATES, "train.schedule")] = Field(
        Constant(), description='of the learning rate, e.g. {is = "steps", milestones = [10, 13]}'
    )
    penalty: Annotated[Penalty | None, read_optional(PENALTIES, "train.penalty")] = Field(
        None,
        description="what shrinks the singular values of the prunable weights, spared ones too, by proximal steps, "
        'e.g. {is = "weighted-nuclear-norm", strength = 1e-4}; or "none"',
    )
    penalty_every: Annotated[int, Field(ge=1, le=MOST_IMAGES)] = Field(
        20, description="optimizer steps between two of the penalty, each as large as all of these; 1 is slow"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="float32, bfloat16; auto: whichever was measured to be faster"
    )

    @model_validator(mode="after")
    def _has_what_is_told(self) -> TrainSection:
        usual = type(self).model_fields["penalty_every"].default
        if self.penalty is None and self.penalty_every != usual:
            value = f"train.penalty_every is {self.penalty_every}, and there is no train.penalty"
            raise InvalidValue(value, "it is of a penalty", f"take it out, or write penalty = {PENALTIES.example}")
        return self
