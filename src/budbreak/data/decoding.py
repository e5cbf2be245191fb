"""What the official files of a data set hold: one function for each layout, from checked bytes to arrays."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from budbreak.data.catalogue import Entry
from budbreak.data.unpickling import read_pickle
from budbreak.errors import CorruptFile, MissingData

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, Array, Array, Array]
"""Train images uint8 [N, C, H, W], train labels [N], test images, test labels."""

Read = Callable[[str], bytes]
"""The checked content of a file, by its name."""


def decode(entry: Entry, read: Read, folder: Path) -> Arrays:
    """The arrays of a data set that comes in files.

    Args:
        entry: its row of the catalogue.
        read: gives the content of each file, or raises.
        folder: where they lie, for messages.

    Raises:
        CorruptFile: if a file is not laid out as it should be.
        MissingData: if images are compressed, and Pillow is not installed.
    """
    return _LAYOUTS[entry.layout](entry, read, folder)


def _idx(entry: Entry, read: Read, folder: Path) -> Arrays:
    raw = [_idx_array(read(file), folder / file) for file in entry.files]
    return raw[0][:, None], raw[1], raw[2][:, None], raw[3]


def _idx_array(content: bytes, path: Path) -> Array:
    """Bytes 0, 0, 8 (uint8), the number of dimensions, each size as 4 bytes big-endian, the values."""
    dimensions = content[3] if content[:3] == b"\x00\x00\x08" and len(content) > 3 else 0
    header = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:header], ">u4").astype(int) if len(content) >= header > 4 else np.zeros(0, int)
    if not len(shape) or len(content) != header + int(shape.prod()):
        raise CorruptFile(f"{path} is no idx file of bytes", "header and length must agree")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _cifar(entry: Entry, read: Read, folder: Path) -> Arrays:
    key = "labels" if entry.classes == 10 else "fine_labels"
    contents = {file: read(file) for file in entry.files}
    own = {file: content for file, content in contents.items() if "meta" not in file}
    return _both({file: _pickled(entry, content, folder / file, key) for file, content in own.items()}, "test")


def _imagenet16(entry: Entry, read: Read, folder: Path) -> Arrays:
    """Labels begin with 1; the first classes are those of the data set, and images of others are left out."""
    parts: dict[str, tuple[Array, Array]] = {}
    for file in entry.files:
        images, labels = _pickled(entry, read(file), folder / file, "labels")
        own = labels <= entry.classes
        parts[file] = images[own], labels[own] - 1
    return _both(parts, "val")


def _pickled(entry: Entry, content: bytes, path: Path, key: str) -> tuple[Array, Array]:
    """The images and labels of one file, whose keys are bytes where Python 2 wrote it."""
    found = read_pickle(content, path)
    pixels, labels = (found.get(name.encode(), found.get(name)) for name in ("data", key))
    if pixels is None or labels is None:
        raise CorruptFile(f"{path} has no data or no {key}", "its dictionary has both")
    return np.asarray(pixels, np.uint8).reshape(-1, *entry.shape), np.asarray(labels, np.int64)


def _both(parts: Mapping[str, tuple[Array, Array]], held_out: str) -> Arrays:
    """The training files one after the other, then those whose name begins with the other word."""
    train = [part for file, part in parts.items() if not file.startswith(held_out)]
    test = [part for file, part in parts.items() if file.startswith(held_out)]
    return *_joined(train), *_joined(test)


def _joined(parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _sheets(entry: Entry, read: Read, folder: Path) -> Arrays:
    """Lossless images of many: row by row, image i of class i modulo the number of classes."""
    sheets = {file: _sheet(entry, read(file), folder / file) for file in entry.files}
    train = np.concatenate([images for file, images in sheets.items() if file.startswith("train")])
    test = np.concatenate([images for file, images in sheets.items() if not file.startswith("train")])
    return train, np.arange(len(train)) % entry.classes, test, np.arange(len(test)) % entry.classes


def _sheet(entry: Entry, content: bytes, path: Path) -> Array:
    """Uint8 [N, C, H, W] of one sheet."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        rule = f"{entry.name} comes in sheets, which Pillow reads"
        raise MissingData("Pillow is not installed", rule, "pip install 'budbreak[images]'") from None
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise CorruptFile(f"{path}: {error}", "a sheet is a WebP image") from None
    channels, height, width = entry.shape
    if pixels.shape[0] % height or pixels.shape[1] % width:
        rule = f"a sheet is made of images of {height} x {width} pixels"
        raise CorruptFile(f"{path} has {pixels.shape[0]} x {pixels.shape[1]} pixels", rule)
    cells = pixels.reshape(pixels.shape[0] // height, height, pixels.shape[1] // width, width, channels)
    return cells.transpose(0, 2, 4, 1, 3).reshape(-1, channels, height, width)


_LAYOUTS: Mapping[str, Callable[[Entry, Read, Path], Arrays]] = {
    "idx": _idx,
    "cifar": _cifar,
    "imagenet16": _imagenet16,
    "sheets": _sheets,
}
