"""EfficientNet-B0, as published and as the code of SAFS builds it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

# expansion, channels, blocks, stride, kernel
_PUBLISHED = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
_SAFS = (
    (1, 16, 1, 2, 3), (6, 24, 2, 1, 3), (6, 40, 2, 2, 3), (6, 80, 3, 2, 3), (6, 112, 3, 1, 3), (6, 192, 4, 2, 3),
    (6, 320, 1, 2, 3),
)  # fmt: skip


class SqueezeExcite(nn.Module):
    """Scale channels by what their means say: fc1, Swish, fc2, sigmoid, each over the whole image.

    Args:
        channels: in and out.
        hidden: between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.act, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.SiLU(), nn.Conv2d(hidden, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, channels, H, W] -> the factors, [B, channels, 1, 1]."""
        return self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))


class MBConv(nn.Module):
    """Expand, filter each channel, squeeze and excite, project; with a skip where the shape stays.

    Args:
        inputs, outputs: channels.
        expansion: of the inputs between; with 1 there is no expanding convolution.
        stride, kernel: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv(inputs, wide, 1) if expansion > 1 else nn.Sequential()
        self.depthwise = _conv(wide, wide, kernel, stride=stride, groups=wide)
        self.se = SqueezeExcite(wide, max(1, inputs // 4))
        self.project = _conv(wide, outputs, 1, activated=False)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.se(y))
        return y + x if self.has_skip else y


class SafsMBConv(nn.Module):
    """The block of SAFS: squeeze and excitation after the projection, and a shortcut around both.

    Args:
        inputs, outputs: channels.
        expansion: of the inputs between; expanding is a convolution even where it is 1.
        stride, kernel: of the depthwise convolution. With stride 2 the shortcut is what was projected.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv(inputs, wide, 1)
        self.depthwise = _conv(wide, wide, kernel, stride=stride, groups=wide)
        self.project = _conv(wide, outputs, 1, activated=False)
        self.se = SqueezeExcite(outputs, outputs // 16)
        changes = stride == 1 and inputs != outputs
        self.shortcut = _conv(inputs, outputs, 1, activated=False) if changes else nn.Sequential()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.project(self.depthwise(self.expand(x)))
        return y * self.se(y) + (self.shortcut(x) if self.stride == 1 else y)


def efficientnet_b0(shape: Sequence[int], classes: int) -> nn.Sequential:
    """EfficientNet-B0: 5,288,548 parameters for three channels and 1000 classes; 4,020,358 for 10.

    Swish throughout, dropout of 0.2 before the last layer. Differs: no stochastic depth.

    Source: Tan & Le 2019, table 1.

    Args:
        shape: of one input image, (C, H, W); each of its five strides halves it, rounded up.
        classes: outputs.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_conv(shape[0], 32, 3, stride=2))
    layers["blocks"] = _blocks(MBConv, _PUBLISHED)
    layers.update(head=_conv(320, 1280, 1), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    layers.update(dropout=nn.Dropout(0.2), fc=nn.Linear(1280, classes))
    return nn.Sequential(layers)


def efficientnet_b0_safs(shape: Sequence[int], classes: int) -> nn.Sequential:
    """The EfficientNet-B0 of SAFS, for images of 16 to 32 pixels: 3,229,879 parameters for 1000 classes.

    Kernels of 3 x 3 only, a stem of stride 1, no head; 49 activations of Swish beside the sigmoids that excite.
    Differs: mean pooling before the last layer, which for 16 and 32 pixels has a single one.
    Source: Loni et al. 2023 (SAFS), as its code builds it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_conv(shape[0], 32, 3))
    layers["blocks"] = _blocks(SafsMBConv, _SAFS)
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(320, classes))
    return nn.Sequential(layers)


def _blocks(kind: type[MBConv] | type[SafsMBConv], stages: Sequence[tuple[int, int, int, int, int]]) -> nn.Sequential:
    blocks, inputs = list[nn.Module](), 32
    for expansion, outputs, count, stride, kernel in stages:
        for place in range(count):
            blocks.append(kind(inputs, outputs, expansion, 1 if place else stride, kernel))
            inputs = outputs
    return nn.Sequential(*blocks)


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    """A convolution without bias, BatchNorm, and Swish unless it projects."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        bn=nn.BatchNorm2d(outputs),
    )
    if activated:
        layers["act"] = nn.SiLU()
    return nn.Sequential(layers)
