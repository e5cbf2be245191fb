"""How many weights can stay where, and what a mask answers without a search."""

import pytest
import torch

import budbreak.errors
from budbreak.masks import Global, Layer, Mask, Quotas, Rows, Scores, kept_in_any_case, reselect, sparing_weights

MASK = Mask({"a": torch.tensor([[1, 1, 0], [1, 0, 0]]), "b": torch.tensor([1, 0])})
NOTHING = Mask({"a": torch.zeros(2, 3), "b": torch.zeros(2)})


@pytest.mark.parametrize(
    ("scope", "counts"), [(Global(), [4]), (Layer(), [3, 1]), (Rows(), [2, 1, 1])], ids=["global", "layer", "rows"]
)
def test_arenas_keep_what_the_mask_keeps(scope, counts):
    quotas = Quotas.of(MASK, scope)
    assert quotas.counts.tolist() == counts
    assert quotas.room(NOTHING).left.tolist() == counts
    assert quotas.room(MASK).left.tolist() == [0] * len(counts)
    assert not any(bool(entry.any()) for entry in quotas.room(MASK).open().values())


def test_room_is_taken_up_by_arena():
    room = Quotas.of(MASK, Rows()).room(NOTHING)
    two = room.after([("a", 1), ("a", 5)])
    assert two.left.tolist() == [1, 0, 1]
    assert two.after([("a", 4)]) is None
    assert two.after([("a", 0), ("b", 1)]).left.tolist() == [0, 0, 0]
    assert two.open()["a"].tolist() == [[True] * 3, [False] * 3]
    layers = Quotas.of(MASK, Layer()).room(NOTHING)
    assert layers.after([("b", 0), ("b", 1)]) is None
    assert [bool(entry.all()) for entry in layers.after([("b", 1)]).open().values()] == [True, False]


def test_what_a_floor_reserves_is_open_to_its_layer_alone():
    room = Quotas.of(MASK, Global(), floor=1).room(NOTHING)
    assert room.left.tolist() == [2]
    full = room.after([("a", 0), ("a", 1), ("a", 2)])
    assert full.left.tolist() == [0]
    assert [bool(entry.all()) for entry in full.open().values()] == [False, True]
    assert full.after([("a", 3)]) is None
    assert full.after([("b", 0)]).left.tolist() == [0]


@pytest.mark.parametrize("scope", [Global(), Layer(), Rows()], ids=["global", "layer", "rows"])
def test_reselecting_keeps_what_is_spared_and_the_highest_of_the_rest(scope):
    scores = Scores.of({"a": torch.tensor([[1.0, 2.0, 9.0], [5.0, 6.0, 7.0]]), "b": torch.tensor([3.0, 4.0])})
    spared = sparing_weights(scores, Mask({"a": torch.tensor([[0, 0, 1], [0, 0, 0]]), "b": torch.zeros(2)}))
    assert kept_in_any_case(spared, MASK | Mask({"a": torch.ones(2, 3), "b": torch.ones(2)})).kept == 1
    assert spared["a"].pick(torch.tensor([1, 2])).tolist() == [2.0, float("inf")]
    within = MASK | Mask({"a": torch.tensor([[0, 0, 1], [0, 0, 0]]), "b": torch.zeros(2)})
    found = reselect(spared, MASK, scope=scope, within=within)
    assert found["a"].int().tolist() == [[0, 1, 1], [1, 0, 0]]
    assert found["b"].int().tolist() == [1, 0]


def test_what_a_mask_has_not_is_no_search_for_the_nearest_name(monkeypatch):
    monkeypatch.setattr(budbreak.errors.difflib, "get_close_matches", None)
    assert MASK.get("aa") is None
    assert MASK.get("aa", 1) == 1
    assert torch.equal(MASK.get("a"), MASK["a"])
