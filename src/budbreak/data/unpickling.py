"""Reading pickles of data sets without unpickling: a small machine that knows what these files need, and no more."""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from budbreak.errors import CorruptFile

_NUMBER = re.compile(r"[<>|=]?[biuf][1248]")
_DEEPEST = 20  # containers within containers; the official files have 2
_ARRAY, _DTYPE = ("numpy", "ndarray"), ("numpy", "dtype")
_MAKERS = (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"))


class _Refused(Exception):
    """The pickle holds what no official file holds."""


def read_pickle(data: bytes, path: Path) -> dict[bytes | str, Any]:
    """A dict of numeric arrays, bytes, str, int, list and dict from a pickle that holds nothing else.

    Byte strings of Python 2 stay bytes. Nothing is imported or called that a file names: its instructions build
    containers, and notes of how an array looks, from which the array is made once everything was checked.

    Args:
        data: the pickle.
        path: for the message.

    Raises:
        CorruptFile: if the pickle is truncated, or asks for anything else.
    """
    try:
        return _Machine().run(data)
    except (_Refused, ValueError, IndexError, OverflowError) as error:  # the last three: of a damaged stream
        raise CorruptFile(
            f"{path} was refused: {error}",
            "such a file holds arrays of numbers, bytes, str, int, list and dict, and nothing else is ever loaded",
            "delete it and fetch the official file",
        ) from None


class _Noted:
    """An array or a dtype as the pickle describes it: by the arguments of its making, and its state."""

    def __init__(self, kind: tuple[str, str], argument: Any) -> None:
        self.kind, self.argument = kind, argument
        self.state: Any = None


class _Machine:
    """Carries out the instructions of a pickle: a stack, marks, and a memory of what comes again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def run(self, data: bytes) -> dict[bytes | str, Any]:
        end = 0
        for code, argument, position in pickletools.genops(data):
            end = (position or 0) + 1
            if code.name not in _INSTRUCTIONS:
                raise _Refused(f"it holds the instruction {code.name}")
            _INSTRUCTIONS[code.name](self, argument)
        if end != len(data) or len(self.stack) != 1 or not isinstance(self.stack[0], dict):
            raise _Refused("it is not one whole dictionary")
        return _Plain().of(self.stack[0], 0)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or (self.marks and self.marks[-1] >= len(self.stack)):
            raise _Refused("an instruction takes what is not there")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise _Refused("an instruction takes what is not there")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, place: int | None) -> None:
        self.memory[len(self.memory) if place is None else place] = self.stack[-1]

    def recall(self, place: int) -> None:
        if place not in self.memory:
            raise _Refused("it refers to what was not there before")
        self.push(self.memory[place])

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def extend(self, items: list[Any]) -> None:
        if not self.stack or not isinstance(self.stack[-1], list):
            raise _Refused("it appends to what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        keys = items[::2]
        if len(items) % 2 or not self.stack or not isinstance(self.stack[-1], dict):
            raise _Refused("it sets an item of what is no dict")
        # of anything else the hash could take for ever, as that of tuples of the same tuples
        if any(type(key) not in (bytes, str, int) for key in keys):
            raise _Refused("a key is no bytes, str or int")
        self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def name(self, module: Any, name: Any) -> None:
        if (module, name) not in (_ARRAY, _DTYPE, *_MAKERS):
            raise _Refused(f"it asks for {module}.{name}")
        self.push(_Noted((module, name), None))

    def call(self) -> None:
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, _Noted) or called.argument is not None or not isinstance(arguments, tuple):
            raise _Refused("it calls something unusual")
        if called.kind in _MAKERS:
            kind, shape, code = arguments if len(arguments) == 3 else (None, None, None)
            if not isinstance(kind, _Noted) or kind.kind != _ARRAY or shape != (0,) or code not in (b"b", "b"):
                raise _Refused("it builds an array in an unusual way")
            self.push(_Noted(_ARRAY, ()))
        elif called.kind == _DTYPE and arguments:
            self.push(_Noted(_DTYPE, arguments[0]))
        else:
            raise _Refused("it builds an array in an unusual way")

    def build(self) -> None:
        state, noted = self.pop(), self.stack[-1] if self.stack else None
        if not isinstance(noted, _Noted) or noted.argument is None or noted.state is not None:
            raise _Refused("it sets the state of something unusual")
        noted.state = state


class _Plain:
    """Checks what a machine built, and makes the arrays; what comes twice in the pickle is looked at once."""

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, Any]] = {}  # with the original: its id must not be given to another

    def of(self, node: Any, depth: int) -> Any:
        if type(node) in (bytes, str, int):
            return node
        if id(node) not in self.done:
            if depth > _DEEPEST:
                raise _Refused("it is nested too deeply")
            self.done[id(node)] = node, self.made(node, depth + 1)
        return self.done[id(node)][1]

    def made(self, node: Any, depth: int) -> Any:
        if type(node) is dict:
            return {key: self.of(value, depth) for key, value in node.items()}
        if type(node) is list:
            return [self.of(value, depth) for value in node]
        if isinstance(node, _Noted) and node.kind == _ARRAY and node.state is not None:
            return _array(node.state)
        raise _Refused(f"it holds a {type(node).__name__.strip('_').lower()}")


def _array(state: Any) -> np.ndarray[Any, Any]:
    """From numpy's own form: version, shape, dtype, whether in Fortran order, content."""
    parts: Any = state if isinstance(state, tuple) and len(state) == 5 else (None,) * 5
    _, shape, noted, fortran, content = parts
    dtype = _dtype(noted)
    right = isinstance(shape, tuple) and isinstance(content, bytes) and isinstance(fortran, bool)
    if not right or not all(type(size) is int and size >= 0 for size in shape):
        raise _Refused("it holds an array without a shape or content")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise _Refused(f"it holds an array of shape {shape}, but {len(content)} bytes for it")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _dtype(noted: Any) -> np.dtype[Any]:
    """From numpy's own form: the code, and a state of version, byte order and what only other types have."""
    if not isinstance(noted, _Noted) or noted.kind != _DTYPE:
        raise _Refused("it holds an array without a type")
    code = noted.argument.decode("ascii", "replace") if isinstance(noted.argument, bytes) else noted.argument
    if not isinstance(code, str) or not _NUMBER.fullmatch(code):
        raise _Refused(f"it holds an array of {code!r}")
    order, *rest = noted.state[1:] if isinstance(noted.state, tuple) and len(noted.state) == 8 else ("", None)
    order = order.decode("ascii", "replace") if isinstance(order, bytes) else order
    if order not in ("<", ">", "|", "=") or rest != [None, None, None, -1, -1, 0]:
        raise _Refused(f"it holds an array of a {code!r} that is none")
    return np.dtype(code.lstrip("<>|=")).newbyteorder(order)


_Instruction = Callable[[_Machine, Any], None]
_VALUES: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_GIVEN = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
)  # fmt: skip
_INSTRUCTIONS: Mapping[str, _Instruction] = {
    **{name: lambda machine, argument: machine.push(argument) for name in _GIVEN},
    **{name: lambda machine, _, value=value: machine.push(value) for name, value in _VALUES.items()},
    **{
        # texts of Python 2 are bytes; pickletools hands them over as Latin-1
        name: lambda machine, argument: machine.push(argument.encode("latin-1"))
        for name in ("BINSTRING", "SHORT_BINSTRING")
    },
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, argument: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "MEMOIZE": lambda machine, _: machine.remember(None),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.pop() and None,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": lambda machine, argument: machine.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*[machine.pop(), machine.pop()][::-1]),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}
