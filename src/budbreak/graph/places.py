"""From which line of whose code a function is called."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from types import FrameType

import torch

_OURS = tuple(str(Path(__file__).parents[1] / room) for room in ("graph", "evidence", "live"))
_TORCH = str(Path(torch.__file__).parent)
_LAYERS = str(Path(_TORCH) / "nn" / "modules")
_CALLING = str(Path(_LAYERS) / "module.py")
_DYNAMO = str(Path(_TORCH) / "_dynamo")
_GENERATED = "<eval_with_key>"
"""What torch.fx calls the code that it writes."""


def calling_line() -> str:
    """Where the nearest code outside of torch's functions, and of the rooms that watch it, stands, as file:line.

    A layer of torch counts as code: what nn.TransformerEncoderLayer calls is found in its file. Code that torch.fx
    wrote does, too, unless it was compiled on the way, as control flow is: then the line that called it counts.
    """
    frame: FrameType | None = inspect.currentframe()
    written = ""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_DYNAMO):
            written = ""
        elif path.startswith(_GENERATED):
            written = written or f"{path}:{frame.f_lineno}"
        elif name := _code_file(path):
            return written or f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return written


@functools.cache
def _code_file(path: str) -> str:
    """The name of a file that holds a model's code; "" for ours and for what torch's functions are made of."""
    inner = path.startswith(_OURS) or path == _CALLING
    return "" if inner or (path.startswith(_TORCH) and not path.startswith(_LAYERS)) else Path(path).name


def said_place(owner: str, where: str = "") -> str:
    """Where something is called, in words.

    >>> said_place("block2", "net.py:41")
    'in block2 (net.py:41)'
    """
    return f"in {owner or 'the model itself'}{f' ({where})' if where else ''}"
