"""Refuse what is of the wrong kind: the value, what it must be, and what to write instead."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import cast

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from budbreak.errors import InvalidValue, UnknownName, did_you_mean, nearest, one_of

_LONGEST = 60
_LARGEST = sys.float_info.max  # refuses infinity as well


def check_model(model: object, name: str = "model") -> None:
    """Refuse what is no module, and a module whose weights have no shape, no values, or lie in other processes too.

    Raises:
        InvalidValue: with what to write.
    """
    if not isinstance(model, nn.Module):
        raise InvalidValue(f"{name} is {shown(model)}", "it must be an nn.Module", _model_fix(model, name))
    for key, parameter in model.named_parameters():
        _check_parameter(key, parameter, name)


def _check_parameter(key: str, parameter: nn.Parameter, name: str) -> None:
    if is_lazy(parameter):
        raise InvalidValue(
            f"{key!r} of {name} has no shape yet",
            "a lazy layer knows its inputs after the first batch only",
            f"run one batch through it first: {name}(inputs)",
        )
    if parameter.is_meta:
        raise InvalidValue(
            f"{key!r} of {name} is on the meta device",
            "a weight there has a shape but no value to keep or to prune",
            f"give it values first: {name}.to_empty(device=...) and a state_dict, or make it on a real device",
        )
    if hasattr(parameter, "device_mesh"):  # a DTensor; its class lies in a module that takes long to import
        raise InvalidValue(
            f"{key!r} of {name} is a {type(parameter.data).__name__}: each process holds a part of it",
            "masks are of whole weights; sharded ones (fully_shard, tensor parallel) are not supported yet",
            "prune before sharding, or train with DistributedDataParallel",
        )


def check_optimizer(optimizer: object) -> None:
    """Refuse what is neither an optimizer nor a list of several.

    Raises:
        InvalidValue: with what to write.
    """
    if isinstance(optimizer, list | tuple):
        _check_optimizers(cast("Sequence[object]", optimizer))
    elif not isinstance(optimizer, Optimizer):
        raise _no_optimizer("optimizer", optimizer)


def _check_optimizers(optimizers: Sequence[object]) -> None:
    if not optimizers:
        rule = "it is an optimizer, or a list of at least one"
        raise InvalidValue(
            f"optimizer is {shown(optimizers)}", rule, "write torch.optim.SGD(model.parameters(), lr=0.1)"
        )
    for place, one in enumerate(optimizers):
        if not isinstance(one, Optimizer):
            raise _no_optimizer(f"optimizer {place} of {len(optimizers)}", one)


def _no_optimizer(name: str, value: object) -> InvalidValue:
    class_name = value.__name__ if isinstance(value, type) and issubclass(value, Optimizer) else "torch.optim.SGD"
    arguments = "lr=0.1" if class_name == "torch.optim.SGD" else "..."
    rule = "it must be a torch.optim.Optimizer, given after the model"
    return InvalidValue(f"{name} is {shown(value)}", rule, f"write {class_name}(model.parameters(), {arguments})")


def check_criterion(criterion: object, choices: Iterable[type] = ()) -> None:
    """Refuse a name or a class where a criterion is wanted; the message lists the ``choices``.

    Raises:
        InvalidValue: with what to write.
    """
    choices = tuple(choices)
    near = nearest(criterion, (choice.__name__ for choice in choices)) if isinstance(criterion, str) else None
    check_instance("criterion", criterion, ("needs",), f"bb.criteria.{near or 'Magnitude'}()", choices=choices)


def check_granularity(granularity: object, choices: Iterable[type] = ()) -> None:
    """Refuse a name or a class where a granularity is wanted; the message lists the ``choices``.

    Raises:
        InvalidValue: with what to write.
    """
    attributes = ("fit", "merge", "shrink", "spread")
    check_instance("granularity", granularity, attributes, "bb.Unit()", call=False, choices=choices)


def check_probes(probes: object) -> None:
    """Refuse a single probe, a name or a class where a list of probes (a criterion's ``needs``) is wanted.

    Raises:
        InvalidValue: with what to write.
    """
    if not isinstance(probes, Sequence) or isinstance(probes, str):
        raise _no_probes(f"the probes are {shown(probes)}", probes)
    for probe in probes:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(probe, type) or not (hasattr(probe, "start") or hasattr(probe, "watch")):  # pyright: ignore[reportUnknownArgumentType]
            raise _no_probes(f"a probe is {shown(probe)}", probe)  # pyright: ignore[reportUnknownArgumentType]


def _no_probes(value: str, given: object) -> InvalidValue:
    name = given.__name__ if isinstance(given, type) else type(given).__name__
    near = f"{name}()" if hasattr(given, "start") else "bb.evidence.Gradients()"
    return InvalidValue(value, "what is observed is a list of probes, or in a criterion a tuple", f"write [{near}]")


def check_function(name: str, value: object, example: str) -> None:
    """Refuse what cannot be called, and a class where its instance is meant.

    Raises:
        InvalidValue: with what to write.
    """
    check_instance(name, value, (), example)


def check_fraction(name: str, value: float, *, zero: bool = True) -> None:
    """Refuse a fraction outside [0, 1), or outside (0, 1) where ``zero`` is false.

    Raises:
        InvalidValue: with the value, the range, and the fix for a percentage, text or a tensor.
    """
    if _is_number(value) and (0 <= value < 1 if zero else 0 < value < 1):
        return
    number, percent = as_number(value)
    share = number / 100 if percent or 1 < number < 100 else number
    fix = "write a share such as 0.2"
    if 0 < share < 1:
        fix = f"a percentage? write {share:g}" if share != number else f"write {share:g}"
    value_said = f"{name} is {shown(value)}"
    raise InvalidValue(value_said, f"it must be a number in {'[' if zero else '('}0, 1)", fix)


def check_number(name: str, value: float, *, usual: str, zero: bool = True, most: float = _LARGEST) -> None:
    """Refuse what is no finite number of 0 or more (over 0 where ``zero`` is false), and what is over ``most``.

    Raises:
        InvalidValue: with the value, the range, and what is usual; text that holds a fitting number is spelt without
            its quotes.
    """

    def fits(number: float) -> bool:
        return (number >= 0 if zero else number > 0) and number <= most

    if isinstance(value, int | float) and not isinstance(value, bool) and fits(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        return
    meant, percent = as_number(value)
    limit = "" if most == _LARGEST else f", at most {most:g}"
    fix = f"write {meant:g}" if fits(meant) and not percent and not math.isnan(meant) else f"usual is {usual}"
    raise InvalidValue(f"{name} is {shown(value)}", f"it must be a finite number {'>=' if zero else '>'} 0{limit}", fix)


def check_count(name: str, value: int, *, least: int = 1) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises:
        InvalidValue: with the value, the range, and the nearest whole number.
    """
    if isinstance(value, int) and _is_number(value) and value >= least:  # pyright: ignore[reportUnnecessaryIsInstance]
        return
    number, _ = as_number(value)
    nearest = max(least, int(number)) if math.isfinite(number) else least
    raise InvalidValue(f"{name} is {shown(value)}", f"it must be a whole number >= {least}", f"write {nearest}")


def check_not_negative(name: str, value: float, fix: str) -> None:
    """Refuse what is not a finite number of at least 0.

    Raises:
        InvalidValue: with the value, and ``fix``: what to write.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not number or not 0 <= value < math.inf:
        raise InvalidValue(f"{name} is {shown(value)}", "it must be a finite number >= 0", fix)


def check_known(value: str, name: object, known: Collection[str]) -> None:
    """Refuse a name that is not one of the known ones; the message says ``value``, lists them, and the nearest.

    Raises:
        UnknownName: with the nearest known name.
    """
    if name not in known:
        raise UnknownName(value, one_of(known), did_you_mean(str(name), known))


def check_instance(
    name: str,
    value: object,
    attributes: Sequence[str],
    example: str,
    *,
    call: bool = True,
    choices: Iterable[type] = (),
) -> None:
    """Refuse a class, and a value that lacks ``attributes`` or (with ``call``) cannot be called.

    Args:
        name: of the argument.
        value: what was given.
        attributes: that it must have.
        example: what to write, without ``name=``.
        call: whether it must be callable.
        choices: our own classes of this kind, for the message.

    Raises:
        InvalidValue: with what to write.
    """
    if isinstance(value, type):
        fits = all(hasattr(value, attribute) for attribute in attributes)
        replacement = f"{value.__name__}(...), an instance" if fits else example
        raise InvalidValue(f"{name} is {shown(value)}", _rule(attributes, call, choices), f"write {name}={replacement}")
    if not all(hasattr(value, attribute) for attribute in attributes) or (call and not callable(value)):
        raise InvalidValue(f"{name} is {shown(value)}", _rule(attributes, call, choices), f"write {name}={example}")


def shown(value: object) -> str:
    """A value in an error message: classes by name, everything else by its kind and the beginning of its repr.

    >>> shown(int), shown("unit"), shown([1, 2])
    ('the class int', "'unit'", '[1, 2], a list')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value)
    text = text if len(text) <= _LONGEST and "\n" not in text else f"{text.splitlines()[0][:_LONGEST]}..."
    return text if value is None or isinstance(value, str | int | float) else f"{text}, a {type(value).__name__}"


