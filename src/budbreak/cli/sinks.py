"""Send what a run measures to the user's own tracker, by one callable."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from budbreak.errors import InvalidValue, UnknownName
from budbreak.runs.job import Event

Sink = Callable[[Event], object]


def open_sink(name: str | None) -> Sink:
    """A sink that calls ``package.module:callable`` with one flat dict an epoch; nothing without a name.

    The dict holds job, epoch (over all levels), level, density and every metric measured.

    Raises:
        InvalidValue, UnknownName: if the name is not of that form, or cannot be found.
    """
    if name is None:
        return lambda event: None
    log = _find(name)
    return lambda event: log(
        {"job": event.job, "epoch": event.done, "level": event.level, "density": event.density, **event.metrics}
    )


def _find(name: str) -> Callable[[dict[str, Any]], object]:
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise InvalidValue(f"--log is {name!r}", "it is package.module:callable")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownName(f"--log {name}: {error}", "it is an importable package.module:callable") from None
    if not callable(found):
        raise InvalidValue(f"--log {name} is a {type(found).__name__}", "it is called with a dict")
    return found
