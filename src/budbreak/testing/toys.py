"""Small networks, data and evidence: enough to see a method work, small enough for any machine."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterable, Mapping

import torch
from torch import Tensor, nn

from budbreak.errors import MissingEvidence
from budbreak.evidence import ALL, OBSERVERS, Evidence, Need, Weights, drawn
from budbreak.masks import prunable_parameters


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
    probes: Iterable[Need] | None = None,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
    seed: int = 0,
) -> Evidence:
    """What probes and observers might have seen in ``model`` (`residual_cnn` unless given), by their own ``example``.

    The values are random and hold some exact zeros; each probe's depend on ``seed`` and the probe alone; nothing is
    run.

    Args:
        model: names, shapes and order of the weights.
        probes: which; those of this library, with their defaults, unless given.
        dtype: of the weights.
        memory_format: of the weights with four dimensions.
        seed: other numbers for another seed.

    Raises:
        MissingEvidence: for a probe without ``example``.
    """
    parameters = prunable_parameters(model or residual_cnn())
    generator = _generator(seed, Weights())
    weights = {
        name: _formatted(drawn(parameter.shape, generator).to(dtype), memory_format)
        for name, parameter in parameters.items()
    }
    asked = [kind() for kind in (*ALL, *OBSERVERS)] if probes is None else probes
    return Evidence({probe: _example(probe, weights, seed) for probe in dict.fromkeys(asked)})


def _example(probe: Need, weights: Mapping[str, Tensor], seed: int) -> object:
    example = getattr(probe, "example", None)
    if example is None:
        rule = "toy evidence is what a probe gives by example(weights, generator)"
        raise MissingEvidence(f"{probe} has no example", rule, "give evidence=, or write its example")
    return example(weights, _generator(seed, probe))


def _generator(seed: int, probe: Need) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{probe!r}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


def _formatted(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=memory_format) if tensor.dim() == 4 else tensor


@contextlib.contextmanager
def _seeded(seed: int) -> Generator[None, None, None]:
    """Draw the weights of a network from ``seed`` and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