def _rule(attributes: Sequence[str], call: bool, choices: Iterable[type]) -> str:
    if not attributes:
        return "it must be a function"
    wanted = [f"has {', '.join(attributes)}", *(["can be called"] if call else [])]
    ours = ", ".join(f"{choice.__name__}(...)" for choice in choices)
    return f"it is {f'{ours} or your own' if ours else 'an instance'} that {' and '.join(wanted)}"


def _model_fix(model: object, name: str) -> str:
    if isinstance(model, type) and issubclass(model, nn.Module):
        return f"write {model.__name__}(...), an instance"
    if isinstance(model, list | tuple) and model and all(isinstance(item, nn.Module) for item in model):  # pyright: ignore[reportUnknownVariableType]
        return "put the modules into one: nn.ModuleList([...]) or nn.Sequential(...)"
    if isinstance(model, Mapping | str):
        return "build the network, and load weights into it by load_state_dict(...)"
    return f"give the {name} first" if name == "model" else "give an nn.Module"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: object) -> tuple[float, bool]:
    """The number that was meant, NaN if none can be read from it, and whether it was written with a %.

    >>> as_number("20 %")
    (20.0, True)
    """
    text = value.strip() if isinstance(value, str) else ""
    try:
        meant = math.nan if isinstance(value, bool) else float(text.rstrip("% ") if text else value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, RuntimeError, OverflowError):  # a tensor of many elements raises RuntimeError
        meant = math.nan
    return meant, text.endswith("%")


def as_path(path: object) -> Path:
    """The path of a file.

    Raises:
        InvalidValue: for what is none.
    """
    if isinstance(path, str | os.PathLike):
        return Path(cast("str | os.PathLike[str]", path))
    raise InvalidValue(f"path is {shown(path)}", "it is the path of a file", "write it as text, or as a Path")


def exact(number: float | Fraction) -> Fraction:
    """The decimal number whose shortest digits a float shows; a fraction is exact as it is.

    Counts that come from floats miss the decimal by one where they fall on a half or a whole.

    >>> exact(0.1), exact(0.1) * 3 == exact(0.3), 0.1 * 3 == 0.3
    (Fraction(1, 10), True, False)
    """
    return number if isinstance(number, Fraction) else Fraction(repr(float(number)))
