"""Values spelt out as JSON, so that two of them are told apart by what they are made of."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.files import digest, tensor_bytes
from budbreak.values import telling_fields


def describe(value: object, inside: tuple[int, ...] = ()) -> Any:
    """A JSON value for a value: objects by their class's full name and their parts, tensors by a digest.

    Functions go by name; lambdas and local functions, which have none of their own, by their code, defaults and
    what they enclose (so they differ between versions of Python).

    Args:
        value: anything.
        inside: the ids of the objects that it was found in, against circles.

    Raises:
        InvalidValue: if it has parts that cannot be seen.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic | bytes):
        return _array(value)
    if id(value) in inside:
        return {"again": full_name(value)}
    inside = (*inside, id(value))
    if isinstance(value, Mapping):
        return {str(key): describe(item, inside) for key, item in cast(Mapping[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [describe(item, inside) for item in cast(Sequence[object], value)]
    if isinstance(value, Set):
        return sorted((describe(item, inside) for item in cast(Set[object], value)), key=digest)
    return _object(value, inside)


def describe_batches(batches: object) -> Any:
    """What is known of a calibration set without reading it: lists and tensors whole, others by kind and size.

    A loader may shuffle, and one that is read has drawn: its data are looked at only where they are tensors.
    """
    if isinstance(batches, list | tuple | TensorDataset) or is_dataclass(batches):
        return describe(batches)
    if isinstance(batches, Subset):
        subset = cast(Subset[Any], batches)
        return {"indices": digest([int(i) for i in subset.indices]), "of": describe_batches(subset.dataset)}
    described: dict[str, Any] = {"is": full_name(type(batches))}
    if isinstance(batches, DataLoader):
        loader = cast(DataLoader[Any], batches)
        described |= {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
        described |= {"sampler": full_name(type(loader.sampler)), "data": describe_batches(loader.dataset)}
    elif hasattr(batches, "__len__"):
        described["length"] = len(cast(Any, batches))
    return described


def full_name(value: object) -> str:
    """``module:name`` of a class, function or object's class; a script's is the same in its worker processes."""
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None) or ""
    return f"{'__main__' if module == '__mp_main__' else module}:{getattr(named, '__qualname__', '')}"


def _array(value: Tensor | np.ndarray[Any, Any] | np.generic | bytes) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return {"array": [describe(item) for item in value.ravel()], "shape": list(value.shape)}
    content = tensor_bytes(value) if isinstance(value, Tensor) else np.ascontiguousarray(value).view(np.uint8)
    kind = "tensor" if isinstance(value, Tensor) else "array"
    return {kind: str(value.dtype), "shape": list(value.shape), "sha256": hashlib.sha256(content.tobytes()).hexdigest()}


def _object(value: object, inside: tuple[int, ...]) -> Any:
    if isinstance(value, type):
        return full_name(value)
    if isinstance(value, FunctionType):
        return _function(value, inside)
    if isinstance(value, MethodType):
        owner = value.__self__  # a trainer's method would pull in the whole trainer
        return {"is": full_name(value), "of": describe(owner, inside) if is_dataclass(owner) else full_name(owner)}
    if isinstance(value, functools.partial):
        bound = cast("functools.partial[Any]", value)
        return {"is": "partial", "of": [describe(part, inside) for part in (bound.func, bound.args, bound.keywords)]}
    if is_dataclass(value):
        parts = _fields_of(value)
    elif getattr(value, "__dict__", None):
        parts = vars(value)
    else:
        return {"is": full_name(value), "made of": _made_of(value, inside)}
    return {"is": full_name(type(value)), **{str(key): describe(part, inside) for key, part in parts.items()}}


def _fields_of(value: Any) -> dict[str, object]:
    """The fields of a dataclass; of ours, without those at the default they were introduced with.

    So a field that is added to a plan later leaves stores as they are. A default of a user's own class may change
    unseen: there all fields tell.
    """
    ours = type(value).__module__.partition(".")[0] == __name__.partition(".")[0]
    told = telling_fields(value) if ours else {}
    names = [field.name for field in fields(value) if not (ours and field.init and field.name not in told)]
    return {name: getattr(value, name) for name in names}


def _function(function: FunctionType, inside: tuple[int, ...]) -> Any:
    if "<" not in function.__qualname__:
        return full_name(function)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    parts = [function.__defaults__, function.__kwdefaults__, cells]
    return {
        "is": full_name(function),
        "code": digest(_code(function.__code__)),
        "with": [describe(part, inside) for part in parts],
    }


def _code(code: CodeType) -> list[Any]:
    consts = [_code(const) if isinstance(const, CodeType) else describe(const) for const in _plain(code.co_consts)]
    return [code.co_code.hex(), consts, list(code.co_names), list(code.co_varnames), list(code.co_freevars)]


def _plain(consts: Sequence[object]) -> list[object]:
    return [repr(const) if isinstance(const, complex) or const is ... else const for const in consts]


def _made_of(value: object, inside: tuple[int, ...]) -> Any:
    """What pickle would make it from again: dtypes, patterns, fractions, objects with slots."""
    try:
        made = value.__reduce_ex__(2)
    except Exception:
        raise InvalidValue(
            f"a {type(value).__name__} ({shown(value)}) cannot be told from another one",
            "with a store, each part of a plan and of `also` is a value whose parts can be seen",
            "use a frozen dataclass of plain values, or iterate without a store",
        ) from None
    return made if isinstance(made, str) else [describe(part, inside) for part in made if not _is_builtin(part)]


def _is_builtin(part: object) -> bool:
    return callable(part) and not isinstance(part, type) and not isinstance(part, FunctionType)
