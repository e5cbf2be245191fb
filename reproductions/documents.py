"""The documents, by the names of their files: a module each, from the same cells."""

from __future__ import annotations

from pathlib import Path

from reproductions import read_cells
from reproductions.activation.document import activation_document
from reproductions.activation.stored import read_factors, read_networks
from reproductions.ap.document import all_studies, document
from reproductions.safs.document import safs_document


def documents(cells: Path, recipes: Path) -> dict[str, str]:
    """File name -> its text.

    Args:
        cells: the folder of all cells.
        recipes: that of the recipes, which say what was planned.

    Raises:
        CorruptFile: if a cell is damaged.
    """
    found = read_cells(cells)
    networks, factors = read_networks(cells), read_factors(cells)
    return {
        "ap.md": document(all_studies(found, recipes)),
        "activation_based_pruning.md": activation_document(found, networks, factors, recipes=recipes),
        "safs.md": safs_document(found, recipes=recipes),
    }
