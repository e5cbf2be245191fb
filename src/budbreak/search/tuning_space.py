"""The space of the settings of a training: plain forms in which a value may be a range, or a choice."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from budbreak.checks import check_known, shown
from budbreak.errors import InvalidValue
from budbreak.search.parameters import Candidate, Candidates, Parameter, named
from budbreak.search.tuning_forms import Node, parsed
from budbreak.search.tuning_spaces import TUNING_SPACES, named_form
from budbreak.values import inline

Settings = dict[str, Any]
"""What a trial trains with: plain forms, as ``[train]`` of a recipe holds them."""
TuningChoices = str | Mapping[str, Any]
"""The name of a space, "safs"; or a plain form of one; or a `TuningSpace`."""


class TuningSpace(Mapping[str, Any]):
    """Settings of which a search chooses some: a frozen value, written as ``[train]`` of a recipe is.

    Wherever a value stands, there may be instead

    - ``{low = 1e-4, high = 0.1}``: a number between the two, with ``log = true`` on a logarithmic scale; a whole one
      if both are whole;
    - ``{choose = ["constant", "cosine"]}``: one of several, each a plain form itself, so that what lies in it is
      chosen only where it is: ``{choose = [{is = "sgd", momentum = {low = 0.1, high = 0.9}}, "adam"]}``.

    Both may say ``when = {optimizer = "sgd"}``: only where a choice before it fell so (on one of several:
    ``["sgd", "adam"]``); elsewhere the value is that of ``otherwise``, or there is none. A choice is named by the path
    to it, and what is chosen by the text or number that it is, or says after ``is``; where that is not enough to tell
    two apart, by all of it, unless a table names them: ``{choose = {slow = 0.01, fast = 0.1}}``.

    Args:
        entries: setting -> value, or what to choose from.

    Raises:
        InvalidValue: for what has no such form, a list with one thing twice, a condition that never holds.
        UnknownName: for a key that there is not, or a condition that names no choice before it.

    >>> space = TuningSpace({"optimizer": {"is": "sgd", "learning_rate": {"low": 1e-4, "high": 0.1, "log": True}}})
    >>> [parameter.name for parameter in space.parameters], space.settings((0.01,))
    (['optimizer.learning_rate'], {'optimizer': {'is': 'sgd', 'learning_rate': 0.01}})
    """

    def __init__(self, entries: Mapping[str, Any]) -> None:
        if not isinstance(entries, Mapping) or not entries:  # pyright: ignore[reportUnnecessaryIsInstance]
            rule = "a space maps settings of a training to what may be chosen"
            fix = 'write {"optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True}}'
            raise InvalidValue(f"the entries of a space are {shown(entries)}", rule, fix)
        self._entries = copy.deepcopy(dict(entries))
        self._node: Node = parsed(self._entries)
        self._parameters = tuple(self._node.parameters())
        _check_conditions(self._parameters)

    @classmethod
    def of(cls, choices: TuningChoices = "safs", epochs: int | None = None) -> TuningSpace:
        """The space that is meant: by its name, its plain form, or itself.

        Args:
            choices: "safs", "paper": settings of a recipe's ``[train]``, see `named_form`; a plain form; or a space.
            epochs: that a training has, which those with a name depend on.

        Raises:
            UnknownName: for a name that there is not.
            InvalidValue: see the class; for a name without epochs.
        """
        if isinstance(choices, TuningSpace):
            return choices
        if not isinstance(choices, str):
            return cls(choices)
        check_known(f"no space of settings named {choices!r}", choices, TUNING_SPACES)
        if epochs is None:
            rule = "its schedules depend on how many epochs a training has"
            raise InvalidValue(f"the space is {choices!r}, and epochs are not said", rule, "add epochs=10")
        return cls(named_form(choices, epochs))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is chosen, in the order in which it is written."""
        return self._parameters

    @property
    def size(self) -> float:
        """How many candidates there are at most; infinite with a range of numbers that are not whole."""
        return math.prod(parameter.domain.size for parameter in self.parameters)

    @property
    def candidates(self) -> Candidates:
        """All candidates, to ask whether one is among them: ``(0.01,) in space.candidates``."""
        return Candidates(self.parameters)

    def chosen(self, candidate: Candidate) -> dict[str, Any]:
        """The values of the parameters that are active, by name.

        Raises:
            InvalidValue: if it is no candidate of this space.
        """
        if candidate not in self.candidates:
            rule = f"a candidate is a value for each of {', '.join(one.name for one in self.parameters)}, or None"
            raise InvalidValue(f"the candidate is {shown(candidate)}", rule, "give one that a sampler proposed")
        values = named(self.parameters, candidate)
        return {one.name: values[one.name] for one in self.parameters if one.active(values)}

    def settings(self, candidate: Candidate) -> Settings:
        """The settings that a candidate chooses: plain forms, without any range or choice; its own copy.

        Raises:
            InvalidValue: if it is no candidate of this space.
        """
        settings = self._node.settled(self.chosen(candidate))
        return cast("Settings", copy.deepcopy(settings))

    def plain(self) -> dict[str, Any]:
        """The plain form that makes an equal space; its own copy."""
        return copy.deepcopy(self._entries)

    def __getitem__(self, name: str) -> Any:
        check_known(f"the space has no {name!r}", name, self._entries)
        return copy.deepcopy(self._entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:  # the order counts: candidates follow it
        return isinstance(other, TuningSpace) and inline(self._entries) == inline(other._entries)

    def __hash__(self) -> int:
        return hash(inline(self._entries))

    def __reduce__(self) -> tuple[type[TuningSpace], tuple[dict[str, Any]]]:
        """Made anew from its entries in another process."""
        return TuningSpace, (self._entries,)

    def __repr__(self) -> str:
        return f"TuningSpace({self._entries!r})"


def _check_conditions(parameters: Sequence[Parameter]) -> None:
    """Refuse conditions on what is not chosen, or chosen later."""
    before = dict[str, Parameter]()
    for parameter in parameters:
        if parameter.name in before:
            rule = "a path has one value, however it is spelt"
            raise InvalidValue(f"{parameter.name!r} is chosen twice", rule, "take one out")
        for name, values in parameter.when:
            check_known(f"{parameter.name!r} is chosen when {name!r} is {shown(values)}", name, before)
            domain = before[name].domain
            for value in values:
                if not domain.holds(value):
                    raise InvalidValue(
                        f"{parameter.name!r} is chosen when {name!r} is {shown(value)}, which it never is",
                        f"{name!r} is one of {shown(domain)}",
                        "name one of them",
                    )
        before[parameter.name] = parameter
