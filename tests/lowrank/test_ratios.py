"""Singular values before and after a pruning, as the figures of activation-based pruning show them."""

import math

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, MaskMismatch, UnknownName
from budbreak.lowrank import spectrum_ratios
from budbreak.testing import mlp


def test_ratios_worked_by_hand():
    """4 -> 3 is -25 %, 2 -> 2 is 0, 1 -> 0.001 is set to 0 and dropped, as is 0.5 -> 0."""
    found = spectrum_ratios({"w": (4.0, 2.0, 1.0, 0.5)}, {"w": (3.0, 2.0, 1e-3, 0.0)})["w"]
    assert found.values == (-25.0, 0.0)
    assert (found.remaining, found.dropped) == (2, 2)


def test_the_cut_can_be_chosen_and_singular_values_that_come_back_are_infinitely_more():
    found = spectrum_ratios({"w": (4.0, 0.0, 0.0)}, {"w": (8.0, 5e-4, 0.0)}, cut=1e-4)["w"]
    assert found.values == (100.0, math.inf)
    assert found.dropped == 1


def test_ranks_are_taken_and_a_unit_that_is_gone_is_a_value_that_is_dropped():
    model = nn.Sequential(nn.Linear(6, 4))
    before = bb.ranks(model)
    entry = torch.ones(4, 6).bool()
    entry[1] = False
    found = spectrum_ratios(before, bb.ranks(model, mask=bb.Mask({"0.weight": entry})))
    assert found["0.weight"].dropped == 1
    assert all(-100 < value < 0 for value in found["0.weight"].values)  # removing a row lowers each of them


def test_it_is_a_mapping_and_prints_a_table():
    found = spectrum_ratios({"a": (4.0, 2.0), "b": (1.0,)}, {"a": (3.0, 1.0), "b": (0.0,)})
    assert list(found) == ["a", "b"]
    lines = str(found).splitlines()
    assert lines[1].split() == ["a", "2", "2", "-25.0", "-50.0", "-50.0"]
    assert lines[2].split() == ["b", "0", "1"]
    with pytest.raises(UnknownName, match="no weight is named 'c'"):
        found["c"]


@pytest.mark.parametrize(
    ("before", "after", "error", "words"),
    [
        ({"a": (1.0,)}, {"b": (1.0,)}, MaskMismatch, "before and after differ in 'a'"),
        ({"a": (1.0,), "b": (1.0,)}, {"b": (1.0,), "a": (1.0,)}, MaskMismatch, "differ in 'their order'"),
        ({"a": (2.0, 1.0)}, {"a": (1.0,)}, MaskMismatch, "'a' has 2 singular values before and 1 after"),
        ({}, {}, InvalidValue, "the spectra are {}"),
        ({"a": (1.0, 2.0)}, {"a": (2.0, 1.0)}, InvalidValue, "of 'a' are not sorted"),
        ({"a": (1.0, -1.0)}, {"a": (2.0, 1.0)}, InvalidValue, "of 'a' are not sorted"),
        ({"a": 3.0}, {"a": 3.0}, InvalidValue, "of 'a' are not sorted"),
        ((3.0,), (3.0,), InvalidValue, "they map names of weights"),
        ({"a": ()}, {"a": ()}, InvalidValue, "of 'a' are not sorted"),
        ({"a": (math.nan, 1.0)}, {"a": (2.0, 1.0)}, InvalidValue, "of 'a' are not sorted"),
    ],
)
def test_spectra_that_do_not_belong_together(before, after, error, words):
    with pytest.raises(error, match=words):
        spectrum_ratios(before, after)


def test_a_cut_below_0():
    with pytest.raises(InvalidValue, match="cut is -1"):
        spectrum_ratios(bb.ranks(mlp()), bb.ranks(mlp()), cut=-1)
