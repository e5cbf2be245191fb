"""A network as one graph of aten calls, by `torch.export`: what every exporter here starts from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from budbreak.compaction import sized
from budbreak.errors import InvalidValue
from budbreak.exporting.quiet import quiet
from budbreak.foreign import described, is_users_own
from budbreak.graph import Forward, call_example, count_samples, outputs_of, tensors_of, to_device

_ONE_WAY = "what leaves is one graph of calls, the same whatever it is given"


@dataclass(frozen=True, eq=False)
class Program:
    """An exported network.

    Args:
        name: of the network's class.
        exported: its calls.
        example: which it was exported with; of two samples or more, where the batch is free.
        inputs, outputs: their names, in order.
        free: whether batches may have any size.
        alone: whether the example is the one argument, as with a ``forward``.
    """

    name: str
    exported: ExportedProgram = field(repr=False)
    example: Any = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    free: bool
    alone: bool

    def run(self, exported: ExportedProgram, example: Any) -> list[Tensor]:
        """What such a network gives for an example of any batch size that it takes."""
        args, kwargs = _arguments(example, alone=self.alone)
        with torch.no_grad():
            return [tensor.detach() for tensor in tensors_of(exported.module()(*args, **kwargs))]

    def of_one(self) -> Any:
        """The example's first sample alone: a batch of a size that the export did not see."""
        return sized(self.example, 1)

    def numbers(self, example: Any) -> dict[str, Tensor]:
        """The tensors of an example by the names of the inputs."""
        return dict(zip(self.inputs, _leaves(example), strict=True))


def export_program(model: nn.Module, example: Any, forward: Forward | None, *, static_batch: bool) -> Program:
    """Export a network.

    Args:
        model: in eval mode, on the CPU.
        example: see `trace`; its samples are repeated where there is only one, since a size of 1 is taken for fixed.
        forward: see `trace`.
        static_batch: whether batches have the size that the example has.

    Raises:
        InvalidValue: if it does not take the example, decides by values what it computes, has a fixed batch size where
            a free one is wanted, or calls what `torch.export` cannot follow: what, and in which line.
    """
    forward = call_example if forward is None and _has_open_keywords(model, example) else forward
    free, alone = not static_batch, forward is not None
    given_example = to_device(example, torch.device("cpu"))
    wanted = sized(given_example, max(2, count_samples(example))) if free else given_example
    given = _outputs(model, wanted, forward, made=free and count_samples(example) < 2)
    called = _plain_outputs(model, forward, given)
    args, kwargs = _arguments(wanted, alone=alone)
    shapes = _shapes(called, args, kwargs, count_samples(wanted)) if free else None
    try:
        with quiet(), torch.no_grad():
            exported = torch.export.export(called, args, kwargs, dynamic_shapes=shapes)
    except Exception as error:
        raise _refusal(type(model).__name__, error, free=free) from error
    names = _input_names(model, wanted, alone=alone)
    return Program(type(model).__name__, exported, wanted, names, _output_names(given), free, alone)


def _outputs(model: nn.Module, example: Any, forward: Forward | None, *, made: bool) -> Any:
    """What a model gives for an example, which is ``made`` of one sample where it had no more."""
    try:
        with torch.no_grad():
            return call_example(model, example) if forward is None else outputs_of(forward, model, example)
    except InvalidValue as error:
        if not made:
            raise
        value = f"{type(model).__name__} does not take its one sample twice: {error.value}"
        fix = "give an example of two samples or more, or static_batch=True"
        raise InvalidValue(
            value, "batches of any size are wanted, and a size of 1 tells nothing of others", fix
        ) from error


class _Tidy(nn.Module):
    """A model whose outputs are tensors, in a tuple or a dict: no class of another library has to be there to read it.

    Args:
        model: the model, whose arguments it takes.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

        def forward(*args: Any, **kwargs: Any) -> Any:
            return _tidy(model(*args, **kwargs))

        setattr(forward, "__signature__", inspect.signature(model.forward))  # noqa: B010 - functions have none declared
        self.forward = forward


class _Called(nn.Module):
    """A model as a `Forward` calls it."""

    def __init__(self, model: nn.Module, run: Forward) -> None:
        super().__init__()
        self.model, self.run = model, run

    def forward(self, batch: Any) -> Any:
        """What it gives."""
        return _tidy(self.run(self.model, batch))


def _plain_outputs(model: nn.Module, forward: Forward | None, given: object) -> nn.Module:
    if forward is not None:
        return _Called(model, forward)
    plain = isinstance(given, Tensor) or (type(given) in (tuple, list) and all(map(_is_tensor, cast(Any, given))))
    return model if plain else _Tidy(model)


def _tidy(given: object) -> Any:
    if isinstance(given, Tensor):
        return given
    return _named(given) or tuple(tensors_of(given))


def _named(given: object) -> dict[str, Tensor]:
    """The tensors of a mapping of tensors; {} of anything else."""
    if not isinstance(given, Mapping):
        return {}
    items = cast("Mapping[Any, Any]", given)
    return {str(name): value for name, value in items.items()} if all(map(_is_tensor, items.values())) else {}


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _arguments(example: Any, *, alone: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if alone or not isinstance(example, Mapping | tuple):
        return (example,), {}
    return ((), dict(cast("Mapping[str, Any]", example))) if isinstance(example, Mapping) else (example, {})


def _shapes(called: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Argument -> which of its dimensions counts samples: the first of each tensor that has as many."""
    batch = Dim("batch")

    def free(value: object) -> dict[int, Any] | None:
        return {0: batch} if isinstance(value, Tensor) and value.dim() and len(value) == samples else None

    bound = inspect.signature(called.forward).bind(*args, **kwargs).arguments
    return {name: pytree.tree_map(free, value) for name, value in bound.items()}


