"""See how a model is wired, by running it once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import check_function, check_known, check_model
from budbreak.errors import BudbreakError, CannotTrace, InvalidValue
from budbreak.foreign import described
from budbreak.graph.examples import call_example, count_samples
from budbreak.graph.feeding import Forward, outputs_of, to_device
from budbreak.graph.flow import Flow
from budbreak.graph.hooking import Hooks
from budbreak.graph.layercalls import Entered
from budbreak.graph.modelgraph import ModelGraph
from budbreak.graph.node import Kind, Node
from budbreak.graph.origins import Origins
from budbreak.graph.recorder import Recorder
from budbreak.graph.site import Site
from budbreak.graph.sitebook import SiteBook
from budbreak.graph.tracking import tensors_of, why_foreign
from budbreak.graph.undisturbed import observing
from budbreak.graph.watching import as_written
from budbreak.masks import conv_and_linear, parameters_with_layers, unwrap


def trace(
    model: nn.Module, example: Any, forward: Forward | None = None, *, opaque: Collection[str] = ()
) -> ModelGraph:
    """Run a model once, in eval mode, and record which calls were made and what entered each.

    Control flow is fine: what is recorded is the way that this example takes. The model comes back as it was; compiled
    parts run as they were written.

    Args:
        model: the live model; ``torch.compile`` and data-parallel wrappers are looked through.
        example: a batch of inputs: a tensor, a tuple (positional) or a mapping (by keyword); with ``forward``
            whatever that takes. Tensors are moved to the device of the model.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.
        opaque: paths of modules to record as one call each, without a look inside: for those that cannot be traced.

    Raises:
        InvalidValue: if the model does not take the example.
        CannotTrace: if it runs, but cannot be traced: what, where, and how to mark it.
        UnknownName: if ``opaque`` names no module.
    """
    return _traced(model, example, forward, opaque, None)


def trace_entering(model: nn.Module, example: Any, forward: Forward | None = None) -> tuple[ModelGraph, Entered]:
    """`trace`, with what entered layers and products.

    Args:
        model: see `trace`.
        example: see `trace`.
        forward: see `trace`.

    Raises:
        InvalidValue, CannotTrace: see `trace`.
    """
    entered = Entered()
    graph = _traced(model, example, forward, (), entered)
    entered.end(graph.nodes)
    return graph, entered


def _traced(
    model: nn.Module, example: Any, forward: Forward | None, opaque: Collection[str], entered: Entered | None
) -> ModelGraph:
    check_model(model)
    unwrapped = unwrap(model)
    _check_paths(unwrapped, opaque)
    if forward is None:
        count_samples(example)
    else:
        check_function("forward", forward, "lambda model, batch: model(batch[0])")
    device = next((parameter.device for parameter in unwrapped.parameters()), torch.device("cpu"))
    batch = to_device(example, device)
    with observing(unwrapped, device, None), torch.no_grad():
        return _Trace(unwrapped, opaque, entered).run(batch, forward)


class _Trace:
    """One recorded pass."""

    def __init__(self, model: nn.Module, opaque: Collection[str], entered: Entered | None = None) -> None:
        self.model = model
        book = SiteBook((path for path, _ in model.named_modules()), type(model).__name__)
        self.origins = Origins(model, _weight_names(model))
        self.flow = Flow(self.origins)
        self.recorder = Recorder(self.flow, book, _hear_nothing, opaque=opaque, entered=entered)

    def run(self, batch: Any, forward: Forward | None) -> ModelGraph:
        """Run the model, and put together what was seen."""
        recorder = self.recorder
        self.flow.offer(tensors_of(batch))
        hooks = Hooks(recorder.enter, recorder.leave)
        hooks.put_on(self.model)
        try:
            with as_written(), recorder:
                result = _run(self.model, batch, forward)
        except BudbreakError as error:
            hooks.remove()
            _run(self.model, batch, forward)  # raises if the model does not take it, traced or not
            raise self._refusal(described(error.__cause__ or error)) from error
        finally:
            hooks.remove()
        self._add_outputs(result)
        self._check_seen()
        shapes, tied = _names(self.model, self.origins.names)
        return ModelGraph(tuple(self.flow.nodes), tuple(recorder.unseen), self.origins.uncalled(), shapes, tied)

    def _add_outputs(self, result: object) -> None:
        for tensor in tensors_of(result):
            if why := why_foreign(tensor):
                raise self._refusal(f"what it returns was computed {why}, which have no plain shape")
            known = self.recorder.known(tensor, "the model returns")
            source = self.flow.constant(tensor, known) if known.node is None else known.node
            index, shape = len(self.flow.nodes), tuple(tensor.shape)
            dims = self.flow.nodes[source].unit_dims
            self.flow.add(
                Node(index=index, kind=Kind.OUTPUT, call="", owner="", inputs=(source,), shape=shape, unit_dims=dims)
            )

    def _check_seen(self) -> None:
        """Refuse a model whose calls all run outside of Python."""
        kinds = {node.kind for node in self.flow.nodes}
        opaque = kinds <= {Kind.INPUT, Kind.CONSTANT, Kind.OPAQUE, Kind.OUTPUT}
        if opaque and self.origins.parameters and not self.flow.passed.weights:
            raise self._refusal("none of its layers calls a function of torch from Python")

    def _refusal(self, reason: str) -> CannotTrace:
        place = self.recorder.owner or self.recorder.last_owner
        marked = repr(place) if place else "path of a module"
        return CannotTrace(
            f"{type(self.model).__name__} cannot be traced, in {place or 'the model itself'}: {reason}",
            "a trace sees each function of torch that Python calls; what TorchScript runs, it does not see",
            f"trace the module that was scripted, or record a part as one call: trace(..., opaque=[{marked}])",
        )


def _run(model: nn.Module, batch: Any, forward: Forward | None) -> Any:
    return call_example(model, batch) if forward is None else outputs_of(forward, model, batch)


def _weight_names(model: nn.Module) -> dict[int, str]:
    """Id of each weight -> its name; a tied one has that of a layer which is prunable, as in a mask."""
    named = [
        (name, layer, parameter) for name, layer, parameter in parameters_with_layers(model) if parameter.dim() >= 2
    ]
    names = {id(parameter): name for name, _, parameter in reversed(named)}
    prunable = [entry for entry in named if conv_and_linear(*entry)]
    return {**names, **{id(parameter): name for name, _, parameter in reversed(prunable)}}


def _names(model: nn.Module, chosen: Mapping[int, str]) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, str]]:
    """(the shape of each parameter under each of its names, each other name -> the one in the nodes)."""
    named = list(model.named_parameters(remove_duplicate=False))
    shapes = {name: tuple(parameter.shape) for name, parameter in named}
    tied = {name: chosen[id(parameter)] for name, parameter in named if chosen[id(parameter)] != name}
    return shapes, tied


def _check_paths(model: nn.Module, paths: Collection[object]) -> None:
    if isinstance(paths, str):
        raise InvalidValue(f"opaque is {paths!r}", "it must be a list of paths of modules", f"write [{paths!r}]")
    known = [path for path, _ in model.named_modules() if path]
    for path in paths:
        check_known(f"opaque names {path!r}, which is no module of {type(model).__name__}", path, known)


def _hear_nothing(site: Site, given: Tensor, output: Tensor) -> None:
    """A trace looks at calls, not at values."""
