"""Attention of torch with fewer heads, each as large as before."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class FewerHeads(nn.MultiheadAttention):
    """`nn.MultiheadAttention` of which heads were cut out: ``num_heads * head_dim`` is less than ``embed_dim``.

    Its parameters and arguments are those of torch's own, which takes all heads for granted; it has no fast path.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `nn.MultiheadAttention`: [N, L, embed_dim] -> [N, L, embed_dim], and the weights of attention.

        ``is_causal`` is a hint there, beside a mask; so it is here.
        """
        del is_causal
        single = query.dim() == 2
        query, key, value = (self._batched(tensor, single=single) for tensor in (query, key, value))
        heads = [self._heads(tensor) for tensor in self._projected(query, key, value)]
        bias = self._bias(attn_mask, key_padding_mask, len(query))
        scores = heads[0] @ heads[1].transpose(-2, -1) / math.sqrt(self.head_dim)
        weights = (scores if bias is None else scores + bias).softmax(-1)
        mixed = functional.dropout(weights, self.dropout, self.training) @ heads[2]
        found = self.out_proj(mixed.transpose(1, 2).flatten(2))
        found = found if self.batch_first and not single else found.transpose(0, 1)
        told = (weights.mean(1) if average_attn_weights else weights) if need_weights else None
        return (found.squeeze(1) if single else found), (told[0] if single and told is not None else told)

    def _batched(self, tensor: Tensor, *, single: bool) -> Tensor:
        if single:
            return tensor[None]
        return tensor if self.batch_first else tensor.transpose(0, 1)

    def _projected(self, *given: Tensor) -> list[Tensor]:
        weights: list[Tensor] = [*cast(Tensor, self.in_proj_weight).chunk(3)]
        biases: list[Tensor | None] = [None] * 3
        if self.in_proj_bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            biases = [*cast(Tensor, self.in_proj_bias).chunk(3)]
        return [functional.linear(*entries) for entries in zip(given, weights, biases, strict=True)]

    def _heads(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _bias(self, mask: Tensor | None, padding: Tensor | None, samples: int) -> Tensor | None:
        """What is added to the scores, [N or 1, heads or 1, L or 1, S]: -inf where nothing is seen."""
        found = None
        if mask is not None:
            by_head = mask.reshape(samples, -1, *mask.shape[-2:]) if mask.dim() == 3 else mask[None, None]
            found = self._added(by_head)
        if padding is not None:
            hidden = self._added(padding.reshape(samples, 1, 1, -1))
            found = hidden if found is None else found + hidden
        return found

    def _added(self, mask: Tensor) -> Tensor:
        if mask.dtype != torch.bool:
            return mask
        dtype = cast(Tensor, self.in_proj_weight).dtype
        return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)


def can_lose_heads(module: nn.MultiheadAttention) -> bool:
    """Whether a module is of the form that `FewerHeads` computes."""
    plain = type(module) in (nn.MultiheadAttention, FewerHeads) and module.bias_k is None and not module.add_zero_attn
    return plain and module.in_proj_weight is not None  # pyright: ignore[reportUnnecessaryComparison]


def with_fewer_heads(module: nn.MultiheadAttention, heads: int) -> None:
    """Turn a module into one of fewer heads: the same object, with the same parameters, hooks and names."""
    module.__class__ = FewerHeads
    module.num_heads = heads
    # encoders of torch take their fused path, which knows no fewer heads, where this says True
    module._qkv_same_embed_dim = False  # pyright: ignore[reportPrivateUsage]


def take_plain_paths(model: nn.Module) -> None:
    """Keep encoders of torch from nested tensors, which they make of padded batches where all attention is torch's."""
    for encoder in model.modules():
        if isinstance(encoder, nn.TransformerEncoder) and any(isinstance(one, FewerHeads) for one in encoder.modules()):
            encoder.use_nested_tensor = False
