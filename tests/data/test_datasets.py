"""Data sets: the right pixels in the right order, nothing but official files, splits that lose no image."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from official import md5_of, tiny_cifar, tiny_imagenet16, tiny_mnist, tiny_sheets

import forking
from budbreak.data import CATALOGUE, DataSet, download, load, split
from budbreak.errors import CorruptFile, InvalidValue, MissingData, UnknownName


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_has_the_pixels_of_its_files(tmp_path: Path, zipped: bool) -> None:
    official = tiny_mnist()
    official.write(tmp_path, zipped=zipped)
    data = load("mnist", tmp_path, catalogue=official.catalogue)
    raw = np.frombuffer(official.contents["train-images-idx3-ubyte"][16:], np.uint8).reshape(30, 1, 28, 28)
    np.testing.assert_array_equal(data.train_images.numpy(), raw)
    assert data.test_labels.tolist() == [index % 10 for index in range(11)]
    assert (data.train_labels.dtype, data.train_images.dtype) == (torch.int64, torch.uint8)
    assert (data.shape, data.classes, len(data.train), len(data.test)) == ((1, 28, 28), 10, 30, 11)


@pytest.mark.parametrize(("name", "key", "batches"), [("cifar10", b"labels", 5), ("cifar100", b"fine_labels", 1)])
def test_cifar_joins_its_batches_in_order(tmp_path: Path, name: str, key: bytes, batches: int) -> None:
    official = tiny_cifar(name)
    official.write(tmp_path)
    data = load(name, tmp_path, catalogue=official.catalogue)
    parts = [
        pickle.loads(content, encoding="bytes") for file, content in official.contents.items() if "meta" not in file
    ]
    assert data.train_images.shape == (4 * batches, 3, 32, 32)
    assert data.train_labels.tolist() == [label for part in parts[:-1] for label in part[key]]
    assert data.test_labels.tolist() == parts[-1][key]
    # red plane first, rows within it: pixel (row 1, column 2) of green is byte 1024 + 32 + 2
    assert int(data.train_images[0, 1, 1, 2]) == int(parts[0][b"data"][0, 1024 + 32 + 2])


@pytest.mark.parametrize("official", [tiny_mnist(), tiny_cifar()], ids=["mnist", "cifar10"])
def test_a_missing_file_is_named_with_the_command(tmp_path: Path, official) -> None:
    name, folder = official.entry.name, official.write(tmp_path)
    gone = folder / list(official.contents)[1]
    gone.unlink()
    with pytest.raises(MissingData) as caught:
        load(name, tmp_path, catalogue=official.catalogue)
    assert str(gone) in str(caught.value)
    assert f"budbreak data get {name} --data-dir {tmp_path}" in str(caught.value)


def test_without_a_directory_the_command_is_named() -> None:
    with pytest.raises(MissingData, match="budbreak data get cifar10 --data-dir"):
        load("cifar10")


@pytest.mark.parametrize("official", [tiny_mnist(), tiny_cifar()], ids=["mnist", "cifar10"])
def test_one_changed_byte_is_refused(tmp_path: Path, official) -> None:
    folder = official.write(tmp_path)
    path = folder / next(iter(official.contents))
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFile) as caught:
        load(official.entry.name, tmp_path, catalogue=official.catalogue)
    assert str(path) in str(caught.value)
    assert md5_of(bytes(content)) in str(caught.value)
    assert "budbreak data get" in str(caught.value)


def test_a_truncated_gz_is_refused(tmp_path: Path) -> None:
    official = tiny_mnist()
    path = official.write(tmp_path, zipped=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptFile, match=r"train-images-idx3-ubyte\.gz"):
        load("mnist", tmp_path, catalogue=official.catalogue)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x00\x08", b"\x00\x00\x08\x00", b"\x00\x00\x08\x03\x00", b"\x00\x00\x09\x01" + struct.pack(">I", 0)],
)
def test_what_is_no_idx_file_is_refused_even_with_the_right_checksum(tmp_path: Path, content: bytes) -> None:
    official = tiny_mnist()
    folder = official.write(tmp_path)
    file = "train-labels-idx1-ubyte"
    (folder / file).write_bytes(content)
    entry = replace(official.entry, files={**official.entry.files, file: md5_of(content)})
    with pytest.raises(CorruptFile, match="no idx file"):
        load("mnist", tmp_path, catalogue={"mnist": entry})


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'cifar10'"):
        load("cifar-10")


def test_the_catalogue_agrees_with_itself() -> None:
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert len(entry.mean) == len(entry.std) == entry.shape[0]
        assert all(len(checksum) == 32 for checksum in entry.files.values())
        assert entry.layout == "package" or entry.url.endswith("/") or entry.by_hand


# --- ImageNet at 16 x 16 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["imagenet16", "imagenet16-120"])
def test_imagenet16_has_the_images_of_its_first_classes_in_order(tmp_path: Path, name: str) -> None:
    official = tiny_imagenet16(name)
    official.write(tmp_path)
    data = load(name, tmp_path, catalogue=official.catalogue)
    parts = [pickle.loads(content) for content in official.contents.values()]
    parts = [{str(key, "ascii") if isinstance(key, bytes) else key: part[key] for key in part} for part in parts]
    own = [(row, label - 1) for part in parts[:-1] for row, label in zip(part["data"], part["labels"], strict=True)
           if label <= data.classes]  # fmt: skip
    assert data.train_labels.tolist() == [label for _, label in own]
    np.testing.assert_array_equal(data.train_images.numpy().reshape(-1, 768), np.stack([row for row, _ in own]))
    assert data.test_labels.tolist() == [label - 1 for label in parts[-1]["labels"] if label <= data.classes]
    assert (data.shape, data.classes) == ((3, 16, 16), official.entry.classes)
    assert (len(data.train) == 50) is (name == "imagenet16")


def test_a_pickle_without_labels_is_refused(tmp_path: Path) -> None:
    official = tiny_imagenet16()
    content = pickle.dumps({"data": np.zeros((1, 768), np.uint8)})
    (official.write(tmp_path) / "val_data").write_bytes(content)
    entry = replace(official.entry, files={**official.entry.files, "val_data": md5_of(content)})
    with pytest.raises(CorruptFile, match="val_data has no data or no labels"):
        load(entry.name, tmp_path, catalogue={entry.name: entry})


def sheet(rows: int, columns: int, first: int) -> np.ndarray:
    """Image i, row by row, has the red of i, the green of its row of pixels, the blue of its column."""
    y, x = np.mgrid[: 16 * rows, : 16 * columns]
    return np.stack([first + y // 16 * columns + x // 16, y % 16, x % 16], 2).astype(np.uint8)


def test_sheets_are_cut_row_by_row(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    official = tiny_sheets(
        {"train_00.webp": sheet(2, 3, 0), "train_01.webp": sheet(41, 3, 6), "val_00.webp": sheet(1, 2, 9)}
    )
    official.write(tmp_path)
    data = load("tiny-imagenet-16-120", tmp_path, catalogue=official.catalogue)
    images = data.train_images
    assert images[:, 0].flatten(1).unique(dim=1)[:, 0].tolist() == list(range(129))
    assert images[:, 1, :, 3].eq(torch.arange(16)).all()
    assert images[:, 2, 5].eq(torch.arange(16)).all()
    assert data.train_labels.tolist() == [*range(120), *range(9)]
    assert (data.test_images[:, 0, 0, 0].tolist(), data.test_labels.tolist()) == ([9, 10], [0, 1])


@pytest.mark.parametrize(("content", "words"), [(b"RIFF", "WebP"), (None, "has 24 x 32 pixels")])
def test_what_is_no_sheet_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    pytest.importorskip("PIL")
    official = tiny_sheets({"train_00.webp": sheet(2, 2, 0)[:24], "val_00.webp": sheet(1, 1, 0)})
    folder = official.write(tmp_path)
    (folder / "train_00.webp").write_bytes(content or official.contents["train_00.webp"])
    files = official.entry.files if content is None else {**official.entry.files, "train_00.webp": md5_of(content)}
    entry = replace(official.entry, files=files)
    with pytest.raises(CorruptFile, match=words):
        load(entry.name, tmp_path, catalogue={entry.name: entry})


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("PIL")
    official = tiny_sheets({"train_00.webp": sheet(1, 1, 0), "val_00.webp": sheet(1, 1, 0)})
    official.write(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingData, match=r"budbreak\[images\]"):
        load("tiny-imagenet-16-120", tmp_path, catalogue=official.catalogue)


@pytest.mark.parametrize("name", ["imagenet16", "imagenet16-120", "tiny-imagenet-16-120"])
def test_what_is_not_handed_out_says_how_it_is_had(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidValue, match=rf"registers there; they go into DIR/{CATALOGUE[name].folder}"):
        download(name, tmp_path)
    with pytest.raises(MissingData, match=rf"registers there; they go into {tmp_path}/{CATALOGUE[name].folder}"):
        load(name, tmp_path)


# --- digits ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> DataSet:
    pytest.importorskip("sklearn")
    return load("digits")


def test_digits_are_split_by_class_and_scaled_to_bytes(digits: DataSet) -> None:
    from sklearn.datasets import load_digits

    raw = load_digits()
    assert (len(digits.train), len(digits.test), digits.shape) == (1437, 360, (1, 8, 8))
    shares = digits.test_labels.bincount() / torch.from_numpy(np.bincount(raw.target))
    assert ((shares - 0.2).abs() < 0.006).all()  # one of 174 images is 0.0057
    assert int(digits.train_images.max()) == 255
    # every image is there once: the bytes of both parts together are those of the original
    ours = torch.cat([digits.train_images, digits.test_images]).flatten(1).numpy()
    theirs = np.rint(raw.data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))


def test_the_numbers_of_the_digits_row_are_those_of_its_images(digits: DataSet) -> None:
    pixels = digits.train_images.double() / 255
    assert digits.mean == pytest.approx((float(pixels.mean()),), abs=5e-5)
    assert digits.std == pytest.approx((float(pixels.std()),), abs=2e-4)


def test_without_scikit_learn_the_extra_is_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with pytest.raises(MissingData, match=r"budbreak\[digits\]"):
        load("digits")


def read_digits_in(folder: Path) -> None:
    """In a process of its own that stands in a folder of traps; writes down how many there are, and what was loaded."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    heavy = {"sklearn", "joblib", "scipy"}
    for name in [name for name in sys.modules if name.partition(".")[0] in heavy]:
        del sys.modules[name]
    (folder / "found").write_text(f"{len(load('digits').train)} {sorted(heavy & set(sys.modules))}")


