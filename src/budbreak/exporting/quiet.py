"""Exporters of other libraries say much that nobody needs: what matters of it becomes an error of ours."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Generator


@contextlib.contextmanager
def quiet() -> Generator[None, None, None]:
    """No warnings, log lines or prints inside."""
    said, before = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
