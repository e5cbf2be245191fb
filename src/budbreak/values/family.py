"""A kind of pluggable values: their short names, and what each of them must be."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from budbreak.errors import InvalidValue, UnknownName, did_you_mean, nearest, one_of
from budbreak.foreign import call_foreign, find_callable
from budbreak.values.classes import init_fields, naming, show

T = TypeVar("T")


@dataclass(frozen=True)
class Family(Generic[T]):
    """A kind of pluggable values: their short names, and what each of them must be. Made by `Family.of`.

    Args:
        what: what one of them is called in messages, e.g. "criterion".
        names: short name -> class.
        needs: the attributes that an instance must have.
        call: whether an instance can be called.
        example: a plain form as a recipe writes it, for messages.
        meant: other words for them, as patterns -> what to write, with the groups of the pattern as in `re`.
    """

    what: str
    names: Mapping[str, type[T]]
    needs: tuple[str, ...]
    call: bool
    example: str
    meant: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(
        cls,
        what: str,
        classes: Iterable[type[T]],
        *,
        needs: tuple[str, ...] = (),
        call: bool = True,
        names: Mapping[str, type[T]] | None = None,
        example: str = "",
        meant: Mapping[str, str] | None = None,
    ) -> Family[T]:
        """The family of some classes, each by its own name in kebab-case unless ``names`` has another for it.

        Raises:
            InvalidValue: if two classes have one name, or ``names`` has a class that is not among ``classes``.

        >>> Family.of("number", [int, complex], names={"whole": int}).names
        {'whole': <class 'int'>, 'complex': <class 'complex'>}
        """
        kinds, aliases = list(classes), {kind: name for name, kind in (names or {}).items()}
        named = {aliases.get(kind, _kebab(kind.__name__)): kind for kind in kinds}
        if len(named) < len(kinds) or not aliases.keys() <= set(kinds):
            rule = "each class has one name of its own, and only listed classes have another one"
            raise InvalidValue(f"the names {one_of(named)} for {len(kinds)} classes", rule, "mend names=")
        example = example or f'"{next(iter(named), "package.module:Class")}"'
        return cls(what, named, needs, call, example, meant or {})

    @property
    def one(self) -> str:
        """What one of them is called, with its article."""
        return f"{'an' if self.what[0] in 'aeiou' else 'a'} {self.what}"

    @property
    def rule(self) -> str:
        """What an instance must be, in words."""
        wanted = [f"has {', '.join(self.needs)}"] if self.needs else []
        wanted += ["can be called"] if self.call else []
        return f"{self.one} is a frozen dataclass{' that ' if wanted else ''}{' and '.join(wanted)}"

    def find(self, name: str, where: str) -> type[T]:
        """The class of a name: one of ours by its short name, anybody's as "package.module:Class".

        Raises:
            UnknownName: if there is none.
            InvalidValue: if importing it fails, or it is not as `check_class` wants it.
        """
        if name in self.names:
            return self.names[name]
        if ":" not in name or name[0].isdigit():
            rule = f"{one_of(self.names, most=len(self.names))}, or your own as 'package.module:Class'"
            raise UnknownName(f"{where} is {name!r}", rule, self._nearest(name))
        with naming(where):
            return cast("type[T]", self.check_class(find_callable(name, what=self.one)))

    def near(self, given: object) -> type[T] | None:
        """The class that is meant by a text that is not its name; None for what is no text, or where none is near."""
        if not isinstance(given, str):
            return None
        quoted = re.search(r'"(.*?)"', self._meant(given))  # the name comes first, also in a table
        near = quoted[1] if quoted else nearest(_bare(given), self.names) or nearest(given, self.names)
        return None if near is None else self.names[near]

    def _nearest(self, name: str) -> str:
        """What was meant by a name: also by another word, or as Python writes the value."""
        if plain := self._meant(name):
            return f"write {plain}"
        return did_you_mean(_bare(name), self.names) or did_you_mean(name, self.names)

    def _meant(self, name: str) -> str:
        """The plain form that is meant by another word; empty if that is none of `meant`."""
        found = ((re.fullmatch(pattern, name), plain) for pattern, plain in self.meant.items())
        return next((match.expand(plain) for match, plain in found if match), "")

    def check_class(self, kind: object) -> type:
        """Refuse what is no class of frozen values that are made of their fields alone.

        Raises:
            InvalidValue: with what to write.
        """
        if not isinstance(kind, type):
            fix = f"make it the __call__ of one, or write {self.example}"
            raise InvalidValue(f"{getattr(kind, '__name__', show(kind))} is no class", self.rule, fix)
        settings = getattr(kind, "__dataclass_params__", None)
        if settings is None or not (settings.frozen and settings.eq):
            value = f"{kind.__name__} is no frozen dataclass that compares by its fields"
            raise InvalidValue(value, self.rule, f"write @dataclass(frozen=True) above class {kind.__name__}")
        takes, has = list(inspect.signature(kind).parameters), list(init_fields(kind))
        if sorted(takes) != sorted(has):
            value = f"{kind.__name__} takes ({', '.join(takes)}), and its fields are ({', '.join(has)})"
            raise InvalidValue(value, "a value is made of its fields", "use neither InitVar nor an __init__ of its own")
        return kind

    def check_instance(self, value: object) -> None:
        """Refuse a value that lacks what the family needs, or cannot be hashed.

        Raises:
            InvalidValue: with what to write.
        """
        kind = type(value).__name__
        lacks = call_foreign(f"{kind}(...)", lambda: self._lacks(value), rule=self.rule, fix="mend the class")
        if lacks:
            raise InvalidValue(f"{kind} has no {' and '.join(lacks)}", self.rule, f"add {lacks[0]} to class {kind}")
        try:
            hash(value)
        except Exception as error:  # a field's own __hash__ may raise anything
            rule, fix = "a value can be hashed, as keys and caches want it", "use tuples instead of lists and dicts"
            raise InvalidValue(f"{kind}(...) cannot be hashed: {error}", rule, fix) from error

    def _lacks(self, value: Any) -> list[str]:
        lacks = [name for name in self.needs if not hasattr(value, name)]
        return [*lacks, *(["__call__"] if self.call and not callable(value) else [])]


def _bare(name: str) -> str:
    """A class as Python writes it, by its own name alone."""
    return _kebab(re.sub(r"\(.*", "", name).rpartition(".")[2])


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
