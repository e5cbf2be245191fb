import numpy as np
import torch

from budbreak.criteria import Lamp, Magnitude
from budbreak.evidence import Evidence, Weights
from budbreak.masks import select
from budbreak.testing import toy_evidence


def lamp_by_pairs(weight):
    """The formula by all pairs, O(n^2)."""
    squares = weight.astype(np.float64).ravel() ** 2
    totals = (squares[None, :] * (squares[None, :] >= squares[:, None])).sum(1)
    return np.divide(squares, totals, out=np.zeros_like(squares), where=squares > 0).reshape(weight.shape)


def scores_of(weight):
    return Lamp()(Evidence({Weights(): {"w": weight}}))["w"].tensor()


def test_scores_are_the_formula_over_all_pairs():
    evidence = toy_evidence(dtype=torch.float64)
    for name, score in Lamp()(evidence).items():
        expected = lamp_by_pairs(evidence[Weights()][name].numpy())
        assert np.allclose(score.tensor().numpy(), expected, rtol=1e-12, atol=0)


def test_golden_numbers_with_a_tie_and_a_pruned_weight():
    assert scores_of(torch.tensor([[3.0, -1.0, 0.0, 1.0, 2.0]])).tolist() == [[1, 1 / 15, 0, 1 / 15, 4 / 13]]


def test_an_empty_weight_scores_zero():
    assert scores_of(torch.zeros(2, 3)).eq(0).all()


def test_no_layer_goes_empty_while_another_has_two_weights():
    torch.manual_seed(0)
    weights = {"small": torch.randn(4, 4) * 1e-3, "large": torch.randn(40, 40) * 10}
    evidence = Evidence({Weights(): weights})
    assert select(Magnitude()(evidence), 16).kept_in("small") == 0
    mask = select(Lamp()(evidence), 2)
    assert (mask.kept_in("small"), mask.kept_in("large")) == (1, 1)


def test_within_one_layer_the_order_is_that_of_magnitude():
    torch.manual_seed(0)
    evidence = Evidence({Weights(): {"w": torch.randn(30, 30)}})
    for keep in (1, 17, 450, 899):
        assert torch.equal(select(Lamp()(evidence), keep)["w"], select(Magnitude()(evidence), keep)["w"])
