"""Where the units of a tensor lie, and where one operation takes them: rules per function of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from budbreak.graph.call import Call, items
from budbreak.graph.site import Feed, Layout
from budbreak.graph.words import words
from budbreak.masks import UnitLayout

MOVING = words(
    "view reshape view_as reshape_as flatten unflatten ravel squeeze unsqueeze permute transpose swapaxes "
    "swapdims movedim moveaxis t T mT H mH adjoint expand expand_as broadcast_to repeat tile chunk split "
    "tensor_split unbind select narrow __getitem__ index_select split_with_sizes unsafe_chunk unsafe_split"
)
"""Functions that move values about and leave them as they are."""
KEEPING = words(
    "batch_norm dropout feature_dropout alpha_dropout feature_alpha_dropout dropout1d dropout2d dropout3d clone "
    "contiguous detach to type type_as float double half bfloat16 cpu cuda data"
)
"""Functions after which each unit still depends on its own weights alone, and lies where it lay."""
REDUCING = words("mean sum amax amin max min nanmean logsumexp")
_LAST = words(
    "linear bilinear embedding embedding_bag addmm multi_head_attention_forward native_multi_head_attention conv_tbc "
    "gru lstm rnn_tanh rnn_relu gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell pack_padded_sequence pad_packed_sequence"
)
"""Functions whose result has its units last, whatever goes in."""
_MIXING = words(
    "tensordot outer kron cdist cross cov corrcoef fold unfold as_strided rot90 inverse pinverse "
    "matrix_exp matrix_power chain_matmul addbmm convolution argsort"
)
"""Functions after which nobody knows without a rule of its own."""
CONVOLVING = frozenset(f"conv{how}{dims}d" for how in ("", "_transpose") for dims in (1, 2, 3))
_JOINING = words("cat concat concatenate hstack vstack dstack row_stack column_stack pad")
PRODUCTS = words("matmul mm sparse_mm bmm __matmul__ baddbmm")


def _kept(call: Call) -> Layout | None:
    kept = call.layout(call.argument(0, "input", "self"))
    if kept is not None and call.name == "batch_norm" and call.argument(5, "training"):
        return _normed(kept, call)
    return kept


def _by_sample(call: Call) -> Layout | None:
    """A norm over the positions of each channel, or of each group of a single one, keeps channels apart."""
    given = call.argument(0, "input")
    kept, channels = call.layout(given), given.shape[1] if given.dim() > 1 else 0
    if kept is None or (call.name == "group_norm" and call.argument(1, "num_groups") != channels):
        return Layout(kept.dims) if kept else None
    return _normed(kept, call)


def _attended(call: Call) -> Layout | None:
    values = call.layout(call.argument(2, "value"))
    return Layout(values.dims) if values is not None and -2 not in values.dims else None


def _weighted(call: Call) -> Layout:
    weight = call.argument(1, "weight")
    if call.name == "linear":
        return Layout((-1,), _feed(call, weight, UnitLayout(0)))
    if call.name == "addmm":
        return Layout((-1,), _feed(call, call.argument(2, "mat2"), UnitLayout(1)))
    if call.name in ("embedding", "embedding_bag"):  # with its arguments the other way round in torch.embedding
        table = next((given for given in (call.argument(0), weight) if id(given) in call.feeds), None)
        return Layout((-1,), _feed(call, table, UnitLayout(1)))
    if call.name not in CONVOLVING:
        return Layout((-1,))
    transposed = UnitLayout(1, call.argument(6, "groups") or 1)
    units = transposed if "transpose" in call.name else UnitLayout(0)
    return Layout((1 - weight.dim(),), _feed(call, weight, units))


def _feed(call: Call, weight: object, units: UnitLayout) -> Feed | None:
    name = call.feeds.get(id(weight))
    if id(weight) in call.turned:
        units = UnitLayout(1 - units.dim)
    return Feed(name, units) if name else None


def _normed(before: Layout, call: Call) -> Layout:
    """A norm by the batch's own statistics keeps units apart only if they are its channels."""
    return before if before.dims == (1 - call.argument(0, "input").dim(),) else Layout(before.dims)


