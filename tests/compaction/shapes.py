"""Small networks of the shapes that people compact, and ways to make units of them die."""

import torch
from torch import nn
from torch.nn import functional

from budbreak.graph import trace
from budbreak.networks import resnet_20


class Bottleneck(nn.Module):
    """Of ResNet-50: 1 x 1, 3 x 3, 1 x 1, beside a shortcut."""

    def __init__(self, inputs, width, outputs, stride):
        super().__init__()
        self.reduce, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.expand, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.reduce(x)))
        y = self.bn3(self.expand(self.relu(self.bn2(self.conv(y)))))
        return self.relu(y + self.shortcut(x))


def resnet():
    stem = nn.Sequential(
        nn.Conv2d(3, 6, 3, 1, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)
    )
    blocks = Bottleneck(6, 4, 8, 1), Bottleneck(8, 5, 12, 2)
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))


class DenseLayer(nn.Module):
    """Of DenseNet: what it computes stands beside what it was given."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 6, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(6), nn.Conv2d(6, growth, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.conv1(functional.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(y)))], 1)


def densenet():
    transition = nn.Sequential(nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 6, 1, bias=False), nn.AvgPool2d(2))
    head = nn.BatchNorm2d(10), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 5)
    stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    return nn.Sequential(stem, DenseLayer(4, 4), DenseLayer(8, 4), transition, DenseLayer(6, 4), *head)


class Inverted(nn.Module):
    """Of MobileNetV2: wide, depthwise, narrow without an activation."""

    def __init__(self, inputs, wide, outputs):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.skips = inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.skips else self.body(x)


def mobilenet():
    stem = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6()
    return nn.Sequential(
        *stem, Inverted(4, 8, 4), Inverted(4, 8, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
    )


class ViT(nn.Module):
    """Patches behind a token; blocks of torch's own attention, norms first."""

    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 12, 4, 4), nn.Parameter(torch.randn(1, 1, 12))
        self.positions, self.head = nn.Parameter(torch.randn(1, 5, 12)), nn.Linear(12, 5)
        layers = [
            nn.TransformerEncoderLayer(12, 3, 16, 0.1, "gelu", batch_first=True, norm_first=True) for _ in range(2)
        ]
        self.blocks, self.norm = nn.Sequential(*layers), nn.LayerNorm(12)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class Grouped(nn.Module):
    """Groups of channels, a transposed convolution, one-dimensional ones, slopes."""

    def __init__(self):
        super().__init__()
        self.enter, self.slopes = nn.Conv2d(3, 8, 1), nn.PReLU(8)
        self.grouped, self.up = nn.Conv2d(8, 12, 3, groups=4), nn.ConvTranspose2d(12, 5, 2, 2)
        self.line, self.norm, self.out = nn.Conv1d(5, 6, 3), nn.GroupNorm(3, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.up(self.grouped(self.slopes(self.enter(x))).relu()).relu()
        return self.out(self.norm(self.line(x.flatten(2))).relu().mean(2))


def vgg():
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(72, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)),
    )


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.ReLU(), nn.Linear(12, 10), nn.Tanh(), nn.Linear(10, 5))


IMAGES = {
    "mlp": mlp, "vgg": vgg, "resnet": resnet, "densenet": densenet, "mobilenet": mobilenet, "vit": ViT,
    "grouped": Grouped,
}  # fmt: skip
LARGER = {"resnet-20": lambda: resnet_20((3, 8, 8), 5)}


def image_net(name, seed=0):
    """(a network in float64 and eval mode whose norms and biases are no longer as they began, four images)."""
    torch.manual_seed(seed)
    model = {**IMAGES, **LARGER}[name]().double()
    with torch.no_grad():
        for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dim() == 1:
                nn.init.uniform_(tensor, 0.5, 1.5) if key.endswith("var") else tensor.add_(torch.randn_like(tensor) / 3)
    return model.eval(), torch.randn(4, 3, 8, 8, dtype=torch.float64)


@torch.no_grad()
def kill(model, example, share, *, makes=False, reads=False, seed=0):
    """Zero what makes, or what reads, a share of the units of each group that can shrink, in place."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for group in trace(model, example).groups():
        dead = (torch.rand(group.size, generator=generator) < share).nonzero().flatten().tolist()[: group.size - 1]
        for member in group.members if not (group.fixed or group.inexact) else ():
            if (member.makes and makes) or (member.reads and reads):
                gone = [index for unit in dead for index in member.indices[unit]]
                parameters[member.name].index_fill_(member.dim, torch.tensor(gone, dtype=torch.int64), 0)
    return model


def output(model, example):
    with torch.no_grad():
        return model(example)


def apart(model, other, example):
    return float((output(model, example) - output(other, example)).abs().max())


def widths(model):
    """Units of each layer in turn."""
    return [len(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
