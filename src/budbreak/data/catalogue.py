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
        layout: how the files are read; "package" comes with an installed package. See `decoding`.
        folder: of the files, below the data directory, as torchvision has it.
        files: name -> md5 of the (unzipped) content.
        largest: bytes of the largest of these; more is neither received nor unpacked.
        url: base URL of the official files; empty where they are not handed out to everybody.
        archive: where all files come in one; otherwise each is at ``url`` as ``NAME.gz``.
        by_hand: how somebody gets files that have no URL.
    """

    name: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: int
    layout: Literal["idx", "cifar", "imagenet16", "sheets", "package"]
    folder: str
    files: Mapping[str, str]
    largest: int
    url: str = ""
    archive: Archive | None = None
    by_hand: str = ""


def _imagenet16(name: str, classes: int, validation: int) -> Entry:
    """ImageNet at 16 x 16 pixels (Chrabaszcz et al. 2017), its first classes, as NAS-Bench-201 has 120 of them.

    Checksums, means and deviations are those that NAS-Bench-201 publishes of 120 classes: not computed here.
    """
    return Entry(
        name=name,
        classes=classes,
        shape=(3, 16, 16),
        mean=(0.4811, 0.4575, 0.4079),
        std=(0.2479, 0.2402, 0.2553),
        validation=validation,
        layout="imagenet16",
        folder="ImageNet16",
        files={
            "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
            "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
            "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
            "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
            "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
            "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
            "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
            "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
            "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
            "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
            "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
        },
        largest=200_000_000,  # of 128,117 images of 768 bytes; how the pickle spells its labels is not known here
        by_hand="image-net.org hands its 16 x 16 archives out to whoever registers there",
    )


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
    _imagenet16("imagenet16", 1000, 50_000),
    _imagenet16("imagenet16-120", 120, 6000),
    # Of Tiny-ImageNet-200: the first 120 classes by wnid, the first 180 training and all 50 validation images of each,
    # from 64 to 16 pixels by a box filter; interleaved, so that any prefix has all classes. No official set: other
    # classes and fewer images than the ImageNet16-120 of NAS-Bench-201, and accuracies do not compare with its own.
    Entry(
        name="tiny-imagenet-16-120",
        classes=120,
        shape=(3, 16, 16),
        mean=(0.4739, 0.4462, 0.3959),
        std=(0.2449, 0.2358, 0.2487),
        validation=2400,
        layout="sheets",
        folder="tiny-imagenet-16x16-120",
        files={
            "train_00.webp": "f5ce62dea4f6c479e096e43b4ee25a80",
            "train_01.webp": "878eef7f070a2e6a62ab5753836b8faf",
            "train_02.webp": "31eaed67bf3dd343c69c4c25e525e7ec",
            "train_03.webp": "051db817b9025a6012a9d67506212528",
            "train_04.webp": "3a4cabaad1aa7ea5a6375af116d1bc64",
            "train_05.webp": "22ca764cae673cb7d9c60566d2eef48b",
            "train_06.webp": "da2d7dc873b4ae7c1e66591c0cf7b6a3",
            "train_07.webp": "856f757f8388c20afa94da36c12f6225",
            "train_08.webp": "f28aae0e59195103e648a51e2649ab46",
            "train_09.webp": "3dbc6bac07447bae4b34833dbba343fc",
            "train_10.webp": "05b6f146c50d63d488d703ab63ccb013",
            "train_11.webp": "6faf3a3db9882af6f173cb7f9d5cf4fa",
            "train_12.webp": "db89cbf722d920ee561ba95008816177",
            "train_13.webp": "50a27b0621fa06b1d9b4e641455c9e9a",
            "train_14.webp": "ed5fa422b52ded7b51a4e2ef613b97cb",
            "train_15.webp": "f5f759e883982b66068c91176c88b409",
            "train_16.webp": "bf45bc8adfc375dbe4df0c9471182ea9",
            "train_17.webp": "0d4e94ab589024277ea86f44f4a507e0",
            "val_00.webp": "c7c7137c3930ba0f2ad4e63c28748b3f",
            "val_01.webp": "e5223da1414edf429abfc9957372c117",
            "val_02.webp": "0540b916d6a78b6a90504b68dc91ded4",
            "val_03.webp": "cede5df227f88caaa3859a3b418d61bd",
            "val_04.webp": "3155dbd9d5788d0abdbcb2b6fc8d6969",
        },
        largest=611_146,
        by_hand="its sheets are not handed out; imagenet16-120 is, by image-net.org to whoever registers there",
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
