"""What shipping buys: pruned networks measured in every form, small stored cells, one document from them alone."""

from deployments.cells import Cell, Form, read_cells
from deployments.measuring import Settings, measure

__all__ = ["Cell", "Form", "Settings", "measure", "read_cells"]
