"""What makes a search for activations cheaper: random candidates trained in full, and what told their order before."""

from reproductions.searching.comparing import epochs_saved
from reproductions.searching.measuring import SETTINGS, Found, measure, read_all

__all__ = ["SETTINGS", "Found", "epochs_saved", "measure", "read_all"]
