"""Networks of low rank: layers replaced by two thinner ones, or weights by what these multiply to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from budbreak.checks import check_count, check_known, shown
from budbreak.errors import InvalidValue, NotFinite
from budbreak.lowrank.factors import Factors, check_method, factors_of
from budbreak.lowrank.matrices import Unfolded, unfolded
from budbreak.lowrank.splitting import check_can_split, replaced, split
from budbreak.lowrank.twins import check_same
from budbreak.masks import conv_and_linear, copied, unwrap


def reconstruct(model: nn.Module, ranks: Mapping[str, int], *, method: str = "svd") -> nn.Module:
    """A copy of a model in which some weights are replaced by matrices of low rank, in the dense layers.

    Biases and everything else stay: what the ranks of a pruned network are compared at, untrained.

    Args:
        model: is only read; of a wrapped one (torch.compile, data parallel) the module inside is copied.
        ranks: state_dict name of a weight of Linear or a convolution without groups -> its rank, from 1 to the full
            one. Those of another network: ``{name: one.numerical for name, one in bb.ranks(pruned).items()}``.
        method: "svd" or "pca", see `factors_of`; "pca" keeps the mean beside its components.

    Raises:
        UnknownName: for a weight or a method that there is not.
        InvalidValue: for a rank outside its range, or a layer with groups.
        NotFinite: if a weight is NaN or infinite.
    """
    twin, chosen = _copied(model, ranks, method)
    for one in chosen:
        one.assign(_factors(one, ranks[one.name], method).product.unsqueeze(0))
    return twin


def factorize(model: nn.Module, ranks: Mapping[str, int], *, method: str = "svd", example: Any = None) -> nn.Module:
    """A copy of a model in which some layers are two thinner ones, to be fine-tuned as any network.

    ``fc`` becomes a `SplitLayer`: ``fc.0`` multiplies with ``first``, ``fc.1`` with ``second``, and has the bias. A
    convolution becomes one of its kernel, stride, padding and dilation to ``rank`` channels, and one of kernel 1. Their
    state_dict keys are fc.0.weight, fc.1.weight and fc.1.bias; all others stay. No mask is applied: pruned weights are
    zeros like any. Parameters are new: give them to a new optimizer.

    Args:
        model: is only read; of a wrapped one (torch.compile, data parallel) the module inside is copied.
        ranks: state_dict name of a weight of Linear or a convolution without groups -> its rank, from 1 to the full
            one; that of "pca" is one more inside, see `factors_of`. At equal parameters: `rank_within`.
        method: "svd" or "pca".
        example: a batch as the model takes it: the outputs are compared with those of `reconstruct` on it.

    Raises:
        UnknownName: for a weight or a method that there is not.
        InvalidValue: for a rank outside its range; for a layer with groups, hooks or a weight that another one shares,
            or that computes something of its own; if the model, before or after, does not take the example.
        InvariantBroken: if the outputs differ by more than rounding.
        NotFinite: if a weight is NaN or infinite.

    Source: Yang et al. 2020, arXiv 2004.09031 (trained factors).
    """
    twin, chosen = _copied(model, ranks, method)
    for one in chosen:
        check_can_split(twin, one)
    for one in chosen:
        twin = replaced(twin, one.layer, split(one, _factors(one, ranks[one.name], method)))
    if example is not None:
        check_same(reconstruct(model, ranks, method=method), twin, example)
    return twin


def _copied(model: nn.Module, ranks: Mapping[str, int], method: str) -> tuple[nn.Module, list[Unfolded]]:
    """A copy, and its weights that are named."""
    check_method(method)
    if not isinstance(ranks, Mapping) or not ranks:  # pyright: ignore[reportUnnecessaryIsInstance]
        rule = "they map state_dict names of weights to whole numbers"
        raise InvalidValue(f"ranks is {shown(ranks)}", rule, 'write {"fc.weight": 10}')
    known = {one.name: one for one in unfolded(model, None, conv_and_linear)}
    for name, rank in ranks.items():
        check_known(f"no Linear or convolution has a weight named {name!r}", name, known)
        _check_rank(known[name], rank)
    twin = copied(unwrap(model))
    return twin, [one for one in unfolded(twin, None, conv_and_linear) if one.name in ranks]


def _check_rank(one: Unfolded, rank: int) -> None:
    check_count(f"the rank of {one.name!r}", rank)
    groups, rows, columns = one.matrices().shape
    if groups > 1:
        value, rule = f"{one.name!r} has {groups} groups", "what is factored is one matrix"
        raise InvalidValue(value, rule, "leave it out: its matrices are small as it is")
    if rank > min(rows, columns):
        value, rule = f"the rank of {one.name!r} is {rank}", f"its full rank is {min(rows, columns)}"
        raise InvalidValue(value, rule, f"write {min(rows, columns)} or less, or leave it out")
    if not one.parameter.isfinite().all():
        raise NotFinite(f"{one.name!r} is NaN or infinite", "it has no factors", "look for where it came from")


def _factors(one: Unfolded, rank: int, method: str) -> Factors:
    return factors_of(one.matrices()[0], rank, method)
