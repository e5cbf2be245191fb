"""How a space of settings is written: constants, ranges, choices, and tables of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from budbreak.checks import check_known, shown
from budbreak.errors import InvalidValue
from budbreak.search.parameters import Options, Parameter, Range, same
from budbreak.values import inline

When = tuple[tuple[str, tuple[Any, ...]], ...]
ABSENT = object()  # stands for no value: None is none of TOML's

_CONDITION = ("when", "otherwise")
_RANGE, _CHOICE = ("low", "high", "log", *_CONDITION), ("choose", *_CONDITION)


class Node(Protocol):
    """A place in a space of settings."""

    def parameters(self) -> Iterator[Parameter]:
        """What is chosen in it."""
        ...

    def settled(self, chosen: Mapping[str, Any]) -> Any:
        """What stands there once this is chosen; `ABSENT` for nothing."""
        ...


@dataclass(frozen=True)
class _Constant:
    """What is the same in all candidates."""

    value: Any

    def parameters(self) -> Iterator[Parameter]:
        return iter(())

    def settled(self, chosen: Mapping[str, Any]) -> Any:
        return self.value


@dataclass(frozen=True)
class _Table:
    """Several places by name."""

    entries: Mapping[str, Node]

    def parameters(self) -> Iterator[Parameter]:
        for node in self.entries.values():
            yield from node.parameters()

    def settled(self, chosen: Mapping[str, Any]) -> Any:
        settled = {name: node.settled(chosen) for name, node in self.entries.items()}
        return {name: value for name, value in settled.items() if value is not ABSENT}


@dataclass(frozen=True)
class _Ranged:
    """A number of a range."""

    parameter: Parameter
    otherwise: Any

    def parameters(self) -> Iterator[Parameter]:
        yield self.parameter

    def settled(self, chosen: Mapping[str, Any]) -> Any:
        return chosen.get(self.parameter.name, self.otherwise)


@dataclass(frozen=True)
class _Choice:
    """One of several places."""

    parameter: Parameter
    options: Sequence[tuple[Any, Node]]
    otherwise: Any

    def parameters(self) -> Iterator[Parameter]:
        yield self.parameter
        for _, node in self.options:
            yield from node.parameters()

    def settled(self, chosen: Mapping[str, Any]) -> Any:
        if self.parameter.name not in chosen:
            return self.otherwise
        label = chosen[self.parameter.name]
        return next(node for known, node in self.options if same(known, label)).settled(chosen)


def parsed(form: Mapping[str, Any]) -> Node:
    """What a plain form says.

    Raises:
        InvalidValue, UnknownName: where it is not of the form that `TuningSpace` tells.
    """
    return _table(form, "", ())


def _node(form: Any, path: str, when: When) -> Node:
    if not isinstance(form, Mapping):
        return _Constant(_checked(form, path))
    table = cast("Mapping[str, Any]", form)
    if "choose" in table:
        return _choice(table, path, when)
    if "low" in table or "high" in table:
        return _ranged(table, path, when)
    return _table(table, path, when)


def _table(form: Mapping[str, Any], path: str, when: When) -> Node:
    nodes = dict[str, Node]()
    for name in _CONDITION:
        if name in form:
            rule = "a range or a choice is subject to a condition"
            raise InvalidValue(f"{path or 'the space'} has {name!r}, and is neither", rule, "write choose = [...]")
    for name, value in form.items():
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"a setting is named {shown(name)}", "names are texts", "put it in quotes")
        nodes[name] = _node(value, f"{path}.{name}" if path else name, when)
    return _Table(nodes)


def _ranged(form: Mapping[str, Any], path: str, when: When) -> Node:
    _check_keys(form, path, _RANGE)
    for key in ("low", "high"):
        if key not in form:
            raise InvalidValue(f"{path} is {inline(form)}", "a range has low and high", f"add {key}")
    try:
        domain = Range(form["low"], form["high"], form.get("log", False))
    except InvalidValue as error:
        raise InvalidValue(f"{path} is {inline(form)}: {error.value}", error.rule, error.fix) from None
    return _Ranged(Parameter(path, domain, (*when, *_condition(form, path))), _otherwise(form, path))


def _choice(form: Mapping[str, Any], path: str, when: When) -> Node:
    _check_keys(form, path, _CHOICE)
    options = _options(form, path)
    conditions = (*when, *_condition(form, path))
    nodes = [(label, _node(option, f"{path}.{label}", (*conditions, (path, (label,))))) for label, option in options]
    parameter = Parameter(path, Options(tuple(label for label, _ in options)), conditions)
    return _Choice(parameter, nodes, _otherwise(form, path))


def _options(form: Mapping[str, Any], path: str) -> list[tuple[Any, Any]]:
    """What each option is called, and its form."""
    given = form["choose"]
    if not isinstance(given, list | tuple | Mapping) or not given:
        rule = "choose has a list of at least one, or a table that names each"
        raise InvalidValue(f"{path} is {inline(form)}", rule, 'write choose = ["a", "b"]')
    if isinstance(given, Mapping):
        return list(cast("Mapping[str, Any]", given).items())
    options = cast("Sequence[Any]", given)
    return list(zip(_labels(options, path), options, strict=True))


def _labels(options: Sequence[Any], path: str) -> list[Any]:
    """What each option is called: itself, or after ``is``; by all of it, where two would be called alike."""
    short = [_label(option) for option in options]
    counts = Counter(map(inline, short))
    labels = [
        inline(option) if isinstance(option, Mapping) and counts[inline(name)] > 1 else name
        for name, option in zip(short, options, strict=True)
    ]
    for place, label in enumerate(labels):
        if label in labels[:place]:  # True is 1 here: Python would take one for the other where it looks for equal ones
            raise InvalidValue(f"{path} chooses from {inline(options)}", "each is there once", f"leave one {label} out")
    return labels


def _label(option: Any) -> Any:
    if isinstance(option, str | int | float):  # true and false, too
        return option
    name = cast("Mapping[str, Any]", option).get("is") if isinstance(option, Mapping) else None
    return name if isinstance(name, str) else inline(option)


def _condition(form: Mapping[str, Any], path: str) -> When:
    when = form.get("when", {})
    if not isinstance(when, Mapping) or ("when" in form and not when):
        raise InvalidValue(f"when of {path} is {shown(when)}", "it names choices", 'write when = {optimizer = "sgd"}')
    pairs = cast("Mapping[str, Any]", when).items()
    return tuple((name, tuple(values) if isinstance(values, list | tuple) else (values,)) for name, values in pairs)


def _otherwise(form: Mapping[str, Any], path: str) -> Any:
    if "otherwise" not in form:
        return ABSENT
    if "when" not in form:
        rule = "it is what stands there where the condition does not hold"
        raise InvalidValue(f"{path} has otherwise, and no when", rule, "leave it out")
    return _checked(form["otherwise"], f"{path}.otherwise")


def _checked(value: Any, path: str) -> Any:
    """Refuse what neither TOML nor JSON holds."""
    if type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [_checked(one, path) for one in cast("Sequence[Any]", value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in cast("Mapping[Any, Any]", value)):
        return {name: _checked(one, f"{path}.{name}") for name, one in cast("Mapping[str, Any]", value).items()}
    rule = "settings are plain: texts, finite numbers, true and false, lists and tables of them"
    fix = "write a finite float" if isinstance(value, float) else 'write a value by its name, as {"is": "sgd"}'
    raise InvalidValue(f"{path} is {shown(value)}", rule, fix)


def _check_keys(form: Mapping[str, Any], path: str, known: tuple[str, ...]) -> None:
    for key in form:
        check_known(f"{path} has {key!r}", key, known)
