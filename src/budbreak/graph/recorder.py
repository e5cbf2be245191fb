"""Record one forward pass: every call of a function of torch becomes a node of the graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, overrides
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from budbreak.graph.call import Call, is_data, items, plain_name
from budbreak.graph.composite import Pending
from budbreak.graph.derivation import parts_after
from budbreak.graph.flow import Flow
from budbreak.graph.kinds import NUMBERS, QUERIES, makes_constants
from budbreak.graph.layercalls import Entered
from budbreak.graph.layouts import layouts_after
from budbreak.graph.listening import Heard, opened
from budbreak.graph.modulecalls import ModuleCalls
from budbreak.graph.node import Kind
from budbreak.graph.nodemaking import Operands, kind_among, make_node, sources, starts_here
from budbreak.graph.nodeparts import parts_of
from budbreak.graph.nonlinearities import CLAMPS, CONTROLLING, RECURRENT, activated, gives_zeros, is_nonlinear
from budbreak.graph.places import calling_line, said_place
from budbreak.graph.site import Layout
from budbreak.graph.sitebook import Key, SiteBook
from budbreak.graph.tracking import Known, unwrapped, why_foreign

_Results = Sequence[tuple[int, Tensor]]


@dataclass(frozen=True)
class _Before:
    """What has to be asked before a function runs, since it may change what it is given.

    Args:
        rule: gives the layout of each result.
        operands: the tensors that enter; None: nothing is known about it.
        layout: of what it works on.
        given: that tensor itself, where the call is an activation; ``exact``: which gives exact zeros.
    """

    rule: Callable[[Tensor, int], Layout | None]
    operands: Sequence[tuple[Tensor, Known | None]]
    layout: Layout | None
    given: Tensor | None
    exact: bool


@dataclass(frozen=True)
class _Seen:
    """A call that has run: what entered it, and its results, each with its place among them."""

    call: Call
    kind: Kind
    operands: Operands
    results: _Results
    rule: Callable[[Tensor, int], Layout | None]
    where: str


def is_recorded() -> bool:
    """Whether what runs is being traced: functions that hide their calls from modes then show them."""
    modes = overrides._get_current_function_mode_stack()  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
    return any(isinstance(mode, Recorder) for mode in modes)


class Recorder(TorchFunctionMode, ModuleCalls):
    """A mode under which the model runs once; it sees each function of torch, in modules and outside.

    Args:
        flow, book, heard, keep_inputs, opaque: see `ModuleCalls`.
        entered: takes down what enters layers and products; None: nobody asks.
    """

    def __init__(
        self,
        flow: Flow,
        book: SiteBook,
        heard: Heard,
        *,
        keep_inputs: bool = False,
        opaque: Iterable[str] = (),
        entered: Entered | None = None,
    ) -> None:
        TorchFunctionMode.__init__(self)
        ModuleCalls.__init__(self, flow, book, heard, keep_inputs=keep_inputs, opaque=opaque)
        self.within, self.entered = "", entered

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function, and note what it gave."""
        kwargs = kwargs or {}
        if torch.compiler.is_dynamo_compiling():  # control flow is compiled as it runs: nothing is computed then
            return func(*args, **kwargs)
        name = plain_name(func)
        if name in NUMBERS and not self.is_resting:
            self.flow.note_asked(args[0])
        if self.is_resting or name in QUERIES:
            return func(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self, self._inside(name):
                return opened(func)(*args, **kwargs)
        tracker, origins = self.flow.tracker, self.flow.origins
        call = Call(name, func, args, kwargs, tracker.layout, origins.feeds, origins.turned)
        if any(map(why_foreign, call.tensors)):
            return self._pass_by(call, func(*args, **kwargs))
        before = self._look(call)
        result = func(*args, **kwargs)
        if any(why_foreign(tensor) for _, tensor in _results(call, result)):
            return self._pass_by(call, result)
        self._record(call, before, result)
        return result

    @contextlib.contextmanager
    def _inside(self, name: str) -> Generator[None, None, None]:
        """Within a function of torch that calls others."""
        self.within = name
        try:
            yield
        finally:
            self.within = ""

    def _pass_by(self, call: Call, result: Any) -> Any:
        """A call on tensors of which no node can be made: what entered it is kept in mind, and plain results are."""
        given = [tensor for tensor in map(unwrapped, call.tensors) if not tensor.is_nested]
        operands = [(tensor, self.flow.find(tensor) or self.flow.adopt(tensor)) for tensor in given]
        self.flow.passed.take(operands)
        self.flow.origins.reached.update(name for _, known in operands if known for name in known.origins)
        results = [tensor for _, tensor in _results(call, result)]
        if is_nonlinear(call) or call.name in RECURRENT:
            why = next(filter(None, map(why_foreign, [*call.tensors, *results])))
            self.say([f"{call.spelt} called {said_place(self.owner, calling_line())}, {why}"])
        for tensor in results:
            if not why_foreign(tensor):
                self.flow.invent(tensor, call.name, (), owner=self.owner)
        return result

    def _look(self, call: Call) -> _Before:
        if call.overwritten is not None:
            self.protect(call.overwritten)
        operands = [(tensor, self.flow.find(tensor)) for tensor in call.tensors]
        tensor = activated(call, self._is_constant)
        layout = call.layout(call.first if tensor is None else tensor)
        if tensor is None:
            return _Before(layouts_after(call), operands, layout, None, False)
        given = tensor.clone() if self.keep_inputs and call.overwritten is not None else tensor
        return _Before(layouts_after(call), operands, layout, given, gives_zeros(call))

    def _is_constant(self, tensor: Tensor) -> bool:
        known = self.flow.find(tensor) or self.flow.adopt(tensor)
        return known is not None and known.node is None

    def _record(self, call: Call, before: _Before, result: object) -> None:
        results = _results(call, result)
        if not results:
            self._note_handed_over(call, before)
            return
        where = calling_line()
        place = said_place(self.owner, where)
        operands = [
            (tensor, known or self.known(tensor, f"enters {call.name} {place}")) for tensor, known in before.operands
        ]
        if makes_constants(call.name) or not starts_here(call, operands):
            self._note_constants(call, operands, before, results)
            if before.given is not None:
                self.book.no_sites.add(Key(self.owner, call.name, where))
            return
        if results[0][1].numel():
            self.flow.origins.reached.update(name for _, known in operands for name in known.origins)
        kind = Kind.SITE if before.given is not None else kind_among(call, operands)
        if self.frames and (composite := self.frames[-1].composite) is not None:
            followed = sum(known.node is not None for _, known in operands)
            composite.add(call, kind, [tensor for _, tensor in results], followed)
        first = self._add_nodes(_Seen(call, kind, operands, results, before.rule, where))
        if self.entered is not None and first < len(self.flow.nodes):
            self.entered.look(self.flow.nodes[first], call, [(tensor, known.node) for tensor, known in operands])
        if before.given is not None:
            key, output = self.book.key(self.owner, call.name, where), results[0][1]
            self.meet(Pending(key, first, before.layout, before.given, output, before.exact))
        elif call.name not in CLAMPS or before.layout is not None:
            self.say(_unseen(call, operands, results[0][1], place))

    def _note_handed_over(self, call: Call, before: _Before) -> None:
        """``tensor.data = other``: from now on it is the other."""
        known = [known for _, known in before.operands]
        if is_data(call.run) and len(known) == 2 and known[1] is not None:
            self.flow.tracker.note(call.first, known[1])

    def _note_constants(self, call: Call, operands: Operands, seen: _Before, results: _Results) -> None:
        """What no input decides: weights that are normalised, positions that are counted."""
        origins = tuple(dict.fromkeys(name for _, known in operands for name in known.origins))
        origins = () if makes_constants(call.name) else origins
        held = [(tensor, parts_of(tensor, known)) for tensor, known in operands]
        for index, tensor in results:
            layout, parts = seen.rule(tensor, index), parts_after(call, held, tensor, index)
            self.flow.tracker.note(tensor, Known(None, layout, origins, parts=parts))
            self.flow.origins.follow(call, tensor)

    def _add_nodes(self, seen: _Seen) -> int:
        """A node for each result; the index of the first."""
        call, kind, operands = seen.call, seen.kind, seen.operands
        inputs = sources(kind, call, operands, self.flow.constant)
        weighted = kind in (Kind.LAYER, Kind.RECURRENT) or any(known.weighted for _, known in operands)
        where = "" if self.frames and self.frames[-1].is_layer else seen.where
        first = len(self.flow.nodes)
        for part, tensor in seen.results:
            if self._is_as_before(call, tensor, operands):
                continue
            layout = seen.rule(tensor, part)
            node = make_node(len(self.flow.nodes), kind, call, operands, tensor, layout)
            place = {"owner": self.owner, "where": where, "within": self.within}
            index = self.flow.add(replace(node, inputs=inputs, part=part, **place))
            self.flow.tracker.note(tensor, Known(index, layout, weighted=weighted))
            if call.overwritten is not None:
                self.flow.write(tensor, index)
        return first

    def _is_as_before(self, call: Call, result: Tensor, operands: Operands) -> bool:
        """Whether a call only handed over what it was given, as contiguous does."""
        handed = any(result is tensor for tensor, _ in operands)
        return handed and call.overwritten is None and not self.flow.tracker.is_stale(result)


def _results(call: Call, result: object) -> _Results:
    """The tensors that a call gave, each with its place among the results; what was assigned to is one."""
    given = [call.first] if call.name == "__setitem__" else items(result)
    return [(part, item) for part, item in enumerate(given) if isinstance(item, Tensor)]


def _unseen(call: Call, operands: Operands, result: Tensor, place: str) -> list[str]:
    """A nonlinearity that is no activation for all that is known, in words, as a list of one; else none."""
    if call.name in CONTROLLING:
        return [f"what {call.name} computes {place}"]
    if call.name in RECURRENT:
        return [f"the nonlinearities inside {call.name} {place}"]
    if not is_nonlinear(call):
        return []
    weighted = [tensor for tensor, known in operands if known.weighted and tensor.is_floating_point()]
    alike = any(tensor.shape == result.shape for tensor in weighted)
    return [f"{call.spelt} called {place}"] if alike or call.name == "glu" else []