@pytest.mark.parametrize("trap", ["sklearn.py", "sklearn/__init__.py"])
def test_the_digits_are_read_without_running_anything(trap: str, tmp_path: Path) -> None:
    """Neither scikit-learn itself, whose joblib leaves semaphores behind, nor what else has its name."""
    pytest.importorskip("sklearn")
    (tmp_path / trap).parent.mkdir(exist_ok=True)
    (tmp_path / trap).write_text("raise SystemExit('the trap was run')")
    assert forking.end(forking.start(read_digits_in, tmp_path, errors=tmp_path / "said")) == 0
    assert (tmp_path / "found").read_text() == "1437 []"


def test_other_digits_are_refused(monkeypatch, tmp_path: Path) -> None:
    path = tmp_path / "sklearn/datasets/data/digits.csv.gz"
    path.parent.mkdir(parents=True)
    (tmp_path / "sklearn/__init__.py").touch()
    path.write_bytes(gzip.compress(b"0," * 64 + b"7"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with pytest.raises(CorruptFile, match=r"digits\.csv"):
        load("digits")


# --- splits ------------------------------------------------------------------------------------------------


def numbered(count: int = 50, name: str = "digits") -> DataSet:
    """Image i is filled with i."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    labels = torch.arange(count) % 3
    return DataSet(name, 3, images, labels, images[:7] + 100, labels[:7], (0.5,), (0.5,))


def test_a_split_is_disjoint_and_loses_no_image() -> None:
    parts = split(numbered(), 12)
    train, validation = (part.images[:, 0, 0, 0].tolist() for part in (parts.train, parts.validation))
    assert (len(train), len(validation), len(parts.test)) == (38, 12, 7)
    assert sorted(train + validation) == list(range(50))
    assert train == sorted(train)
    assert validation == sorted(validation) != list(range(12))
    assert parts.validation.labels.tolist() == [index % 3 for index in validation]
    assert parts.test.images[:, 0, 0, 0].tolist() == list(range(100, 107))


def test_a_split_is_the_same_every_time_and_another_for_another_seed() -> None:
    torch.manual_seed(1)
    first = split(numbered(), 12).validation.images
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first, split(numbered(), 12).validation.images)
    assert not torch.equal(first, split(numbered(), 12, seed=1).validation.images)


def test_the_held_out_images_are_these() -> None:
    # numpy.random.RandomState(0).permutation(50)[:5], a stream frozen by numpy (NEP 19)
    assert split(numbered(), 5).validation.images[:, 0, 0, 0].tolist() == [2, 10, 11, 28, 41]


def test_each_data_set_has_its_own_number(digits: DataSet) -> None:
    parts = split(digits)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1237, 200, 360)
    assert CATALOGUE["cifar10"].validation == CATALOGUE["mnist"].validation == 5000


def test_nothing_need_be_held_out() -> None:
    parts = split(numbered(), 0)
    assert (len(parts.train), len(parts.validation)) == (50, 0)


@pytest.mark.parametrize("validation", [-1, 50, 2.5, True])
def test_a_split_that_cannot_be_is_refused(validation) -> None:
    with pytest.raises(InvalidValue):
        split(numbered(), validation)