def _product(call: Call) -> Layout | None:
    """A @ b: the columns of b are units if it is a weight (samples share it) or has them there; rows of a alike."""
    first = 1 if call.name == "baddbmm" else 0
    a, b = call.argument(first, "input", "batch1"), call.argument(first + 1, "other", "mat2", "batch2")
    shared = isinstance(b, torch.nn.Parameter) or id(b) in call.feeds or a.dim() > 2 == b.dim()
    if shared or ((layout := call.layout(b)) is not None and layout.dims == (-1,)):
        return Layout((-1,), _feed(call, b, UnitLayout(1)) if b.dim() == 2 else None)
    return Layout((-2,)) if isinstance(a, torch.nn.Parameter) and b.dim() >= 2 else None


def _einsum(call: Call) -> Layout | None:
    """The letters of the operands' units, as far as the result has them; else those of a weight alone."""
    equation, *operands = call.args
    operands = operands[0] if operands and isinstance(operands[0], list | tuple) else operands
    if not isinstance(equation, str) or "->" not in equation:
        return None
    inputs, _, result = equation.replace(" ", "").partition("->")
    terms = list(zip(inputs.split(","), operands, strict=False))
    if any("." in term.lstrip(".") for term in (result, *(term for term, _ in terms))):
        return None  # "b...c": counted from the end letters stay where they are only behind the dots
    tracked = [(term, layout) for term, operand in terms if (layout := call.layout(operand)) is not None]
    units = {term[dim] for term, layout in tracked for dim in layout.dims if term[dim] in result.strip(".")}
    if not units:
        others = "".join(term for term, operand in terms if not isinstance(operand, torch.nn.Parameter))
        units = {letter for letter in result if letter not in others and letter != "."}
    return Layout(tuple(sorted(result.index(letter) - len(result) for letter in units))) if units else None


def _pooled_dims(call: Call) -> int | None:
    """How many of the last dimensions a function resizes, each unit for itself; None if it is none of these."""
    name = call.name
    if "pool" in name:
        return next((dims for dims in (1, 2, 3) if f"pool{dims}d" in name), None)
    if name in ("interpolate", "upsample", "grid_sample"):
        source = call.argument(0, "input")
        return source.dim() - 2 if isinstance(source, Tensor) else None
    return 2 if name in ("pixel_shuffle", "pixel_unshuffle") else None


def _pooling(call: Call, spatial: int) -> Callable[[Tensor, int], Layout | None]:
    before = call.layout(call.argument(0, "input"))
    if before is None or any(dim >= -spatial for dim in before.dims):
        return lambda result, index: None
    return lambda result, index: replace(before, feed=None) if "pixel" in call.name else before


def _elementwise(call: Call) -> Callable[[Tensor, int], Layout | None]:
    """A result of the shape of its operands, broadcast or joined, has its units where they have them."""
    known = [(tensor.shape, layout) for tensor in call.tensors if (layout := call.layout(tensor)) is not None]
    joins = call.name in _JOINING

    def rule(result: Tensor, index: int) -> Layout | None:
        fitting = [(shape, at) for shape, at in known if joins or _spans(shape, at, result.shape)]
        whole = [at for shape, at in fitting if shape == result.shape] or [at for _, at in fitting]
        if not whole or len({at.dims for at in whole}) > 1:
            return None
        return Layout(whole[0].dims)

    return rule


def _stacked(call: Call) -> Callable[[Tensor, int], Layout | None]:
    """`torch.stack` puts a new dimension in: the units before it move one further from the end."""
    known = {layout.dims for tensor in call.tensors if (layout := call.layout(tensor)) is not None}

    def rule(result: Tensor, index: int) -> Layout | None:
        new = call.argument(1, "dim") or 0
        new = new if new < 0 else new - result.dim()
        return Layout(tuple(dim if dim > new else dim - 1 for dim in next(iter(known)))) if len(known) == 1 else None

    return rule


