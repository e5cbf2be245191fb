"""What makes a search for activations cheaper: random candidates trained in full, and what told their order before."""

from reproductions.searching.comparing import epochs_saved
from reproductions.searching.document import search_document
from reproductions.searching.measuring import SETTINGS, TRIALS, Found, Setting, measure, read_all

__all__ = ["SETTINGS", "TRIALS", "Found", "Setting", "epochs_saved", "measure", "read_all", "search_document"]
