"""Put other activations into a network, wherever its own ones are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from budbreak.activations import Activation, ActivationModule, ActivationPlan
from budbreak.checks import check_model
from budbreak.errors import InvalidValue, InvariantBroken, NoSites, UnknownName, did_you_mean, one_of
from budbreak.graph import (
    Forward,
    ModelGraph,
    Node,
    Site,
    as_written,
    call_example,
    observing,
    outputs_of,
    tensors_of,
    to_device,
    trace,
)
from budbreak.live.callers import Slot, callers_of, choices_of, holders_of, keep_plain, put, stand_in
from budbreak.live.rewriting import Calls, Wanted, rewrite
from budbreak.masks import copied, unwrap


def replace_activations(
    model: nn.Module, plan: Mapping[str, Activation], *, example: Any, forward: Forward | None = None
) -> nn.Module:
    """A copy of a model with the activations of a plan at its sites.

    A site that is a module is swapped. Where a function is called (``F.relu(x)``, ``x.relu()``), or one module in
    several places, the ``forward`` of the module that calls it is written anew by ``torch.fx``, its children left as
    they are; or its attribute that holds the function is set. The new module has the name of the site, unless that is
    taken. Names in the state_dict are those of before, and next to them scalars, where these are trainable.

    The copy keeps its classes' names and methods. A ``forward`` that was written anew takes the arguments that choose
    what it does (None, True, a text) as the example gave them, and refuses others, as it does other values of the plain
    attributes (numbers, texts) that it reads; such a copy cannot be pickled: build it, replace, and load its state.

    Proven on the example before it is returned: with the operators that were there, in the new places, the copy gives
    what the model gives.

    Args:
        model: left as it is; compiled and data-parallel wrappers are looked through.
        plan: site -> activation, by the names that ``bb.trace(model, example)`` prints. Other sites stay.
        example: one batch as the model takes it, see `trace`.
        forward: how to run the model on the example, if not ``model(example)``.

    Raises:
        NoSites: if the model calls no activation.
        UnknownName: for a site that there is not.
        InvalidValue: where an activation cannot be replaced: which one, in which file and line, and why.
        CannotTrace: see `trace`.
        InvariantBroken: if the copy does not give what the model gives.
    """
    check_model(model)
    plan = plan if isinstance(plan, ActivationPlan) else ActivationPlan(plan)
    original = unwrap(model)
    graph = trace(original, example, forward)
    _check_sites(plan, graph, original)
    surgery = _Surgery(copied(original), plan, graph, _Pass(example, forward))
    surgery.operate()
    surgery.check(original)
    return surgery.model


@dataclass(frozen=True)
class _Pass:
    """One run of a model on the example, in eval mode, as it is written."""

    example: Any
    forward: Forward | None

    def __call__(self, model: nn.Module) -> Any:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        batch = to_device(self.example, device)
        with observing(model, device, None), torch.no_grad(), as_written():
            torch.manual_seed(0)
            return call_example(model, batch) if self.forward is None else outputs_of(self.forward, model, batch)


class _Surgery:
    """What is done to one copy."""

    def __init__(self, model: nn.Module, plan: ActivationPlan, graph: ModelGraph, run: _Pass) -> None:
        self.model, self.plan, self.run = model, plan, run
        self.modules = dict(model.named_modules())
        self.nodes = {node.site.name: node for node in graph.nodes if node.site is not None}
        self.slots = list[Slot]()
        self.wanted = dict[str, list[Wanted]]()

    def operate(self) -> None:
        """Put in all that the plan names."""
        functions, modules = self._calls()
        for (owner, call, where), sites in functions.items():
            self._want(owner, Wanted(sites, call=call, where=where))
        reused = {path: sites for path, sites in modules.items() if len(sites) > 1}
        callers = callers_of(self.model, reused, self.run) if reused else {}
        for path, sites in modules.items():
            self._replace_module(path, sites, callers.get(path, []))
        choices = choices_of(self.model, self.wanted, self.run) if self.wanted else {}
        for owner, wanted in self.wanted.items():
            calls = Calls(wanted, choices[owner])
            self.slots += rewrite(self.modules[owner], calls, self.plan, self._module)
        keep_plain(self.model)

    def check(self, original: nn.Module) -> None:
        """That the copy, with the operators that were there, gives what the model gives."""
        expected = self.run(original)
        with stand_in(self.slots) as calls:
            found = self.run(self.model)
        missed = [slot for slot, count in zip(self.slots, calls, strict=True) if count != len(slot.sites)]
        if missed:
            raise _no_effect(missed[0], self.nodes)
        for one, other in zip(tensors_of(expected), tensors_of(found), strict=True):
            if not torch.allclose(one, other, rtol=1e-4, atol=1e-6 * _scale(one), equal_nan=True):
                raise InvariantBroken(
                    f"{type(original).__name__} gives other outputs with its own operators in the new places",
                    "surgery changes nothing but the operators",
                    "write the activations that a forward calls as modules, each used once",
                )

    def _calls(self) -> tuple[dict[tuple[str, str, str], list[str]], dict[str, list[str]]]:
        """(owner, function, line) -> its sites, and path of a module -> its sites; those with one in the plan."""
        functions, modules = dict[tuple[str, str, str], list[str]](), dict[str, list[str]]()
        for name, node in self.nodes.items():
            where = _site(node).where
            if where:
                functions.setdefault((node.owner, node.call, where), []).append(name)
            else:
                modules.setdefault(node.owner, []).append(name)
        return _planned(functions, self.plan), _planned(modules, self.plan)

    def _replace_module(self, path: str, sites: Sequence[str], callers: Sequence[str]) -> None:
        old = self.modules[path]
        chosen = {self.plan.get(site) for site in sites}
        if len(sites) == 1 or (len(chosen) == 1 and not any(one is not None and one.trainable for one in chosen)):
            self._swap(old, holders_of(self.model, old), tuple(sites))
            return
        for caller in dict.fromkeys(callers):
            mine = [site for site, one in zip(sites, callers, strict=True) if one == caller]
            self._replace_in(caller, old, mine)

    def _replace_in(self, caller: str, old: nn.Module, sites: Sequence[str]) -> None:
        """The calls of one module by another one, some of which are in the plan."""
        if not any(site in self.plan for site in sites):
            return
        owner = self.modules[caller]
        keys = [key for key, child in owner._modules.items() if child is old]  # pyright: ignore[reportPrivateUsage]
        if type(owner).forward is nn.Sequential.forward and len(keys) == len(sites):
            for key, site in zip(keys, sites, strict=True):
                if site in self.plan:
                    self._swap(old, [(owner, key)], (site,))
        elif len(sites) == 1 and len(keys) == 1:
            self._swap(old, [(owner, keys[0])], (sites[0],))
        else:
            self._want(caller, Wanted(sites, module=old))

    def _swap(self, old: nn.Module, holders: Sequence[tuple[nn.Module, str]], sites: tuple[str, ...]) -> None:
        new = self._module(sites)
        for holder, key in holders:
            put(holder, key, new)
        self.slots.append(Slot(tuple(holders), new, old, sites))

    def _want(self, owner: str, wanted: Wanted) -> None:
        self.wanted.setdefault(owner, []).append(wanted)

    def _module(self, sites: Sequence[str]) -> ActivationModule:
        """A new module for these sites, on the device and of the dtype of the weight that feeds them."""
        activation, node = self.plan[sites[0]], self.nodes[sites[0]]
        module = activation.module(_unit_shape(activation, node))
        feed = _site(node).feed
        near = None if feed is None else dict(self.model.named_parameters()).get(feed.weight)
        floats = (parameter for parameter in self.model.parameters() if parameter.is_floating_point())
        like = next(floats, None) if near is None else near
        module.train(self.model.training)
        return module if like is None else module.to(like.device, like.dtype)


def _planned(calls: Mapping[Any, list[str]], plan: ActivationPlan) -> dict[Any, list[str]]:
    return {key: sites for key, sites in calls.items() if any(site in plan for site in sites)}


def _site(node: Node) -> Site:
    assert node.site is not None
    return node.site


def _unit_shape(activation: Activation, node: Node) -> tuple[int, ...]:
    """The shape in which one scalar for each unit of a site broadcasts with what it gives."""
    dims = _site(node).unit_dims
    if activation.per == "site" or not activation.trainable:
        return ()
    if not dims:
        raise InvalidValue(
            f"{activation!r} at {_site(node).name!r}, which gives {list(node.shape)}",
            "one scalar for each unit needs units: a dimension that counts them",
            'write per="site"',
        )
    return tuple(node.shape[dim] if dim in dims else 1 for dim in range(min(dims), 0))


def check_any_site(graph: ModelGraph, model: nn.Module) -> None:
    """Refuse a model that calls no activation.

    Raises:
        NoSites: with what there was instead.
    """
    if not graph.sites:
        unseen = f"; instead there was: {'; '.join(graph.unseen[:5])}" if graph.unseen else ""
        raise NoSites(
            f"{type(model).__name__} calls no activation on the example",
            f"sites are where a nonlinearity is called, an nn.ReLU or F.relu, say{unseen}",
            "give a model that calls one, or look at its bb.trace(model, example)",
        )


def _check_sites(plan: ActivationPlan, graph: ModelGraph, model: nn.Module) -> None:
    check_any_site(graph, model)
    names = [site.name for site in graph.sites]
    for site in plan:
        if site not in names:
            rule = f"{one_of(names)}, as bb.trace(model, example) prints them"
            raise UnknownName(f"no site {site!r} in {type(model).__name__}", rule, did_you_mean(site, names))


def _scale(output: torch.Tensor) -> float:
    """The largest finite value of an output; 1 for what has none."""
    if not output.is_floating_point() or not output.numel():
        return 1.0
    return float(output.abs().nan_to_num(nan=0.0, posinf=0.0).max())


def _no_effect(slot: Slot, nodes: Mapping[str, Node]) -> InvalidValue:
    site = _site(nodes[slot.sites[0]])
    place = f" ({site.where})" if site.where else ""
    return InvalidValue(
        f"{site.name!r}{place} cannot be replaced: its code calls something else than the attribute that was set",
        "a site is replaced where its module, or the attribute that holds its function, is looked up in each call",
        "call it as self.NAME(x)",
    )
