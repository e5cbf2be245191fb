"""Watches that nothing which is not put back moves the learning rate from level to level."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, cast

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from budbreak.errors import InvalidValue, MissingReset

Rates = list[dict[str, Any]]
"""What schedulers move, of each parameter group: plain numbers and lists of them."""

_MOVED = ("lr", "momentum", "betas")  # OneCycleLR and CyclicLR cycle the momentum as well
_RULE = "what moves the learning rate returns at each level: put back by resets, or made anew in the loop body"


class RateWatch:
    """Finds schedulers of an optimizer that run on from level to level although they are not in ``resets``.

    A scheduler that is made in the loop body, in each level anew, is no such one. Found are torch's schedulers,
    and others whose class is called a scheduler; what moves the learning rate by itself shows at a level's
    first step.
    """

    def __init__(self, optimizer: Optimizer, resets: Sequence[object]) -> None:
        self._optimizer, self._known = optimizer, set(map(id, members_of(resets)))
        self._sizes = _sizes(optimizer)
        self._older: list[tuple[weakref.ref[Any], object]] = []
        self._holders: list[weakref.ref[Any]] = []
        self._references: dict[str, list[int]] = {}

    def enter(self) -> None:
        """Refuse a scheduler that is about to start, and remember those that have run elsewhere.

        Raises:
            MissingReset: with its class.
        """
        others = self._others("enter")
        if any(_is_fresh(scheduler) for scheduler in others):
            others.clear()  # its own references would keep them
            gc.collect()  # some lie in circles, and are garbage
            others = self._others("enter")
        for scheduler in others:
            if _is_fresh(scheduler):
                raise MissingReset(
                    f"a {type(scheduler).__name__} of this optimizer is not in resets",
                    _RULE,
                    "add it: resets=[scheduler]",
                )
        self._older = [(weakref.ref(scheduler), _counts(scheduler)) for scheduler in others]

    def begin(self) -> None:
        """A training begins: the schedulers that are here now were made for another one."""
        self._older = [(weakref.ref(scheduler), _counts(scheduler)) for scheduler in self._others("begin")]

    def before_step(self, where: str) -> None:
        """Refuse a scheduler from before this training that has run in it, and parameter groups that have changed.

        Raises:
            MissingReset: with its class.
            InvalidValue: if groups were added.
        """
        for reference, counts in self._older:
            scheduler = reference()
            if scheduler is not None and _counts(scheduler) != counts:
                raise MissingReset(
                    f"a {type(scheduler).__name__} from before {where} has stepped in it and is not in resets",
                    _RULE,
                    "make it before iterate and give resets=[scheduler], or make a new one in each level",
                )
        if _sizes(self._optimizer) != self._sizes:
            raise InvalidValue(
                f"the optimizer's parameter groups have {_sizes(self._optimizer)} parameters, at the start they had "
                f"{self._sizes}",
                "groups that are added in a level cannot be taken back at the next one",
                "add them before iterate; to train some later, start them with requires_grad_(False)",
            )

    def made_since(self) -> str | None:
        """The class of a scheduler that was made in this training; None if there is none."""
        older = {id(reference()) for reference, _ in self._older}
        made = (scheduler for scheduler in self._others("made_since") if id(scheduler) not in older)
        return next((type(scheduler).__name__ for scheduler in made), None)

    def _others(self, caller: str) -> list[Any]:
        """The schedulers that nobody puts back; of nested ones, the outermost."""
        schedulers = [holder for holder in self._held_by(caller) if not issubclass(type(holder), Optimizer)]
        others = [scheduler for scheduler in schedulers if id(scheduler) not in self._known]
        inner = {id(member) for outer in others for member in members_of([outer]) if member is not outer}
        return [scheduler for scheduler in others if id(scheduler) not in inner]

    def _held_by(self, caller: str) -> list[Any]:
        """Schedulers of the optimizer, and wrappers of it, which may have schedulers of their own.

        To look through all objects takes 25 ms, and more. A new one refers to the optimizer: so there is another look
        where the number of references has changed, or where something that was found is gone. The functions that run
        refer to it too, other ones within a level than between two: so each caller compares with its own last number.
        """
        holders = [reference() for reference in self._holders]
        if None in holders or self._count(holders) != self._references.get(caller):
            holders = list(_holders_of(self._optimizer))
            self._holders, self._references[caller] = list(map(weakref.ref, holders)), self._count(holders)
        return holders

    def _count(self, holders: Sequence[object]) -> list[int]:
        """The references to the optimizer, and to each wrapper of it."""
        return [sys.getrefcount(item) for item in (self._optimizer, *holders) if issubclass(type(item), Optimizer)]


def rates_of(groups: Sequence[dict[str, Any]]) -> Rates:
    """What schedulers move, as plain numbers."""
    return [{name: _plain(group[name]) for name in _MOVED if name in group} for group in groups]


def check_first_step(now: Rates, allowed: Sequence[Rates], where: str) -> None:
    """Refuse a training that starts from another learning rate than level 0 did, there or at the rewind point.

    Raises:
        MissingReset: with both numbers.
    """
    if now in allowed:
        return
    index, name = next(
        (index, name)
        for index, (group, first) in enumerate(zip(now, allowed[0], strict=True))
        for name in {**first, **group}
        if group.get(name) != first.get(name)
    )
    this, first = now[index].get(name), allowed[0][index].get(name)
    raise MissingReset(
        f"{where} starts with {name} = {this} in group {index}; level 0 did with {first}",
        "every level starts like level 0, or from its rewind point; with rewind_to=None a schedule may go on",
        "set it from the steps or epochs of this level alone, or by a scheduler in resets",
    )


def _holders_of(optimizer: Optimizer) -> Iterator[Any]:
    """Schedulers and wrappers of an optimizer, and what holds those wrappers."""
    for owner in _owners(optimizer):
        yield owner
        if issubclass(type(owner), Optimizer):
            yield from _holders_of(owner)


def _owners(target: object) -> Iterator[Any]:
    """The objects that have ``target`` as their attribute ``optimizer``: torch keeps no list of schedulers."""
    for referrer in gc.get_referrers(target):
        owners = [referrer]
        if type(referrer) is dict:  # an object's attributes lie in one, once they were looked at as a whole
            attributes = cast(dict[str, object], referrer)
            owners = gc.get_referrers(attributes) if _has(attributes, target) and "__name__" not in attributes else []
        for owner in owners:
            wanted = issubclass(type(owner), Optimizer) or is_scheduler(owner)
            if wanted and _has(getattr(owner, "__dict__", {}), target):
                yield owner


def _has(attributes: dict[str, object], target: object) -> bool:
    return attributes.get("optimizer") is target


def is_scheduler(value: object) -> bool:
    """Whether it is one of torch's, or its class is called one."""
    kind = type(value)
    return issubclass(kind, LRScheduler) or any("scheduler" in base.__name__.lower() for base in kind.__mro__)


def members_of(items: Sequence[object]) -> Iterator[object]:
    """The items, and the schedulers that they consist of."""
    waiting, seen = list(items), set[int]()
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        for part in [*getattr(item, "__dict__", {}).values()]:
            parts = cast(Sequence[object], part) if isinstance(part, list | tuple) else (part,)
            waiting.extend(item for item in parts if is_scheduler(item))


def _counts(scheduler: object) -> list[object]:
    return [getattr(member, "last_epoch", None) for member in members_of([scheduler])]


def _is_fresh(scheduler: object) -> bool:
    return all(count is None or (isinstance(count, int) and count <= 0) for count in _counts(scheduler))


def _sizes(optimizer: Optimizer) -> list[int]:
    return [len(group["params"]) for group in optimizer.param_groups]


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast(Sequence[Any], value)]
    return value.item() if isinstance(value, Tensor) else value
