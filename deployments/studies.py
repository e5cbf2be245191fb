"""All studies, in the order of the document."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.checks import check_known
from deployments.cases import Goals, Study
from deployments.photographs import EfficientNetLite0
from deployments.sentences import MiniLM
from deployments.trained import RecipeStudy
from deployments.widths import WidthStudy

_SHORT = "Trained for too short a time to reach the papers' accuracies. "

ALL: tuple[Study, ...] = (
    RecipeStudy("fashion-mlp-shipped", "784-300-200-100-50-10 on Fashion-MNIST", Goals(smaller=5, faster=3)),
    RecipeStudy("mnist-lenet5-shipped", "LeNet-5 on MNIST"),
    MiniLM(),
    EfficientNetLite0(),
    RecipeStudy("cifar10-resnet20-shipped", "ResNet-20 on CIFAR-10", remark=_SHORT),
    RecipeStudy("cifar10-vgg16-shipped", "VGG-16 on CIFAR-10", Goals(smaller=2, faster=1.5), remark=_SHORT),
    WidthStudy(
        "vgg16-widths", "VGG-16, untrained, 10 classes", "vgg-16-bn", (3, 32, 32), 10,
        units=(50, 75), weights=(90, 95, 98), goals=Goals(smaller=2, faster=1.5),
    ),
)  # fmt: skip


def find(names: Sequence[str]) -> list[Study]:
    """The studies of these names, or all if there are none.

    Raises:
        UnknownName: with the nearest known name.
    """
    known = {study.name: study for study in ALL}
    for name in names:
        check_known(f"no study named {name!r}", name, known)
    return [known[name] for name in dict.fromkeys(names)] or list(ALL)
