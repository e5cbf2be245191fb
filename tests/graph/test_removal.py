"""A unit that is cut out of all members of its group is gone, and everything else is what it was."""

import pytest
import torch
from architectures import NAMES, make
from removal import unread, without
from torch import Tensor

from budbreak.graph import trace


def outputs(model, example):
    with torch.no_grad():
        found = model(*example) if isinstance(example, tuple) else model(example)
    return [found] if isinstance(found, Tensor) else list(found)


def same(first, second):
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(first, second, strict=True))


BUILT_IN = "multi_head_attention_forward"
"""Heads of nn.MultiheadAttention: the module itself compares sizes, and would have to be another one."""
FIXED = {"lstm language model", "recurrent"}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_unit_that_is_cut_out_leaves_what_zeroing_its_columns_leaves(name):
    model, example = make(name)
    groups = [group for group in trace(model, example).groups() if not group.fixed]
    assert bool(groups) != (name in FIXED)
    for group in groups:
        if any(call.startswith(BUILT_IN) for call in group.sizes):
            continue
        as_before = []
        for unit in {0, group.size // 2, group.size - 1}:
            silenced = outputs(unread(model, group, unit), example)
            assert same(silenced, outputs(without(model, group, unit), example)) == group.exact
            as_before.append(same(silenced, outputs(model, example)))
        assert not all(as_before)


def test_of_a_tied_weight_the_same_rows_make_and_read():
    groups = trace(*make("tied autoencoder")).groups()
    assert [
        [(member.name, member.dim, member.makes, member.reads) for member in group.members] for group in groups
    ] == [
        [("first", 0, True, True), ("a", 0, False, False), ("second", 1, True, True), ("c", 0, False, False)],
        [("second", 0, True, True), ("b", 0, False, False)],
        [("first", 1, True, False), ("d", 0, False, False)],
    ]


def test_what_a_norm_over_units_changes_is_said():
    (stream,) = [group for group in trace(*make("vit")).groups() if group.inexact]
    assert not stream.exact
    assert stream.inexact.split("; ") == [f"layer_norm in norms.{at} takes its mean over them" for at in range(3)]
    assert {member.name for member in stream.members if not (member.makes or member.reads)} == {
        "patch.bias", "token", "positions", "attention.out.bias", "down.bias",
        *(f"norms.{at}.{name}" for at in range(3) for name in ("weight", "bias")),
    }  # fmt: skip


def test_sizes_that_are_spelt_out_are_named():
    transformer = trace(*make("encoder and decoder")).groups()[0]
    assert transformer.sizes == (f"{BUILT_IN} in encoder.layers.0.self_attn",)
    (group,) = [group for group in trace(*make("attention, einsum")).groups() if not group.fixed]
    assert group.sizes == ()
