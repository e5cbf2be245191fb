"""The networks, images and training steps that benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from budbreak.data import Images
from budbreak.masks import Mask, Scores, prunable_parameters, select
from budbreak.networks import lenet_300_100, mlp, resnet_20

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
CLASSES = 10
SPARSITY = 0.9


def _mlp_1024(shape: Sequence[int], classes: int) -> nn.Module:
    return mlp(shape, classes, (1024, 1024))


_NETWORKS: dict[str, tuple[Callable[[Sequence[int], int], nn.Module], tuple[int, int, int]]] = {
    "LeNet-300-100": (lenet_300_100, MNIST),
    "MLP 784-1024-1024-10": (_mlp_1024, MNIST),
    "ResNet-20": (resnet_20, CIFAR),
}


def network(name: str, device: str = "cpu") -> nn.Module:
    """A fresh network with the same random weights at each call."""
    factory, shape = _NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return factory(shape, CLASSES).to(device)


def shape_of(name: str) -> tuple[int, int, int]:
    """(C, H, W) of the images that a network takes."""
    return _NETWORKS[name][1]


def images(count: int, shape: tuple[int, int, int], seed: int = 0) -> Images:
    """Random bytes with random labels, shaped as a data set: time does not depend on what is in them."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    channels = shape[0]
    return Images(pixels, labels, mean=(0.5,) * channels, std=(0.25,) * channels)


def random_mask(model: nn.Module) -> Mask:
    """A mask of exactly 90 % sparsity by magnitude, over all layers."""
    weights = {name: parameter.detach() for name, parameter in prunable_parameters(model).items()}
    total = sum(weight.numel() for weight in weights.values())
    return select(Scores.elementwise(torch.abs, weights), round((1 - SPARSITY) * total))


def in_memory_batches(data: Images, batch_size: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled float32 NCHW batches from tensors normalised in one go: no DataLoader, nothing per sample."""
    for index in torch.randperm(len(data)).split(batch_size):
        yield data.normalised(data.images[index]).to(device), data.labels[index].to(device)
