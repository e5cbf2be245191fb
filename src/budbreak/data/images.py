"""Labelled images in memory as bytes, and what turns a batch of them into the input of a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from budbreak.checks import check_count
from budbreak.errors import EmptyBatches, InvalidValue

PAD = 4  # pixels on each side before a random crop: the usual augmentation of CIFAR (He et al. 2015, section 4.2)
_BYTE = 255.0  # mean and std are on the scale 0..1


@dataclass(frozen=True, eq=False)
class Images:
    """Images with their labels; a whole data set stays in memory at one byte a pixel and channel.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N], 0 to classes - 1.
        mean, std: per channel, on the scale 0..1; the input of a network is (pixel / 255 - mean) / std.

    Raises:
        InvalidValue: if shapes or dtypes are others, or a std is not positive.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        shape, dtype = tuple(self.images.shape), self.images.dtype
        if dtype != torch.uint8 or len(shape) != 4:
            raise InvalidValue(f"images are {dtype} of shape {shape}", "they are uint8 [N, C, H, W]")
        if self.labels.dtype != torch.int64 or tuple(self.labels.shape) != shape[:1]:
            value = f"labels are {self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise InvalidValue(value, f"they are int64 [{shape[0]}], one for each image")
        if not len(self.mean) == len(self.std) == shape[1] or min(self.std, default=0.0) <= 0:
            value = f"mean {self.mean} and std {self.std} for {shape[1]} channels"
            raise InvalidValue(value, "each channel has one mean and one positive std")

    def __len__(self) -> int:
        """How many images."""
        return len(self.labels)

    def to(self, device: str) -> Images:
        """The same images on ``device``; without a copy where they are there already."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor) -> Images:
        """The images at ``index`` (int64 [M]), in that order; a copy."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def first(self, count: int) -> Images:
        """The first ``count`` images, or all if there are fewer; without a copy."""
        check_count("count", count)
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    def normalised(self, images: Tensor) -> Tensor:
        """Float32 [B, C, H, W] from uint8 of the same shape, in the same memory format."""
        scale, shift = self._scale_and_shift
        return torch.addcmul(shift.to(images.device), images, scale.to(images.device))

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Float32 [1, C, 1, 1]; made once, because a copy to a GPU at each step would wait for it."""
        std, mean = torch.tensor(self.std), torch.tensor(self.mean)
        scale, shift = 1 / (_BYTE * std), -mean / std
        device = self.images.device
        return scale.view(1, -1, 1, 1).to(device), shift.view(1, -1, 1, 1).to(device)


@dataclass(frozen=True, eq=False)
class Batches:
    """Normalised float32 batches in the order of the images, the same at each iteration.

    Args:
        data: where the batches come from.
        batch_size: images in a batch; the last one holds the rest.
    """

    data: Images
    batch_size: int

    def __len__(self) -> int:
        """How many batches."""
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields input float32 [B, C, H, W] and label int64 [B], on the device of the images."""
        pairs = zip(self.data.images.split(self.batch_size), self.data.labels.split(self.batch_size), strict=True)
        for images, labels in pairs:
            yield self.data.normalised(images), labels


def batches(data: Images, batch_size: int, *, limit: int | None = None) -> Batches:
    """Batches for a probe or an evaluation: not shuffled, not augmented, every image once.

    Args:
        data: the images.
        batch_size: images in a batch.
        limit: only the first ``limit`` images; all if None.

    Raises:
        EmptyBatches: if there are no images.
        InvalidValue: if ``batch_size`` or ``limit`` is no whole number above 0.
    """
    check_count("batch_size", batch_size)
    chosen = data if limit is None else data.first(limit)
    if not len(chosen):
        raise EmptyBatches("there are 0 images", "a batch holds at least one")
    return Batches(chosen, batch_size)


def crop_and_flip(images: Tensor, offsets: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror some images, then cut a window of the old size out of each, padded with `PAD` black pixels.

    Everything happens on bytes, with one gather over all windows: 8 us for a CIFAR image where a
    per-image transform takes 60 us (2 threads, AMD EPYC).

    Args:
        images: uint8 [B, C, H, W].
        offsets: int64 [2, B], top and left of the window in the padded image, 0 to 2 * `PAD`.
        mirrored: bool [B].

    Returns:
        uint8 [B, C, H, W].
    """
    count, _, height, width = images.shape
    faced = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    windows = functional.pad(faced, (PAD, PAD, PAD, PAD)).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]
