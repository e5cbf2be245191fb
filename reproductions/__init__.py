"""Reproductions of papers, outside the wheel: small stored cells in, one document out, no figure typed by hand."""

from reproductions.cells import Cell, read_cells, write_cell
from reproductions.harvest import harvest

__all__ = ["Cell", "harvest", "read_cells", "write_cell"]
