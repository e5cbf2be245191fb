"""Small networks of every wiring that is followed."""

import torch
from torch import nn

from budbreak.networks import mlp, resnet_20
from budbreak.networks.lenet import lenet_5


class DenseNet(nn.Module):
    """Each layer sees all before it, side by side."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(7), nn.BatchNorm2d(10)])
        self.layers = nn.ModuleList([nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(7, 3, 3, padding=1)])
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        x = self.stem(x)
        for norm, layer in zip(self.norms, self.layers, strict=False):
            x = torch.cat([x, layer(norm(x).relu())], 1)
        return self.fc(self.norms[2](x).relu().mean((2, 3)))


class Separable(nn.Module):
    """Depthwise, pointwise, grouped and transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.norm = nn.BatchNorm2d(8)
        self.pointwise = nn.Conv2d(8, 6, 1)
        self.grouped = nn.Conv2d(6, 6, 1, groups=2)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.depthwise(self.stem(x).relu())).relu()
        return self.fc(self.up(self.grouped(self.pointwise(x)).relu()).mean((2, 3)))


class Gated(nn.Module):
    """Channels that scale each other, shuffled pixels, chunks, and a shortcut that is sliced and padded."""

    def __init__(self):
        super().__init__()
        self.stem, self.gate = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)
        self.wide, self.halves, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 1), nn.Linear(3, 2)

    def forward(self, x):
        x = self.stem(x).relu()
        x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
        x = nn.functional.pixel_shuffle(x, 2)
        x = self.wide(x) + nn.functional.pad(x, (0, 0, 0, 0, 1, 1))
        left, right = self.halves(x).chunk(2, 1)
        return self.fc((left * right.tanh()).amax((2, 3)))


class Recurrent(nn.Module):
    """A GRU between two layers."""

    def __init__(self):
        super().__init__()
        self.enter, self.gru, self.leave = nn.Linear(3, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.leave(self.gru(self.enter(x).relu())[0][:, -1])


class Tied(nn.Module):
    """One layer called twice, and an embedding whose table is the weight of the last layer."""

    def __init__(self):
        super().__init__()
        self.table, self.twice, self.last = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.last.weight = self.table.weight

    def forward(self, x):
        return self.last(self.twice(self.twice(self.table(x)).relu()).relu())


ZOO = {
    "mlp": lambda: (mlp((1, 4, 4), 3, (6, 5)), torch.randn(2, 1, 4, 4)),
    "lenet-5": lambda: (lenet_5((1, 12, 12), 10), torch.randn(2, 1, 12, 12)),
    "resnet-20": lambda: (resnet_20((3, 8, 8), 10), torch.randn(2, 3, 8, 8)),
    "densenet": lambda: (DenseNet(), torch.randn(2, 3, 4, 4)),
    "separable": lambda: (Separable(), torch.randn(2, 3, 4, 4)),
    "gated": lambda: (Gated(), torch.randn(2, 3, 4, 4)),
    "transformer": lambda: (nn.TransformerEncoderLayer(8, 2, 6, batch_first=True), torch.randn(2, 5, 8)),
    "recurrent": lambda: (Recurrent(), torch.randn(2, 4, 3)),
    "tied": lambda: (Tied(), torch.randint(7, (2, 5))),
}


def make(name):
    """(model in eval mode, with norms that have seen something; an example)."""
    torch.manual_seed(0)
    model, example = ZOO[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval(), example
