"""Which tensors are weights of the model, or computed from them alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from budbreak.graph.call import Call, items
from budbreak.graph.parts import Part, whole
from budbreak.graph.words import words

_ZEROS_STAY = words("weight_norm div __truediv__ mul __mul__ clone to type float double half bfloat16")
"""How weight_norm, spectral_norm, torch.nn.utils.prune and casts compute a weight."""
_TURNING = words("t T mT transpose swapaxes swapdims permute adjoint H mH")
"""How a matrix is transposed."""


class Origins:
    """The parameters of a model, and what a forward pass makes of them before it multiplies.

    Args:
        model: its parameters, buffers and tensors in attributes are what no input decides.
        feeds: id of a parameter whose units are asked for -> its name.
    """

    def __init__(self, model: nn.Module, feeds: Mapping[int, str]) -> None:
        named = reversed(list(model.named_parameters(remove_duplicate=False)))
        self.parameters: dict[int, Tensor] = {}
        self.names: dict[int, str] = {}
        for name, parameter in named:
            self.names[id(parameter)] = name
            self.parameters[id(parameter)] = parameter
        self.names.update(feeds)
        self.model = model
        self._buffers = {id(buffer): (name, buffer) for name, buffer in model.named_buffers()}
        self._given, self.reached = dict(feeds), set[str]()
        self.begin_pass()

    def begin_pass(self) -> None:
        """Nothing has been computed yet."""
        self.feeds, self.turned, self._computed = dict(self._given), set[int](), list[Tensor]()

    @functools.cached_property
    def held(self) -> set[int]:
        """The ids of tensors in attributes of modules, when they are first asked for."""
        return {id(tensor) for module in self.model.modules() for tensor in _held_by(module)}

    def uncalled(self) -> tuple[str, ...]:
        """The weights (of two dimensions or more) that no call has reached, in the order of the model."""
        weights = [self.names[key] for key, parameter in reversed(self.parameters.items()) if parameter.dim() >= 2]
        return tuple(name for name in weights if name not in self.reached)

    def is_reached(self, module: nn.Module) -> bool:
        """Whether a call has reached all weights that a module itself holds, of which it has some."""
        own = [parameter for parameter in module.parameters(recurse=False) if parameter.dim() >= 2]
        return bool(own) and all(self.names[id(parameter)] in self.reached for parameter in own)

    def of(self, tensor: object) -> tuple[str, ...] | None:
        """The parameter that a tensor of the model is, if it is one; None for a tensor from elsewhere."""
        name = self.names.get(id(tensor))
        if name is not None and self.parameters[id(tensor)] is tensor:
            return (name,)
        is_part = isinstance(tensor, nn.Parameter) or id(tensor) in self._buffers or id(tensor) in self.held
        return () if is_part else None

    def parts_of(self, tensor: Tensor) -> tuple[Part, ...]:
        """The parameter or buffer that a tensor of the model is; none where it is held in an attribute."""
        name, held = self._buffers.get(id(tensor), (self.names.get(id(tensor)), self.parameters.get(id(tensor))))
        return (whole(name, tuple(tensor.shape)),) if name is not None and held is tensor else ()

    def follow(self, call: Call, result: object) -> None:
        """A weight that is normalised, masked or transposed first: where the parameter is zero, so is the weight."""
        if not isinstance(result, Tensor) or call.name not in _ZEROS_STAY | _TURNING:
            return
        for operand in call.args[: 1 if "div" in call.name else 2]:
            if not isinstance(operand, Tensor) or id(operand) not in self.feeds:
                continue
            turns = call.name in _TURNING and operand.dim() == 2 and _is_turned(operand, result)
            if turns or (call.name in _ZEROS_STAY and operand.shape == result.shape):
                self.feeds[id(result)] = self.feeds[id(operand)]
                self._computed.append(result)  # kept for this pass: its id is not given to another
                if turns != (id(operand) in self.turned):
                    self.turned.add(id(result))
                return


def _is_turned(matrix: Tensor, view: Tensor) -> bool:
    return view.dim() == 2 and view.stride() == matrix.stride()[::-1] and view.shape == matrix.shape[::-1]


def _held_by(module: nn.Module) -> list[Tensor]:
    """The tensors in its attributes, and in lists of them."""
    values: list[object] = []
    for value in vars(module).values():
        values += items(value) if not isinstance(value, dict) else [*cast(dict[object, object], value).values()]
    return [value for value in values if isinstance(value, Tensor)]
