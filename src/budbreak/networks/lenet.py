"""The two LeNets of the lottery ticket papers, that of SAFS, and multilayer perceptrons in general."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from budbreak.errors import InvalidValue


def mlp(shape: Sequence[int], classes: int, hidden: Sequence[int]) -> nn.Sequential:
    """Linear layers with a ReLU after each but the last: flatten, fc1, relu1, fc2, ...

    Args:
        shape: of one input image, (C, H, W).
        classes: outputs.
        hidden: widths of the hidden layers.
    """
    widths = [math.prod(shape), *hidden, classes]
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        if number > 1:
            layers[f"relu{number - 1}"] = nn.ReLU()
        layers[f"fc{number}"] = nn.Linear(inputs, outputs)
    return nn.Sequential(layers)


def lenet_300_100(shape: Sequence[int], classes: int) -> nn.Sequential:
    """LeNet-300-100: 266,610 parameters on MNIST. Source: LeCun et al. 1998; Frankle & Carbin 2019."""
    return mlp(shape, classes, (300, 100))


def small_mlp(shape: Sequence[int], classes: int) -> nn.Sequential:
    """64-100-50-10 on the 8 x 8 digits, 12,060 parameters: an experiment of seconds."""
    return mlp(shape, classes, (100, 50))


def lenet_5(shape: Sequence[int], classes: int) -> nn.Sequential:
    """LeNet-5 in its classic widths 6-16-120-84, modern in ReLU, max pooling and full connections.

    conv1 5 x 5 with padding 2, pool, conv2 5 x 5, pool, fc1 120, fc2 84, fc3: 61,706 parameters on MNIST.
    Not the Caffe variant (20-50-500, 431,080 parameters) that some pruning papers call LeNet-5.
    Source: LeCun et al. 1998.

    Args:
        shape: of one input image, (C, H, W), at least 12 x 12.
        classes: outputs.

    Raises:
        InvalidValue: if the images are too small.
    """
    return _lenet(shape, classes, padding=2, least=12, name="lenet-5")


def lenet_5_safs(shape: Sequence[int], classes: int) -> nn.Sequential:
    """The LeNet-5 of SAFS: without padding, so that fc1 has 256 inputs.

    44,426 parameters on MNIST, 44,190 of them weights of convolutions and linear layers. Its images are divided by 255
    and not normalised. Source: Loni et al. 2023 (SAFS), as its code builds it.

    Args:
        shape: of one input image, (C, H, W), at least 16 x 16.
        classes: outputs.

    Raises:
        InvalidValue: if the images are too small.
    """
    return _lenet(shape, classes, padding=0, least=16, name="lenet-5-safs")


def _lenet(shape: Sequence[int], classes: int, *, padding: int, least: int, name: str) -> nn.Sequential:
    channels, height, width = shape
    if min(height, width) < least:
        raise InvalidValue(
            f"{name} on images of {height} x {width}",
            f"two convolutions and poolings need {least} x {least}",
            "use 'mlp'",
        )
    rows, columns = (((size + 2 * padding - 4) // 2 - 4) // 2 for size in (height, width))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, 6, 5, padding=padding),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(16 * rows * columns, 120),
        relu3=nn.ReLU(),
        fc2=nn.Linear(120, 84),
        relu4=nn.ReLU(),
        fc3=nn.Linear(84, classes),
    )
    return nn.Sequential(layers)
