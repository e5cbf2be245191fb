"""Tiny data sets in the official formats, with their own table of checksums."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from budbreak.data import CATALOGUE
from budbreak.data.catalogue import Archive, Entry


@dataclass(frozen=True)
class Official:
    """A made-up data set: its row of the catalogue, and the content of its files."""

    entry: Entry
    contents: dict[str, bytes]

    @property
    def catalogue(self) -> dict[str, Entry]:
        return {self.entry.name: self.entry}

    def write(self, data_dir: Path, *, zipped: bool = False) -> Path:
        folder = data_dir / self.entry.folder
        folder.mkdir(parents=True)
        for name, content in self.contents.items():
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(content) if zipped else content)
        return folder

    def served(self) -> dict[str, bytes]:
        """URL path -> what the official server sends."""
        if self.entry.archive is None:
            return {f"/{name}.gz": gzip.compress(content) for name, content in self.contents.items()}
        return {
            f"/{self.entry.archive.name}": tar_of({f"{self.entry.folder}/{n}": c for n, c in self.contents.items()})
        }


def tar_of(members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info in extra:
            archive.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx_of(array: np.ndarray) -> bytes:
    return b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tiny_mnist(train: int = 30, test: int = 11) -> Official:
    rng = np.random.default_rng(0)
    contents: dict[str, bytes] = {}
    for prefix, count in (("train", train), ("t10k", test)):
        contents[f"{prefix}-images-idx3-ubyte"] = idx_of(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        contents[f"{prefix}-labels-idx1-ubyte"] = idx_of((np.arange(count) % 10).astype(np.uint8))
    return _official("mnist", contents)


def tiny_cifar(name: str = "cifar10", rows: int = 4) -> Official:
    rng = np.random.default_rng(0)
    contents: dict[str, bytes] = {}
    for file in CATALOGUE[name].files:
        if "meta" in file:
            contents[file] = pickle.dumps({b"label_names": [b"cat"]}, protocol=4)
            continue
        labels = rng.integers(0, 10, rows).tolist()
        pixels = rng.integers(0, 256, (rows, 3072), dtype=np.uint8)
        content = {b"data": pixels, b"batch_label": b"a batch", b"filenames": [b"a.png"] * rows}
        content |= {b"labels": labels} if name == "cifar10" else {b"fine_labels": labels, b"coarse_labels": [0] * rows}
        contents[file] = pickle.dumps(content, protocol=4)
    return _official(name, contents)


def tiny_imagenet16(name: str = "imagenet16-120", rows: int = 5, *, classes: int = 1000) -> Official:
    """Labels from 1 on, as strings of Python 3 or bytes of Python 2, file by file in turn."""
    rng = np.random.default_rng(0)
    contents: dict[str, bytes] = {}
    for place, file in enumerate(CATALOGUE[name].files):
        labels = [1 + (place * rows + row) * 29 % classes for row in range(rows)]
        content = {"data": rng.integers(0, 256, (rows, 768), dtype=np.uint8), "labels": labels, "mean": np.ones(768)}
        keyed = {key.encode(): value for key, value in content.items()} if place % 2 else content
        contents[file] = pickle.dumps(keyed, protocol=4)
    return _official(name, contents)


def tiny_sheets(pixels: dict[str, np.ndarray]) -> Official:
    """File -> uint8 [H, W, 3] of a sheet, as lossless WebP."""
    from PIL import Image

    contents: dict[str, bytes] = {}
    for file, array in pixels.items():
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, "WEBP", lossless=True)
        contents[file] = stream.getvalue()
    return _official("tiny-imagenet-16-120", contents)


def _official(name: str, contents: dict[str, bytes]) -> Official:
    entry = replace(CATALOGUE[name], files={file: md5_of(content) for file, content in contents.items()})
    official = Official(entry, contents)
    if entry.archive is None:
        return official
    (content,) = official.served().values()
    # the time stamp in a gzip header would make a second archive differ: serve what was summed
    frozen = replace(entry, archive=Archive(entry.archive.name, md5_of(content), len(content)))
    return _Frozen(frozen, contents, content)


@dataclass(frozen=True)
class _Frozen(Official):
    content: bytes = b""

    def served(self) -> dict[str, bytes]:
        assert self.entry.archive is not None
        return {f"/{self.entry.archive.name}": self.content}
