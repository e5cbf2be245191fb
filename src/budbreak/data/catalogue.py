"""The official files of each data set: names, checksums, sources. One row enrols a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from budbreak.checks import check_known


@dataclass(frozen=True)
class Archive:
    """One tar.gz that holds all files of a data set, below the folder's own name.

    Args:
        name: of the file, below the base URL.
        md5: of the file.
        size: of the file, in bytes.
    """

    name: str
    md5: str
    size: int


@dataclass(frozen=True)
class Entry:
    """One data set.

    Args:
        name: as the user writes it.
        classes: how many labels.
        shape: of one image, (C, H, W).
        mean, std: of the training images per channel, on the scale 0..1.
        validation: images held out of the training set unless told otherwise.
        layout: how the files are read; "package" comes with an installed package.
        folder: of the files, below the data directory, as torchvision has it.
        files: name -> md5 of the (unzipped) content.
        largest: bytes of the largest of these; more is neither received nor unpacked.
        url: base URL of the official files.
        archive: where all files come in one; otherwise each is at ``url`` as ``NAME.gz``.
    """

    name: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: int
    layout: Literal["idx", "cifar", "package"]
    folder: str
    files: Mapping[str, str]
    largest: int
    url: str
    archive: Archive | None = None


# Means and standard deviations were computed from the official training images (of digits: of our 1437).
_ROWS = (
    Entry(
        name="digits",
        classes=10,
        shape=(1, 8, 8),
        mean=(0.3058,),
        std=(0.3761,),
        validation=200,
        layout="package",
        folder="sklearn/datasets/data",
        files={"digits.csv": "a0339c30a8a5312a1b6f9e5c719dcce5"},
        largest=264_712,
        url="",
    ),
    Entry(
        name="mnist",
        classes=10,
        shape=(1, 28, 28),
        mean=(0.1307,),
        std=(0.3081,),
        validation=5000,
        layout="idx",
        folder="MNIST/raw",
        files={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        largest=47_040_016,
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    Entry(
        name="fashion-mnist",
        classes=10,
        shape=(1, 28, 28),
        mean=(0.2860,),
        std=(0.3530,),
        validation=5000,
        layout="idx",
        folder="FashionMNIST/raw",
        files={
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        largest=47_040_016,
        # The official address has no https; the checksums protect the content.
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    Entry(
        name="cifar10",
        classes=10,
        shape=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        validation=5000,
        layout="cifar",
        folder="cifar-10-batches-py",
        files={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        largest=31_035_999,
        url="https://www.cs.toronto.edu/~kriz/",
        archive=Archive("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 170_498_071),
    ),
    Entry(
        name="cifar100",
        classes=100,
        shape=(3, 32, 32),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        validation=5000,
        layout="cifar",
        folder="cifar-100-python",
        files={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
        largest=155_249_918,
        url="https://www.cs.toronto.edu/~kriz/",
        archive=Archive("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 169_001_437),
    ),
)

CATALOGUE: Mapping[str, Entry] = {row.name: row for row in _ROWS}


def find(name: str, catalogue: Mapping[str, Entry] = CATALOGUE) -> Entry:
    """The row of a data set.

    Raises:
        UnknownName: with the nearest known name.

    Example:
        >>> find("mnist").files["t10k-labels-idx1-ubyte"]
        '27ae3e4e09519cfbb04c329615203637'
    """
    check_known(f"no data set named {name!r}", name, catalogue)
    return catalogue[name]
