"""VGG with batch normalisation, for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

_STAGES_11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_STAGES_16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg_11_bn(shape: Sequence[int], classes: int) -> nn.Sequential:
    """VGG-11: 9,231,114 parameters on CIFAR-10.

    What the code of SAFS builds where its paper says VGG-16. See `vgg_16_bn`.
    """
    return _vgg(shape, classes, _STAGES_11)


def vgg_16_bn(shape: Sequence[int], classes: int) -> nn.Sequential:
    """VGG-16 for small images: 14,728,266 parameters on CIFAR-10.

    13 convolutions of 3 x 3, with biases, each with BatchNorm and ReLU; a max pooling after each stage, which rounds up
    where a size is odd; mean pooling and one Linear in the place of the three of ImageNet.

    Args:
        shape: of one input image, (C, H, W).
        classes: outputs.

    Source: Simonyan & Zisserman 2015, table 1, in the form that papers on CIFAR-10 use.
    """
    return _vgg(shape, classes, _STAGES_16)


def _vgg(shape: Sequence[int], classes: int, stages: Sequence[Sequence[int]]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, number = shape[0], 0
    for stage, widths in enumerate(stages, start=1):
        for outputs in widths:
            number += 1
            layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers[f"bn{number}"] = nn.BatchNorm2d(outputs)
            layers[f"relu{number}"] = nn.ReLU()
            inputs = outputs
        layers[f"pool{stage}"] = nn.MaxPool2d(2, ceil_mode=True)
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(inputs, classes))
    return nn.Sequential(layers)
