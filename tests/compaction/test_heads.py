"""Attention with heads cut out against torch's own with what these heads gave set to zero."""

import copy

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.compaction import FewerHeads

X = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Attends(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, dtype=torch.float64, **options)

    def forward(self, x, *more, **named):
        return self.attention(x, *more, **named)[0] if more else self.attention(x, x, x, **named)[0]


def pair(**options):
    """(attention whose middle head gives nothing, the same without it)."""
    torch.manual_seed(0)
    model = Attends(**options)
    nn.init.normal_(model.attention.in_proj_bias if options.get("bias", True) else model.attention.in_proj_weight)
    model.attention.out_proj.weight.data[:, 4:8] = 0
    smaller = bb.compact(model, X).model
    assert isinstance(smaller.attention, FewerHeads)
    assert smaller.attention.in_proj_weight.shape == (24, 12)
    return model, smaller


CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
PADDED = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])


@pytest.mark.parametrize("options", [{"batch_first": True}, {}, {"batch_first": True, "bias": False}], ids=str)
@pytest.mark.parametrize(
    "named",
    [
        {},
        {"attn_mask": CAUSAL},
        {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
        {"attn_mask": torch.linspace(-1, 1, 25, dtype=torch.float64).reshape(5, 5)},
        {"key_padding_mask": PADDED},
        {"key_padding_mask": PADDED, "attn_mask": CAUSAL},
    ],
    ids=["plain", "causal", "hint", "added", "padded", "both"],
)
def test_all_arguments_mean_what_they_mean_to_torch(options, named):
    model, smaller = pair(**options)
    inputs = X if options.get("batch_first") else X.transpose(0, 1)
    with torch.no_grad():
        assert torch.allclose(model(inputs, **named), smaller(inputs, **named), rtol=0, atol=1e-12)


def test_cross_attention_and_a_single_sample_and_weights():
    model, smaller = pair(batch_first=True)
    keys = torch.randn(3, 7, 12, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model(X, keys, keys), smaller(X, keys, keys), rtol=0, atol=1e-12)
        assert torch.allclose(model(X[0]), smaller(X[0]), rtol=0, atol=1e-12)
        by_head = model.attention(X, X, X, average_attn_weights=False)[1]
        fewer = smaller.attention(X, X, X, average_attn_weights=False)[1]
        mean = smaller.attention(X, X, X)[1]
    assert torch.allclose(by_head[:, [0, 2]], fewer, rtol=0, atol=1e-12)
    assert torch.allclose(mean, fewer.mean(1))


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning")
def test_encoders_of_torch_take_no_fused_path_past_it():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 6, 8, batch_first=True, dtype=torch.float64)
    model = nn.TransformerEncoder(layer, 2).eval()
    for one in model.layers:
        one.self_attn.out_proj.weight.data[:, :4] = 0
    smaller = bb.compact(model, X).model
    with torch.no_grad():
        assert torch.allclose(model(X), smaller(X), rtol=0, atol=1e-12)
        there = ~PADDED
        expected, found = (one(X, src_key_padding_mask=PADDED) for one in (model, smaller))
        assert torch.allclose(expected[there], found[there], rtol=0, atol=1e-12)


def test_attention_with_learned_extra_keys_keeps_its_heads():
    torch.manual_seed(0)
    model = Attends(batch_first=True, add_bias_kv=True)
    model.attention.out_proj.weight.data[:, 4:8] = 0
    compacted = bb.compact(model, X)
    assert type(compacted.model.attention) is nn.MultiheadAttention
    assert copy.deepcopy(compacted.model)(X).shape == X.shape
