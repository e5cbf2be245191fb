"""What others do, re-created in our own words, as the peers that budbreak is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, TensorDataset

from budbreak.data import Images
from budbreak.errors import MissingData


class PerSample(Dataset[tuple[Tensor, int]]):
    """A data set that turns one image at a time into the input of a network, as per-sample transforms do.

    The arithmetic of ToTensor and Normalize on an array [H, W, C].

    Args:
        data: the images.
        pil: through a PIL image first, as the data sets of torchvision do; needs Pillow, which is no dependency.
    """

    def __init__(self, data: Images, *, pil: bool = False) -> None:
        self.from_array = import_module("PIL.Image").fromarray if pil else None
        self.images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = data.images.movedim(1, -1).contiguous().numpy()
        self.labels, self.mean, self.std = data.labels, data.mean, data.std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.from_array is not None:
            image = np.array(self.from_array(image.squeeze())).reshape(image.shape)  # grey ones have no channel axis
        return self._normalise(self._to_tensor(image)), int(self.labels[index])

    def _to_tensor(self, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
        return torch.from_numpy(image).permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    def _normalise(self, image: Tensor) -> Tensor:
        mean = torch.as_tensor(self.mean, dtype=image.dtype).view(-1, 1, 1)
        std = torch.as_tensor(self.std, dtype=image.dtype).view(-1, 1, 1)
        return image.clone().sub_(mean).div_(std)


def has_pil() -> bool:
    """Whether Pillow is installed here."""
    return find_spec("PIL") is not None


def pandas() -> Any:
    """The library of data frames, which is no dependency of budbreak.

    Raises:
        MissingData: if it is not installed.
    """
    if find_spec("pandas") is None:
        raise MissingData(
            "pandas is not installed", "budbreak is measured against tables", "pip install 'budbreak[dev]'"
        )
    return import_module("pandas")


def per_sample_loader(
    data: Images, batch_size: int, *, shuffle: bool = True, pil: bool = False
) -> DataLoader[tuple[Tensor, int]]:
    """The usual loader: per-sample transforms, no workers (they would take the cores from the training)."""
    return DataLoader(PerSample(data, pil=pil), batch_size=batch_size, shuffle=shuffle)


def tensor_loader(data: Images, batch_size: int) -> DataLoader[tuple[Tensor, ...]]:
    """A DataLoader over tensors that were normalised beforehand: four bytes a pixel, collated one by one."""
    return DataLoader(TensorDataset(data.normalised(data.images), data.labels), batch_size=batch_size, shuffle=True)


def train_plainly(
    model: nn.Module, optimizer: Optimizer, batches: Iterable[Sequence[Tensor]], device: str = "cpu"
) -> None:
    """One pass of an ordinary loop: float32, nothing but forward, backward and step."""
    model.train()
    for inputs, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs.to(device)), labels.to(device)).backward()
        optimizer.step()


def ap_train_pass(
    model: nn.Module, optimizer: Optimizer, batches: Iterable[Sequence[Tensor]], device: str = "cpu"
) -> None:
    """One training pass in the pattern of AP's published code (PERFORMANCE.md 7), in our own words.

    At each step every parameter named "weight" and its gradient go to numpy, the gradient becomes zero where the
    weight is zero, and goes back.
    """
    model.train()
    for inputs, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs.to(device)), labels.to(device)).backward()
        freeze_zeros_by_numpy(model)
        optimizer.step()


def freeze_zeros_by_numpy(model: nn.Module) -> None:
    """Zero the gradients of zero weights by a round trip through numpy, for each weight."""
    for name, parameter in model.named_parameters():
        if "weight" in name and parameter.grad is not None:
            weight, gradient = parameter.detach().cpu().numpy(), parameter.grad.detach().cpu().numpy()
            frozen = np.where(weight == 0, np.float32(0), gradient)
            parameter.grad.data = torch.from_numpy(frozen).to(parameter.device)


def plain_accuracy(model: nn.Module, batches: Iterable[Sequence[Tensor]], device: str = "cpu") -> float:
    """Accuracy by one pass in evaluation mode, as AP's code takes it of the test set and of the training set."""
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for inputs, labels in batches:
            correct += int((model(inputs.to(device)).argmax(1) == labels.to(device)).sum())
            total += len(labels)
    return correct / total


class CountingHooks:
    """The textbook way to count dead outputs: a reduction over bools in a forward hook on each ReLU.

    Args:
        model: hooks go on its nn.ReLU modules.
        how: "mean": ``(x <= 0).float().mean(0)``; "count_nonzero": ``count_nonzero(x, dim=0)``.
    """

    def __init__(self, model: nn.Module, how: str) -> None:
        self.how = how
        self.sums: dict[str, Tensor] = {}
        self.rows = 0
        modules = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ReLU)]
        self.handles = [module.register_forward_hook(self._hook(name)) for name, module in modules]

    def _hook(self, name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            if self.how == "mean":
                dead = (output <= 0).float().mean(0) * len(output)
            else:
                dead = len(output) - torch.count_nonzero(output, dim=0)
            self.sums[name] = self.sums[name] + dead if name in self.sums else dead

        return hook

    def total(self, samples: int) -> float:
        """The share of zero outputs; hooks are removed."""
        for handle in self.handles:
            handle.remove()
        outputs = sum(dead.numel() for dead in self.sums.values())
        return sum(float(dead.double().sum()) for dead in self.sums.values()) / outputs / samples
