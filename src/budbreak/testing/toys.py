"""Small networks, data and evidence: enough to see a method work, small enough for any machine."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping

import torch
from torch import Tensor, nn

from budbreak.evidence import (
    Evidence,
    Gradients,
    Probe,
    SiteCounts,
    StartWeights,
    UnitCounts,
    Unseen,
    Weights,
    count_active,
)
from budbreak.graph import Feed, Site
from budbreak.masks import UnitLayout, prunable_parameters


def mlp(*, inputs: int = 8, hidden: int = 16, classes: int = 3, seed: int = 0) -> nn.Sequential:
    """Two hidden ReLU layers; the weights depend on ``seed`` alone.

    >>> mlp()(torch.zeros(5, 8)).shape
    torch.Size([5, 3])
    """
    with _seeded(seed):
        return nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )


class ResidualCNN(nn.Module):
    """A convolution, one residual block with BatchNorm, pooling and a linear layer: images [N, 3, H, W]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu, self.relu1, self.relu2 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes]."""
        x = self.relu(self.norm(self.stem(x)))
        branch = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(x + self.norm2(self.conv2(branch)))
        return self.fc(x.mean((2, 3)))


def residual_cnn(*, channels: int = 4, classes: int = 3, seed: int = 0) -> ResidualCNN:
    """A `ResidualCNN` whose weights depend on ``seed`` alone.

    >>> residual_cnn()(torch.zeros(2, 3, 6, 6)).shape
    torch.Size([2, 3])
    """
    with _seeded(seed):
        return ResidualCNN(channels, classes)


def separable(
    samples: int = 256, *, inputs: int = 8, classes: int = 3, noise: float = 0.3, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Data that a linear layer can learn: x float32 [samples, inputs], y int64 [samples].

    Class c is the c-th unit vector times 2 plus normal noise of standard deviation ``noise``: with the
    default two classes lie 2.8 / 0.3 = 9 deviations apart. Needs inputs >= classes. Classes take turns.
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % classes
    x = 2 * nn.functional.one_hot(y, inputs).float()
    return x + noise * torch.randn(samples, inputs, generator=generator), y


def toy_evidence(
    model: nn.Module | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
    seed: int = 0,
) -> Evidence:
    """What every probe of this library might have observed in ``model`` (`residual_cnn` unless given).

    The values are random, depend on ``seed`` alone, and hold some exact zeros; nothing is run.

    Args:
        model: names, shapes and order of the weights.
        dtype: of the weights and gradients.
        memory_format: of the weights and gradients with four dimensions.
        seed: other numbers for another seed.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: parameter.shape for name, parameter in prunable_parameters(model or residual_cnn()).items()}

    def draw() -> Mapping[str, Tensor]:
        drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for tensor in drawn.values():
            tensor[torch.rand(tensor.shape, generator=generator) < 0.1] = 0.0
        return {name: _formatted(tensor.to(dtype), memory_format) for name, tensor in drawn.items()}

    results: dict[Probe[object], object] = {Weights(): draw(), StartWeights(): draw(), Gradients(): draw()}
    results[UnitCounts()] = _toy_counts(shapes, generator)
    results[Unseen()] = ()
    return Evidence(results)


def _toy_counts(shapes: Mapping[str, torch.Size], generator: torch.Generator) -> Mapping[str, SiteCounts]:
    counts: dict[str, SiteCounts] = {}
    for order, (name, shape) in enumerate(shapes.items()):
        outputs = torch.randn(10, shape[0], generator=generator).relu()
        active = torch.from_numpy(count_active(outputs, 0.0)).reshape(-1, 1)
        site = Site(name=name.removesuffix(".weight"), feed=Feed(name, UnitLayout(0)), unit_dims=(-1,), order=order)
        counts[site.name] = SiteCounts(site, active, samples=10)
    return counts


def _formatted(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=memory_format) if tensor.dim() == 4 else tensor


@contextlib.contextmanager
def _seeded(seed: int) -> Generator[None, None, None]:
    """Draw the weights of a network from ``seed`` and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
