"""Hear known sites in a forward pass, with as little as that takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from budbreak.graph.call import Call, plain_name
from budbreak.graph.nonlinearities import FUNCTIONS, MAXIMA
from budbreak.graph.places import calling_line, said_place
from budbreak.graph.site import Site
from budbreak.graph.sitebook import Key, SiteBook
from budbreak.graph.tracking import tensors_of, why_foreign

Heard = Callable[[Site, Tensor, Tensor], None]
"""``heard(site, input, output)``, both with their graph where autograd records one."""


def unseen_by_modes() -> contextlib.AbstractContextManager[None]:
    """What runs inside a hook is no part of the model: what listeners compute, say."""
    return torch._C.DisableTorchFunction()  # pyright: ignore


def opened(func: Callable[..., Any]) -> Callable[..., Any]:
    """A function of torch without the question, at its beginning, whether a mode wants to see it as a whole."""
    whole = cast(FunctionType, func)
    inner = {**whole.__globals__, "has_torch_function": lambda *_: False}
    opened = FunctionType(whole.__code__, inner, whole.__name__, whole.__defaults__, whole.__closure__)
    opened.__kwdefaults__ = whole.__kwdefaults__
    return opened


class Listener:
    """Hears the sites that are whole modules, by their hooks alone.

    Args:
        book: the sites that are known.
        heard: told of each.
        keep_inputs: whether an input that its function overwrites is copied before.
    """

    def __init__(self, book: SiteBook, heard: Heard, *, keep_inputs: bool) -> None:
        self.book, self.heard, self.keep_inputs = book, heard, keep_inputs
        self._entered: dict[str, Tensor] = {}

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A module is called."""
        given = tensors_of((args, kwargs)) if name in self.book.whole else []
        if len(given) == 1 and not why_foreign(given[0]):
            copied = self.keep_inputs and name in self.book.overwriting
            self._entered[name] = given[0].clone() if copied else given[0]

    def leave(self, name: str, module: nn.Module, output: object) -> None:
        """It has given its output."""
        given = self._entered.pop(name, None)
        if given is None or not isinstance(output, Tensor) or not output.numel():
            return
        site = self.book.known(self.book.key(name), output)
        if site is not None:
            self.heard(site, given, output)

    def end_pass(self) -> None:
        """What an error left behind is forgotten."""
        self._entered.clear()


class Ear(TorchFunctionMode, Listener):
    """Hears the sites that are calls of functions, too.

    Args:
        book, heard, keep_inputs: see `Listener`.
    """

    def __init__(self, book: SiteBook, heard: Heard, *, keep_inputs: bool) -> None:
        TorchFunctionMode.__init__(self)
        Listener.__init__(self, book, heard, keep_inputs=keep_inputs)
        self.calls = {key.call for key in book.sites} | FUNCTIONS
        self.unseen: dict[str, None] = {}
        self._owners: list[str] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function, and tell what it gave if it is a site."""
        kwargs = kwargs or {}
        name = plain_name(func)
        owner = self._owners[-1] if self._owners else ""
        if name not in self.calls or owner in self.book.whole:
            return func(*args, **kwargs)
        call = Call(name, func, args, kwargs, lambda _: None, {})
        site = Key(owner, name, calling_line())
        given = self._input(call)
        output = func(*args, **kwargs)
        if given is not None and isinstance(output, Tensor) and output.numel():
            self._tell(call, site, given, output)
        return output

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A module is called."""
        self._owners.append(name)
        with unseen_by_modes():
            super().enter(name, module, args, kwargs)

    def leave(self, name: str, module: nn.Module, output: object) -> None:
        """It has given its output."""
        if self._owners:
            self._owners.pop()
        with unseen_by_modes():
            super().leave(name, module, output)

    def end_pass(self) -> None:
        """What an error left behind is forgotten."""
        super().end_pass()
        self._owners.clear()

    def _input(self, call: Call) -> Tensor | None:
        given = call.first
        if call.name in MAXIMA and isinstance(given, Tensor) and not bool(given.any()):
            given = call.argument(1, "other")  # of a maximum with zeros, either may stand first
        if not isinstance(given, Tensor) or why_foreign(given):
            return None
        return given.clone() if self.keep_inputs and call.overwritten is not None else given

    def _tell(self, call: Call, first: Key, given: Tensor, output: Tensor) -> None:
        if first in self.book.sites:
            site = self.book.known(self.book.key(first.owner, first.call, first.where), output)
            if site is not None:
                self.heard(site, given, output)
        elif call.name in FUNCTIONS and first not in self.book.no_sites:
            self.unseen[f"{call.spelt} called {said_place(first.owner, first.where)}, in a later batch"] = None
