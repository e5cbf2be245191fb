"""Networks of every kind that leaves, each with an example."""

import torch
from torch import nn
from torch.nn.utils import prune

from budbreak.live import apply_mask
from budbreak.masks import Scores, prunable_parameters, select


def pruned(model, density=0.1):
    """Zeros where magnitudes are small."""
    weights = {name: parameter.detach() for name, parameter in prunable_parameters(model).items()}
    total = sum(weight.numel() for weight in weights.values())
    apply_mask(model, select(Scores.elementwise(torch.abs, weights), round(density * total)))
    return model


def mlp():
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))


def conv():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(8, 4),
    )  # fmt: skip


class Tied(nn.Module):
    """An embedding whose weights are the classifier's."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.head = nn.Linear(12, 50, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros(50, dtype=torch.bool))
        self.register_buffer("scale", torch.full((3, 4), 2.0), persistent=False)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


class Nothing(nn.Module):
    """It has no state at all."""

    def forward(self, inputs):
        return inputs * 2


IMAGES, ROWS = (
    torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)),
    torch.linspace(-1, 1, 140).view(7, 20),
)
NETS = {
    "mlp": (mlp, ROWS),
    "conv": (conv, IMAGES),
    "channels last": (lambda: conv().to(memory_format=torch.channels_last), IMAGES),
    "bf16": (lambda: mlp().bfloat16(), ROWS.bfloat16()),
    "float64": (lambda: mlp().double(), ROWS.double()),
    "tied": (Tied, torch.arange(20).view(2, 10)),
    "nothing": (Nothing, ROWS),
    "lstm": (lambda: nn.LSTM(20, 6, batch_first=True), ROWS[:, None]),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(20, 3)), ROWS),
}


def net(name, seed=0):
    """A network, its example; pruned, and its norms not as they began."""
    make, example = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make()
        if name not in ("tied", "nothing", "lstm", "weight norm"):
            pruned(model, 0.2)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_()
    return model, example


def by_torch(model):
    """Pruned by torch's own functions, that hold a weight in two parts."""
    prune.l1_unstructured(model[0], "weight", 0.8)
    return model
