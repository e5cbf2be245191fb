"""Residual networks for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

_WIDE = (64, 128, 256, 512)


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
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class SafsBlock(BasicBlock):
    """The block of SAFS's ResNet-18: its second activation is on the shortcut, before the sum, and none comes after.

    Source: Loni et al. 2023 (SAFS), as its code builds it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(y)) + self.relu2(self.shortcut(x))


class ResNet(nn.Module):
    """ResNets for small images: a stem, stages of blocks that halve them but for the first, mean pooling, one Linear.

    Args:
        shape: of one input image, (C, H, W).
        classes: outputs.
        blocks: in each stage; depth = 2 * blocks * stages + 2.
        widths: channels of each stage, and of the stem.
        block: (inputs, outputs, stride) -> a block.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        blocks: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        block: Callable[[int, int, int], nn.Module] = BasicBlock,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], widths[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.stages = [f"stage{number}" for number in range(1, len(widths) + 1)]
        for name, inputs, outputs in zip(self.stages, (widths[0], *widths), widths, strict=False):
            first = block(inputs, outputs, 1 if name == "stage1" else 2)
            self.add_module(name, nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(blocks - 1))))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W] -> logits [B, classes]."""
        y = self.relu(self.bn(self.conv(x)))
        for name in self.stages:
            y = self.get_submodule(name)(y)
        return self.fc(self.flatten(self.pool(y)))


def resnet_20(shape: Sequence[int], classes: int) -> ResNet:
    """ResNet-20 with option B: 272,474 parameters on CIFAR-10. Source: He et al. 2015, section 4.2."""
    return ResNet(shape, classes, blocks=3)


def resnet_18(shape: Sequence[int], classes: int) -> ResNet:
    """ResNet-18 for small images, with a 3 x 3 stem and no first pooling: 11,173,962 parameters on CIFAR-10.

    Source: He et al. 2015, table 1, in the form that papers on CIFAR-10 use.
    """
    return ResNet(shape, classes, blocks=2, widths=_WIDE)


def resnet_18_safs(shape: Sequence[int], classes: int) -> ResNet:
    """ResNet-18 of SAFS: as many parameters, and 17 activations, of which those of blocks sit elsewhere."""
    return ResNet(shape, classes, blocks=2, widths=_WIDE, block=SafsBlock)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Nothing, or a 1 x 1 convolution with batch normalisation where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(outputs)))
