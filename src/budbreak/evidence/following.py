"""Whether what weights compute reaches the outputs of a model, and where it is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue
from budbreak.evidence.passes import gradients_of
from budbreak.evidence.reached import listed, unreached
from budbreak.graph import ModelGraph, as_written, recurrent_backward, requiring_grad, said_nodes
from budbreak.masks import parameters_named


def check_followed(graph: ModelGraph, names: Collection[str], model: nn.Module, run: Callable[[], Any]) -> None:
    """Refuse weights of which neither the graph nor autograd knows a way to an output.

    Args:
        graph: of the model.
        names: of weights in it.
        model: to look at, where the graph knows no way.
        run: runs it as it was traced, and gives what it returns.

    Raises:
        Unreached: with the weight, and where what it computes was last seen.
    """
    suspects = [name for name in names if graph.lost(name)]
    followed = _followed(model, suspects, run) if suspects else ()
    lost = [name for name in suspects if name not in followed]
    if lost:
        raise unreached(
            f"what {listed(lost)} computes leads to no output; it was last seen in {said_nodes(graph.lost(lost[0]))}",
            "layers behind a weight are found by the functions of torch that its outputs go through; item(), tolist() "
            "and numpy end the way, and so does what is not returned",
            lost,
            "write it by functions of torch, and return what it gives",
        )


def check_not_handed_out(graph: ModelGraph, names: Iterable[str]) -> None:
    """Refuse weights of which it cannot be told whether they are connected: what they compute goes on as numbers.

    Args:
        graph: of the model.
        names: of weights in it, by any of their names.

    Raises:
        Unreached: with the weight, and where its numbers were asked for.
    """
    asked = {name: nodes for name in names if (nodes := graph.handed_out(graph.tied.get(name, name)))}
    if asked:
        lost = [*asked]
        raise unreached(
            f"what {listed(lost)} computes goes on as numbers: asked for in {said_nodes(asked[lost[0]])}",
            "whether a weight is connected is told by the functions of torch that its outputs go through; behind "
            "item(), tolist() and numpy nobody can follow",
            lost,
            "write it by functions of torch",
        )


def sum_of(outputs: Any) -> Any:
    """The sum of all floating numbers in what a model gives; 0 if there are none.

    A single number beside tensors with dimensions is a loss, which transformers give with the logits: it is left out.
    """
    floats = floats_in(outputs)
    return sum(tensor.sum() for tensor in [tensor for tensor in floats if tensor.dim()] or floats)


def floats_in(outputs: Any) -> list[Tensor]:
    """The floating tensors in what a model gives."""
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.is_floating_point() else []
    if isinstance(outputs, Mapping):
        outputs = [*cast(Mapping[Any, Any], outputs).values()]
    inner = map(floats_in, cast(Sequence[Any], outputs)) if isinstance(outputs, list | tuple) else ()
    return [tensor for tensors in inner for tensor in tensors]


def _followed(model: nn.Module, names: Sequence[str], run: Callable[[], Any]) -> Collection[str]:
    """Those of these weights that the outputs depend on, for autograd: it knows the kernels that somebody wrote."""
    parameters = parameters_named(model, names)
    with torch.enable_grad(), requiring_grad([*parameters.values()]), recurrent_backward(model), as_written():
        try:
            total: Tensor | int = sum(tensor.sum() for tensor in floats_in(run()))
        except InvalidValue:  # numpy takes nothing that autograd follows
            return ()
        if not isinstance(total, Tensor) or not total.requires_grad:
            return ()
        return gradients_of(total, parameters).keys()
