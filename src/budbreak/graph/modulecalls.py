"""The calls of modules within a recorded pass: who owns what is called, and which modules are one node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from budbreak.graph.breaks import OUTSIDE
from budbreak.graph.composite import Composite, Pending
from budbreak.graph.derivation import united
from budbreak.graph.flow import Flow
from budbreak.graph.listening import Heard, unseen_by_modes
from budbreak.graph.node import Kind, Node
from budbreak.graph.nonlinearities import is_named_like_one, may_be_activation, may_be_norm
from budbreak.graph.places import said_place
from budbreak.graph.site import Layout, Site
from budbreak.graph.sitebook import SiteBook
from budbreak.graph.tracking import Known, storage, tensors_of, why_foreign


@dataclass
class Frame:
    """One call of a module that has not ended.

    Args:
        given: the tensors that it was called with.
        is_layer: whether it is a layer of torch, with no module inside.
        start: the number of nodes before.
        composite: what is called inside a module that may be one node.
        entering: what was known of the one tensor that such a module was given; ``layout``: where its units lie.
        kept: that tensor before it was overwritten, if it was.
    """

    name: str
    given: list[Tensor]
    is_layer: bool
    start: int
    composite: Composite | None = None
    entering: Known | None = None
    layout: Layout | None = None
    kept: Tensor | None = None


class ModuleCalls:
    """Follows the calls of modules, by their hooks.

    Args:
        flow: the nodes so far.
        book: the sites.
        heard: told of each site, of what enters it and what it gives.
        keep_inputs: whether what enters a site is copied before the function overwrites it.
        opaque: paths of modules that are one node, whatever they do.
    """

    def __init__(
        self, flow: Flow, book: SiteBook, heard: Heard, *, keep_inputs: bool = False, opaque: Iterable[str] = ()
    ) -> None:
        self.flow, self.book, self.heard = flow, book, heard
        self.keep_inputs, self.opaque = keep_inputs, frozenset(opaque)
        self.frames = list[Frame]()
        self.unseen, self.called = dict[str, None](), set[str]()
        self.nothing_heard, self.last_owner = False, ""
        self.is_resting = False

    @property
    def owner(self) -> str:
        """The module that runs."""
        return self.frames[-1].name if self.frames else ""

    def end_pass(self) -> None:
        """Nothing of this pass is kept but the sites and what was not seen."""
        self.frames.clear()
        self.is_resting = False
        self.flow.begin_pass()

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A module is called."""
        if not self.is_resting:
            with unseen_by_modes():
                self._enter(name, module, tensors_of((args, kwargs)))

    def leave(self, name: str, module: nn.Module, output: object) -> None:
        """It has given its output, None after an error."""
        if self.frames and self.frames[-1].name == name:  # else it is inside an opaque one
            self.is_resting = False
            with unseen_by_modes():
                self._leave(self.frames.pop(), module, output)

    def _enter(self, name: str, module: nn.Module, given: list[Tensor]) -> None:
        if any(tensor.numel() for tensor in given) or not given:
            self.called.add(name)
        self.last_owner = name
        if not self.frames:
            self.flow.offer(given)
        is_layer = type(module).__module__.startswith("torch.") and not any(True for _ in module.children())
        frame = Frame(name, given, is_layer, len(self.flow.nodes))
        self.frames.append(frame)
        if name in self.opaque:
            self.is_resting = True
        elif (may_be_activation(module) or may_be_norm(module)) and not any(map(why_foreign, given)):
            self._look_at_whole(frame, module)

    def _leave(self, frame: Frame, module: nn.Module, output: object) -> None:
        composite = frame.composite
        if composite is not None and composite.is_activation(output):
            self._close_activation(frame, module, cast(Tensor, output))
        elif composite is not None and self._is_norm(frame, module, output):
            self._close(frame, module, cast(Tensor, output), Kind.NORM)
        else:
            self._release(composite)
            self._catch(frame, module, output)

    def say(self, words: Iterable[str]) -> None:
        """Something nonlinear that is no site, unless the module that runs turns out to be one."""
        composite = self.frames[-1].composite if self.frames else None
        if composite is not None:
            composite.unseen += words
        else:
            self.unseen.update(dict.fromkeys(words))

    def meet(self, call: Pending) -> None:
        """A call of an activation; whether it is a site by itself is known at the end of a module that may be one."""
        if not call.output.numel():
            self.nothing_heard = True
            self.flow.nodes[call.node] = replace(self.flow.nodes[call.node], kind=Kind.OPAQUE)
            return
        composite = self.frames[-1].composite if self.frames else None
        if composite is not None:
            composite.pending.append(call)
        else:
            self._settle(call)

    def protect(self, overwritten: Tensor) -> None:
        """A tensor is about to be overwritten: what is still needed of it is copied."""
        if not self.frames or (composite := self.frames[-1].composite) is None:
            return
        memory, frame = storage(overwritten), self.frames[-1]
        for call in composite.pending:
            if storage(call.output) == memory:
                call.output = call.output.clone()
        if frame.kept is None and len(frame.given) == 1 and storage(frame.given[0]) == memory:
            frame.kept = frame.given[0].clone() if self.keep_inputs else frame.given[0]

    def known(self, tensor: Tensor, use: str) -> Known:
        """What is known about a tensor; one that comes from outside of torch's functions is named.

        Args:
            tensor: what is used.
            use: for what, in words.
        """
        known = self.flow.find(tensor) or self.flow.adopt(tensor)
        if known is not None:
            return known
        self.say([f"an operation outside of torch's functions that gave what {use}"])
        around = [frame for frame in self.frames if all(tensor is not given for given in frame.given)]
        return self.flow.invent(tensor, OUTSIDE, self._may_enter(around[-1:]), owner=self.owner)

    def _may_enter(self, frames: list[Frame]) -> list[int]:
        """Whatever may have entered something that nobody saw: what a module was given, and its loose ends."""
        start = frames[0].start if frames else 0
        tensors = [tensor for frame in frames for tensor in frame.given if not why_foreign(tensor)]
        given = [known.node for tensor in tensors if (known := self.flow.find(tensor) or self.flow.adopt(tensor))]
        return list(dict.fromkeys([*(node for node in given if node is not None), *self.flow.loose_ends(start)]))

    def _look_at_whole(self, frame: Frame, module: nn.Module) -> None:
        single = frame.given[0] if len(frame.given) == 1 else None
        frame.composite = Composite(None if single is None else tuple(single.shape), is_named_like_one(module))
        if single is not None:
            frame.layout = self.flow.tracker.layout(single)
            frame.entering = self.known(single, f"enters {type(module).__name__} {said_place(frame.name)}")
            frame.start = len(self.flow.nodes)

    def _close_activation(self, frame: Frame, module: nn.Module, output: Tensor) -> None:
        composite = cast(Composite, frame.composite)
        if not output.numel():
            self.nothing_heard = True
            self._close(frame, module, output, Kind.OPAQUE)
            return
        exact = composite.is_exact(module)
        self.book.whole.add(frame.name)
        if frame.kept is not None:
            self.book.overwriting.add(frame.name)
        site = self.book.site(self.book.key(frame.name), frame.layout, output, exact=exact)
        self._close(frame, module, output, Kind.SITE, site)
        self.heard(site, frame.given[0] if frame.kept is None else frame.kept, output)

    def _close(self, frame: Frame, module: nn.Module, output: Tensor, kind: Kind, site: Site | None = None) -> None:
        """One node in the place of all that was called inside."""
        parts, over = united(part for node in self.flow.nodes[frame.start :] for part in node.parts), ()
        if kind == Kind.NORM:
            over = _over(self.flow.nodes[frame.start :], len(output.shape))
        self.flow.drop_from(frame.start)
        entering = cast(Known, frame.entering)
        named = [self.flow.origins.of(parameter) or () for parameter in module.parameters()]
        layout = Layout(frame.layout.dims) if frame.layout else None
        node = Node(
            index=frame.start,
            kind=kind,
            call=type(module).__name__,
            owner=frame.name,
            inputs=() if entering.node is None else (entering.node,),
            shape=tuple(output.shape),
            weights=named[0] if kind == Kind.NORM and named else (),
            unit_dims=layout.dims if layout else None,
            site=site,
            parts=parts,
            over=over,
        )
        self.flow.origins.reached.update(name for names in named for name in names)
        known = Known(self.flow.add(node), layout, weighted=entering.weighted)
        self.flow.tracker.note(output, known)

    def _is_norm(self, frame: Frame, module: nn.Module, output: object) -> bool:
        inner = {node.kind for node in self.flow.nodes[frame.start :]}
        mixing = {Kind.LAYER, Kind.RECURRENT, Kind.MATMUL, Kind.NORM}
        composite = cast(Composite, frame.composite)
        return may_be_norm(module) and composite.is_norm(output) and not inner & mixing

    def _release(self, composite: Composite | None) -> None:
        if composite is None:
            return
        self.say(composite.unseen)
        for call in composite.pending:
            self._settle(call)

    def _settle(self, call: Pending) -> None:
        site = self.book.site(call.key, call.layout, call.output, exact=call.exact)
        self.flow.nodes[call.node] = replace(self.flow.nodes[call.node], site=site)
        self.heard(site, call.given, call.output)

    def _catch(self, frame: Frame, module: nn.Module, output: object) -> None:
        """What a module gives that no call gave is decided by whatever entered it, and by all its weights."""
        strange = [tensor for tensor in tensors_of(output) if self._is_strange(tensor, frame)]
        if not strange:
            return
        marked = frame.name in self.opaque
        self.say([f"what {type(module).__name__} computes {said_place(frame.name)}"])
        inputs = self._may_enter([frame])
        parameters = [parameter for parameter in module.parameters() if parameter.dim() >= 2]
        names = [name for parameter in parameters for name in self.flow.origins.of(parameter) or ()]
        weights = tuple(name for name in names if marked or name not in self.flow.origins.reached)
        self.flow.origins.reached.update(weights)
        for tensor in strange:
            self.flow.invent(tensor, type(module).__name__, inputs, owner=frame.name, weights=weights)

    def _is_strange(self, tensor: Tensor, frame: Frame) -> bool:
        if why_foreign(tensor) or self.flow.find(tensor) is not None or self.flow.origins.of(tensor) is not None:
            return False
        return not any(tensor is given for given in frame.given)


def _over(nodes: Iterable[Node], rank: int) -> tuple[int, ...]:
    """The dimensions over which means are taken inside of a norm; all but that of samples where they are not told."""
    told = [dict(node.options).get("dim", (*node.arguments, None)[0]) for node in nodes if node.kind == Kind.POOL]
    dims = {dim for given in told for dim in ([given] if isinstance(given, int) else given or [])}
    named = {dim if dim < 0 else dim - rank for dim in dims if isinstance(dim, int)}
    return tuple(sorted(named)) if told and named else tuple(range(1 - rank, 0))