def _spans(shape: Sequence[int], layout: Layout, result: Sequence[int]) -> bool:
    """Whether a tensor broadcasts to the result and is as long as it where its units lie."""
    if len(shape) > len(result):
        return False
    fits = all(mine in (1, theirs) for mine, theirs in zip(reversed(shape), reversed(result), strict=False))
    return fits and all(shape[dim] == result[dim] for dim in layout.dims)


def _moved(call: Call) -> list[Layout | None]:
    """Move the index of each value's unit as the values are moved, and look where it lies afterwards."""
    source = call.argument(0, "input", "self")
    before = call.layout(source)
    if before is None or source.numel() == 0:
        return []
    labels = _labels(source, before.dims)
    run: Callable[..., Any] = call.run
    if call.name == "view":
        run = torch.Tensor.reshape  # the labels may lie in memory otherwise
    elif call.name in REDUCING:
        run = torch.amax  # of equal labels, that label
    options = {key: value for key, value in call.kwargs.items() if key not in ("input", "out")}
    try:
        moved = run(labels, *call.args[1:], **options)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return []  # a form of the call that only the values can take: nothing is known
    units = math.prod(source.shape[dim] for dim in before.dims)
    first_is_batch = -source.dim() not in before.dims
    return [
        _read(item, units, before.feed, first_is_batch) if isinstance(item, Tensor) else None for item in items(moved)
    ]


def _labels(like: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The index of its unit at each place of a tensor; without memory of its own where it repeats (stride 0)."""
    shape = [like.shape[dim] if dim in dims else 1 for dim in range(-like.dim(), 0)]
    index = torch.arange(math.prod(shape), dtype=torch.int32, device=like.device).reshape(shape)
    return index.expand(like.shape)


def _read(labels: Tensor, units: int, feed: Feed | None, first_is_batch: bool) -> Layout | None:
    """The layout that labels spell: units lie along the dimensions in which the labels change."""
    if labels.numel() == 0:
        return None
    every = range(-labels.dim(), 0)
    repeating = tuple(slice(0, 1) if labels.stride(dim) == 0 else slice(None) for dim in every)
    few = labels[repeating]
    dims = tuple(dim for dim in every if bool((few != few.narrow(dim, 0, 1)).any()))
    if units == 1:  # a single unit never changes: it lies in the one dimension of size 1 that is not for samples
        single = [dim for dim in every[1:] if labels.shape[dim] == 1]
        if len(single) != 1 and labels.dim() > 1:
            return None
        dims = tuple(single)
    elif not dims:
        return None
    along = few[tuple(slice(None) if dim in dims else 0 for dim in every)].flatten()
    if first_is_batch and -labels.dim() in dims and len(along) != units:
        return None  # units and samples became one dimension
    whole = torch.equal(along, torch.arange(units, dtype=along.dtype, device=along.device))
    return Layout(dims, feed if whole else None)


_FIXED: Mapping[str, Callable[[Call], Layout | None]] = {
    **dict.fromkeys(KEEPING, _kept),
    **dict.fromkeys(_LAST | CONVOLVING, _weighted),
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(("instance_norm", "group_norm"), _by_sample),
    "einsum": _einsum,
    "scaled_dot_product_attention": _attended,
}
"""Functions whose layout does not depend on the shape of the result."""


def layouts_after(call: Call) -> Callable[[Tensor, int], Layout | None]:
    """The rule for the results of a call: ``rule(result, index among the results) -> layout``, or None: unknown.

    Asked before the function runs: functions in place change what they are given.
    """
    name = call.name
    if name in _MIXING or name.startswith("linalg_"):
        return lambda result, index: None
    if name in MOVING or (name in REDUCING and not isinstance(call.argument(1, "other"), Tensor)):
        moved = _moved(call)
        return lambda result, index: moved[index] if index < len(moved) else None
    if (fixed := _FIXED.get(name)) is not None:
        layout = fixed(call)
        return lambda result, index: layout if index == 0 else None
    if name == "stack":
        return _stacked(call)
    if (spatial := _pooled_dims(call)) is not None:
        return _pooling(call, spatial)
    return _elementwise(call)
