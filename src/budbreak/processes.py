"""Several processes that carry out one thing together, as under torchrun: what they exchange, and how they fail."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from budbreak.errors import BudbreakError, InvalidValue, RankFailed, RanksDisagree

if TYPE_CHECKING:
    from typing import Literal

    from torch.distributed import ProcessGroup

T = TypeVar("T")
Group: TypeAlias = "ProcessGroup | Literal['alone'] | Processes | None"
"""Who works together: a process group, None: all processes of `torch.distributed`, ``"alone"``: this one only."""


class _Message(NamedTuple):
    """What a rank tells the others: where it is, and either a value or the error that stops it there."""

    at: str
    value: object
    error: BudbreakError | None = None


class Processes:
    """The ranks that work together; a single one exchanges nothing.

    Whatever a rank sends carries the name of the moment, and a value or an error. So an error on one rank becomes
    an error on all of them, at their next exchange, and ranks that have parted ways find out: nobody waits for a
    message that never comes. After an error nothing more is exchanged.

    Attributes:
        rank: of this process within the group, from 0; ``size``: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: ProcessGroup | None = None) -> None:
        self.rank, self.size, self._group = rank, size, group
        self._over = False

    @classmethod
    def of(cls, group: Group) -> Processes:
        """The processes of a group; None: all of them, where `torch.distributed` is initialized.

        Raises:
            InvalidValue: if it is no group, or this process does not belong to it.
        """
        if isinstance(group, Processes):
            return group
        started = dist.is_available() and dist.is_initialized()
        if group == "alone" or (group is None and not started):
            return cls()
        if group is not None and not (started and isinstance(group, dist.ProcessGroup)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(
                f"group is {group!r}" if isinstance(group, str | int) else f"group is a {type(group).__name__}",
                "it must be None (all processes), 'alone' (this one), or a process group that this one belongs to",
                "write group='alone' where each process does a thing of its own",
            )
        return cls(dist.get_rank(group), dist.get_world_size(group), group)

    def exchange(self, at: str, value: T) -> list[T]:
        """Tell all ranks ``value``, and get theirs in the order of ranks.

        Args:
            at: what this rank is about to do; all must be about to do the same.
            value: anything that can be pickled.

        Raises:
            BudbreakError: the error of another rank, which it names; `RankFailed` if that is not one of ours, or
                if a process has gone.
            RanksDisagree: if another rank is elsewhere.
        """
        if self.size == 1:
            return [value]
        messages = self._gather(_Message(at, value))
        self._raise_what_failed(messages)
        self._refuse_if_apart("", [message.at for message in messages], "all ranks do the same, in the same order")
        return cast("list[T]", [message.value for message in messages])

    def first(self, at: str, value: T) -> T:
        """Rank 0's value, on all ranks; what the others give is not looked at."""
        self.exchange(at, None)
        if self.size == 1:
            return value
        box = [value if self.rank == 0 else None]
        with self._losing_none():
            dist.broadcast_object_list(box, src=self._first_rank(), group=self._group)
        return cast(T, box[0])

    def sum(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sums over all ranks of tensors that have the same names, shapes and dtypes there; bitwise equal.

        Raises:
            RanksDisagree: if they have not.
        """
        if self.size == 1:
            return dict(tensors)
        shapes = {name: f"{tuple(tensor.shape)} {tensor.dtype}" for name, tensor in tensors.items()}
        self.same("a sum over ranks", shapes, "what is added up has the same names, shapes and dtypes on all ranks")
        return {name: self._sum(tensor) for name, tensor in tensors.items()}

    def same(self, what: str, value: object, rule: str, fix: str = "") -> None:
        """Assert that ``value`` is equal on all ranks.

        Raises:
            RanksDisagree: with the first rank that has another value than rank 0, and both values.
        """
        values = self.exchange(what, value)
        self._refuse_if_apart(f"{what}: ", values, rule, fix)

    @contextlib.contextmanager
    def agreeing(self, at: str) -> Generator[None, None, None]:
        """Let an error that one rank meets inside be raised on all of them."""
        try:
            yield
        except Exception as error:
            if self.size > 1 and not self._over:
                self._tell(at, error)
            raise
        self.exchange(at, None)

    def _tell(self, at: str, error: Exception) -> None:
        told = _portable(error, self.rank)
        with contextlib.suppress(RankFailed):  # the others have gone already: this rank's own error says more
            self._gather(_Message(at, None, told))
        self._over = True

    def _gather(self, message: _Message) -> list[_Message]:
        if self._over:
            raise RankFailed(
                f"{message.at}: the ranks have stopped working together",
                "after an error nothing more is exchanged",
                "start all of them again",
            )
        messages: list[_Message | None] = [None] * self.size
        with self._losing_none():
            dist.all_gather_object(messages, message, group=self._group)
        return cast("list[_Message]", messages)

    @contextlib.contextmanager
    def _losing_none(self) -> Generator[None, None, None]:
        try:
            yield
        except RuntimeError as error:
            self._over = True
            raise RankFailed(
                f"rank {self.rank} of {self.size} lost the others: {str(error).splitlines()[0]}",
                "a rank that dies or hangs stops all of them",
                "look at the other ranks' errors, then start all again: a store goes on from its last checkpoint",
            ) from error

    def _raise_what_failed(self, messages: list[_Message]) -> None:
        for message in messages:
            if message.error is not None:
                self._over = True
                raise message.error

    def _refuse_if_apart(self, what: str, values: list[object] | list[str], rule: str, fix: str = "") -> None:
        differing = next((rank for rank, value in enumerate(values) if value != values[0]), None)
        if differing is None:
            return
        self._over = True
        mine, theirs = _difference(values[0], values[differing])
        raise RanksDisagree(f"{what}rank 0 has {mine}, rank {differing} has {theirs}", rule, fix)

    def _sum(self, tensor: Tensor) -> Tensor:
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        if dist.get_backend(self._group) == "nccl":  # adds up on its own devices only
            total = total.cuda()
        with self._losing_none():
            dist.all_reduce(total, group=self._group)
        return total.to(tensor.device)

    def _first_rank(self) -> int:
        return 0 if self._group is None else dist.get_global_rank(self._group, 0)


def _portable(error: Exception, rank: int) -> BudbreakError:
    """The error as the other ranks raise it."""
    if isinstance(error, BudbreakError):
        kind = type(error) if type(error).__module__ == BudbreakError.__module__ else RankFailed
        return kind(f"rank {rank}: {error.value}", error.rule, error.fix)
    return RankFailed(
        f"rank {rank}: {type(error).__name__}: {error}", "what stops one rank stops all of them", "mend it there"
    )


def _difference(mine: object, theirs: object) -> tuple[str, str]:
    """Both values in words; of mappings, the first entry in which they differ."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        my_entries, their_entries = cast("Mapping[object, object]", mine), cast("Mapping[object, object]", theirs)
        both = (my_entries, their_entries)
        key = next(key for key in {**my_entries, **their_entries} if not _same_entry(key, *both))
        return tuple(f"{key}: {entries[key]!r}" if key in entries else f"no {key}" for entries in both)  # pyright: ignore[reportReturnType]
    return str(mine), str(theirs)


def _same_entry(key: object, mine: Mapping[object, object], theirs: Mapping[object, object]) -> bool:
    return (key in mine, mine.get(key)) == (key in theirs, theirs.get(key))
