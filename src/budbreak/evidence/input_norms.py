"""The norm of what each column of a weight is multiplied with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.errors import EmptyBatches, InvalidValue, NotFinite
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.examples import drawn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LONG = 1 << 13
"""Numbers in a sample from which on adding up sample by sample is faster than squaring a batch at once."""
_CACHED = 1 << 17
"""Numbers of 16 bits that are widened at a time: 512 KiB stay in a core's cache."""


@dataclass(frozen=True)
class ColumnNorms:
    """The norms of a layer's inputs, and where they meet its weight.

    An output of the layer is the sum over its columns of weight times input: features of Linear; of a convolution
    input channel and place in the kernel, within the output's group.

    Args:
        norms: L2 norms over all samples and positions [groups, columns], >= 0; at least float32.
        transposed: whether the weight is that of a transposed convolution, [inputs, outputs / groups, ...].
    """

    norms: Tensor
    transposed: bool = False

    def arranged(self, weight: Tensor) -> Tensor:
        """A tensor of the weight's shape as [groups, outputs / groups, columns]."""
        groups = len(self.norms)
        if not self.transposed:
            return weight.reshape(groups, -1, weight[0].numel())
        split = weight.reshape(groups, -1, *weight.shape[1:])
        return split.transpose(1, 2).flatten(2)

    def of_columns(self, values: Tensor, shape: torch.Size) -> Tensor:
        """A number for each column [groups, columns], in the weight's shape; of one group no copy."""
        return self._shaped(values.unsqueeze(1), shape)

    def of_rows(self, values: Tensor, shape: torch.Size) -> Tensor:
        """A number for each output [groups, outputs / groups], in the weight's shape; of one group no copy."""
        return self._shaped(values.unsqueeze(2), shape)

    def _shaped(self, values: Tensor, shape: torch.Size) -> Tensor:
        """What expands to [groups, outputs / groups, columns], where it belongs in the weight."""
        groups, columns = self.norms.shape
        if not self.transposed:
            return values.expand(groups, shape[0] // groups, columns).reshape(shape)
        split = values.expand(groups, shape[1], columns).unflatten(2, (shape[0] // groups, *shape[2:]))
        return split.transpose(1, 2).reshape(shape)


@dataclass(frozen=True)
class InputNorms:
    """The L2 norm of what each column of a weight is multiplied with: name -> `ColumnNorms`.

    norm[j] = sqrt(sum over samples and positions of x[j]^2), for Linear over all leading dimensions; for convolutions
    over each position of the kernel that the padding leaves, as if inputs were unfolded: the squares are added over the
    samples first, and only that sum is unfolded. Sums in float64. For Linear and (grouped, transposed) convolutions;
    of complex inputs, the norm of their magnitudes.
    """

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, ColumnNorms]]:
        """See `Probe.start`.

        Raises:
            InvalidValue: for a weight whose layer is of another kind; by the result, for one that was not called, and
                for a tied one that such a layer uses, too, or layers that multiply it in different ways.
            EmptyBatches: by the result, if the batches hold no samples.
            NotFinite: by the result, for inputs that are NaN or infinite.
        """
        for name, layer in context.layers.items():
            _check_layer(name, layer)
        running: dict[str, _Inputs] = {}

        def listen(name: str, layer: nn.Module, given: Tensor) -> None:
            running.setdefault(name, _Inputs(name)).add(layer, given)

        context.on_input(listen)
        return lambda: _finished(context, running)

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, ColumnNorms]:
        """See `Probe`: as of Linear and plain convolutions."""
        norms: dict[str, ColumnNorms] = {}
        for name, weight in weights.items():
            dtype = torch.promote_types(weight.dtype, torch.float32)
            norms[name] = ColumnNorms(drawn((1, weight[0].numel()), generator).abs().to(dtype))
        return norms


class _Squares:
    """The sum of squares of the inputs of one Linear layer, while batches come in."""

    transposed = False

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, given: Tensor) -> None:
        """Take in the input of one call [..., features]."""
        self._add(_sum_of_squares(given.reshape(-1, given.shape[-1])))

    def columns(self) -> Tensor | None:
        """Float64 [groups, columns]; None before the first call."""
        return None if self.total is None else self.total.reshape(1, -1)

    def _add(self, sums: Tensor) -> None:
        if self.total is None:
            self.total = torch.zeros_like(sums, dtype=torch.float64)
        self.total += sums


