"""Data sets from their official files, whole in memory; every file is checked before it is read."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from budbreak.checks import check_count
from budbreak.data.catalogue import CATALOGUE, Entry, find
from budbreak.data.decoding import Arrays, decode
from budbreak.data.images import Images
from budbreak.errors import CorruptFile, InvalidValue, MissingData
from budbreak.files import read_bytes

VALIDATION_SEED = 0  # of the split, not of a training: all runs on a data set hold out the same images


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set in its official order.

    Args:
        name: as in the catalogue.
        classes: how many labels there are.
        train_images: uint8 [N, C, H, W]; train_labels: int64 [N], 0 to classes - 1.
        test_images, test_labels: likewise.
        mean, std: of the training images per channel, on the scale 0..1.
    """

    name: str
    classes: int
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: (C, H, W)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def unscaled(self) -> DataSet:
        """The same, whose pixels are divided by 255 and nothing more: mean 0 and deviation 1 for all channels."""
        return replace(self, mean=(0.0,) * len(self.mean), std=(1.0,) * len(self.std))

    @property
    def train(self) -> Images:
        """All training images."""
        return Images(self.train_images, self.train_labels, self.mean, self.std)

    @property
    def test(self) -> Images:
        """All test images."""
        return Images(self.test_images, self.test_labels, self.mean, self.std)


@dataclass(frozen=True)
class Split:
    """Disjoint parts; train and validation together are the official training images."""

    train: Images
    validation: Images
    test: Images


def load(name: str, data_dir: Path | None = None, *, catalogue: Mapping[str, Entry] = CATALOGUE) -> DataSet:
    """Read a data set; its files are where torchvision puts them.

    Args:
        name: "digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet16", "imagenet16-120" or
            "tiny-imagenet-16-120".
        data_dir: holds ``MNIST/raw`` (plain or ``.gz``), ``cifar-10-batches-py`` and so on; digits need none.
        catalogue: the known data sets.

    Raises:
        UnknownName: for an unknown data set.
        InvalidValue: for a ``data_dir`` that would have no effect.
        MissingData: if a file, ``data_dir``, or the package that brings the data is missing.
        CorruptFile: if a file is not the official one.
    """
    entry = find(name, catalogue)
    if entry.layout == "package" and data_dir is not None:
        raise InvalidValue(
            f"data_dir is {str(data_dir)!r}, with the data set {name}", "it comes with a package", "take data_dir out"
        )
    arrays = _digits(entry) if entry.layout == "package" else _from_files(entry, data_dir)
    train_images, train_labels, test_images, test_labels = (torch.from_numpy(array) for array in arrays)
    return DataSet(
        name, entry.classes, train_images, train_labels.long(), test_images, test_labels.long(), entry.mean, entry.std
    )


def split(dataset: DataSet, validation: int | None = None, *, seed: int = VALIDATION_SEED) -> Split:
    """Hold images out of the training set; both parts keep the official order.

    Args:
        dataset: its test images are passed on as they are.
        validation: how many; the data set's own number if None (5000, of digits 200); 0 gives an empty part.
        seed: of the choice; the draw is numpy's frozen MT19937 stream, the same in every version.

    Raises:
        InvalidValue: if no training image would be left.
    """
    count = find(dataset.name).validation if validation is None else validation
    check_count("validation", count, least=0)
    total = len(dataset.train_labels)
    if count >= total:
        raise InvalidValue(
            f"validation is {count}", f"it comes out of {total} training images", f"choose at most {total - 1}"
        )
    held_out = np.zeros(total, dtype=bool)
    held_out[np.random.RandomState(seed).permutation(total)[:count]] = True
    train, kept_back = (torch.from_numpy(np.flatnonzero(flags)) for flags in (~held_out, held_out))
    return Split(dataset.train.take(train), dataset.train.take(kept_back), dataset.test)


def official_file(entry: Entry, file: str, data_dir: Path) -> bytes:
    """The checked content of one file, unzipped if only ``FILE.gz`` is there.

    Raises:
        MissingData: if there is neither.
        CorruptFile: if the content is not the official one.
    """
    path = data_dir / entry.folder / file
    zipped = path.with_name(f"{file}.gz")
    remedy = _remedy(entry, data_dir)
    try:
        content = read_bytes(path, largest=entry.largest)
    except FileNotFoundError:
        path, content = zipped, _unzipped(zipped, entry, remedy)
    checksum = md5(content)
    if checksum != entry.files[file]:
        value = f"{path}: the md5 of the content is {checksum}"
        raise CorruptFile(value, f"that of the official file is {entry.files[file]}", f"delete it, then: {remedy}")
    return content


def unzip(zipped: bytes, largest: int) -> bytes:
    """The content of a gzip file, of at most ``largest`` bytes: a few megabytes of it can unpack to gigabytes.

    Raises:
        ValueError: if it is truncated, no gzip file, or holds more.
    """
    try:
        with gzip.open(io.BytesIO(zipped)) as stream:
            content = stream.read(largest + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"it is no whole gzip file ({error})") from None
    if len(content) > largest:
        raise ValueError(f"it unpacks to more than the {largest} bytes of the largest official file")
    return content


def _unzipped(path: Path, entry: Entry, remedy: str) -> bytes:
    try:
        return unzip(read_bytes(path, largest=entry.largest), entry.largest)
    except FileNotFoundError:
        value = f"{path.with_suffix('')} is missing"
        raise MissingData(value, f"{entry.name} needs its official files", remedy) from None
    except CorruptFile:
        raise
    except ValueError as error:
        raise CorruptFile(f"{path}: {error}", "a .gz file is a whole gzip file", f"delete it, then: {remedy}") from None


def md5(content: bytes) -> str:
    """As 32 hexadecimal digits: what the data sets' authors publish, against accidents."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _remedy(entry: Entry, data_dir: Path) -> str:
    if entry.layout == "package":
        return "pip install --force-reinstall scikit-learn"
    if not entry.url:
        return f"{entry.by_hand}; they go into {data_dir / entry.folder}"
    return f"budbreak data get {entry.name} --data-dir {data_dir}"


def _from_files(entry: Entry, data_dir: Path | None) -> Arrays:
    if data_dir is None:
        rule = f"{entry.name} is read from its official files"
        raise MissingData("no data directory was given", rule, _remedy(entry, Path("DIR")))
    return decode(entry, lambda file: official_file(entry, file, data_dir), data_dir / entry.folder)


def _digits(entry: Entry) -> Arrays:
    """Of scikit-learn's 1797 digits, sorted by class, every fifth is a test image: 360, the same share of each.

    Its file is read, the package not imported: that would load joblib, whose semaphores outlive a killed process, and
    run whatever else is called sklearn where the user stands.
    """
    (file,) = entry.files
    text = official_file(entry, file, _place_of(f"{entry.folder}/{file}.gz")).decode("ascii")
    lines = text.split()
    table = np.fromstring(",".join(lines), sep=",").reshape(len(lines), -1)
    pixels, labels = table[:, :-1], table[:, -1].astype(np.int64)
    images = np.rint(pixels.reshape(-1, *entry.shape) * (255 / 16)).astype(np.uint8)
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[np.argsort(labels, kind="stable")[::5]] = True
    return images[~is_test], labels[~is_test], images[is_test], labels[is_test]


def _place_of(file: str) -> Path:
    """The folder of the import path below which a file of a package lies."""
    for place in sys.path:
        if (Path(place) / file).is_file():
            return Path(place)
    rule = "the digits come with scikit-learn"
    raise MissingData("scikit-learn is not installed", rule, "pip install 'budbreak[digits]'")
