"""Reading the CIFAR pickles without running what a pickle can hold."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from budbreak.errors import CorruptFile

_NUMBER = re.compile(r"[<>|=]?[biuf][1248]")
_ARRAY = "ndarray"  # stands for the class, which must never be called with arguments from a file
_by_numpy: Any = np.empty(0).__reduce__()  # numpy 1 and 2 keep the function in different modules
_make_empty: Callable[..., np.ndarray[Any, Any]] = _by_numpy[0]


def read_pickle(data: bytes, path: Path) -> dict[bytes, Any]:
    """A dict of numeric arrays, bytes, str, int, list and dict from a pickle that holds nothing else.

    Byte strings of Python 2 stay bytes. No name outside a list of three is looked up, so nothing of the file's
    choosing is imported or called.

    Args:
        data: the pickle.
        path: for the message.

    Raises:
        CorruptFile: if the pickle is truncated, or asks for anything else.
    """
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a hostile pickle can raise anything
        raise _refused(path, str(error) or type(error).__name__) from None
    if not isinstance(content, dict):
        raise _refused(path, f"it holds a {type(content).__name__}")
    _check_plain(content, path)
    return content


class _Unpickler(pickle.Unpickler):
    """Knows the names by which numpy writes an array, and no others."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): _ARRAY,
            ("numpy", "dtype"): _dtype,
        }
        if (module_name, global_name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return known[module_name, global_name]


def _reconstruct(kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
    """The empty array that numpy fills from the state that follows."""
    if kind is not _ARRAY or shape != (0,) or code not in (b"b", "b"):
        raise pickle.UnpicklingError("it builds an array in an unusual way")
    return _make_empty(np.ndarray, (0,), b"b")


def _dtype(name: bytes | str, *_flags: object) -> np.dtype[Any]:
    text = name.decode("ascii") if isinstance(name, bytes) else name
    if not _NUMBER.fullmatch(text):
        raise pickle.UnpicklingError(f"it holds an array of {text!r}")
    return np.dtype(text, copy=True)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _check_plain(node: object, path: Path) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            _check_plain(key, path)
            _check_plain(value, path)
    elif isinstance(node, list):
        for value in node:
            _check_plain(value, path)
    elif type(node) is np.ndarray:
        if node.dtype.hasobject:
            raise _refused(path, "it holds an array of objects")
    elif type(node) not in (bytes, str, int):
        raise _refused(path, f"it holds a {type(node).__name__}")


def _refused(path: Path, why: str) -> CorruptFile:
    return CorruptFile(
        f"{path} was refused: {why}",
        "a CIFAR file holds arrays of numbers, bytes, str, int, list and dict, and nothing else is ever loaded",
        "delete it and fetch the official file with 'budbreak data get'",
    )
