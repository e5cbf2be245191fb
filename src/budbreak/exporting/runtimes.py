"""Libraries that are extras, imported where they are used."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budbreak.errors import InvalidValue


def runtime(name: str, extra: str) -> ModuleType:
    """Import a library.

    Args:
        name: of the module.
        extra: of budbreak, which brings it.

    Raises:
        InvalidValue: if it is not there: with what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"this form is written, and run to verify it, by libraries of the extra {extra!r}: {error}"
        raise InvalidValue(f"{name} is not installed", rule, f"pip install 'budbreak[{extra}]'") from error


def openvino_core() -> Any:
    """The one `openvino.Core` of this process, kept to its end.

    The CPU plugin of each core (2026.4) gives the thread a stack for signals, and puts the one before it back when it
    ends. Of two cores that end in the order in which they began, the second puts back a stack that is gone: the next
    signal with a handler, as those of data loaders with workers, then kills the process.

    Raises:
        InvalidValue: if OpenVINO is not installed.
    """
    return _core(runtime("openvino", "openvino"))


@functools.cache
def _core(openvino: Any) -> Any:
    return openvino.Core()


def as_array(name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as runtimes take it.

    Raises:
        InvalidValue: for bfloat16, which numpy does not have.
    """
    if tensor.dtype == torch.bfloat16:
        value = f"input {name!r} is bfloat16"
        raise InvalidValue(value, "runtimes are given arrays of numpy, which lacks it", "export model.float()")
    return tensor.detach().cpu().numpy()
