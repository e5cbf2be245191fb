"""Residual networks for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation beside a shortcut; ReLU after the sum.

    Where the shape changes, the shortcut is a 1 x 1 convolution with batch normalisation (option B of
    He et al. 2015).

    Args:
        inputs, outputs: channels.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(outputs)))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """The ResNets for CIFAR: a stem, three stages of 16, 32 and 64 channels, mean pooling, one linear layer.

    Args:
        shape: of one input image, (C, H, W).
        classes: outputs.
        blocks: in each stage; depth = 6 * blocks + 2.
    """

    def __init__(self, shape: Sequence[int], classes: int, blocks: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.stage1 = _stage(16, 16, 1, blocks)
        self.stage2 = _stage(16, 32, 2, blocks)
        self.stage3 = _stage(32, 64, 2, blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W] -> logits [B, classes]."""
        y = self.relu(self.bn(self.conv(x)))
        y = self.stage3(self.stage2(self.stage1(y)))
        return self.fc(self.flatten(self.pool(y)))


def resnet_20(shape: Sequence[int], classes: int) -> ResNet:
    """ResNet-20 with option B: 272,474 parameters on CIFAR-10. Source: He et al. 2015, section 4.2."""
    return ResNet(shape, classes, blocks=3)


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))
