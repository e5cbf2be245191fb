"""Write the forward of a module anew, so that it calls modules where it called functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

from budbreak.activations import Activation, ActivationModule
from budbreak.errors import InvalidValue
from budbreak.graph import plain_name
from budbreak.live.callers import Slot, put
from budbreak.live.symbolic import Read, said, traced

_FIX = "make it a module of its own: self.act = nn.ReLU() in __init__, self.act(x) in forward"

Build = Callable[[Sequence[str]], ActivationModule]
"""Sites that are called as one -> the module that the plan has for them."""


@dataclass(frozen=True)
class Wanted:
    """Calls that a module makes, of which the plan names some.

    Args:
        sites: in the order of the calls.
        call, where: the function, and the line that calls it.
        module: or the module that is called.
    """

    sites: Sequence[str]
    call: str = ""
    where: str = ""
    module: nn.Module | None = None

    def refusal(self, reason: str) -> InvalidValue:
        """That these calls cannot be replaced."""
        place = f" ({self.where})" if self.where else ""
        rule = "torch.fx writes the forward anew: it must be able to trace it, and the call takes one tensor"
        return InvalidValue(f"{self.sites[0]!r}{place} cannot be replaced: {reason}", rule, _FIX)


@dataclass(frozen=True)
class Calls:
    """What one module is to call otherwise.

    Args:
        wanted: the calls.
        choices: for each of its own calls the arguments that choose what it does.
    """

    wanted: Sequence[Wanted]
    choices: Sequence[Mapping[str, Any]]

    def chosen(self) -> Mapping[str, Any]:
        """These arguments, which are the same in all calls.

        Raises:
            InvalidValue: if they are not.
        """
        first = self.choices[0]
        other = next((given for given in self.choices if given != first), None)
        if other is not None:
            name = next(name for name in [*first, *other] if first.get(name, ...) != other.get(name, ...))
            raise self.wanted[0].refusal(f"its module is called with several values of {name}")
        return first


def rewrite(owner: nn.Module, calls: Calls, plan: Mapping[str, Activation], build: Build) -> list[Slot]:
    """Have a module call other modules in the place of these calls; what sits where now.

    Its forward is traced symbolically, in training and in eval mode; where that fails, and the function is held by an
    attribute, this is set.

    Args:
        owner: the module; changed in place.
        calls: the calls.
        plan: site -> activation.
        build: makes the modules.

    Raises:
        InvalidValue: where a call cannot be replaced, with its line and the reason.
    """
    wanted, chosen = calls.wanted, calls.chosen()
    try:
        (graphs, reads) = zip(*(traced(owner, training, chosen) for training in (True, False)), strict=True)
    except Exception as error:  # of the model's code, on values that are not there
        return [_by_attribute(owner, one, plan, build, said(error)) for one in wanted]
    if "forward" in vars(owner):
        raise wanted[0].refusal(f"the forward of this {type(owner).__name__} was set on the instance")
    work = _Rewriting(owner, plan, build)
    found = [(graph, one, work.nodes(graph, one)) for graph in graphs for one in wanted]  # all before any is replaced
    for graph, one, nodes in found:
        work.replace(graph, one, nodes)
    _take_over(owner, [_function(graph) for graph in graphs], reads)
    return list(work.slots.values())


@dataclass
class _Rewriting:
    """The calls of one module."""

    owner: nn.Module
    plan: Mapping[str, Activation]
    build: Build
    slots: dict[str, Slot] = field(default_factory=dict[str, Slot])

    def nodes(self, graph: fx.Graph, wanted: Wanted) -> list[fx.Node]:
        """The calls that are meant."""
        nodes = [node for node in graph.nodes if self._is_meant(node, wanted)]
        if not nodes or len(wanted.sites) % len(nodes):
            raise wanted.refusal(f"{len(nodes)} such calls were found where {len(wanted.sites)} ran")
        return nodes

    def replace(self, graph: fx.Graph, wanted: Wanted, nodes: Sequence[fx.Node]) -> None:
        """Replace in one graph what the plan names."""
        for place, node in enumerate(nodes):
            sites = wanted.sites[place :: len(nodes)]  # those of one line, called as often as its module is
            if _is_planned(wanted, sites, self.plan):
                self._put(graph, node, sites, wanted)

    def _is_meant(self, node: fx.Node, wanted: Wanted) -> bool:
        if wanted.module is not None:
            return node.op == "call_module" and self.owner.get_submodule(str(node.target)) is wanted.module
        return _call_of(node) == wanted.call and node.meta.get("where") == wanted.where

    def _put(self, graph: fx.Graph, node: fx.Node, sites: Sequence[str], wanted: Wanted) -> None:
        given = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(given, fx.Node) or any(other is not given for other in node.all_input_nodes):
            raise wanted.refusal("it is called with several tensors")
        old = _Function(node.target, node.args[1:], node.kwargs) if wanted.module is None else wanted.module
        name = self._slot(sites, old, wanted)
        with graph.inserting_before(node):
            new = graph.call_module(name, (given,))
        if _overwrites(node, wanted):
            later = list(graph.nodes)[list(graph.nodes).index(node) + 1 :]
            for user in [user for user in given.users if user in later]:
                user.replace_input_with(given, new)
        node.replace_all_uses_with(new)
        graph.erase_node(node)

    def _slot(self, sites: Sequence[str], old: nn.Module, wanted: Wanted) -> str:
        """The name of the module for these sites, which is made if it is not there."""
        if sites[0] not in self.slots:
            name, new = self._free_name(sites[0].rpartition(".")[2], wanted), self.build(sites)
            put(self.owner, name, new)
            self.slots[sites[0]] = Slot(((self.owner, name),), new, old, tuple(sites))
        return self.slots[sites[0]].holders[0][1]

    def _free_name(self, name: str, wanted: Wanted) -> str:
        """The name itself, also where it is that of a module none of whose calls is left; else one like it."""
        whole = all(site in self.plan for site in wanted.sites)
        if whole and wanted.module is not None and getattr(self.owner, name, None) is wanted.module:
            return name
        while hasattr(self.owner, name):
            name += "_"
        return name


class _Function(nn.Module):
    """A function or method, with what it is given besides its input, as a module that overwrites nothing."""

    def __init__(self, target: Any, rest: Sequence[Any] = (), options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        name = _name(target).rstrip("_")
        self.run = next(
            (getattr(home, name) for home in (functional, torch, torch.Tensor) if hasattr(home, name)), target
        )
        self.rest = [False if value is True else value for value in rest]
        self.options = {
            key: False if key == "inplace" else value for key, value in (options or {}).items() if key != "input"
        }

    def forward(self, x: Any) -> Any:
        return self.run(x, *self.rest, **self.options)


def _function(graph: fx.Graph) -> FunctionType:
    code = graph.python_code("self")
    names = dict(code.globals)
    exec(compile(code.src, "<forward, rewritten by budbreak>", "exec"), names)
    return cast(FunctionType, names["forward"])


def _take_over(owner: nn.Module, forwards: Sequence[FunctionType], reads: Sequence[Read]) -> None:
    """Give the module a class of its own, with this forward: it stays what it is for isinstance, its state as well."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        mode = 0 if self.training else 1
        for name, value in reads[mode].items():
            if getattr(self, name, None) != value:
                raise _changed(self, name, value)
        return forwards[mode](self, *args, **kwargs)

    kind = type(owner)
    told = {
        "forward": forward,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    owner.__class__ = type(kind.__name__, (kind,), told)


def _changed(owner: nn.Module, name: str, before: object) -> InvalidValue:
    now, kind = getattr(owner, name, None), type(owner).__name__
    rule = f"the forward of {kind} was written anew with self.{name} = {before!r}"
    return InvalidValue(f"self.{name} of {kind} is {now!r}", rule, f"set it before replace_activations(...), or {_FIX}")


def _by_attribute(owner: nn.Module, wanted: Wanted, plan: Mapping[str, Activation], build: Build, why: str) -> Slot:
    """Set the one attribute that holds the function."""
    held = {
        key: value
        for key, value in vars(owner).items()
        if callable(value) and not isinstance(value, nn.Module) and plain_name(value) == wanted.call
    }
    if wanted.module is not None or len(held) != 1 or not _is_planned(wanted, wanted.sites, plan):
        raise wanted.refusal(f"the forward of {type(owner).__name__} cannot be rewritten: {why}")
    (key, function), new = next(iter(held.items())), build(wanted.sites)
    put(owner, key, new)
    return Slot(((owner, key),), new, _Function(function), tuple(wanted.sites))


def _is_planned(wanted: Wanted, sites: Sequence[str], plan: Mapping[str, Activation]) -> bool:
    """Whether the plan names these sites, which are one call; all must have the same."""
    chosen = {plan.get(site) for site in sites}
    if len(chosen) > 1:
        names = " and ".join(map(repr, sites[:3]))
        raise wanted.refusal(f"{names} are one call, which runs {len(sites)} times, and the plan has several for it")
    return chosen != {None}


def _overwrites(node: fx.Node, wanted: Wanted) -> bool:
    if wanted.module is not None:
        return getattr(wanted.module, "inplace", False) is True
    asked = node.kwargs.get("inplace") is True or any(given is True for given in node.args[1:])
    return asked or _name(node.target).endswith("_")


def _call_of(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target).strip("_")
    return plain_name(cast(Any, node.target)) if node.op == "call_function" else ""


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", "")