def _has_open_keywords(model: nn.Module, example: Any) -> bool:
    """Whether some of an example's names are no parameters of forward, but go into its ``**kwargs``."""
    kinds = inspect.signature(model.forward).parameters.values()
    known = {one.name for one in kinds if one.kind is not one.VAR_KEYWORD}
    return isinstance(example, Mapping) and not known.issuperset(cast("Mapping[str, Any]", example))


def _leaves(example: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, Tensor)]


def _input_names(model: nn.Module, example: Any, *, alone: bool) -> tuple[str, ...]:
    """Of the tensors, those by which the model is given them; numbers where some lie in lists, or are only counted."""
    args, named = _arguments(example, alone=alone)
    if isinstance(example, Mapping):
        named = cast("dict[Any, Any]", example)
    elif not alone:
        named = dict(zip(_places(model), args, strict=False))
    names = [str(name) for name, value in named.items() if isinstance(value, Tensor)]
    count = len(_leaves(example))
    return tuple(names) if len(names) == count else _numbered("input", count)


def _places(model: nn.Module) -> list[str]:
    """What forward calls the arguments that have a place."""
    parameters = inspect.signature(model.forward).parameters.values()
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]


def _output_names(given: object) -> tuple[str, ...]:
    return tuple(_named(given)) or _numbered("output", len(tensors_of(given)))


def _numbered(word: str, count: int) -> tuple[str, ...]:
    return (word,) if count == 1 else tuple(f"{word}_{place}" for place in range(count))


def _refusal(name: str, error: Exception, *, free: bool) -> InvalidValue:
    """What `torch.export` says, in three lines."""
    text = str(error)
    lines = _own_lines(text)
    where = f" in {lines[-1]}" if lines else ""
    if "data-dependent" in text:
        value = f"{name} decides by values what it computes{where}"
        return InvalidValue(
            value, _ONE_WAY, "write torch.where(condition, a, b), or export a part that decides nothing"
        )
    if free and ("Constraints violated" in text or "specialized" in text):
        sizes = re.findall(r"batch = (\d+)", text)
        value = f"{name} computes for a batch of {sizes[0] if sizes else 'one size'} alone{where}"
        rule = "batches of any size are wanted, of whose sizes forward reads x.shape[0] and writes none down"
        return InvalidValue(value, rule, "write x.flatten(1), x.view(len(x), -1), ...; or give static_batch=True")
    value = f"{name} cannot be exported{where}: {described(error)}"
    return InvalidValue(value, f"{_ONE_WAY}: functions of torch on tensors", "write that part with functions of torch")


def place_of(program: Program, call: str) -> str:
    """The module and the line of the first call of a function of aten, in words; "" if it is not there.

    Args:
        program: which calls it.
        call: as exporters name it: "aten._linalg_svd", "prims.bessel_j0", "aten.special_bessel_j0.default".
    """
    bare = call.split(".")[1].strip("_")
    with quiet():
        graphs = (program.exported.graph, program.exported.run_decompositions().graph)
    for graph in graphs:
        named = (node for node in graph.nodes if node.op == "call_function" and bare in str(node.target))
        if (node := next(named, None)) is not None:
            return _said(node.meta)
    return ""


def _said(meta: Mapping[str, Any]) -> str:
    path = [name for name, _ in meta.get("nn_module_stack", {}).values() if name]
    own = _own_lines(meta.get("stack_trace", "") or "")
    return f"{f' in {path[-1]!r}' if path else ''}{f' ({own[-1]})' if own else ''}"


def _own_lines(text: str) -> list[str]:
    """Those of her files that a trace names."""
    return [f"{file}, line {line}" for file, line in re.findall(r'File "([^"]+)", line (\d+)', text) if _is_own(file)]


def _is_own(filename: str) -> bool:
    return is_users_own(filename) or filename.startswith("<")
