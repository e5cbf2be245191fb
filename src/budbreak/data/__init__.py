"""Data sets: their official files, in memory as bytes."""

from budbreak.data.catalogue import CATALOGUE, find
from budbreak.data.datasets import DataSet, Split, load, split
from budbreak.data.download import download
from budbreak.data.fetching import Link
from budbreak.data.images import PAD, Images, batches, crop_and_flip

__all__ = [
    "CATALOGUE",
    "PAD",
    "DataSet",
    "Images",
    "Link",
    "Split",
    "batches",
    "crop_and_flip",
    "download",
    "find",
    "load",
    "split",
]
