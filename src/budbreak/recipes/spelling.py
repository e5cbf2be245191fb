"""Messages in a recipe's words: what Python writes as ``granularity=bb.Unit(dim=0)`` has another spelling there.

The library's errors name values and fixes as Python writes them. Whoever writes a recipe reads them as TOML:
``granularity = {is = "unit", dim = 0}``.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, cast

from budbreak.errors import BudbreakError
from budbreak.recipes.sections import FAMILIES, SECTIONS
from budbreak.values import inline

_PLACES = frozenset({"", "bb.", "bb.criteria.", "bb.masks.", "bb.schedules.", "criteria.", "masks.", "schedules."})
_PATTERNS = {"excluding": "exclude"}
"""Rules of what is prunable -> the field that a recipe has instead."""
_PIECE = re.compile(
    r"""(?<!\w)(?P<quoted>'[^'\n]*'|"[^"\n]*")(?!\w)       # what somebody wrote: it stays
    |(?<![\w.@+/-])(?P<field>[a-z_]+)=(?=[\w('"\[-])
    |(?<![\w.])(?P<place>(?:[A-Za-z_]\w*\.)*)(?P<name>[A-Za-z_]\w*)(?P<call>\()?""",
    re.VERBOSE,
)
_VALUE = re.compile(r"""'[^'\n]*'|"[^"\n]*"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z_][\w.]*|(?=[(\[])""")


class _OnlyPython(Exception):
    pass


@dataclass(frozen=True)
class _Kind:
    """A class that recipes name.

    Args:
        name: by which they do.
        arguments: its fields, where they are known.
    """

    name: str
    arguments: Mapping[str, Field[Any]] | None = None


@contextmanager
def in_recipe_words(given: object) -> Generator[None, None, None]:
    """Spell errors that arise within as a recipe does.

    Args:
        given: what the recipe says: classes that it names go by these names.

    Raises:
        BudbreakError: of the same type.
    """
    try:
        yield
    except BudbreakError as error:
        parts = [respelt(part, given) for part in (error.value, error.rule, error.fix)]
        if parts == [error.value, error.rule, error.fix]:
            raise
        raise type(error)(*parts) from error


def respelt(text: str, given: object = None) -> str:
    """The text with Python's spelling of values and fields replaced by TOML's; all else stays.

    >>> respelt("Unit(dim=None) goes with Element() only: write scope=bb.NM(2, 4), or prunable=bb.excluding('fc.*')")
    '"unit" goes with "element" only: write scope = {is = "nm", n = 2, of = 4}, or exclude = ["fc.*"]'
    """
    return "".join(_Reader(text, _kinds(given)).pieces())


def code_names(given: object) -> Iterator[str]:
    """What can be ``package.module:Class`` in a plain form."""
    rest = [given]
    while rest:  # a list and not recursion: nested input may be deeper than the stack
        item = rest.pop()
        if isinstance(item, str) and ":" in item:
            yield item
        if isinstance(item, Mapping):
            rest += cast("Mapping[str, object]", item).values()
        elif isinstance(item, list | tuple):
            rest += cast("list[object]", item)


def _kinds(given: object) -> Mapping[str, _Kind]:
    """Class name -> what recipes call it; none of which there are two."""
    theirs = {(name.rpartition(":")[2], name): _Kind(name) for name in code_names(given)}
    return _unambiguous({**_our_kinds(), **theirs}) if theirs else _our_names()


@functools.cache
def _our_kinds() -> Mapping[tuple[str, str], _Kind]:
    """(class name, what recipes call it) of all that has a short name."""
    ours = {(kind.__name__, name): kind for family in FAMILIES.values() for name, kind in family.names.items()}
    return {pair: _Kind(pair[1], {field.name: field for field in fields(kind)}) for pair, kind in ours.items()}


@functools.cache
def _our_names() -> Mapping[str, _Kind]:
    return _unambiguous(_our_kinds())


def _unambiguous(known: Mapping[tuple[str, str], _Kind]) -> Mapping[str, _Kind]:
    times = Counter(name for name, _ in known)
    return {name: kind for (name, _), kind in known.items() if times[name] == 1}


@functools.cache
def _known_fields() -> frozenset[str]:
    """Fields and arguments that a recipe writes."""
    ours = [kind for family in FAMILIES.values() for kind in family.names.values()]
    return frozenset(
        {
            "prunable",
            *(name for section in SECTIONS.values() for name in section.model_fields),
            *(field.name for kind in ours for field in fields(kind) if field.init),
        }
    )


class _Reader:
    """One pass over a text."""

    def __init__(self, text: str, kinds: Mapping[str, _Kind]) -> None:
        self.text, self.kinds, self.fields = text, kinds, _known_fields()

    def pieces(self) -> Iterator[str]:
        """The text in pieces, each spelt."""
        at = 0
        while found := _PIECE.search(self.text, at):
            yield self.text[at : found.start()]
            end = self._end(found)
            source = self.text[found.start() : end]
            try:
                yield self._spelt(found, source)
            except (_OnlyPython, SyntaxError):
                yield source
            at = end
        yield self.text[at:]

    def _end(self, found: re.Match[str]) -> int:
        """Where the piece ends, arguments in brackets included."""
        if found["field"]:
            value = _VALUE.match(self.text, found.end())
            start = found.end() if value is None else value.end()
            return _closed(self.text, start) if self.text[start : start + 1] in ("(", "[") else start
        return _closed(self.text, found.end() - 1) if found["call"] else found.end()

    def _spelt(self, found: re.Match[str], source: str) -> str:
        if found["field"]:
            return self._assigned(found["field"], source.partition("=")[2])
        if found["call"]:
            node = _parsed(source)
            rule = _rule_of(node)
            return f"{_PATTERNS[rule]} = {self._value(node)}" if rule else self._value(node)
        if found["place"] == "bb." and found["name"] in _PATTERNS:
            return _PATTERNS[found["name"]]
        return source

    def _assigned(self, field: str, value: str) -> str:
        if field not in self.fields:
            raise _OnlyPython
        node = _parsed(value)
        if field == "prunable":
            field = _PATTERNS.get(_rule_of(node), "")
        if not field:
            raise _OnlyPython
        return f"{field} = {self._value(node)}"

    def _value(self, node: ast.expr) -> str:
        return inline(self._plain(node))

    def _plain(self, node: ast.expr) -> Any:
        """The plain form of an expression."""
        if isinstance(node, ast.Call):
            return self._called(node)
        if isinstance(node, ast.List | ast.Tuple):
            return [self._plain(item) for item in node.elts]
        try:
            value = ast.literal_eval(node)
        except ValueError:
            raise _OnlyPython from None
        if value is None or not isinstance(value, str | int | float):
            raise _OnlyPython
        return value

    def _called(self, node: ast.Call) -> Any:
        place, name = _name_of(node.func)
        if name in _PATTERNS:
            return [self._plain(pattern) for pattern in node.args]
        kind = self.kinds.get(name)
        if kind is None or place not in _PLACES:
            raise _OnlyPython
        given = {name: part for name, part in _arguments(node, kind) if not _is_default(name, part, kind)}
        return {"is": kind.name, **{name: self._plain(part) for name, part in given.items()}} if given else kind.name


def _rule_of(node: ast.expr) -> str:
    """The rule of what is prunable that is called; empty if none is."""
    name = _name_of(node.func)[1] if isinstance(node, ast.Call) else ""
    return name if name in _PATTERNS else ""


def _parsed(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _closed(text: str, start: int) -> int:
    """Where the bracket that opens at ``start`` is closed; ``start`` itself if it is not."""
    depth = 0
    for found in re.compile(r"""'[^'\n]*'|"[^"\n]*"|[(\[{]|[)\]}]""").finditer(text, start):
        depth += 1 if found[0] in "([{" else -1 if found[0] in ")]}" else 0
        if depth == 0:
            return found.end()
    return start


def _name_of(function: ast.expr) -> tuple[str, str]:
    """Before the last dot, with it; and after it."""
    before, dot, name = ast.unparse(function).rpartition(".")
    return before + dot, name


def _arguments(node: ast.Call, kind: _Kind) -> list[tuple[str, ast.expr]]:
    """(name, expression) of the arguments; none for ``(...)``, which stands for any."""
    if len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value is Ellipsis:
        return []
    named = [(keyword.arg or "", keyword.value) for keyword in node.keywords]
    fields = kind.arguments
    if fields is None:
        if node.args:
            raise _OnlyPython
        return named
    known = [name for name, field in fields.items() if field.init]
    if len(node.args) > len(known) or not {name for name, _ in named} <= fields.keys():
        raise _OnlyPython
    return [*zip(known, node.args, strict=False), *(pair for pair in named if pair[0] in known)]


def _is_default(name: str, node: ast.expr, kind: _Kind) -> bool:
    """Whether a recipe need not say it: the usual value, or nothing, which TOML cannot write."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return False
    field = (kind.arguments or {}).get(name)
    return value is None or (field is not None and field.default is not MISSING and field.default == value)
