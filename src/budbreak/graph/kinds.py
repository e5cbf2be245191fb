"""Of what kind a call is, by the name of its function."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from budbreak.graph.call import Call, plain_name
from budbreak.graph.layouts import CONVOLVING, KEEPING, MOVING, PRODUCTS, REDUCING
from budbreak.graph.node import Kind
from budbreak.graph.nonlinearities import FUNCTIONS, MAXIMA, RECURRENT
from budbreak.graph.words import words

LAYERS = words("linear bilinear embedding embedding_bag conv_tbc convolution") | CONVOLVING
"""Functions of values and a weight."""
QUERIES = words(
    "size dim shape device dtype layout ndim numel stride is_floating_point is_complex is_cuda requires_grad item "
    "tolist data_ptr is_contiguous is_nested is_sparse __len__ __bool__ __format__ __repr__ __hash__"
)
"""What is asked of a tensor and gives none."""
NUMBERS = words("item tolist numpy __array__ __float__ __int__ __index__ __complex__ __bool__ __dlpack__")
"""What gives the values of a tensor as something else."""
SOFTMAXES = words("softmax log_softmax softmin gumbel_softmax special_softmax special_log_softmax")
_PRODUCTS = PRODUCTS | words("addmm addbmm mv einsum tensordot inner sparse_mm grouped_mm scaled_mm")
_KINDS = {
    Kind.LAYER: LAYERS,
    Kind.NORM: words("batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize"),
    Kind.ADD: words("add sub subtract rsub __radd__ __rsub__ __add__ __sub__"),
    Kind.MULTIPLY: words(
        "mul multiply div divide true_divide neg negative masked_fill where glu __mul__ __rmul__ __truediv__ __neg__"
    ),
    Kind.CONCAT: words("cat concat concatenate hstack vstack dstack row_stack column_stack stack"),
    Kind.MOVE: MOVING
    | words("pad roll flip fliplr flipud pixel_shuffle pixel_unshuffle channel_shuffle repeat_interleave"),
    Kind.POOL: (REDUCING - {"logsumexp"}) | words("std var prod interpolate upsample grid_sample"),
    Kind.IDENTITY: (KEEPING - {"batch_norm"}) | words("alias positive"),
    Kind.ATTENTION: SOFTMAXES
    | words("scaled_dot_product_attention native_multi_head_attention multi_head_attention_forward"),
    Kind.MATMUL: _PRODUCTS,
    Kind.RECURRENT: RECURRENT,
    Kind.SITE: FUNCTIONS,
}
_BY_NAME = {name: kind for kind, names in _KINDS.items() for name in names}


def kind_of(call: Call) -> Kind:
    """The kind of a call; `Kind.MATMUL` for products, whoever multiplies; `Kind.OPAQUE` for what has no rule."""
    if call.name in MAXIMA and isinstance(call.argument(1, "other"), Tensor):
        return Kind.OPAQUE
    if call.name == "view" and len(call.args) == 2 and not isinstance(call.args[1], int | list | tuple):
        return Kind.OPAQUE  # as another dtype
    if call.name == "where" and len(call.args) + len(call.kwargs) == 1:
        return Kind.OPAQUE  # the places of what is not zero
    if "pool" in call.name:
        return Kind.POOL
    return _BY_NAME.get(call.name, Kind.OPAQUE)


def multiplies(func: Callable[..., object]) -> bool:
    """Whether a function is a product of what it is given: a layer with its weight, or two matrices."""
    name = plain_name(func)
    return name in LAYERS or name in _PRODUCTS


def makes_constants(name: str) -> bool:
    """Whether a function only looks at the form of what it is given."""
    return name.startswith("new_") or name.endswith("_like")
