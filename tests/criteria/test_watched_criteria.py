"""Criteria that read what was watched in a training, against their formulas in plain Python, in float64."""

import math

import pytest
import torch

from budbreak import Evidence, select
from budbreak.criteria import ActivationCount, Movement
from budbreak.errors import MissingEvidence
from budbreak.evidence import ActivationCounts, MovementSums, UnitActivity, Weights
from budbreak.testing import mlp, toy_evidence


@pytest.mark.parametrize("criterion", [Movement(), Movement("never", every=3)], ids=str)
def test_movement_is_what_was_added_up(criterion):
    evidence = toy_evidence(probes=criterion.needs, dtype=torch.float64)
    scores = criterion(evidence)
    sums = evidence[criterion.needs[1]]
    for name, score in scores.items():
        assert score.tensor().tolist() == sums[name].tolist()
    assert any((score.tensor() < 0).any() for score in scores.values())


@pytest.mark.parametrize("weighted", [False, True])
def test_activation_count_is_the_frequency_of_the_unit_that_a_weight_feeds(weighted):
    criterion = ActivationCount(weighted=weighted)
    evidence = toy_evidence(mlp(), probes=criterion.needs, dtype=torch.float64)
    weights, activity = evidence[Weights()], evidence[criterion.needs[1]]
    scores = criterion(evidence)
    assert list(activity) == list(weights)[:-1]
    for name, score in scores.items():
        found = score.tensor().tolist()
        for unit, row in enumerate(weights[name].tolist()):
            for column, weight in enumerate(row):
                if name not in activity:
                    expected = math.inf
                else:
                    counts = activity[name]
                    expected = int(counts.active[unit, 0]) / counts.seen * (abs(weight) if weighted else 1)
                assert found[unit][column] == pytest.approx(expected, rel=1e-15)


def test_units_go_whole_from_the_seldom_active_on_and_by_magnitude_within_if_weighted():
    """Unit 0 fired in 1 of 10 outputs, unit 1 in 5, unit 2 in 2: of six weights three go."""
    weight = torch.tensor([[3.0, -4.0], [0.1, 5.0], [-1.0, 2.0]])
    active = torch.tensor([[1], [5], [2]])
    counts = {"w": UnitActivity(active, 10)}
    plain, weighted = ActivationCount(), ActivationCount(weighted=True)
    evidence = Evidence({Weights(): {"w": weight}, ActivationCounts(): counts})
    assert select(plain(evidence), 3)["w"].tolist() == [
        [False, False],
        [True, True],
        [True, False],
    ]  # of a tie the lower
    # 0.3 0.4 / 0.05 2.5 / 0.2 0.4: the second 0.4 has the higher index
    assert select(weighted(evidence), 3)["w"].tolist() == [[False, True], [False, True], [False, True]]


def test_who_misses_what_was_watched_says_so():
    evidence = toy_evidence(probes=[Weights(), MovementSums(), ActivationCounts()])
    with pytest.raises(MissingEvidence, match=r"no evidence of MovementSums\(reset='never'"):
        Movement("never")(evidence)
    with pytest.raises(MissingEvidence, match=r"no evidence of ActivationCounts\(threshold=0\.5"):
        ActivationCount(threshold=0.5)(evidence)