class _MapSquares(_Squares):
    """The same of a convolution: maps of squares are added as long as their sizes are equal, and unfolded then."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.maps: Tensor | None = None
        self.transposed = isinstance(layer, _TRANSPOSED)

    def add(self, given: Tensor) -> None:
        """Take in the input of one call [samples, channels, ...], or of one sample."""
        batch = given if given.dim() == cast(Tensor, self.layer.weight).dim() else given.unsqueeze(0)
        sums = _sum_of_squares(batch)
        if self.maps is None or self.maps.shape != sums.shape:
            self._unfold()
            self.maps = torch.zeros_like(sums, dtype=torch.float64)
        self.maps += sums

    def columns(self) -> Tensor | None:
        """See `_Squares`."""
        self._unfold()
        return self.total

    def _unfold(self) -> None:
        if self.maps is not None:
            self._add(_unfolded(self.layer, self.maps))
            self.maps = None


class _Inputs:
    """What one weight is multiplied with, in each layer that it is tied to.

    Args:
        name: of the weight.
    """

    def __init__(self, name: str) -> None:
        self.name, self.layers, self.seen = name, dict[nn.Module, _Squares](), 0

    def add(self, layer: nn.Module, given: Tensor) -> None:
        """Take in the input of one call."""
        self.seen += given.numel()
        if layer not in self.layers:
            _check_layer(self.name, layer)
            self.layers[layer] = _Squares() if isinstance(layer, nn.Linear) else _MapSquares(layer)
        self.layers[layer].add(given)

    @property
    def transposed(self) -> bool:
        """Whether its layers are transposed convolutions."""
        return any(squares.transposed for squares in self.layers.values())

    def columns(self) -> Tensor:
        """The sums of squares over all its layers, float64 [groups, columns]."""
        columns = [total for squares in self.layers.values() if (total := squares.columns()) is not None]
        unlike = len({squares.transposed for squares in self.layers.values()}) > 1
        if unlike or any(total.shape != columns[0].shape for total in columns):
            kinds = ", ".join(dict.fromkeys(type(layer).__name__ for layer in self.layers))
            raise InvalidValue(
                f"{self.name!r} is tied, and its layers ({kinds}) multiply it in different ways",
                "the norm of a column is that of all that it meets",
                f"leave it out: prunable=bb.excluding({self.name!r})",
            )
        return torch.stack(columns).sum(0)


def _check_layer(name: str, layer: nn.Module) -> None:
    fix = f"leave it out: prunable=bb.excluding({name!r})"
    if isinstance(layer, nn.modules.linear.NonDynamicallyQuantizableLinear):
        rule = "nn.MultiheadAttention reads that weight without a call of its layer, whose inputs nobody hears"
        raise InvalidValue(f"{name!r} is the projection of the outputs of attention", rule, fix)
    if not isinstance(layer, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)):
        rule = "which inputs meet which of its weights is known of Linear and convolutions"
        raise InvalidValue(f"{name!r} belongs to {type(layer).__name__}", rule, fix)


def _sum_of_squares(batch: Tensor) -> Tensor:
    """The squares added over the first dimension, at least in float32; in the memory order of the batch."""
    if batch.dim() == 4 and batch.is_contiguous(memory_format=torch.channels_last):
        return _added(batch.movedim(1, -1)).movedim(-1, 0)
    return _added(batch)


def _added(batch: Tensor) -> Tensor:
    size, batch = batch[:1].numel(), batch.abs() if batch.is_complex() else batch
    if batch.dtype in (torch.bfloat16, torch.float16):
        total = torch.zeros(batch.shape[1:], dtype=torch.float32, device=batch.device)
        for part in batch.split(max(1, _CACHED // max(1, size))):
            total += part.float().square_().sum(0)
        return total
    if size < _LONG:
        return batch.square().sum(0)
    total = torch.zeros_like(batch[0])
    for sample in batch:
        total.addcmul_(sample, sample)
    return total


def _unfolded(layer: nn.Module, maps: Tensor) -> Tensor:
    """The sum over positions of what each column meets: float64 [groups, columns].

    It is the gradient of the sum of a convolution's outputs with respect to its kernel, one output for each group.
    """
    weight, groups = cast(Tensor, layer.weight), cast(int, layer.groups)
    transposed = isinstance(layer, _TRANSPOSED)
    shape = (weight.shape[0], 1) if transposed else (groups, weight.shape[1])
    with torch.inference_mode(False), torch.enable_grad():
        kernel = torch.zeros(*shape, *weight.shape[2:], dtype=maps.dtype, device=maps.device, requires_grad=True)
        outputs = _convolved(layer, maps.unsqueeze(0), kernel)
        (sums,) = torch.autograd.grad(outputs.sum(), kernel)
    return sums.reshape(groups, -1)


def _convolved(layer: nn.Module, maps: Tensor, kernel: Tensor) -> Tensor:
    if isinstance(layer, _CONVOLUTIONS):
        return layer._conv_forward(maps, kernel, None)  # pyright: ignore  # pads as the layer does
    options = cast(Any, layer)
    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[kernel.dim() - 3]
    given = (options.stride, options.padding, options.output_padding, options.groups, options.dilation)
    return function(maps, kernel, None, *given)


def _finished(context: ProbeContext, running: Mapping[str, _Inputs]) -> Mapping[str, ColumnNorms]:
    """The norms, over all processes."""
    sums = {name: inputs.columns() for name, inputs in running.items()}
    shapes = context.processes.exchange(
        "the inputs of layers",
        {name: (tuple(total.shape), running[name].transposed) for name, total in sums.items()},
    )
    known = {name: shape for shown in shapes for name, shape in shown.items()}
    for name in context.weights:
        if name not in known:
            raise _never_called(name)
    if not sum(context.processes.exchange("input values", sum(squares.seen for squares in running.values()))):
        raise EmptyBatches(
            "the batches hold no samples", "all norms would be 0", "give batches with at least one sample"
        )
    totals = context.processes.sum({name: _own(sums.get(name), known[name][0], context, name) for name in known})
    return {
        name: ColumnNorms(_root(name, totals[name], weight.dtype), known[name][1])
        for name, weight in context.weights.items()
    }


def _own(total: Tensor | None, shape: tuple[int, ...], context: ProbeContext, name: str) -> Tensor:
    """What this process saw, or zeros."""
    return torch.zeros(shape, dtype=torch.float64, device=context.weights[name].device) if total is None else total


def _never_called(name: str) -> InvalidValue:
    return InvalidValue(
        f"the layer of {name!r} was not called on the batches",
        "the inputs of a layer are those that it is called with",
        f"give batches that reach it, or leave it out: prunable=bb.excluding({name!r})",
    )


def _root(name: str, squares: Tensor, dtype: torch.dtype) -> Tensor:
    if not bool(torch.isfinite(squares).all()):
        raise NotFinite(
            f"an input of the layer of {name!r} is NaN or infinite",
            "the norm of it would score nothing",
            "look for NaN in the batches, or in the weights",
        )
    return squares.sqrt().to(torch.promote_types(dtype.to_real(), torch.float32))
